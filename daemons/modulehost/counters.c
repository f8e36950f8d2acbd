/* Counters of the modules of this host as values, for get_module_counters and get_statistics. */
#include "config.h"

#include "daemons/modulehost/counters.h"

#include <stdlib.h>
#include <string.h>

#include "core/util.h"

enum { MODULE_MS = 1000 };

static xmlrpc_value *
about(struct modulehost *m, const struct fs_module_info *info)
{
    struct fs_module_counters c = { 0 };
    char *error = NULL;
    int e = info->running ? fs_module_counters(&m->env, info->name, &c, MODULE_MS, &error) : 0;
    xmlrpc_value *v = fs_struct();
    fs_set(v, "name", fs_string(info->name));
    fs_set(v, "type", fs_string(info->type));
    fs_set(v, "owner", fs_int((int) info->owner));
    fs_set(v, "running", fs_int(info->running));
    fs_set(v, "in", fs_double((double) c.in));
    fs_set(v, "out", fs_double((double) c.out));
    fs_set(v, "dropped", fs_double((double) c.dropped));
    fs_set(v, "ring_drops", fs_double((double) c.ring_drops));
    fs_set(v, "rate_drops", fs_double((double) c.rate_drops));
    fs_set(v, "bytes", fs_double((double) c.bytes_in));
    fs_set(v, "bytes_out", fs_double((double) c.bytes_out));
    if (e) {
        fs_set(v, "problem", fs_string(error ? error : strerror(e)));
    }
    free(error);
    return v;
}

xmlrpc_value *
modulehost_counters(struct modulehost *m, int owner, char **error)
{
    struct fs_module_info *list = NULL;
    size_t n = 0;
    int e = fs_module_list(&m->env, &list, &n);
    if (e) {
        *error = fs_xasprintf("%s/modules: %s", m->env.dir, strerror(e));
        return NULL;
    }
    xmlrpc_value *all = fs_array();
    for (size_t i = 0; i < n; i++) {
        if (owner < 0 || list[i].owner == (uint64_t) owner) {
            fs_append(all, about(m, &list[i]));
        }
    }
    fs_module_list_free(list, n);
    return all;
}

/* Counters of the modules of this host as values, for get_module_counters and get_statistics. */
#include "config.h"

#include "daemons/modulehost/counters.h"

#include <stdlib.h>
#include <string.h>

#include "core/util.h"

enum { MULTIPLEXER_MS = 2000 };

static xmlrpc_value *
about(const struct fs_module_tally *t, const char *problem)
{
    const struct fs_module_counters *c = &t->counters;
    xmlrpc_value *v = fs_struct();
    fs_set(v, "name", fs_string(t->name));
    fs_set(v, "process", fs_string(t->process));
    fs_set(v, "type", fs_string(t->type));
    fs_set(v, "owner", fs_int((int) t->owner));
    fs_set(v, "running", fs_int(t->running));
    fs_set(v, "in", fs_double((double) c->in));
    fs_set(v, "out", fs_double((double) c->out));
    fs_set(v, "dropped", fs_double((double) c->dropped));
    fs_set(v, "ring_drops", fs_double((double) c->ring_drops));
    fs_set(v, "rate_drops", fs_double((double) c->rate_drops));
    fs_set(v, "bytes", fs_double((double) c->bytes_in));
    fs_set(v, "bytes_out", fs_double((double) c->bytes_out));
    if (t->running && !t->connected) {
        fs_set(v, "problem", fs_string(problem ? problem : "it is not connected to the multiplexer"));
    }
    return v;
}

xmlrpc_value *
modulehost_counters(struct modulehost *m, int owner, char **error)
{
    struct fs_module_tally *list;
    size_t n;
    char *problem;
    int e = fs_module_tallies(&m->env, &list, &n, MULTIPLEXER_MS, &problem);
    if (e) {
        *error = fs_xasprintf("%s/modules: %s", m->env.dir, strerror(e));
        free(problem);
        return NULL;
    }
    xmlrpc_value *all = fs_array();
    for (size_t i = 0; i < n; i++) {
        if (owner < 0 || list[i].owner == (uint64_t) owner) {
            fs_append(all, about(&list[i], problem));
        }
    }
    fs_module_tallies_free(list, n);
    free(problem);
    return all;
}

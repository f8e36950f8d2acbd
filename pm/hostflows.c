/* The flows of a module, for the module host daemon: page by page from the multiplexer, which counts them. */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pm/host.h"

static int
append(struct fs_flows *all, const char *line)
{
    struct fs_flow f = { 0 };
    if (sscanf(line, "%d %u %u %45s %u %45s %u %" SCNu64 " %" SCNu64, &f.vlan, &f.ethertype, &f.protocol, f.source, &f.source_port, f.destination,
               &f.destination_port, &f.packets, &f.bytes) != 9) {
        return EPROTO;
    }
    if (!(all->n & (all->n - 1))) { /* doubles whenever it is full */
        struct fs_flow *list = realloc(all->list, (all->n ? 2 * all->n : 1) * sizeof *list);
        if (!list) {
            return ENOMEM;
        }
        all->list = list;
    }
    all->list[all->n++] = f;
    return 0;
}

/* One page; *position is where the next begins, 0 after the last. */
static int
take_page(char *reply, uint32_t *position, struct fs_flows *all)
{
    char *rest = NULL, *line = strtok_r(reply, "\n", &rest);
    int64_t ms = 0;
    uint32_t next;
    if (!line || sscanf(line, "%" SCNu32 " %" SCNd64 " %" SCNu64 " %" SCNu64 " %" SCNu64, &next, &ms, &all->other_packets, &all->other_bytes,
                        &all->forgotten) != 5 || (next && next <= *position)) {
        return EPROTO;
    }
    all->seconds = (double) ms / 1e3;
    *position = next;
    int err = 0;
    while (!err && (line = strtok_r(NULL, "\n", &rest)) != NULL) {
        err = append(all, line);
    }
    return err;
}

int
fs_module_flows(const struct fs_host_env *env, const char *name, int keep_ms, struct fs_flows *flows, int deadline_ms, char **error)
{
    int64_t end = pm_now() + deadline_ms;
    uint32_t position = 0;
    int err = 0;
    *flows = (struct fs_flows){ 0 };
    if (error) {
        *error = NULL;
    }
    if (!pm_name_ok(name)) {
        return pm_fail(error, EINVAL, "\"%s\" cannot be the name of a module", name ? name : "");
    }
    do {
        char *request = NULL, *reply = NULL;
        if (asprintf(&request, "flows %d %" PRIu32 " %s", keep_ms, position, name) < 0) {
            err = ENOMEM;
            break;
        }
        err = hostmux_ask(env, request, NULL, 0, &reply, end, error);
        if (!err && (err = take_page(reply, &position, flows)) != 0) {
            pm_fail(error, err, "module %s: the flows that the multiplexer tells make no sense: %s", name, strerror(err));
        }
        free(reply);
        free(request);
    } while (!err && position && keep_ms > 0);
    if (err) {
        free(flows->list);
        *flows = (struct fs_flows){ 0 };
    }
    return err;
}

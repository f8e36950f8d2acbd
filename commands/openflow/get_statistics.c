/* get_statistics of the OpenFlow daemon: its process, and ports and rules of all switches. */
#include <stdlib.h>

#include <flowstream/method.h>
#include <flowstream/openflow.h>

#include "core/daemon.h"
#include "core/parallel.h"
#include "core/util.h"
#include "daemons/openflow/describe.h"
#include "daemons/openflow/meters.h"
#include "daemons/openflow/switches.h"

enum { SWITCH_MS = 1000 };

static xmlrpc_value *
about(struct switches *all, const xmlrpc_value *item)
{
    char *error = NULL;
    xmlrpc_value *v = fs_struct();
    fs_set(v, "switch", fs_string(fs_get_string(item, "name", "")));
    struct fs_switch *sw = switches_reader(all, fs_get_string(item, "name", ""), fs_get_string(item, "target", ""), &error);
    xmlrpc_value *ports = sw ? openflow_ports(sw, SWITCH_MS, &error) : NULL;
    xmlrpc_value *rules = ports ? openflow_rules(sw, fs_cookie(0, 0), FS_COOKIE_SPACE_MASK, SWITCH_MS, &error) : NULL;
    xmlrpc_value *meters = rules ? openflow_meters(sw, -1, NULL, SWITCH_MS, &error) : NULL;
    fs_set(v, "up", fs_int(ports && rules));
    if (ports) {
        fs_set(v, "ports", ports);
    }
    if (rules) {
        fs_set(v, "rules", rules);
    }
    if (meters) {
        fs_set(v, "meters", meters);
    }
    if (error) {
        fs_set(v, "problem", fs_string(error));
    }
    free(error);
    return v;
}

struct work {
    struct switches *switches;
    const xmlrpc_value *list;
    xmlrpc_value **answers;
};

static void
ask(void *aux, size_t i)
{
    struct work *w = aux;
    w->answers[i] = about(w->switches, fs_item(w->list, i));
}

static void
run(struct fs_call *call)
{
    struct work w = { .switches = fs_call_state(call) };
    xmlrpc_value *list = switches_list(w.switches), *switches = fs_array();
    size_t n = fs_size(list);
    w.list = list;
    w.answers = fs_xcalloc(n, sizeof *w.answers);
    fs_parallel(n, ask, &w); /* one that is away does not keep the others waiting */
    for (size_t i = 0; i < n; i++) {
        fs_append(switches, w.answers[i]);
    }
    free(w.answers);
    fs_free(list);
    xmlrpc_value *v = fs_struct();
    fs_set(v, "process", fs_daemon_statistics(fs_call_daemon(call)));
    fs_call_return(call, fs_set(v, "switches", switches));
}

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "get_statistics",
    .help = "Tells the daemon's figures ('process') and, for each switch that it knows, its ports with packets, bytes and drops, Flowstream's rules with "
            "packets and bytes, and its meters with what they dropped ('switches').",
    .returns = "struct",
    .idempotent = true,
    .run = run,
};

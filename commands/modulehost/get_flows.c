/* get_flows: the flows that come into one module of this host, counted while somebody asks. */
#include <stdlib.h>
#include <string.h>

#include <flowstream/method.h>

#include "core/util.h"
#include "daemons/modulehost/modulehost.h"

enum { MULTIPLEXER_MS = 3000, KEEP_SECONDS = 60, KEEP_SECONDS_MAX = 3600 };

static xmlrpc_value *
flow_value(const struct fs_flow *f)
{
    xmlrpc_value *v = fs_struct();
    fs_set(v, "vlan", fs_int(f->vlan));
    fs_set(v, "ethertype", fs_int((int) f->ethertype));
    fs_set(v, "protocol", fs_int((int) f->protocol));
    fs_set(v, "source", fs_string(f->source));
    fs_set(v, "source_port", fs_int((int) f->source_port));
    fs_set(v, "destination", fs_string(f->destination));
    fs_set(v, "destination_port", fs_int((int) f->destination_port));
    fs_set(v, "packets", fs_double((double) f->packets));
    return fs_set(v, "bytes", fs_double((double) f->bytes));
}

static void
run(struct fs_call *call)
{
    struct modulehost *m = fs_call_state(call);
    const xmlrpc_value *param = fs_call_param(call, 0);
    const char *name = fs_get_string(param, "module", "");
    double keep = fs_get_double(param, "keep", KEEP_SECONDS);
    struct fs_flows flows;
    char *error = NULL;
    int e = fs_module_flows(&m->env, name, (int) (keep * 1000), &flows, MULTIPLEXER_MS, &error);
    if (e) {
        fs_call_fail(call, "host %s: %s", m->name, error ? error : strerror(e));
        free(error);
        return;
    }
    xmlrpc_value *v = fs_struct(), *list = fs_array();
    for (size_t i = 0; i < flows.n; i++) {
        fs_append(list, flow_value(&flows.list[i]));
    }
    fs_set(v, "flows", list);
    fs_set(v, "seconds", fs_double(flows.seconds));
    fs_set(v, "other_packets", fs_double((double) flows.other_packets));
    fs_set(v, "other_bytes", fs_double((double) flows.other_bytes));
    fs_call_return(call, fs_set(v, "forgotten", fs_double((double) flows.forgotten)));
    free(flows.list);
}

static const struct fs_member members[] = {
    { "module", "string", 0, 0, "its name on this host" },
    { "keep", "double?", 0, KEEP_SECONDS_MAX, "seconds, default 60; 0 ends the counting" },
    { 0 },
};

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "get_flows",
    .help = "Tells the flows that have come into a module since it was first asked for them: flows (vlan, -1: none; ethertype; protocol; source, source_port, destination, "
            "destination_port; packets, bytes of whole frames; addresses are - where it is not IP), seconds (how long they are counted), other_packets, other_bytes and forgotten "
            "(flows that there was no place for any more; 4,096 are kept). They are counted on until nobody has asked for 'keep' seconds.",
    .params = { { "which", "struct", NULL } },
    .members = { members },
    .returns = "struct",
    .run = run,
};

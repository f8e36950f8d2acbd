/* get_module_counters: counters of modules, from the newest sample or, when 'fresh', read now by the processing module daemon. */
#include <string.h>

#include <flowstream/method.h>

#include "core/daemon.h"
#include "daemons/monitoring/monitor.h"

/* Rates are known from samples only. */
static void
add_rates(const xmlrpc_value *fresh, const xmlrpc_value *sampled)
{
    for (size_t i = 0; i < fs_size(fresh); i++) {
        xmlrpc_value *m = fs_item(fresh, i);
        for (size_t k = 0; k < fs_size(sampled); k++) {
            const xmlrpc_value *s = fs_item(sampled, k);
            if (!strcmp(fs_get_string(s, "name", ""), fs_get_string(m, "name", "")) && !strcmp(fs_get_string(s, "host", ""), fs_get_string(m, "host", ""))) {
                fs_set(m, "packets_per_second", fs_double(fs_get_double(s, "packets_per_second", 0)));
                fs_set(m, "bits_per_second", fs_double(fs_get_double(s, "bits_per_second", 0)));
            }
        }
    }
}

static void
run(struct fs_call *call)
{
    const xmlrpc_value *param = fs_call_param(call, 0), *hosts = fs_get(param, "hosts");
    int owner = fs_get_int(param, "owner", -1);
    xmlrpc_value *sampled = monitor_modules(fs_call_state(call), owner);
    if (hosts) {
        xmlrpc_value *params = fs_append(fs_array(), fs_copy(hosts));
        if (owner >= 0) {
            fs_append(params, fs_int(owner));
        }
        struct fs_reply reply;
        fs_call_peer(call, fs_daemon_peer(fs_call_daemon(call), "pm"), "get_counters", params, &reply);
        add_rates(fs_get(reply.value, "modules"), sampled);
        fs_call_reply(call, &reply);
    } else {
        fs_call_return(call, fs_set(fs_set(fs_struct(), "modules", fs_copy(sampled)), "problems", fs_array()));
    }
    fs_free(sampled);
}

static const struct fs_member members[] = {
    { "owner", "int?", 0, 0, "only of this allocation" },
    { "hosts", "array?", 0, 0, "of {name, address}: to ask now" },
    { 0 },
};

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "get_module_counters",
    .help = "Answers {modules, problems}: in, out, dropped, ring_drops, bytes and rates of modules. With 'hosts' they are read now through the processing module daemon, "
            "else they are those of the newest sample (two seconds old, on a crowded platform ten times what taking one lasts).",
    .params = { { "which", "struct", NULL } },
    .members = { members },
    .returns = "struct",
    .idempotent = true,
    .run = run,
};

/* get_statistics of the resource daemon: its process, hosts, allocations. */
#include <flowstream/method.h>

#include "core/daemon.h"
#include "daemons/resource/resource.h"

/* Of very many allocations a line each is of no use to anybody, and would be made every two seconds. */
enum { MOST = 1000 };

static xmlrpc_value *
hosts(struct resource *r)
{
    resource_placing_begin(r);
    xmlrpc_value *list = resource_hosts(r), *all = fs_array();
    resource_placing_end(r);
    static const char *const figures[] = { "cpu", "mem", "cpu_used", "mem_used", "modules", "silent_seconds" };
    for (size_t i = 0; i < fs_size(list); i++) {
        xmlrpc_value *v = fs_set(fs_struct(), "name", fs_string(fs_get_string(fs_item(list, i), "name", "")));
        for (size_t k = 0; k < sizeof figures / sizeof *figures; k++) {
            fs_set(v, figures[k], fs_double(fs_get_double(fs_item(list, i), figures[k], 0)));
        }
        fs_append(all, v);
    }
    fs_free(list);
    return all;
}

static void
run(struct fs_call *call)
{
    struct resource *r = fs_call_state(call);
    xmlrpc_value *v = fs_struct();
    fs_set(v, "process", fs_daemon_statistics(fs_call_daemon(call)));
    fs_set(v, "switches_prepared", fs_int(resource_prepared(r)));
    fs_set(v, "allocations", resource_summaries(r, MOST));
    fs_set(v, "allocation_states", resource_states(r));
    fs_call_return(call, fs_set(v, "known_hosts", hosts(r)));
}

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "get_statistics",
    .help = "Tells the daemon's figures ('process'), whether all switches have their base rules ('switches_prepared', 0 or 1), allocations (1,000 of them at most: those that are not installed, then the newest), how many there are in each state ('allocation_states'), and hosts with what is taken of them.",
    .returns = "struct",
    .idempotent = true,
    .run = run,
};

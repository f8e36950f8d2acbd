/* get_statistics of the monitoring daemon: its own process and the newest sample of all others; GET /metrics shows the same. */
#include <flowstream/method.h>

#include "core/daemon.h"
#include "daemons/monitoring/monitor.h"

static void
run(struct fs_call *call)
{
    xmlrpc_value *v = monitor_get(fs_call_state(call));
    fs_call_return(call, fs_set(v, "process", fs_daemon_statistics(fs_call_daemon(call))));
}

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "get_statistics",
    .help = "Answers the newest sample of the whole platform (as get_sample) and the daemon's own figures ('process').",
    .returns = "struct",
    .idempotent = true,
    .run = run,
};

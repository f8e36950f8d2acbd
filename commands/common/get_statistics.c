/* get_statistics: figures of the daemon itself. A daemon that has more to tell has a get_statistics of its own, which comes before this one.
 * GET /metrics shows the same. */
#include <flowstream/method.h>

#include "core/daemon.h"

static void
run(struct fs_call *call)
{
    fs_call_return(call, fs_set(fs_struct(), "process", fs_daemon_statistics(fs_call_daemon(call))));
}

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "get_statistics",
    .help = "Tells the daemon's figures: under 'process' uptime, memory, processor time, connections, tasks, and calls, failures and seconds of each "
            "method.",
    .returns = "struct",
    .idempotent = true,
    .run = run,
};

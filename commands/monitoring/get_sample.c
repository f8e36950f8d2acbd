/* get_sample: the newest sample, whole. */
#include <flowstream/method.h>

#include "daemons/monitoring/monitor.h"

static void
run(struct fs_call *call)
{
    fs_call_return(call, monitor_get(fs_call_state(call)));
}

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "get_sample",
    .help = "Answers the newest sample of the platform: daemons, switches (ports, rules), hosts, trunks, modules (with rates), allocations, and its age in seconds.",
    .returns = "struct",
    .idempotent = true,
    .run = run,
};

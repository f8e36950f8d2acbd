/* get_controller: who this resource daemon is, for the daemons that obey it (core/fence.h). */
#include <flowstream/method.h>

#include "daemons/resource/resource.h"

static void
run(struct fs_call *call)
{
    xmlrpc_value *v = fs_set(fs_struct(), "epoch", fs_double((double) resource_epoch(fs_call_state(call))));
    fs_call_return(call, fs_set(v, "incarnation", fs_string(fs_daemon_incarnation(fs_call_daemon(call)))));
}

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "get_controller",
    .help = "Tells epoch, a number in the store that grows with each start of this daemon, and incarnation, which no other start has. Module hosts and the OpenFlow daemon ask for it "
            "before they obey a resource daemon that they have not met, and refuse any other one.",
    .params = {},
    .returns = "struct",
    .idempotent = true,
    .quick = true,
    .run = run,
};

/* get_task: how a task is doing. */
#include <flowstream/method.h>

#include "core/daemon.h"
#include "core/engine.h"

static void
run(struct fs_call *call)
{
    int handle = fs_call_int(call, 0, 0);
    xmlrpc_value *task = fs_engine_describe(fs_daemon_engine(fs_call_daemon(call)), handle);
    if (task) {
        fs_call_return(call, task);
    } else {
        fs_call_fail(call, "there is no task %d (of those that ended the last are kept, for a while)", handle);
    }
}

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "get_task",
    .help = "Tells about a task: its state (waiting, running, done, failed, cancelled), priority, caller, attempts, seconds waited and run, seconds_left until "
            "its deadline, progress from 0 to 1 and what it is doing, where it says so, and, once it has ended, its code, message and value. The "
            "last 4,096 tasks that ended are kept, for an hour and within 64 MB, as the limits of the configuration say.",
    .params = { { "handle", "int", "what run_task answered" } },
    .returns = "struct",
    .idempotent = true,
    .quick = true,
    .run = run,
};

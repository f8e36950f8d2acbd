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
        fs_call_fail(call, "there is no task %d (the last 4,096 that ended are kept)", handle);
    }
}

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "get_task",
    .help = "Tells about a task: its state (waiting, running, done, failed, cancelled), priority, seconds waited and run and, once it has ended, its "
            "code, message and value.",
    .params = { { "handle", "int", "what run_task answered" } },
    .returns = "struct",
    .idempotent = true,
    .quick = true,
    .run = run,
};

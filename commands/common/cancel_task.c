/* cancel_task: a task is not wanted any more. */
#include <flowstream/method.h>

#include "core/daemon.h"
#include "core/engine.h"

static void
run(struct fs_call *call)
{
    int handle = fs_call_int(call, 0, 0);
    if (!fs_engine_cancel(fs_daemon_engine(fs_call_daemon(call)), handle)) {
        fs_call_fail(call, "task %d is unknown or has ended", handle);
    }
}

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "cancel_task",
    .help = "Takes a waiting task out of its queue; tells a running one to end, which it does where it can be stopped. A compound task ends before its "
            "next step and is undone.",
    .params = { { "handle", "int", "what run_task answered" } },
    .returns = "nil",
    .idempotent = true,
    .quick = true,
    .run = run,
};

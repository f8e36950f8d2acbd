/* list_tasks: what this daemon can run now, and how it has fared. */
#include <stdlib.h>

#include <flowstream/method.h>

#include "core/daemon.h"
#include "core/describe.h"

static void
run(struct fs_call *call)
{
    fs_call_return(call, fs_describe_methods(call, FS_KIND_TASK));
}

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "list_tasks",
    .help = "Lists the tasks of this daemon, common ones and its own: name, version, source file, SHA-256 of the code that serves, help, "
            "parameters, number of calls and failures, seconds spent. A file that cannot be loaded is listed with the reason.",
    .returns = "array",
    .idempotent = true,
    .run = run,
};

/* run_task: hand a task to the engine. */
#include <stdlib.h>
#include <string.h>

#include <flowstream/method.h>

#include "core/daemon.h"
#include "core/engine.h"
#include "core/submit.h"

static void
run(struct fs_call *call)
{
    struct fs_step *step = malloc(sizeof *step);
    if (!step) {
        abort();
    }
    xmlrpc_value *param = fs_call_param(call, 1);
    step->name = strdup(fs_call_string(call, 0, ""));
    step->param = param ? fs_copy(param) : fs_struct();
    fs_submit_and_answer(call, step, 1, false, fs_call_param(call, 2));
}

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "run_task",
    .help = "Gives a task to the task engine and answers at once with its handle, for get_task and cancel_task. With the option 'wait' it waits "
            "so many seconds (50 at most) for the task to end and answers what the task answers; if it has not ended by then, the code is -1 and the value the handle.",
    .params = { { "name", "string", "the task, as list_tasks names it" },
                { "parameter", "any?", "its parameter; several values are put into a struct or an array" },
                { "options", "struct?", NULL } },
    .members = { [2] = fs_submit_options },
    .returns = "any",
    .run = run,
};

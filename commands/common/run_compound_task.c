/* run_compound_task: hand several tasks to the engine, to be run in order. */
#include <stdlib.h>
#include <string.h>

#include <flowstream/method.h>

#include "core/daemon.h"
#include "core/engine.h"
#include "core/submit.h"

enum { MAX_STEPS = 10000 };

static void
run(struct fs_call *call)
{
    const xmlrpc_value *list = fs_call_param(call, 0);
    size_t n = fs_size(list);
    if (!n || n > MAX_STEPS) {
        fs_call_fail(call, "run_compound_task: parameter 1 (tasks) has %zu tasks; 1 to %d are taken", n, MAX_STEPS);
        return;
    }
    struct fs_step *steps = calloc(n, sizeof *steps);
    if (!steps) {
        abort();
    }
    for (size_t i = 0; i < n; i++) {
        const xmlrpc_value *param = fs_get(fs_item(list, i), "parameter");
        steps[i].name = strdup(fs_get_string(fs_item(list, i), "name", ""));
        steps[i].param = param ? fs_copy(param) : fs_struct();
    }
    fs_submit_and_answer(call, steps, n, true, fs_call_param(call, 1));
}

static const struct fs_member steps_have[] = {
    { "name", "string", 0, 0, "the task, as list_tasks names it" },
    { "parameter", "any?", 0, 0, "its parameter" },
    { 0 },
};

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "run_compound_task",
    .help = "Runs several tasks one after the other as one task. The first that fails ends it; those before it are undone in reverse order, as far as "
            "their descriptors name a task for that. The value of success is the array of the values of all.",
    .params = { { "tasks", "array", "structs" },
                { "options", "struct?", NULL } },
    .members = { steps_have, fs_submit_options },
    .returns = "any",
    .run = run,
};

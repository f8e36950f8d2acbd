/* delete_pm: end one process with its modules and remove all that belongs to it. */
#include <stdlib.h>
#include <string.h>

#include <flowstream/failpoint.h>
#include <flowstream/log.h>
#include <flowstream/method.h>

#include "daemons/modulehost/modulehost.h"

FS_LOG_MODULE("modules");

enum { STOP_MS = 10000 };

static void
run(struct fs_call *call)
{
    struct modulehost *m = fs_call_state(call);
    const char *name = fs_get_string(fs_call_param(call, 0), "name", "");
    char *error = NULL;
    FS_FAILPOINT("delete_pm.begun");
    int e = fs_module_stop(&m->env, name, STOP_MS, &error);
    modulehost_watch_note(m, name);
    FS_FAILPOINT("delete_pm.before_answer");
    if (e) {
        fs_call_fail(call, "host %s: module %s: %s", m->name, name, error ? error : strerror(e));
    } else {
        fs_log_info("process %s is gone", name);
    }
    free(error);
}

FS_TASK = {
    FS_IS_TASK,
    .name = "delete_pm",
    .help = "Ends a process with its modules and removes its limits, rings and files. One that is not there is no mistake; a module that shares its process with others is not "
            "ended alone.",
    .params = { { "pm", "struct", "name of the process, which is the module's where there is only one (other members are not looked at)" } },
    .returns = "nil",
    .idempotent = true,
    .run = run,
};

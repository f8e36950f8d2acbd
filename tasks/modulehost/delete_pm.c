/* delete_pm: end one processing module and remove all that belongs to it. */
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
    FS_FAILPOINT("delete_pm.before_answer");
    if (e) {
        fs_call_fail(call, "host %s: module %s: %s", m->name, name, error ? error : strerror(e));
    } else {
        fs_log_info("module %s is gone", name);
    }
    free(error);
}

FS_TASK = {
    FS_IS_TASK,
    .name = "delete_pm",
    .help = "Ends a processing module and removes its process, limits, rings and files. One that is not there is no mistake.",
    .params = { { "pm", "struct", "name (other members are not looked at)" } },
    .returns = "nil",
    .idempotent = true,
    .run = run,
};

/* control_module: a command to a running module, from the processing module daemon. */
#include <stdlib.h>
#include <string.h>

#include <flowstream/method.h>

#include "daemons/modulehost/modulehost.h"

static void
run(struct fs_call *call)
{
    struct modulehost *m = fs_call_state(call);
    const char *name = fs_call_string(call, 0, "");
    char *error = NULL, *reply = NULL;
    int ms = fs_call_time_left(call) < 5000 ? fs_call_time_left(call) : 5000;
    int e = fs_module_control(&m->env, name, fs_call_string(call, 1, ""), &reply, ms, &error);
    if (e) {
        fs_call_fail(call, "host %s: module %s: %s", m->name, name, error ? error : strerror(e));
    } else {
        fs_call_return(call, fs_string(reply));
    }
    free(error);
    free(reply);
}

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "control_module",
    .help = "Talks to a running module: \"read NAME\", \"write NAME VALUE\", \"configure ARGS\", \"counters\", \"status\". Answers what the module says.",
    .params = { { "module", "string", "its name on this host" }, { "command", "string", "what to say" } },
    .returns = "string",
    .run = run,
};

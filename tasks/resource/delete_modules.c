/* delete_modules: end the modules of a plan. All hosts are tried; those that do not answer are told. */
#include <stdlib.h>

#include <flowstream/method.h>

#include "daemons/resource/hostwork.h"

static void
run(struct fs_call *call)
{
    xmlrpc_value *own = resource_pick(fs_get(fs_call_param(call, 0), "modules"), false);
    xmlrpc_value *existing = resource_pick(fs_get(fs_call_param(call, 0), "modules"), true);
    char *why = resource_on_hosts(call, "disconnect_pm", existing), *failed = resource_on_hosts(call, "delete_pm", own);
    if (!why) {
        why = failed;
        failed = NULL;
    }
    free(failed);
    fs_free(own);
    fs_free(existing);
    if (why) {
        fs_call_fail(call, "%s", why);
    }
    free(why);
}

FS_TASK = {
    FS_IS_TASK,
    .name = "delete_modules",
    .help = "Ends the modules of a plan on their hosts, all hosts at the same time; those that existed before are disconnected.",
    .params = { { "parameter", "struct", "modules (of a plan)" } },
    .returns = "nil",
    .idempotent = true,
    .run = run,
};

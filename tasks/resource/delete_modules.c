/* delete_modules: end the modules of a plan. All hosts are tried; those that do not answer are told. */
#include <stdlib.h>

#include <flowstream/method.h>

#include "daemons/resource/hostwork.h"

static void
run(struct fs_call *call)
{
    char *why = resource_on_hosts(call, "delete_pm", fs_get(fs_call_param(call, 0), "modules"));
    if (why) {
        fs_call_fail(call, "%s", why);
    }
    free(why);
}

FS_TASK = {
    FS_IS_TASK,
    .name = "delete_modules",
    .help = "Ends the modules of a plan on their hosts, all hosts at the same time.",
    .params = { { "parameter", "struct", "modules (of a plan)" } },
    .returns = "nil",
    .idempotent = true,
    .run = run,
};

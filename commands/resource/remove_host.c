/* remove_host: a module host leaves the platform. */
#include <stdlib.h>

#include <flowstream/method.h>

#include "daemons/resource/resource.h"

static void
run(struct fs_call *call)
{
    char *error = NULL;
    if (resource_remove_host(fs_call_state(call), fs_call_string(call, 0, ""), &error)) {
        fs_call_fail(call, "%s", error);
    }
    free(error);
}

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "remove_host",
    .help = "Takes a module host out of the platform. Refused while modules run on it. It comes back when its daemon is started again. Until then, doing it again "
            "answers that there is no such host.",
    .params = { { "name", "string", "the host" } },
    .returns = "nil",
    .idempotent = true,
    .run = run,
};

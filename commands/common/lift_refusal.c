/* lift_refusal: let a version be tried again that was taken out because it made the daemon die. */
#include <flowstream/method.h>

#include "core/daemon.h"
#include "core/loader.h"

static void
run(struct fs_call *call)
{
    const char *hash = fs_call_string(call, 0, "");
    if (!*hash) {
        fs_call_fail(call, "lift_refusal: parameter 1 (sha256) is empty (list_versions lists what is refused)");
    } else if (!fs_loader_lift(fs_daemon_loader(fs_call_daemon(call)), hash)) {
        fs_call_fail(call, "%.64s is not refused (list_versions lists what is)", hash);
    }
}

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "lift_refusal",
    .help = "Lets a version be loaded again that was taken out because it made the daemon die three times within a minute.",
    .params = { { "sha256", "string", "its hash, as list_versions tells it" } },
    .returns = "nil",
    .idempotent = true,
    .run = run,
};

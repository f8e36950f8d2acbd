/* list_versions: which versions of which methods there are. */
#include <flowstream/method.h>

#include "core/daemon.h"
#include "core/loader.h"

static void
run(struct fs_call *call)
{
    fs_call_return(call, fs_loader_versions(fs_daemon_loader(fs_call_daemon(call))));
}

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "list_versions",
    .help = "Lists the versions of tasks and commands that are kept, the newest of each first: kind, name, sha256, generation (a number never used again), time (seconds since 1970), source "
            "(start, dropped, upgrade, rollback), active; and the hashes that are refused, with time and reason.",
    .returns = "struct",
    .idempotent = true,
    .run = run,
};

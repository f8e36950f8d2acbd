/* backup_store: a copy of the store as it is at one moment, made while all goes on; read_backup hands it out piece by piece. */
#include <stdlib.h>
#include <unistd.h>

#include <flowstream/method.h>

#include "core/daemon.h"
#include "core/store.h"
#include "core/util.h"
#include "daemons/resource/resource.h"

static void
run(struct fs_call *call)
{
    char *path = fs_xasprintf("%s/backup.db", fs_daemon_dir(fs_call_daemon(call))), *error = NULL;
    struct fs_store_figures f;
    unlink(path); /* of the one before */
    if (fs_store_backup(resource_store(fs_call_state(call)), path, &error) || fs_store_check(path, &f, &error)) {
        fs_call_fail(call, "%s", error);
    } else {
        xmlrpc_value *v = fs_set(fs_set(fs_struct(), "bytes", fs_double((double) f.bytes)), "records", fs_double((double) f.records));
        fs_call_return(call, fs_set(v, "schema", fs_int(f.schema)));
    }
    free(error);
    free(path);
}

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "backup_store",
    .help = "Makes a copy of the store as it is now, while all goes on, and checks it. read_backup hands it out; it takes the place of the copy before it. Answers "
            "bytes, records and schema.",
    .returns = "struct",
    .idempotent = true,
    .run = run,
};

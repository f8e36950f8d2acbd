/* rollback: make the version before the active one of a task or command active again. */
#include <stdlib.h>
#include <string.h>

#include <flowstream/method.h>

#include "core/daemon.h"
#include "core/loader.h"

static bool
is_there(struct fs_call *call, enum fs_method_kind kind, const char *name)
{
    char *error;
    bool there = fs_table_get(fs_daemon_loader(fs_call_daemon(call)), fs_call_table(call), kind, name, &error) || error;
    free(error);
    return there;
}

static void
run(struct fs_call *call)
{
    const char *name = fs_call_string(call, 0, ""), *kind = fs_get_string(fs_call_param(call, 1), "kind", ""),
               *hash = fs_get_string(fs_call_param(call, 1), "sha256", NULL);
    if (*kind && strcmp(kind, "task") && strcmp(kind, "command")) {
        fs_call_fail(call, "rollback: option kind must be \"task\" or \"command\", not '%.40s'", kind);
        return;
    }
    bool task = *kind ? *kind == 't' : is_there(call, FS_KIND_TASK, name);
    char now[FS_HASH_SIZE];
    fs_call_step_aside(call);
    char *why = fs_loader_rollback(fs_daemon_loader(fs_call_daemon(call)), task ? FS_KIND_TASK : FS_KIND_COMMAND, name, hash, now);
    if (why) {
        fs_call_fail(call, "%s", why);
    } else {
        fs_call_return(call, fs_string(now));
    }
    free(why);
}

static const struct fs_member options[] = {
    { "kind", "string?", 0, 0, "\"task\" or \"command\" (default: the task of that name, else the command)" },
    { "sha256", "string?", 0, 0, "which version, or the beginning of its hash (default: the one before). With it, doing it again changes nothing more" },
    { 0 },
};

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "rollback",
    .help = "Makes the version before the active one of a task or command active again, as an upgrade with its bytes would. Needs neither file nor signature: the last versions are kept.",
    .params = { { "name", "string", "of the method" }, { "options", "struct?", NULL } },
    .members = { [1] = options },
    .returns = "string",
    .run = run,
};

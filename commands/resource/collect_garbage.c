/* collect_garbage: what belongs to no allocation goes, now. */
#include <flowstream/method.h>

static void
run(struct fs_call *call)
{
    const xmlrpc_value *options = fs_call_param(call, 0);
    struct fs_reply reply;
    fs_call_task(call, "sweep", fs_set(fs_struct(), "dry_run", fs_bool(fs_get_bool(options, "dry_run", false))), &reply);
    fs_call_reply(call, &reply);
}

static const struct fs_member options[] = {
    { "dry_run", "boolean?", 0, 0, "only tell what would go" },
    { 0 },
};

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "collect_garbage",
    .help = "Removes modules, rules and meters that belong to no allocation, now; the daemon does so by itself when it finds some. Rules without Flowstream's cookie, meters without its sign and processes outside the "
            "hosts' folders are never touched. Answers items (kind, problem, allocation, where, name) and problems: what could not be looked at or removed.",
    .params = { { "options", "struct?", NULL } },
    .members = { options },
    .returns = "struct",
    .idempotent = true,
    .run = run,
};

/* set_log_level: more or fewer lines in the log, while running. */
#include <flowstream/log.h>
#include <flowstream/method.h>

static void
run(struct fs_call *call)
{
    if (!fs_log_set_level(fs_call_string(call, 0, ""), fs_call_string(call, 1, ""))) {
        fs_call_fail(call, "level '%.40s' is none of error, warning, info, debug, or '%.40s' is no module",
                     fs_call_string(call, 1, ""), fs_call_string(call, 0, ""));
        return;
    }
    fs_call_return(call, fs_log_levels());
}

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "set_log_level",
    .help = "Sets the level of one module of the log ('' for all that have none of their own) to error, warning, info or debug. Answers all levels.",
    .params = { { "module", "string", "name of the module as in the log" }, { "level", "string", "error, warning, info or debug" } },
    .returns = "struct",
    .idempotent = true,
    .quick = true,
    .run = run,
};

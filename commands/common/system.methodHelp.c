/* system.methodHelp: the text about one command. */
#include <stdlib.h>

#include <flowstream/method.h>

#include "core/daemon.h"
#include "core/describe.h"
#include "core/loader.h"

static void
run(struct fs_call *call)
{
    const char *name = fs_call_string(call, 0, "");
    char *error;
    struct fs_loaded *m = fs_table_get(fs_daemon_loader(fs_call_daemon(call)), fs_call_table(call), FS_KIND_COMMAND, name, &error);
    if (m) {
        char *text = fs_describe_help(m->method);
        fs_call_return(call, fs_string(text));
        free(text);
    } else {
        fs_call_fault(call, XMLRPC_NO_SUCH_METHOD_ERROR, "there is no method '%.64s'%s%s", name, error ? ": " : "", error ? error : "");
    }
    free(error);
}

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "system.methodHelp",
    .help = "Tells what a method does and takes.",
    .params = { { "method", "string", "its name" } },
    .returns = "string",
    .idempotent = true,
    .plain = true,
    .run = run,
};

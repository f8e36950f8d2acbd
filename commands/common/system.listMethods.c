/* system.listMethods: the names of all commands. */
#include <stdlib.h>

#include <flowstream/method.h>

#include "core/daemon.h"
#include "core/loader.h"

static void
run(struct fs_call *call)
{
    size_t n;
    char *problems;
    struct fs_loaded **list = fs_table_list(fs_daemon_loader(fs_call_daemon(call)), fs_call_table(call), FS_KIND_COMMAND, &n, &problems);
    xmlrpc_value *names = fs_array();
    for (size_t i = 0; i < n; i++) {
        fs_append(names, fs_string(list[i]->method->name));
    }
    free(list);
    free(problems);
    fs_call_return(call, names);
}

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "system.listMethods",
    .help = "Lists the names of all methods that can be called here.",
    .returns = "array",
    .idempotent = true,
    .plain = true,
    .run = run,
};

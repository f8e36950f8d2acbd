/* get_version: which program this is. */
#include "config.h"

#include <flowstream/method.h>

#include "core/daemon.h"

static void
run(struct fs_call *call)
{
    xmlrpc_value *v = fs_struct();
    fs_set(v, "daemon", fs_string(fs_daemon_name(fs_call_daemon(call))));
    fs_set(v, "version", fs_string(PACKAGE_VERSION));
    fs_set(v, "method_abi", fs_int(FS_METHOD_ABI));
    fs_set(v, "incarnation", fs_string(fs_daemon_incarnation(fs_call_daemon(call))));
    fs_call_return(call, v);
}

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "get_version",
    .help = "Tells the daemon's name, its version, the version of the contract with tasks and commands that it was built for, and its "
            "incarnation (another text after each start).",
    .returns = "struct",
    .idempotent = true,
    .quick = true,
    .run = run,
};

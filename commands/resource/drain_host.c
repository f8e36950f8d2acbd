/* drain_host: no more modules for a host, so that it can be removed when those that it has are gone. */
#include <stdlib.h>

#include <flowstream/method.h>

#include "daemons/resource/resource.h"

static void
run(struct fs_call *call)
{
    const xmlrpc_value *wanted = fs_call_param(call, 1);
    xmlrpc_bool drain = 1;
    if (wanted) {
        xmlrpc_env env;
        xmlrpc_env_init(&env);
        xmlrpc_read_bool(&env, wanted, &drain);
        xmlrpc_env_clean(&env);
    }
    char *error = NULL;
    if (resource_drain_host(fs_call_state(call), fs_call_string(call, 0, ""), drain, &error)) {
        fs_call_fail(call, "%s", error);
    }
    free(error);
}

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "drain_host",
    .help = "Puts no more modules on a host, also after restarts, until it is called with false. Modules that run there go on; delete their allocations and install them again to "
            "move them. A host without modules can then be removed.",
    .params = { { "name", "string", "the host" }, { "drain", "boolean?", "true (default) or false" } },
    .returns = "nil",
    .idempotent = true,
    .run = run,
};

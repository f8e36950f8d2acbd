/* register_host: a module host says that it is there; again every few seconds.  The bridge of one that is new is prepared at once. */
#include <stdlib.h>

#include <flowstream/method.h>

#include "daemons/resource/resource.h"

static void
run(struct fs_call *call)
{
    char *error = NULL;
    bool changed;
    if (resource_register_host(fs_call_state(call), fs_call_param(call, 0), &changed, &error)) {
        fs_call_fail(call, "%s", error);
    } else if (changed) {
        /* Its switch gets its rules now; what fails, and what other switches need, is done by the regular run of the same task. */
        const xmlrpc_value *host = fs_call_param(call, 0);
        xmlrpc_value *one = fs_set(fs_struct(), "switch", fs_string(fs_get_string(host, "bridge", fs_get_string(host, "name", ""))));
        struct fs_reply reply;
        fs_call_submit(call, "prepare_platform", fs_set(fs_struct(), "switches", fs_append(fs_array(), one)), false, &reply);
        fs_reply_clear(&reply);
    }
    free(error);
}

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "register_host",
    .help = "Registers a module host, or tells that it is still there. It must be a server of the platform file.",
    .params = { { "host", "struct",
                  "name; address (url of its module host daemon); cpu (cores); mem (MB); bridge; switch (where its bridge is reached, as Open vSwitch writes it); trunk (port "
                  "of the bridge towards the multiplexer); basesys (array of what it offers); incarnation (another text after each start)" } },
    .returns = "nil",
    .idempotent = true,
    .run = run,
};

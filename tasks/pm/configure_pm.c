/* configure_pm: give a running module its arguments; the new configuration holds from one packet to the next, a bad one changes nothing. */
#include <stdlib.h>

#include <flowstream/log.h>
#include <flowstream/method.h>

#include "core/util.h"
#include "daemons/pm/pm.h"

FS_LOG_MODULE("configure");

static void
run(struct fs_call *call)
{
    const xmlrpc_value *pm = fs_call_param(call, 0);
    const char *address = fs_get_string(pm, "address", "");
    if (!*address) {
        fs_call_fail(call, "configure_pm: pm needs 'address' (of its module host daemon)");
        return;
    }
    char *command = fs_xasprintf("configure %s", fs_get_string(pm, "args", ""));
    xmlrpc_value *params = fs_append(fs_append(fs_array(), fs_string(fs_get_string(pm, "name", ""))), fs_string(command));
    free(command);
    struct fs_reply reply;
    fs_call_peer(call, pm_host(fs_call_state(call), address), "control_module", params, &reply);
    if (!reply.code) {
        fs_log_info("module %s is configured", fs_get_string(pm, "name", ""));
    }
    fs_call_reply(call, &reply);
}

FS_TASK = {
    FS_IS_TASK,
    .name = "configure_pm",
    .help = "Configures a running module anew. A bad configuration is refused and the old one goes on.",
    .params = { { "pm", "struct", "name (on its host), address (of its module host daemon), args" } },
    .returns = "string",
    .idempotent = true,
    .run = run,
};

/* control_pm: read or write a named value of a running module: the primitives that get_pm_info lists. */
#include <stdlib.h>
#include <string.h>

#include <flowstream/method.h>

#include "core/util.h"
#include "daemons/pm/pm.h"

static void
run(struct fs_call *call)
{
    const xmlrpc_value *pm = fs_call_param(call, 0);
    const char *verb = fs_call_string(call, 1, "");
    if (strncmp(verb, "read ", 5) && strncmp(verb, "write ", 6) && strcmp(verb, "status")) {
        fs_call_fail(call, "control_pm: parameter 2 (command) is \"read NAME\", \"write NAME VALUE\" or \"status\", not '%.40s'", verb);
        return;
    }
    xmlrpc_value *params = fs_append(fs_append(fs_array(), fs_string(fs_get_string(pm, "name", ""))), fs_string(verb));
    struct fs_reply reply;
    fs_call_peer(call, pm_host(fs_call_state(call), fs_get_string(pm, "address", "")), "control_module", params, &reply);
    fs_call_reply(call, &reply);
}

static const struct fs_member members[] = {
    { "name", "string", 0, 0, "on its host" },
    { "address", "string", 0, 0, "of its module host daemon" },
    { 0 },
};

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "control_pm",
    .help = "Reads or writes a primitive of a running module.",
    .params = { { "pm", "struct", NULL },
                { "command", "string", "read NAME, write NAME VALUE, or status" } },
    .members = { members },
    .returns = "string",
    .run = run,
};

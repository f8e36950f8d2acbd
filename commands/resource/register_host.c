/* register_host: a module host says that it is there; again every few seconds.  The bridge of one that is new is prepared at once. */
#include <stdlib.h>
#include <string.h>

#include <flowstream/method.h>

#include "daemons/resource/reconcile.h"

/* Does the host tell another state of its modules than the one that was looked at? */
static bool
has_changed(struct fs_call *call)
{
    const xmlrpc_value *host = fs_call_param(call, 0);
    char *place = resource_host_place(fs_get_string(host, "name", "")), *right = resource_memory_right(fs_call_state(call), place);
    bool changed = fs_get(host, "modules") && strcmp(right, fs_get_string(host, "modules", ""));
    free(right);
    free(place);
    return changed;
}

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
    if (!error && has_changed(call)) {
        struct fs_reply reply; /* a module came, went or died: what fails is done by the regular run of the same task */
        fs_call_submit(call, "reconcile_hosts", fs_struct(), false, &reply);
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
                  "of the bridge towards the multiplexer); basesys (array of what it offers); incarnation (another text after each start); modules (the state of what runs there, as get_module_changes of the "
                  "module host tells it: when it changes, what has changed is compared with what is wanted)" } },
    .returns = "nil",
    .idempotent = true,
    .run = run,
};

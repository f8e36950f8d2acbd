/* create_modules: start the modules of a plan on their hosts, in parallel, and have the processing module daemon configure them. */
#include <stdlib.h>

#include <flowstream/method.h>

#include "core/client.h"
#include "core/daemon.h"
#include "core/util.h"
#include "daemons/resource/hostwork.h"
#include "daemons/resource/resource.h"

enum { PM_MS = 20000 };

/* One compound task at the processing module daemon configures all; it fails where a module does not answer. */
static char *
configure(struct fs_call *call, const xmlrpc_value *modules)
{
    xmlrpc_value *steps = fs_array();
    for (size_t i = 0; i < fs_size(modules); i++) {
        const xmlrpc_value *m = fs_item(modules, i);
        xmlrpc_value *host = resource_host(fs_call_state(call), fs_get_string(m, "host", "")), *pm = fs_struct();
        fs_set(pm, "name", fs_string(fs_get_string(m, "name", "")));
        fs_set(pm, "args", fs_string(fs_get_string(m, "args", "")));
        fs_set(pm, "address", fs_string(fs_get_string(host, "address", "")));
        fs_append(steps, fs_set(fs_set(fs_struct(), "name", fs_string("configure_pm")), "parameter", pm));
        fs_free(host);
    }
    if (!fs_size(steps)) {
        fs_free(steps);
        return NULL;
    }
    xmlrpc_value *options = fs_set(fs_set(fs_struct(), "priority", fs_string("high")), "wait", fs_int(PM_MS / 1000 - 2));
    xmlrpc_value *params = fs_append(fs_append(fs_array(), steps), options);
    struct fs_peer *pm = fs_daemon_peer(fs_call_daemon(call), "pm");
    struct fs_reply reply;
    int code = pm ? fs_peer_call(pm, "run_compound_task", params, PM_MS, fs_call_request_id(call), &reply)
                  : fs_call_peer(call, NULL, "run_compound_task", params, &reply);
    char *why = code ? fs_xstrdup(reply.message) : NULL;
    fs_reply_clear(&reply);
    return why;
}

static void
run(struct fs_call *call)
{
    xmlrpc_value *fresh = resource_pick(fs_get(fs_call_param(call, 0), "modules"), false);
    xmlrpc_value *existing = resource_pick(fs_get(fs_call_param(call, 0), "modules"), true);
    char *why = resource_on_hosts(call, "create_pm", fresh);
    why = why ? why : resource_on_hosts(call, "connect_pm", existing);
    why = why ? why : configure(call, fresh);
    fs_free(fresh);
    fs_free(existing);
    if (why) {
        fs_call_fail(call, "%s", why);
    }
    free(why);
}

FS_TASK = {
    FS_IS_TASK,
    .name = "create_modules",
    .help = "Starts the modules of a plan on their hosts, all hosts at the same time, and configures them; those that exist already are connected.",
    .params = { { "parameter", "struct", "modules (of a plan)" } },
    .returns = "nil",
    .undo = "delete_modules",
    .run = run,
};

/* sweep: take away what belongs to no allocation: modules and rules that came to be after their allocation was undone, because a daemon was stopped or
 * killed in the middle and went on later.
 *
 * An allocation is in the store before anything of it exists and its id is never used again, so what has an owner that is not in the store now will never
 * have one.  What does not carry our cookie, or does not lie in a module host's folder, is not looked at. */
#include <stdlib.h>
#include <string.h>

#include <flowstream/failpoint.h>
#include <flowstream/log.h>
#include <flowstream/method.h>

#include "core/client.h"
#include "core/daemon.h"
#include "core/util.h"
#include "daemons/resource/hostwork.h"
#include "daemons/resource/resource.h"

FS_LOG_MODULE("sweep");

enum { HOST_MS = 3000, OPENFLOW_MS = 10000 };

static bool
is_known(struct fs_call *call, int id)
{
    return resource_exists(fs_call_state(call), id);
}

/* --- Modules --- */

/* A process goes as a whole, once. */
static void
add_orphan(xmlrpc_value *orphans, const char *host, const char *process)
{
    for (size_t i = 0; i < fs_size(orphans); i++) {
        const xmlrpc_value *o = fs_item(orphans, i);
        if (!strcmp(fs_get_string(o, "name", ""), process) && !strcmp(fs_get_string(o, "host", ""), host)) {
            return;
        }
    }
    fs_append(orphans, fs_set(fs_set(fs_struct(), "name", fs_string(process)), "host", fs_string(host)));
}

static void
find_orphans(struct fs_call *call, const char *host, const xmlrpc_value *modules, xmlrpc_value *orphans)
{
    for (size_t i = 0; i < fs_size(modules); i++) {
        const xmlrpc_value *m = fs_item(modules, i);
        int owner = fs_get_int(m, "owner", 0);
        if (owner > 0 && !is_known(call, owner)) { /* 0: the record of a module that is being made */
            fs_log_warning("module %s on host %s belongs to allocation %d, which is no more: it is removed", fs_get_string(m, "name", ""), host, owner);
            add_orphan(orphans, host, fs_get_string(m, "process", fs_get_string(m, "name", "")));
        }
    }
}

static void
sweep_hosts(struct fs_call *call)
{
    struct resource *r = fs_call_state(call);
    resource_placing_begin(r);
    xmlrpc_value *hosts = resource_hosts(r), *orphans = fs_array();
    resource_placing_end(r);
    for (size_t i = 0; i < fs_size(hosts) && !fs_call_cancelled(call); i++) {
        const char *name = fs_get_string(fs_item(hosts, i), "name", "");
        struct fs_peer *peer = resource_host_peer(r, name);
        if (peer && !strcmp(fs_get_string(fs_item(hosts, i), "state", ""), "up")) {
            struct fs_reply reply;
            if (!fs_peer_call(peer, "get_module_counters", fs_array(), HOST_MS, fs_call_request_id(call), &reply)) {
                find_orphans(call, name, reply.value, orphans);
            }
            fs_reply_clear(&reply);
        }
    }
    char *failed = fs_size(orphans) ? resource_on_hosts(call, "delete_pm", orphans) : NULL;
    if (failed) {
        fs_log_limited(FS_LOG_WARNING, "%s (it is tried again)", failed);
    }
    free(failed);
    fs_free(orphans);
    fs_free(hosts);
}

/* --- Rules --- */

static void
clear(struct fs_call *call, int id, const xmlrpc_value *where)
{
    FS_FAILPOINT("recover.sweep");
    fs_log_warning("rules of allocation %d, which is no more, are in switch %s: they are removed", id, fs_get_string(where, "switch", ""));
    xmlrpc_value *param = fs_set(fs_set(fs_struct(), "allocation", fs_int(id)), "switches", fs_append(fs_array(), fs_copy(where)));
    struct fs_reply reply;
    if (fs_call_task(call, "clear_switches", param, &reply)) {
        fs_log_limited(FS_LOG_WARNING, "%s (it is tried again)", reply.message);
    }
    fs_reply_clear(&reply);
}

static void
sweep_switch(struct fs_call *call, struct fs_peer *openflow, const xmlrpc_value *sw)
{
    xmlrpc_value *where = fs_set(fs_struct(), "switch", fs_string(fs_get_string(sw, "name", "")));
    fs_set(where, "target", fs_string(fs_get_string(sw, "target", "")));
    struct fs_reply reply;
    if (!fs_peer_call(openflow, "list_owners", fs_append(fs_array(), fs_copy(where)), OPENFLOW_MS, fs_call_request_id(call), &reply)) {
        for (size_t i = 0; i < fs_size(reply.value); i++) {
            int id = (int) fs_number(fs_item(reply.value, i), 0);
            if (id && !is_known(call, id)) {
                clear(call, id, where);
            }
        }
    }
    fs_reply_clear(&reply);
    fs_free(where);
}

static void
run(struct fs_call *call)
{
    struct fs_peer *openflow = fs_daemon_peer(fs_call_daemon(call), "openflow");
    xmlrpc_value *switches = resource_switches(fs_call_state(call));
    sweep_hosts(call);
    for (size_t i = 0; openflow && i < fs_size(switches) && !fs_call_cancelled(call); i++) {
        sweep_switch(call, openflow, fs_item(switches, i));
    }
    fs_free(switches);
}

FS_TASK = {
    FS_IS_TASK,
    .name = "sweep",
    .help = "Removes modules and rules whose allocation is no more.",
    .params = { { "parameter", "any?", "not used" } },
    .returns = "nil",
    .idempotent = true,
    .run = run,
};

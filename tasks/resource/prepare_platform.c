/* prepare_platform: every switch has its base rules; a switch that had lost them (it was started again) gets those of all allocations back as well.
 * An installation asks for this at the switches that it is going to use: a host that has just registered may have a switch that nobody has looked at yet.
 *
 * One switch a call to the OpenFlow daemon, so that one that is away does not keep the others waiting. */
#include <stdlib.h>
#include <string.h>

#include <flowstream/log.h>
#include <flowstream/method.h>

#include "core/daemon.h"
#include "daemons/resource/resource.h"

FS_LOG_MODULE("platform");

/* Have the OpenFlow daemon put rules into one switch that has not got them.  other: they are not those of before.  True when the switch was changed. */
static bool
put(struct fs_call *call, int id, const xmlrpc_value *one, bool other, bool *failed)
{
    xmlrpc_value *param = fs_struct();
    fs_set(param, "allocation", fs_int(id));
    fs_set(param, "only_missing", fs_bool(true));
    fs_set(param, "other", fs_bool(other));
    fs_set(param, "switches", fs_append(fs_array(), fs_copy(one)));
    xmlrpc_value *options = fs_set(fs_set(fs_struct(), "priority", fs_string("normal")), "wait", fs_int(10));
    struct fs_reply reply;
    fs_call_peer(call, fs_daemon_peer(fs_call_daemon(call), "openflow"), "run_task",
                 fs_append(fs_append(fs_append(fs_array(), fs_string("install_rules")), param), options), &reply);
    *failed = reply.code != FS_SUCCESS;
    bool changed = !reply.code && fs_size(reply.value);
    if (*failed) {
        fs_log_limited(FS_LOG_WARNING, "switch %s is not ready: %s", fs_get_string(one, "switch", ""), reply.message);
    }
    fs_reply_clear(&reply);
    return changed;
}

/* The rules of all installed allocations back into a switch that has lost them. */
static void
restore(struct fs_call *call, const char *name)
{
    struct resource *r = fs_call_state(call);
    size_t n, n_restored = 0;
    int *ids = resource_allocation_ids(r, &n);
    for (size_t i = 0; i < n; i++) {
        if (!resource_claim(r, ids[i])) {
            continue; /* being installed or deleted: whoever does that sees to the rules */
        }
        xmlrpc_value *doc = resource_allocation(r, ids[i]);
        const xmlrpc_value *rules = fs_get(fs_get(doc, "plan"), "rules");
        for (size_t k = 0; k < fs_size(rules) && !strcmp(fs_get_string(doc, "state", ""), "installed"); k++) {
            bool failed;
            if (!strcmp(fs_get_string(fs_item(rules, k), "switch", ""), name)) {
                n_restored += put(call, ids[i], fs_item(rules, k), false, &failed);
            }
        }
        fs_free(doc);
        resource_release(r, ids[i]);
    }
    free(ids);
    fs_log_info("switch %s got its base rules%s", name, n_restored ? " and those of its allocations back" : "");
}

/* Is the switch one of those asked for?  Without a list all are. */
static bool
is_wanted(const xmlrpc_value *wanted, const char *name)
{
    bool found = !wanted;
    for (size_t i = 0; i < fs_size(wanted) && !found; i++) {
        found = !strcmp(fs_get_string(fs_item(wanted, i), "switch", ""), name);
    }
    return found;
}

static void
run(struct fs_call *call)
{
    const xmlrpc_value *wanted = fs_get(fs_call_param(call, 0), "switches");
    struct fs_reply base;
    if (fs_call_task(call, "base_rules", fs_struct(), &base)) {
        fs_call_reply(call, &base);
        return;
    }
    bool failed = false;
    for (size_t i = 0; i < fs_size(base.value) && !fs_call_cancelled(call); i++) {
        const xmlrpc_value *one = fs_item(base.value, i);
        const char *name = fs_get_string(one, "switch", "");
        if (!is_wanted(wanted, name)) {
            continue;
        }
        bool this_failed, other = resource_base_rules_differ(fs_call_state(call), name, fs_get(one, "rules"));
        if (put(call, 0, one, other, &this_failed)) {
            restore(call, name);
        }
        if (!this_failed) {
            resource_note_base_rules(fs_call_state(call), name, fs_get(one, "rules"));
        }
        failed = failed || this_failed;
    }
    fs_reply_clear(&base);
    if (!wanted) {
        resource_set_prepared(fs_call_state(call), !failed);
    }
}

FS_TASK = {
    FS_IS_TASK,
    .name = "prepare_platform",
    .help = "Puts the base rules into every switch that has not got them, and into one that had lost them the rules of all allocations.",
    .params = { { "parameter", "any?", "switches (optional): only these, an array of structs with the name as switch" } },
    .returns = "nil",
    .idempotent = true,
    .run = run,
};

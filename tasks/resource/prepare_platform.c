/* prepare_platform: every switch has its base rules; a switch that had lost them (it was started again) gets those of all allocations back as well.
 * An installation asks for this at the switches that it is going to use: a host that has just registered may have a switch that nobody has looked at yet.
 *
 * The base rules come last: they are what sends packets to the others, so traffic finds all of them or none, and a switch without them is known not to be done.
 * One switch a call to the OpenFlow daemon, so that one that is away does not keep the others waiting. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <flowstream/failpoint.h>
#include <flowstream/log.h>
#include <flowstream/method.h>

#include "core/client.h"
#include "core/daemon.h"
#include "core/util.h"
#include "daemons/resource/resource.h"

FS_LOG_MODULE("platform");

enum { OPENFLOW_MS = 15000, BUSY_MS = 10000, BUSY_STEP_US = 50000 };

static int
ask_openflow(struct fs_call *call, const char *method, xmlrpc_value *params, struct fs_reply *reply)
{
    struct fs_peer *openflow = fs_daemon_peer(fs_call_daemon(call), "openflow");
    return openflow ? fs_peer_call(openflow, method, params, OPENFLOW_MS, fs_call_request_id(call), reply)
                    : fs_call_peer(call, NULL, method, params, reply);
}

/* Have the OpenFlow daemon put rules into one switch; false when they are not there.  other: they are not those of before, so the right number proves nothing. */
static bool
put(struct fs_call *call, int id, const xmlrpc_value *one, bool other)
{
    xmlrpc_value *param = fs_struct();
    fs_set(param, "allocation", fs_int(id));
    fs_set(param, "only_missing", fs_bool(true));
    fs_set(param, "other", fs_bool(other));
    fs_set(param, "switches", fs_append(fs_array(), fs_copy(one)));
    xmlrpc_value *options = fs_set(fs_set(fs_struct(), "priority", fs_string("normal")), "wait", fs_int(10));
    struct fs_reply reply;
    bool done = !ask_openflow(call, "run_task", fs_append(fs_append(fs_append(fs_array(), fs_string("install_rules")), param), options), &reply);
    if (!done) {
        fs_log_limited(FS_LOG_WARNING, "switch %s is not ready: %s", fs_get_string(one, "switch", ""), reply.message);
    }
    fs_reply_clear(&reply);
    return done;
}

enum found { WHOLE, LOST, AWAY };

/* Has the switch its base rules? */
static enum found
look(struct fs_call *call, const xmlrpc_value *one)
{
    xmlrpc_value *which = fs_struct();
    fs_set(which, "switch", fs_string(fs_get_string(one, "switch", "")));
    fs_set(which, "target", fs_string(fs_get_string(one, "target", "")));
    fs_set(which, "allocation", fs_int(0));
    struct fs_reply reply;
    ask_openflow(call, "get_rules", fs_append(fs_array(), which), &reply);
    enum found found = reply.code ? AWAY : fs_size(reply.value) == fs_size(fs_get(one, "rules")) ? WHOLE : LOST;
    if (found == AWAY) {
        fs_log_limited(FS_LOG_WARNING, "switch %s is not ready: %s", fs_get_string(one, "switch", ""), reply.message);
    }
    fs_reply_clear(&reply);
    return found;
}

/* Claim an allocation, waiting a while for whoever works on it: its rules may have gone into the switch before that lost them. */
static bool
claim(struct fs_call *call, int id, int64_t until)
{
    struct resource *r = fs_call_state(call);
    while (!resource_claim(r, id)) {
        xmlrpc_value *doc = resource_allocation(r, id);
        fs_free(doc);
        if (!doc || fs_now_ms() > until || fs_call_cancelled(call)) {
            return false;
        }
        usleep(BUSY_STEP_US);
    }
    return true;
}

/* The rules of one allocation back into a switch; false when they are not there. */
static bool
restore_one(struct fs_call *call, int id, const char *name)
{
    xmlrpc_value *doc = resource_allocation(fs_call_state(call), id);
    const xmlrpc_value *rules = fs_get(fs_get(doc, "plan"), "rules");
    bool done = true;
    for (size_t k = 0; done && k < fs_size(rules) && !strcmp(fs_get_string(doc, "state", ""), "installed"); k++) {
        if (!strcmp(fs_get_string(fs_item(rules, k), "switch", ""), name)) {
            done = put(call, id, fs_item(rules, k), false);
        }
    }
    fs_free(doc);
    return done;
}

/* The rules of all installed allocations back into a switch that has lost them; 'own' is the one that the caller is installing, or 0. */
static bool
restore(struct fs_call *call, const char *name, int own)
{
    struct resource *r = fs_call_state(call);
    int64_t until = fs_now_ms() + BUSY_MS;
    FS_FAILPOINT("recover.rules");
    bool done = true;
    size_t n;
    int *ids = resource_allocation_ids(r, &n);
    for (size_t i = 0; done && i < n; i++) {
        if (ids[i] != own && claim(call, ids[i], until)) {
            done = restore_one(call, ids[i], name);
            resource_release(r, ids[i]);
        }
    }
    free(ids);
    return done;
}

/* True when the switch has all that it should have. */
static bool
prepare(struct fs_call *call, const xmlrpc_value *one, int own)
{
    struct resource *r = fs_call_state(call);
    const char *name = fs_get_string(one, "switch", "");
    bool other = resource_base_rules_differ(r, name, fs_get(one, "rules"));
    enum found found = look(call, one);
    bool done = found == WHOLE || (found == LOST && restore(call, name, own));
    done = done && ((found == WHOLE && !other) || put(call, 0, one, other));
    if (done) {
        resource_note_base_rules(r, name, fs_get(one, "rules"));
        resource_switch_is_prepared(r, name);
    }
    if (done && found == LOST) {
        fs_log_info("switch %s has its rules", name);
    }
    return done;
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
    int own = fs_get_int(fs_call_param(call, 0), "id", 0);
    struct fs_reply base;
    if (fs_call_task(call, "base_rules", fs_struct(), &base)) {
        fs_call_reply(call, &base);
        return;
    }
    bool all = true;
    for (size_t i = 0; i < fs_size(base.value) && !fs_call_cancelled(call); i++) {
        const xmlrpc_value *one = fs_item(base.value, i);
        if (is_wanted(wanted, fs_get_string(one, "switch", ""))) {
            all = prepare(call, one, own) && all;
        }
    }
    fs_reply_clear(&base);
    if (!wanted) {
        resource_set_prepared(fs_call_state(call), all);
    }
}

FS_TASK = {
    FS_IS_TASK,
    .name = "prepare_platform",
    .help = "Puts the base rules into every switch that has not got them, and into one that had lost them the rules of all allocations.",
    .params = { { "parameter", "struct?", "switches (optional): only these, as generate_rules answers; id (optional): the allocation that is being installed" } },
    .returns = "nil",
    .idempotent = true,
    .run = run,
};

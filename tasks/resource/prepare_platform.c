/* prepare_platform: every switch has its base rules; a switch that had lost them (it was started again) gets those of all allocations back as well.
 * An installation asks for this at the switches that it is going to use: a host that has just registered may have a switch that nobody has looked at yet.
 *
 * The base rules come last: they are what sends packets to the others, so traffic finds all of them or none, and a switch without them is known not to be done.
 * One switch a call to the OpenFlow daemon, so that one that is away does not keep the others waiting.
 *
 * A connection that still lives has the rules that it had, so of many switches only some are asked for them each time, in turn.  Where ports of a switch were renamed or
 * renumbered all of its rules are compared anew, by name, once: what is wrong is the reconciler's from then on. */
#include <stdlib.h>
#include <string.h>

#include <flowstream/failpoint.h>
#include <flowstream/log.h>
#include <flowstream/method.h>

#include "core/client.h"
#include "core/daemon.h"
#include "core/util.h"
#include "daemons/resource/reconcile.h"

FS_LOG_MODULE("platform");

enum { OPENFLOW_MS = 15000, LOOK_AT = 32, TURN_MS = 1000 };

static int
ask_openflow(struct fs_call *call, const char *method, xmlrpc_value *params, struct fs_reply *reply)
{
    struct fs_peer *openflow = fs_daemon_peer(fs_call_daemon(call), "openflow");
    return openflow ? fs_peer_call(openflow, method, params, OPENFLOW_MS, fs_call_request_id(call), reply)
                    : fs_call_peer(call, NULL, method, params, reply);
}

/* Have the OpenFlow daemon put the base rules into a switch.  other: they are not those of before, so the right number proves nothing. */
static bool
put_base(struct fs_call *call, const xmlrpc_value *one, bool other)
{
    xmlrpc_value *param = resource_order(fs_call_state(call), fs_struct());
    fs_set(param, "allocation", fs_int(0));
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

/* Has the switch its base rules?  A switch that was started again has lost all: where it must be quick, looking at the first is enough (a switch finds one rule by its cookie, but
 * goes through all that it has for several). */
static enum found
look(struct fs_call *call, const xmlrpc_value *one, bool quick)
{
    size_t wanted = fs_size(fs_get(one, "rules"));
    xmlrpc_value *which = fs_struct();
    fs_set(which, "switch", fs_string(fs_get_string(one, "switch", "")));
    fs_set(which, "target", fs_string(fs_get_string(one, "target", "")));
    fs_set(which, "allocation", fs_int(0));
    if (quick && wanted) {
        fs_set(which, "index", fs_int(0));
        wanted = 1;
    }
    struct fs_reply reply;
    ask_openflow(call, "get_rules", fs_append(fs_array(), which), &reply);
    enum found found = reply.code ? AWAY : fs_size(reply.value) == wanted ? WHOLE : LOST;
    if (found == AWAY) {
        fs_log_limited(FS_LOG_WARNING, "switch %s is not ready: %s", fs_get_string(one, "switch", ""), reply.message);
    }
    fs_reply_clear(&reply);
    return found;
}

/* The rules of all installed allocations back into a switch that has lost them, or means others by them, some thousands at a time. */
static void
restore_all(struct fs_call *call, const char *name)
{
    if (FS_FAILPOINT_ERROR("recover.rules")) {
        return;
    }
    struct fs_reply reply; /* what fails is tried again by its regular run */
    fs_call_task(call, "reconcile_switches", fs_set(fs_struct(), "switch", fs_string(name)), &reply);
    fs_reply_clear(&reply);
}

/* True when the switch has all that it should have.  now: as list_switches of the OpenFlow daemon knows it, or NULL; due: it is to be asked, whatever is known. */
static bool
prepare(struct fs_call *call, const xmlrpc_value *one, int own, const xmlrpc_value *now, bool due)
{
    struct resource *r = fs_call_state(call);
    const char *name = fs_get_string(one, "switch", "");
    resource_note_links(r, name, now);
    bool other = resource_base_rules_differ(r, name, fs_get(one, "rules"));
    enum resource_watched watched = resource_watch(r, name, now);
    bool moved = watched == RESOURCE_PORTS_MOVED;
    if (watched == RESOURCE_SAME && !other && !due) {
        resource_note_reached(r, name, true);
        return true;
    }
    enum found found = look(call, one, own > 0);
    resource_note_reached(r, name, found != AWAY);
    if (found == AWAY) {
        return false;
    }
    if (moved) { /* the switch says that it has the same rules, but their numbers mean other ports */
        fs_log_info("ports of switch %s were added, removed, renamed or renumbered: its rules are compared by their names", name);
        resource_begin_anew_at(r, name);
        resource_note_watched(r, name, now);
    }
    if (found == LOST || moved) {
        restore_all(call, name);
    }
    bool done = (found == WHOLE && !other && !moved) || put_base(call, one, other || moved);
    resource_note_base_rules(r, name, done ? fs_get(one, "rules") : NULL);
    if (done) {
        resource_switch_is_prepared(r, name);
        resource_note_watched(r, name, now);
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

/* What the OpenFlow daemon knows of the connections to switches; an empty array where it does not answer. */
static xmlrpc_value *
ask_connections(struct fs_call *call)
{
    struct fs_reply reply;
    xmlrpc_value *list = ask_openflow(call, "list_switches", fs_array(), &reply) ? fs_array() : fs_copy(reply.value);
    fs_reply_clear(&reply);
    return list;
}

static const xmlrpc_value *
connection_of(const xmlrpc_value *connections, const xmlrpc_value *one)
{
    for (size_t i = 0; i < fs_size(connections); i++) {
        const xmlrpc_value *c = fs_item(connections, i);
        if (!strcmp(fs_get_string(c, "name", ""), fs_get_string(one, "switch", ""))
            && !strcmp(fs_get_string(c, "target", ""), fs_get_string(one, "target", ""))) {
            return c;
        }
    }
    return NULL;
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
    xmlrpc_value *connections = wanted ? NULL : ask_connections(call);
    size_t parts = fs_size(base.value) / LOOK_AT + 1, part = (size_t) (fs_now_ms() / TURN_MS) % parts;
    bool all = true;
    for (size_t i = 0; i < fs_size(base.value) && !fs_call_cancelled(call); i++) {
        const xmlrpc_value *one = fs_item(base.value, i);
        if (is_wanted(wanted, fs_get_string(one, "switch", ""))) {
            all = prepare(call, one, own, connection_of(connections, one), wanted || i % parts == part) && all;
        }
    }
    fs_free(connections);
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

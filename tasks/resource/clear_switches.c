/* clear_switches: take the rules of an allocation out of the switches, through the OpenFlow daemon: first those that let traffic in, then, when what was under way has
 * passed, the others. */
#include <stdlib.h>
#include <unistd.h>

#include <flowstream/method.h>

#include "core/client.h"
#include "core/daemon.h"
#include "core/util.h"
#include "daemons/resource/resource.h"

/* What is under way crosses each switch, and the hosts behind them, before the rules that carry it go; and a switch that caches decisions, as Open vSwitch
 * does, takes a moment to notice that those of a rule which is gone no longer hold.  The longer the path the longer that takes. */
enum { TABLE_CLASSIFY = 10, DRAIN_US = 20000, DRAIN_SWITCH_US = 15000, DRAIN_MOST_US = 200000 };

static unsigned
drain_us(size_t switches)
{
    size_t us = DRAIN_US + DRAIN_SWITCH_US * switches;
    return us < DRAIN_MOST_US ? (unsigned) us : DRAIN_MOST_US;
}

static int
remove_rules(struct fs_call *call, const xmlrpc_value *switches, int table, struct fs_reply *reply)
{
    xmlrpc_value *param = resource_order(fs_call_state(call), fs_copy(fs_call_param(call, 0)));
    fs_set(fs_set(param, "switches", fs_copy(switches)), "table", fs_int(table));
    xmlrpc_value *options = fs_set(fs_set(fs_struct(), "priority", fs_string("high")), "wait", fs_int(25));
    xmlrpc_value *params = fs_append(fs_append(fs_append(fs_array(), fs_string("remove_rules")), param), options);
    return fs_call_peer(call, fs_daemon_peer(fs_call_daemon(call), "openflow"), "run_task", params, reply);
}

/* Those that are not known to be away for long: nobody waits for these, who are told in 'lost'. */
static xmlrpc_value *
reachable(struct resource *r, const xmlrpc_value *switches, struct fs_text *lost)
{
    xmlrpc_value *some = fs_array();
    for (size_t i = 0; i < fs_size(switches); i++) {
        const char *name = fs_get_string(fs_item(switches, i), "switch", "");
        if (resource_switch_is_lost(r, name)) {
            char *why = resource_switch_away(r, name);
            fs_text_addf(lost, "%s%s", lost->length ? "; " : "", why ? why : name);
            free(why);
        } else {
            fs_append(some, fs_copy(fs_item(switches, i)));
        }
    }
    return some;
}

static void
run(struct fs_call *call)
{
    struct fs_text lost = { 0 };
    xmlrpc_value *switches = reachable(fs_call_state(call), fs_get(fs_call_param(call, 0), "switches"), &lost);
    struct fs_reply reply;
    if (!remove_rules(call, switches, fs_get_int(fs_call_param(call, 0), "entry", TABLE_CLASSIFY), &reply) && !lost.length) {
        fs_reply_clear(&reply);
        usleep(drain_us(fs_size(switches)));
        remove_rules(call, switches, -1, &reply);
    }
    if (!reply.code && lost.length) {
        fs_reply_clear(&reply);
        fs_reply_fail(&reply, "%s", lost.text);
    }
    fs_call_reply(call, &reply);
    fs_free(switches);
    free(lost.text);
}

FS_TASK = {
    FS_IS_TASK,
    .name = "clear_switches",
    .help = "Removes the rules of an allocation from the switches: those that let traffic in first.",
    .params = { { "parameter", "struct", "allocation: id; switches: array of {switch, target}; entry (optional): the table of the rules that let traffic in, default 10" } },
    .returns = "nil",
    .idempotent = true,
    .run = run,
};

/* reconcile_switches: the rules in switches are those that are wanted, by nothing but the difference.
 *
 * Level-triggered: the OpenFlow daemon says in which state our rules in a switch are, by what the switch has told.  Where that is another one than before it is asked whose rules have changed
 * since, and only these allocations are compared, rule by rule, and those that somebody has worked on; what is wrong is mended in one bundle.  Traffic of the others is not touched.  An
 * allocation is in doubt until it was found right after its last change, so it does not matter why something differs. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <flowstream/log.h>
#include <flowstream/method.h>

#include "core/client.h"
#include "core/daemon.h"
#include "core/parallel.h"
#include "core/util.h"
#include "daemons/resource/reconcile.h"

FS_LOG_MODULE("reconcile");

enum { LOOK_MS = 5000, READ_MS = 2000, ALL_MS = 60000, COST_SHARE = 50, OPENFLOW_MS = 10000, TELL = 4, BUSY_MS = 10000, BUSY_STEP_US = 10000 };

static void
log_differences(const char *name, const xmlrpc_value *differences)
{
    int all = 0;
    for (size_t i = 0; i < fs_size(differences); i++) {
        if (i < TELL && fs_get_int(fs_item(differences, i), "allocation", 0)) { /* a new switch has no base rules */
            resource_log_difference(fs_item(differences, i));
        }
        all += fs_get_int(fs_item(differences, i), "rules", 1);
    }
    if (all > TELL) {
        fs_log_warning("switch %s: %d rules in all were not as they should be", name, all);
    }
}

/* What became of one that was in doubt.  One that is not installed comes into doubt again when it is; one that was mended is found right the next time; one that the switch cannot have
 * is degraded, and tried again ever more rarely.  Rules that were only lost are put back as often as that happens. */
static void
settle(struct resource *r, const char *name, const struct resource_doubt *d, bool compared, const struct resource_difference_of *differs)
{
    if (compared && !differs) {
        resource_memory_settle(r, name, d, false);
        resource_note_healthy(r, d->id, name);
    } else if (differs && differs->why && d->id) {
        resource_note_mended(r, d->id, name, "its rules are not in a switch", differs->why);
    } else if (!compared && !resource_wants(r, d->id)) {
        resource_memory_settle(r, name, d, false);
    }
}

/* Compare and mend the rules of these allocations, as far as nobody works on them; the platform's own (0) need no claim. */
static void
mend_rules(struct fs_call *call, const xmlrpc_value *where, const struct resource_doubt *doubts, size_t n)
{
    struct resource *r = fs_call_state(call);
    const char *name = fs_get_string(where, "switch", "");
    struct resource_claims claims, compared;
    int *ids = fs_xcalloc(n + 1, sizeof *ids);
    size_t n_may = 0, own = n && !doubts[0].id;
    for (size_t i = own; i < n; i++) {
        if (resource_may_mend(r, doubts[i].id, name)) {
            ids[n_may++] = doubts[i].id;
        }
    }
    resource_claims_take(r, ids, n_may, &claims);
    ids[0] = 0;
    if (claims.n) {
        memcpy(ids + own, claims.ids, claims.n * sizeof *ids);
    }
    compared = (struct resource_claims) { ids, claims.n + own };
    xmlrpc_value *differences = fs_array();
    char *why = resource_compare_switch(call, where, compared.ids, compared.n, false, differences);
    log_differences(name, differences);
    size_t n_differ;
    struct resource_difference_of *differ = resource_sort_differences(differences, &n_differ);
    for (size_t i = 0; i < n && !why; i++) {
        settle(r, name, &doubts[i], resource_claims_has(&compared, doubts[i].id), resource_differs(differ, n_differ, doubts[i].id));
    }
    free(differ);
    if (why) {
        fs_log_limited(FS_LOG_WARNING, "switch %s: %s", name, why);
    }
    resource_claims_give(r, &claims);
    fs_free(differences);
    free(ids);
    free(why);
}

static void
sweep(struct fs_call *call, const char *name)
{
    struct fs_reply reply;
    fs_call_task(call, "sweep", fs_set(fs_struct(), "switch", fs_string(name)), &reply);
    fs_reply_clear(&reply);
}

static void
look_at_doubts(struct fs_call *call, const xmlrpc_value *where)
{
    struct resource *r = fs_call_state(call);
    const char *name = fs_get_string(where, "switch", "");
    xmlrpc_value *orphans = fs_array();
    size_t n;
    struct resource_doubt *doubts = resource_memory_doubted(r, name, &n);
    n = resource_sort_out(r, name, doubts, n, orphans);
    if (n) {
        mend_rules(call, where, doubts, n);
    }
    if (fs_size(orphans)) {
        sweep(call, name);
    }
    fs_free(orphans);
    free(doubts);
}

/* A switch that does not tell what changes is read whole each time, so it is asked as often as that takes a small part of the time; and so are all for what they did not tell. */
static void
set_due(struct resource *r, const char *name, int64_t took, bool told, bool all)
{
    int64_t rest = all || !told ? resource_memory_cost(r, name, took) * COST_SHARE : 0, least = told ? LOOK_MS : READ_MS;
    resource_memory_set_due(r, name, RESOURCE_LOOK, told ? least : rest > least ? rest : least);
    if (all) {
        resource_memory_set_due(r, name, RESOURCE_LOOK_AT_ALL, rest > ALL_MS ? rest : ALL_MS);
    }
}

static void
look_at_switch(struct fs_call *call, const xmlrpc_value *where)
{
    struct resource *r = fs_call_state(call);
    const char *name = fs_get_string(where, "switch", "");
    bool all = resource_memory_is_due(r, name, RESOURCE_LOOK_AT_ALL);
    char *known = all ? fs_xstrdup("") : resource_memory_right(r, name);
    int64_t begin = fs_now_ms();
    struct fs_reply reply = { 0 };
    struct fs_peer *openflow = fs_daemon_peer(fs_call_daemon(call), "openflow");
    xmlrpc_value *which = fs_set(fs_copy(where), "known", fs_string(known));
    if (!openflow || fs_peer_call(openflow, "get_rule_changes", fs_append(fs_array(), which), OPENFLOW_MS, fs_call_request_id(call), &reply)) {
        fs_log_limited(FS_LOG_WARNING, "switch %s: %s", name, openflow ? reply.message : "no openflow daemon is in the configuration");
    } else {
        resource_note_changes(r, name, name, reply.value, resource_ids_in);
        set_due(r, name, fs_now_ms() - begin, fs_get_bool(reply.value, "told", false), all);
        look_at_doubts(call, where);
        if (all) {
            resource_note_undoubted_healthy(r, name);
        }
    }
    fs_reply_clear(&reply);
    free(known);
}

struct work {
    struct fs_call *call;
    const xmlrpc_value *switches;
    const xmlrpc_value **heard; /* what the OpenFlow daemon has heard of switches, by name */
    size_t n_heard;
    const char *only; /* or NULL: all that are due */
};

static int
by_name(const void *a, const void *b)
{
    return strcmp(fs_get_string(*(const xmlrpc_value *const *) a, "name", ""), fs_get_string(*(const xmlrpc_value *const *) b, "name", ""));
}

/* The state in which the OpenFlow daemon takes our rules in a switch to be; "" where it does not know. */
static const char *
heard_of(const struct work *w, const xmlrpc_value *sw)
{
    const xmlrpc_value **one = w->n_heard ? bsearch(&sw, w->heard, w->n_heard, sizeof *w->heard, by_name) : NULL;
    return one && !strcmp(fs_get_string(*one, "target", ""), fs_get_string(sw, "target", "")) ? fs_get_string(*one, "rules", "") : "";
}

static bool
has_reason(struct resource *r, const char *name, const char *heard)
{
    char *right = resource_memory_right(r, name);
    bool other = *heard && strcmp(heard, right);
    free(right);
    return other || resource_memory_doubts(r, name) || resource_memory_is_due(r, name, RESOURCE_LOOK);
}

static void
one_switch(void *aux, size_t i)
{
    const struct work *w = aux;
    struct resource *r = fs_call_state(w->call);
    const xmlrpc_value *sw = fs_item(w->switches, i);
    const char *name = fs_get_string(sw, "name", "");
    bool mine = false, due = w->only ? !strcmp(w->only, name) : has_reason(r, name, heard_of(w, sw));
    /* Whoever asked for this one alone relies on it: he waits for whom is at it. */
    for (int64_t until = fs_now_ms() + BUSY_MS; due && !(mine = resource_memory_begin(r, name)) && w->only && fs_now_ms() < until && !fs_call_cancelled(w->call);) {
        usleep(BUSY_STEP_US);
    }
    if (mine) {
        xmlrpc_value *where = fs_set(fs_struct(), "switch", fs_string(name));
        fs_set(where, "target", fs_string(fs_get_string(sw, "target", "")));
        if (!fs_call_cancelled(w->call)) {
            look_at_switch(w->call, where);
        }
        resource_memory_end(r, name);
        fs_free(where);
    }
}

/* What the OpenFlow daemon has heard of switches: it does not have to ask one for that. */
static void
hear(struct work *w, struct fs_reply *reply)
{
    struct fs_peer *openflow = fs_daemon_peer(fs_call_daemon(w->call), "openflow");
    bool heard = openflow && !fs_peer_call(openflow, "list_switches", fs_array(), OPENFLOW_MS, fs_call_request_id(w->call), reply);
    w->n_heard = heard ? fs_size(reply->value) : 0;
    w->heard = fs_xcalloc(w->n_heard + 1, sizeof *w->heard);
    for (size_t i = 0; i < w->n_heard; i++) {
        w->heard[i] = fs_item(reply->value, i);
    }
    if (w->n_heard) {
        qsort(w->heard, w->n_heard, sizeof *w->heard, by_name);
    }
}

static void
run(struct fs_call *call)
{
    xmlrpc_value *switches = resource_switches(fs_call_state(call));
    struct work w = { .call = call, .switches = switches, .only = fs_get_string(fs_call_param(call, 0), "switch", NULL) };
    struct fs_reply reply = { 0 };
    if (!w.only) {
        hear(&w, &reply);
    }
    fs_parallel(fs_size(switches), one_switch, &w); /* one that is away does not keep the others waiting */
    free(w.heard);
    fs_reply_clear(&reply);
    fs_free(switches);
}

FS_TASK = {
    FS_IS_TASK,
    .name = "reconcile_switches",
    .help = "Compares the rules that have changed in switches, and those of allocations that were worked on, with what is wanted, and puts the difference right, one bundle a switch. Rules of others are never touched.",
    .params = { { "parameter", "any?", "switch: only this one, and now" } },
    .returns = "nil",
    .idempotent = true,
    .run = run,
};

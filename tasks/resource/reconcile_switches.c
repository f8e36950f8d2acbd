/* reconcile_switches: the rules in switches are those that are wanted, by nothing but the difference.
 *
 * Level-triggered: each switch is asked for a digest of our rules in it.  Where that is the one with which it was last found right nothing is compared; else it tells the digest of
 * each allocation, and those that changed are compared rule by rule and mended in one bundle.  Traffic of the others is not touched.  How often a switch is asked follows what the
 * asking costs it. */
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

enum { SWITCH_MS = 2000, AGAIN_MS = 900, COST_SHARE = 50, OPENFLOW_MS = 10000, TELL = 4, BUSY_MS = 10000, BUSY_STEP_US = 10000 };

/* The digest of an allocation in a list of [id, digest], ascending; "" where it has no rules. */
static const char *
digest_of(const xmlrpc_value *list, int id)
{
    size_t low = 0, high = fs_size(list);
    while (low < high) {
        size_t middle = (low + high) / 2;
        const xmlrpc_value *one = fs_item(list, middle);
        int its = (int) fs_number(fs_item(one, 0), 0);
        if (its == id) {
            return fs_text(fs_item(one, 1), "");
        }
        low = its < id ? middle + 1 : low;
        high = its < id ? high : middle;
    }
    return "";
}

/* Which allocations have to be compared: those whose rules are not as they were when they were last found right.  *orphans: somebody has rules whom nobody knows. */
static int *
changed_owners(struct resource *r, const char *name, const char *process, const xmlrpc_value *digests, size_t *n, bool *orphans)
{
    size_t n_wanted;
    int *ids = resource_ids_in(r, name, &n_wanted);
    ids = fs_xrealloc(ids, (n_wanted + fs_size(digests) + 1) * sizeof *ids);
    for (size_t i = 0; i < fs_size(digests); i++) {
        int id = (int) fs_number(fs_item(fs_item(digests, i), 0), 0);
        *orphans = *orphans || (id && !resource_knows(r, id));
        ids[n_wanted++] = id; /* also those that should have none here */
    }
    ids[n_wanted++] = 0;
    size_t all = n_wanted;
    *n = 0;
    qsort(ids, all, sizeof *ids, resource_by_id);
    for (size_t i = 0; i < all; i++) {
        char *state = fs_xasprintf("%s/%s", process, digest_of(digests, ids[i]));
        bool again = *n && ids[*n - 1] == ids[i];
        bool known = !ids[i] || resource_knows(r, ids[i]);
        if (!again && known && !resource_memory_is_right(r, name, ids[i], state)) {
            ids[(*n)++] = ids[i];
        }
        free(state);
    }
    return ids;
}

/* Tell the first few of the differences, and how many there are. */
static void
tell(const char *name, const xmlrpc_value *differences)
{
    int all = 0;
    for (size_t i = 0; i < fs_size(differences); i++) {
        const xmlrpc_value *d = fs_item(differences, i);
        if (i < TELL && fs_get_int(d, "allocation", 0)) { /* a new switch has no base rules */
            resource_log_difference(d);
        }
        all += fs_get_int(d, "rules", 1);
    }
    if (all > TELL) {
        fs_log_warning("switch %s: %d rules in all were not as they should be", name, all);
    }
}

/* What came of it: an allocation that was right is so with the digest that it had.  One that the switch cannot have is degraded, and tried again ever more rarely; rules that were
 * only lost are put back as often as that happens. */
static bool
note(struct resource *r, const char *name, int id, const char *digest, const struct resource_difference_of *difference, int64_t asked)
{
    if (!difference) {
        resource_memory_note(r, name, id, digest, asked);
    } else if (id && difference->why) {
        resource_note_mended(r, id, name, "its rules are not in a switch", difference->why);
    }
    return !difference;
}

/* Compare and mend the rules of these allocations, ascending, whose digests are those of when it was 'asked'; true when all of them were right. */
static bool
mend_rules(struct fs_call *call, const xmlrpc_value *where, const char *process, const xmlrpc_value *digests, int64_t asked, const int *ids, size_t n)
{
    struct resource *r = fs_call_state(call);
    const char *name = fs_get_string(where, "switch", "");
    struct resource_claims claims;
    xmlrpc_value *differences = fs_array();
    int *may = fs_xcalloc(n + 1, sizeof *may), *wrong = fs_xcalloc(n + 1, sizeof *wrong);
    size_t n_may = 0, n_wrong = 0, n_differ;
    for (size_t i = 0; i < n; i++) {
        if (!ids[i] || resource_may_mend(r, ids[i], name)) {
            may[n_may++] = ids[i];
        }
    }
    resource_claims_take(r, may, n_may, &claims);
    bool base = n_may && !may[0];
    if (base) {
        claims.ids[claims.n] = 0; /* the platform's own need no claim; there is room for one more */
    }
    char *why = resource_compare_switch(call, where, claims.ids, claims.n + base, false, differences);
    if (why) {
        fs_log_limited(FS_LOG_WARNING, "switch %s: %s", name, why);
    }
    tell(name, differences);
    struct resource_difference_of *differ = resource_sort_differences(differences, &n_differ);
    for (size_t i = 0; i < n; i++) {
        bool compared = !why && (ids[i] ? resource_claims_has(&claims, ids[i]) : base);
        char *digest = fs_xasprintf("%s/%s", process, digest_of(digests, ids[i]));
        if (!compared || !note(r, name, ids[i], digest, resource_differs(differ, n_differ, ids[i]), asked)) {
            wrong[n_wrong++] = ids[i];
        }
        free(digest);
    }
    resource_note_others_healthy(r, name, wrong, n_wrong);
    resource_claims_give(r, &claims);
    fs_free(differences);
    free(differ);
    free(may);
    free(wrong);
    free(why);
    return !n_wrong;
}

static void
sweep(struct fs_call *call, const char *name)
{
    struct fs_reply reply;
    fs_call_task(call, "sweep", fs_set(fs_struct(), "switch", fs_string(name)), &reply);
    fs_reply_clear(&reply);
}

/* The switch is in another state than the one that was right. */
static bool
compare(struct fs_call *call, const xmlrpc_value *where, const xmlrpc_value *answer, int64_t asked)
{
    const char *name = fs_get_string(where, "switch", ""), *digest = fs_get_string(answer, "digest", "");
    char *process = fs_xasprintf("%.*s", (int) strcspn(digest, "-"), digest); /* digests of another process of the daemon mean nothing */
    size_t n = 0;
    bool orphans = false;
    int *ids = changed_owners(fs_call_state(call), name, process, fs_get(answer, "owners"), &n, &orphans);
    bool right = !n || mend_rules(call, where, process, fs_get(answer, "owners"), asked, ids, n);
    if (orphans) {
        sweep(call, name);
    }
    free(ids);
    free(process);
    return right && !orphans;
}

/* When a switch is to be asked again that was asked just now, which took so long. */
static int64_t
next_time(struct resource *r, const char *name, int64_t took)
{
    int64_t pause = resource_memory_cost(r, name, took) * COST_SHARE;
    return fs_now_ms() + (pause > SWITCH_MS ? pause : SWITCH_MS);
}

static void
look_at_switch(struct fs_call *call, const xmlrpc_value *where)
{
    struct resource *r = fs_call_state(call);
    const char *name = fs_get_string(where, "switch", "");
    char *right = resource_memory_right(r, name);
    int64_t begin = fs_now_ms(), next;
    bool good = true;
    struct fs_reply reply = { 0 };
    struct fs_peer *openflow = fs_daemon_peer(fs_call_daemon(call), "openflow");
    xmlrpc_value *which = fs_set(fs_copy(where), "known", fs_string(right));
    if (!openflow || fs_peer_call(openflow, "get_digests", fs_append(fs_array(), which), OPENFLOW_MS, fs_call_request_id(call), &reply)) {
        fs_log_limited(FS_LOG_WARNING, "switch %s: %s", name, openflow ? reply.message : "no openflow daemon is in the configuration");
    } else if (next = next_time(r, name, fs_now_ms() - begin), fs_get(reply.value, "owners")) {
        good = compare(call, where, reply.value, begin);
        resource_memory_set_right(r, name, good ? fs_get_string(reply.value, "digest", "") : "", begin);
        resource_memory_set_due(r, name, good ? next : fs_now_ms() + AGAIN_MS);
    } else {
        resource_memory_set_due(r, name, next);
    }
    fs_reply_clear(&reply);
    free(right);
}

struct work {
    struct fs_call *call;
    const xmlrpc_value *switches;
    const char *only; /* or NULL: all that are due */
};

static void
one_switch(void *aux, size_t i)
{
    const struct work *w = aux;
    struct resource *r = fs_call_state(w->call);
    const xmlrpc_value *sw = fs_item(w->switches, i);
    const char *name = fs_get_string(sw, "name", "");
    bool mine = false, due = w->only ? !strcmp(w->only, name) : fs_now_ms() >= resource_memory_due(r, name);
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

static void
run(struct fs_call *call)
{
    xmlrpc_value *switches = resource_switches(fs_call_state(call));
    struct work w = { call, switches, fs_get_string(fs_call_param(call, 0), "switch", NULL) };
    fs_parallel(fs_size(switches), one_switch, &w); /* one that is away does not keep the others waiting */
    fs_free(switches);
}

FS_TASK = {
    FS_IS_TASK,
    .name = "reconcile_switches",
    .help = "Compares the rules in switches whose digest has changed with what is wanted, and puts the difference right, one bundle a switch. Rules of others are never touched.",
    .params = { { "parameter", "any?", "switch: only this one, and now" } },
    .returns = "nil",
    .idempotent = true,
    .run = run,
};

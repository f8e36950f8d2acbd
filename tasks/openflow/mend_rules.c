/* mend_rules: make the rules and meters of allocations in one switch what they should be, by nothing but the difference, the rules in one atomic bundle.
 *
 * Rules that are as they should be are not touched: their counters and the traffic that they carry go on.  Extra rules are taken away first, then what is missing is added in
 * the order given.  An allocation that needs a port which the switch has not got, or a meter whose id is somebody else's, is left as it is, and said.  Meters are put
 * right before the rules that use them, and those that are too much go behind them. */
#include <stdlib.h>
#include <string.h>

#include <flowstream/log.h>
#include <flowstream/method.h>
#include <flowstream/openflow.h>

#include "core/util.h"
#include "daemons/openflow/meters.h"
#include "daemons/openflow/switches.h"

FS_LOG_MODULE("mend");

enum { SWITCH_MS = 8000 };

struct wanted {
    uint32_t *ids;
    struct fs_change *changes;
    size_t n_ids, n;
    struct fs_meter *meters;
    size_t n_meters;
};

/* How the switch differs from that. */
struct found {
    struct fs_difference *rules;
    struct fs_meter_difference *meters;
    size_t n_rules, n_meters;
};

/* NULL, or what is wrong with it. */
static char *
collect(const xmlrpc_value *list, struct wanted *w)
{
    char *error = NULL;
    for (size_t i = 0; i < fs_size(list) && !error; i++) {
        const xmlrpc_value *rules = fs_get(fs_item(list, i), "rules");
        uint32_t id = (uint32_t) fs_get_int(fs_item(list, i), "allocation", 0);
        w->ids = fs_xrealloc(w->ids, (w->n_ids + 1) * sizeof *w->ids);
        w->ids[w->n_ids++] = id;
        w->changes = fs_xrealloc(w->changes, (w->n + fs_size(rules) + 1) * sizeof *w->changes);
        for (size_t k = 0; k < fs_size(rules); k++) {
            w->changes[w->n++] = (struct fs_change) { FS_CHANGE_ADD, fs_text(fs_item(rules, k), ""), fs_cookie(id, (uint16_t) k), 0 };
        }
        error = openflow_read_meters(fs_get(fs_item(list, i), "meters"), id, &w->meters, &w->n_meters);
    }
    return error;
}

static const char *const problems[] = { [FS_RULE_MISSING] = "missing", [FS_RULE_CHANGED] = "changed", [FS_RULE_EXTRA] = "extra" };

static xmlrpc_value *
describe(const struct fs_difference *d)
{
    xmlrpc_value *v = fs_set(fs_struct(), "allocation", fs_int((int) fs_cookie_allocation(d->cookie)));
    fs_set(fs_set(v, "problem", fs_string(problems[d->kind])), "rule", fs_string(d->text));
    return d->why ? fs_set(v, "why", fs_string(d->why)) : v;
}

static xmlrpc_value *
describe_meter(const struct fs_meter_difference *d)
{
    xmlrpc_value *v = fs_set(fs_struct(), "allocation", fs_int((int) d->meter.allocation));
    fs_set(v, "problem", fs_string(problems[d->kind]));
    fs_set(v, "meter", fs_stringf("meter=%u,kbps,burst,band=type=drop,rate=%u,burst_size=%u", d->meter.id, d->meter.kbps, d->meter.burst));
    return d->why ? fs_set(v, "why", fs_string(d->why)) : v;
}

/* All of them; or, briefly, one for all rules of an allocation that differ in the same way, with their number. */
static xmlrpc_value *
describe_all(const struct found *f, bool brief)
{
    const struct fs_difference *d = f->rules;
    xmlrpc_value *all = fs_array();
    for (size_t i = 0; i < f->n_meters; i++) {
        fs_append(all, describe_meter(&f->meters[i]));
    }
    for (size_t i = 0, same = 1; i < f->n_rules; i += same, same = 1) {
        while (brief && !d[i].why && i + same < f->n_rules && !d[i + same].why && d[i + same].kind == d[i].kind
               && fs_cookie_allocation(d[i + same].cookie) == fs_cookie_allocation(d[i].cookie)) {
            same++;
        }
        xmlrpc_value *one = describe(&d[i]);
        fs_append(all, same > 1 ? fs_set(one, "rules", fs_int((int) same)) : one);
    }
    return all;
}

/* Does the allocation need what the switch has not got? */
static bool
is_hopeless(const struct found *f, uint32_t allocation)
{
    for (size_t i = 0; i < f->n_rules; i++) {
        if (f->rules[i].why && fs_cookie_allocation(f->rules[i].cookie) == allocation) {
            return true;
        }
    }
    for (size_t i = 0; i < f->n_meters; i++) {
        if (f->meters[i].why && f->meters[i].meter.allocation == allocation) {
            return true;
        }
    }
    return false;
}

static bool
all_good(const struct found *f)
{
    for (size_t i = 0; i < f->n_rules; i++) {
        if (f->rules[i].why) {
            return false;
        }
    }
    for (size_t i = 0; i < f->n_meters; i++) {
        if (f->meters[i].why) {
            return false;
        }
    }
    return true;
}

/* The changes that make an end of the differences, those that can be. */
static struct fs_change *
changes_for(const struct found *f, size_t *n_changes)
{
    struct fs_change *changes = fs_xcalloc(f->n_rules + 1, sizeof *changes);
    bool good = all_good(f);
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < f->n_rules; i++) {
            const struct fs_difference *d = &f->rules[i];
            bool extra = d->kind == FS_RULE_EXTRA;
            if (extra == !pass && (good || !is_hopeless(f, fs_cookie_allocation(d->cookie)))) {
                changes[(*n_changes)++] = extra ? (struct fs_change) { FS_CHANGE_DELETE_STRICT, d->text, d->cookie, FS_COOKIE_EXACT_MASK }
                                                : (struct fs_change) { FS_CHANGE_ADD, d->text, d->cookie, 0 };
            }
        }
    }
    return changes;
}

static int
mend(struct fs_switch *sw, const struct found *f, char **error)
{
    size_t n_changes = 0;
    struct fs_change *changes = changes_for(f, &n_changes);
    int e = f->n_meters ? openflow_mend_meters(sw, f->meters, f->n_meters, false, SWITCH_MS, error) : 0;
    e = e || !n_changes ? e : fs_switch_apply(sw, changes, n_changes, SWITCH_MS, error);
    e = e || !f->n_meters ? e : openflow_mend_meters(sw, f->meters, f->n_meters, true, SWITCH_MS, error);
    if (!e && (n_changes || f->n_meters)) {
        fs_log_info("switch %s: %zu rules of %zu that differed are put right, and %zu meters looked after", fs_switch_name(sw), n_changes, f->n_rules, f->n_meters);
    }
    free(changes);
    return e;
}

/* How many of the changes behind 'from' are of this allocation; they are in the order of the ids. */
static size_t
rules_of(const struct wanted *w, size_t from, uint32_t id)
{
    size_t n = 0;
    while (from + n < w->n && fs_cookie_allocation(w->changes[from + n].cookie) == id) {
        n++;
    }
    return n;
}

/* Keep of 'w' those allocations with their changes, in their order, that are (or are not) of a kind. */
static void
keep(struct wanted *w, const bool *kind, bool which)
{
    struct wanted left = { 0 };
    for (size_t i = 0, from = 0, n; i < w->n_ids; i++, from += n) {
        n = rules_of(w, from, w->ids[i]);
        if (kind[i] == which) {
            memmove(w->changes + left.n, w->changes + from, n * sizeof *w->changes);
            left.n += n;
            w->ids[left.n_ids++] = w->ids[i];
        }
    }
    w->n = left.n;
    w->n_ids = left.n_ids;
}

/* Leave out of 'w' the allocations that are as they should be, by what the switch has told.  One with another number of rules is not: what it would have to be is not worked out. */
static int
leave_out_right(struct fs_switch *sw, struct fs_follow *follow, struct wanted *w, char **error)
{
    struct fs_digest *is = fs_xcalloc(w->n_ids + 1, 2 * sizeof *is), *should = is + w->n_ids;
    bool *right = fs_xcalloc(w->n_ids + 1, sizeof *right);
    struct wanted maybe = { fs_xcalloc(w->n_ids + 1, sizeof *w->ids), fs_xcalloc(w->n + 1, sizeof *w->changes), w->n_ids, w->n, w->meters, w->n_meters };
    memcpy(maybe.ids, w->ids, w->n_ids * sizeof *w->ids);
    memcpy(maybe.changes, w->changes, w->n * sizeof *w->changes);
    int e = fs_follow_digests(follow, w->ids, w->n_ids, is, SWITCH_MS, error);
    for (size_t i = 0, from = 0, n; i < w->n_ids && !e; i++, from += n) {
        n = rules_of(w, from, w->ids[i]);
        right[i] = is[i].n == n;
    }
    keep(&maybe, right, true);
    e = e || !maybe.n_ids ? e : fs_switch_expect(sw, maybe.ids, maybe.n_ids, maybe.changes, maybe.n, maybe.meters, maybe.n_meters, should, SWITCH_MS, error);
    for (size_t i = 0, k = 0; i < w->n_ids && !e; i++) {
        if (right[i]) {
            right[i] = is[i].n == should[k].n && is[i].n_meters == should[k].n_meters && is[i].digest == should[k].digest;
            k++;
        }
    }
    if (!e) {
        keep(w, right, false);
    }
    free(maybe.ids);
    free(maybe.changes);
    free(right);
    free(is);
    return e;
}

/* Meters first: a rule that goes with its meter in between is found missing. */
static int
compare(struct fs_switch *sw, const struct wanted *w, struct found *f, char **error)
{
    int e = fs_switch_compare_meters(sw, w->ids, w->n_ids, w->meters, w->n_meters, &f->meters, &f->n_meters, SWITCH_MS, error);
    return e ? e : fs_switch_compare(sw, w->ids, w->n_ids, w->changes, w->n, &f->rules, &f->n_rules, SWITCH_MS, error);
}

static void
run(struct fs_call *call)
{
    const xmlrpc_value *param = fs_call_param(call, 0);
    struct wanted w = { 0 };
    struct found f = { 0 };
    char *error = collect(fs_get(param, "rules"), &w);
    struct fs_switch *sw = error ? NULL : switches_get(fs_call_state(call), fs_get_string(param, "switch", ""), fs_get_string(param, "target", ""), &error);
    bool dry = fs_get_bool(param, "dry_run", false);
    struct fs_follow *follow = sw ? switches_follow(fs_call_state(call), fs_get_string(param, "switch", ""), fs_get_string(param, "target", ""), &error) : NULL;
    int e = !follow ? 1 : dry || !w.n_ids ? 0 : leave_out_right(sw, follow, &w, &error); /* who only asks is told what the switch has, and not what it has told */
    e = e || !w.n_ids ? e : compare(sw, &w, &f, &error);
    e = e || dry ? e : mend(sw, &f, &error);
    if (e) {
        fs_call_fail(call, "%s", error ? error : strerror(e));
    } else {
        fs_call_return(call, describe_all(&f, fs_get_bool(param, "brief", false)));
    }
    fs_differences_free(f.rules, f.n_rules);
    fs_meter_differences_free(f.meters, f.n_meters);
    free(w.changes);
    free(w.ids);
    free(w.meters);
    free(error);
}

FS_TASK = {
    FS_IS_TASK,
    .name = "mend_rules",
    .help = "Compares the rules and meters of allocations in one switch with what they should be and puts the difference right, rules in one atomic bundle; answers "
            "the differences: allocation, problem (missing, changed, extra), rule or meter, why (where the switch cannot have it). What belongs to others is never touched.",
    .params = { { "parameter", "struct",
                  "switch, target; rules: array of {allocation, rules: all of its rules in this switch, meters: the same; as for install_rules}; dry_run (boolean): only tell; brief (boolean): rules of an "
                  "allocation that differ in the same way are told as one, with their number in rules" } },
    .returns = "array",
    .idempotent = true,
    .run = run,
};

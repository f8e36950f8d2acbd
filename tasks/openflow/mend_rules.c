/* mend_rules: make the rules of allocations in one switch what they should be, by nothing but the difference, in one atomic bundle.
 *
 * Rules that are as they should be are not touched: their counters and the traffic that they carry go on.  Extra rules are taken away first, then what is missing is added in
 * the order given.  An allocation that needs a port which the switch has not got is left as it is, and said. */
#include <stdlib.h>
#include <string.h>

#include <flowstream/log.h>
#include <flowstream/method.h>
#include <flowstream/openflow.h>

#include "core/util.h"
#include "daemons/openflow/switches.h"

FS_LOG_MODULE("mend");

enum { SWITCH_MS = 8000 };

struct wanted {
    uint32_t *ids;
    struct fs_change *changes;
    size_t n_ids, n;
};

static void
collect(const xmlrpc_value *list, struct wanted *w)
{
    for (size_t i = 0; i < fs_size(list); i++) {
        const xmlrpc_value *rules = fs_get(fs_item(list, i), "rules");
        uint32_t id = (uint32_t) fs_get_int(fs_item(list, i), "allocation", 0);
        w->ids = fs_xrealloc(w->ids, (w->n_ids + 1) * sizeof *w->ids);
        w->ids[w->n_ids++] = id;
        w->changes = fs_xrealloc(w->changes, (w->n + fs_size(rules) + 1) * sizeof *w->changes);
        for (size_t k = 0; k < fs_size(rules); k++) {
            w->changes[w->n++] = (struct fs_change) { FS_CHANGE_ADD, fs_text(fs_item(rules, k), ""), fs_cookie(id, (uint16_t) k), 0 };
        }
    }
}

static xmlrpc_value *
describe(const struct fs_difference *d)
{
    static const char *const problems[] = { [FS_RULE_MISSING] = "missing", [FS_RULE_CHANGED] = "changed", [FS_RULE_EXTRA] = "extra" };
    xmlrpc_value *v = fs_set(fs_struct(), "allocation", fs_int((int) fs_cookie_allocation(d->cookie)));
    fs_set(fs_set(v, "problem", fs_string(problems[d->kind])), "rule", fs_string(d->text));
    return d->why ? fs_set(v, "why", fs_string(d->why)) : v;
}

/* Does the difference's allocation need what the switch has not got? */
static bool
is_hopeless(const struct fs_difference *d, size_t n, const struct fs_difference *one)
{
    for (size_t i = 0; i < n; i++) {
        if (d[i].why && fs_cookie_allocation(d[i].cookie) == fs_cookie_allocation(one->cookie)) {
            return true;
        }
    }
    return false;
}

/* The changes that make an end of the differences, those that can be. */
static struct fs_change *
changes_for(const struct fs_difference *d, size_t n, size_t *n_changes)
{
    struct fs_change *changes = fs_xcalloc(n + 1, sizeof *changes);
    bool all_good = true;
    for (size_t i = 0; i < n; i++) {
        all_good = all_good && !d[i].why;
    }
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < n; i++) {
            bool extra = d[i].kind == FS_RULE_EXTRA;
            if (extra == !pass && (all_good || !is_hopeless(d, n, &d[i]))) {
                changes[(*n_changes)++] = extra ? (struct fs_change) { FS_CHANGE_DELETE_STRICT, d[i].text, d[i].cookie, FS_COOKIE_EXACT_MASK }
                                                : (struct fs_change) { FS_CHANGE_ADD, d[i].text, d[i].cookie, 0 };
            }
        }
    }
    return changes;
}

static int
mend(struct fs_switch *sw, const struct fs_difference *d, size_t n, char **error)
{
    size_t n_changes = 0;
    struct fs_change *changes = changes_for(d, n, &n_changes);
    int e = n_changes ? fs_switch_apply(sw, changes, n_changes, SWITCH_MS, error) : 0;
    if (!e && n_changes) {
        fs_log_info("switch %s: %zu rules of %zu that differed are put right", fs_switch_name(sw), n_changes, n);
    }
    free(changes);
    return e;
}

/* All of them; or, briefly, one for all rules of an allocation that differ in the same way, with their number. */
static xmlrpc_value *
describe_all(const struct fs_difference *d, size_t n, bool brief)
{
    xmlrpc_value *all = fs_array();
    for (size_t i = 0, same = 1; i < n; i += same, same = 1) {
        while (brief && !d[i].why && i + same < n && !d[i + same].why && d[i + same].kind == d[i].kind
               && fs_cookie_allocation(d[i + same].cookie) == fs_cookie_allocation(d[i].cookie)) {
            same++;
        }
        xmlrpc_value *one = describe(&d[i]);
        fs_append(all, same > 1 ? fs_set(one, "rules", fs_int((int) same)) : one);
    }
    return all;
}

static void
run(struct fs_call *call)
{
    const xmlrpc_value *param = fs_call_param(call, 0);
    struct wanted w = { 0 };
    struct fs_difference *d = NULL;
    size_t n = 0;
    char *error = NULL;
    struct fs_switch *sw = switches_get(fs_call_state(call), fs_get_string(param, "switch", ""), fs_get_string(param, "target", ""), &error);
    collect(fs_get(param, "rules"), &w);
    int e = sw ? fs_switch_compare(sw, w.ids, w.n_ids, w.changes, w.n, &d, &n, SWITCH_MS, &error) : 1;
    e = e || fs_get_bool(param, "dry_run", false) ? e : mend(sw, d, n, &error);
    if (e) {
        fs_call_fail(call, "%s", error ? error : strerror(e));
    } else {
        fs_call_return(call, describe_all(d, n, fs_get_bool(param, "brief", false)));
    }
    fs_differences_free(d, n);
    free(w.changes);
    free(w.ids);
    free(error);
}

FS_TASK = {
    FS_IS_TASK,
    .name = "mend_rules",
    .help = "Compares the rules of allocations in one switch with what they should be and puts the difference right, in one atomic bundle; answers the differences: allocation, "
            "problem (missing, changed, extra), rule, why (where the switch cannot have it). Rules of others are never touched.",
    .params = { { "parameter", "struct",
                  "switch, target; rules: array of {allocation, rules: all of its rules in this switch, as for install_rules}; dry_run (boolean): only tell; brief (boolean): rules of an allocation that differ in the same "
                  "way are told as one, with their number in rules" } },
    .returns = "array",
    .idempotent = true,
    .run = run,
};

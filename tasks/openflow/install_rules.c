/* install_rules: the rules of one allocation into switches, all or none.
 *
 * The rules that let traffic in are bundles of their own.  All bundles are prepared, in all switches at the same time; only when every switch has taken its own are
 * they committed: first those that carry traffic on, in the order given, then those that let it in.  So no packet finds half a path, also where each of two switches lets
 * traffic in that crosses the other.  A switch that refuses a rule, does not answer or has started again meanwhile undoes all: what was committed is taken out, what
 * lets traffic in first.
 *
 * Meters are no part of bundles: those that the rules name are put there before the bundle of their switch is prepared, and taken away again where it all is undone.
 *
 * A bundle first removes what the switch has of the allocation in its tables, then adds the rules, so that doing it again does no harm and packets see the old
 * rules or the new ones. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <flowstream/failpoint.h>
#include <flowstream/log.h>
#include <flowstream/method.h>
#include <flowstream/openflow.h>

#include "core/parallel.h"
#include "core/util.h"
#include "daemons/openflow/meters.h"
#include "daemons/openflow/switches.h"

FS_LOG_MODULE("rules");

enum { SWITCH_DEADLINE_MS = 8000, COMMIT_MS = 5000, CLEAR_MS = 5000, MAX_RULES = 65535, TABLE_CLASSIFY = 10, MAX_TABLES = 256 };

/* What is to be done in one switch: CARRY before LET_IN. */
enum phase { CARRY, LET_IN, N_PHASES };

struct part {
    const xmlrpc_value *item, *rules;
    struct fs_switch *sw;
    struct fs_change *changes[N_PHASES];
    char **texts; /* of deletes, by table */
    size_t n[N_PHASES], n_texts;
    struct fs_bundle *bundles[N_PHASES];
    struct fs_meter *meters;
    size_t n_meters;
    bool metered; /* some of its meters may be there ... */
    bool fresh;   /* ... and none was before */
    char *error;
};

struct work {
    uint32_t id;
    int entry;          /* the table whose rules let traffic in */
    struct part *parts;
    size_t n;
};

/* --- What to do in each switch --- */

static int
table_of(const char *rule)
{
    const char *table = strstr(rule, "table=");
    return table ? atoi(table + 6) : 0;
}

static void
add_change(struct part *p, enum phase phase, struct fs_change change)
{
    p->changes[phase] = fs_xrealloc(p->changes[phase], (p->n[phase] + 1) * sizeof change);
    p->changes[phase][p->n[phase]++] = change;
}

/* Remove what the switch has of the allocation in a table, or (-1) in all. */
static void
add_delete(struct work *w, struct part *p, enum phase phase, int table)
{
    struct fs_change change = { FS_CHANGE_DELETE_COOKIE, NULL, fs_cookie(w->id, 0), FS_COOKIE_ALLOCATION_MASK };
    if (table >= 0) {
        p->texts = fs_xrealloc(p->texts, (p->n_texts + 1) * sizeof *p->texts);
        change.text = p->texts[p->n_texts++] = fs_xasprintf("table=%d", table);
    }
    add_change(p, phase, change);
}

/* The changes of one switch; in one bundle where 'split' is false. */
static void
make_changes(struct work *w, struct part *p, bool split)
{
    bool lets_in = false, carries = false, *seen = fs_xcalloc(MAX_TABLES, sizeof *seen);
    size_t n = fs_size(p->rules);
    for (size_t i = 0; i < n; i++) {
        bool in = table_of(fs_text(fs_item(p->rules, i), "")) == w->entry;
        lets_in = lets_in || in;
        carries = carries || !in;
    }
    split = split && lets_in && carries;
    if (!split) {
        add_delete(w, p, lets_in ? LET_IN : CARRY, -1);
    }
    for (size_t i = 0; i < n; i++) {
        const char *text = fs_text(fs_item(p->rules, i), "");
        int table = table_of(text);
        enum phase phase = split ? (table == w->entry ? LET_IN : CARRY) : lets_in ? LET_IN : CARRY;
        if (split && table >= 0 && table < MAX_TABLES && !seen[table]) {
            seen[table] = true;
            add_delete(w, p, phase, table);
        }
        add_change(p, phase, (struct fs_change) { FS_CHANGE_ADD, text, fs_cookie(w->id, (uint16_t) i), 0 });
    }
    free(seen);
}

/* --- Meters --- */

static int
put_meters(const struct work *w, struct part *p, char **error)
{
    p->metered = p->n_meters > 0;
    int e = p->metered ? openflow_put_meters(p->sw, w->id, p->meters, p->n_meters, SWITCH_DEADLINE_MS, &p->fresh, error) : 0;
    if (!e && p->metered && FS_FAILPOINT_ERROR("install_rules.meters")) {
        *error = fs_xasprintf("switch %s: failpoint", fs_get_string(p->item, "switch", ""));
        e = EIO;
    }
    return e;
}

/* Those that rules of before used and these do not. */
static void
trim_meters(const struct work *w, struct part *p)
{
    char *ignored = NULL;
    if (p->metered && openflow_trim_meters(p->sw, w->id, p->meters, p->n_meters, CLEAR_MS, &ignored)) {
        fs_log_warning("meters of allocation %u may be left: %s", w->id, ignored);
    }
    free(ignored);
}

/* Behind the rules, which would go with them.  all: also where the allocation had some before, since its rules are gone as well. */
static void
remove_meters(struct work *w, bool all)
{
    for (size_t i = 0; i < w->n; i++) {
        char *ignored = NULL;
        if (w->parts[i].metered && (all || w->parts[i].fresh) && fs_switch_remove_meters(w->parts[i].sw, w->id, CLEAR_MS, &ignored)) {
            fs_log_warning("meters of allocation %u may be left: %s", w->id, ignored);
        }
        free(ignored);
    }
}

/* --- Preparing, committing, undoing --- */

static void
prepare(void *aux, size_t i)
{
    struct work *w = aux;
    struct part *p = &w->parts[i];
    put_meters(w, p, &p->error);
    for (int phase = 0; phase < N_PHASES && !p->error; phase++) {
        if (p->n[phase]) {
            fs_switch_prepare(p->sw, p->changes[phase], p->n[phase], SWITCH_DEADLINE_MS, &p->bundles[phase], &p->error);
        }
    }
}

static char *
first_error(struct work *w)
{
    for (size_t i = 0; i < w->n; i++) {
        if (w->parts[i].error) {
            char *error = w->parts[i].error;
            w->parts[i].error = NULL;
            return error;
        }
    }
    return NULL;
}

static void
discard(struct work *w)
{
    for (size_t i = 0; i < w->n; i++) {
        for (int phase = 0; phase < N_PHASES; phase++) {
            fs_bundle_discard(w->parts[i].bundles[phase]);
            w->parts[i].bundles[phase] = NULL;
        }
    }
}

/* Prepared everywhere, or nowhere and why. */
static char *
prepare_all(struct work *w)
{
    fs_parallel(w->n, prepare, w);
    char *error = first_error(w), *why = error ? fs_xasprintf("%s; no switch was changed", error) : NULL;
    if (error) {
        discard(w);
        remove_meters(w, false);
    }
    free(error);
    return why;
}

static void
clear(struct work *w, struct part *p, int table)
{
    char *ignored = NULL, *narrow = table >= 0 ? fs_xasprintf("table=%d", table) : NULL;
    struct fs_change change = { FS_CHANGE_DELETE_COOKIE, narrow, fs_cookie(w->id, 0), FS_COOKIE_ALLOCATION_MASK };
    if (fs_switch_apply(p->sw, &change, 1, CLEAR_MS, &ignored)) {
        fs_log_warning("rules of allocation %u may be left: %s", w->id, ignored);
    }
    free(ignored);
    free(narrow);
}

/* Committed everywhere, or undone and why.  A failed commit's own switch is cleared too: the outcome of a broken connection is unknown. */
static char *
commit_all(struct work *w)
{
    char *error = NULL;
    size_t begun[N_PHASES] = { 0 };
    for (int phase = 0; phase < N_PHASES && !error; phase++) {
        for (size_t i = 0; i < w->n && !error; i++) {
            struct fs_bundle *bundle = w->parts[i].bundles[phase];
            w->parts[i].bundles[phase] = NULL;
            begun[phase] = i + 1;
            if (bundle && FS_FAILPOINT_ERROR("install_rules.one_switch")) {
                error = fs_xasprintf("switch %s: failpoint", fs_get_string(w->parts[i].item, "switch", ""));
                fs_bundle_discard(bundle);
            } else if (bundle) {
                fs_bundle_commit(bundle, COMMIT_MS, &error);
            }
        }
    }
    for (int phase = N_PHASES - 1; error && phase >= 0; phase--) {
        for (size_t i = begun[phase]; i--;) {
            if (w->parts[i].n[phase]) {
                clear(w, &w->parts[i], phase == LET_IN ? w->entry : -1);
            }
        }
    }
    char *why = error ? fs_xasprintf("%s; all switches have been put back", error) : NULL;
    if (error) {
        discard(w);
        remove_meters(w, true);
    }
    for (size_t i = 0; i < w->n && !error; i++) {
        trim_meters(w, &w->parts[i]);
    }
    free(error);
    return why;
}

static void
destroy(struct work *w)
{
    discard(w);
    for (size_t i = 0; i < w->n; i++) {
        struct part *p = &w->parts[i];
        for (int phase = 0; phase < N_PHASES; phase++) {
            free(p->changes[phase]);
        }
        free(p->meters);
        while (p->n_texts) {
            free(p->texts[--p->n_texts]);
        }
        free(p->texts);
        free(p->error);
    }
    free(w->parts);
}

/* --- The task --- */

/* Does the switch have just as many rules of the allocation as are wanted?  A meter that is not there has no rules. */
static bool
is_complete(struct fs_switch *sw, uint32_t allocation, size_t wanted)
{
    struct fs_rule *rules = NULL;
    size_t n = 0;
    char *error = NULL;
    int e = fs_switch_rules(sw, fs_cookie(allocation, 0), FS_COOKIE_ALLOCATION_MASK, &rules, &n, SWITCH_DEADLINE_MS, &error);
    fs_rules_free(rules, n);
    free(error);
    return !e && n == wanted;
}

/* The parts of the work, without those that have their rules; NULL or what is wrong. */
static char *
choose(struct fs_call *call, const xmlrpc_value *param, struct work *w)
{
    const xmlrpc_value *list = fs_get(param, "switches");
    bool only_missing = fs_get_bool(param, "only_missing", false) && !fs_get_bool(param, "other", false);
    char *error = NULL;
    w->parts = fs_xcalloc(fs_size(list) + 1, sizeof *w->parts);
    for (size_t i = 0; i < fs_size(list) && !error; i++) {
        struct part *p = &w->parts[w->n];
        *p = (struct part) { .item = fs_item(list, i), .rules = fs_get(fs_item(list, i), "rules") };
        p->sw = switches_get(fs_call_state(call), fs_get_string(p->item, "switch", ""), fs_get_string(p->item, "target", ""), &error);
        if (!error && fs_size(p->rules) > MAX_RULES) {
            error = fs_xasprintf("switch %s: %zu rules for one allocation; %d are possible", fs_get_string(p->item, "switch", ""), fs_size(p->rules), MAX_RULES);
        }
        error = error ? error : openflow_read_meters(fs_get(p->item, "meters"), w->id, &p->meters, &p->n_meters);
        if (error || !only_missing || !is_complete(p->sw, w->id, fs_size(p->rules))) {
            w->n++;
        } else {
            free(p->meters);
        }
    }
    for (size_t i = 0; i < w->n && !error; i++) {
        make_changes(w, &w->parts[i], w->n > 1);
    }
    return error;
}

/* Each switch by itself: what is put back into one must not be taken from another because a third does not answer, so nothing is undone. */
static char *
put_back(struct work *w)
{
    char *error = NULL;
    for (size_t i = 0; i < w->n && !error; i++) {
        struct part *p = &w->parts[i];
        put_meters(w, p, &error);
        for (int phase = 0; phase < N_PHASES && !error; phase++) {
            if (p->n[phase]) {
                fs_switch_apply(p->sw, p->changes[phase], p->n[phase], SWITCH_DEADLINE_MS, &error);
            }
        }
    }
    return error;
}

static void
run(struct fs_call *call)
{
    const xmlrpc_value *param = fs_call_param(call, 0);
    int id = fs_get_int(param, "allocation", -1);
    if (id < 0 || !fs_is(fs_get(param, "switches"), XMLRPC_TYPE_ARRAY)) {
        fs_call_fail(call, "install_rules: parameter needs 'allocation' (int) and 'switches' (array)");
        return;
    }
    struct work w = { .id = (uint32_t) id, .entry = fs_get_int(param, "entry", TABLE_CLASSIFY) };
    char *error = choose(call, param, &w);
    if (!error && fs_get_bool(param, "only_missing", false)) {
        error = put_back(&w);
    } else if (!error) {
        error = prepare_all(&w);
        error = error ? error : commit_all(&w);
    }
    if (error) {
        fs_call_fail(call, "%s", error);
    } else {
        xmlrpc_value *changed = fs_array();
        for (size_t i = 0; i < w.n; i++) {
            const char *name = fs_get_string(w.parts[i].item, "switch", "");
            fs_append(changed, fs_string(name));
            fs_log_info("%zu rules of allocation %d in %s", fs_size(w.parts[i].rules), id, name);
        }
        fs_call_return(call, changed);
    }
    destroy(&w);
    free(error);
}

FS_TASK = {
    FS_IS_TASK,
    .name = "install_rules",
    .help = "Puts the rules and meters of an allocation into switches, replacing what they have of it: prepared in all, then committed, what lets traffic in last. If one refuses, "
            "does not answer or has started again meanwhile, all is undone. Answers the names of the switches that were changed.",
    .params = { { "parameter", "struct",
                  "allocation: id; switches: array of {switch, target, rules: array of rules as ovs-ofctl writes them, without cookie, meters (optional): array of "
                  "{meter: id, kbps, burst (kbit)} that these rules use}; entry (optional): the table "
                  "whose rules let traffic in, default 10; only_missing (boolean): leave a switch alone that has the right number of rules of the allocation, and undo nothing if "
                  "one fails; other (boolean, with only_missing): these are other rules than before, so the right number proves nothing" } },
    .returns = "array",
    .idempotent = true,
    .undo = "remove_rules",
    .run = run,
};

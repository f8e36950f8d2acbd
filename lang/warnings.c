/* The checker, about what is allowed but hardly meant: rules that nothing can match.
 *
 * What a Firewall and a Classifier make of their arguments is fixed (docs/language.md), so their rules can be looked at
 * without asking the types.  Only what is certain is reported: 'all', and what is written twice. */
#include "config.h"

#include "lang/check.h"

#include <stdlib.h>
#include <string.h>

#define MOST_RULES 1000u    /* looked at in one argument string */
#define MOST_FROM_NETS 100u /* compared with each other */
#define MOST_TERMS 32u

struct rule {
    const char *start; /* in the argument string: the expression */
    size_t length;
    size_t from, to; /* the whole rule in the argument string */
    uint32_t index;
};

static void warn_rules(struct check *, uint32_t node, bool verbs);
static void warn_from_nets(struct check *);

void
check_warnings(struct check *check)
{
    if (fs_diagnostics_errors(check->diagnostics)) {
        return; /* first things first */
    }
    const struct syntax_args *last = NULL; /* several names with one string: one warning */
    for (size_t i = 0; i < check->n_nodes; i++) {
        const struct node_facts *facts = &check->facts[i];
        if (facts->stand != STAND_NONE || facts->again || (last && last->span.offset == facts->args->span.offset)) {
            continue;
        }
        last = facts->args;
        if (!strcmp(check->nodes[i].type, "Firewall")) {
            warn_rules(check, (uint32_t) i, true);
        } else if (!strcmp(check->nodes[i].type, "Classifier")) {
            warn_rules(check, (uint32_t) i, false);
        }
    }
    warn_from_nets(check);
}

static bool
is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* The rule that begins at '*at'; '*at' moves behind its comma. */
static struct rule
next_rule(const char *args, size_t *at, bool verb)
{
    size_t length = strcspn(args + *at, ","), from = *at, to = from + length;
    *at = to + (args[to] != '\0');
    while (from < to && is_space(args[from])) {
        from++;
    }
    while (to > from && is_space(args[to - 1])) {
        to--;
    }
    size_t start = from;
    if (verb) {
        start += strcspn(args + start, " \t\n");
        start = start < to ? start : to;
        start += strspn(args + start, " \t\n");
        start = start < to ? start : to;
    }
    return (struct rule) { .start = args + start, .length = to - start, .from = from, .to = to };
}

static int
compare_rules(const void *a_, const void *b_)
{
    const struct rule *a = a_, *b = b_;
    int order = a->length != b->length ? (a->length < b->length ? -1 : 1) : memcmp(a->start, b->start, a->length);
    return order ? order : a->index < b->index ? -1 : 1;
}

static struct span
span_of(const struct check *check, uint32_t node, const struct rule *rule)
{
    return check_span_in_args(check, check->facts[node].args, rule->from, rule->to - rule->from);
}

/* Each rule that has the expression of an earlier one. */
static void
warn_repeated(struct check *check, uint32_t node, struct rule *rules, uint32_t n)
{
    qsort(rules, n, sizeof *rules, compare_rules);
    for (uint32_t i = 1; i < n; i++) {
        if (rules[i].length == rules[i - 1].length && !memcmp(rules[i].start, rules[i - 1].start, rules[i].length)) {
            struct span first = span_of(check, node, &rules[i - 1]);
            struct fs_diagnostic *warning = diagnostics_warning(
                check->diagnostics, span_of(check, node, &rules[i]),
                "this rule of '%s' never matches: an earlier one takes the same packets", check->nodes[node].name);
            diagnostics_note(check->diagnostics, warning, &first, "it is this one");
        }
    }
}

static void
warn_rules(struct check *check, uint32_t node, bool verbs)
{
    const char *args = check->nodes[node].args;
    uint32_t most = 1, n = 0;
    for (const char *p = args; *p && most < MOST_RULES; p++) {
        most += *p == ',';
    }
    struct rule *rules = arena_array(check->work, most, sizeof *rules);
    struct rule all = { .start = NULL }, unreached = { .start = NULL };
    for (size_t at = 0; args[at] && n < most;) {
        struct rule rule = next_rule(args, &at, verbs);
        rule.index = n;
        if (all.start) {
            unreached = rule;
            break;
        }
        rules[n++] = rule;
        if (rule.length == 3 && !memcmp(rule.start, "all", 3)) {
            all = rule;
        }
    }
    warn_repeated(check, node, rules, n);
    if (unreached.start) {
        struct span first = span_of(check, node, &all);
        struct fs_diagnostic *warning = diagnostics_warning(
            check->diagnostics, span_of(check, node, &unreached),
            "this rule of '%s' never matches, and none behind it: 'all' stands before it", check->nodes[node].name);
        diagnostics_note(check->diagnostics, warning, &first, "it is here");
    }
}

/* The terms of a match, sorted; 0 for one that has too many. */
static size_t
split_match(struct check *check, const char *match, const char *terms[static MOST_TERMS])
{
    size_t n = 0;
    char *copy = arena_copy(check->work, match, strlen(match)), *rest = NULL;
    for (char *term = strtok_r(copy, ", \t\n", &rest); term; term = strtok_r(NULL, ", \t\n", &rest)) {
        if (n == MOST_TERMS) {
            return 0;
        }
        size_t i = n++;
        for (; i > 0 && strcmp(terms[i - 1], term) > 0; i--) {
            terms[i] = terms[i - 1];
        }
        terms[i] = term;
    }
    return n;
}

/* Is each of 'terms' among 'others'? */
static bool
are_among(const char *const *terms, size_t n, const char *const *others, size_t n_others)
{
    size_t i = 0;
    for (size_t k = 0; k < n_others && i < n; k++) {
        i += !strcmp(terms[i], others[k]);
    }
    return i == n;
}

/* Every packet that has the terms of both has those of the one with fewer. */
static void
warn_from_nets(struct check *check)
{
    struct match {
        uint32_t node;
        size_t n;
        const char *terms[MOST_TERMS];
    } * matches;
    size_t n = 0, n_from = 0;
    for (size_t i = 0; i < check->n_nodes && n_from < MOST_FROM_NETS; i++) {
        n_from += check->nodes[i].kind == FS_NODE_FROM_NET;
    }
    if (n_from < 2) {
        return;
    }
    matches = arena_array(check->work, n_from, sizeof *matches);
    for (size_t i = 0; i < check->n_nodes && n < n_from; i++) {
        if (check->nodes[i].kind == FS_NODE_FROM_NET && check->facts[i].stand == STAND_NONE) {
            matches[n].node = (uint32_t) i;
            matches[n].n = split_match(check, check->nodes[i].match, matches[n].terms);
            n += matches[n].n > 0;
        }
    }
    for (size_t later = 1; later < n; later++) {
        for (size_t i = 0; i < later; i++) {
            const struct match *a = &matches[i], *b = &matches[later];
            if (are_among(a->terms, a->n, b->terms, b->n) || are_among(b->terms, b->n, a->terms, a->n)) {
                const struct match *narrow = a->n > b->n ? a : b, *wide = narrow == a ? b : a;
                struct fs_diagnostic *warning =
                    diagnostics_warning(check->diagnostics, check->facts[narrow->node].args->span,
                                        "every packet of '%s' matches '%s' as well: one of them does not get it",
                                        check->nodes[narrow->node].name, check->nodes[wide->node].name);
                diagnostics_note(check->diagnostics, warning, &check->facts[wide->node].args->span, "'%s' is here",
                                 check->nodes[wide->node].name);
                break;
            }
        }
    }
}

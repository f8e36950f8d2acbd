/* The checker, about bounds: "delay from -> to < 5ms" names a FromNet and a ToNet that some way joins. */
#include "config.h"

#include "lang/check.h"

#include <string.h>

#include "core/suggest.h"
#include "lang/units.h"

#define MOST_DELAYS 100u /* each is a search through the request */

static bool
find_end(struct check *check, const char *name, struct span span, enum fs_request_node_kind kind, uint32_t *node)
{
    const char *type = kind == FS_NODE_FROM_NET ? "FromNet" : "ToNet";
    *node = table_find(&check->names, name);
    if (*node == TABLE_NONE) {
        struct suggestion suggestion;
        suggest_begin(&suggestion, name);
        for (size_t i = 0; i < check->n_nodes && diagnostics_wanted(check->diagnostics); i++) {
            if (check->nodes[i].kind == kind && check->facts[i].args) {
                suggest_offer(&suggestion, check->nodes[i].name);
            }
        }
        struct fs_diagnostic *error = diagnostics_error(check->diagnostics, span, "'%.64s' is not declared", name);
        diagnostics_suggest(check->diagnostics, error, suggestion.best);
        return false;
    }
    if (check->facts[*node].type && check->nodes[*node].kind != kind) {
        struct fs_diagnostic *error =
            diagnostics_error(check->diagnostics, span, "a bound on the delay %s a %s, but '%s' is a %s",
                              kind == FS_NODE_FROM_NET ? "begins at" : "ends at", type, name, check->nodes[*node].type);
        diagnostics_note(check->diagnostics, error, &check->facts[*node].span, "'%s' is declared here", name);
        return false;
    }
    return check->facts[*node].type != NULL;
}

/* Is there a way along links?  'seen' is free to use. */
static bool
is_reached(const struct check *check, uint32_t from, uint32_t to, bool *seen, uint32_t *stack)
{
    size_t depth = 0;
    memset(seen, 0, check->n_nodes * sizeof *seen);
    stack[depth++] = from;
    while (depth > 0) {
        uint32_t node = stack[--depth];
        for (uint32_t i = check->outgoing.first[node]; i < check->outgoing.first[node + 1]; i++) {
            uint32_t next = check->links[check->outgoing.by_node[i]].to;
            if (next == to) {
                return true;
            }
            if (!seen[next]) {
                seen[next] = true;
                stack[depth++] = next;
            }
        }
    }
    return false;
}

static uint64_t
read_bound(struct check *check, const struct syntax_delay *delay)
{
    const struct check_instance request = { .scope = check->scope, .prefix = "" };
    size_t n_missing = check->file->n_missing;
    const char *text = parameters_value(check, &request, delay->bound, delay->variable, delay->bound_span);
    uint64_t bound = 0;
    if (check->file->n_missing != n_missing) {
        return 0;
    }
    char *wrong = units_read(check->arena, text, UNIT_TIME, &bound);
    if (wrong) {
        diagnostics_error(check->diagnostics, delay->bound_span, "delay: %s", wrong);
    }
    return bound;
}

static const struct syntax_delay *
given_before(const struct syntax_delay *delays, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!strcmp(delays[i].from, delays[n].from) && !strcmp(delays[i].to, delays[n].to)) {
            return &delays[i];
        }
    }
    return NULL;
}

void
check_delays(struct check *check, struct fs_request *request)
{
    const struct syntax_scope *scope = check->scope;
    if (scope->n_delays == 0) {
        return;
    }
    if (scope->n_delays > MOST_DELAYS) {
        diagnostics_error(check->diagnostics, scope->delays[MOST_DELAYS].from_span,
                          "the request has more than %u bounds on delays", MOST_DELAYS);
        return;
    }
    bool *seen = arena_array(check->work, check->n_nodes, sizeof *seen);
    uint32_t *stack = arena_array(check->work, check->n_nodes + 1, sizeof *stack);
    struct fs_request_delay *delays = arena_array(check->arena, scope->n_delays, sizeof *delays);
    for (size_t i = 0; i < scope->n_delays; i++) {
        const struct syntax_delay *delay = &scope->delays[i], *first = given_before(scope->delays, i);
        struct fs_request_delay *result = &delays[request->n_delays];
        result->bound = read_bound(check, delay);
        if (first) {
            struct fs_diagnostic *error =
                diagnostics_error(check->diagnostics, delay->from_span, "the delay from '%s' to '%s' is bounded twice",
                                  delay->from, delay->to);
            diagnostics_note(check->diagnostics, error, &first->from_span, "it is first bounded here");
            continue;
        }
        bool from_good = find_end(check, delay->from, delay->from_span, FS_NODE_FROM_NET, &result->from);
        if (!find_end(check, delay->to, delay->to_span, FS_NODE_TO_NET, &result->to) || !from_good) {
            continue;
        }
        if (!check->incomplete && !check->n_ghosts && !is_reached(check, result->from, result->to, seen, stack)) {
            diagnostics_error(check->diagnostics, delay->to_span, "no way leads from '%s' to '%s'", delay->from,
                              delay->to);
        }
        request->n_delays++;
    }
    request->delays = delays;
}

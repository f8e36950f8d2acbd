/* The checker, about the graph as a whole: no packet can go round in circles, traffic has a way in and a way out.
 *
 * That every module is reached needs no search: each input is connected (ports.c), and without circles a way back from
 * there can end at a FromNet only. */
#include "config.h"

#include "lang/check.h"

#define MOST_NAMED 32u

/* A walk down the links, with a stack of its own in place of recursion. */
struct walk {
    uint32_t *stack; /* nodes from the start to here */
    size_t depth;
    uint32_t *next;     /* node: which of its links is to be followed next */
    uint32_t *position; /* node: 1 + where it is on the stack, 0 not yet seen, DONE left for good */
    bool *reported;     /* node: part of a circle that was named */
};
#define DONE UINT32_MAX

static void check_ways(struct check *);
static void find_circles(struct check *);

void
check_graph(struct check *check)
{
    find_circles(check);
    if (!check->incomplete && !check->n_ghosts) {
        check_ways(check);
    }
}

static void
check_ways(struct check *check)
{
    struct span start = check->scope->span; /* without a block: the beginning of the text */
    bool in = false, out = false;
    for (size_t i = 0; i < check->n_nodes; i++) {
        const struct fs_lang_type *type = check->facts[i].type;
        if (check->facts[i].stand != STAND_NONE) {
            continue;
        }
        in |= check->nodes[i].kind == FS_NODE_FROM_NET || (type->min_inputs == 0 && check->nodes[i].n_inputs == 0);
        out |= check->nodes[i].kind == FS_NODE_TO_NET || (type->min_outputs == 0 && check->nodes[i].n_outputs == 0);
    }
    if (check->n_nodes == 0) {
        diagnostics_error(check->diagnostics, start, "the request declares no modules");
        return;
    }
    if (check->env->partial) {
        return;
    }
    if (!in) {
        diagnostics_error(check->diagnostics, start, "the request has no FromNet: no traffic comes in");
    }
    if (!out) {
        diagnostics_error(check->diagnostics, start,
                          "the request has no ToNet and no module that may keep its traffic: nothing gets out");
    }
}

/* The circle that is on the stack from 'start' on, closed by 'link'. */
static void
report_circle(struct check *check, const struct walk *walk, size_t start, uint32_t link)
{
    char *names = arena_copy(check->work, "", 0);
    size_t length = walk->depth - start;
    for (size_t i = start; i < walk->depth; i++) {
        uint32_t node = walk->stack[i];
        walk->reported[node] = true;
        if (i - start < MOST_NAMED) {
            names = arena_printf(check->work, "%s%s -> ", names, check->nodes[node].name);
        }
    }
    if (length > MOST_NAMED) {
        names = arena_printf(check->work, "%s... %zu more ... -> ", names, length - MOST_NAMED);
    }
    uint32_t first = walk->stack[start];
    struct fs_diagnostic *error =
        diagnostics_error(check->diagnostics, check->spans[link].to, "traffic would go round in a circle: %s%s", names,
                          check->nodes[first].name);
    diagnostics_note(check->diagnostics, error, &check->facts[first].span, "the circle begins at '%s'",
                     check->nodes[first].name);
}

static void
enter(struct check *check, struct walk *walk, uint32_t node)
{
    walk->stack[walk->depth++] = node;
    walk->position[node] = (uint32_t) walk->depth;
    walk->next[node] = check->outgoing.first[node];
}

/* Follow one link of the node on top, or leave that node. */
static void
step(struct check *check, struct walk *walk)
{
    uint32_t node = walk->stack[walk->depth - 1];
    if (walk->next[node] == check->outgoing.first[node + 1]) {
        walk->position[node] = DONE;
        walk->depth--;
        return;
    }
    uint32_t link = check->outgoing.by_node[walk->next[node]++], to = check->links[link].to;
    if (walk->position[to] == 0) {
        enter(check, walk, to);
    } else if (walk->position[to] != DONE && !(walk->reported[to] && walk->reported[node]) &&
               diagnostics_wanted(check->diagnostics)) {
        report_circle(check, walk, walk->position[to] - 1, link);
    }
}

static void
find_circles(struct check *check)
{
    size_t n = check->n_nodes;
    struct walk walk = { .stack = arena_array(check->work, n, sizeof *walk.stack),
                         .next = arena_array(check->work, n, sizeof *walk.next),
                         .position = arena_array(check->work, n, sizeof *walk.position),
                         .reported = arena_array(check->work, n, sizeof *walk.reported) };
    for (uint32_t i = 0; i < n; i++) {
        if (walk.position[i] == 0) {
            enter(check, &walk, i);
        }
        while (walk.depth) {
            step(check, &walk);
        }
    }
}

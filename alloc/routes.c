/* Ways through the switches of a platform.
 *
 * A platform has too many pairs of servers to know all ways beforehand, so each is searched for when it is needed: an A*
 * search over switches, from the start to the end.  Its estimate is the least delay from a switch to the end, which does
 * not depend on what is used: it is known for each switch that the end hangs on, from one row of a table whose rows are
 * filled in when they are first needed (all servers of a rack share a row).  With a perfect estimate the search looks at
 * little but the way itself, unless links are full. */
#include <config.h>

#include "alloc/routes.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "alloc/memory.h"

#define NEVER INT64_MAX            /* a delay: there is no way */
#define NEIGHBOURS 4               /* a switch with more has a row of its own when it is an end */
#define ROWS_BYTES (64u << 20)     /* rows that are kept; beyond that all are made anew */

/* What a search compares, in this order. */
struct cost {
    fs_amount excess;
    fs_amount delay;
    int64_t use; /* in 1024ths of the capacities of the arcs */
};

struct entry {
    struct cost estimate; /* of the whole way */
    int node;
};

struct routes {
    const struct fs_platform *platform;
    fs_amount **rows;      /* by switch: delays from each switch to it, or NULL */
    size_t n_rows, max_rows;

    struct entry *heap;
    int heap_n, heap_room;

    /* By node; what 'search' did not stamp is from an earlier search. */
    uint32_t search;
    uint32_t *reached, *closed, *is_last;
    struct cost *cost;
    int *arrived;          /* the arc that the best way so far comes in by */
    int *last_arc;         /* the arc to the end */
};

struct route *
route_create(const struct fs_platform *platform, const int *arcs, int n)
{
    struct route *route = alloc_zeroed(1, sizeof *route + (size_t) n * sizeof *arcs);

    route->users = 1;
    route->n = n;
    for (int i = 0; i < n; i++) {
        route->arcs[i] = arcs[i];
        route->delay += platform->arcs[arcs[i]].delay;
    }
    return route;
}

struct route *
route_ref(struct route *route)
{
    if (route) {
        route->users++;
    }
    return route;
}

void
route_unref(struct route *route)
{
    if (route && !--route->users) {
        free(route);
    }
}

struct routes *
routes_create(const struct fs_platform *p)
{
    struct routes *r = alloc_zeroed(1, sizeof *r);
    size_t n = (size_t) p->n_nodes, switches = (size_t) p->n_switches;

    r->platform = p;
    r->rows = alloc_zeroed(switches, sizeof *r->rows);
    r->max_rows = switches ? ROWS_BYTES / (switches * sizeof **r->rows) : 1;
    r->max_rows = r->max_rows < 16 ? 16 : r->max_rows;
    r->reached = alloc_zeroed(n, sizeof *r->reached);
    r->closed = alloc_zeroed(n, sizeof *r->closed);
    r->is_last = alloc_zeroed(n, sizeof *r->is_last);
    r->cost = alloc_zeroed(n, sizeof *r->cost);
    r->arrived = alloc_zeroed(n, sizeof *r->arrived);
    r->last_arc = alloc_zeroed(n, sizeof *r->last_arc);
    return r;
}

static void
drop_rows(struct routes *r)
{
    for (int i = 0; i < r->platform->n_switches; i++) {
        free(r->rows[i]);
        r->rows[i] = NULL;
    }
    r->n_rows = 0;
}

void
routes_destroy(struct routes *r)
{
    if (!r) {
        return;
    }
    drop_rows(r);
    free(r->rows);
    free(r->heap);
    free(r->reached);
    free(r->closed);
    free(r->is_last);
    free(r->cost);
    free(r->arrived);
    free(r->last_arc);
    free(r);
}

static bool
less(const struct cost *a, const struct cost *b)
{
    if (a->excess != b->excess) {
        return a->excess < b->excess;
    }
    return a->delay != b->delay ? a->delay < b->delay : a->use < b->use;
}

static void
push(struct routes *r, struct entry entry)
{
    alloc_grow(&r->heap, r->heap_n, &r->heap_room);
    int i = r->heap_n++;
    for (; i > 0 && less(&entry.estimate, &r->heap[(i - 1) / 2].estimate); i = (i - 1) / 2) {
        r->heap[i] = r->heap[(i - 1) / 2];
    }
    r->heap[i] = entry;
}

static struct entry
pop(struct routes *r)
{
    struct entry top = r->heap[0], last = r->heap[--r->heap_n];
    int i = 0;

    for (;;) {
        int child = 2 * i + 1;
        if (child >= r->heap_n) {
            break;
        }
        if (child + 1 < r->heap_n && less(&r->heap[child + 1].estimate, &r->heap[child].estimate)) {
            child++;
        }
        if (!less(&r->heap[child].estimate, &last.estimate)) {
            break;
        }
        r->heap[i] = r->heap[child];
        i = child;
    }
    r->heap[i] = last;
    return top;
}

/* The least delays from every switch to switch node END: Dijkstra's search, backwards. */
static fs_amount *
fill_row(struct routes *r, int end)
{
    const struct fs_platform *p = r->platform;
    fs_amount *row = alloc_zeroed((size_t) p->n_switches, sizeof *row);

    for (int i = 0; i < p->n_switches; i++) {
        row[i] = NEVER;
    }
    r->heap_n = 0;
    row[p->nodes[end].switch_index] = 0;
    push(r, (struct entry) { .node = end });
    while (r->heap_n) {
        struct entry at = pop(r);
        if (at.estimate.delay > row[p->nodes[at.node].switch_index]) {
            continue;
        }
        const int *out = p->out + p->out_start[at.node];
        for (int i = 0; i < p->out_switches[at.node]; i++) {
            const struct fs_arc *in = &p->arcs[out[i] ^ 1];
            fs_amount delay = at.estimate.delay + in->delay, *known = &row[p->nodes[in->from].switch_index];
            if (delay < *known) {
                *known = delay;
                push(r, (struct entry) { .estimate.delay = delay, .node = in->from });
            }
        }
    }
    return row;
}

static const fs_amount *
row_to(struct routes *r, int switch_node)
{
    int i = r->platform->nodes[switch_node].switch_index;

    if (!r->rows[i]) {
        r->rows[i] = fill_row(r, switch_node);
        r->n_rows++;
    }
    return r->rows[i];
}

/* Whether estimates of delays to node TO come from the row of TO itself, because its neighbours are many. */
static bool
has_row(const struct fs_platform *p, int to)
{
    return p->nodes[to].kind == FS_NODE_SWITCH && p->out_switches[to] > NEIGHBOURS;
}

/* The least delay from NODE, a switch, to TO. */
static fs_amount
estimate(struct routes *r, int node, int to)
{
    const struct fs_platform *p = r->platform;
    const int *out = p->out + p->out_start[to];
    fs_amount best = NEVER;

    if (has_row(p, to)) {
        return row_to(r, to)[p->nodes[node].switch_index];
    }

    for (int i = 0; i < p->out_switches[to]; i++) {
        const struct fs_arc *in = &p->arcs[out[i] ^ 1];
        fs_amount delay = row_to(r, in->from)[p->nodes[node].switch_index];
        if (delay != NEVER && delay + in->delay < best) {
            best = delay + in->delay;
        }
    }
    return best;
}

/* What arc ARC adds to COST. */
static struct cost
add_arc(const struct fs_platform *p, struct cost cost, const fs_amount *used, int arc, fs_amount bandwidth)
{
    const struct fs_arc *a = &p->arcs[arc];
    fs_amount over = used[arc] + bandwidth - a->bandwidth;

    if (over > 0) {
        cost.excess += over < bandwidth ? over : bandwidth;
    }
    cost.delay += a->delay;
    cost.use += a->bandwidth ? (int64_t) (1024.0 * (double) (used[arc] + bandwidth) / (double) a->bandwidth) : 1024;
    return cost;
}

/* Notes the way to the end of ARC that costs COST, if it is the best so far. */
static void
reach(struct routes *r, int arc, struct cost cost, int to)
{
    int node = r->platform->arcs[arc].to;
    struct entry entry = { .estimate = cost, .node = node };

    if (r->closed[node] == r->search || (r->reached[node] == r->search && !less(&cost, &r->cost[node]))) {
        return;
    }
    if (node != to) {
        fs_amount rest = estimate(r, node, to);
        if (rest == NEVER) {
            return;
        }
        entry.estimate.delay += rest;
    }
    r->reached[node] = r->search;
    r->cost[node] = cost;
    r->arrived[node] = arc;
    push(r, entry);
}

/* Notes for each neighbour of TO the arc between, and makes sure that the table has what estimates need. */
static void
prepare(struct routes *r, int to)
{
    const struct fs_platform *p = r->platform;

    if (r->n_rows + (size_t) p->out_switches[to] > r->max_rows) {
        drop_rows(r); /* now, because a search must not lose the rows that it uses */
    }
    if (!++r->search) { /* the counter went round: nothing old may look new */
        memset(r->reached, 0, (size_t) p->n_nodes * sizeof *r->reached);
        memset(r->closed, 0, (size_t) p->n_nodes * sizeof *r->closed);
        memset(r->is_last, 0, (size_t) p->n_nodes * sizeof *r->is_last);
        r->search = 1;
    }
    if (has_row(p, to)) {
        row_to(r, to);
    }
    for (int i = p->out_start[to]; i < p->out_start[to + 1]; i++) {
        const struct fs_arc *in = &p->arcs[p->out[i] ^ 1];
        r->last_arc[in->from] = p->out[i] ^ 1;
        r->is_last[in->from] = r->search;
        if (p->nodes[in->from].kind == FS_NODE_SWITCH && !has_row(p, to)) {
            row_to(r, in->from);
        }
    }
    r->heap_n = 0;
}

static struct route *
trace(const struct routes *r, int from, int to)
{
    const struct fs_platform *p = r->platform;
    int n = 0;

    for (int node = to; node != from; node = p->arcs[r->arrived[node]].from) {
        n++;
    }
    int *arcs = alloc_zeroed((size_t) n, sizeof *arcs), i = n;
    for (int node = to; node != from; node = p->arcs[r->arrived[node]].from) {
        arcs[--i] = r->arrived[node];
    }
    struct route *route = route_create(p, arcs, n);
    free(arcs);
    return route;
}

/* Goes from NODE by its arc to the end.  Returns whether that is as good as can be: the shortest way from here and no excess, so that the other arcs
 * from here, which are many at a core switch, need not be looked at. */
static bool
go_last(struct routes *r, const fs_amount *used, int node, int to, fs_amount bandwidth)
{
    const struct fs_platform *p = r->platform;
    struct cost cost = add_arc(p, r->cost[node], used, r->last_arc[node], bandwidth);

    reach(r, r->last_arc[node], cost, to);
    return cost.excess == r->cost[node].excess && p->nodes[node].kind == FS_NODE_SWITCH
           && cost.delay - r->cost[node].delay <= estimate(r, node, to);
}

struct route *
routes_find(struct routes *r, const fs_amount *used, int from, int to, fs_amount bandwidth)
{
    const struct fs_platform *p = r->platform;

    prepare(r, to);
    r->reached[from] = r->closed[from] = r->search;
    r->cost[from] = (struct cost) { 0 };
    for (int node = from; node != to; node = pop(r).node) {
        if (node == from || r->closed[node] != r->search) {
            struct cost cost = r->cost[node];
            const int *out = p->out + p->out_start[node];
            r->closed[node] = r->search;
            bool there = r->is_last[node] == r->search && go_last(r, used, node, to, bandwidth);
            for (int i = 0; !there && i < p->out_switches[node]; i++) {
                reach(r, out[i], add_arc(p, cost, used, out[i], bandwidth), to);
            }
        }
        if (!r->heap_n) {
            return NULL;
        }
    }
    return trace(r, from, to);
}

fs_amount
routes_delay(struct routes *r, int from, int to)
{
    const struct fs_platform *p = r->platform;
    const int *out = p->out + p->out_start[from];
    fs_amount best = NEVER;

    prepare(r, to);
    if (r->is_last[from] == r->search) {
        best = p->arcs[r->last_arc[from]].delay;
    }
    for (int i = 0; i < p->out_switches[from]; i++) {
        fs_amount rest = estimate(r, p->arcs[out[i]].to, to);
        if (rest != NEVER && rest + p->arcs[out[i]].delay < best) {
            best = rest + p->arcs[out[i]].delay;
        }
    }
    return best == NEVER ? -1 : best;
}

/* The state of a search.  See state.h for the idea.
 *
 * Everything is integers, so what a move changed its undoing restores exactly, and the excess never drifts from what a full
 * count gives: the unit test compares the two after each of thousands of random moves. */
#include <config.h>

#include "alloc/state.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "alloc/bounds.h"
#include "alloc/memory.h"
#include "alloc/solution.h"

/* A node with one link, to a switch, hangs on that switch. */
static void
find_ends(struct state *s)
{
    const struct fs_platform *p = s->platform;

    s->ends = alloc_zeroed((size_t) p->n_nodes, sizeof *s->ends);
    for (int n = 0; n < p->n_nodes; n++) {
        struct end *e = &s->ends[n];
        *e = (struct end) { .anchor = n, .up = -1, .down = -1 };
        if (p->nodes[n].kind != FS_NODE_SWITCH && p->out_start[n + 1] - p->out_start[n] == 1 && p->out_switches[n] == 1) {
            e->up = p->out[p->out_start[n]];
            e->down = e->up ^ 1;
            e->anchor = p->arcs[e->up].to;
            e->up_delay = p->arcs[e->up].delay;
            e->down_delay = p->arcs[e->down].delay;
        }
    }
}

/* Lists for each link the paths over it. */
static void
list_paths(struct state *s)
{
    const struct fs_services *v = s->services;
    int total = 0;

    s->link_paths_start = alloc_zeroed((size_t) v->n_links + 2, sizeof *s->link_paths_start);
    for (int i = 0; i < v->n_paths; i++) {
        for (int k = 0; k < v->paths[i].n_links; k++, total++) {
            s->link_paths_start[v->path_links[v->paths[i].first_link + k] + 2]++;
        }
    }
    for (int l = 0; l < v->n_links; l++) {
        s->link_paths_start[l + 2] += s->link_paths_start[l + 1];
    }
    s->link_paths = alloc_zeroed((size_t) total, sizeof *s->link_paths);
    for (int i = 0; i < v->n_paths; i++) {
        for (int k = 0; k < v->paths[i].n_links; k++) {
            s->link_paths[s->link_paths_start[v->path_links[v->paths[i].first_link + k] + 1]++] = i;
        }
    }
}

/* A core weighs what memory there is for one; a unit of delay as a twentieth of a server. */
static void
set_weights(struct state *s)
{
    const struct fs_platform *p = s->platform;
    double cpu = 0, mem = 0;

    for (int i = 0; i < p->n_servers; i++) {
        cpu += (double) p->servers[i].cpu;
        mem += (double) p->servers[i].mem;
    }
    cpu = cpu > 0 ? cpu / p->n_servers : 1;
    mem = mem > 0 ? mem / p->n_servers : 1;
    s->cpu_weight = 100 / cpu;
    s->mem_weight = 100 / mem;
    s->bandwidth_weight = 0.02 / (double) FS_UNIT;
    s->delay_weight = 5 / (double) FS_UNIT;
    s->unrouted_weight = 1e6;
}

struct state *
state_create(const struct fs_platform *p, const struct fs_services *v)
{
    struct state *s = alloc_zeroed(1, sizeof *s);

    s->platform = p;
    s->services = v;
    s->objective = objective_find(NULL);
    s->routes = routes_create(p);
    s->bounds = bounds_create(p, v);
    s->at = alloc_filled((size_t) v->n_nodes, -1);
    s->servers = alloc_zeroed((size_t) p->n_servers, sizeof *s->servers);
    s->used = alloc_zeroed((size_t) p->n_arcs, sizeof *s->used);
    s->link_delay = alloc_zeroed((size_t) v->n_links, sizeof *s->link_delay);
    s->link_way = alloc_filled((size_t) v->n_links, -1);
    s->path_delay = alloc_zeroed((size_t) v->n_paths, sizeof *s->path_delay);
    s->first_on = alloc_filled((size_t) p->n_servers, -1);
    s->next_on = alloc_filled((size_t) v->n_nodes, -1);
    s->before_on = alloc_filled((size_t) v->n_nodes, -1);
    find_ends(s);
    list_paths(s);
    set_weights(s);
    for (int i = 0; i < v->n_paths; i++) {
        s->excess.delay += over_limit(0, v->paths[i].bound);
    }
    return s;
}

void
state_destroy(struct state *s)
{
    if (!s) {
        return;
    }
    for (int i = 0; i < s->n_ways; i++) {
        free(s->ways[i].arcs);
    }
    routes_destroy(s->routes);
    bounds_destroy(s->bounds);
    free(s->ends);
    free(s->at);
    free(s->servers);
    free(s->used);
    free(s->link_delay);
    free(s->link_way);
    free(s->path_delay);
    free(s->link_paths_start);
    free(s->link_paths);
    free(s->first_on);
    free(s->next_on);
    free(s->before_on);
    free(s->ways);
    free(s->way_table);
    free(s);
}

void
state_copy_places(const struct state *s, int *at)
{
    memcpy(at, s->at, (size_t) s->services->n_nodes * sizeof *at);
}

double
state_cost(const struct state *s, const struct excess *e)
{
    return (double) e->cpu * s->cpu_weight + (double) e->mem * s->mem_weight + (double) e->bandwidth * s->bandwidth_weight
           + (double) e->delay * s->delay_weight + (double) e->unrouted * s->unrouted_weight;
}

/* ---- Ways. ---- */

static size_t
way_home(const struct state *s, int from, int to)
{
    uint64_t h = ((uint64_t) (uint32_t) from << 32 | (uint32_t) to) * UINT64_C(0x9e3779b97f4a7c15);

    return (size_t) (h >> 32) & s->way_mask;
}

/* The slot of the way, or the free one where it belongs. */
static int *
way_slot(const struct state *s, int from, int to)
{
    size_t i = way_home(s, from, to);

    while (s->way_table[i] >= 0 && (s->ways[s->way_table[i]].from != from || s->ways[s->way_table[i]].to != to)) {
        i = (i + 1) & s->way_mask;
    }
    return &s->way_table[i];
}

static void
enlarge_ways(struct state *s)
{
    s->way_mask = s->way_table ? s->way_mask * 2 + 1 : 1023;
    free(s->way_table);
    s->way_table = alloc_filled(s->way_mask + 1, -1);
    for (int i = 0; i < s->n_ways; i++) {
        *way_slot(s, s->ways[i].from, s->ways[i].to) = i;
    }
}

/* Gives WAY the arcs that are best for BANDWIDTH more than what is used. */
static void
lay_way(struct state *s, struct way *way, fs_amount bandwidth)
{
    struct route *route = routes_find(s->routes, s->used, way->from, way->to, bandwidth);

    free(way->arcs);
    way->arcs = NULL;
    way->n = -1;
    way->delay = 0;
    if (route) {
        way->n = route->n;
        way->delay = route->delay;
        way->arcs = alloc_zeroed((size_t) route->n, sizeof *way->arcs);
        memcpy(way->arcs, route->arcs, (size_t) route->n * sizeof *way->arcs);
        route_unref(route);
    }
}

/* The way between two anchors, which is looked for when it is needed first. */
static int
way_between(struct state *s, int from, int to, fs_amount bandwidth)
{
    if (!s->way_table || (size_t) s->n_ways * 2 > s->way_mask) {
        enlarge_ways(s);
    }
    int *slot = way_slot(s, from, to);
    if (*slot < 0) {
        alloc_grow(&s->ways, s->n_ways, &s->ways_room);
        s->ways[s->n_ways] = (struct way) { .from = from, .to = to };
        lay_way(s, &s->ways[s->n_ways], bandwidth);
        *slot = s->n_ways++;
    }
    return *slot;
}

/* ---- Entries.  AMOUNT less than 0 strikes out. ---- */

static inline void
change(fs_amount *used, fs_amount amount, fs_amount limit, fs_amount *excess)
{
    fs_amount before = over_limit(*used, limit);

    *used += amount;
    *excess += over_limit(*used, limit) - before;
}

static inline void
change_arc(struct state *s, struct excess *e, int arc, fs_amount amount)
{
    const struct fs_arc *a = &s->platform->arcs[arc];
    const struct objective *o = s->objective;
    double before = o->of_arc ? o->of_arc(s->used[arc], a) : 0;

    change(&s->used[arc], amount, a->bandwidth, &e->bandwidth);
    e->objective += o->of_arc ? o->of_arc(s->used[arc], a) - before : 0;
}

/* Service link LINK has DELAY more than before. */
static void
add_delay(struct state *s, struct excess *e, int link, fs_amount delay)
{
    if (!delay) {
        return;
    }
    s->link_delay[link] += delay;
    e->objective += s->objective->of_delay * (double) delay / (double) FS_UNIT;
    for (int i = s->link_paths_start[link]; i < s->link_paths_start[link + 1]; i++) {
        int path = s->link_paths[i];
        change(&s->path_delay[path], delay, s->services->paths[path].bound, &e->delay);
    }
}

/* Enters (SIGN 1) or strikes out (-1) the traffic of WAY_INDEX. */
static void
account_way(struct state *s, struct excess *e, int way_index, fs_amount amount, int sign)
{
    struct way *way = &s->ways[way_index];

    way->flow += amount;
    e->unrouted += way->n < 0 ? sign : 0;
    for (int i = 0; i < way->n; i++) {
        change_arc(s, e, way->arcs[i], amount);
    }
}

/* Enters AMOUNT for service link L, which moves with NODE, on the links of its two ends.  What a local move does not change is
 * left alone: the link of an end outside the rack, which other threads may look at. */
static void
change_ends(struct state *s, struct excess *e, const struct fs_service_link *l, int node, bool local, fs_amount amount)
{
    const struct end *a = &s->ends[s->at[l->from]], *b = &s->ends[s->at[l->to]];
    bool apart = local && a->anchor != b->anchor;

    if (a->up >= 0 && !(apart && l->from != node)) {
        change_arc(s, e, a->up, amount);
    }
    if (b->down >= 0 && !(apart && l->to != node)) {
        change_arc(s, e, b->down, amount);
    }
}

static void
strike_link(struct state *s, struct excess *e, int link, int node, bool local)
{
    const struct fs_service_link *l = &s->services->links[link];
    int from = s->at[l->from], to = s->at[l->to];

    if (from < 0 || to < 0) {
        return;
    }
    add_delay(s, e, link, -s->link_delay[link]);
    if (from == to) {
        int server = s->platform->nodes[from].server;
        if (server >= 0) {
            change(&s->servers[server].bandwidth, -l->bandwidth, s->platform->servers[server].bandwidth, &e->bandwidth);
        }
        return;
    }
    change_ends(s, e, l, node, local, -l->bandwidth);
    if (s->link_way[link] >= 0 && !local) {
        account_way(s, e, s->link_way[link], -l->bandwidth, -1);
        s->link_way[link] = -1;
    }
}

static void
enter_link(struct state *s, struct excess *e, int link, int node, bool local)
{
    const struct fs_service_link *l = &s->services->links[link];
    int from = s->at[l->from], to = s->at[l->to];

    if (from < 0 || to < 0) {
        return;
    }
    if (from == to) {
        int server = s->platform->nodes[from].server;
        if (server >= 0) {
            change(&s->servers[server].bandwidth, l->bandwidth, s->platform->servers[server].bandwidth, &e->bandwidth);
            add_delay(s, e, link, s->platform->servers[server].delay);
        }
        return;
    }
    const struct end *a = &s->ends[from], *b = &s->ends[to];
    fs_amount delay = a->up_delay + b->down_delay;
    change_ends(s, e, l, node, local, l->bandwidth);
    if (a->anchor != b->anchor) {
        if (!local) {
            s->link_way[link] = way_between(s, a->anchor, b->anchor, l->bandwidth);
            account_way(s, e, s->link_way[link], l->bandwidth, 1);
        }
        delay += s->ways[s->link_way[link]].delay;
    }
    add_delay(s, e, link, delay);
}

/* Enters (SIGN 1) or strikes out (-1) a module at SERVER, and in the server's list. */
static void
account_module(struct state *s, struct excess *e, int node, int server, int sign)
{
    const struct fs_service_node *m = &s->services->nodes[node];
    const struct fs_server *limits = &s->platform->servers[server];
    struct fs_server_load *use = &s->servers[server];

    const struct objective *o = s->objective;
    double before = o->of_server ? o->of_server(use, limits) : 0;

    change(&use->cpu, sign * m->cpu, limits->cpu, &e->cpu);
    change(&use->mem, sign * m->mem, limits->mem, &e->mem);
    use->modules += sign;
    e->objective += o->of_server ? o->of_server(use, limits) - before : 0;
    if (sign > 0) {
        s->next_on[node] = s->first_on[server];
        s->before_on[node] = -1;
        if (s->first_on[server] >= 0) {
            s->before_on[s->first_on[server]] = node;
        }
        s->first_on[server] = node;
        return;
    }
    int next = s->next_on[node], previous = s->before_on[node];
    if (next >= 0) {
        s->before_on[next] = previous;
    }
    *(previous >= 0 ? &s->next_on[previous] : &s->first_on[server]) = next;
}

static void
move(struct state *s, struct excess *e, int node, int where, bool local)
{
    const struct fs_service_node *g = &s->services->nodes[node];
    const int *incident = s->services->incident + g->first_incident;
    bool pm = g->kind == FS_SERVICE_PM;

    if (s->at[node] >= 0) {
        for (int i = 0; i < g->n_incident; i++) {
            strike_link(s, e, incident[i], node, local);
        }
        if (pm) {
            account_module(s, e, node, s->platform->nodes[s->at[node]].server, -1);
        }
    }
    s->at[node] = where;
    if (where >= 0) {
        if (pm) {
            account_module(s, e, node, s->platform->nodes[where].server, 1);
        }
        for (int i = 0; i < g->n_incident; i++) {
            enter_link(s, e, incident[i], node, local);
        }
    }
}

void
state_move(struct state *s, struct excess *e, int node, int where)
{
    bool local = s->at[node] >= 0 && where >= 0 && s->ends[s->at[node]].anchor == s->ends[where].anchor;

    move(s, e, node, where, local);
}

void
state_move_local(struct state *s, struct excess *e, int node, int where)
{
    assert(s->at[node] < 0 || where < 0 || s->ends[s->at[node]].anchor == s->ends[where].anchor);
    move(s, e, node, where, true);
}

double
state_try(struct state *s, int node, int where)
{
    int before = s->at[node];
    struct excess e = s->excess;

    state_move(s, &e, node, where);
    double cost = state_cost(s, &e);
    state_move(s, &e, node, before);
    return cost;
}

/* The delay of each link that goes WAY becomes DELAY more.  Links do not know who shares their way, so all are looked at. */
static void
delay_links(struct state *s, int way, fs_amount delay)
{
    for (int l = 0; delay && l < s->services->n_links; l++) {
        if (s->link_way[l] == way) {
            add_delay(s, &s->excess, l, delay);
        }
    }
}

/* Moves all traffic of way WAY_INDEX to the N ARCS, which become the way's.  Returns the old ones. */
static int *
exchange_arcs(struct state *s, int way_index, int *arcs, int n, fs_amount delay)
{
    struct way *way = &s->ways[way_index];
    int *old = way->arcs;

    for (int i = 0; i < way->n; i++) {
        change_arc(s, &s->excess, way->arcs[i], -way->flow);
    }
    for (int i = 0; i < n; i++) {
        change_arc(s, &s->excess, arcs[i], way->flow);
    }
    delay_links(s, way_index, delay - way->delay);
    way->arcs = arcs;
    way->n = n;
    way->delay = delay;
    return old;
}

bool
state_reroute(struct state *s, int way_index)
{
    struct way *way = &s->ways[way_index];
    double before = state_cost(s, &s->excess);

    if (way->n < 0) {
        return false;
    }
    for (int i = 0; i < way->n; i++) {
        s->used[way->arcs[i]] -= way->flow;
    }
    struct route *route = routes_find(s->routes, s->used, way->from, way->to, way->flow);
    for (int i = 0; i < way->n; i++) {
        s->used[way->arcs[i]] += way->flow;
    }
    int old_n = way->n, *arcs = alloc_zeroed((size_t) route->n, sizeof *arcs);
    fs_amount old_delay = way->delay;
    memcpy(arcs, route->arcs, (size_t) route->n * sizeof *arcs);
    int *old = exchange_arcs(s, way_index, arcs, route->n, route->delay);
    route_unref(route);
    if (state_cost(s, &s->excess) < before) {
        free(old);
        return true;
    }
    free(exchange_arcs(s, way_index, old, old_n, old_delay));
    return false;
}

struct saved_ways {
    int n;
    struct way ways[];
};

struct saved_ways *
state_save_ways(const struct state *s)
{
    struct saved_ways *saved = alloc_zeroed(1, sizeof *saved + (size_t) s->n_ways * sizeof *saved->ways);

    saved->n = s->n_ways;
    for (int i = 0; i < s->n_ways; i++) {
        size_t n = s->ways[i].n < 0 ? 0 : (size_t) s->ways[i].n;
        saved->ways[i] = s->ways[i];
        saved->ways[i].arcs = alloc_zeroed(n, sizeof(int));
        memcpy(saved->ways[i].arcs, s->ways[i].arcs ? s->ways[i].arcs : saved->ways[i].arcs, n * sizeof(int));
    }
    return saved;
}

void
state_restore_ways(struct state *s, const struct saved_ways *saved)
{
    for (int i = 0; i < saved->n; i++) {
        const struct way *old = &saved->ways[i];
        struct way *way = &s->ways[i];
        if (way->n < 0 || (way->n == old->n && !memcmp(way->arcs, old->arcs, (size_t) way->n * sizeof(int)))) {
            continue;
        }
        int *arcs = alloc_zeroed((size_t) old->n, sizeof *arcs);
        memcpy(arcs, old->arcs, (size_t) old->n * sizeof *arcs);
        free(exchange_arcs(s, i, arcs, old->n, old->delay));
    }
}

void
state_free_ways(struct saved_ways *saved)
{
    for (int i = 0; saved && i < saved->n; i++) {
        free(saved->ways[i].arcs);
    }
    free(saved);
}

/* ---- The whole. ---- */

/* The arcs of LINK, at most MAX, in ARCS; returns how many, or -1 when there is no way. */
static int
arcs_of(const struct state *s, int link, int *arcs, int max)
{
    const struct fs_service_link *l = &s->services->links[link];
    const struct end *a = &s->ends[s->at[l->from]], *b = &s->ends[s->at[l->to]];
    const struct way *way = s->link_way[link] < 0 ? NULL : &s->ways[s->link_way[link]];
    int n = 0;

    if (way && way->n < 0) {
        return -1;
    }
    assert((way ? way->n : 0) + 2 <= max);
    (void) max;
    if (a->up >= 0) {
        arcs[n++] = a->up;
    }
    for (int i = 0; way && i < way->n; i++) {
        arcs[n++] = way->arcs[i];
    }
    if (b->down >= 0) {
        arcs[n++] = b->down;
    }
    return n;
}

struct fs_solution *
state_solution(const struct state *s)
{
    struct fs_solution *solution = fs_solution_create(s->platform, s->services);
    int max = s->platform->n_nodes + 2;
    int *arcs = alloc_zeroed((size_t) max, sizeof *arcs);

    memcpy(solution->at, s->at, (size_t) s->services->n_nodes * sizeof *s->at);
    for (int l = 0; l < s->services->n_links; l++) {
        int from = s->at[s->services->links[l].from], to = s->at[s->services->links[l].to];
        if (from >= 0 && to >= 0 && from != to) {
            int n = arcs_of(s, l, arcs, max);
            solution->route[l] = n < 0 ? NULL : route_create(s->platform, arcs, n);
        }
    }
    free(arcs);
    return solution;
}

void
state_recount(const struct state *s, struct excess *e)
{
    struct fs_solution *solution = state_solution(s);
    struct fs_report report;

    fs_solution_check(solution, &report);
    *e = (struct excess) { report.cpu, report.mem, report.bandwidth, report.delay, report.unrouted, objective_whole(s, s->objective) };
    fs_solution_destroy(solution);
}

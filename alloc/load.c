/* Loads: what of a platform is taken.
 *
 * Everything that is entered here can be struck out again and leaves no trace, since all amounts are integers.  The total
 * of what exceeds its limit is kept up to date with each entry, so a search learns the cost of a move from the few
 * servers and arcs that the move touches. */
#include <config.h>

#include "alloc/load.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "alloc/memory.h"

/* With one way a pair of nodes: the way, and how many service links go it. */
struct load_pair {
    struct route *route; /* NULL: a free slot */
    int from, to, links;
};

struct fs_load *
fs_load_create(const struct fs_platform *p, enum fs_paths paths)
{
    struct fs_load *load = alloc_zeroed(1, sizeof *load);

    load->platform = p;
    load->paths = paths;
    load->routes = routes_create(p);
    load->servers = alloc_zeroed((size_t) p->n_servers, sizeof *load->servers);
    load->used = alloc_zeroed((size_t) p->n_arcs, sizeof *load->used);
    load->rack_cpu = alloc_zeroed((size_t) p->n_racks, sizeof *load->rack_cpu);
    load->rack_mem = alloc_zeroed((size_t) p->n_racks, sizeof *load->rack_mem);
    for (int s = 0; s < p->n_servers; s++) {
        load->rack_cpu[p->servers[s].rack] += p->servers[s].cpu;
        load->rack_mem[p->servers[s].rack] += p->servers[s].mem;
    }
    return load;
}

void
fs_load_destroy(struct fs_load *load)
{
    if (!load) {
        return;
    }
    for (size_t i = 0; load->pairs && i <= load->pairs_mask; i++) {
        route_unref(load->pairs[i].route);
    }
    routes_destroy(load->routes);
    free(load->servers);
    free(load->used);
    free(load->rack_cpu);
    free(load->rack_mem);
    free(load->pairs);
    free(load);
}

const struct fs_server_load *
fs_load_server(const struct fs_load *load, int server)
{
    return &load->servers[server];
}

fs_amount
fs_load_arc(const struct fs_load *load, int arc)
{
    return load->used[arc];
}

/* ---- Ways in use. ---- */

static size_t
home_of(const struct fs_load *load, int from, int to)
{
    uint64_t h = ((uint64_t) (uint32_t) from << 32 | (uint32_t) to) * UINT64_C(0x9e3779b97f4a7c15);

    return (size_t) (h >> 32) & load->pairs_mask;
}

/* The slot of the pair, or the free one where it belongs. */
static struct load_pair *
pair_slot(const struct fs_load *load, int from, int to)
{
    size_t i = home_of(load, from, to);

    while (load->pairs[i].route && (load->pairs[i].from != from || load->pairs[i].to != to)) {
        i = (i + 1) & load->pairs_mask;
    }
    return &load->pairs[i];
}

static void
enlarge_pairs(struct fs_load *load)
{
    size_t n_old = load->pairs ? load->pairs_mask + 1 : 0;
    struct load_pair *old = load->pairs;

    load->pairs_mask = n_old ? n_old * 2 - 1 : 63;
    load->pairs = alloc_zeroed(load->pairs_mask + 1, sizeof *load->pairs);
    for (size_t i = 0; i < n_old; i++) {
        if (old[i].route) {
            *pair_slot(load, old[i].from, old[i].to) = old[i];
        }
    }
    free(old);
}

/* Frees the slot PAIR, and moves up what stood behind it for want of room. */
static void
drop_pair(struct fs_load *load, struct load_pair *pair)
{
    size_t hole = (size_t) (pair - load->pairs), i = hole, mask = load->pairs_mask;

    route_unref(pair->route);
    load->n_pairs--;
    for (;;) {
        i = (i + 1) & mask;
        if (!load->pairs[i].route) {
            break;
        }
        size_t home = home_of(load, load->pairs[i].from, load->pairs[i].to);
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            load->pairs[hole] = load->pairs[i];
            hole = i;
        }
    }
    load->pairs[hole] = (struct load_pair) { 0 };
}

/* The way that links between this pair of nodes go already, or NULL. */
static struct route *
pair_route(const struct fs_load *load, int from, int to)
{
    return load->n_pairs ? pair_slot(load, from, to)->route : NULL;
}

static void
enter_pair(struct fs_load *load, int from, int to, struct route *route)
{
    if (!load->pairs || load->n_pairs * 2 > load->pairs_mask) {
        enlarge_pairs(load);
    }
    struct load_pair *pair = pair_slot(load, from, to);
    if (!pair->route) {
        *pair = (struct load_pair) { .route = route_ref(route), .from = from, .to = to };
        load->n_pairs++;
    }
    pair->links++;
}

static void
strike_pair(struct fs_load *load, int from, int to)
{
    struct load_pair *pair = pair_slot(load, from, to);

    assert(pair->route && pair->links > 0);
    if (!--pair->links) {
        drop_pair(load, pair);
    }
}

/* ---- Entries.  AMOUNT less than 0 strikes out. ---- */

/* Changes *USED by AMOUNT, and *EXCESS by what that changes in excess of LIMIT. */
static void
change(fs_amount *used, fs_amount amount, fs_amount limit, fs_amount *excess)
{
    fs_amount before = *used > limit ? *used - limit : 0;

    *used += amount;
    *excess += (*used > limit ? *used - limit : 0) - before;
}

/* Enters (SIGN 1) or strikes out (-1) a module at SERVER. */
static void
account_module(struct fs_load *load, const struct fs_service_node *node, int server, int sign)
{
    const struct fs_server *limits = &load->platform->servers[server];
    struct fs_server_load *use = &load->servers[server];

    change(&use->cpu, sign * node->cpu, limits->cpu, &load->excess.cpu);
    change(&use->mem, sign * node->mem, limits->mem, &load->excess.mem);
    use->modules += sign;
    load->rack_cpu[limits->rack] -= sign * node->cpu;
    load->rack_mem[limits->rack] -= sign * node->mem;
}

/* The same for a link whose ends are placed, and whose way is chosen. */
static void
account_link(struct fs_load *load, const struct fs_solution *s, int link, int sign)
{
    const struct fs_service_link *l = &s->services->links[link];
    const struct fs_platform *p = load->platform;
    const struct route *route = s->route[link];
    int from = s->at[l->from], to = s->at[l->to];

    if (from == to) {
        int server = p->nodes[from].server;
        if (server >= 0) {
            change(&load->servers[server].bandwidth, sign * l->bandwidth, p->servers[server].bandwidth,
                   &load->excess.bandwidth);
        }
    } else if (!route) {
        load->excess.unrouted += sign;
    } else {
        for (int i = 0; i < route->n; i++) {
            change(&load->used[route->arcs[i]], sign * l->bandwidth, p->arcs[route->arcs[i]].bandwidth,
                   &load->excess.bandwidth);
        }
    }
}

static void
enter_link(struct fs_load *load, const struct fs_solution *s, int link)
{
    const struct fs_service_link *l = &s->services->links[link];

    account_link(load, s, link, 1);
    if (s->route[link] && load->paths == FS_PATHS_PAIR) {
        enter_pair(load, s->at[l->from], s->at[l->to], s->route[link]);
    }
}

static void
strike_link(struct fs_load *load, const struct fs_solution *s, int link)
{
    const struct fs_service_link *l = &s->services->links[link];

    account_link(load, s, link, -1);
    if (s->route[link] && load->paths == FS_PATHS_PAIR) {
        strike_pair(load, s->at[l->from], s->at[l->to]);
    }
}

/* The way for LINK from FROM to TO, as a user of it. */
static struct route *
choose_route(struct fs_load *load, const struct fs_solution *s, int link, int from, int to)
{
    struct route *known = load->paths == FS_PATHS_PAIR ? pair_route(load, from, to) : NULL;

    return known ? route_ref(known)
           : routes_find(load->routes, load->used, from, to, s->services->links[link].bandwidth);
}

static bool
is_placed(const struct fs_solution *s, int link)
{
    const struct fs_service_link *l = &s->services->links[link];

    return s->at[l->from] >= 0 && s->at[l->to] >= 0;
}

void
load_place(struct fs_load *load, struct fs_solution *s, int node, int where)
{
    const struct fs_service_node *g = &s->services->nodes[node];

    assert(s->at[node] < 0);
    s->at[node] = where;
    if (g->kind == FS_SERVICE_PM) {
        account_module(load, g, load->platform->nodes[where].server, 1);
    }
    for (int i = 0; i < g->n_incident; i++) {
        int link = s->services->incident[g->first_incident + i];
        const struct fs_service_link *l = &s->services->links[link];
        if (is_placed(s, link)) {
            int from = s->at[l->from], to = s->at[l->to];
            s->route[link] = from == to ? NULL : choose_route(load, s, link, from, to);
            enter_link(load, s, link);
        }
    }
}

void
load_unplace(struct fs_load *load, struct fs_solution *s, int node)
{
    const struct fs_service_node *g = &s->services->nodes[node];

    assert(s->at[node] >= 0);
    for (int i = 0; i < g->n_incident; i++) {
        int link = s->services->incident[g->first_incident + i];
        if (is_placed(s, link)) {
            strike_link(load, s, link);
            route_unref(s->route[link]);
            s->route[link] = NULL;
        }
    }
    if (g->kind == FS_SERVICE_PM) {
        account_module(load, g, load->platform->nodes[s->at[node]].server, -1);
    }
    s->at[node] = -1;
}

/* Enters or strikes out all of a service. */
static void
account_service(struct fs_load *load, const struct fs_solution *s, int service, bool enter)
{
    const struct fs_service *v = &s->services->services[service];

    for (int n = v->first_node; n < v->first_node + v->n_nodes; n++) {
        if (s->at[n] >= 0 && s->services->nodes[n].kind == FS_SERVICE_PM) {
            account_module(load, &s->services->nodes[n], load->platform->nodes[s->at[n]].server, enter ? 1 : -1);
        }
    }
    for (int l = v->first_link; l < v->first_link + v->n_links; l++) {
        if (is_placed(s, l)) {
            (enter ? enter_link : strike_link)(load, s, l);
        }
    }
}

void
fs_load_add(struct fs_load *load, const struct fs_solution *solution, int service)
{
    assert(solution->platform == load->platform);
    account_service(load, solution, service, true);
}

void
fs_load_remove(struct fs_load *load, const struct fs_solution *solution, int service)
{
    assert(solution->platform == load->platform);
    account_service(load, solution, service, false);
}

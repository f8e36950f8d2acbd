/* The live state: its account.
 *
 * Services that are held are found by key; their modules are in a list of each server and the steps of their ways in a list of each arc, so
 * whatever fails leads to those concerned without a look at the others.  All amounts are integers: what was entered and struck out again
 * leaves no trace, and nothing here remembers the order in which things came but these lists, which are sorted before they decide
 * anything. */
#include <config.h>

#include "alloc/online.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "alloc/memory.h"
#include "alloc/solution.h"

struct fs_online *
fs_online_create(const struct fs_platform *p)
{
    struct fs_online *o = alloc_zeroed(1, sizeof *o);

    o->platform = p;
    o->routes = routes_create(p);
    o->loads = alloc_zeroed((size_t) p->n_servers, sizeof *o->loads);
    o->servers = alloc_zeroed((size_t) p->n_servers, sizeof *o->servers);
    o->used = alloc_zeroed((size_t) p->n_arcs, sizeof *o->used);
    o->taken = alloc_zeroed((size_t) p->n_arcs, sizeof *o->taken);
    o->arcs = alloc_zeroed((size_t) p->n_arcs, sizeof *o->arcs);
    for (int s = 0; s < p->n_servers; s++) {
        const struct fs_server *limits = &p->servers[s];
        o->servers[s] = (struct online_server) { .cpu = limits->cpu, .mem = limits->mem, .bandwidth = limits->bandwidth };
    }
    for (int a = 0; a < p->n_arcs; a++) {
        o->arcs[a].limit = p->arcs[a].bandwidth;
        o->taken[a] = p->arcs[a].bandwidth ? 0 : -1;
    }
    online_index_create(o);
    o->table_mask = 63;
    o->table = alloc_zeroed(o->table_mask + 1, sizeof(struct held *));
    return o;
}

/* ---- The table of keys. ---- */

static size_t
home_of(const struct fs_online *o, uint64_t key)
{
    return (size_t) (key * UINT64_C(0x9e3779b97f4a7c15) >> 32) & o->table_mask;
}

struct held *
online_find(const struct fs_online *o, uint64_t key)
{
    struct held *h = o->table[home_of(o, key)];

    while (h && h->key != key) {
        h = h->chain;
    }
    return h;
}

static void
enlarge_table(struct fs_online *o)
{
    size_t n_old = o->table_mask + 1;
    struct held **old = o->table;

    o->table_mask = 2 * n_old - 1;
    o->table = alloc_zeroed(2 * n_old, sizeof(struct held *));
    for (size_t i = 0; i < n_old; i++) {
        while (old[i]) {
            struct held *h = old[i], **home = &o->table[home_of(o, h->key)];
            old[i] = h->chain;
            h->chain = *home;
            *home = h;
        }
    }
    free(old);
}

void
online_enter(struct fs_online *o, struct held *h)
{
    if (o->n > o->table_mask) {
        enlarge_table(o);
    }
    struct held **home = &o->table[home_of(o, h->key)];
    h->chain = *home;
    *home = h;
    o->n++;
}

void
online_leave(struct fs_online *o, struct held *h)
{
    struct held **link = &o->table[home_of(o, h->key)];

    while (*link != h) {
        link = &(*link)->chain;
    }
    *link = h->chain;
    o->n--;
}

/* ---- What is free. ---- */

static fs_amount
larger(fs_amount a, fs_amount b)
{
    return a > b ? a : b;
}

fs_amount
online_free_cpu(const struct fs_online *o, int server)
{
    return o->servers[server].cpu - larger(o->loads[server].cpu, o->servers[server].measured_cpu);
}

fs_amount
online_free_mem(const struct fs_online *o, int server)
{
    return o->servers[server].mem - larger(o->loads[server].mem, o->servers[server].measured_mem);
}

fs_amount
online_free_arc(const struct fs_online *o, int arc)
{
    return o->arcs[arc].limit - larger(o->used[arc], o->arcs[arc].measured);
}

/* What the search for ways, which knows the platform's own limits only, takes for used.  There is always room for links that ask for nothing
 * (they are looked for with an amount of one), as long as the link is up. */
static void
refresh_arc(struct fs_online *o, int arc)
{
    fs_amount limit = o->platform->arcs[arc].bandwidth, taken = limit - online_free_arc(o, arc);

    o->taken[arc] = o->arcs[arc].down ? FS_AMOUNT_MAX : taken < limit ? taken : limit - 1;
}

/* ---- Ways. ---- */

static void
change_arc(struct fs_online *o, int arc, fs_amount amount)
{
    o->used[arc] += amount;
    refresh_arc(o, arc);
}

static void
enter_hop(struct fs_online *o, struct held *h, struct held_hop *hop, int arc)
{
    struct held_hop **first = &o->arcs[arc].hops;

    *hop = (struct held_hop) { .held = h, .next = *first, .link = first };
    if (*first) {
        (*first)->link = &hop->next;
    }
    *first = hop;
}

static void
strike_hop(struct held_hop *hop)
{
    *hop->link = hop->next;
    if (hop->next) {
        hop->next->link = hop->link;
    }
}

/* The server inside which link LINK stays, or -1. */
static int
inside_of(const struct fs_online *o, const struct held *h, int link)
{
    const struct fs_service_link *l = &h->services->links[link];
    int from = h->nodes[l->from - h->service->first_node].at, to = h->nodes[l->to - h->service->first_node].at;

    return from >= 0 && from == to ? o->platform->nodes[from].server : -1;
}

void
online_enter_way(struct fs_online *o, struct held *h, int link, struct route *route)
{
    struct held_link *hl = held_link(h, link);
    fs_amount bandwidth = h->services->links[link].bandwidth;
    int inside = inside_of(o, h, link);

    if (inside >= 0) {
        o->loads[inside].bandwidth += bandwidth;
    }
    hl->route = route;
    hl->hops = route && route->n ? alloc_zeroed((size_t) route->n, sizeof *hl->hops) : NULL;
    for (int i = 0; route && i < route->n; i++) {
        change_arc(o, route->arcs[i], bandwidth);
        enter_hop(o, h, &hl->hops[i], route->arcs[i]);
    }
}

void
online_strike_way(struct fs_online *o, struct held *h, int link)
{
    struct held_link *hl = held_link(h, link);
    fs_amount bandwidth = h->services->links[link].bandwidth;
    int inside = inside_of(o, h, link);

    if (inside >= 0) {
        o->loads[inside].bandwidth -= bandwidth;
    }
    for (int i = 0; hl->route && i < hl->route->n; i++) {
        change_arc(o, hl->route->arcs[i], -bandwidth);
        strike_hop(&hl->hops[i]);
    }
    route_unref(hl->route);
    free(hl->hops);
    *hl = (struct held_link) { 0 };
}

static bool
carries(const struct fs_online *o, int arc, fs_amount bandwidth)
{
    return !o->arcs[arc].down && (!bandwidth || online_free_arc(o, arc) >= bandwidth);
}

/* Whether the only link of NODE, if it has no more, cannot carry so much: then nobody needs to look for a way. */
static bool
end_is_full(const struct fs_online *o, int node, bool in, fs_amount bandwidth)
{
    const struct fs_platform *p = o->platform;
    int first = p->out_start[node];

    return p->out_start[node + 1] - first == 1 && !carries(o, in ? p->out[first] ^ 1 : p->out[first], bandwidth);
}

enum online_limit
online_find_way(struct fs_online *o, struct held *h, int link, struct route **route)
{
    const struct fs_service_link *l = &h->services->links[link];
    int from = held_node(h, l->from)->at, to = held_node(h, l->to)->at, server = inside_of(o, h, link);

    *route = NULL;
    if (from == to) {
        return server >= 0 && l->bandwidth && o->loads[server].bandwidth + l->bandwidth > o->servers[server].bandwidth ? LIMIT_INSIDE
               : LIMIT_NONE;
    }
    if (end_is_full(o, from, false, l->bandwidth) || end_is_full(o, to, true, l->bandwidth)) {
        return LIMIT_BANDWIDTH;
    }
    *route = routes_find(o->routes, o->taken, from, to, l->bandwidth ? l->bandwidth : 1);
    if (!*route) {
        return LIMIT_WAY;
    }
    for (int i = 0; i < (*route)->n; i++) {
        if (!carries(o, (*route)->arcs[i], l->bandwidth)) {
            route_unref(*route);
            *route = NULL;
            return LIMIT_BANDWIDTH;
        }
    }
    return LIMIT_NONE;
}

/* ---- Delays. ---- */

static fs_amount
link_delay(const struct fs_online *o, const struct held *h, int link)
{
    const struct held_link *hl = &h->links[link - h->service->first_link];
    int inside = inside_of(o, h, link);

    return inside >= 0 ? o->platform->servers[inside].delay : hl->route ? hl->route->delay : hl->least;
}

fs_amount
online_path_delay(const struct fs_online *o, const struct held *h, int path)
{
    const struct fs_service_path *p = &h->services->paths[path];
    fs_amount delay = 0;

    for (int i = 0; i < p->n_links; i++) {
        delay += link_delay(o, h, h->services->path_links[p->first_link + i]);
    }
    return delay;
}

bool
online_in_time(const struct fs_online *o, const struct held *h)
{
    for (int i = h->service->first_path; i < h->service->first_path + h->service->n_paths; i++) {
        if (online_path_delay(o, h, i) > h->services->paths[i].bound) {
            return false;
        }
    }
    return true;
}

/* ---- Modules. ---- */

static bool
is_placed(struct held *h, int link)
{
    const struct fs_service_link *l = &h->services->links[link];

    return held_node(h, l->from)->at >= 0 && held_node(h, l->to)->at >= 0;
}

void
online_seat(struct fs_online *o, struct held *h, int node, int where)
{
    const struct fs_service_node *m = &h->services->nodes[node];
    struct held_node *hn = held_node(h, node);

    assert(hn->at < 0);
    hn->at = where;
    if (m->kind == FS_SERVICE_PM) {
        int server = o->platform->nodes[where].server;
        struct held_node **first = &o->servers[server].modules;
        hn->next = *first;
        hn->link = first;
        if (*first) {
            (*first)->link = &hn->next;
        }
        *first = hn;
        o->loads[server].cpu += m->cpu;
        o->loads[server].mem += m->mem;
        o->loads[server].modules++;
        online_index_update(o, server);
    }
}

void
online_take(struct fs_online *o, struct held *h, int node)
{
    const struct fs_service_node *m = &h->services->nodes[node];
    struct held_node *hn = held_node(h, node);

    assert(hn->at >= 0);
    for (int i = 0; i < m->n_incident; i++) {
        int link = h->services->incident[m->first_incident + i];
        if (is_placed(h, link)) {
            online_strike_way(o, h, link);
        }
    }
    if (m->kind == FS_SERVICE_PM) {
        int server = o->platform->nodes[hn->at].server;
        *hn->link = hn->next;
        if (hn->next) {
            hn->next->link = hn->link;
        }
        o->loads[server].cpu -= m->cpu;
        o->loads[server].mem -= m->mem;
        o->loads[server].modules--;
        online_index_update(o, server);
    }
    hn->at = -1;
}

/* Takes a node away of whose links only the first N have been entered. */
static void
take_back(struct fs_online *o, struct held *h, int node, int n)
{
    const struct fs_service_node *m = &h->services->nodes[node];

    for (int i = n; i < m->n_incident; i++) {
        int link = h->services->incident[m->first_incident + i], inside = is_placed(h, link) ? inside_of(o, h, link) : -1;
        if (inside >= 0) {
            o->loads[inside].bandwidth += h->services->links[link].bandwidth; /* which online_take() will take */
        }
    }
    online_take(o, h, node);
}

/* Finds out what the delay of each link of NODE will be at least, which costs less than to look for ways, and whether paths keep their bounds
 * with that. */
static enum online_limit
estimate(struct fs_online *o, struct held *h, int node)
{
    const struct fs_service_node *m = &h->services->nodes[node];

    for (int i = 0; i < m->n_incident; i++) {
        int link = h->services->incident[m->first_incident + i];
        const struct fs_service_link *l = &h->services->links[link];
        int from = held_node(h, l->from)->at, to = held_node(h, l->to)->at;
        if (from >= 0 && to >= 0 && from != to) {
            if (end_is_full(o, from, false, l->bandwidth) || end_is_full(o, to, true, l->bandwidth)) {
                return LIMIT_BANDWIDTH;
            }
            held_link(h, link)->least = routes_delay(o->routes, from, to);
            if (held_link(h, link)->least < 0) {
                return LIMIT_WAY;
            }
        }
    }
    return online_in_time(o, h) ? LIMIT_NONE : LIMIT_DELAY;
}

enum online_limit
online_put(struct fs_online *o, struct held *h, int node, int where)
{
    const struct fs_service_node *m = &h->services->nodes[node];

    if (m->kind == FS_SERVICE_PM) {
        int server = o->platform->nodes[where].server;
        if (online_free_cpu(o, server) < m->cpu) {
            return LIMIT_CPU;
        }
        if (online_free_mem(o, server) < m->mem) {
            return LIMIT_MEM;
        }
    }
    online_seat(o, h, node, where);
    enum online_limit early = h->service->n_paths ? estimate(o, h, node) : LIMIT_NONE;
    if (early) {
        take_back(o, h, node, 0);
        return early;
    }
    for (int i = 0; i < m->n_incident; i++) {
        int link = h->services->incident[m->first_incident + i];
        if (is_placed(h, link)) {
            struct route *route;
            enum online_limit limit = online_find_way(o, h, link, &route);
            if (limit) {
                take_back(o, h, node, i);
                return limit;
            }
            online_enter_way(o, h, link, route);
        }
    }
    if (!online_in_time(o, h)) {
        online_take(o, h, node);
        return LIMIT_DELAY;
    }
    return LIMIT_NONE;
}

void
online_force(struct fs_online *o, struct held *h, int node, int where)
{
    const struct fs_service_node *m = &h->services->nodes[node];

    online_seat(o, h, node, where);
    for (int i = 0; i < m->n_incident; i++) {
        int link = h->services->incident[m->first_incident + i];
        if (is_placed(h, link)) {
            const struct fs_service_link *l = &h->services->links[link];
            int from = held_node(h, l->from)->at, to = held_node(h, l->to)->at;
            online_enter_way(o, h, link, from == to ? NULL : routes_find(o->routes, o->taken, from, to, l->bandwidth ? l->bandwidth : 1));
        }
    }
}

/* ---- Services. ---- */

struct held *
online_hold(uint64_t key, const struct fs_services *services, int service)
{
    const struct fs_service *v = &services->services[service];
    struct held *h = alloc_zeroed(1, sizeof *h + (size_t) v->n_nodes * sizeof *h->nodes + (size_t) v->n_links * sizeof *h->links);

    h->key = key;
    h->services = services;
    h->service = v;
    h->links = (struct held_link *) (h->nodes + v->n_nodes);
    for (int i = 0; i < v->n_nodes; i++) {
        h->nodes[i] = (struct held_node) { .held = h, .at = -1 };
    }
    return h;
}

void
online_free_held(struct fs_online *o, struct held *h)
{
    for (int n = h->service->first_node; n < h->service->first_node + h->service->n_nodes; n++) {
        if (held_node(h, n)->at >= 0) {
            online_take(o, h, n);
        }
    }
    free(h);
}

int
fs_online_add(struct fs_online *o, uint64_t key, const struct fs_services *services, int service, const struct fs_online_options *options,
              struct fs_online_changes *changes)
{
    static const struct fs_online_options none;

    options = options ? options : &none;
    if (online_find(o, key)) {
        return EEXIST;
    }
    struct held *h = online_hold(key, services, service);
    if (!online_place(o, h, options) && !(options->moves > 0 && changes && online_make_room(o, h, options, changes))) {
        online_free_held(o, h);
        return ENOSPC;
    }
    online_enter(o, h);
    return 0;
}

int
fs_online_restore(struct fs_online *o, uint64_t key, const struct fs_solution *solution, int service)
{
    if (online_find(o, key)) {
        return EEXIST;
    }
    struct held *h = online_hold(key, solution->services, service);
    for (int n = h->service->first_node; n < h->service->first_node + h->service->n_nodes; n++) {
        if (solution->at[n] >= 0) {
            online_seat(o, h, n, solution->at[n]);
        }
    }
    for (int l = h->service->first_link; l < h->service->first_link + h->service->n_links; l++) {
        if (is_placed(h, l)) {
            online_enter_way(o, h, l, route_ref(solution->route[l]));
        }
    }
    online_enter(o, h);
    return 0;
}

int
fs_online_remove(struct fs_online *o, uint64_t key)
{
    struct held *h = online_find(o, key);

    if (!h) {
        return ENOENT;
    }
    online_leave(o, h);
    online_free_held(o, h);
    return 0;
}

int
fs_online_copy(const struct fs_online *o, uint64_t key, struct fs_solution *solution)
{
    struct held *h = online_find(o, key);

    if (!h) {
        return ENOENT;
    }
    assert(solution->services == h->services);
    for (int i = 0; i < h->service->n_nodes; i++) {
        solution->at[h->service->first_node + i] = h->nodes[i].at;
    }
    for (int i = 0; i < h->service->n_links; i++) {
        struct route **route = &solution->route[h->service->first_link + i];
        route_unref(*route);
        *route = route_ref(h->links[i].route);
    }
    return 0;
}

size_t
fs_online_size(const struct fs_online *o)
{
    return o->n;
}

void
fs_online_destroy(struct fs_online *o)
{
    if (!o) {
        return;
    }
    for (size_t i = 0; i <= o->table_mask; i++) {
        while (o->table[i]) {
            struct held *h = o->table[i];
            o->table[i] = h->chain;
            online_free_held(o, h);
        }
    }
    online_index_destroy(o);
    routes_destroy(o->routes);
    free(o->loads);
    free(o->servers);
    free(o->used);
    free(o->taken);
    free(o->arcs);
    free(o->table);
    free(o);
}

const struct fs_server_load *
fs_online_server(const struct fs_online *o, int server)
{
    return &o->loads[server];
}

fs_amount
fs_online_arc(const struct fs_online *o, int arc)
{
    return o->used[arc];
}

/* ---- What happens to servers and links. ---- */

static bool
is_amount(fs_amount amount)
{
    return amount >= 0 && amount <= FS_AMOUNT_MAX;
}

void
fs_online_set_server(struct fs_online *o, int server, enum fs_online_state state)
{
    o->servers[server].state = state;
    online_index_update(o, server);
}

void
fs_online_set_link(struct fs_online *o, int arc, bool up)
{
    o->arcs[arc].down = o->arcs[arc ^ 1].down = !up;
    refresh_arc(o, arc);
    refresh_arc(o, arc ^ 1);
}

int
fs_online_limit_server(struct fs_online *o, int server, fs_amount cpu, fs_amount mem, fs_amount bandwidth)
{
    if (!is_amount(cpu) || !is_amount(mem) || !is_amount(bandwidth)) {
        return EINVAL;
    }
    o->servers[server].cpu = cpu;
    o->servers[server].mem = mem;
    o->servers[server].bandwidth = bandwidth;
    online_index_update(o, server);
    return 0;
}

int
fs_online_limit_arc(struct fs_online *o, int arc, fs_amount bandwidth)
{
    if (!is_amount(bandwidth)) {
        return EINVAL;
    }
    o->arcs[arc].limit = bandwidth;
    refresh_arc(o, arc);
    return 0;
}

int
fs_online_measure_server(struct fs_online *o, int server, fs_amount cpu, fs_amount mem)
{
    if (!is_amount(cpu) || !is_amount(mem)) {
        return EINVAL;
    }
    o->servers[server].measured_cpu = cpu;
    o->servers[server].measured_mem = mem;
    online_index_update(o, server);
    return 0;
}

int
fs_online_measure_arc(struct fs_online *o, int arc, fs_amount bandwidth)
{
    if (!is_amount(bandwidth)) {
        return EINVAL;
    }
    o->arcs[arc].measured = bandwidth;
    refresh_arc(o, arc);
    return 0;
}

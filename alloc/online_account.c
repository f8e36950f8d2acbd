/* The account of a live state: what modules and ways take, what is free, and what a module would break.
 *
 * A module is put where it is to be together with the ways of its links to what is placed already, or not at all. */
#include <config.h>

#include "alloc/online.h"

#include <assert.h>
#include <stdlib.h>

#include "alloc/memory.h"

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
void
online_refresh_arc(struct fs_online *o, int arc)
{
    fs_amount limit = o->platform->arcs[arc].bandwidth, taken = limit - online_free_arc(o, arc);

    o->taken[arc] = o->arcs[arc].down ? FS_AMOUNT_MAX : taken < limit ? taken : limit - 1;
}

/* ---- Ways. ---- */

static void
change_arc(struct fs_online *o, int arc, fs_amount amount)
{
    o->used[arc] += amount;
    online_refresh_arc(o, arc);
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
        if (online_is_placed(h, link)) {
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
        int link = h->services->incident[m->first_incident + i], inside = online_is_placed(h, link) ? inside_of(o, h, link) : -1;
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
        if (online_is_placed(h, link)) {
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
        if (online_is_placed(h, link)) {
            const struct fs_service_link *l = &h->services->links[link];
            int from = held_node(h, l->from)->at, to = held_node(h, l->to)->at;
            online_enter_way(o, h, link, from == to ? NULL : routes_find(o->routes, o->taken, from, to, l->bandwidth ? l->bandwidth : 1));
        }
    }
}

/* The live state: the services that it holds, and what happens to servers and links.
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
        if (online_is_placed(h, l)) {
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
    online_refresh_arc(o, arc);
    online_refresh_arc(o, arc ^ 1);
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
    online_refresh_arc(o, arc);
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
    online_refresh_arc(o, arc);
    return 0;
}

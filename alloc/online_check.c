/* The judge of a live state: counts it anew from the services that are held, and compares two states.
 *
 * Nothing here looks at what online.c keeps up to date but to compare it. */
#include <config.h>

#include "alloc/online.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "alloc/memory.h"

static void
count_service(const struct fs_online *o, const struct held *h, struct fs_server_load *loads, fs_amount *used)
{
    for (int i = 0; i < h->service->n_nodes; i++) {
        const struct fs_service_node *m = &h->services->nodes[h->service->first_node + i];
        if (m->kind == FS_SERVICE_PM && h->nodes[i].at >= 0) {
            struct fs_server_load *load = &loads[o->platform->nodes[h->nodes[i].at].server];
            load->cpu += m->cpu;
            load->mem += m->mem;
            load->modules++;
        }
    }
    for (int i = 0; i < h->service->n_links; i++) {
        const struct fs_service_link *l = &h->services->links[h->service->first_link + i];
        int from = h->nodes[l->from - h->service->first_node].at, to = h->nodes[l->to - h->service->first_node].at;
        const struct route *route = h->links[i].route;
        if (from >= 0 && from == to && o->platform->nodes[from].server >= 0) {
            loads[o->platform->nodes[from].server].bandwidth += l->bandwidth;
        }
        for (int k = 0; route && k < route->n; k++) {
            used[route->arcs[k]] += l->bandwidth;
        }
    }
}

/* Does the way of each link lead from its one end to the other? */
static bool
ways_lead(const struct fs_online *o, const struct held *h)
{
    for (int i = 0; i < h->service->n_links; i++) {
        const struct fs_service_link *l = &h->services->links[h->service->first_link + i];
        int at = h->nodes[l->from - h->service->first_node].at, to = h->nodes[l->to - h->service->first_node].at;
        const struct route *route = h->links[i].route;
        for (int k = 0; route && k < route->n; k++) {
            if (o->platform->arcs[route->arcs[k]].from != at) {
                return false;
            }
            at = o->platform->arcs[route->arcs[k]].to;
        }
        if (route && at != to) {
            return false;
        }
    }
    return true;
}

static char *
check_lists(const struct fs_online *o, const struct fs_server_load *loads, const fs_amount *used)
{
    const struct fs_platform *p = o->platform;

    for (int s = 0; s < p->n_servers; s++) {
        int n = 0;
        for (const struct held_node *m = o->servers[s].modules; m; m = m->next) {
            n += p->nodes[m->at].server == s && *m->link == m && online_find(o, m->held->key) == m->held;
        }
        if (memcmp(&loads[s], &o->loads[s], sizeof *loads) || n != loads[s].modules) {
            return alloc_format("server %s: its account is wrong: %d modules are there, %d in the list, %d in the account",
                                p->nodes[p->servers[s].node].id, loads[s].modules, n, o->loads[s].modules);
        }
    }
    for (int a = 0; a < p->n_arcs; a++) {
        fs_amount sum = 0;
        for (const struct held_hop *hop = o->arcs[a].hops; hop; hop = hop->next) {
            for (int i = 0; i < hop->held->service->n_links; i++) {
                const struct held_link *l = &hop->held->links[i];
                bool ours = l->hops && hop >= l->hops && hop < l->hops + l->route->n && l->route->arcs[hop - l->hops] == a;
                sum += ours ? hop->held->services->links[hop->held->service->first_link + i].bandwidth : 0;
            }
        }
        if (used[a] != o->used[a] || sum != used[a]) {
            return alloc_format("link from %s to %s: its account is wrong: %" PRId64 " are used, %" PRId64 " in the list, %" PRId64 " in the account",
                                p->nodes[p->arcs[a].from].id, p->nodes[p->arcs[a].to].id, used[a], sum, o->used[a]);
        }
    }
    return NULL;
}

/* The indexes of O against those of another state that has the same loads, made anew. */
static char *
compare_indexes(const struct fs_online *a, const struct fs_online *b)
{
    if (memcmp(a->free, b->free, 2 * (size_t) a->leaves * sizeof *a->free)) {
        return alloc_format("the index of servers by what is free differs");
    }
    if (memcmp(a->rack_keys, b->rack_keys, 2 * (size_t) a->rack_leaves * sizeof *a->rack_keys)
        || memcmp(a->rack_free, b->rack_free, (size_t) a->platform->n_racks * sizeof *a->rack_free)) {
        return alloc_format("the index of racks differs");
    }
    return NULL;
}

/* The indexes made anew. */
static char *
check_indexes(const struct fs_online *o)
{
    struct fs_online fresh = { .platform = o->platform, .loads = o->loads };
    size_t size = (size_t) o->platform->n_servers * sizeof *o->servers;

    fresh.servers = alloc_zeroed(1, size);
    memcpy(fresh.servers, o->servers, size);
    online_index_create(&fresh);
    char *difference = compare_indexes(o, &fresh);
    online_index_destroy(&fresh);
    free(fresh.servers);
    return difference;
}

char *
fs_online_check(const struct fs_online *o)
{
    struct fs_server_load *loads = alloc_zeroed((size_t) o->platform->n_servers, sizeof *loads);
    fs_amount *used = alloc_zeroed((size_t) o->platform->n_arcs, sizeof *used);
    char *difference = NULL;
    size_t n = 0;

    for (size_t i = 0; i <= o->table_mask; i++) {
        for (const struct held *h = o->table[i]; h; h = h->chain, n++) {
            count_service(o, h, loads, used);
            if (!difference && !ways_lead(o, h)) {
                difference = alloc_format("service %" PRIu64 ": a way does not lead from its one end to the other", h->key);
            }
        }
    }
    difference = difference ? difference : n != o->n ? alloc_format("%zu services are held, %zu in the account", n, o->n) : check_lists(o, loads, used);
    difference = difference ? difference : check_indexes(o);
    free(loads);
    free(used);
    return difference;
}

static bool
same_places(const struct held *a, const struct held *b)
{
    if (!b || a->services->nodes + a->service->first_node != b->services->nodes + b->service->first_node) {
        return false;
    }
    for (int i = 0; i < a->service->n_nodes; i++) {
        if (a->nodes[i].at != b->nodes[i].at) {
            return false;
        }
    }
    for (int i = 0; i < a->service->n_links; i++) {
        const struct route *x = a->links[i].route, *y = b->links[i].route;
        if (!x != !y || (x && (x->n != y->n || memcmp(x->arcs, y->arcs, (size_t) x->n * sizeof *x->arcs)))) {
            return false;
        }
    }
    return true;
}

/* Servers and links: the account, limits and states. */
static char *
compare_accounts(const struct fs_online *a, const struct fs_online *b)
{
    const struct fs_platform *p = a->platform;

    for (int s = 0; s < p->n_servers; s++) {
        const struct online_server *x = &a->servers[s], *y = &b->servers[s];
        if (memcmp(&a->loads[s], &b->loads[s], sizeof *a->loads) || x->state != y->state || x->cpu != y->cpu || x->mem != y->mem
            || x->bandwidth != y->bandwidth || x->measured_cpu != y->measured_cpu || x->measured_mem != y->measured_mem) {
            return alloc_format("server %s differs", p->nodes[p->servers[s].node].id);
        }
    }
    for (int i = 0; i < p->n_arcs; i++) {
        const struct online_arc *x = &a->arcs[i], *y = &b->arcs[i];
        if (a->used[i] != b->used[i] || a->taken[i] != b->taken[i] || x->down != y->down || x->limit != y->limit || x->measured != y->measured) {
            return alloc_format("the link from %s to %s differs", p->nodes[p->arcs[i].from].id, p->nodes[p->arcs[i].to].id);
        }
    }
    return NULL;
}

char *
fs_online_compare(const struct fs_online *a, const struct fs_online *b)
{
    if (a->platform != b->platform || a->n != b->n) {
        return alloc_format("one holds %zu services, the other %zu", a->n, b->n);
    }
    for (size_t i = 0; i <= a->table_mask; i++) {
        for (const struct held *h = a->table[i]; h; h = h->chain) {
            if (!same_places(h, online_find(b, h->key))) {
                return alloc_format("service %" PRIu64 " is elsewhere", h->key);
            }
        }
    }
    char *difference = compare_accounts(a, b);
    return difference ? difference : compare_indexes(a, b);
}

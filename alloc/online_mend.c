/* What moves: modules of servers that fail, are drained or have less than they had, links whose way is no more, and modules of others
 * that make room for a service.
 *
 * Each service is helped by itself, and either gets a place within all limits or stays exactly as it was: a snapshot of its places and ways
 * is kept until it is known.  Services are taken by key, the highest first, so the same state always gives the same moves. */
#include <config.h>

#include "alloc/online.h"

#include <stdlib.h>
#include <string.h>

#include "alloc/memory.h"

#define RACKS_ROOM 4       /* racks in which room is made, */
#define SERVERS_ROOM 24    /* servers in each from which modules are tried to be moved */

/* Where a service was. */
struct snapshot {
    struct held *held;
    int *at;
    struct route **routes;
};

/* The moves of one call. */
struct mend {
    struct fs_online *online;
    struct fs_online_changes *changes;
    const struct fs_online_options *options; /* the caller's */
    struct fs_online_options inner;          /* for the service at hand: asks mend_allows() */
    const struct held *held;
    int avoid;                               /* a server that takes no module, or -1 */
    int left;                                /* modules that may still move */
    struct snapshot *journal;
    int n, room;
};

void
fs_online_changes_clear(struct fs_online_changes *c)
{
    free(c->moves);
    free(c->stranded);
    *c = (struct fs_online_changes) { 0 };
}

/* ---- Snapshots. ---- */

static struct snapshot
snap(struct held *h)
{
    const struct fs_service *v = h->service;
    struct snapshot s = { h, alloc_zeroed((size_t) v->n_nodes, sizeof(int)), alloc_zeroed((size_t) v->n_links, sizeof(struct route *)) };

    for (int i = 0; i < v->n_nodes; i++) {
        s.at[i] = h->nodes[i].at;
    }
    for (int i = 0; i < v->n_links; i++) {
        s.routes[i] = route_ref(h->links[i].route);
    }
    return s;
}

static void
drop(struct snapshot *s)
{
    for (int i = 0; i < s->held->service->n_links; i++) {
        route_unref(s->routes[i]);
    }
    free(s->at);
    free(s->routes);
}

/* Puts the service back, whatever became of it. */
static void
put_back(struct fs_online *o, const struct snapshot *s)
{
    struct held *h = s->held;
    const struct fs_service *v = h->service;

    for (int i = 0; i < v->n_nodes; i++) {
        if (h->nodes[i].at >= 0) {
            online_take(o, h, v->first_node + i);
        }
    }
    for (int i = 0; i < v->n_nodes; i++) {
        if (s->at[i] >= 0) {
            online_seat(o, h, v->first_node + i, s->at[i]);
        }
    }
    for (int l = 0; l < v->n_links; l++) {
        const struct fs_service_link *link = &h->services->links[v->first_link + l];
        if (s->at[link->from - v->first_node] >= 0 && s->at[link->to - v->first_node] >= 0) {
            online_enter_way(o, h, v->first_link + l, route_ref(s->routes[l]));
        }
    }
}

/* How many modules and sinks are elsewhere than in S; with CHANGES they are noted there. */
static int
moved(const struct snapshot *s, struct fs_online_changes *c)
{
    int n = 0;

    for (int i = 0; i < s->held->service->n_nodes; i++) {
        int node = s->held->service->first_node + i, at = s->held->nodes[i].at;
        if (at != s->at[i]) {
            n++;
            if (c) {
                alloc_grow(&c->moves, c->n_moves, &c->moves_room);
                c->moves[c->n_moves++] = (struct fs_online_move) { s->held->key, node, s->at[i], at };
            }
        }
    }
    return n;
}

/* ---- Helping one service. ---- */

static bool
mend_allows(void *aux, int node, int server)
{
    const struct mend *m = aux;

    return server != m->avoid
           && (!m->options || !m->options->may_move || m->options->may_move(m->options->aux, m->held->key, node, server));
}

static void
begin(struct mend *m, struct fs_online *o, int moves, const struct fs_online_options *options, struct fs_online_changes *changes)
{
    *m = (struct mend) {
        .online = o, .changes = changes, .options = options, .avoid = -1, .left = moves < 0 ? INT32_MAX : moves,
        .inner = { .allowed = mend_allows, .aux = m, .in_turn = options && options->in_turn, .start = options ? options->start : 0 },
    };
}

/* Places what of H is nowhere; S says where it was. */
static bool
replace(struct mend *m, struct held *h, const struct snapshot *s)
{
    m->held = h;
    return online_place(m->online, h, &m->inner) && moved(s, NULL) <= m->left;
}

static void
take_modules(struct mend *m, struct held *h, int server)
{
    for (int i = 0; i < h->service->n_nodes; i++) {
        int node = h->service->first_node + i, at = h->nodes[i].at;
        if (at >= 0 && h->services->nodes[node].kind == FS_SERVICE_PM && (server < 0 || m->online->platform->nodes[at].server == server)) {
            online_take(m->online, h, node);
        }
    }
}

/* All modules, and the ports, which then are chosen anew. */
static void
take_all(struct mend *m, struct held *h)
{
    take_modules(m, h, -1);
    for (int i = 0; i < h->service->n_nodes; i++) {
        if (h->nodes[i].at >= 0) {
            online_take(m->online, h, h->service->first_node + i);
        }
    }
}

static void
strand(struct mend *m, const struct held *h)
{
    struct fs_online_changes *c = m->changes;

    alloc_grow(&c->stranded, c->n_stranded, &c->stranded_room);
    c->stranded[c->n_stranded++] = h->key;
}

/* Enters what became of H in the changes, or puts it back when it is not DONE. */
static void
settle(struct mend *m, struct held *h, struct snapshot *s, bool done)
{
    if (done) {
        m->left -= moved(s, m->changes);
    } else {
        put_back(m->online, s);
        strand(m, h);
    }
    drop(s);
}

static void
evacuate(struct mend *m, struct held *h, int server)
{
    struct snapshot s = snap(h);

    take_modules(m, h, server);
    bool done = replace(m, h, &s);
    if (!done) {
        take_all(m, h);
        done = replace(m, h, &s);
    }
    settle(m, h, &s, done);
}

static int
compare_keys(const void *a_, const void *b_)
{
    const uint64_t *a = a_, *b = b_;

    return (*a > *b) - (*a < *b);
}

static size_t
sort_keys(uint64_t *keys, size_t n)
{
    size_t kept = 0;

    qsort(keys, n, sizeof *keys, compare_keys);
    for (size_t i = 0; i < n; i++) {
        if (!i || keys[i] != keys[kept - 1]) {
            keys[kept++] = keys[i];
        }
    }
    return kept;
}

static void
end(struct mend *m)
{
    struct fs_online_changes *c = m->changes;

    if (c->n_stranded) {
        c->n_stranded = (int) sort_keys(c->stranded, (size_t) c->n_stranded);
    }
}

size_t
fs_online_on_server(const struct fs_online *o, int server, uint64_t **keys)
{
    size_t n = 0;

    *keys = alloc_zeroed((size_t) o->loads[server].modules, sizeof **keys);
    for (const struct held_node *m = o->servers[server].modules; m; m = m->next) {
        (*keys)[n++] = m->held->key;
    }
    return sort_keys(*keys, n);
}

size_t
fs_online_on_arc(const struct fs_online *o, int arc, uint64_t **keys)
{
    size_t n = 0;

    for (const struct held_hop *hop = o->arcs[arc].hops; hop; hop = hop->next) {
        n++;
    }
    *keys = alloc_zeroed(n, sizeof **keys);
    n = 0;
    for (const struct held_hop *hop = o->arcs[arc].hops; hop; hop = hop->next) {
        (*keys)[n++] = hop->held->key;
    }
    return sort_keys(*keys, n);
}

static bool
server_is_well(const struct fs_online *o, int server)
{
    return o->servers[server].state == FS_ONLINE_UP && online_free_cpu(o, server) >= 0 && online_free_mem(o, server) >= 0
           && o->loads[server].bandwidth <= o->servers[server].bandwidth;
}

void
fs_online_mend_server(struct fs_online *o, int server, int moves, const struct fs_online_options *options, struct fs_online_changes *changes)
{
    struct mend m;
    uint64_t *keys;
    size_t n = fs_online_on_server(o, server, &keys);

    begin(&m, o, moves, options, changes);
    m.avoid = server;
    while (n && !server_is_well(o, server)) {
        evacuate(&m, online_find(o, keys[--n]), server);
    }
    free(keys);
    end(&m);
}

/* ---- Links. ---- */

static bool
goes_over(const struct route *route, int arc)
{
    for (int i = 0; route && i < route->n; i++) {
        if (route->arcs[i] == arc) {
            return true;
        }
    }
    return false;
}

/* Other ways for the links of H over ARC.  Returns how many, or -1 when one has none. */
static int
reroute(struct fs_online *o, struct held *h, int arc)
{
    int n = 0;

    for (int l = h->service->first_link; l < h->service->first_link + h->service->n_links; l++) {
        if (goes_over(held_link(h, l)->route, arc)) {
            struct route *route;
            online_strike_way(o, h, l);
            enum online_limit limit = online_find_way(o, h, l, &route);
            online_enter_way(o, h, l, route);
            if (limit) {
                return -1;
            }
            n++;
        }
    }
    return online_in_time(o, h) ? n : -1;
}

static void
mend_arc(struct mend *m, int arc)
{
    struct fs_online *o = m->online;
    uint64_t *keys;
    size_t n = fs_online_on_arc(o, arc, &keys);

    while (n && (o->arcs[arc].down || online_free_arc(o, arc) < 0)) {
        struct held *h = online_find(o, keys[--n]);
        struct snapshot s = snap(h);
        int rerouted = reroute(o, h, arc);
        if (rerouted < 0) {
            take_all(m, h);
        }
        bool done = rerouted >= 0 || replace(m, h, &s);
        m->changes->n_rerouted += rerouted > 0 ? rerouted : 0;
        settle(m, h, &s, done);
    }
    free(keys);
}

void
fs_online_mend_link(struct fs_online *o, int arc, int moves, const struct fs_online_options *options, struct fs_online_changes *changes)
{
    struct mend m;

    begin(&m, o, moves, options, changes);
    mend_arc(&m, arc);
    mend_arc(&m, arc ^ 1);
    end(&m);
}

/* ---- Making room. ---- */

static void
note(struct mend *m, struct snapshot s)
{
    alloc_grow(&m->journal, m->n, &m->room);
    m->journal[m->n++] = s;
}

/* Undoes all that was noted, of which the first N_MOVES moves in the changes are no part. */
static void
undo(struct mend *m, int n_moves)
{
    m->changes->n_moves = n_moves;
    while (m->n) {
        struct snapshot *s = &m->journal[--m->n];
        m->left += moved(s, NULL);
        put_back(m->online, s);
        drop(s);
    }
}

/* Is module A a better one to move than B, given that CPU and MEM are missing?  The smallest that is enough. */
static bool
is_better(const struct held_node *a, const struct held_node *b)
{
    const struct fs_service_node *x = &a->held->services->nodes[a->held->service->first_node + (a - a->held->nodes)];
    const struct fs_service_node *y = &b->held->services->nodes[b->held->service->first_node + (b - b->held->nodes)];

    if (x->cpu != y->cpu) {
        return x->cpu < y->cpu;
    }
    if (x->mem != y->mem) {
        return x->mem < y->mem;
    }
    return a->held->key != b->held->key ? a->held->key > b->held->key : a < b;
}

/* The module on SERVER, of another service than H, that is best to move so that NODE of H fits. */
static struct held_node *
choose_victim(const struct fs_online *o, const struct held *h, int node, int server)
{
    const struct fs_service_node *ask = &h->services->nodes[node];
    fs_amount cpu = ask->cpu - online_free_cpu(o, server), mem = ask->mem - online_free_mem(o, server);
    struct held_node *best = NULL;

    for (struct held_node *m = o->servers[server].modules; m; m = m->next) {
        const struct fs_service_node *x = &m->held->services->nodes[m->held->service->first_node + (m - m->held->nodes)];
        if (m->held != h && x->cpu >= cpu && x->mem >= mem && (!best || is_better(m, best))) {
            best = m;
        }
    }
    return best;
}

/* Puts NODE of H on SERVER by moving one module from there. */
static bool
swap_in(struct mend *m, struct held *h, const struct fs_online_options *options, int node, int server)
{
    struct fs_online *o = m->online;
    struct held_node *victim = online_may_run(o, h, options, node, server) ? choose_victim(o, h, node, server) : NULL;
    int n = m->n;

    if (!victim || m->left < 1) {
        return false;
    }
    struct snapshot s = snap(victim->held);
    note(m, s);
    online_take(o, victim->held, victim->held->service->first_node + (int) (victim - victim->held->nodes));
    m->avoid = server;
    bool done = !online_put(o, h, node, o->platform->servers[server].node);
    if (done && !replace(m, victim->held, &s)) {
        online_take(o, h, node);
        done = false;
    }
    if (done) {
        m->left -= moved(&s, m->changes);
    } else {
        put_back(o, &s);
        drop(&s);
        m->n = n;
    }
    m->avoid = -1;
    return done;
}

/* Puts NODE of H on a server of RACK, by moving modules if it must be. */
static bool
place_module(struct mend *m, struct held *h, const struct fs_online_options *options, int node, int rack)
{
    struct fs_online *o = m->online;
    const struct fs_platform *p = o->platform;
    const struct fs_service_node *ask = &h->services->nodes[node];
    int first = p->rack_start[rack], end = p->rack_start[rack + 1];

    for (int i = first; (i = online_index_next(o, i, end, ask->cpu, ask->mem)) >= 0; i++) {
        int server = p->rack_servers[i];
        if (online_may_run(o, h, options, node, server) && !online_put(o, h, node, p->servers[server].node)) {
            return true;
        }
    }
    end = end > first + SERVERS_ROOM ? first + SERVERS_ROOM : end;
    for (int i = first; i < end; i++) {
        if (swap_in(m, h, options, node, p->rack_servers[i])) {
            return true;
        }
    }
    return false;
}

static bool
make_room_in(struct mend *m, struct held *h, const struct fs_online_options *options, int rack)
{
    int n_moves = m->changes->n_moves;

    online_place_ports(m->online, h, 0);
    for (int n = h->service->first_node; n < h->service->first_node + h->service->n_nodes; n++) {
        if (h->services->nodes[n].kind == FS_SERVICE_PM && !place_module(m, h, options, n, rack)) {
            undo(m, n_moves);
            take_all(m, h);
            return false;
        }
    }
    return true;
}

bool
online_make_room(struct fs_online *o, struct held *h, const struct fs_online_options *options, struct fs_online_changes *changes)
{
    struct mend m;
    struct online_racks racks;
    bool done = false;

    for (int l = h->service->first_link; l < h->service->first_link + h->service->n_links; l++) {
        const struct fs_service_link *link = &h->services->links[l];
        if (h->services->nodes[link->from].kind != FS_SERVICE_PM && h->services->nodes[link->to].kind != FS_SERVICE_PM) {
            return false; /* a link between ports needs no room on servers */
        }
    }
    begin(&m, o, options->moves, options, changes);
    online_racks_begin(&racks, o);
    for (int i = 0, rack; !done && i < RACKS_ROOM && (rack = online_racks_next(&racks)) >= 0; i++) {
        done = make_room_in(&m, h, options, rack);
    }
    online_racks_end(&racks);
    for (int i = 0; i < m.n; i++) {
        drop(&m.journal[i]);
    }
    free(m.journal);
    return done;
}

/* Lower bounds.  They look at an instance alone, so a search may stop when it has reached them, and a proof may quote them. */
#include <config.h>

#include "alloc/bounds.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "alloc/memory.h"

#define DIVISIONS_MAX 20000   /* steps of the search for the best division of one service */

static fs_amount
smaller(fs_amount a, fs_amount b)
{
    return a < b ? a : b;
}

/* ---- Delays to the nearest server. ---- */

struct item {
    fs_amount delay;
    int node;
};

struct heap {
    struct item *items;
    int n, room;
};

static void
push(struct heap *h, fs_amount delay, int node)
{
    alloc_grow(&h->items, h->n, &h->room);
    int i = h->n++;
    for (; i > 0 && delay < h->items[(i - 1) / 2].delay; i = (i - 1) / 2) {
        h->items[i] = h->items[(i - 1) / 2];
    }
    h->items[i] = (struct item) { delay, node };
}

static struct item
pop(struct heap *h)
{
    struct item top = h->items[0], last = h->items[--h->n];
    int i = 0;

    for (int child = 1; child < h->n; child = 2 * i + 1) {
        child += child + 1 < h->n && h->items[child + 1].delay < h->items[child].delay;
        if (h->items[child].delay >= last.delay) {
            break;
        }
        h->items[i] = h->items[child];
        i = child;
    }
    h->items[i] = last;
    return top;
}

/* Dijkstra's search from all servers at once: TO_SERVER against the arcs (delays to the nearest server), else along them. */
static fs_amount *
nearest(const struct fs_platform *p, bool to_server)
{
    fs_amount *delay = alloc_zeroed((size_t) p->n_nodes, sizeof *delay);
    struct heap heap = { 0 };

    for (int n = 0; n < p->n_nodes; n++) {
        delay[n] = BOUNDS_NEVER;
    }
    for (int i = 0; i < p->n_servers; i++) {
        delay[p->servers[i].node] = 0;
        push(&heap, 0, p->servers[i].node);
    }
    while (heap.n) {
        struct item at = pop(&heap);
        if (at.delay > delay[at.node] || p->nodes[at.node].kind == FS_NODE_IO) {
            continue;    /* nothing passes through an I/O node */
        }
        for (int i = p->out_start[at.node]; i < p->out_start[at.node + 1]; i++) {
            int arc = to_server ? p->out[i] ^ 1 : p->out[i], other = p->arcs[p->out[i]].to;
            fs_amount d = at.delay + p->arcs[arc].delay;
            if (d < delay[other]) {
                delay[other] = d;
                push(&heap, d, other);
            }
        }
    }
    free(heap.items);
    return delay;
}

/* Every way between two servers is a link between them, or has a link out of a server and one into a server. */
static fs_amount
least_apart(const struct fs_platform *p)
{
    fs_amount direct = BOUNDS_NEVER, out = BOUNDS_NEVER, in = BOUNDS_NEVER;

    for (int a = 0; a < p->n_arcs; a++) {
        const struct fs_arc *arc = &p->arcs[a];
        bool from = p->nodes[arc->from].kind == FS_NODE_SERVER, to = p->nodes[arc->to].kind == FS_NODE_SERVER;
        fs_amount *least = from && to ? &direct : from ? &out : to ? &in : NULL;
        if (least) {
            *least = smaller(*least, arc->delay);
        }
    }
    return smaller(direct, smaller(out + in, BOUNDS_NEVER));
}

struct bounds *
bounds_create(const struct fs_platform *p, const struct fs_services *v)
{
    struct bounds *b = alloc_zeroed(1, sizeof *b);

    b->platform = p;
    b->services = v;
    b->from_io = nearest(p, true);
    b->to_io = nearest(p, false);
    b->apart = least_apart(p);
    b->inside = BOUNDS_NEVER;
    b->lateness = alloc_zeroed((size_t) v->n_services, sizeof *b->lateness);
    memset(b->lateness, 0xff, (size_t) v->n_services * sizeof *b->lateness);
    for (int i = 0; i < p->n_servers; i++) {
        b->inside = smaller(b->inside, p->servers[i].delay);
        b->cpu = p->servers[i].cpu > b->cpu ? p->servers[i].cpu : b->cpu;
        b->mem = p->servers[i].mem > b->mem ? p->servers[i].mem : b->mem;
    }
    return b;
}

void
bounds_destroy(struct bounds *b)
{
    if (b) {
        free(b->from_io);
        free(b->to_io);
        free(b->lateness);
        free(b);
    }
}

/* The least delay of a link that is not between two modules.  (A source joined to a sink may be on its very port.) */
static fs_amount
least_at_port(const struct bounds *b, const struct fs_service_node *from, const struct fs_service_node *to)
{
    fs_amount least = BOUNDS_NEVER;

    if (from->kind != FS_SERVICE_PM && to->kind != FS_SERVICE_PM) {
        return 0;
    }
    const struct fs_service_node *port = from->kind == FS_SERVICE_PM ? to : from;
    for (int i = 0; i < port->n_io; i++) {
        int io = b->services->ios[port->first_io + i];
        least = smaller(least, port == from ? b->from_io[io] : b->to_io[io]);
    }
    return least;
}

fs_amount
bounds_link(const struct bounds *b, int link)
{
    const struct fs_service_node *from = &b->services->nodes[b->services->links[link].from];
    const struct fs_service_node *to = &b->services->nodes[b->services->links[link].to];

    return from->kind == FS_SERVICE_PM && to->kind == FS_SERVICE_PM ? smaller(b->inside, b->apart) : least_at_port(b, from, to);
}

fs_amount
bounds_path(const struct bounds *b, int path)
{
    const struct fs_service_path *p = &b->services->paths[path];
    fs_amount least = 0;

    for (int i = 0; i < p->n_links; i++) {
        least = smaller(BOUNDS_NEVER, least + bounds_link(b, b->services->path_links[p->first_link + i]));
    }
    return least;
}

/* ---- Dividing a service among servers. ---- */

struct division {
    const struct bounds *b;
    struct divisions *list;      /* where divisions are collected that are less late than 'best', or NULL: seek the best */
    int list_max;
    fs_amount cpu_max, mem_max;  /* of a part */
    const struct fs_service *service;
    int *part;                   /* by node of the service, -1 as long as it is in none */
    fs_amount *cpu, *mem;        /* by part */
    int n_parts;
    fs_amount best;
    int steps;
};

/* How late the paths are at least, given the parts so far. */
static fs_amount
lateness_so_far(const struct division *d)
{
    const struct fs_services *v = d->b->services;
    int first = d->service->first_node;
    fs_amount late = 0;

    for (int t = d->service->first_path; t < d->service->first_path + d->service->n_paths; t++) {
        fs_amount delay = 0;
        for (int i = 0; i < v->paths[t].n_links; i++) {
            int l = v->path_links[v->paths[t].first_link + i];
            int from = d->part[v->links[l].from - first], to = d->part[v->links[l].to - first];
            delay += from < 0 || to < 0 ? bounds_link(d->b, l) : from == to ? d->b->inside : d->b->apart;
            delay = smaller(delay, BOUNDS_NEVER);
        }
        late += over_limit(delay, v->paths[t].bound);
        late = smaller(late, BOUNDS_NEVER);
    }
    return late;
}

static void
collect(struct division *d)
{
    struct divisions *list = d->list;

    if (list->n == d->list_max) {
        d->steps = 0;
        return;
    }
    for (int i = 0; i < list->n_nodes; i++) {
        list->part[list->n * list->n_nodes + i] = (signed char) d->part[i];
    }
    list->n_parts[list->n++] = d->n_parts;
}

/* Puts the modules from NODE of the service on into parts, each into one that there is or into a new one. */
static void
divide(struct division *d, int node)
{
    const struct fs_service_node *nodes = d->b->services->nodes + d->service->first_node;

    if (d->best <= 0 || d->steps-- <= 0 || lateness_so_far(d) >= d->best) {
        return;
    }
    while (node < d->service->n_nodes && nodes[node].kind != FS_SERVICE_PM) {
        node++;
    }
    if (node == d->service->n_nodes) {
        if (d->list) {
            collect(d);
        } else {
            d->best = lateness_so_far(d);
        }
        return;
    }
    for (int part = 0; part <= d->n_parts; part++) {
        if (d->cpu[part] + nodes[node].cpu > d->cpu_max || d->mem[part] + nodes[node].mem > d->mem_max) {
            continue;
        }
        bool new = part == d->n_parts;
        d->part[node] = part;
        d->cpu[part] += nodes[node].cpu;
        d->mem[part] += nodes[node].mem;
        d->n_parts += new;
        divide(d, node + 1);
        d->n_parts -= new;
        d->cpu[part] -= nodes[node].cpu;
        d->mem[part] -= nodes[node].mem;
        d->part[node] = -1;
    }
}

fs_amount
bounds_lateness(struct bounds *b, int service)
{
    const struct fs_service *v = &b->services->services[service];
    size_t n = (size_t) v->n_nodes;

    if (b->lateness[service] < 0) {
        struct division d = {
            .b = b, .service = v, .part = alloc_filled(n, -1), .cpu = alloc_zeroed(n + 1, sizeof *d.cpu),
            .mem = alloc_zeroed(n + 1, sizeof *d.mem), .best = BOUNDS_NEVER, .steps = DIVISIONS_MAX,
            .cpu_max = b->cpu, .mem_max = b->mem,
        };
        fs_amount plain = lateness_so_far(&d);
        divide(&d, 0);
        /* A search that was not finished proves no more than that no link can be shorter than the shortest. */
        b->lateness[service] = d.steps <= 0 || d.best == BOUNDS_NEVER ? plain : d.best;
        free(d.part);
        free(d.cpu);
        free(d.mem);
    }
    return b->lateness[service];
}

fs_amount
bounds_least_lateness(const struct state *s, int service)
{
    return bounds_lateness(s->bounds, service);
}

/* Sorts LIST by the number of parts; where that is equal, in the order found. */
static void
sort_divisions(struct divisions *list)
{
    struct divisions old = *list;
    int n = 0;

    list->n_parts = alloc_zeroed((size_t) old.n, sizeof *list->n_parts);
    list->part = alloc_zeroed((size_t) old.n * (size_t) old.n_nodes, sizeof *list->part);
    for (int parts = 0; n < old.n; parts++) {
        for (int i = 0; i < old.n; i++) {
            if (old.n_parts[i] == parts) {
                list->n_parts[n] = parts;
                memcpy(&list->part[n++ * old.n_nodes], &old.part[i * old.n_nodes], (size_t) old.n_nodes);
            }
        }
    }
    free(old.n_parts);
    free(old.part);
}

struct divisions *
bounds_divisions(const struct bounds *b, int service, fs_amount late, int max)
{
    const struct fs_service *v = &b->services->services[service];
    size_t n = (size_t) v->n_nodes;
    struct divisions *list = alloc_zeroed(1, sizeof *list);
    struct division d = {
        .b = b, .service = v, .list = list, .list_max = max, .part = alloc_filled(n, -1), .cpu = alloc_zeroed(n + 1, sizeof *d.cpu),
        .mem = alloc_zeroed(n + 1, sizeof *d.mem), .best = late + 1, .steps = DIVISIONS_MAX, .cpu_max = INT64_MAX,
        .mem_max = INT64_MAX,
    };

    list->n_nodes = v->n_nodes;
    list->n_parts = alloc_zeroed((size_t) max, sizeof *list->n_parts);
    list->part = alloc_zeroed((size_t) max * n, sizeof *list->part);
    if (n <= SCHAR_MAX) {
        divide(&d, 0);
    }
    sort_divisions(list);
    free(d.part);
    free(d.cpu);
    free(d.mem);
    return list;
}

void
divisions_free(struct divisions *list)
{
    if (list) {
        free(list->n_parts);
        free(list->part);
        free(list);
    }
}

static uint64_t
mix(uint64_t h, uint64_t x)
{
    h = (h ^ x) * UINT64_C(0x9e3779b97f4a7c15);
    return h ^ h >> 29;
}

uint64_t
bounds_shape(const struct bounds *b, int service, fs_amount late)
{
    const struct fs_services *v = b->services;
    const struct fs_service *s = &v->services[service];
    uint64_t h = mix((uint64_t) late, (uint64_t) s->n_nodes);

    for (int i = s->first_node; i < s->first_node + s->n_nodes; i++) {
        h = mix(h, v->nodes[i].kind);
    }
    for (int t = s->first_path; t < s->first_path + s->n_paths; t++) {
        h = mix(h, (uint64_t) v->paths[t].bound);
        for (int i = 0; i < v->paths[t].n_links; i++) {
            const struct fs_service_link *l = &v->links[v->path_links[v->paths[t].first_link + i]];
            h = mix(h, (uint64_t) bounds_link(b, v->path_links[v->paths[t].first_link + i]));
            h = mix(h, (uint64_t) (l->from - s->first_node) << 32 | (uint64_t) (l->to - s->first_node));
        }
    }
    return h;
}

/* Packing: each service gets a rack, and each rack is packed for itself.
 *
 * What leaves a rack does not depend on where in the rack modules are, so a rack is a small problem of its own: vectors of
 * cores and memory into some twenty servers, with the delay bounds and the servers' links to watch.  Services are dealt to racks
 * largest first, always to the rack that is least full by its dominant resource, so that all racks have the same mixture and
 * none is harder than need be.  Then each rack is built up module by module (best fit, largest first), or service by service (a
 * small exhaustive search that keeps modules together as their bounds demand), and what still breaks a limit is mended by
 * moves and swaps.  Racks share nothing that changes, so several threads may pack, and the answer does not depend on how many.
 *
 * A service that fits no rack, or a rack that cannot be mended, is left to the rest of this file and to the tabu search. */
#include <config.h>

#include "alloc/search.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "alloc/bounds.h"
#include "alloc/memory.h"

#define RACKS_TRIED 8        /* for a service, from the least full on */
#define TRIALS 600           /* moves of the exhaustive search for one service */
#define NEW_SERVERS 4        /* that it tries beside those that the service is on already */
#define FILLINGS 20          /* times that a rack is built up server by server */
#define SHAPES 64            /* of services that are known by their divisions, */
#define DIVISIONS 128        /* and so many of each at most */
#define MEND_STEPS 3000      /* moves to mend a rack */
#define MEND_HOPELESS 40     /* and where servers are proven to be too few */
#define FULL 0.93            /* how full racks may be when servers are to be switched off */
#define TIGHT 0.85           /* fuller racks are built up module by module first */

struct rack {
    int index;
    int *services, n, room;
    int *modules, n_modules;     /* of all its services, largest first */
    int n_servers;
    const int *servers;
    double load;                 /* the share of its dominant resource that is dealt out */
    fs_amount cpu, mem, cpu_dealt, mem_dealt;
};

struct packing {
    struct search *search;
    struct state *state;
    struct rack *racks;
    double *share;               /* by service node: the larger of its shares of a mean server */
    double cpu_mean, mem_mean;
    bool apart;                  /* racks may be packed at the same time */
    int n_shapes, *shape_services; /* the services whose divisions others share */
    struct divisions **divisions; /* by service: ways to divide it that are no later than need be; many services share one */
    uint64_t *free_at;           /* by service node: the step of mending at which it may move again */
    atomic_int next;
    struct excess *excess;       /* by rack: what packing it changed */
};

/* The work on one rack. */
struct job {
    struct packing *packing;
    struct state *state;
    struct rack *rack;
    struct excess excess;        /* of this rack alone */
    uint64_t random;
    uint64_t steps;              /* for mending */
    int trials;
};

/* ---- Sources and sinks. ---- */

static fs_amount
bandwidth_of(const struct fs_services *v, int node)
{
    const struct fs_service_node *g = &v->nodes[node];
    fs_amount bandwidth = 0;

    for (int i = 0; i < g->n_incident; i++) {
        bandwidth += v->links[v->incident[g->first_incident + i]].bandwidth;
    }
    return bandwidth;
}

/* What all links into I/O node IO carry. */
static fs_amount
capacity_into(const struct fs_platform *p, int io)
{
    fs_amount capacity = 0;

    for (int i = p->out_start[io]; i < p->out_start[io + 1]; i++) {
        capacity += p->arcs[p->out[i] ^ 1].bandwidth;
    }
    return capacity;
}

static int
roomiest(const struct packing *k, int node, const fs_amount *into)
{
    const struct fs_services *v = k->state->services;
    const struct fs_service_node *g = &v->nodes[node];
    double least = 0;
    int best = -1;

    for (int i = 0; i < g->n_io; i++) {
        int io = v->ios[g->first_io + i];
        fs_amount capacity = capacity_into(k->state->platform, io);
        double full = (double) (into[io] + bandwidth_of(v, node)) / (double) (capacity ? capacity : 1);
        if (best < 0 || full < least) {
            least = full;
            best = io;
        }
    }
    return best;
}

void
pack_ports(struct search *search)
{
    struct packing k = { .search = search, .state = search->state };
    const struct fs_services *v = k.state->services;
    fs_amount *into = alloc_zeroed((size_t) k.state->platform->n_nodes, sizeof *into);

    for (int choice = 0; choice < 2; choice++) {   /* those without a choice first */
        for (int n = 0; n < v->n_nodes; n++) {
            const struct fs_service_node *g = &v->nodes[n];
            if (g->kind == FS_SERVICE_PM || (g->n_io > 1) != choice || k.state->at[n] >= 0) {
                continue;
            }
            int io = choice ? roomiest(&k, n, into) : v->ios[g->first_io];
            state_move(k.state, &k.state->excess, n, io);
            into[io] += g->kind == FS_SERVICE_SINK ? bandwidth_of(v, n) : 0;
        }
    }
    free(into);
}

/* ---- Dealing services to racks. ---- */

struct ranked {
    int index;
    double key;
};

static int
compare_ranked(const void *a_, const void *b_)
{
    const struct ranked *a = a_, *b = b_;

    return a->key != b->key ? (a->key < b->key) - (a->key > b->key) : (a->index > b->index) - (a->index < b->index);
}

static double
larger(double a, double b)
{
    return a > b ? a : b;
}

static double
share_of(const struct packing *k, fs_amount cpu, fs_amount mem)
{
    return larger((double) cpu / k->cpu_mean, (double) mem / k->mem_mean);
}

static double
load_with(const struct rack *r, const struct fs_service *v)
{
    double cpu = (double) (r->cpu_dealt + v->cpu) / (double) (r->cpu ? r->cpu : 1);
    double mem = (double) (r->mem_dealt + v->mem) / (double) (r->mem ? r->mem : 1);

    return larger(cpu, mem);
}

/* The heap of racks, least full first; equal ones by number. */
static bool
less_full(const struct packing *k, int a, int b)
{
    return k->racks[a].load != k->racks[b].load ? k->racks[a].load < k->racks[b].load : a < b;
}

static void
sift_down(const struct packing *k, int *heap, int n, int i)
{
    for (;;) {
        int least = i;
        for (int child = 2 * i + 1; child <= 2 * i + 2 && child < n; child++) {
            least = less_full(k, heap[child], heap[least]) ? child : least;
        }
        if (least == i) {
            return;
        }
        int swap = heap[i];
        heap[i] = heap[least];
        heap[least] = swap;
        i = least;
    }
}

/* The place in HEAP of the first rack that has room for service V. */
static int
rack_with_room(const struct packing *k, const int *heap, int n, const struct fs_service *v)
{
    for (int i = 0; i < n && i < RACKS_TRIED; i++) {
        if (load_with(&k->racks[heap[i]], v) <= 1) {
            return i;
        }
    }
    return -1;
}

static void
enlist(struct rack *r, const struct fs_services *v, int service)
{
    alloc_grow(&r->services, r->n, &r->room);
    r->services[r->n++] = service;
    r->load = load_with(r, &v->services[service]);
    r->cpu_dealt += v->services[service].cpu;
    r->mem_dealt += v->services[service].mem;
}

/* The racks to deal services to: all of them, or, to switch servers off, about as many as will be full. */
static int
racks_needed(const struct packing *k)
{
    const struct fs_services *v = k->state->services;
    const struct fs_platform *p = k->state->platform;
    double cpu = 0, mem = 0, rack_cpu = 0, rack_mem = 0;
    int n = 0;

    for (int i = 0; i < v->n_services; i++) {
        cpu += (double) v->services[i].cpu;
        mem += (double) v->services[i].mem;
    }
    while (n < p->n_racks && (!k->search->consolidate || !n || rack_cpu * FULL < cpu || rack_mem * FULL < mem)) {
        rack_cpu += (double) k->racks[n].cpu;
        rack_mem += (double) k->racks[n++].mem;
    }
    return n;
}

static void
deal_services(struct packing *k)
{
    const struct fs_services *v = k->state->services;
    int all = k->state->platform->n_racks, n_racks = racks_needed(k);
    struct ranked *ranked = alloc_zeroed((size_t) v->n_services, sizeof *ranked);
    int *heap = alloc_zeroed((size_t) all, sizeof *heap);

    for (int i = 0; i < all; i++) {
        heap[i] = i;
    }
    for (int i = 0; i < v->n_services; i++) {
        ranked[i] = (struct ranked) { i, share_of(k, v->services[i].cpu, v->services[i].mem) };
    }
    qsort(ranked, (size_t) v->n_services, sizeof *ranked, compare_ranked);
    for (int i = 0; i < v->n_services; i++) {
        const struct fs_service *service = &v->services[ranked[i].index];
        int place = rack_with_room(k, heap, n_racks, service);
        if (place < 0 && n_racks < all) {
            int swap = heap[0];    /* an empty rack, which belongs to the front of the heap */
            heap[0] = heap[n_racks];
            heap[n_racks++] = swap;
            place = load_with(&k->racks[heap[0]], service) <= 1 ? 0 : -1;
        }
        if (place >= 0) {
            enlist(&k->racks[heap[place]], v, ranked[i].index);
            sift_down(k, heap, n_racks, place);
        }
    }
    free(ranked);
    free(heap);
}

/* Lists the modules of the rack's services, largest first. */
static void
list_modules(const struct packing *k, struct rack *r)
{
    const struct fs_services *v = k->state->services;
    int n = 0;

    for (int i = 0; i < r->n; i++) {
        n += v->services[r->services[i]].n_nodes;
    }
    struct ranked *ranked = alloc_zeroed((size_t) n, sizeof *ranked);
    n = 0;
    for (int i = 0; i < r->n; i++) {
        const struct fs_service *service = &v->services[r->services[i]];
        for (int m = service->first_node; m < service->first_node + service->n_nodes; m++) {
            if (v->nodes[m].kind == FS_SERVICE_PM) {
                ranked[n++] = (struct ranked) { m, k->share[m] };
            }
        }
    }
    qsort(ranked, (size_t) n, sizeof *ranked, compare_ranked);
    r->n_modules = n;
    free(r->modules);
    r->modules = alloc_zeroed((size_t) n, sizeof *r->modules);
    for (int i = 0; i < n; i++) {
        r->modules[i] = ranked[i].index;
    }
    free(ranked);
}

/* ---- Inside a rack. ---- */

static void
shift(struct job *j, int node, int where)
{
    if (j->packing->apart) {
        state_move_local(j->state, &j->excess, node, where);
    } else {
        state_move(j->state, &j->excess, node, where);
    }
}

static int
node_of(const struct job *j, int i)
{
    return j->state->platform->servers[j->rack->servers[i]].node;
}

static double
cost_of(const struct job *j)
{
    return state_cost(j->state, &j->excess);
}

static bool
has_room(const struct state *s, int node, int server)
{
    const struct fs_service_node *m = &s->services->nodes[node];
    const struct fs_server *limits = &s->platform->servers[server];
    const struct fs_server_load *use = &s->servers[server];

    return use->cpu + m->cpu <= limits->cpu && use->mem + m->mem <= limits->mem;
}

/* How badly MODULE fits what is left of SERVER: what would remain, as the sum of squares of shares. */
static double
misfit(const struct job *j, int node, int server)
{
    const struct state *s = j->state;
    const struct fs_service_node *m = &s->services->nodes[node];
    const struct fs_server *limits = &s->platform->servers[server];
    double cpu = (double) (limits->cpu - s->servers[server].cpu - m->cpu) / j->packing->cpu_mean;
    double mem = (double) (limits->mem - s->servers[server].mem - m->mem) / j->packing->mem_mean;

    return cpu * cpu + mem * mem;
}

/* The place in the rack where NODE, which is nowhere, costs least. */
static int
cheapest(struct job *j, int node)
{
    double least = 0;
    int best = -1;

    for (int i = 0; i < j->rack->n_servers; i++) {
        shift(j, node, node_of(j, i));
        double cost = cost_of(j);
        shift(j, node, -1);
        if (best < 0 || cost < least) {
            least = cost;
            best = i;
        }
    }
    return best;
}

/* The place in the rack where NODE fits best, or else costs least. */
static int
best_fit(struct job *j, int node)
{
    double least = 0;
    int best = -1;

    for (int i = 0; i < j->rack->n_servers; i++) {
        int server = j->rack->servers[i];
        if (has_room(j->state, node, server)) {
            double bad = misfit(j, node, server);
            if (best < 0 || bad < least) {
                least = bad;
                best = i;
            }
        }
    }
    return best < 0 ? cheapest(j, node) : best;
}

static void
clear(struct job *j)
{
    for (int i = 0; i < j->rack->n_modules; i++) {
        if (j->state->at[j->rack->modules[i]] >= 0) {
            shift(j, j->rack->modules[i], -1);
        }
    }
}

/* Builds the rack up from single modules, largest first. */
static void
build_by_module(struct job *j)
{
    clear(j);
    for (int i = 0; i < j->rack->n_modules; i++) {
        shift(j, j->rack->modules[i], node_of(j, best_fit(j, j->rack->modules[i])));
    }
}

/* Up to NEW_SERVERS servers where NODE fits best, into CHOICE; those that its service is on already come before them. */
static int
choose_servers(const struct job *j, const struct fs_service *service, int node, int *choice)
{
    const struct state *s = j->state;
    double bad[NEW_SERVERS];
    int n = 0, known = 0;

    for (int m = service->first_node; m < node && known < 8; m++) {
        int server = s->services->nodes[m].kind == FS_SERVICE_PM && s->at[m] >= 0 ? s->platform->nodes[s->at[m]].server : -1;
        bool seen = server < 0 || !has_room(s, node, server);
        for (int i = 0; i < known && !seen; i++) {
            seen = choice[i] == server;
        }
        if (!seen) {
            choice[known++] = server;
        }
    }
    for (int i = 0; i < j->rack->n_servers; i++) {
        int server = j->rack->servers[i], at = n;
        bool seen = !has_room(s, node, server);
        for (int c = 0; c < known && !seen; c++) {
            seen = choice[c] == server;
        }
        if (seen) {
            continue;
        }
        double b = misfit(j, node, server);
        while (at > 0 && bad[at - 1] > b) {
            at--;
        }
        if (at == NEW_SERVERS) {
            continue;
        }
        n = n < NEW_SERVERS ? n + 1 : n;
        memmove(&bad[at + 1], &bad[at], (size_t) (n - 1 - at) * sizeof *bad);
        memmove(&choice[known + at + 1], &choice[known + at], (size_t) (n - 1 - at) * sizeof *choice);
        bad[at] = b;
        choice[known + at] = server;
    }
    return known + n;
}

/* Places the modules of SERVICE from NODE on without breaking a limit, but for LATE of delay more than before. */
static bool
place_together(struct job *j, const struct fs_service *service, int node, fs_amount late)
{
    const struct state *s = j->state;
    int end = service->first_node + service->n_nodes, choice[8 + NEW_SERVERS];

    while (node < end && s->services->nodes[node].kind != FS_SERVICE_PM) {
        node++;
    }
    if (node == end) {
        return true;
    }
    int n = choose_servers(j, service, node, choice);
    for (int i = 0; i < n && j->trials > 0; i++) {
        struct excess before = j->excess;
        j->trials--;
        shift(j, node, s->platform->servers[choice[i]].node);
        fs_amount more = j->excess.delay - before.delay;
        if (j->excess.bandwidth <= before.bandwidth && j->excess.unrouted <= before.unrouted && more <= late
            && place_together(j, service, node + 1, late - more)) {
            return true;
        }
        shift(j, node, -1);
    }
    return false;
}

/* ---- Services by their divisions. ---- */

#define PARTS 16

/* What the parts of a division ask for. */
struct parts {
    int n;
    fs_amount cpu[PARTS], mem[PARTS];
    int server[PARTS];
    double misfit;               /* of all together */
};

/* Adds up the parts; returns whether there are few enough. */
static bool
sum_parts(const struct state *s, const struct fs_service *service, const struct divisions *list, int division, struct parts *parts)
{
    const signed char *part = &list->part[division * list->n_nodes];

    *parts = (struct parts) { .n = list->n_parts[division] };
    for (int i = 0; parts->n <= PARTS && i < list->n_nodes; i++) {
        if (part[i] >= 0) {
            parts->cpu[part[i]] += s->services->nodes[service->first_node + i].cpu;
            parts->mem[part[i]] += s->services->nodes[service->first_node + i].mem;
        }
    }
    return parts->n <= PARTS;
}

/* The server of the rack that part PART fits best, none of the parts before it; -1 if there is none. */
static int
server_for_part(const struct job *j, const struct parts *parts, int part, double *misfit)
{
    const struct state *s = j->state;
    int best = -1;

    for (int i = 0; i < j->rack->n_servers; i++) {
        int server = j->rack->servers[i];
        const struct fs_server *limits = &s->platform->servers[server];
        fs_amount cpu = limits->cpu - s->servers[server].cpu - parts->cpu[part];
        fs_amount mem = limits->mem - s->servers[server].mem - parts->mem[part];
        bool taken = cpu < 0 || mem < 0;
        for (int p = 0; p < part && !taken; p++) {
            taken = parts->server[p] == server;
        }
        if (!taken) {
            double c = (double) cpu / j->packing->cpu_mean, m = (double) mem / j->packing->mem_mean, bad = c * c + m * m;
            if (best < 0 || bad < *misfit) {
                best = server;
                *misfit = bad;
            }
        }
    }
    return best;
}

/* Finds servers for the parts of a division. */
static bool
fit_parts(const struct job *j, struct parts *parts)
{
    for (int p = 0; p < parts->n; p++) {
        double misfit = 0;
        parts->server[p] = server_for_part(j, parts, p, &misfit);
        if (parts->server[p] < 0) {
            return false;
        }
        parts->misfit += misfit;
    }
    return true;
}

/* Puts the modules of SERVICE where PARTS says, unless that breaks a limit more, but for LATE of delay. */
static bool
put_parts(struct job *j, const struct fs_service *service, const struct divisions *list, int division, const struct parts *parts,
          fs_amount late)
{
    const signed char *part = &list->part[division * list->n_nodes];
    struct excess before = j->excess;

    for (int i = 0; i < list->n_nodes; i++) {
        if (part[i] >= 0) {
            shift(j, service->first_node + i, j->state->platform->servers[parts->server[part[i]]].node);
        }
    }
    if (j->excess.bandwidth <= before.bandwidth && j->excess.unrouted <= before.unrouted
        && j->excess.delay - before.delay <= late) {
        return true;
    }
    for (int i = 0; i < list->n_nodes; i++) {
        if (part[i] >= 0) {
            shift(j, service->first_node + i, -1);
        }
    }
    return false;
}

/* Places SERVICE by the division that wastes least among those with the fewest parts. */
static bool
place_by_divisions(struct job *j, int service)
{
    const struct fs_service *v = &j->state->services->services[service];
    const struct divisions *list = j->packing->divisions[service];
    fs_amount late = bounds_least_lateness(j->state, service);
    struct parts best = { 0 }, parts;
    int division = -1;

    for (int d = 0; list && d < list->n; d++) {
        if (division >= 0 && list->n_parts[d] > best.n) {
            break;
        }
        if (sum_parts(j->state, v, list, d, &parts) && fit_parts(j, &parts) && (division < 0 || parts.misfit < best.misfit)) {
            best = parts;
            division = d;
        }
    }
    return division >= 0 && put_parts(j, v, list, division, &best, late);
}

static void
place_apart(struct job *j, const struct fs_service *service)
{
    for (int m = service->first_node; m < service->first_node + service->n_nodes; m++) {
        if (j->state->services->nodes[m].kind == FS_SERVICE_PM && j->state->at[m] < 0) {
            shift(j, m, node_of(j, best_fit(j, m)));
        }
    }
}

/* Places SERVICE, which is nowhere, within the least delay violation that any server like these allows. */
static bool
try_service(struct job *j, int service)
{
    const struct fs_service *v = &j->state->services->services[service];

    if (place_by_divisions(j, service)) {
        return true;
    }
    j->trials = TRIALS;
    if (place_together(j, v, v->first_node, 0)) {
        return true;
    }
    fs_amount least = bounds_least_lateness(j->state, service);
    j->trials = TRIALS;
    return least > 0 && place_together(j, v, v->first_node, least);
}

/* Builds the rack up service by service, in the order of their largest modules. */
static void
build_by_service(struct job *j)
{
    const struct fs_services *v = j->state->services;

    clear(j);
    for (int i = 0; i < j->rack->n_modules; i++) {
        int m = j->rack->modules[i];
        if (j->state->at[m] < 0 && !try_service(j, v->nodes[m].service)) {
            place_apart(j, &v->services[v->nodes[m].service]);
        }
    }
}

/* ---- Mending. ---- */

static double
over_share(fs_amount used, fs_amount limit, double mean)
{
    return used > limit ? (double) (used - limit) / mean : 0;
}

/* What SERVER would exceed by with CPU and MEM more. */
static double
server_over(const struct packing *k, int server, fs_amount cpu, fs_amount mem)
{
    const struct fs_server *limits = &k->state->platform->servers[server];
    const struct fs_server_load *use = &k->state->servers[server];

    return over_share(use->cpu + cpu, limits->cpu, k->cpu_mean) + over_share(use->mem + mem, limits->mem, k->mem_mean);
}

/* Whether something is wrong at SERVER: its capacities, or those of its link. */
static bool
is_over(const struct packing *k, int server)
{
    const struct state *s = k->state;
    const struct fs_server *limits = &s->platform->servers[server];
    const struct end *end = &s->ends[limits->node];

    return server_over(k, server, 0, 0) > 0 || s->servers[server].bandwidth > limits->bandwidth
           || (end->up >= 0 && (s->used[end->up] > s->platform->arcs[end->up].bandwidth
                                || s->used[end->down] > s->platform->arcs[end->down].bandwidth));
}

/* Puts into SUSPECTS (room for all modules of the rack) the modules of one thing that is wrong, at random. */
static int
find_suspects(struct job *j, int *suspects)
{
    const struct state *s = j->state;
    const struct fs_services *v = s->services;
    int seen = 0, server = -1, path = -1, n = 0;

    for (int i = 0; i < j->rack->n_servers; i++) {
        if (is_over(j->packing, j->rack->servers[i]) && !search_random(&j->random, ++seen)) {
            server = j->rack->servers[i];
        }
    }
    for (int i = 0; server < 0 && i < j->rack->n; i++) {
        const struct fs_service *service = &v->services[j->rack->services[i]];
        for (int t = service->first_path; t < service->first_path + service->n_paths; t++) {
            if (s->path_delay[t] > v->paths[t].bound && !search_random(&j->random, ++seen)) {
                path = t;
            }
        }
    }
    for (int m = server < 0 ? -1 : s->first_on[server]; m >= 0; m = s->next_on[m]) {
        suspects[n++] = m;
    }
    for (int i = 0; path >= 0 && i < v->paths[path].n_links; i++) {
        int to = v->links[v->path_links[v->paths[path].first_link + i]].to;
        if (v->nodes[to].kind == FS_SERVICE_PM) {
            suspects[n++] = to;
        }
    }
    return n;
}

struct exchange {
    int node, other, where;      /* node goes to where; other, or -1, to where node was */
    double cost;
    int ties;
};

static void
exchange(struct job *j, int node, int other, int where)
{
    int before = j->state->at[node];

    shift(j, node, where);
    if (other >= 0) {
        shift(j, other, before);
    }
}

/* Notes the exchange if it is the best so far.  CHANGE is what it changes in cores and memory, known beforehand. */
static void
weigh(struct job *j, struct exchange *best, int node, int other, int where, double change)
{
    struct excess before = j->excess;
    int home = j->state->at[node];
    double rest = (double) (before.cpu) * j->state->cpu_weight + (double) before.mem * j->state->mem_weight;

    if (rest + change * 100 > best->cost + 1e-9) {
        return;    /* even if everything else were mended */
    }
    exchange(j, node, other, where);
    double cost = cost_of(j);
    exchange(j, node, other, home);
    if (cost > best->cost || (cost == best->cost && search_random(&j->random, ++best->ties))) {
        return;
    }
    *best = (struct exchange) { node, other, where, cost, cost == best->cost ? best->ties : 1 };
}

/* Weighs all exchanges of NODE.  Those of modules that are tabu count only if they beat BEATEN. */
static void
weigh_all(struct job *j, struct exchange *best, int node, bool tabu, double beaten, uint64_t step, const uint64_t *free_at)
{
    const struct state *s = j->state;
    const struct fs_service_node *m = &s->services->nodes[node];
    int home = s->platform->nodes[s->at[node]].server;
    struct exchange only_better = { -1, -1, -1, beaten, 0 };

    for (int i = 0; i < j->rack->n_servers; i++) {
        int server = j->rack->servers[i], where = node_of(j, i);
        if (server == home) {
            continue;
        }
        double now = server_over(j->packing, home, 0, 0) + server_over(j->packing, server, 0, 0);
        double change = server_over(j->packing, home, -m->cpu, -m->mem) + server_over(j->packing, server, m->cpu, m->mem) - now;
        weigh(j, tabu ? &only_better : best, node, -1, where, change);
        for (int o = s->first_on[server], next; o >= 0; o = next) {
            const struct fs_service_node *other = &s->services->nodes[o];
            next = s->next_on[o];    /* weighing puts 'o' to the front of the list */
            fs_amount cpu = m->cpu - other->cpu, mem = m->mem - other->mem;
            change = server_over(j->packing, home, -cpu, -mem) + server_over(j->packing, server, cpu, mem) - now;
            weigh(j, tabu || free_at[o] > step ? &only_better : best, node, o, where, change);
        }
    }
    if (only_better.node >= 0 && only_better.cost < best->cost) {
        *best = only_better;
    }
}

/* The cost that no packing of the rack can go below: the lateness that its services cannot avoid. */
static double
least_cost(const struct job *j)
{
    fs_amount least = 0;

    for (int i = 0; j->excess.delay > 0 && i < j->rack->n; i++) {
        least += bounds_least_lateness(j->state, j->rack->services[i]);
    }
    return (double) least * j->state->delay_weight;
}

/* Mends what is wrong in the rack by the best moves and swaps of what is part of it, tabu ones excepted. */
static void
mend(struct job *j)
{
    const struct rack *r = j->rack;
    struct state *s = j->state;
    int *suspects = alloc_zeroed((size_t) r->n_modules, sizeof *suspects), *best_at = alloc_zeroed((size_t) r->n_modules, sizeof(int));
    uint64_t *free_at = j->packing->free_at;
    double best_cost = cost_of(j), target = least_cost(j) + 1e-9;

    for (int i = 0; i < r->n_modules; i++) {
        best_at[i] = s->at[r->modules[i]];
        free_at[r->modules[i]] = 0;
    }
    for (uint64_t step = 1; step <= j->steps && best_cost > target && !search_over(j->packing->search); step++) {
        struct exchange best = { -1, -1, -1, 1e300, 0 };
        int n = find_suspects(j, suspects);
        for (int i = 0; i < n; i++) {
            weigh_all(j, &best, suspects[i], free_at[suspects[i]] > step, best_cost - 1e-9, step, free_at);
        }
        if (best.node < 0) {
            continue;
        }
        exchange(j, best.node, best.other, best.where);
        free_at[best.node] = step + 4 + (uint64_t) search_random(&j->random, 8);
        if (best.other >= 0) {
            free_at[best.other] = free_at[best.node];
        }
        if (cost_of(j) < best_cost - 1e-9) {
            best_cost = cost_of(j);
            for (int i = 0; i < r->n_modules; i++) {
                best_at[i] = s->at[r->modules[i]];
            }
        }
    }
    for (int i = 0; i < r->n_modules; i++) {
        if (s->at[r->modules[i]] != best_at[i]) {
            shift(j, r->modules[i], best_at[i]);
        }
    }
    free(suspects);
    free(best_at);
}

/* What the rack exceeds now, counted from its servers, their links and its services' paths. */
static struct excess
count_rack(const struct packing *k, const struct rack *r)
{
    const struct state *s = k->state;
    const struct fs_platform *p = s->platform;
    struct excess e = { 0 };

    for (int i = 0; i < r->n_servers; i++) {
        const struct fs_server *limits = &p->servers[r->servers[i]];
        const struct fs_server_load *use = &s->servers[r->servers[i]];
        const struct end *end = &s->ends[limits->node];
        e.cpu += over_limit(use->cpu, limits->cpu);
        e.mem += over_limit(use->mem, limits->mem);
        e.bandwidth += over_limit(use->bandwidth, limits->bandwidth);
        if (end->up >= 0) {
            e.bandwidth += over_limit(s->used[end->up], p->arcs[end->up].bandwidth)
                           + over_limit(s->used[end->down], p->arcs[end->down].bandwidth);
        }
    }
    for (int i = 0; i < r->n; i++) {
        const struct fs_service *service = &s->services->services[r->services[i]];
        for (int t = service->first_path; t < service->first_path + service->n_paths; t++) {
            e.delay += over_limit(s->path_delay[t], s->services->paths[t].bound);
        }
    }
    return e;
}

static struct excess
difference(struct excess a, const struct excess *b)
{
    return (struct excess) { a.cpu - b->cpu, a.mem - b->mem, a.bandwidth - b->bandwidth, a.delay - b->delay, a.unrouted - b->unrouted,
                             a.objective - b->objective };
}

/* The places of the rack's modules, for the caller to free. */
static int *
save(const struct job *j)
{
    int *at = alloc_zeroed((size_t) j->rack->n_modules, sizeof *at);

    for (int i = 0; i < j->rack->n_modules; i++) {
        at[i] = j->state->at[j->rack->modules[i]];
    }
    return at;
}

static void
restore(struct job *j, const int *at)
{
    for (int i = 0; i < j->rack->n_modules; i++) {
        if (j->state->at[j->rack->modules[i]] != at[i]) {
            shift(j, j->rack->modules[i], at[i]);
        }
    }
}

static struct job
start_job(struct packing *k, struct rack *r)
{
    return (struct job) {
        .packing = k, .state = k->state, .rack = r, .excess = count_rack(k, r), .steps = k->search->overloaded ? MEND_HOPELESS : MEND_STEPS,
        .random = search_seed(k->search->options->seed, (uint64_t) r->index + 1),
    };
}

/* ---- Vectors alone. ---- */

/* The servers' free cores and memory and the modules' demands, as shares of a mean server: packing by these is so quick that it can be
 * tried many times. */
struct vectors {
    int n_items, n_bins;
    double (*item)[2], (*bin)[2];
    int *bin_of, *best;          /* by item; -1: left over */
    double left, best_left;      /* the shares of what is left over */
};

static void
start_vectors(const struct job *j, struct vectors *v)
{
    const struct state *s = j->state;
    size_t n = (size_t) j->rack->n_modules;

    *v = (struct vectors) {
        .n_items = j->rack->n_modules, .n_bins = j->rack->n_servers, .item = alloc_zeroed(n, sizeof *v->item),
        .bin = alloc_zeroed((size_t) j->rack->n_servers, sizeof *v->bin), .bin_of = alloc_filled(n, -1),
        .best = alloc_filled(n, -1), .best_left = 1e300,
    };
    for (int i = 0; i < v->n_items; i++) {
        const struct fs_service_node *m = &s->services->nodes[j->rack->modules[i]];
        v->item[i][0] = (double) m->cpu / j->packing->cpu_mean;
        v->item[i][1] = (double) m->mem / j->packing->mem_mean;
    }
}

/* How well ITEM suits what is free in BIN: its size, much less the more its direction differs from that of the free vector (the 20th
 * power of the cosine; squared, which saves the roots).  So no server is left with cores but no memory, or the other way. */
static double
suits(const double *item, const double *bin)
{
    double dot = item[0] * bin[0] + item[1] * bin[1], size = item[0] * item[0] + item[1] * item[1];
    double free_size = bin[0] * bin[0] + bin[1] * bin[1];
    double cos2 = size > 0 && free_size > 0 ? dot * dot / (size * free_size) : 1;
    double cos4 = cos2 * cos2, cos8 = cos4 * cos4, cos16 = cos8 * cos8;

    return cos16 * cos16 * cos8 * size;
}

/* The item that suits BIN best, with some chance; -1 if none fits. */
static int
fill_with(struct vectors *v, const double *bin, uint64_t *random, double chance)
{
    double most = 0;
    int best = -1;

    for (int i = 0; i < v->n_items; i++) {
        if (v->bin_of[i] >= 0 || v->item[i][0] > bin[0] + 1e-12 || v->item[i][1] > bin[1] + 1e-12) {
            continue;
        }
        double good = suits(v->item[i], bin);
        good *= chance > 0 ? 1 + chance * search_random(random, 1024) / 1024 : 1;
        if (best < 0 || good > most) {
            most = good;
            best = i;
        }
    }
    return best;
}

/* Fills server after server; returns whether nothing is left over. */
static bool
fill_servers(const struct job *j, struct vectors *v, uint64_t *random, double chance)
{
    const struct state *s = j->state;

    for (int i = 0; i < v->n_items; i++) {
        v->bin_of[i] = -1;
    }
    for (int b = 0; b < v->n_bins; b++) {
        const struct fs_server *server = &s->platform->servers[j->rack->servers[b]];
        v->bin[b][0] = (double) server->cpu / j->packing->cpu_mean;
        v->bin[b][1] = (double) server->mem / j->packing->mem_mean;
        for (int i; (i = fill_with(v, v->bin[b], random, chance)) >= 0; ) {
            v->bin_of[i] = b;
            v->bin[b][0] -= v->item[i][0];
            v->bin[b][1] -= v->item[i][1];
        }
    }
    v->left = 0;
    for (int i = 0; i < v->n_items; i++) {
        v->left += v->bin_of[i] < 0 ? v->item[i][0] + v->item[i][1] : 0;
    }
    if (v->left < v->best_left) {
        v->best_left = v->left;
        memcpy(v->best, v->bin_of, (size_t) v->n_items * sizeof *v->best);
    }
    return v->left <= 0;
}

/* Builds the rack up from single modules, server after server, trying several times. */
static void
build_by_server(struct job *j)
{
    struct vectors v;

    start_vectors(j, &v);
    for (int i = 0; i < FILLINGS && !fill_servers(j, &v, &j->random, i ? 0.3 : 0); i++) {
        continue;
    }
    clear(j);
    for (int i = 0; i < v.n_items; i++) {
        if (v.best[i] >= 0) {
            shift(j, j->rack->modules[i], node_of(j, v.best[i]));
        }
    }
    for (int i = 0; i < v.n_items; i++) {
        if (v.best[i] < 0) {
            shift(j, j->rack->modules[i], node_of(j, best_fit(j, j->rack->modules[i])));
        }
    }
    free(v.item);
    free(v.bin);
    free(v.bin_of);
    free(v.best);
}

/* Packs RACK, whose modules are somewhere in it, and returns what that changes in the excess. */
static struct excess
pack_rack(struct packing *k, struct rack *r)
{
    static void (*const builders[2][3])(struct job *) = {
        { build_by_service, build_by_module, build_by_server }, { build_by_server, build_by_module, build_by_service },
    };
    struct job j = start_job(k, r);
    struct excess before = j.excess;
    double best = 1e300;
    int *at = NULL;

    for (int i = 0; i < 3 && best > 1e-9; i++) {
        builders[r->load > TIGHT || k->search->consolidate][i](&j);
        if (cost_of(&j) < best) {
            best = cost_of(&j);
            free(at);
            at = save(&j);
        }
    }
    if (best > 1e-9) {
        restore(&j, at);
        mend(&j);
    }
    free(at);
    return difference(j.excess, &before);
}

static void *
pack_some(void *packing)
{
    struct packing *k = packing;

    for (;;) {
        int r = atomic_fetch_add(&k->next, 1);
        if (r >= k->state->platform->n_racks) {
            return NULL;
        }
        if (k->racks[r].n) {
            k->excess[r] = pack_rack(k, &k->racks[r]);
        }
    }
}

/* Packs all racks with as many threads as there may be. */
static void
pack_all(struct packing *k)
{
    int n_racks = k->state->platform->n_racks, n = (int) k->search->options->threads, started = 0;
    pthread_t threads[64];

    k->excess = alloc_zeroed((size_t) n_racks, sizeof *k->excess);
    for (; k->apart && started < n - 1 && started < 64; started++) {
        if (pthread_create(&threads[started], NULL, pack_some, k)) {
            break;
        }
    }
    pack_some(k);
    for (int i = 0; i < started; i++) {
        pthread_join(threads[i], NULL);
    }
    for (int r = 0; r < n_racks; r++) {
        struct excess *e = &k->state->excess;
        e->cpu += k->excess[r].cpu;
        e->mem += k->excess[r].mem;
        e->bandwidth += k->excess[r].bandwidth;
        e->delay += k->excess[r].delay;
        e->objective += k->excess[r].objective;
    }
    free(k->excess);
}

/* ---- From rack to rack. ---- */

static void
forget_service(struct rack *r, const struct fs_services *v, int service)
{
    int n = 0;

    for (int i = 0; i < r->n; i++) {
        if (r->services[i] != service) {
            r->services[n++] = r->services[i];
        }
    }
    r->n = n;
    r->cpu_dealt -= v->services[service].cpu;
    r->mem_dealt -= v->services[service].mem;
    r->load = load_with(r, &(struct fs_service) { 0 });
}

static void
take_service(struct state *s, int service, int *at)
{
    const struct fs_service *v = &s->services->services[service];

    for (int m = 0; m < v->n_nodes; m++) {
        int node = v->first_node + m;
        at[m] = s->at[node];
        if (s->services->nodes[node].kind == FS_SERVICE_PM) {
            state_move(s, &s->excess, node, -1);
        }
    }
}

static void
put_service(struct state *s, int service, const int *at)
{
    const struct fs_service *v = &s->services->services[service];

    for (int m = 0; m < v->n_nodes; m++) {
        if (s->services->nodes[v->first_node + m].kind == FS_SERVICE_PM) {
            state_move(s, &s->excess, v->first_node + m, at[m]);
        }
    }
}

/* Enters what JOB changed since BEFORE in the account of the whole. */
static void
settle(struct job *j, const struct excess *before)
{
    struct excess change = difference(j->excess, before), *e = &j->state->excess;

    e->cpu += change.cpu;
    e->mem += change.mem;
    e->bandwidth += change.bandwidth;
    e->delay += change.delay;
    e->unrouted += change.unrouted;
    e->objective += change.objective;
}

/* Puts SERVICE, which is nowhere, into RACK by mending it; or leaves everything as it was. */
static bool
squeeze_in(struct packing *k, struct rack *r, int service)
{
    const struct fs_services *v = k->state->services;
    struct job j = start_job(k, r);
    struct excess before = j.excess;
    double cost = cost_of(&j);
    int *at = save(&j);

    place_apart(&j, &v->services[service]);
    enlist(r, v, service);
    list_modules(k, r);
    j.steps /= 4;
    mend(&j);
    bool good = cost_of(&j) < cost + 1e-9;
    if (!good) {
        for (int m = v->services[service].first_node, end = m + v->services[service].n_nodes; m < end; m++) {
            if (v->nodes[m].kind == FS_SERVICE_PM) {
                shift(&j, m, -1);
            }
        }
        forget_service(r, v, service);
        list_modules(k, r);
        restore(&j, at);
    }
    settle(&j, &before);
    free(at);
    return good;
}

/* Puts SERVICE, which is nowhere, into RACK if that breaks no limit more, mending the rack if need be. */
static bool
try_in_rack(struct packing *k, struct rack *r, int service, bool mending)
{
    if (mending) {
        return squeeze_in(k, r, service);
    }
    struct job j = start_job(k, r);
    struct excess before = j.excess;
    bool good = try_service(&j, service);
    settle(&j, &before);
    if (good) {
        enlist(r, k->state->services, service);
        list_modules(k, r);
    }
    return good;
}

/* The numbers of the racks, least full first. */
static int *
racks_by_load(const struct packing *k)
{
    int n = k->state->platform->n_racks;
    struct ranked *ranked = alloc_zeroed((size_t) n, sizeof *ranked);
    int *order = alloc_zeroed((size_t) n, sizeof *order);

    for (int r = 0; r < n; r++) {
        ranked[r] = (struct ranked) { r, -k->racks[r].load };
    }
    qsort(ranked, (size_t) n, sizeof *ranked, compare_ranked);
    for (int r = 0; r < n; r++) {
        order[r] = ranked[r].index;
    }
    free(ranked);
    return order;
}

/* Finds another rack than EXCEPT for SERVICE, which is nowhere. */
static bool
find_rack(struct packing *k, int service, int except)
{
    int *order = racks_by_load(k), n = k->state->platform->n_racks;
    bool found = false;

    for (int mending = 0; mending < 2 && !found; mending++) {
        for (int i = 0; i < n && i < RACKS_TRIED && !found && !search_over(k->search); i++) {
            found = order[i] != except && try_in_rack(k, &k->racks[order[i]], service, mending);
        }
    }
    free(order);
    return found;
}

/* Moves services out of RACK, which breaks a limit, until it does not. */
static void
relieve(struct packing *k, struct rack *r)
{
    const struct fs_services *v = k->state->services;
    int n = r->n, *services = alloc_zeroed((size_t) n, sizeof *services), at[1024];
    uint64_t random = search_seed(k->search->options->seed, (uint64_t) r->index + 1000000007);

    memcpy(services, r->services, (size_t) n * sizeof *services);
    for (int tries = 0; n > 0 && tries < 8 && !search_over(k->search); tries++) {
        struct job j = start_job(k, r);
        if (cost_of(&j) <= least_cost(&j) + 1e-9) {
            break;
        }
        int pick = search_random(&random, n), service = services[pick];
        double before = state_cost(k->state, &k->state->excess);
        services[pick] = services[--n];
        if (v->services[service].n_nodes > 1024) {
            continue;
        }
        take_service(k->state, service, at);
        forget_service(r, v, service);
        list_modules(k, r);
        bool moved = state_cost(k->state, &k->state->excess) < before && find_rack(k, service, r->index);
        if (!moved) {
            put_service(k->state, service, at);
            enlist(r, v, service);
        }
        list_modules(k, r);
        if (moved) {
            j = start_job(k, r);
            struct excess start = j.excess;
            j.steps /= 4;
            mend(&j);
            settle(&j, &start);
        }
    }
    free(services);
}

static void
relieve_racks(struct packing *k)
{
    for (int r = 0; r < k->state->platform->n_racks && !search_over(k->search); r++) {
        if (k->racks[r].n) {
            struct job j = start_job(k, &k->racks[r]);
            if (cost_of(&j) > least_cost(&j) + 1e-9) {
                relieve(k, &k->racks[r]);
            }
        }
    }
}

static void
start_racks(struct packing *k)
{
    const struct fs_platform *p = k->state->platform;
    const struct fs_services *v = k->state->services;

    k->apart = true;
    for (int r = 0; r < p->n_racks; r++) {
        struct rack *rack = &k->racks[r];
        rack->index = r;
        rack->servers = p->rack_servers + p->rack_start[r];
        rack->n_servers = p->rack_start[r + 1] - p->rack_start[r];
        for (int i = 0; i < rack->n_servers; i++) {
            const struct fs_server *server = &p->servers[rack->servers[i]];
            rack->cpu += server->cpu;
            rack->mem += server->mem;
            k->cpu_mean += (double) server->cpu / p->n_servers;
            k->mem_mean += (double) server->mem / p->n_servers;
            k->apart &= k->state->ends[server->node].anchor == k->state->ends[p->servers[rack->servers[0]].node].anchor;
        }
    }
    k->cpu_mean = k->cpu_mean > 0 ? k->cpu_mean : 1;
    k->mem_mean = k->mem_mean > 0 ? k->mem_mean : 1;
    for (int n = 0; n < v->n_nodes; n++) {
        k->share[n] = share_of(k, v->nodes[n].cpu, v->nodes[n].mem);
    }
}

/* Gives each service its divisions, the same to services of the same shape. */
static void
find_divisions(struct packing *k)
{
    const struct state *s = k->state;
    struct shape {
        uint64_t shape;
        int service;
    } known[SHAPES];
    int n = 0;

    k->divisions = alloc_zeroed((size_t) s->services->n_services, sizeof(struct divisions *));
    for (int i = 0; i < s->services->n_services; i++) {
        fs_amount late = bounds_least_lateness(s, i);
        uint64_t shape = bounds_shape(s->bounds, i, late);
        int at = 0;
        while (at < n && known[at].shape != shape) {
            at++;
        }
        if (at == n && n < SHAPES) {
            known[n++] = (struct shape) { shape, i };
            k->divisions[i] = bounds_divisions(s->bounds, i, late, DIVISIONS);
        } else if (at < n) {
            k->divisions[i] = k->divisions[known[at].service];
        }
    }
    k->n_shapes = n;
    k->shape_services = alloc_zeroed((size_t) n, sizeof *k->shape_services);
    for (int i = 0; i < n; i++) {
        k->shape_services[i] = known[i].service;
    }
}

static void
free_divisions(struct packing *k)
{
    for (int i = 0; i < k->n_shapes; i++) {
        divisions_free(k->divisions[k->shape_services[i]]);
    }
    free(k->divisions);
    free(k->shape_services);
}

/* Puts the modules of each service somewhere in their rack, so that the ways out of the rack are chosen. */
static void
enter_racks(struct packing *k)
{
    const struct fs_services *v = k->state->services;

    for (int r = 0; r < k->state->platform->n_racks; r++) {
        struct rack *rack = &k->racks[r];
        for (int i = 0; i < rack->n; i++) {
            const struct fs_service *service = &v->services[rack->services[i]];
            for (int m = service->first_node; m < service->first_node + service->n_nodes; m++) {
                if (v->nodes[m].kind == FS_SERVICE_PM) {
                    state_move(k->state, &k->state->excess, m, k->state->platform->servers[rack->servers[0]].node);
                }
            }
        }
        list_modules(k, rack);
    }
}

void
pack_racks(struct search *search)
{
    struct packing k = { .search = search, .state = search->state };
    int n_racks = search->state->platform->n_racks;
    size_t nodes = (size_t) search->state->services->n_nodes;

    k.racks = alloc_zeroed((size_t) n_racks, sizeof *k.racks);
    k.share = alloc_zeroed(nodes, sizeof *k.share);
    k.free_at = alloc_zeroed(nodes, sizeof *k.free_at);
    start_racks(&k);
    deal_services(&k);
    enter_racks(&k);
    find_divisions(&k);
    pack_all(&k);
    k.apart = false;
    relieve_racks(&k);
    free_divisions(&k);
    for (int r = 0; r < n_racks; r++) {
        free(k.racks[r].services);
        free(k.racks[r].modules);
    }
    free(k.racks);
    free(k.share);
    free(k.free_at);
}

/* ---- What fits no rack. ---- */

#define WINDOW 512    /* servers looked at for one module */

void
pack_rest(struct search *search)
{
    struct state *s = search->state;
    const struct fs_services *v = s->services;
    int n = s->platform->n_servers, pointer = 0;

    for (int m = 0; m < v->n_nodes && n > 0; m++) {
        double least = 0;
        int best = -1;
        if (v->nodes[m].kind != FS_SERVICE_PM || s->at[m] >= 0) {
            continue;
        }
        for (int i = 0; i < n && i < WINDOW; i++) {
            int server = (pointer + i) % n, node = s->platform->servers[server].node;
            if (best >= 0 && least <= state_cost(s, &s->excess) && !has_room(s, m, server)) {
                continue;
            }
            double cost = state_try(s, m, node);
            if (best < 0 || cost < least) {
                least = cost;
                best = server;
            }
        }
        state_move(s, &s->excess, m, s->platform->servers[best].node);
        pointer = n > WINDOW ? (best + 1) % n : 0;
    }
}

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

#include "alloc/rack.h"

#include <pthread.h>
#include <stdlib.h>

#include "alloc/bounds.h"
#include "alloc/memory.h"

#define RACKS_TRIED 8        /* for a service, from the least full on */
#define SHAPES 64            /* of services that are known by their divisions, */
#define DIVISIONS 128        /* and so many of each at most */
#define FULL 0.93            /* how full racks may be when servers are to be switched off */
#define TIGHT 0.85           /* fuller racks are built up server by server first */

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

static double
share_of(const struct packing *k, fs_amount cpu, fs_amount mem)
{
    double by_cpu = (double) cpu / k->cpu_mean, by_mem = (double) mem / k->mem_mean;

    return by_cpu > by_mem ? by_cpu : by_mem;
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
        if (rack_load_with(&k->racks[heap[i]], v) <= 1) {
            return i;
        }
    }
    return -1;
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
    qsort(ranked, (size_t) v->n_services, sizeof *ranked, rack_compare_ranked);
    for (int i = 0; i < v->n_services; i++) {
        const struct fs_service *service = &v->services[ranked[i].index];
        int place = rack_with_room(k, heap, n_racks, service);
        if (place < 0 && n_racks < all) {
            int swap = heap[0];    /* an empty rack, which belongs to the front of the heap */
            heap[0] = heap[n_racks];
            heap[n_racks++] = swap;
            place = rack_load_with(&k->racks[heap[0]], service) <= 1 ? 0 : -1;
        }
        if (place >= 0) {
            rack_enlist(&k->racks[heap[place]], v, ranked[i].index);
            sift_down(k, heap, n_racks, place);
        }
    }
    free(ranked);
    free(heap);
}

/* ---- Packing racks. ---- */

/* Packs RACK, whose modules are somewhere in it, and returns what that changes in the excess. */
static struct excess
pack_rack(struct packing *k, struct rack *r)
{
    static void (*const builders[2][3])(struct job *) = {
        { rack_build_by_service, rack_build_by_module, rack_build_by_server }, { rack_build_by_server, rack_build_by_module, rack_build_by_service },
    };
    struct job j = rack_start(k, r);
    struct excess before = j.excess;
    double best = 1e300;
    int *at = NULL;

    for (int i = 0; i < 3 && best > 1e-9; i++) {
        builders[r->load > TIGHT || k->search->consolidate][i](&j);
        if (rack_cost(&j) < best) {
            best = rack_cost(&j);
            free(at);
            at = rack_save(&j);
        }
    }
    if (best > 1e-9) {
        rack_restore(&j, at);
        rack_mend(&j);
    }
    free(at);
    return rack_difference(j.excess, &before);
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
        rack_list_modules(k, rack);
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
            if (best >= 0 && least <= state_cost(s, &s->excess) && !rack_has_room(s, m, server)) {
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

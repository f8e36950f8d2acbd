/* One rack: its services and modules, what moves in it cost, and what it exceeds. */
#include <config.h>

#include "alloc/rack.h"

#include <stdlib.h>

#include "alloc/memory.h"

int
rack_compare_ranked(const void *a_, const void *b_)
{
    const struct ranked *a = a_, *b = b_;

    return a->key != b->key ? (a->key < b->key) - (a->key > b->key) : (a->index > b->index) - (a->index < b->index);
}

static double
larger(double a, double b)
{
    return a > b ? a : b;
}

double
rack_load_with(const struct rack *r, const struct fs_service *v)
{
    double cpu = (double) (r->cpu_dealt + v->cpu) / (double) (r->cpu ? r->cpu : 1);
    double mem = (double) (r->mem_dealt + v->mem) / (double) (r->mem ? r->mem : 1);

    return larger(cpu, mem);
}

void
rack_enlist(struct rack *r, const struct fs_services *v, int service)
{
    alloc_grow(&r->services, r->n, &r->room);
    r->services[r->n++] = service;
    r->load = rack_load_with(r, &v->services[service]);
    r->cpu_dealt += v->services[service].cpu;
    r->mem_dealt += v->services[service].mem;
}

void
rack_forget(struct rack *r, const struct fs_services *v, int service)
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
    r->load = rack_load_with(r, &(struct fs_service) { 0 });
}

/* Lists the modules of the rack's services, largest first. */
void
rack_list_modules(const struct packing *k, struct rack *r)
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
    qsort(ranked, (size_t) n, sizeof *ranked, rack_compare_ranked);
    r->n_modules = n;
    free(r->modules);
    r->modules = alloc_zeroed((size_t) n, sizeof *r->modules);
    for (int i = 0; i < n; i++) {
        r->modules[i] = ranked[i].index;
    }
    free(ranked);
}

void
rack_shift(struct job *j, int node, int where)
{
    if (j->packing->apart) {
        state_move_local(j->state, &j->excess, node, where);
    } else {
        state_move(j->state, &j->excess, node, where);
    }
}

int
rack_node(const struct job *j, int i)
{
    return j->state->platform->servers[j->rack->servers[i]].node;
}

double
rack_cost(const struct job *j)
{
    return state_cost(j->state, &j->excess);
}

bool
rack_has_room(const struct state *s, int node, int server)
{
    const struct fs_service_node *m = &s->services->nodes[node];
    const struct fs_server *limits = &s->platform->servers[server];
    const struct fs_server_load *use = &s->servers[server];

    return use->cpu + m->cpu <= limits->cpu && use->mem + m->mem <= limits->mem;
}

void
rack_clear(struct job *j)
{
    for (int i = 0; i < j->rack->n_modules; i++) {
        if (j->state->at[j->rack->modules[i]] >= 0) {
            rack_shift(j, j->rack->modules[i], -1);
        }
    }
}

/* The places of the rack's modules, for the caller to free. */
int *
rack_save(const struct job *j)
{
    int *at = alloc_zeroed((size_t) j->rack->n_modules, sizeof *at);

    for (int i = 0; i < j->rack->n_modules; i++) {
        at[i] = j->state->at[j->rack->modules[i]];
    }
    return at;
}

void
rack_restore(struct job *j, const int *at)
{
    for (int i = 0; i < j->rack->n_modules; i++) {
        if (j->state->at[j->rack->modules[i]] != at[i]) {
            rack_shift(j, j->rack->modules[i], at[i]);
        }
    }
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

struct excess
rack_difference(struct excess a, const struct excess *b)
{
    return (struct excess) { a.cpu - b->cpu, a.mem - b->mem, a.bandwidth - b->bandwidth, a.delay - b->delay, a.unrouted - b->unrouted,
                             a.objective - b->objective };
}

struct job
rack_start(struct packing *k, struct rack *r)
{
    return (struct job) {
        .packing = k, .state = k->state, .rack = r, .excess = count_rack(k, r), .steps = k->search->overloaded ? MEND_HOPELESS : MEND_STEPS,
        .random = search_seed(k->search->options->seed, (uint64_t) r->index + 1),
    };
}

/* Enters what JOB changed since BEFORE in the account of the whole. */
void
rack_settle(struct job *j, const struct excess *before)
{
    struct excess change = rack_difference(j->excess, before), *e = &j->state->excess;

    e->cpu += change.cpu;
    e->mem += change.mem;
    e->bandwidth += change.bandwidth;
    e->delay += change.delay;
    e->unrouted += change.unrouted;
    e->objective += change.objective;
}

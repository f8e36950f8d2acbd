/* Mending a rack: moves and exchanges of modules that have a part in what is wrong, the best one each time, and no module again at once. */
#include <config.h>

#include "alloc/rack.h"

#include <stdlib.h>

#include "alloc/bounds.h"
#include "alloc/memory.h"

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

    rack_shift(j, node, where);
    if (other >= 0) {
        rack_shift(j, other, before);
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
    double cost = rack_cost(j);
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
        int server = j->rack->servers[i], where = rack_node(j, i);
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
double
rack_least_cost(const struct job *j)
{
    fs_amount least = 0;

    for (int i = 0; j->excess.delay > 0 && i < j->rack->n; i++) {
        least += bounds_least_lateness(j->state, j->rack->services[i]);
    }
    return (double) least * j->state->delay_weight;
}

/* Mends what is wrong in the rack by the best moves and swaps of what is part of it, tabu ones excepted. */
void
rack_mend(struct job *j)
{
    const struct rack *r = j->rack;
    struct state *s = j->state;
    int *suspects = alloc_zeroed((size_t) r->n_modules, sizeof *suspects), *best_at = alloc_zeroed((size_t) r->n_modules, sizeof(int));
    uint64_t *free_at = j->packing->free_at;
    double best_cost = rack_cost(j), target = rack_least_cost(j) + 1e-9;

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
        if (rack_cost(j) < best_cost - 1e-9) {
            best_cost = rack_cost(j);
            for (int i = 0; i < r->n_modules; i++) {
                best_at[i] = s->at[r->modules[i]];
            }
        }
    }
    for (int i = 0; i < r->n_modules; i++) {
        if (s->at[r->modules[i]] != best_at[i]) {
            rack_shift(j, r->modules[i], best_at[i]);
        }
    }
    free(suspects);
    free(best_at);
}

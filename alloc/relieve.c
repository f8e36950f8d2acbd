/* From rack to rack: services leave a rack that cannot be mended for others that have room. */
#include <config.h>

#include "alloc/rack.h"

#include <stdlib.h>
#include <string.h>

#include "alloc/memory.h"

#define RACKS_TRIED 8        /* for a service, from the least full on */

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

/* Puts SERVICE, which is nowhere, into RACK by mending it; or leaves everything as it was. */
static bool
squeeze_in(struct packing *k, struct rack *r, int service)
{
    const struct fs_services *v = k->state->services;
    struct job j = rack_start(k, r);
    struct excess before = j.excess;
    double cost = rack_cost(&j);
    int *at = rack_save(&j);

    rack_place_apart(&j, &v->services[service]);
    rack_enlist(r, v, service);
    rack_list_modules(k, r);
    j.steps /= 4;
    rack_mend(&j);
    bool good = rack_cost(&j) < cost + 1e-9;
    if (!good) {
        for (int m = v->services[service].first_node, end = m + v->services[service].n_nodes; m < end; m++) {
            if (v->nodes[m].kind == FS_SERVICE_PM) {
                rack_shift(&j, m, -1);
            }
        }
        rack_forget(r, v, service);
        rack_list_modules(k, r);
        rack_restore(&j, at);
    }
    rack_settle(&j, &before);
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
    struct job j = rack_start(k, r);
    struct excess before = j.excess;
    bool good = rack_try_service(&j, service);
    rack_settle(&j, &before);
    if (good) {
        rack_enlist(r, k->state->services, service);
        rack_list_modules(k, r);
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
    qsort(ranked, (size_t) n, sizeof *ranked, rack_compare_ranked);
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
        struct job j = rack_start(k, r);
        if (rack_cost(&j) <= rack_least_cost(&j) + 1e-9) {
            break;
        }
        int pick = search_random(&random, n), service = services[pick];
        double before = state_cost(k->state, &k->state->excess);
        services[pick] = services[--n];
        if (v->services[service].n_nodes > 1024) {
            continue;
        }
        take_service(k->state, service, at);
        rack_forget(r, v, service);
        rack_list_modules(k, r);
        bool moved = state_cost(k->state, &k->state->excess) < before && find_rack(k, service, r->index);
        if (!moved) {
            put_service(k->state, service, at);
            rack_enlist(r, v, service);
        }
        rack_list_modules(k, r);
        if (moved) {
            j = rack_start(k, r);
            struct excess start = j.excess;
            j.steps /= 4;
            rack_mend(&j);
            rack_settle(&j, &start);
        }
    }
    free(services);
}

void
relieve_racks(struct packing *k)
{
    for (int r = 0; r < k->state->platform->n_racks && !search_over(k->search); r++) {
        if (k->racks[r].n) {
            struct job j = rack_start(k, &k->racks[r]);
            if (rack_cost(&j) > rack_least_cost(&j) + 1e-9) {
                relieve(k, &k->racks[r]);
            }
        }
    }
}

/* The searches behind one interface: a table of algorithms, their limits, and the way back from a state to a solution. */
#include <config.h>

#include "alloc/search.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "alloc/bounds.h"
#include "alloc/exact.h"
#include "alloc/memory.h"
#include "alloc/solution.h"

#define PROGRESS_EVERY 0.01     /* seconds */
#define COST_TINY 1e-5          /* what a solver's arithmetic may be wrong by */
#define STEPS_PACK 20000        /* of tabu search after packing, */
#define STEPS_HOPELESS 25000    /* the same, divided by the number of modules, where servers are proven to be too few, */
#define PATIENCE 3000           /* steps without a better solution, likewise */
#define STEPS_TABU 200000       /* and on its own, when the caller does not say */

/* ---- Shared by the searches. ---- */

double
search_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

bool
search_over(const struct search *search)
{
    return search->steps >= search->steps_max || (search->deadline < HUGE_VAL && search_now() > search->deadline);
}

uint64_t
search_seed(uint64_t seed, uint64_t stream)
{
    uint64_t x = (seed + 1) * UINT64_C(0x9e3779b97f4a7c15) ^ (stream + 1) * UINT64_C(0xd1342543de82ef95);

    x = (x ^ x >> 31) * UINT64_C(0xbf58476d1ce4e5b9);
    x ^= x >> 29;
    return x ? x : 1;
}

int
search_random(uint64_t *random, int n)
{
    *random ^= *random >> 12;
    *random ^= *random << 25;
    *random ^= *random >> 27;
    return (int) ((*random * UINT64_C(2685821657736338717) >> 33) % (uint64_t) n);
}

void
search_progress(struct search *search, const struct excess *best, bool force)
{
    const struct fs_search_options *o = search->options;

    if (!o->progress || (!force && search->steps % 64)) {
        return;
    }
    double now = search_now() - search->begin;
    if (force || now > search->told + PROGRESS_EVERY) {
        struct fs_progress progress = { now, search->steps, best->cpu, best->mem, best->bandwidth, best->delay };
        search->told = now;
        o->progress(o->aux, &progress);
    }
}

/* What is proven to be unavoidable: no search needs to go further.  (The bound on delays holds while no server is overloaded; a search that has
 * got so far is at an end as well.) */
static void
set_target(struct search *search)
{
    const struct state *s = search->state;
    struct fs_proof proof;

    if (state_cost(s, &s->excess) <= 0) {
        return;
    }
    fs_prove(s->platform, s->services, false, &proof);
    search->target = state_cost(s, &(struct excess) { proof.cpu, proof.mem, proof.bandwidth, proof.delay, 0, 0 });
    fs_proof_clear(&proof);
}

/* ---- Full links. ---- */

static bool
is_full(const struct state *s, const struct way *way)
{
    for (int i = 0; i < way->n; i++) {
        if (s->used[way->arcs[i]] > s->platform->arcs[way->arcs[i]].bandwidth) {
            return true;
        }
    }
    return false;
}

void
reroute_full(struct search *search)
{
    struct state *s = search->state;
    bool better = s->excess.bandwidth > 0;

    for (int round = 0; better && round < 8 && state_cost(s, &s->excess) > search->target + 1e-9; round++) {
        better = false;
        for (int i = 0; i < s->n_ways && !search_over(search); i++) {
            better |= s->ways[i].flow > 0 && is_full(s, &s->ways[i]) && state_reroute(s, i);
        }
    }
}

/* ---- The algorithms. ---- */

/* A greedy solution's places, in the state. */
static int
begin_greedy(struct search *search, enum fs_greedy form, char **error)
{
    struct state *s = search->state;
    struct fs_place_options options = {
        .seed = search->options->seed, .form = form,
        .seconds = search->deadline < HUGE_VAL ? search->deadline - search_now() : 0,
    };
    struct fs_load *load = fs_load_create(s->platform, search->options->paths);
    struct fs_solution *solution;
    int result = fs_place_greedy(load, s->services, &options, &solution, error);

    for (int n = 0; !result && n < s->services->n_nodes; n++) {
        state_move(s, &s->excess, n, solution->at[n]);
    }
    if (!result) {
        free(*error);
        *error = NULL;
    }
    fs_solution_destroy(solution);
    fs_load_destroy(load);
    return result;
}

static void
limit_steps(struct search *search, uint64_t usual)
{
    bool asked = search->options->steps || search->deadline < HUGE_VAL;

    search->steps_max = search->options->steps ? search->options->steps : asked ? UINT64_MAX : usual;
    search->patience = asked ? UINT64_MAX : PATIENCE;
}

static int
run_pack(struct search *search, char **error)
{
    struct state *s = search->state;

    (void) error;
    search->overloaded = proof_overloaded(s->platform, s->services);
    pack_ports(search);
    pack_racks(search);
    pack_rest(search);
    search_progress(search, &s->excess, true);
    set_target(search);
    reroute_full(search);
    limit_steps(search, search->overloaded ? STEPS_HOPELESS / (unsigned) (s->services->n_modules + 1) + 1 : STEPS_PACK);
    search->exchanges = true;
    tabu_search(search);
    reroute_full(search);
    return 0;
}

static int
run_tabu(struct search *search, char **error)
{
    int result = begin_greedy(search, FS_GREEDY_AUTO, error);

    if (!result) {
        search_progress(search, &search->state->excess, true);
        limit_steps(search, STEPS_TABU);
        set_target(search);
        tabu_search(search);
        reroute_full(search);
    }
    return result;
}

static int
run_greedy(struct search *search, char **error)
{
    return begin_greedy(search, FS_GREEDY_AUTO, error);
}

static int
run_greedy_flat(struct search *search, char **error)
{
    return begin_greedy(search, FS_GREEDY_FLAT, error);
}

static int
run_greedy_racks(struct search *search, char **error)
{
    return begin_greedy(search, FS_GREEDY_RACKS, error);
}

/* The best there is.  With one way a pair of nodes the ways are the state's, which may not be the best. */
static int
run_exact(struct search *search, char **error)
{
    struct state *s = search->state;
    int n_links = s->services->n_links, *at = alloc_filled((size_t) s->services->n_nodes, -1);
    double seconds = search->deadline < HUGE_VAL ? search->deadline - search_now() : 1e9;

    search->routes = search->options->paths == FS_PATHS_LINK ? alloc_zeroed((size_t) n_links, sizeof(struct route *)) : NULL;
    int result = exact_solve(s, seconds, at, search->routes, &search->optimum, error);
    for (int n = 0; !result && n < s->services->n_nodes; n++) {
        state_move(s, &s->excess, n, at[n]);
    }
    search->exact = !result;
    free(at);
    return result;
}

typedef int run(struct search *search, char **error);

static const struct fs_algorithm algorithms[] = {
    { "pack", "racks packed by their dominant resource, mended, then tabu search for what is left" },
    { "greedy", "round robin, by racks on platforms of more than 1,000 servers" },
    { "greedy-flat", "round robin over all servers" },
    { "greedy-racks", "round robin over racks, and servers within" },
    { "tabu", "greedy, improved by tabu search" },
    { "exact", "the best there is, by mixed integer programming: small instances only" },
    { NULL, NULL },
};
static run *const runs[] = { run_pack, run_greedy, run_greedy_flat, run_greedy_racks, run_tabu, run_exact };

const struct fs_algorithm *
fs_algorithms(void)
{
    return algorithms;
}

static int
find_algorithm(const char *name)
{
    for (int i = 0; algorithms[i].name; i++) {
        if (!name || !strcmp(name, algorithms[i].name)) {
            return i;
        }
    }
    return -1;
}

/* Takes the ways that an exact search found instead of the state's. */
static void
take_routes(struct search *search, struct fs_solution *solution)
{
    for (int l = 0; search->routes && l < search->state->services->n_links; l++) {
        route_unref(solution->route[l]);
        solution->route[l] = search->routes[l];
    }
    free(search->routes);
    search->routes = NULL;
}

/* Says why SOLUTION breaks limits, where that is known. */
static void
explain(struct search *search, const struct fs_solution *solution, struct fs_proof *proof)
{
    struct fs_report report;

    fs_solution_check(solution, &report);
    if (report.feasible) {
        return;
    }
    fs_prove(search->state->platform, search->state->services, !search->exact, proof);
    if (!proof->text && search->exact && search->optimum > COST_TINY) {
        proof->text = alloc_format("a mixed integer program of the instance, solved to the end, exceeds its limits by at least %.6g (in "
                                   "hundredths of a mean server's cores or memory, 50 Mbit/s or a fifth of a unit of delay)",
                                   search->optimum);
    }
}

int
fs_search(const struct fs_platform *platform, const struct fs_services *services, const struct fs_search_options *options,
          struct fs_solution **solution, struct fs_proof *proof, char **error)
{
    static const struct fs_search_options none;
    struct search search = { .options = options ? options : &none, .begin = search_now(), .steps_max = UINT64_MAX };
    int algorithm = find_algorithm(search.options->algorithm);
    const struct objective *objective = objective_find(search.options->objective);

    *solution = NULL;
    *error = NULL;
    *proof = (struct fs_proof) { 0 };
    if (algorithm < 0) {
        *error = alloc_format("there is no algorithm '%s'", search.options->algorithm);
        return EINVAL;
    }
    if (!objective) {
        *error = alloc_format("there is no objective '%s'", search.options->objective);
        return EINVAL;
    }
    if (!platform->n_servers && services->n_modules) {
        *error = alloc_format("no server can take any of the %d modules: the platform has none", services->n_modules);
        return ENOSPC;
    }
    search.deadline = search.options->seconds > 0 ? search.begin + search.options->seconds : HUGE_VAL;
    search.random = search_seed(search.options->seed, 0);
    search.state = state_create(platform, services);
    search.state->objective = objective;
    search.state->excess.objective = objective_whole(search.state, objective);
    search.consolidate = !strcmp(objective->name, "servers");
    int result = runs[algorithm](&search, error);
    if (!result && !search.exact) {
        improve_objective(&search);
    }
    if (!result) {
        search_progress(&search, &search.state->excess, true);
        *solution = state_solution(search.state);
        take_routes(&search, *solution);
        explain(&search, *solution, proof);
    }
    free(search.routes);
    state_destroy(search.state);
    return result;
}

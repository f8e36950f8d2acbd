/* The searches of the allocator from inside: each move's change against a full count on random instances, undoing, threads, lower
 * bounds, and the heuristics against the optimum that a mixed integer program finds. */
#include <config.h>

#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alloc/bounds.h"
#include "alloc/exact.h"
#include "alloc/search.h"
#include "alloc/state.h"

static int n_tests, n_failed;

static void
ok(bool right, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    printf("%sok %d - ", right ? "" : "not ", ++n_tests);
    vprintf(format, args);
    putchar('\n');
    va_end(args);
    n_failed += !right;
}

/* ---- Random instances. ---- */

static uint64_t seed = 1;

static int
below(int n)
{
    return search_random(&seed, n);
}

/* How an instance is made: its size, and how much of everything there is too little of. */
struct make {
    int racks, per_rack, ios, services, modules;
    bool multihomed;      /* some servers hang on two switches */
};

static struct fs_platform *
make_platform(const struct make *m)
{
    char *text = NULL, *error = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    struct fs_platform *platform;

    fprintf(f, "<platform name='random'>\n<switch id='m0'/><switch id='m1'/>\n<link a='m0' b='m1' bandwidth='%d' delay='2'/>\n", 50 + below(100));
    for (int i = 0; i < m->ios; i++) {
        fprintf(f, "<io id='io%d'/><link a='io%d' b='m%d' bandwidth='%d' delay='1'/>\n", i, i, i % 2, 40 + below(80));
    }
    for (int r = 0; r < m->racks; r++) {
        fprintf(f, "<switch id='t%d'/><link a='t%d' b='m0' bandwidth='%d' delay='%d'/><link a='t%d' b='m1' bandwidth='%d' delay='1'/>\n", r,
                r, 20 + below(60), 1 + below(2), r, 20 + below(60));
    }
    for (int i = 0; i < m->racks * m->per_rack; i++) {
        fprintf(f, "<server id='s%d' cpu='%d' mem='%d' bandwidth='%d' delay='%d'/><link a='s%d' b='t%d' bandwidth='%d' delay='1'/>\n", i,
                2 + below(6), 500 + below(1500), 20 + below(100), below(2), i, i / m->per_rack, 10 + below(50));
        if (m->multihomed && m->racks > 1 && !below(3)) {
            fprintf(f, "<link a='s%d' b='t%d' bandwidth='30' delay='1'/>\n", i, (i / m->per_rack + 1) % m->racks);
        }
    }
    fputs("</platform>\n", f);
    fclose(f);
    if (fs_platform_read_memory(text, size, "random", &platform, &error)) {
        printf("Bail out! %s\n", error);
        exit(1);
    }
    free(text);
    return platform;
}

static int
add_chain(struct fs_services_builder *b, const struct make *m, char **error)
{
    int n = 1 + below(m->modules), e = 0;
    char from[16], to[16], via[200] = "in", ios[64];

    snprintf(ios, sizeof ios, "io%d", below(m->ios));
    e = e ? e : fs_services_add_source(b, "in", ios, error);
    snprintf(ios, sizeof ios, "io%d io%d", below(m->ios), below(m->ios));
    e = e ? e : fs_services_add_sink(b, "out", ios, error);
    for (int i = 0; i <= n && !e; i++) {
        snprintf(from, sizeof from, i ? "p%d" : "in", i - 1);
        snprintf(to, sizeof to, i < n ? "p%d" : "out", i);
        if (i < n) {
            e = fs_services_add_pm(b, to, FS_UNIT / 2 * (1 + below(6)), FS_UNIT * (50 + below(700)), error);
        }
        e = e ? e : fs_services_add_link(b, from, to, FS_UNIT * (1 + below(15)), error);
        strcat(strcat(via, " "), to);
    }
    if (n > 2 && !e) {
        e = fs_services_add_link(b, "p0", "p2", FS_UNIT * (1 + below(5)), error);
    }
    return e ? e : fs_services_add_path(b, via, FS_UNIT * (4 + n + below(6)), error);
}

static struct fs_services *
make_services(const struct fs_platform *platform, const struct make *m)
{
    struct fs_services_builder *b = fs_services_builder_create(platform);
    char *error = NULL, id[16];

    for (int i = 0; i < m->services; i++) {
        snprintf(id, sizeof id, "v%d", i);
        if (fs_services_begin(b, id, NULL, &error) || add_chain(b, m, &error) || fs_services_end(b, &error)) {
            printf("Bail out! %s\n", error);
            exit(1);
        }
    }
    return fs_services_finish(&b);
}

/* ---- Moves. ---- */

static bool
equal(const struct excess *a, const struct excess *b)
{
    return a->cpu == b->cpu && a->mem == b->mem && a->bandwidth == b->bandwidth && a->delay == b->delay && a->unrouted == b->unrouted;
}

static int
random_place(const struct state *s, int node)
{
    const struct fs_service_node *g = &s->services->nodes[node];

    return g->kind == FS_SERVICE_PM ? s->platform->servers[below(s->platform->n_servers)].node
           : s->services->ios[g->first_io + below(g->n_io)];
}

/* Moves service nodes at random, and counts anew after each move. */
static void
test_moves(const struct make *make, const char *what, const char *objective)
{
    struct fs_platform *p = make_platform(make);
    struct fs_services *v = make_services(p, make);
    struct state *s = state_create(p, v);
    struct excess counted;
    bool right = true, foretold = true, violated = false, same_objective = true;

    s->objective = objective_find(objective);
    s->excess.objective = objective_whole(s, s->objective);
    for (int n = 0; n < v->n_nodes; n++) {
        state_move(s, &s->excess, n, random_place(s, n));
    }
    for (int i = 0; i < 1000; i++) {
        int node = below(v->n_nodes), where = random_place(s, node);
        double said = state_try(s, node, where);
        state_move(s, &s->excess, node, where);
        foretold &= fabs(said - state_cost(s, &s->excess)) < 1e-9;
        if (!below(20)) {
            state_reroute(s, below(s->n_ways));
        }
        state_recount(s, &counted);
        right &= equal(&counted, &s->excess);
        same_objective &= fabs(counted.objective - s->excess.objective) < 1e-6 * (1 + fabs(counted.objective));
        violated |= counted.cpu && counted.mem && counted.bandwidth && counted.delay;
    }
    ok(right && violated, "%s: what 1000 moves changed is what a full count finds", what);
    ok(foretold, "%s: the cost of each move is known before it is made", what);
    ok(same_objective, "%s: the objective \"%s\" too is what a full count finds", what, objective);
    for (int n = 0; n < v->n_nodes; n++) {
        state_move(s, &s->excess, n, -1);
    }
    bool empty = !s->excess.cpu && !s->excess.mem && !s->excess.bandwidth && !s->excess.delay && !s->excess.unrouted;
    for (int a = 0; a < p->n_arcs; a++) {
        empty &= !s->used[a];
    }
    for (int i = 0; i < p->n_servers; i++) {
        empty &= !s->servers[i].cpu && !s->servers[i].mem && !s->servers[i].bandwidth && s->first_on[i] < 0;
    }
    ok(empty, "%s: when everything is taken away nothing is left", what);
    state_destroy(s);
    fs_services_destroy(v);
    fs_platform_destroy(p);
}

/* ---- Searches. ---- */

static bool
same_solution(const struct fs_solution *a, const struct fs_solution *b, const struct fs_services *v)
{
    for (int n = 0; n < v->n_nodes; n++) {
        if (fs_solution_place(a, n) != fs_solution_place(b, n)) {
            return false;
        }
    }
    for (int l = 0; l < v->n_links; l++) {
        int n_a, n_b;
        const int *arcs_a = fs_solution_route(a, l, &n_a), *arcs_b = fs_solution_route(b, l, &n_b);
        if (n_a != n_b || (n_a && memcmp(arcs_a, arcs_b, (size_t) n_a * sizeof *arcs_a))) {
            return false;
        }
    }
    return true;
}

static struct fs_solution *
solve(const struct fs_platform *p, const struct fs_services *v, const struct fs_search_options *o, struct fs_proof *proof)
{
    struct fs_solution *solution;
    char *error;

    if (fs_search(p, v, o, &solution, proof, &error)) {
        printf("Bail out! %s\n", error);
        exit(1);
    }
    return solution;
}

static void
test_threads(void)
{
    struct make make = { 10, 5, 6, 50, 4, false };
    struct fs_platform *p = make_platform(&make);
    struct fs_services *v = make_services(p, &make);
    struct fs_search_options one = { .threads = 1, .seed = 3, .steps = 500 }, many = { .threads = 5, .seed = 3, .steps = 500 };
    struct fs_proof proof;
    struct fs_solution *a = solve(p, v, &one, &proof);

    fs_proof_clear(&proof);
    struct fs_solution *b = solve(p, v, &many, &proof);
    fs_proof_clear(&proof);
    ok(same_solution(a, b, v), "one thread and five find the same solution");
    fs_solution_destroy(a);
    fs_solution_destroy(b);
    fs_services_destroy(v);
    fs_platform_destroy(p);
}

static double
cost_of(const struct state *s, const struct fs_solution *solution)
{
    struct fs_report r;

    fs_solution_check(solution, &r);
    return state_cost(s, &(struct excess) { r.cpu, r.mem, r.bandwidth, r.delay, r.unrouted, 0 });
}

/* Whether what PROOF says holds for SOLUTION.  The bound on delays speaks of solutions that overload no server. */
static bool
holds(const struct fs_proof *proof, const struct fs_solution *solution)
{
    struct fs_report r;

    fs_solution_check(solution, &r);
    return r.cpu >= proof->cpu && r.mem >= proof->mem && r.bandwidth >= proof->bandwidth
           && (r.cpu || r.mem || r.delay >= proof->delay) && (!proof->text || !r.feasible);
}

/* What the heuristics find on instances small enough for an exact search. */
struct gap {
    int n, broken, pack_met, tabu_met, missed, below, unproven, false_proofs;
};

static void
compare_one(const struct make *make, struct gap *gap)
{
    struct fs_platform *p = make_platform(make);
    struct fs_services *v = make_services(p, make);
    struct state *s = state_create(p, v);
    struct fs_search_options exact = { .algorithm = "exact", .paths = FS_PATHS_LINK, .seconds = 100 };
    struct fs_search_options pack = { .algorithm = "pack" }, tabu = { .algorithm = "tabu", .steps = 3000 };
    struct fs_proof proof, short_proof, deep_proof;
    struct fs_solution *best = solve(p, v, &exact, &proof);
    double optimum = cost_of(s, best);

    gap->unproven += optimum > 1e-5 && !proof.text;
    fs_proof_clear(&proof);
    fs_prove(p, v, false, &short_proof);
    fs_prove(p, v, true, &deep_proof);
    struct fs_solution *packed = solve(p, v, &pack, &proof);
    fs_proof_clear(&proof);
    struct fs_solution *searched = solve(p, v, &tabu, &proof);
    fs_proof_clear(&proof);
    gap->n++;
    gap->broken += optimum > 1e-5;
    gap->pack_met += cost_of(s, packed) <= optimum + 1e-5;
    gap->tabu_met += cost_of(s, searched) <= optimum + 1e-5;
    gap->missed += optimum < 1e-5 && cost_of(s, packed) > optimum + 1e-5;
    gap->below += cost_of(s, packed) < optimum - 1e-5 || cost_of(s, searched) < optimum - 1e-5;
    gap->false_proofs += !holds(&short_proof, best) || !holds(&short_proof, packed) || !holds(&deep_proof, searched)
                         || !holds(&deep_proof, best);
    fs_proof_clear(&short_proof);
    fs_proof_clear(&deep_proof);
    fs_solution_destroy(best);
    fs_solution_destroy(packed);
    fs_solution_destroy(searched);
    state_destroy(s);
    fs_services_destroy(v);
    fs_platform_destroy(p);
}

static void
test_optimum(void)
{
    struct gap gap = { 0 };

    seed = 5;    /* the time that exact searches take must not depend on the tests before */
    for (int i = 0; i < 14; i++) {
        compare_one(&(struct make) { 2, 2, 2, i % 2 ? 3 : 2, i % 3 ? 3 : 4, false }, &gap);
    }
    printf("# of %d instances, %d without a solution, pack reaches the optimum in %d, tabu in %d\n", gap.n, gap.broken, gap.pack_met,
           gap.tabu_met);
    ok(gap.broken > 0 && gap.broken < gap.n, "some of the small instances have a solution, others have none");
    ok(!gap.below, "no heuristic is better than the optimum");
    ok(!gap.unproven, "an optimum that breaks limits comes with a proof");
    ok(!gap.false_proofs, "what is proven holds for the optimum and for what the heuristics find");
    ok(!gap.missed, "where there is a solution, packing finds one");
    ok(gap.pack_met >= gap.n * 3 / 4 && gap.tabu_met >= gap.n / 2, "packing reaches the optimum mostly, tabu search often");
}

int
main(void)
{
    for (const struct fs_objective *o = fs_objectives(); o->name; o++) {
        test_moves(&(struct make) { 3, 4, 4, 12, 5, false }, "racks", o->name);
    }
    test_moves(&(struct make) { 3, 3, 3, 8, 5, true }, "servers with two links", "bandwidth");
    test_moves(&(struct make) { 1, 6, 2, 8, 4, false }, "one rack", "spread");
    test_threads();
    test_optimum();
    printf("1..%d\n", n_tests);
    return n_failed != 0;
}

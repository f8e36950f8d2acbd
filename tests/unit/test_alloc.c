/* What the allocator library promises to programs: the model of a platform, services made by calls, an account that can be
 * undone, ways, reasons, and that its own account agrees with its judge. */
#include <config.h>

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flowstream/alloc.h"

static int n_tests, n_failed;

static void
ok(bool right, const char *name)
{
    printf("%sok %d - %s\n", right ? "" : "not ", ++n_tests, name);
    n_failed += !right;
}

#define CORES(X) ((fs_amount) ((X) * 1e6))

/* Two racks of two servers, joined by two middle switches; the way over m2 is longer. */
static const char two_racks[] =
    "<platform name='two'>\n"
    "  <link a='net0' b='m1' bandwidth='1000' delay='1'/>\n"
    "  <io id='net0' forward='net1'/><io id='net1'/>\n"
    "  <switch id='m1' role='intermediate'/><switch id='m2'/>\n"
    "  <switch id='t1' role='tor' target='tcp:127.0.0.1:6633'/><switch id='t2'/>\n"
    "  <server id='a1' cpu='4' mem='1000' bandwidth='500' delay='1' address='127.0.0.1' basesys='process'/>\n"
    "  <server id='b1' cpu='4' mem='1000' bandwidth='500' delay='1'/>\n"
    "  <server id='a2' cpu='4' mem='1000' bandwidth='500' delay='1'/>\n"
    "  <server id='b2' cpu='4' mem='1000' bandwidth='500' delay='1'/>\n"
    "  <link a='net1' b='m1' bandwidth='1000' delay='1'/>\n"
    "  <link a='m1' b='t1' bandwidth='100' delay='1' a-port='uplink' mtu='1600'/>\n"
    "  <link a='m2' b='t1' bandwidth='100' delay='2'/>\n"
    "  <link a='m1' b='m2' bandwidth='1000' delay='2' bandwidth-back='900' delay-back='3'/>\n"
    "  <link a='m1' b='t2' bandwidth='100' delay='1'/>\n"
    "  <link a='t1' b='a1' bandwidth='1000' delay='1'/><link a='t2' b='b1' bandwidth='1000' delay='1'/>\n"
    "  <link a='t1' b='a2' bandwidth='1000' delay='1'/><link a='t2' b='b2' bandwidth='1000' delay='1'/>\n"
    "</platform>\n";

static struct fs_platform *
make_platform(void)
{
    struct fs_platform *platform;
    char *error = NULL;

    if (fs_platform_read_memory(two_racks, strlen(two_racks), "two_racks", &platform, &error)) {
        printf("Bail out! %s\n", error);
        exit(1);
    }
    return platform;
}

static void
test_platform(const struct fs_platform *p)
{
    int t1 = fs_platform_find(p, "t1"), a1 = fs_platform_find(p, "a1"), a2 = fs_platform_find(p, "a2");
    int b1 = fs_platform_find(p, "b1"), net1 = fs_platform_find(p, "net1");

    ok(p->n_nodes == 10 && p->n_servers == 4 && p->n_switches == 4 && p->n_arcs == 20, "a platform has its parts");
    ok(p->nodes[fs_platform_find(p, "net0")].forward == net1 && p->nodes[net1].forward == -1, "forward names a node");
    ok(!strcmp(p->nodes[t1].target, "tcp:127.0.0.1:6633") && !strcmp(p->nodes[a1].address, "127.0.0.1")
       && !strcmp(p->nodes[a1].basesys, "process") && !p->nodes[b1].address, "targets, addresses and base systems are kept");
    ok(p->n_racks == 2 && p->servers[p->nodes[a1].server].rack == p->servers[p->nodes[a2].server].rack
       && p->servers[p->nodes[a1].server].rack != p->servers[p->nodes[b1].server].rack, "servers of a switch share a rack");
    bool sorted = true, ports = false, back = false;
    for (int n = 0; n < p->n_nodes; n++) {
        for (int i = p->out_start[n]; i < p->out_start[n + 1]; i++) {
            const struct fs_arc *arc = &p->arcs[p->out[i]], *reverse = &p->arcs[p->out[i] ^ 1];
            bool to_switch = p->nodes[arc->to].kind == FS_NODE_SWITCH;
            sorted &= arc->from == n && to_switch == (i < p->out_start[n] + p->out_switches[n]);
            sorted &= reverse->from == arc->to && reverse->to == arc->from;
            if (!strcmp(arc->port, "uplink")) {
                ports = arc->to == t1 && !strcmp(reverse->port, "m1") && arc->mtu == 1600;
            }
            back |= arc->delay == CORES(3) && arc->bandwidth == CORES(900);
        }
    }
    ok(sorted, "arcs are sorted by the node that they leave, switches first");
    ok(ports, "a port has the name that is given, else that of the other end");
    ok(back, "the way back of a link has figures of its own");
    ok(fs_platform_find(p, "nobody") == -1, "an unknown name is not found");
}

static void
test_amounts(void)
{
    static const char *const wrong[] = { "", " ", "x", "1x", "-1", "nan", "inf", "1e9", "0x10", "1 2", "." };
    fs_amount amount = 0;
    bool refused = true;

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        refused &= fs_amount_parse(wrong[i], &amount) != 0;
    }
    ok(refused, "what is no number in range is refused");
    ok(!fs_amount_parse(" 0.1 ", &amount) && amount == 100000 && !fs_amount_parse("1e3", &amount) && amount == 1000 * FS_UNIT,
       "numbers are read exactly");
}

/* One service: net0 -> x -> y -> net1, with CPU cores for each module and RATE Mbit/s. */
static struct fs_services *
make_chain(const struct fs_platform *platform, double cpu, double rate, double bound)
{
    struct fs_services_builder *b = fs_services_builder_create(platform);
    char *error = NULL;
    int failed = fs_services_begin(b, "chain", NULL, &error) || fs_services_add_link(b, "in", "x", CORES(rate), &error)
                 || fs_services_add_source(b, "in", "net0", &error) || fs_services_add_pm(b, "x", CORES(cpu), 0, &error)
                 || fs_services_add_pm(b, "y", CORES(cpu), CORES(100), &error)
                 || fs_services_add_sink(b, "out", "net1", &error)
                 || fs_services_add_link(b, "x", "y", CORES(rate / 2), &error)
                 || fs_services_add_link(b, "x", "y", CORES(rate / 2), &error)
                 || fs_services_add_link(b, "y", "out", CORES(rate), &error)
                 || fs_services_add_path(b, "in x y out", CORES(bound), &error) || fs_services_end(b, &error);

    if (failed) {
        printf("Bail out! %s\n", error);
        exit(1);
    }
    return fs_services_finish(&b);
}

static bool
is_empty(const struct fs_platform *p, const struct fs_load *load)
{
    bool empty = true;

    for (int i = 0; i < p->n_servers; i++) {
        const struct fs_server_load *use = fs_load_server(load, i);
        empty &= !use->cpu && !use->mem && !use->bandwidth && !use->modules;
    }
    for (int a = 0; a < p->n_arcs; a++) {
        empty &= !fs_load_arc(load, a);
    }
    return empty;
}

static void
test_builder(const struct fs_platform *p)
{
    struct fs_services *v = make_chain(p, 1, 10, 20);
    struct fs_services_builder *b = fs_services_builder_create(p);
    char *error = NULL;

    ok(v->n_links == 3 && v->n_nodes == 4 && v->n_modules == 2 && v->paths[0].n_links == 3, "a service is built by calls");
    ok(v->links[v->path_links[1]].bandwidth == CORES(10), "two links between the same nodes become one");
    ok(fs_services_begin(b, "s", "kind", &error) == 0 && fs_services_add_sink(b, "out", "net0 t1", &error) != 0
       && !strcmp(error, "service \"s\": \"t1\" of \"out\" is no io of the platform"),
       "an error names the service and what is wrong");
    free(error);
    fs_services_builder_destroy(b);
    fs_services_destroy(v);
}

static void
test_placing(const struct fs_platform *p, enum fs_paths paths)
{
    struct fs_load *load = fs_load_create(p, paths);
    struct fs_services *v = make_chain(p, 1.1, 10, 20);
    struct fs_solution *solutions[16];
    struct fs_report report;
    char *reason = NULL;
    int placed = 0, pointer = 0, n_arcs;
    bool right = true;
    struct fs_place_options options = { .seed = 7, .pointer = &pointer };

    while (placed < 16 && !fs_place_greedy(load, v, &options, &solutions[placed], &reason) && !reason) {
        fs_solution_check(solutions[placed], &report);
        right &= report.feasible;
        const int *arcs = fs_solution_route(solutions[placed], 0, &n_arcs);
        right &= arcs && p->arcs[arcs[0]].from == fs_platform_find(p, "net0")
                 && p->arcs[arcs[n_arcs - 1]].to == fs_solution_place(solutions[placed], 1);
        placed++;
    }
    ok(placed == 6 && right, "one request after the other is placed until cores are out");
    ok(reason && strstr(reason, "service \"chain\": no server can take module") && strstr(reason, "\n  a1: cpu 3.3 of 4 cores used, 1.1 asked"),
       "a reason names the limit that binds on a server");
    free(reason);
    fs_load_remove(load, solutions[placed], 0);
    fs_solution_destroy(solutions[placed]);
    fs_load_remove(load, solutions[2], 0);
    fs_load_add(load, solutions[2], 0);
    while (placed--) {
        fs_load_remove(load, solutions[placed], 0);
        fs_solution_destroy(solutions[placed]);
    }
    ok(is_empty(p, load), "removing undoes adding exactly");
    fs_services_destroy(v);
    fs_load_destroy(load);
}

/* Places one chain of RATE and BOUND, and returns whether it met all limits. */
static bool
fits(const struct fs_platform *p, double cpu, double rate, double bound, char **reason)
{
    struct fs_load *load = fs_load_create(p, FS_PATHS_LINK);
    struct fs_services *v = make_chain(p, cpu, rate, bound);
    struct fs_solution *solution;
    struct fs_report report;

    *reason = NULL;
    int result = fs_place_greedy(load, v, NULL, &solution, reason);
    fs_solution_check(solution, &report);
    assert(!result && report.feasible == !*reason);
    fs_solution_destroy(solution);
    fs_services_destroy(v);
    fs_load_destroy(load);
    return !*reason;
}

static void
test_limits(const struct fs_platform *p)
{
    char *reason;

    ok(fits(p, 1, 10, 7, &reason), "the shortest way there and back takes a delay of 7");
    free(reason);
    ok(!fits(p, 1, 10, 6.9, &reason) && strstr(reason, "delay of a path would be 7, 6.9 is the bound"),
       "a bound that cannot be met is the reason");
    free(reason);
    ok(!fits(p, 1, 101, 9, &reason) && strstr(reason, "link from m1 to t1: 101 of 100 Mbit/s would be used"),
       "a link that is too small is the reason");
    free(reason);
    ok(fits(p, 3, 90, 100, &reason), "two modules of a service may be on two servers");
    free(reason);
    ok(!fits(p, 5, 1, 100, &reason) && strstr(reason, "a1: cpu 0 of 4 cores used, 5 asked"), "a module too large is the reason");
    free(reason);
}

static bool
only_b1(void *aux, int node, int server)
{
    (void) node;
    return server == *(int *) aux;
}

static void
test_filter(const struct fs_platform *p)
{
    struct fs_load *load = fs_load_create(p, FS_PATHS_LINK);
    struct fs_services *v = make_chain(p, 1, 1, 100);
    int server = p->nodes[fs_platform_find(p, "b1")].server;
    struct fs_place_options options = { .allowed = only_b1, .aux = &server };
    struct fs_solution *solution;
    char *reason = NULL;

    ok(!fs_place_greedy(load, v, &options, &solution, &reason) && !reason
       && fs_solution_place(solution, 1) == p->servers[server].node
       && fs_solution_place(solution, 2) == p->servers[server].node, "modules run only where they may");
    fs_load_remove(load, solution, 0);
    fs_solution_destroy(solution);
    server = -1;
    ok(fs_place_greedy(load, v, &options, &solution, &reason) && !solution && reason && strstr(reason, "a1: may not run there"),
       "a module that may run nowhere is an error");
    free(reason);
    ok(is_empty(p, load), "and leaves nothing behind");
    fs_services_destroy(v);
    fs_load_destroy(load);
}

/* A full link is gone round while the other way is within the bound. */
static void
test_detour(const struct fs_platform *p)
{
    struct fs_load *load = fs_load_create(p, FS_PATHS_LINK);
    struct fs_services *v = make_chain(p, 0.1, 60, 100);
    int server = p->nodes[fs_platform_find(p, "a1")].server, n = 0;
    struct fs_place_options options = { .allowed = only_b1, .aux = &server };
    struct fs_solution *first, *second;
    char *reason = NULL;

    fs_place_greedy(load, v, &options, &first, NULL);
    fs_place_greedy(load, v, &options, &second, &reason);
    fs_solution_route(second, 0, &n);
    ok(!reason && n == 4, "a way goes round a full link");
    fs_load_remove(load, first, 0);

    struct fs_solution *copy = fs_solution_create(p, v);
    int links = 0;
    for (int i = 0; i < v->n_nodes; i++) {
        links += !fs_solution_set_place(copy, i, fs_solution_place(second, i), &reason);
    }
    for (int i = 0; i < v->n_links; i++) {
        const int *arcs = fs_solution_route(second, i, &n);
        links += !fs_solution_set_route(copy, i, arcs, n, &reason);
    }
    fs_load_remove(load, copy, 0);
    ok(links == v->n_nodes + v->n_links && is_empty(p, load), "a solution can be put back from what a store remembers");
    ok(fs_solution_set_route(copy, 0, (int[]) { 0, 0 }, 2, &reason) && strstr(reason, "does not lead from \"in\" to \"x\""),
       "a route that does not join its ends is refused");
    free(reason);
    fs_solution_destroy(copy);
    fs_solution_destroy(first);
    fs_solution_destroy(second);
    fs_services_destroy(v);
    fs_load_destroy(load);
}

int
main(void)
{
    struct fs_platform *platform = make_platform();

    test_platform(platform);
    test_amounts();
    test_builder(platform);
    test_placing(platform, FS_PATHS_PAIR);
    test_placing(platform, FS_PATHS_LINK);
    test_limits(platform);
    test_filter(platform);
    test_detour(platform);
    fs_platform_destroy(platform);
    printf("1..%d\n", n_tests);
    return n_failed != 0;
}

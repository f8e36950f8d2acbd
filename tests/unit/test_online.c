/* The live state: random adds, removes, failures, drains and changes of limits, compared with counting anew, with a state that is rebuilt, and with
 * the judge of solutions; what moves to make room; and that what a refusal says would help does help. */
#include <config.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flowstream/online.h"

#define CORES(X) ((fs_amount) ((X) * 1e6))
#define RACKS 6
#define SERVERS 4          /* a rack */
#define SERVICES 120

static int n_tests, n_failed;

static void
ok(bool right, const char *name)
{
    printf("%sok %d - %s\n", right ? "" : "not ", ++n_tests, name);
    n_failed += !right;
}

static void
die(char *error)
{
    printf("Bail out! %s\n", error);
    exit(1);
}

static int
below(uint64_t *random, int n)
{
    *random ^= *random >> 12;
    *random ^= *random << 25;
    *random ^= *random >> 27;
    return (int) ((*random * UINT64_C(2685821657736338717) >> 33) % (uint64_t) n);
}

/* Racks that hang on two switches each, four ports. */
static struct fs_platform *
make_platform(void)
{
    struct fs_platform *p;
    char *text, *error = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);

    fputs("<platform name='test'><switch id='m0'/><switch id='m1'/>", f);
    for (int i = 0; i < 4; i++) {
        fprintf(f, "<io id='io%d'/><link a='io%d' b='m0' bandwidth='1000' delay='1'/><link a='io%d' b='m1' bandwidth='1000' delay='1'/>", i, i, i);
    }
    for (int r = 0; r < RACKS; r++) {
        fprintf(f, "<switch id='t%d'/><link a='m0' b='t%d' bandwidth='600' delay='1'/><link a='m1' b='t%d' bandwidth='600' delay='2'/>", r, r, r);
        for (int s = 0; s < SERVERS; s++) {
            fprintf(f, "<server id='s%d-%d' cpu='8' mem='2048' bandwidth='500' delay='1'/>", r, s);
            fprintf(f, "<link a='t%d' b='s%d-%d' bandwidth='400' delay='1'/>", r, r, s);
        }
    }
    fputs("</platform>", f);
    fclose(f);
    if (fs_platform_read_memory(text, size, "test", &p, &error)) {
        die(error);
    }
    free(text);
    return p;
}

/* N services of two to five modules in a chain, with random figures. */
static struct fs_services *
make_services(const struct fs_platform *p, int n)
{
    struct fs_services_builder *b = fs_services_builder_create(p);
    uint64_t random = 4711;
    char *error = NULL;

    for (int i = 0; i < n; i++) {
        char id[16], before[16] = "in", via[64] = "in", io[8];
        int modules = 2 + below(&random, 4);
        fs_amount rate = CORES(below(&random, 40));
        snprintf(id, sizeof id, "v%d", i);
        snprintf(io, sizeof io, "io%d", below(&random, 4));
        int e = fs_services_begin(b, id, NULL, &error) || fs_services_add_source(b, "in", io, &error);
        for (int k = 0; k < modules && !e; k++) {
            char name[16];
            snprintf(name, sizeof name, "x%d", k);
            e = fs_services_add_pm(b, name, CORES(1) / 2 * below(&random, 7), CORES(64) * below(&random, 14), &error)
                || fs_services_add_link(b, before, name, rate, &error);
            strcpy(before, name);
            strcat(strcat(via, " "), name);
        }
        e = e || fs_services_add_sink(b, "out", "io0 io1 io2 io3", &error) || fs_services_add_link(b, before, "out", rate, &error)
            || fs_services_add_path(b, strcat(via, " out"), CORES(9 + below(&random, 12)), &error) || fs_services_end(b, &error);
        if (e) {
            die(error);
        }
    }
    return fs_services_finish(&b);
}

/* One service of N modules that each ask for so much. */
static struct fs_services *
make_one(const struct fs_platform *p, int n, double cpu, double mem, double rate, double bound)
{
    struct fs_services_builder *b = fs_services_builder_create(p);
    char *error = NULL, before[16] = "in", via[128] = "in";
    int e = fs_services_begin(b, "one", NULL, &error) || fs_services_add_source(b, "in", "io0", &error);

    for (int k = 0; k < n && !e; k++) {
        char name[16];
        snprintf(name, sizeof name, "x%d", k);
        e = fs_services_add_pm(b, name, CORES(cpu), CORES(mem), &error) || fs_services_add_link(b, before, name, CORES(rate), &error);
        strcpy(before, name);
        strcat(strcat(via, " "), name);
    }
    if (e || fs_services_add_sink(b, "out", "io1", &error) || fs_services_add_link(b, before, "out", CORES(rate), &error)
        || fs_services_add_path(b, strcat(via, " out"), CORES(bound), &error) || fs_services_end(b, &error)) {
        die(error);
    }
    return fs_services_finish(&b);
}

/* ---- Random events. ---- */

struct world {
    const struct fs_platform *p;
    const struct fs_services *s;
    struct fs_online *o;
    bool held[SERVICES];
    enum fs_online_state state[RACKS * SERVERS];
    uint64_t random, answers;
};

/* A server on which nothing but what is up and within its limits may have been moved. */
static bool
moves_are_right(const struct world *w, const struct fs_online_changes *c, int avoid)
{
    for (int i = 0; i < c->n_moves; i++) {
        int server = w->p->nodes[c->moves[i].to].server;
        if (server >= 0 && (server == avoid || w->state[server] != FS_ONLINE_UP)) {
            return false;
        }
    }
    return true;
}

/* After a mend nobody but those that are stranded is left where something is wrong. */
static bool
is_clear(const struct world *w, int server, const struct fs_online_changes *c)
{
    uint64_t *keys;
    size_t n = fs_online_on_server(w->o, server, &keys);
    bool clear = n <= (size_t) c->n_stranded;

    for (size_t i = 0; i < n && clear; i++) {
        bool found = false;
        for (int k = 0; k < c->n_stranded; k++) {
            found |= c->stranded[k] == keys[i];
        }
        clear = found;
    }
    free(keys);
    return clear;
}

static bool
change_server(struct world *w)
{
    struct fs_online_changes c = { 0 };
    int server = below(&w->random, w->p->n_servers);

    w->state[server] = (enum fs_online_state) below(&w->random, 3);
    fs_online_set_server(w->o, server, w->state[server]);
    fs_online_mend_server(w->o, server, -1, NULL, &c);
    bool right = moves_are_right(w, &c, server) && (w->state[server] == FS_ONLINE_UP || is_clear(w, server, &c));
    w->answers = (w->answers ^ (uint64_t) c.n_moves) * 31 + (uint64_t) c.n_stranded;
    if (below(&w->random, 3)) {
        w->state[server] = FS_ONLINE_UP;
        fs_online_set_server(w->o, server, FS_ONLINE_UP);
    }
    fs_online_changes_clear(&c);
    return right;
}

static bool
change_link(struct world *w)
{
    struct fs_online_changes c = { 0 };
    int arc = below(&w->random, w->p->n_arcs);
    uint64_t *keys;

    fs_online_set_link(w->o, arc, false);
    fs_online_mend_link(w->o, arc, -1, NULL, &c);
    bool right = moves_are_right(w, &c, -1) && fs_online_on_arc(w->o, arc, &keys) <= (size_t) c.n_stranded;
    free(keys);
    fs_online_set_link(w->o, arc, true);
    w->answers = (w->answers ^ (uint64_t) c.n_rerouted) * 31;
    fs_online_changes_clear(&c);
    return right;
}

static void
change_limits(struct world *w)
{
    struct fs_online_changes c = { 0 };
    int server = below(&w->random, w->p->n_servers), arc = below(&w->random, w->p->n_arcs);

    fs_online_limit_server(w->o, server, CORES(4 + below(&w->random, 6)), CORES(1024 + below(&w->random, 1500)), CORES(500));
    fs_online_measure_server(w->o, server, CORES(below(&w->random, 6)), 0);
    fs_online_limit_arc(w->o, arc, w->p->arcs[arc].bandwidth / 2 * (1 + below(&w->random, 2)));
    fs_online_mend_server(w->o, server, 4, NULL, &c);
    fs_online_mend_link(w->o, arc, 4, NULL, &c);
    w->answers = (w->answers ^ (uint64_t) c.n_moves) * 31;
    fs_online_changes_clear(&c);
}

static void
add_or_remove(struct world *w)
{
    int service = below(&w->random, SERVICES);
    struct fs_online_changes c = { 0 };
    struct fs_online_options options = { .moves = below(&w->random, 3) };

    if (w->held[service]) {
        w->held[service] = fs_online_remove(w->o, (uint64_t) service) != 0;
    } else {
        w->held[service] = !fs_online_add(w->o, (uint64_t) service, w->s, service, &options, &c);
        w->answers = (w->answers ^ (uint64_t) (2 * service + w->held[service])) * 31 + (uint64_t) c.n_moves;
        fs_online_changes_clear(&c);
    }
}

static bool
is_checked(const struct fs_online *o)
{
    char *difference = fs_online_check(o);

    if (difference) {
        printf("# %s\n", difference);
    }
    free(difference);
    return !difference;
}

/* A new state with the same limits and the same services, entered from the last to the first. */
static struct fs_online *
rebuild(const struct world *w)
{
    struct fs_online *fresh = fs_online_create(w->p);
    struct fs_solution *solution = fs_solution_create(w->p, w->s);

    for (int i = SERVICES - 1; i >= 0; i--) {
        if (w->held[i]) {
            fs_online_copy(w->o, (uint64_t) i, solution);
            fs_online_restore(fresh, (uint64_t) i, solution, i);
        }
    }
    fs_solution_destroy(solution);
    return fresh;
}

static bool
is_equal(const struct fs_online *a, const struct fs_online *b)
{
    char *difference = fs_online_compare(a, b);

    if (difference) {
        printf("# %s\n", difference);
    }
    free(difference);
    return !difference;
}

/* Adds and removes alone: everything stays within its limits, says the judge. */
static void
test_mix(const struct fs_platform *p, const struct fs_services *s)
{
    struct world w = { .p = p, .s = s, .o = fs_online_create(p), .random = 1 };
    bool right = true;

    for (int i = 0; i < 3000; i++) {
        add_or_remove(&w);
        right &= i % 100 || is_checked(w.o);
    }
    ok(right && is_checked(w.o), "after adds and removes the account is what counting gives");
    struct fs_solution *solution = fs_solution_create(p, s);
    for (int i = 0; i < SERVICES; i++) {
        fs_online_copy(w.o, (uint64_t) i, solution);
    }
    struct fs_report report;
    fs_solution_check(solution, &report);
    ok(!report.cpu && !report.mem && !report.bandwidth && !report.delay && !report.unrouted && fs_online_size(w.o) > 10,
       "the judge finds no limit broken");
    fs_solution_destroy(solution);

    struct world v = w;
    v.o = rebuild(&w);
    ok(is_equal(w.o, v.o), "a state that is rebuilt from what is held is equal");
    for (int i = 0; i < 1000; i++) {
        add_or_remove(&w);
        add_or_remove(&v);
    }
    ok(w.answers == v.answers && is_equal(w.o, v.o), "and answers the same from then on");
    for (int i = 0; i < SERVICES; i++) {
        if (w.held[i]) {
            fs_online_remove(w.o, (uint64_t) i);
        }
    }
    fs_online_destroy(v.o);
    v.o = fs_online_create(p);
    ok(is_equal(w.o, v.o), "when all are removed it is as new");
    fs_online_destroy(w.o);
    fs_online_destroy(v.o);
}

static void
test_events(const struct fs_platform *p, const struct fs_services *s, uint64_t *answers)
{
    struct world w = { .p = p, .s = s, .o = fs_online_create(p), .random = 2 };
    bool checked = true, servers = true, links = true;

    for (int i = 0; i < 3000; i++) {
        add_or_remove(&w);
        servers &= i % 7 || change_server(&w);
        links &= i % 11 || change_link(&w);
        if (i % 13 == 0) {
            change_limits(&w);
        }
        checked &= i % 50 || is_checked(w.o);
    }
    *answers = w.answers;
    fs_online_destroy(w.o);
    ok(checked, "with failures, drains and limits that change too");
    ok(servers, "modules leave servers that fail or are drained, for servers that are up, or are named");
    ok(links, "ways leave links that fail, or are named");
}

/* ---- Making room, refusals, limits. ---- */

static void
test_room(const struct fs_platform *p)
{
    struct fs_online *o = fs_online_create(p);
    struct fs_services *small = make_one(p, 1, 3, 10, 0, 20), *large = make_one(p, 1, 8, 10, 0, 20);
    struct fs_online_changes c = { 0 };
    struct fs_online_options options = { .moves = 1 }, in_turn = { .in_turn = true };
    int n = p->n_servers;

    for (int i = 0; i < n; i++) { /* one of three cores on each server */
        in_turn.start = i;
        fs_online_add(o, (uint64_t) i, small, 0, &in_turn, NULL);
    }
    ok(fs_online_add(o, 1000, large, 0, NULL, NULL) == ENOSPC && is_checked(o), "what fits nowhere is refused");
    ok(!fs_online_add(o, 1000, large, 0, &options, &c) && c.n_moves == 1 && is_checked(o), "with one move it fits");
    ok(fs_online_add(o, 1000, large, 0, NULL, NULL) == EEXIST && fs_online_remove(o, 2000) == ENOENT, "keys that are held, or not, are told");
    fs_online_changes_clear(&c);
    fs_online_set_server(o, 0, FS_ONLINE_DOWN);
    fs_online_mend_server(o, 0, 0, NULL, &c);
    ok(!c.n_moves && c.n_stranded == fs_online_server(o, 0)->modules && is_checked(o), "no more modules move than may");
    fs_online_changes_clear(&c);
    ok(fs_online_limit_server(o, 1, -1, 0, 0) == EINVAL && fs_online_limit_arc(o, 1, FS_AMOUNT_MAX + 1) == EINVAL
       && fs_online_measure_server(o, 1, 0, -5) == EINVAL && fs_online_measure_arc(o, 0, -1) == EINVAL && is_checked(o), "absurd figures are refused");
    fs_online_destroy(o);
    fs_services_destroy(small);
    fs_services_destroy(large);
}

static void
test_measured(const struct fs_platform *p)
{
    struct fs_online *o = fs_online_create(p);
    struct fs_services *one = make_one(p, 1, 5, 10, 0, 20);

    for (int i = 1; i < p->n_servers; i++) {
        fs_online_measure_server(o, i, CORES(4), 0);
    }
    int e = fs_online_add(o, 1, one, 0, NULL, NULL);
    ok(!e && fs_online_server(o, 0)->modules == 1, "measured load counts where it is more than what was asked for");
    fs_online_destroy(o);
    fs_services_destroy(one);
}

/* Whether a refusal for this service on a platform with M cores taken of each server is explained with WORDS, and the change that it names makes
 * the service fit. */
static bool
explains(const struct fs_platform *p, struct fs_services *s, const char *words)
{
    struct fs_online *o = fs_online_create(p);
    struct fs_online_relaxation *change;
    size_t n;
    bool late = false;
    int e = fs_online_add(o, 1, s, 0, NULL, NULL);
    char *why = fs_online_why_not(o, s, 0, NULL, &change, &n);
    bool right = e == ENOSPC && why && strstr(why, words) && is_checked(o) && fs_online_size(o) == 0 && n > 0;

    if (!right) {
        printf("# %s\n", why ? why : "it fits");
    }
    for (size_t i = 0; i < n; i++) {
        const struct fs_server *v = &p->servers[change[i].limit < FS_ONLINE_BANDWIDTH ? change[i].index : 0];
        fs_amount more = change[i].more;
        late |= change[i].limit == FS_ONLINE_DELAY;
        if (change[i].limit == FS_ONLINE_BANDWIDTH) {
            fs_online_limit_arc(o, change[i].index, p->arcs[change[i].index].bandwidth + more);
        } else if (change[i].limit == FS_ONLINE_CPU) {
            fs_online_limit_server(o, change[i].index, v->cpu + more, v->mem, v->bandwidth);
        } else if (change[i].limit == FS_ONLINE_MEM) {
            fs_online_limit_server(o, change[i].index, v->cpu, v->mem + more, v->bandwidth);
        }
    }
    bool fits = !fs_online_add(o, 1, s, 0, NULL, NULL);
    if (fits == late) {
        printf("# %s\n", why);
    }
    free(change);
    free(why);
    fs_online_destroy(o);
    fs_services_destroy(s);
    return right && fits == !late;
}

static void
test_reasons(const struct fs_platform *p)
{
    ok(explains(p, make_one(p, 1, 9, 10, 0, 20), "24 servers, nearest is s0-0: cpu 0 of 8 cores used, 9 asked\n"
                "it would fit with 9 cores instead of 8 on s0-0"),
       "cores: what is missing, and with so much more it fits");
    ok(explains(p, make_one(p, 1, 1, 3000, 0, 20), "it would fit with 3000 MB instead of 2048 on s0-0"), "memory likewise");
    ok(explains(p, make_one(p, 1, 1, 10, 500, 20), "500 asked"), "bandwidth likewise");
    ok(explains(p, make_one(p, 1, 1, 10, 1, 4), "delay of a path would be 6, 4 is the bound\nit would fit with a bound of 6 instead of 4 for path 1"),
       "delays: the bound that would do");
    ok(explains(p, make_one(p, 2, 5, 10, 1, 7), "no server can take module \"x1\" within its limits with x0 on s0-0"),
       "a second module that finds none");

    struct fs_online *o = fs_online_create(p);
    struct fs_services *one = make_one(p, 1, 1, 10, 1, 20);
    for (int i = 0; i < p->n_servers; i++) {
        fs_online_set_server(o, i, i % 2 ? FS_ONLINE_DOWN : FS_ONLINE_DRAINING);
    }
    char *why = fs_online_why_not(o, one, 0, NULL, NULL, NULL);
    ok(why && strstr(why, "12 servers, such as s0-0: being drained") && strstr(why, "12 servers, such as s0-1: down")
       && strstr(why, "no change of limits helps"),
       "servers that are down or drained are counted");
    free(why);
    const struct fs_online_options only_up = { .only_up = true };
    why = fs_online_why_not(o, one, 0, &only_up, NULL, NULL);
    ok(why && strstr(why, "no server is up") && !strstr(why, "s0-"), "unless the caller names them");
    free(why);
    fs_online_set_server(o, 3, FS_ONLINE_UP);
    struct fs_services *large = make_one(p, 1, 9, 10, 1, 20);
    why = fs_online_why_not(o, large, 0, &only_up, NULL, NULL);
    ok(why && strstr(why, "s0-3: cpu 0 of 8 cores used, 9 asked") && !strstr(why, "s0-0") && !strstr(why, "no server is up"), "then those that are up are told alone");
    free(why);
    fs_services_destroy(large);
    why = fs_online_why_not(o, one, 0, NULL, NULL, NULL);
    ok(!why, "what fits needs no reason");
    free(why);
    fs_online_destroy(o);
    fs_services_destroy(one);
}

int
main(void)
{
    struct fs_platform *p = make_platform();
    struct fs_services *s = make_services(p, SERVICES);
    uint64_t first = 0, again = 0;

    test_mix(p, s);
    test_events(p, s, &first);
    test_events(p, s, &again);
    ok(first == again, "the same calls are answered the same");
    test_room(p);
    test_measured(p);
    test_reasons(p);
    printf("1..%d\n", n_tests);
    fs_services_destroy(s);
    fs_platform_destroy(p);
    return n_failed ? 1 : 0;
}

/* Measures placing one service at a time: fills a platform to a share of its cores, then removes and adds services at random, and times each
 * addition; and the same with a plain first-fit, for comparison.  Called by online.py, which prints the table.
 *
 * usage: online PLATFORM SERVICES FILL OPERATIONS FIRST_FIT_OPERATIONS SEED
 * Prints one JSON object. */
#include <config.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "flowstream/online.h"

/* What is measured: our state, or first-fit's. */
struct subject {
    const struct fs_platform *p;
    const struct fs_services *s;
    struct fs_online *online;        /* NULL: first-fit */
    struct fs_server_load *loads;    /* first-fit's account, likewise below */
    fs_amount *used;
    int *at;                         /* by service node */
    int **ways, *n_arcs;             /* by service link */
    int *seen, *came_by, *queue, search;
};

struct mix {
    struct subject *x;
    int *held, n_held, *others, n_others;
    fs_amount cpu, target;           /* cores that services ask for, and how many shall be */
    uint64_t random, answers;
    double *wall, *cpu_time;         /* microseconds of each addition */
    size_t n_added, n_refused, n_removed;
};

static double
now(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (double) t.tv_sec * 1e6 + (double) t.tv_nsec / 1e3;
}

static int
below(uint64_t *random, int n)
{
    *random ^= *random >> 12;
    *random ^= *random << 25;
    *random ^= *random >> 27;
    return (int) ((*random * UINT64_C(2685821657736338717) >> 33) % (uint64_t) n);
}

static void *
zeroed(size_t n, size_t size)
{
    void *memory = calloc(n ? n : 1, size);

    if (!memory) {
        fputs("online: no memory\n", stderr);
        exit(1);
    }
    return memory;
}

/* ---- Plain first-fit: in the first rack that takes it, each module on the first server with cores and memory, each link along the first
 * shortest way with room. ---- */

/* Breadth first from FROM to TO over arcs with room; fills ways[link].  Returns whether there is one. */
static bool
route(struct subject *x, int link, int from, int to)
{
    const struct fs_platform *p = x->p;
    fs_amount ask = x->s->links[link].bandwidth;
    int head = 0, tail = 0, n = 0;

    x->seen[from] = ++x->search;
    x->queue[tail++] = from;
    while (head < tail && x->seen[to] != x->search) {
        int node = x->queue[head++];
        for (int i = p->out_start[node]; i < p->out_start[node + 1]; i++) {
            const struct fs_arc *a = &p->arcs[p->out[i]];
            bool passes = a->to == to || p->nodes[a->to].kind == FS_NODE_SWITCH;
            if (passes && x->seen[a->to] != x->search && x->used[p->out[i]] + ask <= a->bandwidth) {
                x->seen[a->to] = x->search;
                x->came_by[a->to] = p->out[i];
                x->queue[tail++] = a->to;
            }
        }
    }
    if (x->seen[to] != x->search) {
        return false;
    }
    for (int node = to; node != from; node = p->arcs[x->came_by[node]].from) {
        n++;
    }
    x->ways[link] = zeroed((size_t) n, sizeof(int));
    x->n_arcs[link] = n;
    for (int node = to; node != from; node = p->arcs[x->came_by[node]].from) {
        x->ways[link][--n] = x->came_by[node];
        x->used[x->came_by[node]] += ask;
    }
    return true;
}

static void
first_fit_remove(struct subject *x, int service)
{
    const struct fs_service *v = &x->s->services[service];

    for (int l = v->first_link; l < v->first_link + v->n_links; l++) {
        for (int i = 0; i < x->n_arcs[l]; i++) {
            x->used[x->ways[l][i]] -= x->s->links[l].bandwidth;
        }
        free(x->ways[l]);
        x->ways[l] = NULL;
        x->n_arcs[l] = 0;
    }
    for (int n = v->first_node; n < v->first_node + v->n_nodes; n++) {
        int server = x->at[n] < 0 ? -1 : x->p->nodes[x->at[n]].server;
        if (server >= 0) {
            x->loads[server].cpu -= x->s->nodes[n].cpu;
            x->loads[server].mem -= x->s->nodes[n].mem;
        }
        x->at[n] = -1;
    }
}

static bool
first_fit_place(struct subject *x, int node, int rack)
{
    const struct fs_service_node *m = &x->s->nodes[node];

    if (m->kind != FS_SERVICE_PM) {
        x->at[node] = x->s->ios[m->first_io];
        return true;
    }
    for (int i = x->p->rack_start[rack]; i < x->p->rack_start[rack + 1]; i++) {
        int s = x->p->rack_servers[i];
        if (x->loads[s].cpu + m->cpu <= x->p->servers[s].cpu && x->loads[s].mem + m->mem <= x->p->servers[s].mem) {
            x->loads[s].cpu += m->cpu;
            x->loads[s].mem += m->mem;
            x->at[node] = x->p->servers[s].node;
            return true;
        }
    }
    return false;
}

static bool
first_fit_in_time(const struct subject *x, const struct fs_service *v)
{
    for (int i = v->first_path; i < v->first_path + v->n_paths; i++) {
        const struct fs_service_path *path = &x->s->paths[i];
        fs_amount delay = 0;
        for (int k = 0; k < path->n_links; k++) {
            int l = x->s->path_links[path->first_link + k], at = x->at[x->s->links[l].from];
            delay += x->n_arcs[l] || x->p->nodes[at].server < 0 ? 0 : x->p->servers[x->p->nodes[at].server].delay;
            for (int a = 0; a < x->n_arcs[l]; a++) {
                delay += x->p->arcs[x->ways[l][a]].delay;
            }
        }
        if (delay > path->bound) {
            return false;
        }
    }
    return true;
}

static bool
first_fit_try(struct subject *x, int service, int rack)
{
    const struct fs_service *v = &x->s->services[service];
    bool fits = true;

    for (int n = v->first_node; fits && n < v->first_node + v->n_nodes; n++) {
        fits = first_fit_place(x, n, rack);
    }
    for (int l = v->first_link; fits && l < v->first_link + v->n_links; l++) {
        int from = x->at[x->s->links[l].from], to = x->at[x->s->links[l].to];
        fits = from == to || route(x, l, from, to);
    }
    fits = fits && first_fit_in_time(x, v);
    if (!fits) {
        first_fit_remove(x, service);
    }
    return fits;
}

/* The first rack that takes the service whole: over all servers alike it would hardly ever keep a bound on delays. */
static bool
first_fit_add(struct subject *x, int service)
{
    for (int rack = 0; rack < x->p->n_racks; rack++) {
        if (first_fit_try(x, service, rack)) {
            return true;
        }
    }
    return false;
}

/* ---- The mix. ---- */

static bool
add(struct mix *m, int service)
{
    struct subject *x = m->x;

    return x->online ? !fs_online_add(x->online, (uint64_t) service, x->s, service, NULL, NULL) : first_fit_add(x, service);
}

static void
step(struct mix *m, bool timed)
{
    bool adds = m->cpu < m->target ? m->n_others > 0 : m->n_held == 0;
    int *from = adds ? m->others : m->held, *n = adds ? &m->n_others : &m->n_held, pick = below(&m->random, *n), service = from[pick];

    if (!adds) {
        if (m->x->online) {
            fs_online_remove(m->x->online, (uint64_t) service);
        } else {
            first_fit_remove(m->x, service);
        }
        from[pick] = from[--*n];
        m->others[m->n_others++] = service;
        m->cpu -= m->x->s->services[service].cpu;
        m->n_removed++;
        return;
    }
    double wall = timed ? now(CLOCK_MONOTONIC) : 0, cpu = timed ? now(CLOCK_THREAD_CPUTIME_ID) : 0;
    bool fits = add(m, service);
    if (timed) {
        m->cpu_time[m->n_added + m->n_refused] = now(CLOCK_THREAD_CPUTIME_ID) - cpu;
        m->wall[m->n_added + m->n_refused] = now(CLOCK_MONOTONIC) - wall;
    }
    m->answers = (m->answers ^ (uint64_t) (2 * service + fits)) * UINT64_C(1099511628211);
    m->n_added += fits;
    m->n_refused += !fits;
    if (fits) {
        from[pick] = from[--*n];
        m->held[m->n_held++] = service;
        m->cpu += m->x->s->services[service].cpu;
    }
}

static int
compare_doubles(const void *a_, const void *b_)
{
    double a = *(const double *) a_, b = *(const double *) b_;

    return (a > b) - (a < b);
}

static void
print_times(const char *name, double *times, size_t n)
{
    qsort(times, n, sizeof *times, compare_doubles);
    printf(", \"%s\": [%.1f, %.1f, %.1f, %.1f]", name, n ? times[n / 2] : 0, n ? times[n * 99 / 100] : 0, n ? times[n * 999 / 1000] : 0,
           n ? times[n - 1] : 0);
}

/* Fills, then does N operations; prints a member NAME. */
static void
run(struct mix *m, double fill, size_t n, uint64_t seed, const char *name)
{
    const struct fs_platform *p = m->x->p;
    fs_amount all = 0;

    for (int i = 0; i < p->n_servers; i++) {
        all += p->servers[i].cpu;
    }
    m->target = (fs_amount) ((double) all * fill);
    m->random = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    m->held = zeroed((size_t) m->x->s->n_services, sizeof(int));
    m->others = zeroed((size_t) m->x->s->n_services, sizeof(int));
    for (int i = 0; i < m->x->s->n_services; i++) {
        m->others[m->n_others++] = i;
    }
    m->wall = zeroed(n, sizeof(double));
    m->cpu_time = zeroed(n, sizeof(double));
    size_t tries = 0;
    double begin = now(CLOCK_MONOTONIC);
    while (m->cpu < m->target && m->n_others && tries++ < 4 * (size_t) m->x->s->n_services) {
        step(m, false);
    }
    double filled = (now(CLOCK_MONOTONIC) - begin) / 1e6;
    size_t fill_refused = m->n_refused;
    m->n_added = m->n_refused = m->n_removed = 0;
    begin = now(CLOCK_MONOTONIC);
    for (size_t i = 0; i < n; i++) {
        step(m, true);
    }
    printf("\"%s\": {\"held\": %d, \"cores\": %.4f, \"fill_seconds\": %.3f, \"fill_refused\": %zu, \"operations\": %zu, "
           "\"added\": %zu, \"refused\": %zu, \"removed\": %zu, \"seconds\": %.3f, \"answers\": \"%016" PRIx64 "\"",
           name, m->n_held, (double) m->cpu / (double) all, filled, fill_refused, n, m->n_added, m->n_refused, m->n_removed,
           (now(CLOCK_MONOTONIC) - begin) / 1e6, m->answers);
    print_times("wall", m->wall, m->n_added + m->n_refused);
    print_times("cpu", m->cpu_time, m->n_added + m->n_refused);
    fputs("}", stdout);
    fflush(stdout);
    free(m->wall);
    free(m->cpu_time);
}

/* ---- Events. ---- */

/* Times N events on servers (STATE other than up) or links; each is mended, and then the server or link comes back. */
static void
events(struct mix *m, const char *name, int kind, int n)
{
    struct fs_online *o = m->x->online;
    const struct fs_platform *p = m->x->p;
    double *times = zeroed((size_t) n, sizeof *times);
    int moves = 0, rerouted = 0, stranded = 0;

    for (int i = 0; i < n; i++) {
        struct fs_online_changes c = { 0 };
        int what = below(&m->random, kind == 2 ? p->n_arcs : p->n_servers);
        while (kind == 2 && (p->nodes[p->arcs[what].from].kind != FS_NODE_SWITCH || p->nodes[p->arcs[what].to].kind != FS_NODE_SWITCH)) {
            what = below(&m->random, p->n_arcs);
        }
        double begin = now(CLOCK_THREAD_CPUTIME_ID);
        if (kind == 2) {
            fs_online_set_link(o, what, false);
            fs_online_mend_link(o, what, -1, NULL, &c);
            fs_online_set_link(o, what, true);
        } else {
            fs_online_set_server(o, what, kind ? FS_ONLINE_DRAINING : FS_ONLINE_DOWN);
            fs_online_mend_server(o, what, -1, NULL, &c);
            fs_online_set_server(o, what, FS_ONLINE_UP);
        }
        times[i] = now(CLOCK_THREAD_CPUTIME_ID) - begin;
        moves += c.n_moves;
        rerouted += c.n_rerouted;
        stranded += c.n_stranded;
        fs_online_changes_clear(&c);
    }
    printf(", \"%s\": {\"n\": %d, \"moves\": %d, \"rerouted\": %d, \"stranded\": %d", name, n, moves, rerouted, stranded);
    print_times("cpu", times, (size_t) n);
    fputs("}", stdout);
    fflush(stdout);
    free(times);
}

/* The same services, put into a new state from what this one says of them. */
static char *
rebuild(const struct subject *x, const struct mix *m, double *seconds)
{
    struct fs_online *fresh = fs_online_create(x->p);
    struct fs_solution *solution = fs_solution_create(x->p, x->s);
    double begin = now(CLOCK_MONOTONIC);

    for (int i = 0; i < m->n_held; i++) {
        fs_online_copy(x->online, (uint64_t) m->held[i], solution);
        fs_online_restore(fresh, (uint64_t) m->held[i], solution, m->held[i]);
    }
    *seconds = (now(CLOCK_MONOTONIC) - begin) / 1e6;
    char *difference = fs_online_compare(x->online, fresh);
    difference = difference ? difference : fs_online_check(x->online);
    fs_solution_destroy(solution);
    fs_online_destroy(fresh);
    return difference;
}

static void
run_ours(struct subject *x, double fill, size_t n, uint64_t seed)
{
    struct mix m = { .x = x };
    double seconds;

    x->online = fs_online_create(x->p);
    run(&m, fill, n, seed, "online");
    char *difference = rebuild(x, &m, &seconds);
    printf(", \"rebuilt\": \"%s\", \"rebuild_seconds\": %.3f", difference ? difference : "equal", seconds);
    free(difference);
    events(&m, "server fails", 0, 200);
    events(&m, "server is drained", 1, 200);
    events(&m, "link fails", 2, 50);
    difference = rebuild(x, &m, &seconds);
    printf(", \"after_events\": \"%s\"", difference ? difference : "equal");
    free(difference);
    free(m.held);
    free(m.others);
    fs_online_destroy(x->online);
    x->online = NULL;
}

static void
run_first_fit(struct subject *x, double fill, size_t n, uint64_t seed)
{
    struct mix m = { .x = x };
    size_t nodes = (size_t) x->p->n_nodes, links = (size_t) x->s->n_links;

    x->loads = zeroed((size_t) x->p->n_servers, sizeof *x->loads);
    x->used = zeroed((size_t) x->p->n_arcs, sizeof *x->used);
    x->at = zeroed((size_t) x->s->n_nodes, sizeof *x->at);
    x->ways = zeroed(links, sizeof *x->ways);
    x->n_arcs = zeroed(links, sizeof *x->n_arcs);
    x->seen = zeroed(nodes, sizeof *x->seen);
    x->came_by = zeroed(nodes, sizeof *x->came_by);
    x->queue = zeroed(nodes, sizeof *x->queue);
    memset(x->at, -1, (size_t) x->s->n_nodes * sizeof *x->at);
    fputs(", ", stdout);
    run(&m, fill, n, seed, "first-fit");
    for (int i = m.n_held; i-- > 0;) {
        first_fit_remove(x, m.held[i]);
    }
    free(m.held);
    free(m.others);
    free(x->loads);
    free(x->used);
    free(x->at);
    free(x->ways);
    free(x->n_arcs);
    free(x->seen);
    free(x->came_by);
    free(x->queue);
}

int
main(int argc, char **argv)
{
    struct fs_platform *platform;
    struct fs_services *services;
    char *error = NULL;

    if (argc != 7) {
        fputs("usage: online PLATFORM SERVICES FILL OPERATIONS FIRST_FIT_OPERATIONS SEED\n", stderr);
        return 2;
    }
    if (fs_platform_read(argv[1], &platform, &error)) {
        fprintf(stderr, "online: %s\n", error);
        free(error);
        return 2;
    }
    if (fs_services_read(argv[2], platform, &services, &error)) {
        fprintf(stderr, "online: %s\n", error);
        free(error);
        fs_platform_destroy(platform);
        return 2;
    }
    struct subject x = { .p = platform, .s = services };
    double fill = strtod(argv[3], NULL);
    uint64_t seed = strtoull(argv[6], NULL, 10);
    printf("{\"servers\": %d, \"services\": %d, ", platform->n_servers, services->n_services);
    run_ours(&x, fill, strtoull(argv[4], NULL, 10), seed);
    size_t others = strtoull(argv[5], NULL, 10);
    if (others) {
        run_first_fit(&x, fill, others, seed);
    }
    puts("}");
    fs_services_destroy(services);
    fs_platform_destroy(platform);
    return 0;
}

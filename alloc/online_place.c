/* Where a service goes: racks with most room in few places first, and within a rack the servers on which it leaves least behind.
 *
 * The modules are placed one after the other, the largest first, since those that find no server should show before others are placed in vain.
 * Each takes the server where cores and memory that are left over are most in proportion, so that neither is left without the other; a server
 * full of modules that need memory wastes its cores.  What breaks a limit is taken back and the next server is tried, going back to an
 * earlier module where the servers are at an end; the number of servers tried is limited, in one rack, over several racks, and over all
 * servers in turn.  Ports come first, so that delays and full I/O links show with the first module. */
#include <config.h>

#include "alloc/online.h"

#include <stdlib.h>
#include <string.h>

#include "alloc/memory.h"

#define RACKS_NEAR 8       /* tried one after the other for a service as a whole */
#define RACKS_IN_TURN 64   /* when the caller wants them in turn */
#define PLANNED 64         /* servers of a rack whose cores and memory are added up before anything is tried */
#define RACKS_WIDE 8       /* with most room, tried each for itself and together */
#define STEPS 24           /* servers tried for the modules of a service in one rack, more for services of more modules */
#define CANDIDATES 96      /* servers considered for a module */
#define WASTE 4            /* what it weighs in 1024ths to leave cores without memory, or memory without cores, */
#define OWN 64             /* and what to stay on a server of the same service */
#define ROUNDS 3           /* with other I/O nodes for the sinks */

struct candidate {
    int server;
    int class;             /* less is better */
    int64_t rank;          /* within the class, likewise */
};

/* A module that is to be placed, and the servers that are left to try. */
struct frame {
    int node;
    fs_amount cpu, mem;    /* of this module and those that come after it */
    struct candidate *candidates;
    int n, next;
};

struct place {
    struct fs_online *online;
    struct held *held;
    const struct fs_online_options *options;
    struct frame *frames;
    int n;
    int racks[RACKS_WIDE], n_racks; /* 0: all servers */
    int steps;
};

bool
online_may_run(const struct fs_online *o, const struct held *h, const struct fs_online_options *options, int node, int server)
{
    (void) h;
    return o->servers[server].state == FS_ONLINE_UP && (!options->allowed || options->allowed(options->aux, node, server));
}

static int
server_of(const struct fs_online *o, const struct held *h, int i)
{
    return h->nodes[i].at < 0 ? -1 : o->platform->nodes[h->nodes[i].at].server;
}

/* ---- Candidates. ---- */

static bool
has_room(const struct fs_online *o, const struct fs_service_node *m, int server)
{
    return online_free_cpu(o, server) >= m->cpu && online_free_mem(o, server) >= m->mem;
}

static bool
is_listed(const struct frame *f, int server)
{
    for (int i = 0; i < f->n; i++) {
        if (f->candidates[i].server == server) {
            return true;
        }
    }
    return false;
}

/* How much of a server's room is of no use because there is more of the one than of the other: 1024ths of a large server. */
static int64_t
lopsided(const struct fs_online *o, fs_amount cpu, fs_amount mem)
{
    int64_t a = cpu * 1024 / o->cpu_unit, b = mem * 1024 / o->mem_unit;

    return a > b ? a - b : b - a;
}

/* What placing M leaves behind on a server with so much free. */
static int64_t
rank_of(const struct fs_online *o, const struct fs_service_node *m, fs_amount cpu, fs_amount mem)
{
    return WASTE * (lopsided(o, cpu - m->cpu, mem - m->mem) - lopsided(o, cpu, mem)) + online_room(o, cpu - m->cpu, mem - m->mem);
}

/* How good SERVER is for the module of F, whose service it has already (OWN) or not: it should leave cores and memory in proportion, and little of
 * both.  Staying on one server counts a little. */
static struct candidate
judge(const struct place *p, const struct frame *f, int server, bool own)
{
    const struct fs_online *o = p->online;
    const struct fs_service_node *m = &p->held->services->nodes[f->node];
    fs_amount cpu = online_free_cpu(o, server), mem = online_free_mem(o, server);
    int n = o->platform->n_servers;

    if (p->options->in_turn) {
        int start = (p->options->start % n + n) % n;
        return (struct candidate) { server, own ? 0 : 1, (o->servers[server].place - start + n) % n };
    }
    return (struct candidate) { server, 0, rank_of(o, m, cpu, mem) - (own ? OWN : 0) };
}

/* Servers that have modules of this service already. */
static void
list_own(const struct place *p, struct frame *f)
{
    const struct held *h = p->held;
    const struct fs_service_node *m = &h->services->nodes[f->node];

    for (int i = h->service->n_nodes - 1; i >= 0 && f->n < CANDIDATES; i--) {
        int server = server_of(p->online, h, i);
        if (server >= 0 && has_room(p->online, m, server) && !is_listed(f, server)
            && online_may_run(p->online, h, p->options, f->node, server)) {
            f->candidates[f->n] = judge(p, f, server, true);
            f->n++;
        }
    }
}

/* Servers with room from place FIRST up to END. */
static void
list_places(const struct place *p, struct frame *f, int first, int end, int n_own)
{
    const struct fs_online *o = p->online;
    const struct fs_service_node *m = &p->held->services->nodes[f->node];

    while (f->n < CANDIDATES && (first = online_index_next(o, first, end, m->cpu, m->mem)) >= 0) {
        int server = o->platform->rack_servers[first++];
        struct frame own = { .candidates = f->candidates, .n = n_own };
        if (!is_listed(&own, server) && online_may_run(o, p->held, p->options, f->node, server)) {
            f->candidates[f->n++] = judge(p, f, server, false);
        }
    }
}

static int
compare_candidates(const void *a_, const void *b_)
{
    const struct candidate *a = a_, *b = b_;

    if (a->class != b->class) {
        return a->class - b->class;
    }
    return a->rank != b->rank ? (a->rank > b->rank) - (a->rank < b->rank) : a->server - b->server;
}

static void
list_candidates(const struct place *p, struct frame *f)
{
    const struct fs_platform *platform = p->online->platform;

    f->n = f->next = 0;
    list_own(p, f);
    int n_own = f->n;
    for (int i = 0; i < p->n_racks; i++) {
        list_places(p, f, platform->rack_start[p->racks[i]], platform->rack_start[p->racks[i] + 1], n_own);
    }
    if (!p->n_racks) {
        int n = platform->n_servers, start = p->options->in_turn && n ? (p->options->start % n + n) % n : 0;
        list_places(p, f, start, n, n_own);
        list_places(p, f, 0, start, n_own);
    }
    qsort(f->candidates, (size_t) f->n, sizeof *f->candidates, compare_candidates);
}

/* ---- The search. ---- */

/* Tries the next servers for frame F.  Returns whether one took the module. */
static bool
try_next(struct place *p, struct frame *f)
{
    while (f->next < f->n && p->steps > 0) {
        p->steps--;
        if (!online_put(p->online, p->held, f->node, p->online->platform->servers[f->candidates[f->next++].server].node)) {
            return true;
        }
    }
    return false;
}

/* Places all modules on the servers of p->racks. */
static bool
attempt(struct place *p, int steps)
{
    int i = 0;

    p->steps = steps + 4 * p->n;
    if (p->n) {
        list_candidates(p, &p->frames[0]);
    }
    while (i < p->n) {
        if (try_next(p, &p->frames[i])) {
            if (++i < p->n) {
                list_candidates(p, &p->frames[i]);
            }
        } else if (--i < 0) {
            return false;
        } else {
            online_take(p->online, p->held, p->frames[i].node);
        }
    }
    return true;
}

/* The racks of modules that stay where they are. */
static bool
attempt_near(struct place *p)
{
    p->n_racks = 0;
    for (int i = 0; i < p->held->service->n_nodes && p->n_racks < RACKS_WIDE; i++) {
        int server = server_of(p->online, p->held, i), known = 0;
        for (int k = 0; k < p->n_racks && server >= 0; k++) {
            known += p->racks[k] == p->online->platform->servers[server].rack;
        }
        if (server >= 0 && !known) {
            p->racks[p->n_racks++] = p->online->platform->servers[server].rack;
        }
    }
    return p->n_racks && attempt(p, STEPS);
}

static bool
rack_suffices(const struct place *p, int rack)
{
    return p->online->rack_free[rack].cpu >= p->frames[0].cpu && p->online->rack_free[rack].mem >= p->frames[0].mem;
}

/* Whether the modules fit into RACK one after the other as far as cores and memory go, which takes no more than adding up.  A large rack is not
 * looked at. */
static bool
seems_to_fit(const struct place *p, int rack)
{
    const struct fs_online *o = p->online;
    int first = o->platform->rack_start[rack], n = o->platform->rack_start[rack + 1] - first;
    struct online_free free[PLANNED];

    if (n > PLANNED) {
        return true;
    }
    memcpy(free, o->free + o->leaves + first, (size_t) n * sizeof *free);
    for (int i = 0; i < p->n; i++) {
        const struct fs_service_node *m = &p->held->services->nodes[p->frames[i].node];
        int64_t least = 0;
        int best = -1;
        for (int k = 0; k < n; k++) {
            if (free[k].cpu >= m->cpu && free[k].mem >= m->mem) {
                int64_t rank = rank_of(o, m, free[k].cpu, free[k].mem);
                if (best < 0 || rank < least) {
                    least = rank;
                    best = k;
                }
            }
        }
        if (best < 0) {
            return false;
        }
        free[best].cpu -= m->cpu;
        free[best].mem -= m->mem;
    }
    return true;
}

static bool
attempt_rack(struct place *p, int rack)
{
    p->racks[0] = rack;
    p->n_racks = 1;
    return rack_suffices(p, rack) && seems_to_fit(p, rack) && attempt(p, STEPS);
}

/* Tries N racks in turn from FIRST on. */
static bool
attempt_in_turn(struct place *p, int first, int n)
{
    int n_racks = p->online->platform->n_racks;

    for (int i = 0; i < n && i < n_racks; i++) {
        if (attempt_rack(p, (first + i) % n_racks)) {
            return true;
        }
    }
    return false;
}

/* Tries the racks with most room, each for itself and then together. */
static bool
attempt_roomy(struct place *p)
{
    struct online_racks racks;
    int best[RACKS_WIDE], n = 0, rack;
    bool done = false;

    online_racks_begin(&racks, p->online);
    while (!done && n < RACKS_WIDE && (rack = online_racks_next(&racks)) >= 0) {
        best[n++] = rack;
        done = attempt_rack(p, rack);
    }
    online_racks_end(&racks);
    if (!done && n > 1) {
        memcpy(p->racks, best, sizeof best);
        p->n_racks = n;
        done = attempt(p, 2 * STEPS);
    }
    return done;
}

/* First a few racks that follow from the key, so that racks get full one by one and others stay empty for what needs much room; then those. */
static bool
attempt_racks(struct place *p)
{
    const struct fs_platform *platform = p->online->platform;
    int n = platform->n_servers;
    int first = p->options->in_turn ? platform->servers[platform->rack_servers[(p->options->start % n + n) % n]].rack
                : (int) ((p->held->key * UINT64_C(0x9e3779b97f4a7c15) >> 32) % (uint64_t) platform->n_racks);

    return attempt_in_turn(p, first, p->options->in_turn ? RACKS_IN_TURN : RACKS_NEAR) || attempt_roomy(p);
}

static bool
attempt_all(struct place *p)
{
    p->n_racks = 0;
    return attempt(p, 2 * STEPS);
}

static int64_t
size_of(const struct place *p, const struct frame *f)
{
    const struct fs_service_node *m = &p->held->services->nodes[f->node];
    int64_t a = m->cpu * 1024 / p->online->cpu_unit, b = m->mem * 1024 / p->online->mem_unit;

    return a > b ? a : b;
}

/* The largest first; those of one size as they come. */
static void
sort_frames(struct place *p)
{
    for (int i = 1; i < p->n; i++) {
        struct frame f = p->frames[i];
        int k = i;
        for (; k && size_of(p, &p->frames[k - 1]) < size_of(p, &f); k--) {
            p->frames[k] = p->frames[k - 1];
        }
        p->frames[k] = f;
    }
}

/* Collects the modules that are to be placed, and what they ask for from each one on. */
static void
collect(struct place *p)
{
    const struct fs_service *v = p->held->service;

    p->frames = alloc_zeroed((size_t) v->n_nodes, sizeof *p->frames);
    for (int n = v->first_node; n < v->first_node + v->n_nodes; n++) {
        if (p->held->services->nodes[n].kind == FS_SERVICE_PM && held_node(p->held, n)->at < 0) {
            p->frames[p->n].candidates = alloc_zeroed(CANDIDATES, sizeof(struct candidate));
            p->frames[p->n++].node = n;
        }
    }
    if (!p->options->in_turn) {
        sort_frames(p);
    }
    fs_amount cpu = 0, mem = 0;
    for (int i = p->n - 1; i >= 0; i--) {
        cpu += p->held->services->nodes[p->frames[i].node].cpu;
        mem += p->held->services->nodes[p->frames[i].node].mem;
        p->frames[i].cpu = cpu;
        p->frames[i].mem = mem;
    }
}

/* Takes away again what was not PLACED before. */
static void
take_ports(struct fs_online *o, struct held *h, const bool *placed)
{
    for (int i = 0; i < h->service->n_nodes; i++) {
        if (!placed[i] && h->nodes[i].at >= 0) {
            online_take(o, h, h->service->first_node + i);
        }
    }
}

static bool
attempt_round(struct place *p, int round)
{
    online_place_ports(p->online, p->held, round);
    if (!online_join_ports(p->online, p->held)) {
        return false;
    }
    return !p->n || (p->online->platform->n_servers && (attempt_near(p) || attempt_racks(p) || attempt_all(p)));
}

bool
online_place(struct fs_online *o, struct held *h, const struct fs_online_options *options)
{
    struct place p = { .online = o, .held = h, .options = options };
    int rounds = 1;
    bool done = false;

    if (online_ports_are_full(o, h)) {
        return false;
    }
    collect(&p);
    bool *placed = alloc_zeroed((size_t) h->service->n_nodes, sizeof *placed);
    for (int i = 0; i < h->service->n_nodes; i++) {
        const struct fs_service_node *m = &h->services->nodes[h->service->first_node + i];
        placed[i] = h->nodes[i].at >= 0;
        if (m->kind == FS_SERVICE_SINK && !placed[i] && m->n_io > rounds) {
            rounds = m->n_io < ROUNDS ? m->n_io : ROUNDS;
        }
    }
    for (int round = 0; !done && round < rounds; round++) {
        done = attempt_round(&p, round);
        if (!done) {
            take_ports(o, h, placed);
        }
    }
    for (int i = 0; i < p.n; i++) {
        free(p.frames[i].candidates);
    }
    free(p.frames);
    free(placed);
    return done;
}

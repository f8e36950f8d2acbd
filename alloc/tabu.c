/* Tabu search: algorithm 1 of section 3.2.3 of D3.2, whose names and line numbers stand in the comments.
 *
 * v(s) is state_cost().  The document asks for the server j where v(s[g_i, j]) is least: here what a server's cores and memory would add is
 * known from two figures, and only servers that could still be the best are looked at any further.  Large platforms are
 * sampled: the racks of the module's neighbours, and some servers elsewhere. */
#include <config.h>

#include "alloc/tabu.h"

#include <stdlib.h>
#include <string.h>

#include "alloc/memory.h"

#define ALL_SERVERS 256      /* a platform with no more is looked at whole */
#define SAMPLE 192           /* servers looked at on larger ones, beside the neighbours' racks */
#define IDLE_MAX 100         /* steps without any move that may be made */
#define VAIN_MAX 150         /* steps without a better solution before a kick */
#define HOT_TRIED 64         /* overloaded servers compared for line 4 */

static void
set_start(struct set *set, int n)
{
    set->members = alloc_zeroed((size_t) n, sizeof *set->members);
    set->place = alloc_filled((size_t) n, -1);
}

static void
set_put(struct set *set, int i, bool in)
{
    if (in && set->place[i] < 0) {
        set->place[i] = set->n;
        set->members[set->n++] = i;
    } else if (!in && set->place[i] >= 0) {
        int last = set->members[--set->n];
        set->members[set->place[i]] = last;
        set->place[last] = set->place[i];
        set->place[i] = -1;
    }
}

/* By how much a server and its link are overloaded, as a part of v(s). */
static double
overload(const struct state *s, int server)
{
    const struct fs_server *limits = &s->platform->servers[server];
    const struct fs_server_load *use = &s->servers[server];
    const struct end *end = &s->ends[limits->node];
    struct excess e = { over_limit(use->cpu, limits->cpu), over_limit(use->mem, limits->mem),
                        over_limit(use->bandwidth, limits->bandwidth), 0, 0, 0 };

    if (end->up >= 0) {
        e.bandwidth += over_limit(s->used[end->up], s->platform->arcs[end->up].bandwidth)
                       + over_limit(s->used[end->down], s->platform->arcs[end->down].bandwidth);
    }
    return state_cost(s, &e);
}

static void
note_server(struct tabu *t, int node)
{
    int server = node < 0 ? -1 : t->s->platform->nodes[node].server;

    if (server >= 0) {
        set_put(&t->hot, server, overload(t->s, server) > 0);
    }
}

static bool
is_late(const struct state *s, int path)
{
    return s->path_delay[path] > s->services->paths[path].bound;
}

/* s <- s[g_i, j], and makes g_i tabu (lines 7-8, 12-13 and 19-20). */
void
tabu_take_node(struct tabu *t, int node, int where)
{
    struct state *s = t->s;
    const struct fs_service_node *g = &s->services->nodes[node];
    const struct fs_service *v = &s->services->services[g->service];
    int before = s->at[node];

    state_move(s, &s->excess, node, where);
    note_server(t, before);
    note_server(t, s->at[node]);
    for (int i = 0; i < g->n_incident; i++) {
        const struct fs_service_link *l = &s->services->links[s->services->incident[g->first_incident + i]];
        note_server(t, s->at[l->from == node ? l->to : l->from]);
    }
    for (int p = v->first_path; p < v->first_path + v->n_paths; p++) {
        set_put(&t->late, p, is_late(s, p));
    }
    t->free_at[node] = t->search->steps + 10 + (uint64_t) search_random(&t->search->random, 20);
    if (!t->is_changed[node]) {
        t->is_changed[node] = true;
        t->changed[t->n_changed++] = node;
    }
}

void
tabu_take(struct tabu *t, int node, int server)
{
    tabu_take_node(t, node, t->s->platform->servers[server].node);
}

/* Another way was chosen, which may have changed the delay of any path. */
void
tabu_note_paths(struct tabu *t)
{
    for (int i = 0; i < t->s->services->n_paths; i++) {
        set_put(&t->late, i, is_late(t->s, i));
    }
}

/* The PM that contributes much to the violations of CMB (lines 4 and 10): of the worst server the one that frees most; -1 if
 * there is none. */
int
tabu_select_pm(struct tabu *t, bool not_tabu)
{
    struct state *s = t->s;
    double worst = -1, most = -1;
    int server = -1, best = -1, ties = 0;

    for (int i = 0; i < t->hot.n && i < HOT_TRIED; i++) {
        int h = t->hot.members[t->hot.n <= HOT_TRIED ? i : search_random(&t->search->random, t->hot.n)];
        double over = overload(s, h);
        if (over > worst || (over == worst && !search_random(&t->search->random, 2))) {
            worst = over;
            server = h;
        }
    }
    for (int g = server < 0 ? -1 : s->first_on[server], next; g >= 0; g = next) {
        next = s->next_on[g];
        if (not_tabu && t->free_at[g] > t->search->steps) {
            continue;
        }
        int home = s->at[g];
        struct excess e = s->excess;
        state_move(s, &e, g, -1);
        double relief = overload(s, server) < worst ? worst - overload(s, server) : 0;
        state_move(s, &e, g, home);
        if (relief > most || (relief == most && !search_random(&t->search->random, ++ties + 1))) {
            ties = relief > most ? 0 : ties;
            most = relief;
            best = g;
        }
    }
    return best;
}

/* What NODE on SERVER would add to the overload of its cores and memory. */
static double
adds(const struct state *s, int node, int server)
{
    const struct fs_service_node *m = &s->services->nodes[node];
    const struct fs_server *limits = &s->platform->servers[server];
    const struct fs_server_load *use = &s->servers[server];
    struct excess e = {
        over_limit(use->cpu + m->cpu, limits->cpu) - over_limit(use->cpu, limits->cpu),
        over_limit(use->mem + m->mem, limits->mem) - over_limit(use->mem, limits->mem), 0, 0, 0, 0
    };

    return state_cost(s, &e);
}

/* Compares CHOICE with NODE on SERVER.  FLOOR is what v(s) cannot go below without NODE. */
static void
compare(struct tabu *t, struct choice *choice, int node, int server, double floor)
{
    struct state *s = t->s;
    int where = s->platform->servers[server].node;

    if (where == s->at[node] || floor + adds(s, node, server) > choice->v + 1e-9) {
        return;
    }
    double v = state_try(s, node, where);
    if (v < choice->v - 1e-9) {
        *choice = (struct choice) { node, server, v, 1 };
    } else if (v < choice->v + 1e-9 && !search_random(&t->search->random, ++choice->ties)) {
        choice->node = node;
        choice->server = server;
    }
}

/* Compares CHOICE with NODE on every server of the rack of platform node NEAR. */
static void
compare_rack(struct tabu *t, struct choice *choice, int node, int near, double floor)
{
    const struct fs_platform *p = t->s->platform;
    int server = near < 0 ? -1 : p->nodes[near].server;

    if (server >= 0) {
        int rack = p->servers[server].rack;
        for (int i = p->rack_start[rack]; i < p->rack_start[rack + 1]; i++) {
            compare(t, choice, node, p->rack_servers[i], floor);
        }
    }
}

/* The server j such that v(s[g_i, j]) is least (lines 5, 11 and 18); improves CHOICE. */
void
tabu_select_server(struct tabu *t, struct choice *choice, int node)
{
    struct state *s = t->s;
    const struct fs_platform *p = s->platform;
    const struct fs_service_node *g = &s->services->nodes[node];
    struct excess e = s->excess;
    int home = s->at[node];

    state_move(s, &e, node, -1);
    double floor = state_cost(s, &e);
    state_move(s, &e, node, home);
    if (p->n_servers <= ALL_SERVERS) {
        for (int j = 0; j < p->n_servers; j++) {
            compare(t, choice, node, j, floor);
        }
        return;
    }
    compare_rack(t, choice, node, home, floor);
    for (int i = 0; i < g->n_incident && i < 8; i++) {
        const struct fs_service_link *l = &s->services->links[s->services->incident[g->first_incident + i]];
        int near = s->at[l->from == node ? l->to : l->from];
        if (near < 0 || s->ends[near].anchor != s->ends[home].anchor) {
            compare_rack(t, choice, node, near, floor);
        }
    }
    for (int i = 0; i < SAMPLE; i++) {
        compare(t, choice, node, search_random(&t->search->random, p->n_servers), floor);
    }
}

/* Lines 4 to 13: the capacities (CMB) are violated. */
static bool
step_for_capacity(struct tabu *t)
{
    struct choice choice = { -1, -1, 1e300, 0 };
    int g = tabu_select_pm(t, false);                                   /* line 4 */

    if (g < 0) {
        return false;
    }
    tabu_select_server(t, &choice, g);                                  /* line 5 */
    if (t->free_at[g] > t->search->steps && choice.v >= t->best) { /* line 6, the other way round */
        g = tabu_select_pm(t, true);                                    /* line 10 */
        choice = (struct choice) { -1, -1, 1e300, 0 };
        if (g >= 0) {
            tabu_select_server(t, &choice, g);                          /* line 11 */
        }
    }
    if (choice.node >= 0) {
        tabu_take(t, choice.node, choice.server);                       /* lines 7-8, 12-13 */
    }
    return choice.node >= 0;
}

/* p <- one of the three paths that are most late, at random (line 15); -1 if none is. */
int
tabu_select_path(struct tabu *t)
{
    const struct state *s = t->s;
    int top[3] = { -1, -1, -1 }, n = 0;
    int start = t->late.n > HOT_TRIED ? search_random(&t->search->random, t->late.n) : 0;

    for (int i = 0; i < t->late.n && i < HOT_TRIED; i++) {
        int path = t->late.members[(start + i) % t->late.n], at = n < 3 ? n : 3;
        fs_amount late = s->path_delay[path] - s->services->paths[path].bound;
        while (at > 0 && late > s->path_delay[top[at - 1]] - s->services->paths[top[at - 1]].bound) {
            at--;
        }
        if (at < 3) {
            n = n < 3 ? n + 1 : 3;
            memmove(&top[at + 1], &top[at], (size_t) (n - 1 - at) * sizeof *top);
            top[at] = path;
        }
    }
    return n ? top[search_random(&t->search->random, n)] : -1;
}

/* Lines 15 to 20: only delays are violated. */
static bool
step_for_delay(struct tabu *t)
{
    const struct fs_services *v = t->s->services;
    int path = tabu_select_path(t);                                     /* line 15 */
    struct choice best = { -1, -1, 1e300, 0 };

    for (int i = 0; path >= 0 && i < v->paths[path].n_links; i++) {
        int g = v->links[v->path_links[v->paths[path].first_link + i]].to;  /* line 16: Cand */
        if (v->nodes[g].kind != FS_SERVICE_PM) {
            continue;
        }
        bool tabu = t->free_at[g] > t->search->steps;
        struct choice choice = { -1, -1, tabu ? t->best - 1e-9 : best.v, 0 };
        tabu_select_server(t, &choice, g);                              /* line 17: M */
        if (choice.node >= 0 && choice.v < best.v) {
            best = choice;                                         /* line 18 */
        }
    }
    if (best.node >= 0) {
        tabu_take(t, best.node, best.server);                           /* lines 19-20 */
    }
    return best.node >= 0;
}

/* s* <- s (lines 1 and 22). */
static void
note_best(struct tabu *t)
{
    for (int i = 0; i < t->n_changed; i++) {
        int node = t->changed[i];
        t->best_at[node] = t->s->at[node];
        t->is_changed[node] = false;
    }
    t->n_changed = 0;
    if (t->rerouted) {
        state_free_ways(t->best_ways);
        t->best_ways = state_save_ways(t->s);
        t->rerouted = false;
    }
    t->best_excess = t->s->excess;
    t->best = state_cost(t->s, &t->s->excess);
}

static void
start(struct tabu *t)
{
    const struct state *s = t->s;
    size_t nodes = (size_t) s->services->n_nodes;

    set_start(&t->hot, s->platform->n_servers);
    set_start(&t->late, s->services->n_paths);
    t->free_at = alloc_zeroed(nodes, sizeof *t->free_at);
    t->best_at = alloc_zeroed(nodes, sizeof *t->best_at);
    t->changed = alloc_zeroed(nodes, sizeof *t->changed);
    t->is_changed = alloc_zeroed(nodes, sizeof *t->is_changed);
    state_copy_places(s, t->best_at);
    note_best(t);
    for (int i = 0; i < s->platform->n_servers; i++) {
        set_put(&t->hot, i, overload(s, i) > 0);
    }
    for (int i = 0; i < s->services->n_paths; i++) {
        set_put(&t->late, i, is_late(s, i));
    }
}

/* s <- s*, and frees everything. */
static void
end(struct tabu *t)
{
    for (int i = 0; i < t->n_changed; i++) {
        int node = t->changed[i];
        if (t->s->at[node] != t->best_at[node]) {
            state_move(t->s, &t->s->excess, node, t->best_at[node]);
        }
    }
    if (t->rerouted) {
        state_restore_ways(t->s, t->best_ways);
    }
    state_free_ways(t->best_ways);
    free(t->hot.members);
    free(t->hot.place);
    free(t->late.members);
    free(t->late.place);
    free(t->free_at);
    free(t->best_at);
    free(t->changed);
    free(t->is_changed);
}

/* One step of algorithm 1 (line 3), or, where the search may do more than that, one of the other moves; these also look at delays
 * while servers are overloaded, since it may be that they stay so. */
static bool
step(struct tabu *t)
{
    uint64_t *random = &t->search->random;
    bool full = t->s->excess.bandwidth > 0, free = t->search->exchanges;

    if ((full && !search_random(random, 4) && tabu_step_for_fabric(t))
        || (free && !search_random(random, 3) && tabu_step_for_exchange(t))
        || (free && t->late.n && !search_random(random, 3) && step_for_delay(t))) {
        return true;
    }
    return (t->hot.n ? step_for_capacity(t) : step_for_delay(t)) || (full && tabu_step_for_fabric(t)) || step_for_delay(t);
}

void
tabu_search(struct search *search)
{
    struct tabu t = { .search = search, .s = search->state };
    int idle = 0, vain = 0;
    uint64_t improved = search->steps;

    start(&t);                                                       /* line 1 */
    while (!search_over(search) && t.best > search->target + 1e-9) { /* line 2 */
        search->steps++;
        idle = step(&t) ? 0 : idle + 1;
        if (idle > IDLE_MAX) {
            break;    /* what is wrong is where nothing can be moved */
        }
        vain++;
        if (state_cost(t.s, &t.s->excess) < t.best - 1e-9) {         /* line 21 */
            note_best(&t);                                           /* line 22 */
            vain = 0;
            improved = search->steps;
        }
        if (search->steps - improved > search->patience) {
            break;
        }
        if (search->exchanges && vain > VAIN_MAX) {
            tabu_kick(&t);
            vain = 0;
        }
        search_progress(search, &t.best_excess, false);
    }
    end(&t);                                                         /* line 23 */
}

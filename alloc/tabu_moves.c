/* Moves beyond algorithm 1 of D3.2: sinks that have a choice, links inside the fabric, exchanges, and a kick when nothing helps. */
#include <config.h>

#include "alloc/tabu.h"

/* A full link that is no server's, at random; -1 if there is none. */
static int
full_arc(struct tabu *t)
{
    const struct state *s = t->s;
    const struct fs_platform *p = s->platform;
    int found = -1, seen = 0;

    for (int a = 0; a < p->n_arcs; a++) {
        if (s->used[a] > p->arcs[a].bandwidth && p->nodes[p->arcs[a].from].kind != FS_NODE_SERVER
            && p->nodes[p->arcs[a].to].kind != FS_NODE_SERVER && !search_random(&t->search->random, ++seen)) {
            found = a;
        }
    }
    return found;
}

static bool
goes_over(const struct state *s, int link, int arc)
{
    const struct fs_service_link *l = &s->services->links[link];
    int from = s->at[l->from], to = s->at[l->to];
    const struct way *way = s->link_way[link] < 0 ? NULL : &s->ways[s->link_way[link]];

    if (from == to) {
        return false;
    }
    for (int i = 0; way && i < way->n; i++) {
        if (way->arcs[i] == arc) {
            return true;
        }
    }
    return s->ends[from].up == arc || s->ends[to].down == arc;
}

/* A service link over ARC, at random (nearly: the first from a random one on); -1 if there is none. */
static int
link_over(struct tabu *t, int arc)
{
    int n = t->s->services->n_links, start = search_random(&t->search->random, n);

    for (int i = 0; i < n; i++) {
        if (goes_over(t->s, (start + i) % n, arc)) {
            return (start + i) % n;
        }
    }
    return -1;
}

/* Compares CHOICE with each other place of sink NODE.  (Its 'server' is then an I/O node.) */
static void
select_port(struct tabu *t, struct choice *choice, int node)
{
    const struct fs_service_node *g = &t->s->services->nodes[node];

    for (int i = 0; i < g->n_io; i++) {
        int io = t->s->services->ios[g->first_io + i];
        if (io == t->s->at[node]) {
            continue;
        }
        double v = state_try(t->s, node, io);
        if (v < choice->v - 1e-9 || (v < choice->v + 1e-9 && !search_random(&t->search->random, ++choice->ties))) {
            *choice = (struct choice) { node, io, v, v < choice->v - 1e-9 ? 1 : choice->ties };
        }
    }
}

/* One move that changes who goes over a full link: another way, another place of a module or of a sink. */
bool
tabu_step_for_fabric(struct tabu *t)
{
    struct state *s = t->s;
    int arc = full_arc(t), link = arc < 0 ? -1 : link_over(t, arc);
    struct choice best = { -1, -1, 1e300, 0 };

    if (link < 0) {
        return false;
    }
    if (!t->best_ways) {
        t->best_ways = state_save_ways(s);    /* as they were when s* was noted, since none was rerouted */
    }
    if (s->link_way[link] >= 0 && state_reroute(s, s->link_way[link])) {
        tabu_note_paths(t);
        t->rerouted = true;
        return true;
    }
    const int ends[2] = { s->services->links[link].from, s->services->links[link].to };
    for (int i = 0; i < 2; i++) {
        bool tabu = t->free_at[ends[i]] > t->search->steps;
        struct choice choice = { -1, -1, tabu ? t->best - 1e-9 : best.v, 0 };
        bool pm = s->services->nodes[ends[i]].kind == FS_SERVICE_PM;
        (pm ? tabu_select_server : select_port)(t, &choice, ends[i]);
        if (choice.node >= 0 && choice.v < best.v) {
            best = choice;
            best.server = pm ? s->platform->servers[choice.server].node : choice.server;
        }
    }
    if (best.node >= 0) {
        tabu_take_node(t, best.node, best.server);
    }
    return best.node >= 0;
}

/* A module that has a part in what is wrong, or -1. */
static int
suspect(struct tabu *t)
{
    const struct fs_services *v = t->s->services;
    int path = t->hot.n ? -1 : tabu_select_path(t);

    if (path < 0) {
        return tabu_select_pm(t, true);
    }
    const struct fs_service_path *late = &v->paths[path];
    int g = v->links[v->path_links[late->first_link + search_random(&t->search->random, late->n_links)]].to;
    return v->nodes[g].kind == FS_SERVICE_PM ? g : -1;
}

/* What exchanging modules A and B would add to the overload of their servers' cores and memory. */
static double
exchange_adds(const struct state *s, int a, int b)
{
    const struct fs_service_node *m = &s->services->nodes[a], *o = &s->services->nodes[b];
    struct excess e = { 0 };

    for (int i = 0; i < 2; i++) {
        int server = s->platform->nodes[s->at[i ? b : a]].server;
        const struct fs_server *limits = &s->platform->servers[server];
        const struct fs_server_load *use = &s->servers[server];
        fs_amount cpu = i ? m->cpu - o->cpu : o->cpu - m->cpu, mem = i ? m->mem - o->mem : o->mem - m->mem;
        e.cpu += over_limit(use->cpu + cpu, limits->cpu) - over_limit(use->cpu, limits->cpu);
        e.mem += over_limit(use->mem + mem, limits->mem) - over_limit(use->mem, limits->mem);
    }
    return state_cost(s, &e);
}

/* Exchanges a suspect for the best module on another server: all on small platforms, else those of its rack.  Not in algorithm 1. */
bool
tabu_step_for_exchange(struct tabu *t)
{
    struct state *s = t->s;
    int node = suspect(t);
    const struct fs_platform *p = s->platform;
    struct choice best = { -1, -1, 1e300, 0 };
    struct excess rest = s->excess;

    if (node < 0) {
        return false;
    }
    int home = s->at[node], rack = p->servers[p->nodes[home].server].rack;
    int first = p->n_servers <= FEW_SERVERS ? 0 : p->rack_start[rack], end = p->n_servers <= FEW_SERVERS ? p->n_servers : p->rack_start[rack + 1];
    rest.bandwidth = rest.delay = rest.unrouted = 0;    /* as if everything but cores and memory could be mended */
    double floor = state_cost(s, &rest);
    for (int i = first; i < end; i++) {
        int server = p->rack_servers[i], where = p->servers[server].node;
        for (int o = where == home ? -1 : s->first_on[server], next; o >= 0; o = next) {
            next = s->next_on[o];
            bool tabu = t->free_at[o] > t->search->steps || t->free_at[node] > t->search->steps;
            if (floor + exchange_adds(s, node, o) > (tabu ? t->best : best.v)) {
                continue;
            }
            struct excess e = s->excess;
            state_move(s, &e, node, where);
            state_move(s, &e, o, home);
            double v = state_cost(s, &e);
            state_move(s, &e, o, where);
            state_move(s, &e, node, home);
            if (v < best.v - 1e-9 && (!tabu || v < t->best - 1e-9)) {
                best = (struct choice) { o, server, v, 1 };
            }
        }
    }
    if (best.node >= 0) {
        tabu_take(t, node, best.server);
        tabu_take_node(t, best.node, home);
    }
    return best.node >= 0;
}

/* Moves some modules that have a part in what is wrong to anywhere in their racks, since nothing better was found for long. */
void
tabu_kick(struct tabu *t)
{
    const struct fs_platform *p = t->s->platform;

    for (int i = 0; i < 4; i++) {
        int node = suspect(t);
        if (node >= 0) {
            int rack = p->servers[p->nodes[t->s->at[node]].server].rack, n = p->rack_start[rack + 1] - p->rack_start[rack];
            bool anywhere = p->n_servers <= FEW_SERVERS;
            int place = anywhere ? search_random(&t->search->random, p->n_servers)
                        : p->rack_start[rack] + search_random(&t->search->random, n);
            tabu_take(t, node, p->rack_servers[place]);
        }
    }
}


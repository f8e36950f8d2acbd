/* Objectives: their functions, and the search that makes one less.
 *
 * The state keeps the value of its objective beside the excess, so a move says at once whether it is worth while.  The search tries moves of modules,
 * nearest places first, and of sinks, and takes what breaks no limit more than before and makes the objective less. */
#include <config.h>

#include "alloc/objectives.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "alloc/memory.h"
#include "alloc/search.h"

#define ROUNDS 8          /* times that all service nodes are tried, unless a step limit says otherwise */
#define ELSEWHERE 8       /* servers outside the racks of a module's neighbours that are tried */

/* ---- What objectives are the sum of. ---- */

/* The eighth power, of which the largest is nearly all. */
static double
fullness_of_arc(fs_amount used, const struct fs_arc *arc)
{
    double share = (double) used / (double) (arc->bandwidth ? arc->bandwidth : 1), square = share * share;

    return square * square * square * square;
}

static double
share_of(const struct fs_server_load *load, const struct fs_server *server)
{
    double cpu = (double) load->cpu / (double) (server->cpu ? server->cpu : 1);
    double mem = (double) load->mem / (double) (server->mem ? server->mem : 1);

    return cpu > mem ? cpu : mem;
}

/* A server that is on counts at least half, and a little used one more than its share: so it pays to empty it. */
static double
servers_on(const struct fs_server_load *load, const struct fs_server *server)
{
    return load->modules ? 0.5 + 0.5 * sqrt(share_of(load, server)) : 0;
}

static double
square_of_load(const struct fs_server_load *load, const struct fs_server *server)
{
    double share = share_of(load, server);

    return share * share;
}

static const struct objective objectives[] = {
#define OBJECTIVE(NAME, HELP, OF_ARC, OF_SERVER, OF_DELAY) { #NAME, HELP, OF_ARC, OF_SERVER, OF_DELAY },
#include "alloc/objectives.def"
#undef OBJECTIVE
};

static const struct fs_objective names[] = {
#define OBJECTIVE(NAME, HELP, OF_ARC, OF_SERVER, OF_DELAY) { #NAME, HELP },
#include "alloc/objectives.def"
#undef OBJECTIVE
    { NULL, NULL },
};

const struct fs_objective *
fs_objectives(void)
{
    return names;
}

const struct objective *
objective_find(const char *name)
{
    for (size_t i = 0; i < sizeof objectives / sizeof *objectives; i++) {
        if (!name || !strcmp(name, objectives[i].name)) {
            return &objectives[i];
        }
    }
    return NULL;
}

double
objective_whole(const struct state *s, const struct objective *o)
{
    double sum = 0;

    for (int a = 0; o->of_arc && a < s->platform->n_arcs; a++) {
        sum += o->of_arc(s->used[a], &s->platform->arcs[a]);
    }
    for (int i = 0; o->of_server && i < s->platform->n_servers; i++) {
        sum += o->of_server(&s->servers[i], &s->platform->servers[i]);
    }
    for (int l = 0; o->of_delay != 0 && l < s->services->n_links; l++) {
        sum += o->of_delay * (double) s->link_delay[l] / (double) FS_UNIT;
    }
    return sum;
}

/* ---- The search. ---- */

struct better {
    int where;
    double change;
};

/* Compares BETTER with NODE at WHERE. */
static void
compare(struct search *search, struct better *better, int node, int where)
{
    struct state *s = search->state;
    struct excess e = s->excess;
    int home = s->at[node];

    if (where == home) {
        return;
    }
    state_move(s, &e, node, where);
    double change = e.objective - s->excess.objective;
    bool good = state_cost(s, &e) <= state_cost(s, &s->excess) + 1e-9 && change < better->change;
    state_move(s, &e, node, home);
    if (good) {
        *better = (struct better) { where, change };
    }
}

static void
compare_rack(struct search *search, struct better *better, int node, int near)
{
    const struct fs_platform *p = search->state->platform;
    int server = near < 0 ? -1 : p->nodes[near].server;

    if (server >= 0) {
        int rack = p->servers[server].rack;
        for (int i = p->rack_start[rack]; i < p->rack_start[rack + 1]; i++) {
            compare(search, better, node, p->servers[p->rack_servers[i]].node);
        }
    }
}

/* Moves NODE to where it is best; returns whether that was another place. */
static bool
improve_node(struct search *search, int node)
{
    struct state *s = search->state;
    const struct fs_service_node *g = &s->services->nodes[node];
    struct better better = { -1, -1e-9 };

    if (g->kind != FS_SERVICE_PM) {
        for (int i = 0; i < g->n_io; i++) {
            compare(search, &better, node, s->services->ios[g->first_io + i]);
        }
    } else {
        compare_rack(search, &better, node, s->at[node]);
        for (int i = 0; i < g->n_incident; i++) {
            const struct fs_service_link *l = &s->services->links[s->services->incident[g->first_incident + i]];
            int near = s->at[l->from == node ? l->to : l->from];
            if (s->ends[near].anchor != s->ends[s->at[node]].anchor) {
                compare_rack(search, &better, node, near);
            }
        }
        for (int i = 0; i < ELSEWHERE; i++) {
            compare(search, &better, node, s->platform->servers[search_random(&search->random, s->platform->n_servers)].node);
        }
    }
    if (better.where >= 0) {
        state_move(s, &s->excess, node, better.where);
    }
    return better.where >= 0;
}

void
improve_objective(struct search *search)
{
    const struct fs_services *v = search->state->services;
    const struct objective *o = search->state->objective;
    int moved = 1;

    if (!o->of_arc && !o->of_server && o->of_delay == 0) {
        return;
    }
    for (int round = 0; moved && (round < ROUNDS || search->options->steps) && !search_over(search); round++) {
        moved = 0;
        for (int n = 0; n < v->n_nodes && !search_over(search); n++) {
            if (v->nodes[n].kind == FS_SERVICE_PM || v->nodes[n].n_io > 1) {
                search->steps++;
                moved += improve_node(search, n);
            }
        }
        search_progress(search, &search->state->excess, true);
    }
}

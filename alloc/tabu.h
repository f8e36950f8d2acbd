/* The state of a tabu search, for its moves in tabu.c and tabu_moves.c. */
#ifndef ALLOC_TABU_H
#define ALLOC_TABU_H

#include "alloc/search.h"

#define FEW_SERVERS 64       /* modules are exchanged across a platform with no more, else within racks */

/* Numbers from 0 to some limit, of which some are in the set; in and out cost a few accesses. */
struct set {
    int *members, *place;    /* place[i] is where i is in members, or -1 */
    int n;
};

struct tabu {
    struct search *search;
    struct state *s;
    struct set hot;          /* servers with more than they or their links can carry */
    struct set late;         /* paths over their bound */
    uint64_t *free_at;       /* by service node: the step at which it is not tabu any more */
    int *best_at;            /* s*: by service node */
    int *changed;            /* the nodes moved since s* was noted, so that s* is noted by these alone */
    bool *is_changed;
    int n_changed;
    struct excess best_excess;
    double best;             /* v(s*) */
    struct saved_ways *best_ways; /* those of s* */
    bool rerouted;           /* since s* was noted */
};

struct choice {
    int node, server;
    double v;                /* v(s[node, server]) */
    int ties;
};

/* s <- s[g_i, j], for modules (SERVER) and any service node (WHERE, a platform node). */
void tabu_take(struct tabu *tabu, int node, int server);
void tabu_take_node(struct tabu *tabu, int node, int where);
/* Another way was chosen, which may have changed the delay of any path. */
void tabu_note_paths(struct tabu *tabu);
/* The selections of algorithm 1: lines 4 and 10, 5 and 11, 15. */
int tabu_select_pm(struct tabu *tabu, bool not_tabu);
void tabu_select_server(struct tabu *tabu, struct choice *choice, int node);
int tabu_select_path(struct tabu *tabu);

/* Moves that algorithm 1 does not know; each returns whether it was made.  Who goes over a full link, or is where; an exchange of modules; and
 * a few moves at random. */
bool tabu_step_for_fabric(struct tabu *tabu);
bool tabu_step_for_exchange(struct tabu *tabu);
void tabu_kick(struct tabu *tabu);

#endif

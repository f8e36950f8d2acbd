/* What a search changes: where everything is, what is used, and what exceeds its limit, kept up to date with each move.
 *
 * A server or I/O node with a single link, which leads to a switch, hangs on that switch: its anchor.  Traffic between two ends
 * takes the link of the one, a way between their anchors, and the link of the other.  The ways between anchors are few
 * (racks and I/O nodes, not servers), each is looked for once, and all traffic between the two anchors shares it: this is the path
 * function of the model, and what makes the cost of a move a few memory accesses.
 *
 * Moves inside one rack touch nothing outside the rack but read the ways, so threads may work in different racks at once
 * if each passes an excess of its own. */
#ifndef ALLOC_STATE_H
#define ALLOC_STATE_H

#include "flowstream/alloc.h"

#include "alloc/objectives.h"
#include "alloc/routes.h"

/* What exceeds each limit, summed up; and how many links have no way. */
struct excess {
    fs_amount cpu, mem, bandwidth, delay;
    int64_t unrouted;
    double objective;            /* no excess: what else is to be made least */
};

struct end {
    int anchor;                  /* a switch, or the node itself */
    int up, down;                /* the arcs to and from the anchor, -1 when it is the node itself */
    fs_amount up_delay, down_delay;
};

struct way {
    int from, to;                /* anchors */
    int n;                       /* arcs; -1: there is no way */
    int *arcs;
    fs_amount delay, flow;       /* flow: the bandwidth of all links that go it */
};

struct state {
    const struct fs_platform *platform;
    const struct fs_services *services;
    struct end *ends;                /* by platform node */
    int *at;                         /* by service node: the platform node, or -1 */
    struct fs_server_load *servers;
    fs_amount *used;                 /* by arc */
    fs_amount *link_delay;           /* by service link; 0 while an end is nowhere */
    int *link_way;                   /* by service link: into ways, -1 when it needs none */
    fs_amount *path_delay;           /* by path */
    int *link_paths_start, *link_paths; /* the paths over service link L: from link_paths_start[L] on */
    int *first_on, *next_on, *before_on; /* modules of each server: the first; by service node: the next, the one before */
    struct way *ways;
    int n_ways, ways_room;
    int *way_table;                  /* a hash table of indexes into ways, -1 free */
    size_t way_mask;
    struct routes *routes;
    struct bounds *bounds;
    const struct objective *objective;
    struct excess excess;
    double cpu_weight, mem_weight, bandwidth_weight, delay_weight, unrouted_weight; /* of a millionth */
};

struct state *state_create(const struct fs_platform *platform, const struct fs_services *services);
void state_destroy(struct state *state);

/* Copies where each service node is to AT. */
void state_copy_places(const struct state *state, int *at);

/* Moves service node NODE to platform node WHERE; -1 takes it away.  EXCESS is changed by what that changes.  A local move leaves the
 * ways as they are: the node must have been placed with state_move() in the same rack before, and after it was taken away for a while
 * it must get back there. */
void state_move(struct state *state, struct excess *excess, int node, int where);
void state_move_local(struct state *state, struct excess *excess, int node, int where);

/* One figure for an excess, in which a full server's cores weigh as much as its memory. */
double state_cost(const struct state *state, const struct excess *excess);

/* What state_cost() would be after moving NODE to WHERE.  Changes nothing. */
double state_try(struct state *state, int node, int where);

/* Looks for a better way between the anchors of way WAY, with all its traffic.  Returns whether it is another one. */
bool state_reroute(struct state *state, int way);

/* The arcs of all ways, to be put back later; for the caller to free with state_free_ways().  Ways that were found since then stay. */
struct saved_ways *state_save_ways(const struct state *state);
void state_restore_ways(struct state *state, const struct saved_ways *saved);
void state_free_ways(struct saved_ways *saved);

/* The excess counted anew from the places and ways alone. */
void state_recount(const struct state *state, struct excess *excess);

/* The solution that the state stands for, for the caller to destroy. */
struct fs_solution *state_solution(const struct state *state);

static inline fs_amount
over_limit(fs_amount used, fs_amount limit)
{
    return used > limit ? used - limit : 0;
}

#endif

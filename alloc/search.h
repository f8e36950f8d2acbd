/* What the searches share: their limits, a source of random numbers, and where they tell how far they are. */
#ifndef ALLOC_SEARCH_H
#define ALLOC_SEARCH_H

#include "flowstream/alloc.h"

#include "alloc/state.h"

struct search {
    struct state *state;
    const struct fs_search_options *options;
    double begin, deadline;      /* of the monotonic clock, in seconds; the deadline may be infinite */
    uint64_t steps, steps_max;   /* moves made so far, and how many may be */
    uint64_t random;
    uint64_t patience;           /* steps of tabu search without a better solution after which it ends */
    bool exchanges;              /* tabu search may exchange modules, which algorithm 1 does not */
    bool consolidate;            /* on few servers, however many there are */
    bool overloaded;             /* proven: the servers cannot hold all modules */
    double told;                 /* when progress was told, in seconds since the beginning */
    bool exact;                  /* the optimum is known: */
    double optimum;
    struct route **routes;       /* by service link, instead of the state's ways; NULL: those */
    double target;               /* a cost that is proven to be the least: nobody needs to look further */
};

double search_now(void);
bool search_over(const struct search *search);
/* xorshift64*: a number less than N. */
int search_random(uint64_t *random, int n);
uint64_t search_seed(uint64_t seed, uint64_t stream);
/* Tells the caller about the best so far, at most every few milliseconds unless FORCE. */
void search_progress(struct search *search, const struct excess *best, bool force);

/* Puts sources where they must be, and sinks where there is most room. */
void pack_ports(struct search *search);
/* Gives each service a rack and packs the racks. */
void pack_racks(struct search *search);
/* Places modules that are nowhere, each where it costs least. */
void pack_rest(struct search *search);
/* Tabu search, algorithm 1 of D3.2, from the state's places on; leaves the best places found in the state. */
void tabu_search(struct search *search);
/* Lets ways that lead over full links look for others. */
void reroute_full(struct search *search);
/* Improves an objective by moves that break no limit more. */
void improve_objective(struct search *search);

#endif

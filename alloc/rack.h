/* The parts of the packer: a rack and its services, the work on it, and what the packer knows of all racks. */
#ifndef ALLOC_RACK_H
#define ALLOC_RACK_H

#include <stdatomic.h>

#include "alloc/search.h"

#define MEND_STEPS 3000      /* moves to mend a rack, */
#define MEND_HOPELESS 20     /* and where servers are proven to be too few */

struct rack {
    int index;
    int *services, n, room;
    int *modules, n_modules;     /* of all its services, largest first */
    int n_servers;
    const int *servers;
    double load;                 /* the share of its dominant resource that is dealt out */
    fs_amount cpu, mem, cpu_dealt, mem_dealt;
};

struct packing {
    struct search *search;
    struct state *state;
    struct rack *racks;
    double *share;               /* by service node: the larger of its shares of a mean server */
    double cpu_mean, mem_mean;
    bool apart;                  /* racks may be packed at the same time */
    int n_shapes, *shape_services; /* the services whose divisions others share */
    struct divisions **divisions; /* by service: ways to divide it that are no later than need be; many services share one */
    uint64_t *free_at;           /* by service node: the step of mending at which it may move again */
    atomic_int next;
    struct excess *excess;       /* by rack: what packing it changed */
};

/* The work on one rack. */
struct job {
    struct packing *packing;
    struct state *state;
    struct rack *rack;
    struct excess excess;        /* of this rack alone */
    uint64_t random;
    uint64_t steps;              /* for mending */
    int trials;
};

/* Something to be sorted: the largest key first; equal ones by number. */
struct ranked {
    int index;
    double key;
};
int rack_compare_ranked(const void *a, const void *b);

/* The rack's services: one more, one less; and how full it would be with V. */
void rack_enlist(struct rack *rack, const struct fs_services *services, int service);
void rack_forget(struct rack *rack, const struct fs_services *services, int service);
double rack_load_with(const struct rack *rack, const struct fs_service *v);
/* Lists the modules of the rack's services, largest first. */
void rack_list_modules(const struct packing *packing, struct rack *rack);

/* A job on RACK as it is now; and entering what a job changed since BEFORE in the account of the whole. */
struct job rack_start(struct packing *packing, struct rack *rack);
void rack_settle(struct job *job, const struct excess *before);
struct excess rack_difference(struct excess a, const struct excess *b);
double rack_cost(const struct job *job);

/* Moves a module to a place of the rack, -1 to take it away for a while. */
void rack_shift(struct job *job, int node, int where);
int rack_node(const struct job *job, int i);
bool rack_has_room(const struct state *state, int node, int server);
void rack_clear(struct job *job);
/* The places of the rack's modules, for the caller to free; and putting them back. */
int *rack_save(const struct job *job);
void rack_restore(struct job *job, const int *at);

/* rack_build.c */
void rack_build_by_module(struct job *job);
void rack_build_by_service(struct job *job);
void rack_build_by_server(struct job *job);
/* Places SERVICE, which is nowhere, within its bounds as far as these can be met; false if that breaks a limit. */
bool rack_try_service(struct job *job, int service);
/* Places the modules of SERVICE that are nowhere, each where it fits best. */
void rack_place_apart(struct job *job, const struct fs_service *service);

/* rack_mend.c */
void rack_mend(struct job *job);
/* The cost that no packing of the rack can go below. */
double rack_least_cost(const struct job *job);

/* relieve.c */
void relieve_racks(struct packing *packing);

#endif

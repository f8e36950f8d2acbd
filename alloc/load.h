/* The account of what is taken, for the parts of the allocator that change it node by node. */
#ifndef ALLOC_LOAD_H
#define ALLOC_LOAD_H

#include "flowstream/alloc.h"

#include "alloc/solution.h"

/* What exceeds its limit, summed up over the platform. */
struct load_excess {
    fs_amount cpu, mem, bandwidth;
    int unrouted; /* links between places that no route joins */
};

struct fs_load {
    const struct fs_platform *platform;
    enum fs_paths paths;
    struct routes *routes;
    struct load_excess excess;
    struct fs_server_load *servers;
    fs_amount *used;          /* by arc */
    fs_amount *rack_cpu;      /* by rack: what is free, less than 0 when overloaded; likewise below */
    fs_amount *rack_mem;
    struct load_pair *pairs;  /* FS_PATHS_PAIR: the ways in use, a hash table with open addressing */
    size_t pairs_mask, n_pairs;
};

/* Put service node NODE at platform node WHERE, choosing ways for its links to nodes that are placed; and take it away. */
void load_place(struct fs_load *load, struct fs_solution *solution, int node, int where);
void load_unplace(struct fs_load *load, struct fs_solution *solution, int node);

#endif

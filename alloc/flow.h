/* How much traffic a platform can carry between its I/O nodes and its servers, all services together. */
#ifndef ALLOC_FLOW_H
#define ALLOC_FLOW_H

#include "flowstream/alloc.h"

/* The links that part I/O nodes from servers, and what must cross them. */
struct flow_cut {
    fs_amount demand;        /* that enters (or leaves) the platform */
    fs_amount carried;       /* the most of it that all links can carry at once: demand - carried is too much */
    fs_amount parted;        /* the demand of I/O nodes behind the cut, */
    fs_amount capacity;      /* and what the links of the cut carry */
    int n_arcs, *arcs;       /* the links of the cut, for the caller to free */
};

/* The traffic from I/O node N to servers is DEMAND[N] (with OUT false), or that from servers to it; and ANYWHERE more uses I/O nodes of its
 * choice. */
void flow_find_cut(const struct fs_platform *platform, const fs_amount *demand, fs_amount anywhere, bool out, struct flow_cut *cut);

#endif

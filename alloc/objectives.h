/* The objectives of objectives.def, for the state that keeps their value and for the search that makes it less. */
#ifndef ALLOC_OBJECTIVES_H
#define ALLOC_OBJECTIVES_H

#include "flowstream/alloc.h"

struct state;

struct objective {
    const char *name, *help;
    double (*of_arc)(fs_amount used, const struct fs_arc *arc);
    double (*of_server)(const struct fs_server_load *load, const struct fs_server *server);
    double of_delay;            /* a unit of a service link's delay */
};

/* The row called NAME, the first for NULL; NULL when there is none. */
const struct objective *objective_find(const char *name);

/* The whole objective, from the state's figures. */
double objective_whole(const struct state *state, const struct objective *objective);

#endif

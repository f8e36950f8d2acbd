/* What a solution is made of, for the rest of the allocator. */
#ifndef ALLOC_SOLUTION_H
#define ALLOC_SOLUTION_H

#include "flowstream/alloc.h"

#include "alloc/routes.h"

struct fs_solution {
    const struct fs_platform *platform;
    const struct fs_services *services;
    int *at;              /* by service node: the platform node, or -1 */
    struct route **route; /* by service link: its way, or NULL */
};

/* The delay of a link, 0 as long as one of its ends is nowhere. */
fs_amount solution_link_delay(const struct fs_solution *solution, int link);
/* The delay of a path so far. */
fs_amount solution_path_delay(const struct fs_solution *solution, int path);
/* By how much the paths of SERVICE exceed their bounds, together. */
fs_amount solution_lateness(const struct fs_solution *solution, int service);

#endif

/* What no placement can go below, whatever else is placed: the delays to the nearest server, and what of a service's bounds must be
 * broken as long as no server is overloaded. */
#ifndef ALLOC_BOUNDS_H
#define ALLOC_BOUNDS_H

#include "alloc/state.h"

struct bounds {
    const struct fs_platform *platform;
    const struct fs_services *services;
    fs_amount *from_io, *to_io;  /* by node: from an I/O node to the nearest server, and back; BOUNDS_NEVER: no way */
    fs_amount inside, apart;     /* between modules on one server, and on two */
    fs_amount cpu, mem;          /* the most that a server has of each */
    fs_amount *lateness;         /* by service; -1: not known yet */
};

/* More than any delay that is worth adding up: there is no way. */
#define BOUNDS_NEVER (INT64_MAX / 4)

struct bounds *bounds_create(const struct fs_platform *platform, const struct fs_services *services);
void bounds_destroy(struct bounds *bounds);

/* The least delay of service link LINK, and of path PATH, whatever is where. */
fs_amount bounds_link(const struct bounds *bounds, int link);
fs_amount bounds_path(const struct bounds *bounds, int path);

/* By how much the paths of SERVICE must exceed their bounds together if every server keeps within its cores and memory: the least
 * over all ways to divide its modules among servers like the largest one.  Different services may be asked for by different
 * threads at once. */
fs_amount bounds_lateness(struct bounds *bounds, int service);
/* The same for a search, whose state knows its bounds. */
fs_amount bounds_least_lateness(const struct state *state, int service);

/* Ways to divide the modules of a service into parts, one server each, whatever the parts ask for. */
struct divisions {
    int n, n_nodes;
    int *n_parts;                /* by division, which are sorted by it */
    signed char *part;           /* of node I of the service in division D: part[D * n_nodes + I], -1 when it is no module */
};

/* The divisions of SERVICE, at most MAX, that are late by LATE at most with the least delays that there are; for the caller to free
 * with divisions_free(). */
struct divisions *bounds_divisions(const struct bounds *bounds, int service, fs_amount late, int max);
void divisions_free(struct divisions *divisions);

/* A number that services share (but for rare accidents) if they have the same divisions within LATE. */
uint64_t bounds_shape(const struct bounds *bounds, int service, fs_amount late);

/* Whether modules ask for more than all servers have. */
bool proof_overloaded(const struct fs_platform *platform, const struct fs_services *services);

#endif

/* Finding ways through the switches of a platform. */
#ifndef ALLOC_ROUTES_H
#define ALLOC_ROUTES_H

#include "flowstream/platform.h"

/* A way from a server or I/O node to another.  Counted by its users; never changed. */
struct route {
    int users;
    int n;
    fs_amount delay;
    int arcs[];
};
struct route *route_create(const struct fs_platform *platform, const int *arcs, int n);
struct route *route_ref(struct route *route); /* NULL for NULL, likewise below */
void route_unref(struct route *route);

/* The workspace of the search, for one thread at a time. */
struct routes *routes_create(const struct fs_platform *platform);
void routes_destroy(struct routes *routes);

/* Finds the way from FROM to TO, nodes of any kind, for BANDWIDTH more than the USED bandwidth of each arc that adds least to what exceeds the
 * arcs' capacities, among such ways the one with the least delay, and among those one over arcs that are little used.
 * Returns NULL if there is no way, otherwise a route with one user. */
struct route *routes_find(struct routes *routes, const fs_amount *used, int from, int to, fs_amount bandwidth);

/* The least delay from FROM to TO whatever is used, or -1 if there is no way. */
fs_amount routes_delay(struct routes *routes, int from, int to);

#endif

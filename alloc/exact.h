/* Small instances as a mixed integer program, solved by GLPK. */
#ifndef ALLOC_EXACT_H
#define ALLOC_EXACT_H

#include "alloc/search.h"

/* The least cost (state_cost()) of any solution in which each service link may go its own way.  Puts the best places into AT (by service node)
 * and, when ROUTES is not NULL, the arcs of each service link into ROUTES[link] (for the caller to unref).  Returns 0, E2BIG when the instance
 * has too many variables, ETIME when SECONDS were over before the best was known; then an explanation in *ERROR. */
int exact_solve(const struct state *state, double seconds, int *at, struct route **routes, double *cost, char **error);

/* The optimum of the linear relaxation: no solution costs less.  Returns 0, or E2BIG or ETIME, without an explanation.  *BINDING, for the caller
 * to free, names the limits that the optimum hangs on. */
int exact_relax(const struct state *state, double seconds, double *cost, char **binding);

#endif

/* Counters of the modules of this host as values. */
#ifndef DAEMONS_MODULEHOST_COUNTERS_H
#define DAEMONS_MODULEHOST_COUNTERS_H 1

#include "daemons/modulehost/modulehost.h"

/* Modules of allocation 'owner' (below 0: all), a new array; NULL with *error. */
FS_API xmlrpc_value *modulehost_counters(struct modulehost *, int owner, char **error);

#endif

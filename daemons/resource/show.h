/* Allocations as they are shown to users. */
#ifndef DAEMONS_RESOURCE_SHOW_H
#define DAEMONS_RESOURCE_SHOW_H 1

#include <flowstream/method.h>

#include "daemons/resource/resource.h"

/* Counters (an array of modules), made ready to be looked up; they must outlive it.  The caller frees it with free(). */
struct resource_counts;
FS_API struct resource_counts *resource_sort_counters(const xmlrpc_value *counters);
/* What list_allocations and get_allocation answer about an allocation ('doc' as resource_allocation() gives it): id, name, owner, state, message, created, modules with
 * their counters, paths. */
FS_API xmlrpc_value *resource_show(const xmlrpc_value *doc, const struct resource_counts *counters);
/* The same value, with state "degraded" and why, where what is there of an installed allocation is not what is wanted. */
FS_API xmlrpc_value *resource_show_health(struct resource *, xmlrpc_value *shown);
/* Counters of the modules of one allocation (id) or of all (id < 0) from the monitoring daemon: {modules, problems}; 'fresh': read now.  Where it does not answer, an
 * empty list and the reason among the problems. */
FS_API xmlrpc_value *resource_counters(struct fs_call *, int id, const xmlrpc_value *doc, bool fresh);

/* The meters of an allocation with what they have counted, asked now: [{switch, from, meter, kbps, burst, packets, bytes, rate_drops, rate_drop_bytes}].  What could not be asked
 * is appended to 'problems'. */
FS_API xmlrpc_value *resource_show_meters(struct fs_call *, int id, const xmlrpc_value *doc, xmlrpc_value *problems);

#endif

/* Allocations as they are shown to users. */
#ifndef DAEMONS_RESOURCE_SHOW_H
#define DAEMONS_RESOURCE_SHOW_H 1

#include <flowstream/method.h>

/* Counters (an array of modules), made ready to be looked up; they must outlive it.  The caller frees it with free(). */
struct resource_counts;
FS_API struct resource_counts *resource_sort_counters(const xmlrpc_value *counters);
/* What list_allocations and get_allocation answer about an allocation ('doc' as resource_allocation() gives it): id, name, owner, state, message, created, modules with
 * their counters, paths. */
FS_API xmlrpc_value *resource_show(const xmlrpc_value *doc, const struct resource_counts *counters);
/* Counters of the modules of one allocation (id) or of all (id < 0) from the monitoring daemon: {modules, problems}; 'fresh': read now.  Where it does not answer, an
 * empty list and the reason among the problems. */
FS_API xmlrpc_value *resource_counters(struct fs_call *, int id, const xmlrpc_value *doc, bool fresh);

#endif

/* The same tasks on several module hosts at the same time. */
#ifndef DAEMONS_RESOURCE_HOSTWORK_H
#define DAEMONS_RESOURCE_HOSTWORK_H 1

#include <flowstream/method.h>

/* Runs task 'task' for each of 'modules' (of a plan) on the module's host: on each host one compound task, all hosts at the same time.  NULL, or what failed, a host a
 * clause (owned). */
FS_API char *resource_on_hosts(struct fs_call *, const char *task, const xmlrpc_value *modules);

/* Of the modules of a plan, those that existed before it, or the others (owned). */
FS_API xmlrpc_value *resource_pick(const xmlrpc_value *modules, bool existing);

#endif

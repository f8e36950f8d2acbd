/* Shutting a process of modules in: the steps that the runner takes before any code of the type runs, in the order of their call. */
#ifndef PM_ISOLATE_H
#define PM_ISOLATE_H 1

#include <stdbool.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "pm/private.h"

#define PM_INSIDE_ID 1000         /* user and group that the module sees itself as */
#define PM_OUTSIDE_ID_BASE 200000 /* outside it is this and its process number, which no other living process has */

/* Fork into as many new namespaces as this system allows.  Like fork(); *flags gets the CLONE_NEW... that were granted, *refused an errno
 * where not all were. */
pid_t pm_isolate_fork(int *flags, int *refused);

/* In the parent: give the child its user outside.  *outside gets it.  0 or errno. */
int pm_isolate_map_user(pid_t child, int flags, uid_t *outside);

/* In the child, once mapped: become that user.  Without a user namespace *outside is taken directly, or becomes our own where that
 * user does not exist.  0 or errno. */
int pm_isolate_become(int flags, uid_t *outside);

/* In the child: an empty read-only root whose only files are copies of the objects 'type_fds', called pm_isolate_name(0) and so on. 0 or errno. */
int pm_isolate_root(const int *type_fds, size_t n);
#define PM_TYPE_NAME_ROOM 24
/* The absolute path of type 'i' once the root is empty: "/type.so", "/type1.so", ...; returns 'name'. */
char *pm_isolate_name(char name[PM_TYPE_NAME_ROOM], size_t i);

/* Bytes of address space in use now. */
rlim_t pm_isolate_address_space(void);

/* In the child: no capability, no new privilege, not dumpable, resource limits ('address_space' in bytes; 0: no limit). */
int pm_isolate_drop(rlim_t address_space);

/* In the child: allow only the system calls that loading a type needs, and after it (loaded = true) only those of handling packets.
 * Anything else ends the process.  0 or errno. */
int pm_isolate_filter(bool loaded);

#endif

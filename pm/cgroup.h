/* Limits of a process of modules by control groups, version 1: /sys/fs/cgroup/{cpu,memory,pids}/flowstream/HOST/NAME. */
#ifndef PM_CGROUP_H
#define PM_CGROUP_H 1

#include <stdbool.h>
#include <sys/types.h>

#include "pm/private.h"

/* Put the calling process, which has one thread, and so all that it forks in groups of their own with the limits of the process's modules.  What works
 * stays; *memory says whether the memory limit holds (or none was asked for).  Returns the sentence for fs_module_info.limits, malloc()ed. */
char *pm_cgroup_join(const char *host, const struct fs_process_spec *, bool *memory);

/* Remove the groups of a process that has ended; it may take the kernel a moment, until 'end'.  Whoever is in them still is killed.  0 or errno; absent is 0. */
int pm_cgroup_remove(const char *host, const char *name, int64_t end);

/* Remove what is empty above the modules' groups. */
void pm_cgroup_remove_host(const char *host);

#endif

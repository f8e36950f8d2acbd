/* The library's parts: host.c starts and stops processes of modules, host_list.c lists and asks them; hostmux.c does so with the multiplexer and connects modules to it. */
#ifndef PM_HOST_H
#define PM_HOST_H 1

#include <dirent.h>

#include "pm/private.h"

/* "env->dir/MIDDLE/NAME", malloc()ed; NULL: no memory. */
char *host_path(const struct fs_host_env *, const char *middle, const char *name);

/* Modules as their processes' folders tell them. */
struct host_list {
    struct fs_module_info *modules; /* free with fs_module_list_free() */
    size_t n;
};
/* Is the entry of the folder "modules" a process?  Links are modules of another one. */
bool host_is_process(DIR *, const struct dirent *);
/* Add the modules of a process. */
int host_list_process(const struct fs_host_env *, const char *process, struct host_list *);

/* Ask the multiplexer; *reply is malloc()ed, without its sign. 0 or errno with *error. */
int hostmux_ask(const struct fs_host_env *, const char *request, const int *fds, size_t n_fds, char **reply, int64_t end,
                char **error);

/* Fetch a process's rings and hand them to the multiplexer, replacing what it had of this name. */
int hostmux_connect(const struct fs_host_env *, const char *name, int64_t end, char **error);

#endif

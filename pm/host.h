/* The library's parts: host.c starts and stops processes of modules, host_list.c lists and asks them; hostmux.c does so with the multiplexer and connects modules to it. */
#ifndef PM_HOST_H
#define PM_HOST_H 1

#include "pm/private.h"

/* "env->dir/MIDDLE/NAME", malloc()ed; NULL: no memory. */
char *host_path(const struct fs_host_env *, const char *middle, const char *name);

/* Ask the multiplexer; *reply is malloc()ed, without its sign. 0 or errno with *error. */
int hostmux_ask(const struct fs_host_env *, const char *request, const int *fds, size_t n_fds, char **reply, int64_t end,
                char **error);

/* Fetch a process's rings and hand them to the multiplexer, replacing what it had of this name. */
int hostmux_connect(const struct fs_host_env *, const char *name, int64_t end, char **error);

#endif

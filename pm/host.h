/* The library's halves: host.c starts, lists and stops modules; hostmux.c does so with the multiplexer and connects modules to it. */
#ifndef PM_HOST_H
#define PM_HOST_H 1

#include "pm/private.h"

/* "env->dir/MIDDLE/NAME", malloc()ed; NULL: no memory. */
char *host_path(const struct fs_host_env *, const char *middle, const char *name);

/* What the folder of a module says of it; the caller frees the members with host_free_info(), also after an error. */
int host_describe(const struct fs_host_env *, const char *name, struct fs_module_info *);
void host_free_info(struct fs_module_info *);

/* Ask the multiplexer; *reply is malloc()ed, without its sign. 0 or errno with *error. */
int hostmux_ask(const struct fs_host_env *, const char *request, const int *fds, size_t n_fds, char **reply, int64_t end,
                char **error);

/* Fetch a module's rings and hand them to the multiplexer, replacing what it had of this name. */
int hostmux_connect(const struct fs_host_env *, const char *name, int64_t end, char **error);

#endif

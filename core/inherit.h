/* Listening sockets that a supervisor holds and hands on, as systemd does: LISTEN_FDS descriptors from 3 on, in the order of the <listen> elements.
 *
 * So callers wait while a daemon is started again, and none is refused. */
#ifndef CORE_INHERIT_H
#define CORE_INHERIT_H 1

#include <stddef.h>

#include <flowstream/api.h>

/* Once, before anything else is opened or started: what was handed on does not go to our children. */
FS_API void fs_inherit_begin(void);
/* The socket that was handed on for the listen element of that number ("HOST:PORT" or "unix:/PATH"): a descriptor, -1 when none was, or -2 with *error (owned)
 * when it is another kind of socket or another address. */
FS_API int fs_inherit_socket(size_t number, const char *where, char **error);

#endif

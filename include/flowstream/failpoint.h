/* Failpoints: named places in the code at which a test can make something go wrong.  Only builds made with --enable-failpoints have them
 * (those that the tests use beside the ordinary one); in all others each is nothing.
 *
 *     FS_FAILPOINT("store.before_commit");               can delay, or kill the process (kill -9 at just this place)
 *     if (FS_FAILPOINT_ERROR("store.commit")) { ... }    can also say that the step failed
 *     const char *why = FS_FAILPOINT_WHY("install.planned");  the same, with words for the message: NULL, or that it failed
 *     n = FS_FAILPOINT_SHORT("file.write", n);           can also say that only half was written
 *
 * Names are AREA.WHAT, literal and used once: tests/lib/failpoints.py reads the list from the sources.  Armed by the environment,
 * FLOWSTREAM_FAILPOINTS="NAME=ACTION;NAME=ACTION", for one start by a file 'failpoints' of the same form in the folder that a daemon starts in (it is removed when it is
 * read), or in a running daemon by its command set_failpoint.  ACTION: error, kill, short, delay:MILLISECONDS,
 * off; "@N" behind it: at the Nth time (default: the first).  Each fires once.  Thread-safe. */
#ifndef FLOWSTREAM_FAILPOINT_H
#define FLOWSTREAM_FAILPOINT_H 1

#include <stdbool.h>
#include <stddef.h>

#include <flowstream/api.h>

#ifdef FS_FAILPOINTS

/* True when the point is armed with "error" (or "short"), and its time has come.  Weak: libraries that are linked without the core have points, too, which
 * work in the processes that have it. */
FS_API bool fs_failpoint(const char *name) __attribute__((weak));
/* Arms a point; NULL, or what is wrong with the action (owned). */
FS_API char *fs_failpoint_set(const char *name, const char *action);
/* How often a point was passed since this process started. */
FS_API unsigned fs_failpoint_hits(const char *name);

#define FS_FAILPOINT(NAME) ((void) (fs_failpoint && fs_failpoint(NAME)))
#define FS_FAILPOINT_ERROR(NAME) (fs_failpoint && fs_failpoint(NAME))
#define FS_FAILPOINT_WHY(NAME) (FS_FAILPOINT_ERROR(NAME) ? "failpoint " NAME : NULL)
#define FS_FAILPOINT_SHORT(NAME, N) (fs_failpoint && fs_failpoint(NAME) ? (N) / 2 : (N))

#else

#define FS_FAILPOINT(NAME) ((void) 0)
#define FS_FAILPOINT_ERROR(NAME) false
#define FS_FAILPOINT_WHY(NAME) ((const char *) NULL)
#define FS_FAILPOINT_SHORT(NAME, N) (N)

#endif
#endif

/* Processes that outlive us: started apart, known again by a file, and never mistaken for another that got their number. */
#ifndef PM_PROCESS_H
#define PM_PROCESS_H 1

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "pm/private.h"

#define PM_REPORT_FD 3 /* a started program reports here: "+text" once it is ready, "-text" why it is not */

/* Start 'argv' in a session of its own: standard input /dev/null, output and errors to the file 'log', descriptor
 * PM_REPORT_FD a pipe and no other.  Wait until 'end' for the report, which *report gets without its sign (malloc()ed, never NULL
 * where 0 is returned).  0, or ECHILD with a report (or NULL: it ended without one), ETIMEDOUT, or another errno.  *pid is the
 * process started (0: none), which the caller reaps. */
int pm_spawn(char *const argv[], const char *log, pid_t *pid, char **report, int64_t end);

/* Write and read a pid file: the number and the start time, by which a number used again is told apart. */
int pm_pidfile_write(const char *path, pid_t);
/* A pidfd of the process that wrote the file, if it is alive (and no zombie): 0, or ESRCH. */
int pm_pidfile_open(const char *path, pid_t *pid, int *pidfd);

/* Wait until the process has ended: 0 or ETIMEDOUT. */
int pm_pidfd_wait(int pidfd, int64_t end);
int pm_pidfd_kill(int pidfd); /* SIGKILL; 0 or errno, ESRCH is 0 */

#endif

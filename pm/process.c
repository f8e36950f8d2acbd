/* Starting processes that shall outlive the daemon, and finding them again.  A process is found by its pid file, which holds the number and
 * the start time that /proc gives (field 22 of stat); signals go through a pidfd that was opened before that time was compared, so that a
 * number that is used again never gets a signal meant for ours. */
#include "config.h"

#include "pm/process.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

enum { REPORT_MAX = 8192 };

/* Descriptors: 0 from /dev/null, 1 and 2 to the log, 3 the report, nothing else. */
static int
describe_files(posix_spawn_file_actions_t *actions, const char *log, int report)
{
    int err = posix_spawn_file_actions_addopen(actions, 0, "/dev/null", O_RDONLY, 0);
    if (!err) {
        err = posix_spawn_file_actions_adddup2(actions, report, PM_REPORT_FD);
    }
    if (!err) {
        err = posix_spawn_file_actions_addopen(actions, 1, log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    }
    if (!err) {
        err = posix_spawn_file_actions_adddup2(actions, 1, 2);
    }
    if (!err) {
        err = posix_spawn_file_actions_addclosefrom_np(actions, PM_REPORT_FD + 1);
    }
    return err;
}

/* A session of its own, no signal blocked and none ignored. */
static int
describe_attributes(posix_spawnattr_t *attributes)
{
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    int err = posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    if (!err) {
        err = posix_spawnattr_setsigmask(attributes, &none);
    }
    if (!err) {
        err = posix_spawnattr_setsigdefault(attributes, &all);
    }
    return err;
}

static int
launch(char *const argv[], const char *log, int report, pid_t *pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int err = posix_spawn_file_actions_init(&actions);
    if (err) {
        return err;
    }
    err = posix_spawnattr_init(&attributes);
    if (!err) {
        err = describe_files(&actions, log, report);
        if (!err) {
            err = describe_attributes(&attributes);
        }
        if (!err) {
            err = posix_spawn(pid, argv[0], &actions, &attributes, argv, environ);
        }
        posix_spawnattr_destroy(&attributes);
    }
    posix_spawn_file_actions_destroy(&actions);
    return err;
}

/* Read the report to its end: the program closes the pipe when it is ready, or by ending. */
static int
read_report(int fd, char **report, int64_t end)
{
    char text[REPORT_MAX + 1];
    size_t n = 0;
    for (;;) {
        struct pollfd p = { .fd = fd, .events = POLLIN };
        int ready = poll(&p, 1, pm_left(end));
        if (ready == 0) {
            return ETIMEDOUT;
        }
        ssize_t got = ready > 0 ? read(fd, text + n, REPORT_MAX - n) : -1;
        if (got < 0 && errno != EINTR) {
            return errno;
        }
        if (got == 0) {
            break;
        }
        n += got > 0 ? (size_t) got : 0;
    }
    text[n] = '\0';
    if (n == 0) {
        return ECHILD;
    }
    *report = strdup(text + 1);
    return !*report ? ENOMEM : text[0] == '+' ? 0 : ECHILD;
}

int
pm_spawn(char *const argv[], const char *log, pid_t *pid, char **report, int64_t end)
{
    int ends[2];
    *report = NULL;
    *pid = 0;
    if (pipe2(ends, O_CLOEXEC)) {
        return errno;
    }
    int err = 0;
    if (ends[1] == PM_REPORT_FD) { /* dup2 onto itself would keep the close-on-exec flag */
        int higher = fcntl(ends[1], F_DUPFD_CLOEXEC, PM_REPORT_FD + 1);
        err = higher < 0 ? errno : 0;
        close(ends[1]);
        ends[1] = higher;
    }
    if (!err) {
        err = launch(argv, log, ends[1], pid);
        close(ends[1]);
    }
    if (!err) {
        err = read_report(ends[0], report, end);
    } else {
        *pid = 0;
    }
    close(ends[0]);
    return err;
}

/* Field 22 of /proc/PID/stat, and whether the process is a zombie.  The second field may hold spaces and parentheses. */
static int
start_time(pid_t pid, uint64_t *time, bool *zombie)
{
    char path[64];
    char *text;
    snprintf(path, sizeof path, "/proc/%d/stat", (int) pid);
    int err = pm_read_file(path, 4096, &text);
    if (err) {
        return err;
    }
    const char *p = strrchr(text, ')');
    char state = '?';
    err = p && sscanf(p, ") %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %" SCNu64, &state, time) == 2
              ? 0
              : EPROTO;
    *zombie = state == 'Z' || state == 'X';
    free(text);
    return err;
}

int
pm_pidfile_write(const char *path, pid_t pid)
{
    uint64_t started;
    bool zombie;
    char text[64];
    int err = start_time(pid, &started, &zombie);
    if (err) {
        return err;
    }
    snprintf(text, sizeof text, "%d %" PRIu64 "\n", (int) pid, started);
    return pm_write_file(path, text);
}

int
pm_pidfile_open(const char *path, pid_t *pid, int *pidfd)
{
    char *text;
    int number = 0;
    uint64_t expected = 0, started = 0;
    bool zombie = false;
    if (pm_read_file(path, 64, &text)) {
        return ESRCH;
    }
    bool good = sscanf(text, "%d %" SCNu64, &number, &expected) == 2 && number > 1;
    free(text);
    int fd = good ? pidfd_open(number, 0) : -1;
    if (fd < 0) {
        return ESRCH;
    }
    if (start_time(number, &started, &zombie) || started != expected || zombie) {
        close(fd);
        return ESRCH;
    }
    *pid = number;
    *pidfd = fd;
    return 0;
}

int
pm_pidfd_wait(int pidfd, int64_t end)
{
    struct pollfd p = { .fd = pidfd, .events = POLLIN };
    for (;;) {
        int n = poll(&p, 1, pm_left(end));
        if (n > 0) {
            return 0;
        }
        if (n == 0) {
            return ETIMEDOUT;
        }
        if (errno != EINTR) {
            return errno;
        }
    }
}

int
pm_pidfd_kill(int pidfd)
{
    return pidfd_send_signal(pidfd, SIGKILL, NULL, 0) && errno != ESRCH ? errno : 0;
}

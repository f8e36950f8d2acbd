/* flowstream-supervisor: keeps the programs of an embedded platform running, where no systemd does.
 *
 * What ends is started again: at once when it had run for a while, else after a pause that doubles.  Listening sockets are ours and are handed on,
 * so callers wait for the moment of a restart and none is refused; during a long pause they are closed, so that callers hear it at once.
 * What runs is written to FOLDER/status.  SIGHUP: read FOLDER/services again and try now what waits.  SIGTERM: end alone, all others go on; so do they
 * when we are killed, and the next supervisor finds them by their pid files. */
#include "daemons/supervisor/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    STEADY_MS = 2000,    /* who ran so long did not fail at the start */
    FIRST_PAUSE_MS = 100,
    LONGEST_PAUSE_MS = 30000,
    MOST_FILES = 65536,
    HOLD_MS = 2000,      /* callers are let wait for a restart so long */
    LOOK_MS = 1000,      /* to connect again to a database that is watched, or to look after a process without a descriptor for it */
};

struct supervisor {
    const char *folder;
    char *services_path, *status_path;
    struct service *services;
    int signals;
    bool ending;
};

/* --- Status --- */

static void
write_status(const struct supervisor *v)
{
    char *new = text("%s.new", v->status_path);
    FILE *f = fopen(new, "we");
    if (f) {
        fputs("[", f);
        const char *comma = "";
        for (const struct service *s = v->services; s; s = s->next) {
            if (s->watch) {
                continue; /* no part of the platform that runs or does not */
            }
            fprintf(f, "%s\n{\"name\": \"%s\", \"pid\": %d, \"start\": %llu, \"restarts\": %u, \"failures\": %u, \"last_exit\": \"%s\", \"next_ms\": %lld}",
                    comma, s->name, (int) s->pid, s->start_time, s->restarts, s->failures, s->last_exit ? s->last_exit : "",
                    (long long) (s->pid ? 0 : s->next_ms));
            comma = ",";
        }
        fputs("\n]\n", f);
        if (fclose(f) || rename(new, v->status_path)) {
            say("%s: %s", v->status_path, strerror(errno));
        }
    }
    free(new);
}

/* --- What is to run --- */

static struct service *
find(struct service *list, const char *name)
{
    while (list && strcmp(list->name, name) != 0) {
        list = list->next;
    }
    return list;
}

/* What runs, with its sockets and its history, goes over to the new description of the same service. */
static void
hand_over(struct service *new, struct service *old)
{
    new->pid = old->pid;
    new->start_time = old->start_time;
    new->pidfd = old->pidfd;
    new->child = old->child;
    new->began_ms = old->began_ms;
    new->restarts = old->restarts;
    new->last_exit = old->last_exit;
    new->wanted = old->wanted;
    new->next_ms = old->next_ms;
    if (service_listens_alike(new, old)) {
        memcpy(new->sockets, old->sockets, sizeof new->sockets);
        for (size_t i = 0; i < MAX_SOCKETS; i++) {
            old->sockets[i] = -1;
        }
    }
    old->pidfd = -1;
    old->last_exit = NULL;
}

/* Services that are not named any more are left to whoever struck them out. */
static bool
read_services(struct supervisor *v)
{
    struct service *list;
    char *error;
    if (!services_read(v->services_path, &list, &error)) {
        say("%s", error);
        free(error);
        return false;
    }
    for (struct service *s = list; s; s = s->next) {
        struct service *old = find(v->services, s->name);
        if (old) {
            hand_over(s, old);
        } else if (!s->watch && service_adopt(s)) {
            say("%s runs already, process %d", s->name, (int) s->pid);
        }
    }
    while (v->services) {
        struct service *next = v->services->next;
        service_destroy(v->services);
        v->services = next;
    }
    v->services = list;
    return true;
}

/* --- Ends and starts --- */

/* How long to wait: nothing for the first end of what ran for a while, then twice as long each time. */
static int64_t
pause_of(const struct service *s)
{
    int64_t ms = FIRST_PAUSE_MS;
    for (unsigned i = 1; i < s->failures && ms < LONGEST_PAUSE_MS; i++) {
        ms *= 2;
    }
    return !s->failures ? 0 : ms < LONGEST_PAUSE_MS ? ms : LONGEST_PAUSE_MS;
}

static void
plan_restart(struct service *s)
{
    int64_t now = now_ms();
    if (s->watch && !s->failed) {
        s->failures = 0;
        return;
    }
    s->failures = s->watch ? s->failures + 1 : now - s->began_ms >= STEADY_MS ? 0 : s->failures + 1;
    s->wanted = true;
    int64_t wait = pause_of(s);
    s->next_ms = now + wait;
    if (wait > HOLD_MS) {
        service_close_sockets(s);
    }
    say("%s %s; it is started again in %lld ms", s->name, s->last_exit ? s->last_exit : "cannot be started", (long long) wait);
}

static bool
is_due(const struct service *s)
{
    return (!s->watch || s->wanted) && s->next_ms <= now_ms();
}

/* Start what is due.  True: something has changed. */
static bool
start_due(struct supervisor *v)
{
    bool changed = false;
    for (struct service *s = v->services; s; s = s->next) {
        if (!s->pid && is_due(s)) {
            bool again = s->last_exit;
            s->wanted = false;
            changed = true;
            s->began_ms = now_ms();
            if (service_start(s)) {
                s->restarts += again;
                if (s->watch) {
                    continue; /* it says what it does where it does anything */
                }
                say("%s is process %d", s->name, (int) s->pid);
            } else {
                plan_restart(s);
            }
        }
    }
    return changed;
}

/* Children whose service was struck out have nobody else to ask for their end. */
static void
reap_strangers(const struct supervisor *v)
{
    siginfo_t info = { 0 };
    while (!waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) && info.si_pid) {
        for (const struct service *s = v->services; s; s = s->next) {
            if (s->pid == info.si_pid) {
                return;
            }
        }
        waitpid(info.si_pid, NULL, WNOHANG);
        info.si_pid = 0;
    }
}

static bool
see_ends(struct supervisor *v)
{
    bool changed = false;
    for (struct service *s = v->services; s; s = s->next) {
        if (service_has_ended(s)) {
            plan_restart(s);
            changed = true;
        }
    }
    return changed;
}

static void
see_changes(struct supervisor *v)
{
    for (struct service *s = v->services; s; s = s->next) {
        if (s->watch) {
            service_watch(s);
        }
    }
}

/* --- Waiting --- */

static int
until_next(const struct supervisor *v)
{
    int64_t first = -1, now = now_ms();
    for (const struct service *s = v->services; s; s = s->next) {
        int64_t left = s->next_ms > now ? s->next_ms - now : 0;
        if (((s->watch && s->watch_fd < 0) || (s->pid && s->pidfd < 0)) && (first < 0 || first > LOOK_MS)) {
            first = LOOK_MS;
        }
        if (!s->pid && (!s->watch || s->wanted) && (first < 0 || left < first)) {
            first = left;
        }
    }
    return (int) first;
}

/* True: a signal has changed what is to run. */
static bool
take_signals(struct supervisor *v)
{
    struct signalfd_siginfo info;
    bool changed = false;
    while (read(v->signals, &info, sizeof info) == sizeof info) {
        if (info.ssi_signo == SIGHUP) {
            changed = read_services(v) || changed;
            for (struct service *s = v->services; s; s = s->next) {
                s->next_ms = s->pid || s->watch ? s->next_ms : 0;
            }
        } else {
            say("%s: ending, all that runs goes on", strsignal((int) info.ssi_signo));
            v->ending = true;
        }
    }
    return changed;
}

static void
wait_for_something(struct supervisor *v)
{
    size_t n = 1, room = 1;
    for (const struct service *s = v->services; s; s = s->next) {
        room += 2;
    }
    struct pollfd *p = calloc(room, sizeof *p);
    if (!p) {
        abort();
    }
    p[0] = (struct pollfd) { .fd = v->signals, .events = POLLIN };
    for (const struct service *s = v->services; s; s = s->next) {
        if (s->pid) {
            p[n++] = (struct pollfd) { .fd = s->pidfd, .events = POLLIN };
        }
        if (s->watch && s->watch_fd >= 0) {
            p[n++] = (struct pollfd) { .fd = s->watch_fd, .events = POLLIN };
        }
    }
    if (poll(p, n, until_next(v)) < 0 && errno != EINTR) {
        abort();
    }
    free(p);
}

static int
work(struct supervisor *v)
{
    bool changed = true;
    while (!v->ending) {
        changed = start_due(v) || changed;
        if (changed) {
            write_status(v);
        }
        wait_for_something(v);
        changed = see_ends(v);
        see_changes(v);
        reap_strangers(v);
        changed = take_signals(v) || changed;
    }
    while (v->services) {
        struct service *next = v->services->next;
        service_destroy(v->services);
        v->services = next;
    }
    return 0;
}

/* --- Start --- */

static int
block_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGCHLD, SIG_DFL); /* where it was ignored nobody could be asked how he ended */
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* Three descriptors a daemon: with some hundred hosts more than the usual 1,024. */
static void
raise_limit(void)
{
    struct rlimit files;
    if (!getrlimit(RLIMIT_NOFILE, &files)) {
        files.rlim_cur = files.rlim_max < MOST_FILES ? files.rlim_max : MOST_FILES;
        setrlimit(RLIMIT_NOFILE, &files);
    }
}

static void
usage(FILE *to)
{
    fputs("usage: flowstream-supervisor --folder FOLDER\n\n"
          "Keeps the programs that FOLDER/services names running, and says in FOLDER/status what runs.\n"
          "'flowstream up' starts it; where systemd runs the daemons it is not needed.\n\n"
          "  --folder FOLDER  where services, status and lock are\n"
          "  --version        print the version\n"
          "  --help           print this\n", to);
}

int
main(int argc, char **argv)
{
    static const struct option options[] = {
        { "folder", required_argument, NULL, 'f' }, { "version", no_argument, NULL, 'V' }, { "help", no_argument, NULL, 'h' }, { NULL, 0, NULL, 0 },
    };
    struct supervisor v = { 0 };
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c == 'V') {
            puts("flowstream-supervisor " PACKAGE_VERSION);
            return 0;
        }
        if (c != 'f') {
            usage(c == 'h' ? stdout : stderr);
            return c == 'h' ? 0 : 2;
        }
        v.folder = optarg;
    }
    if (!v.folder || optind < argc) {
        fputs("flowstream-supervisor: --folder FOLDER is needed, and nothing else\n", stderr);
        usage(stderr);
        return 2;
    }
    char *lock = text("%s/lock", v.folder);
    int fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB)) {
        say("%s: %s", lock, errno == EWOULDBLOCK ? "another supervisor works in this folder already" : strerror(errno));
        return 1;
    }
    free(lock);
    umask(077);
    raise_limit();
    v.services_path = text("%s/services", v.folder);
    v.status_path = text("%s/status", v.folder);
    v.signals = block_signals();
    int status = v.signals >= 0 && read_services(&v) ? work(&v) : 1;
    free(v.services_path);
    free(v.status_path);
    return status;
}

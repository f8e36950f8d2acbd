/* Starting one program, with its sockets; finding the one that runs already; seeing that it has ended. */
#include "daemons/supervisor/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BACKLOG = 4096, FIRST_FD = 3, OUT_OF_THE_WAY = 100 };

int64_t
now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t) t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

char *
text(const char *format, ...)
{
    va_list args;
    char *t;
    va_start(args, format);
    if (vasprintf(&t, format, args) < 0) {
        abort();
    }
    va_end(args);
    return t;
}

void
say(const char *format, ...)
{
    char when[32];
    time_t now = time(NULL);
    struct tm tm;
    va_list args;
    gmtime_r(&now, &tm);
    strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &tm);
    va_start(args, format);
    char *line;
    if (vasprintf(&line, format, args) < 0) {
        abort();
    }
    va_end(args);
    fprintf(stderr, "%s  supervisor: %s\n", when, line);
    free(line);
}

/* --- Sockets --- */

static int
bound_tcp(const char *where)
{
    const char *colon = strrchr(where, ':');
    char *host = text("%.*s", colon ? (int) (colon - where) : 0, where), *bare = *host == '[' ? host + 1 : host;
    bare[strcspn(bare, "]")] = '\0';
    struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_PASSIVE, .ai_socktype = SOCK_STREAM }, *found = NULL;
    int fd = -1, one = 1, e = colon ? getaddrinfo(bare, colon + 1, &hints, &found) : EAI_NONAME;
    free(host);
    if (e) {
        errno = EINVAL;
        return -1;
    }
    fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0
        && (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one)
            || bind(fd, found->ai_addr, found->ai_addrlen))) {
        e = errno;
        close(fd);
        errno = e;
        fd = -1;
    }
    freeaddrinfo(found);
    return fd;
}

static int
bound_unix(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    if (strlen(path) >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    strcpy(address.sun_path, path);
    struct stat st;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && !lstat(path, &st) && S_ISSOCK(st.st_mode)) {
        unlink(path); /* whoever made it has ended: this is our service's, and it does not run */
    }
    mode_t before = umask(0177);
    if (fd >= 0 && bind(fd, (struct sockaddr *) &address, sizeof address)) {
        int e = errno;
        close(fd);
        errno = e;
        fd = -1;
    }
    umask(before);
    return fd;
}

bool
service_open_sockets(struct service *s)
{
    bool good = true;
    for (size_t i = 0; s->listen[i] && good; i++) { /* where one is taken somebody serves it: the next, a Unix socket, is his as well and stays */
        bool tcp = !strncmp(s->listen[i], "tcp ", 4);
        if (s->sockets[i] < 0) {
            int fd = tcp ? bound_tcp(s->listen[i] + 4) : bound_unix(s->listen[i] + 5);
            if (fd >= 0 && listen(fd, BACKLOG)) {
                close(fd);
                fd = -1;
            }
            if (fd < 0) {
                say("%s: cannot listen on %s: %s", s->name, s->listen[i], strerror(errno));
                good = false;
            }
            s->sockets[i] = fd;
        }
    }
    return good;
}

void
service_close_sockets(struct service *s)
{
    for (size_t i = 0; i < MAX_SOCKETS; i++) {
        if (s->sockets[i] >= 0) {
            close(s->sockets[i]);
            s->sockets[i] = -1;
        }
    }
}

/* --- Which process --- */

/* The start time (field 22) of a process; false: there is none. */
static bool
start_of(pid_t pid, unsigned long long *start)
{
    char path[64], line[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", (int) pid);
    FILE *f = fopen(path, "re");
    if (!f) {
        return false;
    }
    size_t n = fread(line, 1, sizeof line - 1, f);
    fclose(f);
    line[n] = '\0';
    const char *p = strrchr(line, ')'); /* the name may hold anything */
    return p && sscanf(p + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu", start) == 1;
}

static int
open_pidfd(pid_t pid)
{
    return (int) syscall(SYS_pidfd_open, pid, 0);
}

/* All its threads have: while one is left its locks and sockets are. */
static bool
has_ended(int pidfd)
{
    struct pollfd p = { .fd = pidfd, .events = POLLIN };
    return poll(&p, 1, 0) > 0;
}

static void
take_process(struct service *s, pid_t pid, int pidfd, unsigned long long start, bool child)
{
    s->pid = pid;
    s->pidfd = pidfd;
    s->start_time = start;
    s->child = child;
    s->began_ms = now_ms();
}

/* Copies of the sockets that a process of ours got at its descriptors 3, 4, ... */
static void
fetch_sockets(struct service *s)
{
    for (int i = 0; s->listen[i]; i++) {
        int fd = (int) syscall(SYS_pidfd_getfd, s->pidfd, FIRST_FD + i, 0), listens = 0;
        socklen_t size = sizeof listens;
        struct sockaddr_storage address = { 0 };
        socklen_t length = sizeof address;
        bool is_unix = !strncmp(s->listen[i], "unix ", 5);
        if (fd >= 0
            && (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) || !listens || getsockname(fd, (struct sockaddr *) &address, &length)
                || (address.ss_family == AF_UNIX) != is_unix)) {
            close(fd);
            fd = -1;
        }
        s->sockets[i] = fd;
    }
}

bool
service_adopt(struct service *s)
{
    FILE *f = fopen(s->pid_file, "re");
    int pid = 0;
    unsigned long long wanted = 0, start = 0;
    bool named = f && fscanf(f, "%d %llu", &pid, &wanted) == 2 && pid > 1;
    if (f) {
        fclose(f);
    }
    int pidfd = named ? open_pidfd(pid) : -1;
    if (pidfd < 0 || !start_of(pid, &start) || start != wanted || has_ended(pidfd)) {
        if (pidfd >= 0) {
            close(pidfd);
        }
        return false;
    }
    take_process(s, pid, pidfd, start, false);
    fetch_sockets(s);
    return true;
}

bool
service_has_ended(struct service *s)
{
    if (s->pid && s->pidfd < 0) {
        s->pidfd = open_pidfd(s->pid); /* there was no descriptor for it */
    }
    if (!s->pid || s->pidfd < 0 || !has_ended(s->pidfd)) {
        return false;
    }
    int status = 0;
    free(s->last_exit);
    s->failed = true;
    if (s->child && waitpid(s->pid, &status, 0) == s->pid) {
        s->failed = status != 0;
        s->last_exit = WIFSIGNALED(status) ? text("killed by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)))
                                           : text("ended with status %d", WEXITSTATUS(status));
    } else {
        s->last_exit = text("ended (it was started by another supervisor, how is not known)");
    }
    close(s->pidfd);
    s->pidfd = -1;
    s->pid = 0;
    return true;
}

/* --- Starting --- */

static void
write_pid_file(const struct service *s)
{
    char *new = text("%s.new", s->pid_file);
    unsigned long long start = 0;
    FILE *f = fopen(new, "we");
    if (f && start_of(getpid(), &start)) {
        fprintf(f, "%d %llu\n", (int) getpid(), start);
    }
    if (f && !fclose(f)) {
        rename(new, s->pid_file);
    }
    free(new);
}

/* The sockets at 3, 4, ...: first out of the way of each other. */
static void
place_sockets(const struct service *s)
{
    int high[MAX_SOCKETS], n = 0;
    for (; s->listen[n]; n++) {
        high[n] = fcntl(s->sockets[n], F_DUPFD, OUT_OF_THE_WAY);
    }
    for (int i = 0; i < n; i++) {
        dup2(high[i], FIRST_FD + i);
        close(high[i]);
    }
    if (n) {
        char number[16];
        snprintf(number, sizeof number, "%d", n);
        setenv("LISTEN_FDS", number, 1);
        snprintf(number, sizeof number, "%d", (int) getpid());
        setenv("LISTEN_PID", number, 1);
    }
}

static _Noreturn void
become(struct service *s)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC), log = open(s->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    sigset_t none;
    setsid();
    dup2(null, 0);
    dup2(log < 0 ? null : log, 1);
    dup2(log < 0 ? null : log, 2);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    write_pid_file(s);
    for (char **e = s->env; *e; e++) {
        putenv(*e);
    }
    place_sockets(s);
    if (!chdir(s->cwd)) {
        execvp(s->args[0], s->args);
    }
    fprintf(stderr, "flowstream-supervisor: cannot run %s in %s: %s\n", s->args[0], s->cwd, strerror(errno));
    _exit(127);
}

bool
service_start(struct service *s)
{
    if (!service_open_sockets(s)) {
        return false;
    }
    for (char **p = s->stale; *p; p++) {
        unlink(*p);
    }
    pid_t pid = fork();
    if (pid < 0) {
        say("%s: cannot be started: %s", s->name, strerror(errno));
        return false;
    }
    if (!pid) {
        become(s);
    }
    unsigned long long start = 0;
    start_of(pid, &start);
    take_process(s, pid, open_pidfd(pid), start, true);
    return true;
}

/* flowstream-mux: the multiplexer of one module host.  It owns the host's end of the trunk and one pair of rings a process of modules; it reads service
 * headers, hands frames to modules, and sends on what modules emit.  No code of a tenant runs here, and nothing that a tenant writes is believed:
 * see ring.h.
 *
 * One thread, one epoll loop.  It sleeps when nothing moves: processes that may have something are on a list, all others ring.
 *
 *     flowstream-mux --host HOST --dir FOLDER --trunk INTERFACE [--netns PATH] */
#include "config.h"

#include "pm/mux.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pm/process.h"

enum { MEND_MS = 1000, EVENTS = 64 };
enum { HELP = 256 }; /* an option without a letter */

static int usage(FILE *to, int status) __attribute__((noreturn));

static int
usage(FILE *to, int status)
{
    fputs("usage: flowstream-mux --host HOST --dir FOLDER --trunk INTERFACE [--netns PATH]\n\n"
          "The multiplexer of a module host: hands packets between the trunk to the switch and the modules. It is started by the\n"
          "module host daemon.\n\n"
          "  --host HOST        name of the host, for whoever lists processes\n"
          "  --dir FOLDER       where its control socket, pid and lock are\n"
          "  --trunk INTERFACE  the host's end of the trunk\n"
          "  --netns PATH       the network namespace that the trunk is in (default: the one that it is started in)\n"
          "  --version          print the version\n"
          "  --help             print this\n", to);
    exit(status);
}

static void
parse_options(int argc, char *argv[], struct mux *mux)
{
    static const struct option options[] = {
        { "host", required_argument, NULL, 'h' },  { "dir", required_argument, NULL, 'd' },
        { "trunk", required_argument, NULL, 't' }, { "netns", required_argument, NULL, 'n' },
        { "version", no_argument, NULL, 'v' },     { "help", no_argument, NULL, HELP },
        { NULL, 0, NULL, 0 },
    };
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 'd': mux->dir = optarg; break;
        case 't': mux->interface = optarg; break;
        case 'n': mux->netns = optarg; break;
        case 'h': break; /* for whoever lists processes */
        case 'v':
            puts("flowstream-mux " PACKAGE_VERSION);
            exit(0);
        case HELP: usage(stdout, 0);
        default: usage(stderr, 2);
        }
    }
    if (!mux->dir || !mux->interface) {
        usage(stderr, 2);
    }
}

/* Descriptor 3 is the pipe of pm_spawn(). */
static void
report(char sign, const char *text)
{
    dprintf(PM_REPORT_FD, "%c%s", sign, text);
    close(PM_REPORT_FD);
}

static int
open_control(struct mux *mux, char **error)
{
    mux->control.kind = HANDLE_CONTROL;
    int err = pm_channel_listen(mux->dir, &mux->control.fd);
    if (err) {
        return pm_fail(error, err, "multiplexer: %s/control.sock: %s", mux->dir, strerror(err));
    }
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = &mux->control };
    return epoll_ctl(mux->epoll, EPOLL_CTL_ADD, mux->control.fd, &event) ? errno : 0;
}

static int
write_pid(const struct mux *mux, char **error)
{
    char *path;
    if (asprintf(&path, "%s/pid", mux->dir) < 0) {
        return ENOMEM;
    }
    int err = pm_pidfile_write(path, getpid());
    if (err) {
        pm_fail(error, err, "multiplexer: %s: %s", path, strerror(err));
    }
    free(path);
    return err;
}

/* What is left after the start can open the trunk again, and no more. */
static int
drop_privileges(char **error)
{
    struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct data[2];
    if (syscall(SYS_capget, &header, data)) {
        return pm_fail(error, errno, "multiplexer: capabilities: %s", strerror(errno));
    }
    data[0].permitted &= 1u << CAP_NET_RAW | 1u << CAP_NET_ADMIN;
    data[0].effective = data[0].permitted;
    data[1] = (struct __user_cap_data_struct){ 0 };
    data[0].inheritable = 0;
    if (syscall(SYS_capset, &header, data) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) {
        return pm_fail(error, errno, "multiplexer: capabilities: %s", strerror(errno));
    }
    return 0;
}

/* A descriptor a module: the usual 1,024 are soon used up, and what may be had is mostly far more. */
static void
raise_limits(void)
{
    struct rlimit files;
    if (!getrlimit(RLIMIT_NOFILE, &files)) {
        files.rlim_cur = files.rlim_max;
        (void) setrlimit(RLIMIT_NOFILE, &files);
    }
}

static int
start(struct mux *mux, char **error)
{
    raise_limits();
    mux->epoll = epoll_create1(EPOLL_CLOEXEC);
    int err = mux->epoll < 0 ? errno : 0;
    if (!err) {
        err = open_control(mux, error); /* before the namespace changes: the folder is out here */
    }
    if (!err) {
        err = write_pid(mux, error);
    }
    if (!err) {
        err = mux_trunk_open(mux, error);
    }
    if (!err) {
        err = drop_privileges(error);
    }
    return err;
}

/* Packets first: a request may remove the process that a later event is about. */
static void
handle_events(struct mux *mux, struct epoll_event *events, int n)
{
    for (int i = 0; i < n; i++) {
        struct handle *h = events[i].data.ptr;
        if (h->kind == HANDLE_TRUNK) {
            mux_trunk_receive(mux);
        } else if (h->kind == HANDLE_PROCESS) {
            mux_wake(mux, (struct mux_process *) h);
        }
    }
    for (int i = 0; i < n; i++) {
        struct handle *h = events[i].data.ptr;
        if (h->kind == HANDLE_CALLER) {
            mux_serve(mux, h);
        } else if (h->kind == HANDLE_CONTROL) {
            mux_accept(mux);
        }
    }
}

static int
run(struct mux *mux)
{
    while (!mux->stop) {
        struct epoll_event events[EVENTS];
        bool whole = mux_trunk_mend(mux);
        int n = epoll_wait(mux->epoll, events, EVENTS, mux->active ? 0 : whole ? -1 : MEND_MS);
        if (n < 0 && errno != EINTR) {
            fprintf(stderr, "multiplexer: epoll_wait: %s\n", strerror(errno));
            return 1;
        }
        handle_events(mux, events, n);
        mux_forward(mux);
        mux_publish(mux);
    }
    return 0;
}

int
main(int argc, char *argv[])
{
    struct mux mux = { 0 };
    char *why = NULL;
    parse_options(argc, argv, &mux);
    signal(SIGPIPE, SIG_IGN);
    /* The daemon waits for its child, which ends here; init gets the multiplexer. */
    pid_t pid = fork();
    if (pid != 0) {
        _exit(pid < 0 ? 1 : 0);
    }
    int err = start(&mux, &why);
    if (err) {
        report('-', why ? why : strerror(err));
        free(why);
        return 1;
    }
    report('+', "");
    int code = run(&mux);
    while (mux.processes) {
        mux_remove(&mux, mux.processes->spec->name);
    }
    mux_trunk_close(&mux);
    close(mux.control.fd);
    close(mux.epoll);
    free(mux.paths);
    return code;
}

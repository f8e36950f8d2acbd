/* flowstream-module: runs one processing module, or several of one allocation, in a process of its own.
 *
 * Started by fs_process_start().  The first process opens what must be opened from outside (specification, the types' objects, control
 * socket, rings), accepts the modules' limits, forks the modules' process into its namespaces, gives it a user, writes down who it is,
 * passes its report on and ends.  The second shuts itself in, loads the types, configures the modules, reports, and handles packets:
 * module_run.c.
 *
 *     flowstream-module --owner ID --name NAME --dir FOLDER --types FOLDER --host HOST */
#include "config.h"

#include "pm/module.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pm/cgroup.h"
#include "pm/channel.h"
#include "pm/isolate.h"
#include "pm/process.h"
#include "pm/spec.h"

enum { END_MS = 500 };
enum { HELP = 256 }; /* an option without a letter */

#ifdef FS_SANITIZED
#define MEMORY_INSTEAD ""
#else
#define MEMORY_INSTEAD "; memory is limited by address space instead"
#endif

/* What the first process opens, and what it learns of the second. */
struct start {
    const char *dir, *types, *host;
    struct fs_process_spec *spec;
    struct type_files types_found;
    int go[2];     /* the first process says: you have a user */
    int report[2]; /* the second says: see await_report() */
    int flags;     /* namespaces granted */
    int refused;   /* errno where not all were */
    struct {
        uid_t outside;
        bool memory_group;
        char limits[512];
    } grant; /* goes through 'go' */
};

static int report_and_exit(int fd, char sign, const char *format, ...) __attribute__((format(printf, 3, 4), noreturn));

static int
report_and_exit(int fd, char sign, const char *format, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, format);
    int n = vasprintf(&text, format, args);
    va_end(args);
    if (n >= 0) {
        dprintf(fd, "%c%s", sign, text);
        fprintf(stderr, "%s\n", text);
    }
    _exit(sign == '+' ? 0 : 1);
}

static int usage(FILE *to, int status) __attribute__((noreturn));

static int
usage(FILE *to, int status)
{
    fputs("usage: flowstream-module --owner ID --name NAME --dir FOLDER --types FOLDER --host HOST\n\n"
          "Runs one processing module, or several of one allocation, in a process of its own. It is started by the module host\n"
          "daemon.\n\n"
          "  --owner ID       the allocation that the modules belong to, for whoever lists processes\n"
          "  --name NAME      the process's name, for whoever lists processes\n"
          "  --dir FOLDER     its folder, which holds its specification\n"
          "  --types FOLDER   where the module types are\n"
          "  --host HOST      the host's name in control groups\n"
          "  --version        print the version\n"
          "  --help           print this\n", to);
    exit(status);
}

static void
parse_options(int argc, char *argv[], struct start *s)
{
    static const struct option options[] = {
        { "owner", required_argument, NULL, 'o' }, { "name", required_argument, NULL, 'n' },
        { "dir", required_argument, NULL, 'd' },   { "types", required_argument, NULL, 't' },
        { "host", required_argument, NULL, 'h' },  { "version", no_argument, NULL, 'v' },
        { "help", no_argument, NULL, HELP },       { NULL, 0, NULL, 0 },
    };
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 'd': s->dir = optarg; break;
        case 't': s->types = optarg; break;
        case 'h': s->host = optarg; break;
        case 'o':
        case 'n': break; /* for whoever lists processes; the specification says the same */
        case 'v':
            puts("flowstream-module " PACKAGE_VERSION);
            exit(0);
        case HELP: usage(stdout, 0);
        default: usage(stderr, 2);
        }
    }
    if (!s->dir || !s->types || !s->host) {
        usage(stderr, 2);
    }
}

static int
make_members(const struct start *s, struct process *m)
{
    *m = (struct process){ .spec = s->spec, .n_members = (uint32_t) s->spec->n_modules };
    m->members = calloc(m->n_members, sizeof *m->members);
    for (uint32_t i = 0; m->members && i < m->n_members; i++) {
        const struct fs_module_spec *spec = s->spec->modules[i];
        m->members[i].spec = spec;
        m->members[i].index = i;
        m->members[i].n_outputs = pm_spec_output_ports(spec);
    }
    return m->members ? 0 : ENOMEM;
}

/* Everything that only the outside can give. */
static void
open_outside(struct start *s, struct process *m)
{
    char *why = NULL;
    int bells[2];
    if (pm_process_read(s->dir, &s->spec, &why) || types_open(&s->types_found, s->spec, s->types, &why) || make_members(s, m)) {
        report_and_exit(PM_REPORT_FD, '-', "%s", why ? why : "out of memory");
    }
    int err = pm_channel_listen(s->dir, &m->control);
    if (err) {
        report_and_exit(PM_REPORT_FD, '-', "process %s: %s/control.sock: %s", s->spec->name, s->dir, strerror(err));
    }
    err = pm_area_create(&m->area_fd);
    if (!err && !(m->area = pm_area_map(m->area_fd))) {
        err = errno;
    }
    if (!err && (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, bells) || pipe2(s->go, O_CLOEXEC) ||
                 pipe2(s->report, O_CLOEXEC))) {
        err = errno;
    }
    if (err) {
        report_and_exit(PM_REPORT_FD, '-', "process %s: its rings: %s", s->spec->name, strerror(err));
    }
    m->bell = bells[0];
    m->mux_bell = bells[1];
    pm_consumer_init(&m->rx, &m->area->rx, m->area->rx_descriptors, m->area->rx_buffers);
    pm_producer_init(&m->tx, &m->area->tx, m->area->tx_descriptors, m->area->tx_buffers);
}

/* The second process, from here on. */

/* Put up the walls; returns the sentence that describes them. */
static char *
shut_in(struct start *s, bool *inside)
{
    struct pm_text t = { 0 };
    const char *name = s->spec->name;
    rlim_t in_use = pm_isolate_address_space(); /* while there is a /proc to ask */
    int err = pm_isolate_become(s->flags, &s->grant.outside);
    if (err) {
        report_and_exit(s->report[1], '-', "process %s: cannot become user %u: %s", name, s->grant.outside, strerror(err));
    }
    pm_text_add(&t, "user %u%s", s->grant.outside, s->grant.outside >= PM_OUTSIDE_ID_BASE ? "" : " (shared with the platform)");
    if (s->refused) {
        pm_text_add(&t, ", %s (%s)", s->flags ? "no user namespace" : "no namespaces", strerror(s->refused));
    } else {
        pm_text_add(&t, ", namespaces user mount pid net ipc uts");
    }
    err = s->flags & CLONE_NEWNS ? pm_isolate_root(s->types_found.fds, s->types_found.n) : EPERM;
    *inside = !err;
    pm_text_add(&t, err ? ", no empty root (%s)" : ", empty root", strerror(err));
    err = pm_isolate_drop(s->grant.memory_group ? 0 : in_use + ((rlim_t) pm_process_mem(s->spec) << 20));
    if (err) {
        report_and_exit(s->report[1], '-', "process %s: cannot give up privileges: %s", name, strerror(err));
    }
#ifdef FS_SANITIZED
    pm_text_add(&t, ", no capabilities, system calls not filtered (built with a sanitizer)");
#else
    pm_text_add(&t, ", no capabilities, system calls filtered");
#endif
    return pm_text_take(&t);
}

/* A sanitizer's run-time system makes calls of its own choice. */
static void
filter_calls(struct start *s, bool loaded)
{
#ifdef FS_SANITIZED
    (void) s;
    (void) loaded;
#else
    int err = pm_isolate_filter(loaded);
    if (err) {
        report_and_exit(s->report[1], '-', "process %s: filter of system calls: %s", s->spec->name, strerror(err));
    }
#endif
}

static int run_inside(struct start *, struct process *) __attribute__((noreturn));

static int
run_inside(struct start *s, struct process *m)
{
    close(s->go[1]);
    close(s->report[0]);
    close(PM_REPORT_FD);
    ssize_t n = read(s->go[0], &s->grant, sizeof s->grant);
    if (n != (ssize_t) sizeof s->grant) {
        _exit(1); /* the first process died */
    }
    close(s->go[0]);
    bool inside;
    char *walls = shut_in(s, &inside), *why = NULL;
    filter_calls(s, false);
    /* Said before any code of a type runs: what is said later may be the type's word. */
    dprintf(s->report[1], "isolation %s\n", walls ? walls : "unknown");
    if (types_load(&s->types_found, m, inside, &why) || packets_prepare(m)) {
        report_and_exit(s->report[1], '-', "%s", why ? why : "out of memory");
    }
    for (size_t i = 0; i < s->types_found.n; i++) {
        close(s->types_found.fds[i]);
    }
    filter_calls(s, true);
    (void) !write(s->report[1], "+", 1);
    close(s->report[1]);
    char *status = NULL;
    m->status = asprintf(&status, "isolation %s\nlimits %s\n", walls ? walls : "unknown", s->grant.limits) < 0 ? "" : status;
    free(walls);
    int code = module_run(m);
    for (uint32_t i = 0; i < m->n_members; i++) {
        m->members[i].type->destroy(m->members[i].state);
    }
    pm_area_unmap(m->area);
    _exit(code);
}

/* The first process, from here on. */

static void
write_down(const struct start *s, const char *file, const char *text, pid_t pid)
{
    char *path = NULL;
    int err = asprintf(&path, "%s/%s", s->dir, file) < 0 ? ENOMEM : text ? pm_write_file(path, text) : pm_pidfile_write(path, pid);
    free(path);
    if (err) {
        kill(pid, SIGKILL);
        report_and_exit(PM_REPORT_FD, '-', "process %s: %s/%s: %s", s->spec->name, s->dir, file, strerror(err));
    }
}

/* Read what the module's process reports: a line of its isolation, then "+" when it is ready, or "-why" at any time.  It closes the pipe
 * afterwards, or ends.  Returns the verdict, "" where there is none. */
static const char *
await_report(int fd, char *text, size_t room)
{
    size_t n = 0;
    for (ssize_t got; n < room - 1 && (got = read(fd, text + n, room - 1 - n)) != 0;) {
        if (got > 0) {
            n += (size_t) got;
        } else if (errno != EINTR) {
            break;
        }
    }
    text[n] = '\0';
    char *line_end = text[0] == '-' ? NULL : strchr(text, '\n');
    if (!line_end) {
        return text[0] == '-' ? text : "";
    }
    *line_end = '\0';
    return line_end + 1;
}

static int report_end(const struct start *, const struct process *, pid_t child) __attribute__((noreturn));

/* The modules' process ended before it was ready, and had no time to say why. */
static int
report_end(const struct start *s, const struct process *m, pid_t child)
{
    int status = 0, pidfd = pidfd_open(child, 0);
    if (pidfd < 0 || pm_pidfd_wait(pidfd, pm_now() + END_MS)) {
        kill(child, SIGKILL); /* it closed its report and lives on */
    }
    waitpid(child, &status, 0);
    const struct fs_module_spec *at = s->spec->modules[m->area->starting % s->spec->n_modules]; /* its word */
    const char *sign = WIFSIGNALED(status) ? sigabbrev_np(WTERMSIG(status)) : NULL;
    report_and_exit(PM_REPORT_FD, '-', "module %s: it ended while type %s was loaded and configured%s%s%s", at->name, at->type,
                    sign ? " (signal " : "", sign ? sign : "",
                    !sign ? "" : WTERMSIG(status) == SIGSYS ? ": a system call that no module may make)" : ")");
}

/* The limits of the modules, for this process too: the modules' process is born with them. */
static void
accept_limits(struct start *s)
{
    char *limits = pm_cgroup_join(s->host, s->spec, &s->grant.memory_group);
    snprintf(s->grant.limits, sizeof s->grant.limits, "%s%s", limits ? limits : "not known",
             s->grant.memory_group ? "" : MEMORY_INSTEAD);
    free(limits);
}

static int
stay_outside(struct start *s, const struct process *m, pid_t child)
{
    char text[4096];
    close(s->go[0]);
    close(s->report[1]);
    write_down(s, "pid", NULL, child);
    int err = pm_isolate_map_user(child, s->flags, &s->grant.outside);
    if (err) {
        kill(child, SIGKILL);
        report_and_exit(PM_REPORT_FD, '-', "process %s: cannot give it a user: %s", s->spec->name, strerror(err));
    }
    if (write(s->go[1], &s->grant, sizeof s->grant) != (ssize_t) sizeof s->grant) {
        kill(child, SIGKILL);
    }
    const char *verdict = await_report(s->report[0], text, sizeof text);
    if (verdict[0] == '\0') {
        report_end(s, m, child);
    }
    if (verdict[0] == '+') {
        char *status = NULL;
        if (asprintf(&status, "%s\nlimits %s\n", text, s->grant.limits) < 0) {
            status = NULL;
        }
        write_down(s, "status", status ? status : "", child);
        free(status);
    }
    dprintf(PM_REPORT_FD, "%s", verdict);
    return verdict[0] == '+' ? 0 : 1;
}

int
main(int argc, char *argv[])
{
    struct start s = { 0 };
    struct process m;
    parse_options(argc, argv, &s);
    if (fcntl(PM_REPORT_FD, F_SETFD, FD_CLOEXEC)) {
        fprintf(stderr, "flowstream-module: descriptor %d is not open: start modules with the daemon\n", PM_REPORT_FD);
        return 2;
    }
    open_outside(&s, &m);
    accept_limits(&s);
    pid_t child = pm_isolate_fork(&s.flags, &s.refused);
    if (child < 0) {
        report_and_exit(PM_REPORT_FD, '-', "process %s: no process: %s", s.spec->name, strerror(errno));
    }
    if (child == 0) {
        run_inside(&s, &m);
    }
    _exit(stay_outside(&s, &m, child)); /* what it holds ends with it, also where the module was killed while it was being started */
}

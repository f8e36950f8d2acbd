/* The walls around one process of modules, for trusted and for hostile code alike: namespaces of its own (user, mount, process, network, IPC, host name), a
 * user of its own outside, an empty read-only root, no capabilities, no way to gain any, resource limits, and a list of the few system
 * calls that handling packets takes.
 *
 * All walls stand before the first instruction of the type runs: its object is copied into the empty root and is loaded from there, under a
 * filter that still allows loading; a second, narrower filter follows.  The libraries that a type needs are in the process already
 * (module_types.c). */
#include "config.h"

#include "pm/isolate.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { ALL_SPACES = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS };
enum { LOG_BYTES_MAX = 1 << 20, FILES_MAX = 64, CAPABILITIES_MAX = 64 };

pid_t
pm_isolate_fork(int *flags, int *refused)
{
    static const int choices[] = { ALL_SPACES, ALL_SPACES & ~CLONE_NEWUSER, 0 };
    *refused = 0;
    for (size_t i = 0;; i++) {
        /* As fork(): the child returns from here on a copy of this stack. */
        long pid = syscall(SYS_clone, choices[i] | SIGCHLD, NULL, NULL, NULL, NULL);
        *flags = choices[i];
        if (pid >= 0 || choices[i] == 0) {
            return (pid_t) pid;
        }
        if (!*refused) {
            *refused = errno;
        }
    }
}

static int
write_proc(pid_t pid, const char *file, const char *text)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", (int) pid, file);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) {
        return errno;
    }
    int err = write(fd, text, strlen(text)) < 0 ? errno : 0;
    close(fd);
    return err;
}

static int
write_maps(pid_t child, uid_t user, gid_t group)
{
    char text[64];
    snprintf(text, sizeof text, "%d %u 1\n", PM_INSIDE_ID, user);
    int err = write_proc(child, "uid_map", text);
    if (!err) {
        snprintf(text, sizeof text, "%d %u 1\n", PM_INSIDE_ID, group);
        err = write_proc(child, "gid_map", text);
    }
    return err;
}

int
pm_isolate_map_user(pid_t child, int flags, uid_t *outside)
{
    bool root = geteuid() == 0;
    write_proc(child, "oom_score_adj", "1000"); /* when memory runs out, modules go before daemons */
    *outside = root ? PM_OUTSIDE_ID_BASE + (uid_t) child : geteuid();
    if (!(flags & CLONE_NEWUSER)) {
        return 0;
    }
    if (root && write_maps(child, *outside, *outside) == 0) {
        return 0;
    }
    /* An ordinary user, or root of a user namespace that has no such user: our own, and no supplementary groups to play with. */
    *outside = geteuid();
    write_proc(child, "setgroups", "deny");
    return write_maps(child, geteuid(), getegid());
}

int
pm_isolate_become(int flags, uid_t *outside)
{
    uid_t id = flags & CLONE_NEWUSER ? PM_INSIDE_ID : *outside;
    if (id == geteuid() && !(flags & CLONE_NEWUSER)) {
        return 0;
    }
    if (setgroups(0, NULL) && errno != EPERM) {
        return errno;
    }
    /* Without a user namespace the capabilities are still needed for the root; pm_isolate_drop() takes them. */
    prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0);
    if (setresgid(id, id, id) || setresuid(id, id, id)) {
        if (flags & CLONE_NEWUSER) {
            return errno;
        }
        *outside = geteuid(); /* we are in a user namespace that has no such user */
    }
    struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct data[2];
    if (syscall(SYS_capget, &header, data)) {
        return errno;
    }
    data[0].effective = data[0].permitted;
    data[1].effective = data[1].permitted;
    return syscall(SYS_capset, &header, data) ? errno : 0;
}

/* Copy the object to a new file; the name is relative to the working folder. */
static int
copy_object(int from, const char *name)
{
    int to = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
    if (to < 0) {
        return errno;
    }
    char buffer[16384];
    off_t at = 0;
    ssize_t n;
    int err = 0;
    while (!err && (n = pread(from, buffer, sizeof buffer, at)) != 0) {
        if (n < 0 || write(to, buffer, (size_t) n) != n) {
            err = errno ? errno : ENOSPC;
        }
        at += n;
    }
    close(to);
    return err;
}

char *
pm_isolate_name(char name[PM_TYPE_NAME_ROOM], size_t i)
{
    snprintf(name, PM_TYPE_NAME_ROOM, i ? "/type%zu.so" : "/type.so", i);
    return name;
}

int
pm_isolate_root(const int *type_fds, size_t n)
{
    char name[PM_TYPE_NAME_ROOM];
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
        mount("flowstream", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "size=16m,nr_inodes=72,mode=0755") || chdir("/tmp")) {
        return errno;
    }
    for (size_t i = 0; i < n; i++) {
        int err = copy_object(type_fds[i], pm_isolate_name(name, i) + 1);
        if (err) {
            return err;
        }
    }
    if (syscall(SYS_pivot_root, ".", ".") || umount2(".", MNT_DETACH) || chdir("/") ||
        mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV, NULL)) {
        return errno;
    }
    return 0;
}

static int
drop_capabilities(void)
{
    for (int c = 0; c < CAPABILITIES_MAX; c++) {
        if (prctl(PR_CAPBSET_DROP, c, 0, 0, 0) && errno != EINVAL && errno != EPERM) {
            return errno;
        }
    }
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct none[2] = { { 0 }, { 0 } };
    return syscall(SYS_capset, &header, none) ? errno : 0;
}

static void
limit(__rlimit_resource_t what, rlim_t value)
{
    struct rlimit l = { .rlim_cur = value, .rlim_max = value };
    setrlimit(what, &l); /* fails only where the limit is lower already */
}

rlim_t
pm_isolate_address_space(void)
{
    char *text;
    unsigned long pages = 0;
    if (pm_read_file("/proc/self/statm", 256, &text) == 0) {
        pages = strtoul(text, NULL, 10);
        free(text);
    }
    return pages ? (rlim_t) pages * (rlim_t) sysconf(_SC_PAGESIZE) : (rlim_t) 64 << 20;
}

int
pm_isolate_drop(rlim_t address_space)
{
    int err = drop_capabilities();
    if (err) {
        return err;
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)) {
        return errno;
    }
    limit(RLIMIT_CORE, 0);
    limit(RLIMIT_NOFILE, FILES_MAX);
    limit(RLIMIT_NPROC, 1);
    limit(RLIMIT_FSIZE, LOG_BYTES_MAX);
#ifndef FS_SANITIZED
    if (address_space) {
        limit(RLIMIT_AS, address_space);
    }
#else
    (void) address_space; /* shadow memory takes terabytes of it */
#endif
    signal(SIGXFSZ, SIG_IGN); /* a full log is no reason to die */
    signal(SIGPIPE, SIG_IGN);
    return 0;
}

/* What handling packets takes. */
static const int running_calls[] = {
    SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(writev), SCMP_SYS(close), SCMP_SYS(recvfrom), SCMP_SYS(recvmsg), SCMP_SYS(sendto),
    SCMP_SYS(sendmsg), SCMP_SYS(accept4), SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(futex), SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_nanosleep), SCMP_SYS(nanosleep), SCMP_SYS(gettimeofday), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise),
    SCMP_SYS(brk), SCMP_SYS(exit), SCMP_SYS(exit_group), SCMP_SYS(rt_sigreturn), SCMP_SYS(rt_sigprocmask), SCMP_SYS(getrandom),
    SCMP_SYS(getpid), SCMP_SYS(gettid), SCMP_SYS(sched_yield), SCMP_SYS(restart_syscall), SCMP_SYS(newfstatat), SCMP_SYS(fstat), SCMP_SYS(lseek),
};

/* What loading an object and setting the second filter takes besides. */
static const int loading_calls[] = {
    SCMP_SYS(openat), SCMP_SYS(open), SCMP_SYS(pread64), SCMP_SYS(getcwd), SCMP_SYS(readlink),
    SCMP_SYS(mmap), SCMP_SYS(mprotect), SCMP_SYS(seccomp), SCMP_SYS(prctl), SCMP_SYS(sysinfo),
};

static int
allow(scmp_filter_ctx filter, const int *calls, size_t n)
{
    int err = 0;
    for (size_t i = 0; i < n && !err; i++) {
        err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0);
    }
    return err;
}

/* Memory, but none that can be executed. */
static int
allow_plain_memory(scmp_filter_ctx filter)
{
    int err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    if (!err) {
        err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    }
    return err;
}

int
pm_isolate_filter(bool loaded)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    if (!filter) {
        return ENOMEM;
    }
    int err = allow(filter, running_calls, sizeof running_calls / sizeof running_calls[0]);
    if (!err) {
        err = loaded ? allow_plain_memory(filter) : allow(filter, loading_calls, sizeof loading_calls / sizeof loading_calls[0]);
    }
    if (!err) {
        err = seccomp_load(filter);
    }
    seccomp_release(filter);
    return -err;
}

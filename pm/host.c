/* The processes of modules of one host, for the tasks of the module host daemon: start and stop.  Nothing is kept in memory.  A process is its
 * folder (made first, removed last), the process itself, its groups and its entries in the multiplexer; whoever stops it removes all four, in
 * whatever state an earlier daemon left them.  Each module of a process that has another name is a symbolic link to the process's folder: so it is
 * found by its name, and no name is taken twice.
 *
 * A base system is one row of a table: how to bring a process to life and how to make an end of it. */
#include "config.h"

#include "pm/host.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <flowstream/failpoint.h>

#include "pm/cgroup.h"
#include "pm/channel.h"
#include "pm/process.h"
#include "pm/spec.h"

enum { STOP_POLITELY_MS = 500, STATUS_MAX = 8192, UNDO_MS = 3000 };

struct basesys {
    const char *name;
    /* Bring the process whose specification is in 'folder' to life. */
    int (*start)(const struct fs_host_env *, const struct fs_process_spec *, const char *folder, int64_t end, char **error);
    /* End it and free what start() took outside the folder; also what is left of a start that was interrupted. */
    int (*stop)(const struct fs_host_env *, const char *name, const char *folder, int64_t end, char **error);
};

static int process_start(const struct fs_host_env *, const struct fs_process_spec *, const char *, int64_t, char **);
static int process_stop(const struct fs_host_env *, const char *, const char *, int64_t, char **);

static const struct basesys basesystems[] = {
    { "linux.process", process_start, process_stop },
};
enum { N_BASESYSTEMS = sizeof basesystems / sizeof basesystems[0] };
static const char *const basesys_names[N_BASESYSTEMS + 1] = { "linux.process", NULL };

const char *const *
fs_basesys_names(void)
{
    return basesys_names;
}

static int
find_basesys(const char *name, const struct basesys **found, char **error)
{
    struct pm_text names = { 0 };
    for (size_t i = 0; i < N_BASESYSTEMS; i++) {
        if (!name || !name[0] || !strcmp(name, basesystems[i].name)) {
            *found = &basesystems[i];
            free(pm_text_take(&names));
            return 0;
        }
        pm_text_add(&names, "%s%s", i ? ", " : "", basesystems[i].name);
    }
    char *offered = pm_text_take(&names);
    int err = pm_fail(error, ENOTSUP, "%s is not offered here; this host offers: %s", name, offered ? offered : "");
    free(offered);
    return err;
}

char *
host_path(const struct fs_host_env *env, const char *middle, const char *name)
{
    char *path;
    return asprintf(&path, "%s/%s%s%s", env->dir, middle, name ? "/" : "", name ? name : "") < 0 ? NULL : path;
}

/* The base system "linux.process". */

static int
process_start(const struct fs_host_env *env, const struct fs_process_spec *spec, const char *folder, int64_t end, char **error)
{
    char *program = NULL, *log = NULL, owner[32], *report = NULL;
    pid_t pid = 0;
    snprintf(owner, sizeof owner, "%" PRIu64, spec->modules[0]->owner);
    int err = asprintf(&program, "%s/flowstream-module", env->programs) < 0 ? ENOMEM : 0;
    if (!err && asprintf(&log, "%s/log", folder) < 0) {
        log = NULL;
        err = ENOMEM;
    }
    if (!err) {
        const char *argv[] = { program,       "--owner", owner,        "--name", spec->name, "--dir", folder, "--types",
                               env->types, "--host",  env->host_id, NULL };
        err = pm_spawn((char *const *) (uintptr_t) argv, log, &pid, &report, end);
        if (err && report) {
            pm_fail(error, err, "%s", report);
            err = EINVAL;
        } else if (err) {
            pm_fail(error, err, "module %s: %s: %s", spec->name, program,
                    err == ECHILD ? "it ended at once; its log may say why" : strerror(err));
        }
        if (pid && err == ETIMEDOUT) {
            kill(pid, SIGKILL);
        }
        if (pid) {
            waitpid(pid, NULL, 0); /* the first process ends after its report */
        }
    }
    free(report);
    free(log);
    free(program);
    return err;
}

static int
process_end(const char *folder, int64_t end)
{
    char *path;
    pid_t pid;
    int pidfd;
    if (asprintf(&path, "%s/pid", folder) < 0) {
        return ENOMEM;
    }
    int err = pm_pidfile_open(path, &pid, &pidfd);
    free(path);
    if (FS_FAILPOINT_ERROR("delete_pm.before_end")) {
        if (!err) {
            close(pidfd);
        }
        return EIO;
    }
    if (err) {
        return 0; /* there is no such process any more */
    }
    int64_t polite = pm_now() + STOP_POLITELY_MS;
    struct pm_message answer;
    if (polite > end) {
        polite = end;
    }
    err = pm_channel_call(folder, "stop", NULL, 0, &answer, polite);
    pm_message_free(&answer);
    if (err || pm_pidfd_wait(pidfd, polite)) {
        err = pm_pidfd_kill(pidfd);
        if (!err) {
            err = pm_pidfd_wait(pidfd, end > pm_now() + UNDO_MS ? end : pm_now() + UNDO_MS);
        }
    }
    close(pidfd);
    return err;
}

static int
process_stop(const struct fs_host_env *env, const char *name, const char *folder, int64_t end, char **error)
{
    int err = process_end(folder, end);
    if (err) {
        return pm_fail(error, err, "process %s does not end: %s", name, strerror(err));
    }
    err = pm_cgroup_remove(env->host_id, name, pm_now() + UNDO_MS);
    return err ? pm_fail(error, err, "process %s: its control group cannot be removed: %s", name, strerror(err)) : 0;
}

/* Any base system. */

/* The links of the modules; one that is there already is another process's or module's. */
static int
link_modules(const char *modules, const struct fs_process_spec *spec, char **error)
{
    int err = 0;
    for (size_t i = 0; i < spec->n_modules && strcmp(spec->modules[i]->name, spec->name) && !err; i++) {
        char *path = NULL;
        err = asprintf(&path, "%s/%s", modules, spec->modules[i]->name) < 0 ? ENOMEM : symlink(spec->name, path) ? errno : 0;
        if (err && path) {
            pm_fail(error, err, err == EEXIST ? "module %s exists on this host already" : "module %s: its link cannot be made: %m",
                    spec->modules[i]->name);
        }
        free(path);
    }
    return err;
}

/* Remove all links that lead to this process. */
static int
unlink_modules(const struct fs_host_env *env, const char *name)
{
    char *modules = host_path(env, "modules", NULL);
    DIR *dir = modules ? opendir(modules) : NULL;
    int err = !modules ? ENOMEM : !dir && errno != ENOENT ? errno : 0;
    for (struct dirent *e; dir && (e = readdir(dir)) != NULL;) {
        char target[FS_MODULE_NAME_MAX + 2];
        ssize_t n = e->d_type == DT_LNK || e->d_type == DT_UNKNOWN ? readlinkat(dirfd(dir), e->d_name, target, sizeof target) : -1;
        if (n == (ssize_t) strlen(name) && !memcmp(target, name, (size_t) n) && unlinkat(dirfd(dir), e->d_name, 0) && errno != ENOENT) {
            err = errno;
        }
    }
    if (dir) {
        closedir(dir);
    }
    free(modules);
    return err;
}

static int
make_folder(const char *folder, const struct fs_host_env *env, const struct fs_process_spec *spec, char **error)
{
    char *modules = host_path(env, "modules", NULL), *path = NULL, *text = pm_process_print(spec, true);
    int err = !modules || !text || asprintf(&path, "%s/spec", folder) < 0 ? ENOMEM : 0;
    if (!err && mkdir(modules, 0700) && errno != EEXIST) {
        err = errno;
        pm_fail(error, err, "%s: %s", modules, strerror(err));
    } else if (!err && mkdir(folder, 0700)) {
        err = errno;
        pm_fail(error, err, err == EEXIST ? "module %s exists on this host already" : "module %s: its folder cannot be made: %m",
                spec->name);
    } else if (!err) {
        err = link_modules(modules, spec, error);
        if (!err && (err = pm_write_file(path, text)) != 0) {
            pm_fail(error, err, "%s: %s", path, strerror(err));
        }
        if (err) {
            (void) unlink_modules(env, spec->name);
            (void) pm_remove_folder(folder);
        }
    }
    free(text);
    free(path);
    free(modules);
    return err;
}

static int
clear_away(const struct fs_host_env *env, const struct basesys *basesys, const char *name, const char *folder, int64_t end,
           char **error)
{
    char *request = NULL, *reply = NULL;
    if (asprintf(&request, "remove %s", name) >= 0) {
        (void) hostmux_ask(env, request, NULL, 0, &reply, end, NULL); /* no multiplexer, no entries */
        free(reply);
        free(request);
    }
    int err = basesys->stop(env, name, folder, end, error);
    if (!err && ((err = unlink_modules(env, name)) != 0 || (err = pm_remove_folder(folder)) != 0)) {
        pm_fail(error, err, "%s: %s", folder, strerror(err));
    }
    return err;
}

int
fs_process_start(const struct fs_host_env *env, const struct fs_process_spec *spec, int deadline_ms, char **error)
{
    int64_t end = pm_now() + deadline_ms;
    const struct basesys *basesys;
    char *ignored = NULL;
    error = error ? error : &ignored;
    *error = NULL;
    int err = pm_process_check(spec, error);
    if (!err) {
        err = find_basesys(spec->modules[0]->basesys, &basesys, error);
    }
    char *folder = err ? NULL : host_path(env, "modules", spec->name);
    if (!err && !folder) {
        err = ENOMEM;
    }
    if (!err) {
        err = make_folder(folder, env, spec, error);
    }
    if (!err) {
        err = basesys->start(env, spec, folder, end, error);
        if (!err) {
            err = hostmux_connect(env, spec->name, end, error);
        }
        if (err) {
            (void) clear_away(env, basesys, spec->name, folder, pm_now() + UNDO_MS, NULL);
        }
    }
    free(folder);
    free(ignored);
    return err;
}

int
fs_module_start(const struct fs_host_env *env, const struct fs_module_spec *spec, int deadline_ms, char **error)
{
    struct fs_process_spec process = { .name = spec->name, .modules = &spec, .n_modules = 1 };
    return fs_process_start(env, &process, deadline_ms, error);
}

/* A module that is not alone cannot be stopped alone. */
static int
refuse_member(const char *folder, const char *name, char **error)
{
    char target[FS_MODULE_NAME_MAX + 1];
    ssize_t n = readlink(folder, target, sizeof target);
    return pm_fail(error, EBUSY, "module %s shares the process %.*s with others: they end together, stop that", name, n > 0 ? (int) n : 0, target);
}

static int
stop_process(const struct fs_host_env *env, const char *name, const char *folder, int64_t end, char **error)
{
    struct fs_process_spec *spec = NULL;
    const struct basesys *basesys = &basesystems[0];
    if (pm_process_read(folder, &spec, NULL) == 0) { /* a start that was interrupted early may have left no specification */
        (void) find_basesys(spec->modules[0]->basesys, &basesys, NULL);
    }
    int err = clear_away(env, basesys, name, folder, end, error);
    pm_process_free(spec);
    return err;
}

int
fs_module_stop(const struct fs_host_env *env, const char *name, int deadline_ms, char **error)
{
    int64_t end = pm_now() + deadline_ms;
    struct stat st;
    if (error) {
        *error = NULL;
    }
    if (!pm_name_ok(name)) {
        return pm_fail(error, EINVAL, "\"%s\" cannot be the name of a module", name ? name : "");
    }
    char *folder = host_path(env, "modules", name);
    if (!folder) {
        return ENOMEM;
    }
    /* Where there is no folder somebody may have removed it from under the process. */
    int err = !lstat(folder, &st) && S_ISLNK(st.st_mode) ? refuse_member(folder, name, error) : stop_process(env, name, folder, end, error);
    free(folder);
    return err;
}

/* One process that the multiplexer has given up: what its rings say can only be malice or broken memory. */
static int
end_faulty(const struct fs_host_env *env, const char *name, char **error)
{
    char *folder = host_path(env, "modules", name), *path = NULL, *status = NULL, *fresh = NULL;
    int err = folder && asprintf(&path, "%s/status", folder) >= 0 ? process_end(folder, pm_now()) : ENOMEM;
    if (err) {
        pm_fail(error, err, "process %s: its rings cannot be, but it does not end: %s", name, strerror(err));
    } else {
        (void) pm_read_file(path, STATUS_MAX, &status);
        char *limits = status ? strstr(status, "limits ") : NULL;
        if (asprintf(&fresh, "%.*slimits none: the process was ended because its ring indexes cannot be (it is hostile or broken)\n",
                     status ? (int) (limits ? limits - status : (long) strlen(status)) : 0, status ? status : "") >= 0) {
            (void) pm_write_file(path, fresh);
            free(fresh);
        }
    }
    free(status);
    free(path);
    free(folder);
    return err;
}

int
fs_host_mend(const struct fs_host_env *env, int deadline_ms, char **ended, char **error)
{
    struct pm_text done = { 0 };
    char *faulty = NULL, *rest = NULL, *ignored = NULL;
    error = error ? error : &ignored;
    *error = NULL;
    *ended = NULL;
    int err = hostmux_ask(env, "faulty", NULL, 0, &faulty, pm_now() + deadline_ms, error);
    for (char *name = err ? NULL : strtok_r(faulty, "\n", &rest); name; name = strtok_r(NULL, "\n", &rest)) {
        char *request = NULL, *reply = NULL;
        int e = end_faulty(env, name, *error ? NULL : error);
        if (!e && asprintf(&request, "remove %s", name) >= 0) {
            (void) hostmux_ask(env, request, NULL, 0, &reply, pm_now() + UNDO_MS, NULL);
            pm_text_add(&done, "%s\n", name);
        }
        free(reply);
        free(request);
        err = err ? err : e;
    }
    free(faulty);
    free(ignored);
    *ended = pm_text_take(&done);
    return err;
}

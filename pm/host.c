/* The modules of one host, for the tasks of the module host daemon: start, stop, list, ask.  Nothing is kept in memory.  A module is its folder
 * (made first, removed last), its process, its groups and its entries in the multiplexer; whoever stops it removes all four, in
 * whatever state an earlier daemon left them.
 *
 * A base system is one row of a table: how to bring a module's process to life and how to make an end of it. */
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
    /* Bring the module whose specification is in 'folder' to life. */
    int (*start)(const struct fs_host_env *, const struct fs_module_spec *, const char *folder, int64_t end, char **error);
    /* End it and free what start() took outside the folder; also what is left of a start that was interrupted. */
    int (*stop)(const struct fs_host_env *, const char *name, const char *folder, int64_t end, char **error);
};

static int process_start(const struct fs_host_env *, const struct fs_module_spec *, const char *, int64_t, char **);
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
process_start(const struct fs_host_env *env, const struct fs_module_spec *spec, const char *folder, int64_t end, char **error)
{
    char *program = NULL, *log = NULL, owner[32], *report = NULL;
    pid_t pid = 0;
    snprintf(owner, sizeof owner, "%" PRIu64, spec->owner);
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
    FS_FAILPOINT("delete_pm.before_end");
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
        return pm_fail(error, err, "module %s: its process does not end: %s", name, strerror(err));
    }
    err = pm_cgroup_remove(env->host_id, name, pm_now() + UNDO_MS);
    return err ? pm_fail(error, err, "module %s: its control group cannot be removed: %s", name, strerror(err)) : 0;
}

/* Any base system. */

static int
make_folder(const char *folder, const struct fs_host_env *env, const struct fs_module_spec *spec, char **error)
{
    char *modules = host_path(env, "modules", NULL), *path = NULL, *text = pm_spec_print(spec, true);
    int err = !modules || !text || asprintf(&path, "%s/spec", folder) < 0 ? ENOMEM : 0;
    if (!err && mkdir(modules, 0700) && errno != EEXIST) {
        err = errno;
        pm_fail(error, err, "%s: %s", modules, strerror(err));
    } else if (!err && mkdir(folder, 0700)) {
        err = errno;
        pm_fail(error, err, err == EEXIST ? "module %s exists on this host already" : "module %s: its folder cannot be made: %m",
                spec->name);
    } else if (!err && (err = pm_write_file(path, text)) != 0) {
        pm_fail(error, err, "%s: %s", path, strerror(err));
        rmdir(folder);
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
    if (!err && (err = pm_remove_folder(folder)) != 0) {
        pm_fail(error, err, "%s: %s", folder, strerror(err));
    }
    return err;
}

int
fs_module_start(const struct fs_host_env *env, const struct fs_module_spec *spec, int deadline_ms, char **error)
{
    int64_t end = pm_now() + deadline_ms;
    const struct basesys *basesys;
    char *ignored = NULL;
    error = error ? error : &ignored;
    *error = NULL;
    int err = pm_spec_check(spec, error);
    if (!err) {
        err = find_basesys(spec->basesys, &basesys, error);
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
fs_module_stop(const struct fs_host_env *env, const char *name, int deadline_ms, char **error)
{
    int64_t end = pm_now() + deadline_ms;
    struct fs_module_spec *spec = NULL;
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
    int err = 0;
    if (lstat(folder, &st) == 0) {
        const struct basesys *basesys = &basesystems[0];
        if (pm_spec_read(folder, &spec, NULL) == 0) { /* a start that was interrupted early may have left no specification */
            (void) find_basesys(spec->basesys, &basesys, NULL);
        }
        err = clear_away(env, basesys, name, folder, end, error);
        pm_spec_free(spec);
    }
    free(folder);
    return err;
}

/* Listing. */

/* The rest of the line that begins with 'key' and a blank, malloc()ed. */
static char *
status_line(const char *text, const char *key)
{
    size_t n = strlen(key);
    for (const char *line = text; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        if (!strncmp(line, key, n) && line[n] == ' ') {
            return strndup(line + n + 1, strcspn(line + n + 1, "\n"));
        }
    }
    return strdup("not known");
}

static void
free_info(struct fs_module_info *info)
{
    free(info->name);
    free(info->type);
    free(info->basesys);
    free(info->isolation);
    free(info->limits);
}

static int
describe(const struct fs_host_env *env, const char *name, struct fs_module_info *info)
{
    *info = (struct fs_module_info){ 0 };
    struct fs_module_spec *spec = NULL;
    char *folder = host_path(env, "modules", name), *path = NULL, *status = NULL;
    if (!folder || asprintf(&path, "%s/status", folder) < 0) {
        free(folder);
        return ENOMEM;
    }
    if (pm_spec_read(folder, &spec, NULL) == 0) {
        info->type = strdup(spec->type);
        info->basesys = strdup(spec->basesys[0] ? spec->basesys : basesystems[0].name);
        info->owner = spec->owner;
        pm_spec_free(spec);
    } else {
        info->type = strdup("");
        info->basesys = strdup("");
    }
    (void) pm_read_file(path, STATUS_MAX, &status);
    info->name = strdup(name);
    info->isolation = status_line(status, "isolation");
    info->limits = status_line(status, "limits");
    snprintf(path, strlen(path) + 1, "%s/pid", folder);
    int pidfd = -1;
    info->running = pm_pidfile_open(path, &info->pid, &pidfd) == 0;
    if (info->running) {
        close(pidfd);
    }
    free(status);
    free(path);
    free(folder);
    return info->name && info->type && info->basesys && info->isolation && info->limits ? 0 : ENOMEM;
}

static int
visible(const struct dirent *e)
{
    return pm_name_ok(e->d_name);
}

int
fs_module_list(const struct fs_host_env *env, struct fs_module_info **list, size_t *n)
{
    struct dirent **entries = NULL;
    char *modules = host_path(env, "modules", NULL);
    *list = NULL;
    *n = 0;
    if (!modules) {
        return ENOMEM;
    }
    int found = scandir(modules, &entries, visible, alphasort);
    int err = found < 0 && errno != ENOENT ? errno : 0;
    free(modules);
    size_t entry_count = found > 0 ? (size_t) found : 0;
    struct fs_module_info *infos = calloc(entry_count + 1, sizeof *infos);
    if (!infos) {
        err = ENOMEM;
    }
    for (size_t i = 0; i < entry_count; i++) {
        if (!err) {
            err = describe(env, entries[i]->d_name, &infos[(*n)++]);
        }
        free(entries[i]);
    }
    free(entries);
    if (err) {
        fs_module_list_free(infos, *n);
        *n = 0;
        return err;
    }
    *list = infos;
    return 0;
}

void
fs_module_list_free(struct fs_module_info *list, size_t n)
{
    for (size_t i = 0; list && i < n; i++) {
        free_info(&list[i]);
    }
    free(list);
}

/* Asking. */

int
fs_module_counters(const struct fs_host_env *env, const char *name, struct fs_module_counters *c, int deadline_ms, char **error)
{
    char *request = NULL, *reply = NULL;
    *c = (struct fs_module_counters){ 0 };
    if (error) {
        *error = NULL;
    }
    if (!pm_name_ok(name)) {
        return pm_fail(error, EINVAL, "\"%s\" cannot be the name of a module", name ? name : "");
    }
    if (asprintf(&request, "counters %s", name) < 0) {
        return ENOMEM;
    }
    int err = hostmux_ask(env, request, NULL, 0, &reply, pm_now() + deadline_ms, error);
    if (!err && sscanf(reply, "%" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64, &c->in, &c->bytes_in,
                       &c->out, &c->bytes_out, &c->dropped, &c->ring_drops) != 6) {
        err = pm_fail(error, EPROTO, "module %s: the multiplexer's answer makes no sense: %s", name, reply);
    }
    free(reply);
    free(request);
    return err;
}

/* Turn a module's answer, or why there is none, into a result. */
static int
conclude(const char *name, int err, struct pm_message *answer, char **reply, char **error)
{
    if (err == ENOENT || err == ENOTDIR) {
        return pm_fail(error, ENOENT, "there is no module %s on this host", name);
    }
    if (err == ECONNREFUSED || err == EPROTO) {
        return pm_fail(error, ECONNREFUSED, "module %s is dead", name);
    }
    if (err) {
        return pm_fail(error, err, "module %s: %s", name, err == ETIMEDOUT ? "it does not answer" : strerror(err));
    }
    if (answer->text[0] != '+') {
        return pm_fail(error, EINVAL, "module %s: %s", name, answer->text + (answer->text[0] == '-'));
    }
    *reply = strdup(answer->text + 1);
    return *reply ? 0 : ENOMEM;
}

int
fs_module_control(const struct fs_host_env *env, const char *name, const char *command, char **reply, int deadline_ms, char **error)
{
    struct pm_message answer;
    *reply = NULL;
    if (error) {
        *error = NULL;
    }
    if (!pm_name_ok(name)) {
        return pm_fail(error, EINVAL, "\"%s\" cannot be the name of a module", name ? name : "");
    }
    if (!command[0] || strlen(command) > PM_MESSAGE_MAX) {
        return pm_fail(error, EINVAL, "module %s: the command is empty or longer than %u bytes", name, PM_MESSAGE_MAX);
    }
    char *folder = host_path(env, "modules", name);
    if (!folder) {
        return ENOMEM;
    }
    int err = pm_channel_call(folder, command, NULL, 0, &answer, pm_now() + deadline_ms);
    err = conclude(name, err, &answer, reply, error);
    pm_message_free(&answer);
    free(folder);
    return err;
}

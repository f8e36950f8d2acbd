/* What runs on one host, for the commands of the module host daemon: its modules as a list, their counters, and talk to them.  The start and end of
 * processes is in host.c. */
#include "config.h"

#include "pm/host.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pm/channel.h"
#include "pm/process.h"
#include "pm/spec.h"

enum { STATUS_MAX = 8192 };

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
    free(info->process);
    free(info->type);
    free(info->basesys);
    free(info->isolation);
    free(info->limits);
}

/* What is known of a process: the same for all its modules. */
static int
describe_process(const struct fs_host_env *env, const char *name, struct fs_module_info *info, struct fs_process_spec **spec)
{
    char *folder = host_path(env, "modules", name), *path = NULL, *status = NULL;
    *info = (struct fs_module_info){ 0 };
    *spec = NULL;
    if (!folder || asprintf(&path, "%s/status", folder) < 0) {
        free(folder);
        return ENOMEM;
    }
    (void) pm_process_read(folder, spec, NULL);
    (void) pm_read_file(path, STATUS_MAX, &status);
    info->process = strdup(name);
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
    return info->process && info->isolation && info->limits ? 0 : ENOMEM;
}

/* One module of it; a process whose specification cannot be read, as a start that was interrupted leaves it, is a module of its name. */
static int
describe_module(const struct fs_module_info *process, const struct fs_module_spec *spec, struct fs_module_info *info)
{
    *info = *process;
    info->name = strdup(spec ? spec->name : process->process);
    info->process = strdup(process->process);
    info->type = strdup(spec ? spec->type : "");
    info->basesys = strdup(!spec ? "" : spec->basesys[0] ? spec->basesys : fs_basesys_names()[0]);
    info->owner = spec ? spec->owner : 0;
    info->isolation = strdup(process->isolation);
    info->limits = strdup(process->limits);
    return info->name && info->process && info->type && info->basesys && info->isolation && info->limits ? 0 : ENOMEM;
}

int
host_list_process(const struct fs_host_env *env, const char *name, struct host_list *list)
{
    struct fs_module_info process;
    struct fs_process_spec *spec;
    int err = describe_process(env, name, &process, &spec);
    size_t n = spec ? spec->n_modules : 1;
    struct fs_module_info *bigger = err ? NULL : reallocarray(list->modules, list->n + n, sizeof *bigger);
    if (bigger) {
        list->modules = bigger;
        for (size_t i = 0; i < n && !err; i++) {
            err = describe_module(&process, spec ? spec->modules[i] : NULL, &list->modules[list->n++]);
        }
    }
    free_info(&process);
    pm_process_free(spec);
    return bigger ? err : ENOMEM;
}

static int
by_name(const void *a, const void *b)
{
    return strcmp(((const struct fs_module_info *) a)->name, ((const struct fs_module_info *) b)->name);
}

bool
host_is_process(DIR *dir, const struct dirent *e)
{
    char target[2];
    return pm_name_ok(e->d_name) && e->d_type != DT_LNK && readlinkat(dirfd(dir), e->d_name, target, sizeof target) < 0;
}

int
fs_module_list(const struct fs_host_env *env, struct fs_module_info **list, size_t *n)
{
    struct host_list found = { NULL, 0 };
    char *modules = host_path(env, "modules", NULL);
    *list = NULL;
    *n = 0;
    if (!modules) {
        return ENOMEM;
    }
    DIR *dir = opendir(modules);
    int err = !dir && errno != ENOENT ? errno : 0;
    free(modules);
    for (struct dirent *e; dir && !err && (e = readdir(dir)) != NULL;) {
        if (host_is_process(dir, e)) {
            err = host_list_process(env, e->d_name, &found);
        }
    }
    if (dir) {
        closedir(dir);
    }
    if (err) {
        fs_module_list_free(found.modules, found.n);
        return err;
    }
    if (found.n) {
        qsort(found.modules, found.n, sizeof *found.modules, by_name);
    }
    *list = found.modules;
    *n = found.n;
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
    if (!err && sscanf(reply, "%" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64, &c->in,
                       &c->bytes_in, &c->out, &c->bytes_out, &c->dropped, &c->ring_drops, &c->rate_drops) != 7) {
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
    struct pm_message answer = { 0 };
    *reply = NULL;
    if (error) {
        *error = NULL;
    }
    if (!pm_name_ok(name)) {
        return pm_fail(error, EINVAL, "\"%s\" cannot be the name of a module", name ? name : "");
    }
    if (!command[0] || strlen(command) > PM_MESSAGE_MAX - FS_MODULE_NAME_MAX - 8) {
        return pm_fail(error, EINVAL, "module %s: the command is empty or longer than %u bytes", name, PM_MESSAGE_MAX - FS_MODULE_NAME_MAX - 8);
    }
    char *folder = host_path(env, "modules", name);
    if (!folder) {
        return ENOMEM;
    }
    char *request = NULL;
    int err = asprintf(&request, "for %s %s", name, command) < 0
                  ? ENOMEM
                  : pm_channel_call(folder, request, NULL, 0, &answer, pm_now() + deadline_ms);
    err = err == ENOMEM ? err : conclude(name, err, &answer, reply, error);
    pm_message_free(&answer);
    free(request);
    free(folder);
    return err;
}

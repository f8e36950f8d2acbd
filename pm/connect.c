/* Ports of a running module that change: service paths come and go while the module and its rings stay.
 *
 * The specification on disk is what holds: it is replaced as a whole, then the multiplexer takes it over.  A multiplexer that starts later reads the same. */
#include "config.h"

#include "pm/host.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "pm/process.h"
#include "pm/spec.h"

enum { LOCK_STEP_US = 2000 };

/* The ports that a module is to have; room for all that one may have. */
struct ports {
    struct fs_port_spi inputs[FS_PATHS_MAX], outputs[FS_PATHS_MAX];
    size_t n_inputs, n_outputs;
};

static int
add_input(struct ports *p, const char *name, struct fs_port_spi add, char **error)
{
    for (size_t i = 0; i < p->n_inputs; i++) {
        if (p->inputs[i].spi == add.spi) {
            return p->inputs[i].port == add.port ? 0 : pm_fail(error, EEXIST, "module %s: service path %u leads to its input %u already", name, add.spi,
                                                                p->inputs[i].port);
        }
    }
    if (p->n_inputs == FS_PATHS_MAX) {
        return pm_fail(error, ENOSPC, "module %s: %u service paths lead into it, there is no room for another", name, FS_PATHS_MAX);
    }
    p->inputs[p->n_inputs++] = add;
    return 0;
}

static int
add_output(struct ports *p, const char *name, struct fs_port_spi add, char **error)
{
    for (size_t i = 0; i < p->n_outputs; i++) {
        if (p->outputs[i].port == add.port) {
            if (p->outputs[i].spi && p->outputs[i].spi != add.spi) {
                return pm_fail(error, EEXIST, "module %s: its output %u is connected already, by service path %u", name, add.port, p->outputs[i].spi);
            }
            p->outputs[i].spi = add.spi;
            return 0;
        }
    }
    return pm_fail(error, EINVAL, "module %s has no output %u: it was made with %zu", name, add.port, p->n_outputs);
}

/* What is not there need not be taken away. */
static void
take_away(struct ports *p, const struct fs_module_ports *gone)
{
    for (size_t g = 0; g < gone->n_inputs; g++) {
        for (size_t i = 0; i < p->n_inputs; i++) {
            if (p->inputs[i].spi == gone->inputs[g].spi) {
                p->inputs[i] = p->inputs[--p->n_inputs];
                break;
            }
        }
    }
    for (size_t g = 0; g < gone->n_outputs; g++) {
        for (size_t i = 0; i < p->n_outputs; i++) {
            if (p->outputs[i].spi == gone->outputs[g].spi) {
                p->outputs[i].spi = 0;
            }
        }
    }
}

static int
add_all(struct ports *p, const char *name, const struct fs_module_ports *more, char **error)
{
    int err = 0;
    for (size_t i = 0; i < more->n_inputs && !err; i++) {
        err = add_input(p, name, more->inputs[i], error);
    }
    for (size_t i = 0; i < more->n_outputs && !err; i++) {
        err = add_output(p, name, more->outputs[i], error);
    }
    return err;
}

/* Write 'old' with other ports in place of the module's specification. */
static int
write_spec(const char *folder, const struct fs_module_spec *old, const struct ports *p, char **error)
{
    struct fs_module_spec spec = *old;
    spec.inputs = p->inputs;
    spec.n_inputs = p->n_inputs;
    spec.outputs = p->outputs;
    spec.n_outputs = p->n_outputs;
    const struct fs_module_spec *module = &spec;
    struct fs_process_spec process = { .name = spec.name, .modules = &module, .n_modules = 1 };
    int err = pm_process_check(&process, error);
    char *path = NULL, *text = err ? NULL : pm_process_print(&process, true);
    if (!err && (!text || asprintf(&path, "%s/spec", folder) < 0)) {
        err = ENOMEM;
        path = NULL;
    }
    if (!err && (err = pm_write_file(path, text)) != 0) {
        pm_fail(error, err, "%s: %s", path, strerror(err));
    }
    free(text);
    free(path);
    return err;
}

static bool
has_ended(const char *folder)
{
    char *path;
    pid_t pid;
    int pidfd;
    if (asprintf(&path, "%s/pid", folder) < 0) {
        return false;
    }
    int err = pm_pidfile_open(path, &pid, &pidfd);
    if (!err) {
        close(pidfd);
    }
    free(path);
    return err == ESRCH;
}

static int
change(const struct fs_host_env *env, const char *name, const char *folder, const struct fs_module_ports *ports, bool add, int64_t end, char **error)
{
    struct fs_process_spec *process = NULL;
    struct ports *before = calloc(2, sizeof *before), *after = before + 1;
    int err = before ? pm_process_read(folder, &process, error) : ENOMEM;
    if (!err) {
        const struct fs_module_spec *spec = process->modules[0]; /* it is alone: see lock_folder() */
        memcpy(before->inputs, spec->inputs, spec->n_inputs * sizeof *spec->inputs);
        memcpy(before->outputs, spec->outputs, spec->n_outputs * sizeof *spec->outputs);
        before->n_inputs = spec->n_inputs;
        before->n_outputs = spec->n_outputs;
        *after = *before;
        if (add) {
            err = add_all(after, name, ports, error);
        } else {
            take_away(after, ports);
        }
        err = err ? err : write_spec(folder, spec, after, error);
        err = err ? err : hostmux_connect(env, name, end, error);
        if (err && add) {
            (void) write_spec(folder, spec, before, NULL);
        } else if (err && has_ended(folder)) { /* nobody to take ports from; who starts it again takes them from the specification, or from what is wanted by then */
            err = 0;
            if (error) {
                free(*error);
                *error = NULL;
            }
        }
    }
    pm_process_free(process);
    free(before);
    return err;
}

/* Changes of one module's ports wait for each other; so does nothing else.  The lock ends with the descriptor.  ELOOP: the module shares a process: what
 * leads to whom inside is settled when that starts. */
static int
lock_folder(const char *folder, int *fd, int64_t end)
{
    *fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    int err = *fd < 0 ? errno : 0;
    while (!err && flock(*fd, LOCK_EX | LOCK_NB)) {
        err = errno != EWOULDBLOCK && errno != EINTR ? errno : pm_left(end) == 0 ? ETIMEDOUT : 0;
        usleep(LOCK_STEP_US);
    }
    if (err && *fd >= 0) {
        close(*fd);
    }
    return err;
}

static int
change_locked(const struct fs_host_env *env, const char *name, const struct fs_module_ports *ports, bool add, int deadline_ms, char **error)
{
    int64_t end = pm_now() + deadline_ms;
    int fd;
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
    int err = lock_folder(folder, &fd, end);
    if (err == ENOENT && !add) {
        err = 0; /* it is gone, and its ports with it */
    } else if (err) {
        pm_fail(error, err, err == ENOENT ? "there is no module %s on this host"
                            : err == ELOOP || err == ENOTDIR ? "module %s shares a process with others: its ports do not change" : "module %s: %m", name);
    } else {
        err = change(env, name, folder, ports, add, end, error);
        close(fd);
    }
    free(folder);
    return err;
}

int
fs_module_connect(const struct fs_host_env *env, const char *name, const struct fs_module_ports *ports, int deadline_ms, char **error)
{
    return change_locked(env, name, ports, true, deadline_ms, error);
}

int
fs_module_disconnect(const struct fs_host_env *env, const char *name, const struct fs_module_ports *ports, int deadline_ms, char **error)
{
    return change_locked(env, name, ports, false, deadline_ms, error);
}

/* The multiplexer of one host, for the tasks of the module host daemon: start it (and give it the modules that live), stop it, ask it.
 *
 * A module keeps its rings and hands copies to whoever may open its control socket; so a multiplexer that was restarted goes on where
 * the old one stopped, and only packets that were in the old one's hands are lost. */
#include "config.h"

#include "pm/host.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <flowstream/failpoint.h>

#include "pm/cgroup.h"
#include "pm/channel.h"
#include "pm/process.h"
#include "pm/spec.h"

enum { LOCK_RETRY_MS = 5, STOP_POLITELY_MS = 500 };

int
hostmux_ask(const struct fs_host_env *env, const char *request, const int *fds, size_t n_fds, char **reply, int64_t end,
            char **error)
{
    struct pm_message answer;
    char *folder = host_path(env, "mux", NULL);
    *reply = NULL;
    if (!folder) {
        return ENOMEM;
    }
    int err = pm_channel_call(folder, request, fds, n_fds, &answer, end);
    free(folder);
    if (err == ENOENT || err == ECONNREFUSED) {
        return pm_fail(error, ENOTCONN, "the multiplexer of host %s does not run", env->host_id);
    }
    if (err) {
        return pm_fail(error, err, "the multiplexer of host %s: %s", env->host_id,
                       err == ETIMEDOUT ? "it does not answer" : strerror(err));
    }
    if (answer.text[0] != '+') {
        err = pm_fail(error, EINVAL, "%s", answer.text[0] ? answer.text + 1 : "");
    } else if (!(*reply = strdup(answer.text + 1))) {
        err = ENOMEM;
    }
    pm_message_free(&answer);
    return err;
}

static int
hand_over(const struct fs_host_env *env, const char *name, const struct fs_process_spec *spec, const char *folder, int64_t end,
          char **error)
{
    struct pm_message rings;
    int err = pm_channel_call(folder, "rings", NULL, 0, &rings, end);
    if (err || rings.n_fds != 2) {
        err = pm_fail(error, err ? err : EPROTO, "process %s does not hand out its rings: %s", name, strerror(err ? err : EPROTO));
        pm_message_free(&rings);
        return err;
    }
    char *text = pm_process_print(spec, false), *request = NULL, *reply = NULL;
    if (!text || asprintf(&request, "add\n%s", text) < 0) {
        request = NULL;
        err = ENOMEM;
    } else {
        err = hostmux_ask(env, request, rings.fds, rings.n_fds, &reply, end, error);
    }
    free(reply);
    free(request);
    free(text);
    pm_message_free(&rings);
    return err;
}

int
hostmux_connect(const struct fs_host_env *env, const char *name, int64_t end, char **error)
{
    struct fs_process_spec *spec;
    char *folder = host_path(env, "modules", name);
    if (!folder) {
        return ENOMEM;
    }
    int err = pm_process_read(folder, &spec, error);
    if (!err && FS_FAILPOINT_ERROR("create_pm.before_connect")) {
        err = pm_fail(error, EIO, "failpoint create_pm.before_connect");
        pm_process_free(spec);
    } else if (!err) {
        err = hand_over(env, name, spec, folder, end, error);
        pm_process_free(spec);
    }
    free(folder);
    return err;
}

/* Have the multiplexer forget a process that it knows and that has no folder: a daemon was killed between the two, or one connected a module just when another call
 * removed it.  The multiplexer was asked before, and the folder is the first that is made of a process. */
static void
forget_gone(const struct fs_host_env *env, const char *name, int64_t end)
{
    char *folder = host_path(env, "modules", name), *request = NULL, *reply = NULL;
    struct stat st;
    if (folder && lstat(folder, &st) && errno == ENOENT && asprintf(&request, "remove %s", name) >= 0) {
        (void) hostmux_ask(env, request, NULL, 0, &reply, end, NULL);
        free(reply);
        free(request);
    }
    free(folder);
}

/* Connect every living module that the multiplexer does not know.  One that is stuck does not keep the others waiting: it is left out, and
 * said. */
static int
connect_living(const struct fs_host_env *env, int64_t end, char **error)
{
    struct fs_module_tally *list;
    size_t n;
    char *why = NULL;
    int err = fs_module_tallies(env, &list, &n, pm_left(end), &why);
    if (!err && why) {
        err = pm_fail(error, EIO, "%s", why);
    }
    for (size_t i = 0; !err && i < n; i++) {
        bool turn_over = i > 0 && !strcmp(list[i].process, list[i - 1].process); /* modules of a process are connected together */
        if (list[i].running && !list[i].connected && !turn_over) {
            int64_t share = pm_now() + pm_left(end) / 2;
            (void) hostmux_connect(env, list[i].process, share, NULL);
        }
    }
    for (size_t i = 0; !err && i < n; i++) {
        bool turn_over = i > 0 && !strcmp(list[i].process, list[i - 1].process);
        if (list[i].connected && !turn_over) {
            forget_gone(env, list[i].process, end);
        }
    }
    fs_module_tallies_free(list, n);
    free(why);
    return err;
}

/* One starter at a time; *fd keeps the lock until it is closed. */
static int
lock(const char *folder, int *fd, int64_t end)
{
    char *path;
    if (asprintf(&path, "%s/lock", folder) < 0) {
        return ENOMEM;
    }
    *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    int err = *fd < 0 ? errno : 0;
    free(path);
    while (!err && flock(*fd, LOCK_EX | LOCK_NB)) {
        err = errno != EWOULDBLOCK && errno != EINTR ? errno : pm_left(end) == 0 ? ETIMEDOUT : 0;
        poll(NULL, 0, LOCK_RETRY_MS);
    }
    if (err && *fd >= 0) {
        close(*fd);
    }
    return err;
}

static int
end_process(const char *folder, int64_t end)
{
    char *path;
    pid_t pid;
    int pidfd;
    if (asprintf(&path, "%s/pid", folder) < 0) {
        return ENOMEM;
    }
    int err = pm_pidfile_open(path, &pid, &pidfd);
    if (!err) {
        struct pm_message answer;
        int64_t polite = pm_now() + STOP_POLITELY_MS < end ? pm_now() + STOP_POLITELY_MS : end;
        err = pm_channel_call(folder, "stop", NULL, 0, &answer, polite);
        pm_message_free(&answer);
        if (err || pm_pidfd_wait(pidfd, polite)) {
            err = pm_pidfd_kill(pidfd);
            if (!err) {
                err = pm_pidfd_wait(pidfd, pm_now() + STOP_POLITELY_MS);
            }
        }
        close(pidfd);
    } else {
        err = 0;
    }
    if (!err) {
        unlink(path);
    }
    free(path);
    return err;
}

static int
launch(const struct fs_host_env *env, const char *folder, int64_t end, char **error)
{
    char *program = NULL, *log = NULL, *report = NULL;
    pid_t pid = 0;
    if (asprintf(&program, "%s/flowstream-mux", env->programs) < 0) {
        return ENOMEM;
    }
    if (asprintf(&log, "%s/log", folder) < 0) {
        free(program);
        return ENOMEM;
    }
    const char *argv[] = { program, "--host", env->host_id, "--dir", folder, "--trunk", env->trunk, env->netns ? "--netns" : NULL,
                           env->netns, NULL };
    int err = pm_spawn((char *const *) (uintptr_t) argv, log, &pid, &report, end);
    if (err) {
        pm_fail(error, err, "%s%s", report ? report : "the multiplexer cannot be started: ", report ? "" : strerror(err));
        err = report ? EINVAL : err;
    }
    if (pid) {
        waitpid(pid, NULL, 0); /* it has put the multiplexer into the background */
    }
    if (err) {
        (void) end_process(folder, pm_now() + STOP_POLITELY_MS);
    }
    free(report);
    free(log);
    free(program);
    return err;
}

static bool
answers(const struct fs_host_env *env, int64_t end)
{
    char *reply;
    int err = hostmux_ask(env, "statistics", NULL, 0, &reply, end, NULL);
    free(reply);
    return err == 0;
}

int
fs_mux_start(const struct fs_host_env *env, int deadline_ms, char **error)
{
    int64_t end = pm_now() + deadline_ms;
    int fd;
    if (error) {
        *error = NULL;
    }
    char *folder = host_path(env, "mux", NULL);
    if (!folder) {
        return ENOMEM;
    }
    int err = mkdir(folder, 0700) && errno != EEXIST ? errno : lock(folder, &fd, end);
    if (err) {
        pm_fail(error, err, "%s: %s", folder, strerror(err));
        free(folder);
        return err;
    }
    if (!answers(env, pm_now() + pm_left(end) / 4)) {
        err = end_process(folder, end); /* one that does not answer is as good as none */
        if (!err) {
            err = launch(env, folder, end, error);
        }
    }
    if (!err) {
        err = connect_living(env, end, error);
    }
    close(fd);
    free(folder);
    return err;
}

int
fs_mux_stop(const struct fs_host_env *env, int deadline_ms, char **error)
{
    int64_t end = pm_now() + deadline_ms;
    int fd;
    if (error) {
        *error = NULL;
    }
    char *folder = host_path(env, "mux", NULL);
    if (!folder) {
        return ENOMEM;
    }
    int err = lock(folder, &fd, end);
    if (!err) {
        err = end_process(folder, end);
        pm_cgroup_remove_host(env->host_id);
        close(fd);
    } else if (err == ENOENT) {
        err = 0;
    }
    if (err) {
        pm_fail(error, err, "the multiplexer of host %s does not end: %s", env->host_id, strerror(err));
    }
    free(folder);
    return err;
}

int
fs_mux_statistics(const struct fs_host_env *env, struct fs_mux_stats *s, int deadline_ms, char **error)
{
    char *reply;
    *s = (struct fs_mux_stats){ 0 };
    if (error) {
        *error = NULL;
    }
    int err = hostmux_ask(env, "statistics", NULL, 0, &reply, pm_now() + deadline_ms, error);
    if (!err) {
        uint64_t *const fields[] = { &s->rx_packets, &s->rx_bytes,   &s->tx_packets, &s->tx_bytes,     &s->local_packets, &s->unknown_spi,
                                     &s->malformed,  &s->tx_errors,  &s->ring_drops, &s->ring_faults, &s->kernel_drops,  &s->modules,
                                     &s->rate_drops };
        const char *p = reply;
        for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
            char *next;
            *fields[i] = strtoull(p, &next, 10);
            p = next;
        }
        free(reply);
    }
    return err;
}

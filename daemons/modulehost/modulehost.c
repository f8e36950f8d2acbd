/* The state of the module host daemon, and how it runs the system's own tools (ip, ethtool, ovs-vsctl). */
#include "config.h"

#include "daemons/modulehost/modulehost.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/util.h"

enum { MULTIPLEXER_MS = 10000 };

struct fs_port_spi *
modulehost_ports(const xmlrpc_value *pm, const char *key)
{
    const xmlrpc_value *list = fs_get(pm, key);
    struct fs_port_spi *p = fs_xcalloc(fs_size(list) + 1, sizeof *p);
    for (size_t i = 0; i < fs_size(list); i++) {
        p[i].port = (uint32_t) fs_get_int(fs_item(list, i), "port", 0);
        p[i].spi = (uint32_t) fs_get_int(fs_item(list, i), "spi", 0);
        double rate = fs_get_double(fs_item(list, i), "rate", 0);
        p[i].rate = rate > 0 && rate < 1e15 ? (uint64_t) rate : 0;
    }
    return p;
}

void
modulehost_change_ports(struct fs_call *call, int (*change)(const struct fs_host_env *, const char *, const struct fs_module_ports *, int, char **))
{
    struct modulehost *m = fs_call_state(call);
    const xmlrpc_value *pm = fs_call_param(call, 0);
    const char *name = fs_get_string(pm, "name", "");
    struct fs_port_spi *in = modulehost_ports(pm, "inputs"), *out = modulehost_ports(pm, "outputs");
    struct fs_module_ports ports = { in, fs_size(fs_get(pm, "inputs")), out, fs_size(fs_get(pm, "outputs")) };
    char *error = NULL;
    int e = change(&m->env, name, &ports, MULTIPLEXER_MS, &error);
    modulehost_watch_note(m, name); /* a module whose ports can be changed is alone in its process, which has its name */
    if (e) {
        fs_call_fail(call, "host %s: module %s: %s", m->name, name, error ? error : strerror(e));
    }
    free(error);
    free(in);
    free(out);
}

static char *
copy(const struct fs_settings *s, const char *attribute)
{
    const char *text = fs_setting(s, "host", 0, attribute);
    return text ? fs_xstrdup(text) : NULL;
}

/* The folder of this program: the multiplexer and the module runner are beside it. */
static char *
own_folder(void)
{
    char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    path[n > 0 ? n : 0] = '\0';
    char *slash = strrchr(path, '/');
    if (slash) {
        *slash = '\0';
    }
    return fs_xstrdup(path);
}

void *
modulehost_start(struct fs_daemon *daemon, const struct fs_settings *s, char **error)
{
    if (!fs_setting(s, "host", 0, "name") || !fs_setting(s, "types", 0, "dir")) {
        *error = fs_xasprintf("the configuration needs <host .../> and <types dir=\"...\"/>");
        return NULL;
    }
    struct modulehost *m = fs_xcalloc(1, sizeof *m);
    m->daemon = daemon;
    pthread_mutex_init(&m->setup, NULL);
    m->name = copy(s, "name");
    m->address = copy(s, "url");
    m->bridge = copy(s, "bridge");
    m->ovsdb = copy(s, "ovsdb");
    m->target = copy(s, "switch");
    m->trunk = copy(s, "trunk");
    m->mux = copy(s, "mux");
    m->netns = copy(s, "netns");
    m->basesys = copy(s, "basesys");
    m->cpu = strtod(fs_setting(s, "host", 0, "cpu"), NULL);
    m->mem = strtod(fs_setting(s, "host", 0, "mem"), NULL);
    m->mtu = (int) fs_setting_number(s, "host", "mtu", 1600);
    m->programs = own_folder();
    m->watch = modulehost_watch_new();
    m->meter = modulehost_meter_new();
    m->env = (struct fs_host_env) {
        .dir = copy(s, "dir"),
        .programs = m->programs,
        .types = fs_xstrdup(fs_setting(s, "types", 0, "dir")),
        .netns = m->netns,
        .trunk = m->mux,
        .host_id = copy(s, "id"),
    };
    int e = fs_make_dirs(m->env.dir);
    if (e) {
        *error = fs_xasprintf("%s: %s", m->env.dir, strerror(e));
        modulehost_stop(m);
        return NULL;
    }
    return m;
}

static void
drop(const char *text)
{
    free((void *) (uintptr_t) text);
}

void
modulehost_stop(void *state)
{
    struct modulehost *m = state;
    drop(m->env.dir);
    drop(m->env.types);
    drop(m->env.host_id);
    free(m->name);
    free(m->address);
    free(m->bridge);
    free(m->ovsdb);
    free(m->target);
    free(m->trunk);
    free(m->mux);
    free(m->netns);
    free(m->basesys);
    modulehost_meter_free(m->meter);
    modulehost_watch_free(m->watch);
    pthread_mutex_destroy(&m->setup);
    free(m->programs);
    free(m);
}

/* --- Running programs --- */

static char *
command_line(char *const argv[])
{
    struct fs_text t = { 0 };
    for (size_t i = 0; argv[i]; i++) {
        fs_text_addf(&t, "%s%s", i ? " " : "", argv[i]);
    }
    return t.text;
}

/* Read what the child says until it closes its end or the time is over. */
static void
listen_to(int fd, int64_t until, struct fs_text *said)
{
    char buffer[1024];
    for (;;) {
        int64_t left = until - fs_now_ms();
        struct pollfd p = { .fd = fd, .events = POLLIN };
        if (left <= 0 || poll(&p, 1, (int) left) <= 0) {
            return;
        }
        ssize_t n = read(fd, buffer, sizeof buffer);
        if (n <= 0) {
            return;
        }
        if (said->length < 4096) {
            fs_text_add(said, buffer, (size_t) n);
        }
    }
}

int
modulehost_run(const struct modulehost *m, bool in_netns, int ms, char *const argv[], char **error)
{
    char *full[32], nsenter[] = "nsenter", *option = fs_xasprintf("--net=%s", m->netns ? m->netns : "");
    size_t n = 0;
    if (in_netns && m->netns) {
        full[n++] = nsenter;
        full[n++] = option;
    }
    for (size_t i = 0; argv[i] && n < 31; i++) {
        full[n++] = argv[i];
    }
    full[n] = NULL;
    int out[2] = { -1, -1 };
    pid_t pid = -1;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    int e = pipe2(out, O_CLOEXEC) ? errno : 0;
    posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    posix_spawn_file_actions_adddup2(&actions, out[1], 2);
    extern char **environ;
    e = e ? e : posix_spawnp(&pid, full[0], &actions, NULL, full, environ);
    posix_spawn_file_actions_destroy(&actions);
    struct fs_text said = { 0 };
    int status = 0;
    if (out[1] >= 0) {
        close(out[1]);
    }
    if (!e) {
        int64_t until = fs_now_ms() + ms;
        listen_to(out[0], until, &said);
        if (fs_now_ms() >= until) {
            kill(pid, SIGKILL);
            e = ETIMEDOUT;
        }
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
        }
        e = e ? e : status ? EIO : 0;
    }
    if (out[0] >= 0) {
        close(out[0]);
    }
    if (e) {
        char *line = command_line(full);
        while (said.length && said.text[said.length - 1] == '\n') {
            said.text[--said.length] = '\0';
        }
        *error = fs_xasprintf("%s: %s", line, said.length ? said.text : strerror(e));
        free(line);
    }
    free(said.text);
    free(option);
    return e;
}

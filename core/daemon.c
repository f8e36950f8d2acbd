/* The life of a daemon, from its options to its end.
 *
 * Start: options, configuration, log, credentials, loader, engine, state, sockets; then tasks at regular times.  End (SIGTERM, SIGINT):
 * no new calls, those under way get ten seconds, then tasks, then the state.  Everything a client can call is loaded: see core/loader.h. */
#include "config.h"

#include "core/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <libxml/parser.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/client.h"
#include "core/engine.h"
#include "core/fence.h"
#include "core/front.h"
#include "core/inherit.h"
#include "core/loader.h"
#include "core/metrics.h"
#include "core/server.h"
#include "core/util.h"
#include "core/vet.h"
#include <flowstream/log.h>

FS_LOG_MODULE("daemon");

enum { END_MS = 10000, LAST_MS = 2000, MAX_KEYS = 16, LOCK_MS = 1500, LOCK_STEP_US = 5000 };

struct fs_daemon {
    const struct fs_daemon_class *class;
    struct fs_settings *settings;
    char *dir;
    char *credentials;
    char incarnation[17];
    struct fs_loader *loader;
    struct fs_engine *engine;
    struct fs_server *server;
    struct fs_fence *fence;
    struct fs_peer **peers;
    size_t n_peers;
    void *state;
    int lock_fd;
    int64_t started;
};

/* --- Parts --- */

const char *
fs_daemon_name(const struct fs_daemon *d)
{
    return d->class->name;
}

void *
fs_daemon_state(const struct fs_daemon *d)
{
    return d->state;
}

struct fs_engine *
fs_daemon_engine(const struct fs_daemon *d)
{
    return d->engine;
}

struct fs_fence *
fs_daemon_fence(const struct fs_daemon *d)
{
    return d->fence;
}

struct fs_loader *
fs_daemon_loader(const struct fs_daemon *d)
{
    return d->loader;
}

const char *
fs_daemon_dir(const struct fs_daemon *d)
{
    return d->dir;
}

const char *
fs_daemon_credentials(const struct fs_daemon *d)
{
    return d->credentials;
}

const char *
fs_daemon_incarnation(const struct fs_daemon *d)
{
    return d->incarnation;
}

struct fs_peer *
fs_daemon_peer(const struct fs_daemon *d, const char *name)
{
    for (size_t i = 0; i < d->n_peers; i++) {
        if (!strcmp(fs_peer_name(d->peers[i]), name)) {
            return d->peers[i];
        }
    }
    return NULL;
}

static double
resident_bytes(void)
{
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f) {
        if (fscanf(f, "%*d %ld", &pages) != 1) {
            pages = 0;
        }
        fclose(f);
    }
    return (double) pages * (double) sysconf(_SC_PAGESIZE);
}

xmlrpc_value *
fs_daemon_statistics(const struct fs_daemon *d)
{
    unsigned connections = 0, in_flight = 0;
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    if (d->server) {
        fs_server_load(d->server, &connections, &in_flight);
    }
    xmlrpc_value *v = fs_struct();
    fs_set(v, "uptime_seconds", fs_double((double) (fs_now_ms() - d->started) / 1e3));
    fs_set(v, "resident_bytes", fs_double(resident_bytes()));
    fs_set(v, "cpu_seconds", fs_double((double) (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec)
                                       + (double) (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6));
    if (d->server) {
        fs_set(v, "door", fs_server_figures(d->server));
    }
    fs_set(v, "connections", fs_int((int) connections));
    fs_set(v, "calls_in_flight", fs_int((int) in_flight));
    fs_engine_add_figures(d->engine, v);
    xmlrpc_value *methods = fs_array();
    struct fs_table *table = fs_loader_take(d->loader, FS_KIND_COMMAND, NULL);
    for (int kind = FS_KIND_COMMAND; kind <= FS_KIND_TASK; kind++) {
        size_t n;
        char *problems;
        struct fs_loaded **list = fs_table_list(d->loader, table, (enum fs_method_kind) kind, &n, &problems);
        for (size_t i = 0; i < n; i++) {
            double calls, failures, seconds;
            fs_loaded_figures(list[i], &calls, &failures, &seconds);
            if (calls > 0) {
                xmlrpc_value *m = fs_struct();
                fs_set(m, "method", fs_string(list[i]->method->name));
                fs_set(m, "kind", fs_string(kind == FS_KIND_TASK ? "task" : "command"));
                fs_set(m, "calls", fs_double(calls));
                fs_set(m, "failures", fs_double(failures));
                fs_set(m, "seconds", fs_double(seconds));
                fs_append(methods, m);
            }
        }
        free(list);
        free(problems);
    }
    fs_loader_give(d->loader, table);
    return fs_set(v, "methods", methods);
}

/* --- What the server asks --- */

static void
on_call(void *aux, const char *method, xmlrpc_value *params, const char *request_id, const char *caller, struct fs_reply *reply, bool *plain)
{
    struct fs_daemon_call context = { .request_id = request_id, .caller = caller };
    fs_daemon_run_command(aux, method, params, &context, reply, plain);
}

static bool
is_quick(void *aux, const char *method)
{
    struct fs_daemon *d = aux;
    if (*method == '/') {
        return strcmp(method, "/metrics") != 0;
    }
    return fs_loader_is_quick(d->loader, method);
}

/* /metrics shows what get_statistics answers, so a daemon that wants more there answers more. */
static char *
on_get(void *aux, const char *path, const char **type, unsigned *status)
{
    struct fs_daemon *d = aux;
    if (!strcmp(path, "/healthz")) {
        return fs_xasprintf("ok %s %s\n", d->class->name, PACKAGE_VERSION);
    }
    if (strcmp(path, "/metrics")) {
        return NULL;
    }
    struct fs_daemon_call context = { .request_id = "metrics" };
    struct fs_reply reply = { 0 };
    bool plain = false;
    xmlrpc_value *none = fs_array();
    fs_daemon_run_command(d, "get_statistics", none, &context, &reply, &plain);
    fs_free(none);
    char *text;
    if (reply.code) {
        *status = 503;
        text = fs_xasprintf("get_statistics: %s\n", reply.message);
    } else {
        *type = "text/plain; version=0.0.4; charset=utf-8";
        text = fs_metrics_text(d->class->name, reply.value);
    }
    fs_reply_clear(&reply);
    return text;
}

/* --- Start --- */

static void
random_hex(char *hex, size_t bytes)
{
    unsigned char raw[32];
    gnutls_rnd(GNUTLS_RND_NONCE, raw, bytes);
    for (size_t i = 0; i < bytes; i++) {
        snprintf(hex + 2 * i, 3, "%02x", raw[i]);
    }
}

static char *
read_credentials(const char *path, char **error)
{
    struct stat st;
    char *text;
    size_t size;
    int e = fs_read_file(AT_FDCWD, path, 1024, false, &text, &size);
    if (e) {
        *error = fs_xasprintf("%s: %s", path, strerror(e));
        return NULL;
    }
    text[strcspn(text, "\r\n")] = '\0';
    if (!strchr(text, ':') || *text == ':') {
        *error = fs_xasprintf("%s: the first line must be user:password", path);
    } else if (!stat(path, &st) && st.st_mode & 077) {
        *error = fs_xasprintf("%s: others can read it; chmod 600 it", path);
    } else {
        return text;
    }
    free(text);
    return NULL;
}

/* One that was killed keeps its lock until its memory is freed, a tenth of a second for 400 MB, and its first thread is a zombie before that: who started us may have thought it dead.
 * Shorter than what a supervisor takes for a good start. */
static bool
lock_soon(int fd)
{
    int64_t until = fs_now_ms() + LOCK_MS;
    while (flock(fd, LOCK_EX | LOCK_NB)) {
        if (errno != EWOULDBLOCK || fs_now_ms() > until) {
            return false;
        }
        usleep(LOCK_STEP_US);
    }
    return true;
}

/* One process a folder: a second instance started by mistake ends here and touches nothing. */
static char *
take_folder(struct fs_daemon *d)
{
    int e = fs_make_dirs(d->dir);
    if (e) {
        return fs_xasprintf("%s: %s", d->dir, strerror(e));
    }
    char *path = fs_xasprintf("%s/lock", d->dir);
    char *why = NULL;
    d->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (d->lock_fd < 0) {
        why = fs_xasprintf("%s: %s", path, strerror(errno));
    } else if (!lock_soon(d->lock_fd)) {
        why = fs_xasprintf("%s: another flowstream-%s works in this folder already", path, d->class->name);
    }
    free(path);
    return why;
}

static void
make_peers(struct fs_daemon *d)
{
    const char *name;
    while ((name = fs_setting(d->settings, "peer", d->n_peers, "name"))) {
        const char *url = fs_setting(d->settings, "peer", d->n_peers, "url");
        d->peers = fs_xrealloc(d->peers, (d->n_peers + 1) * sizeof *d->peers);
        d->peers[d->n_peers++] = fs_peer_new(name, url, d->credentials);
    }
}

static struct fs_engine *
make_engine(struct fs_daemon *d)
{
    struct fs_engine_limits limits = {
        .threads = (unsigned) fs_setting_number(d->settings, "limits", "task-threads", 16),
        .waiting = (size_t) fs_setting_number(d->settings, "limits", "tasks", 100000),
        .waiting_bytes = (size_t) fs_setting_number(d->settings, "limits", "task-bytes", 64 << 20),
        .results = (size_t) fs_setting_number(d->settings, "limits", "results", 4096),
        .result_bytes = (size_t) fs_setting_number(d->settings, "limits", "result-bytes", 64 << 20),
        .result_seconds = (unsigned) fs_setting_number(d->settings, "limits", "result-seconds", 3600),
    };
    return fs_engine_new(d, &limits);
}

/* All that can fail, in order; NULL or the reason. */
static char *
begin(struct fs_daemon *d, const char *config)
{
    char *error = NULL;
    if (fs_settings_read(config, d->class->name, &d->settings, &error)) {
        return error;
    }
    const char *level, *credentials = fs_setting(d->settings, "credentials", 0, "file");
    for (size_t i = 0; (level = fs_setting(d->settings, "log", i, "level")); i++) {
        const char *module = fs_setting(d->settings, "log", i, "module");
        fs_log_set_level(module ? module : "", level);
    }
    d->dir = fs_xstrdup(fs_setting(d->settings, NULL, 0, "dir"));
    if (credentials && !(d->credentials = read_credentials(credentials, &error))) {
        return error;
    }
    if ((error = take_folder(d))) {
        return error;
    }
    make_peers(d);
    char *images = fs_xasprintf("%s/images", d->dir);
    const char *keys[MAX_KEYS];
    struct fs_loader_options options = { .lib = fs_setting(d->settings, NULL, 0, "lib"), .own = d->class->name, .images = images, .keys = keys, .daemon = d };
    while (options.n_keys < MAX_KEYS && (keys[options.n_keys] = fs_setting(d->settings, "trust", options.n_keys, "key"))) {
        options.n_keys++;
    }
    d->loader = fs_loader_new(&options, &error);
    free(images);
    if (!d->loader) {
        return error;
    }
    d->engine = make_engine(d);
    if (d->class->start && !(d->state = d->class->start(d, d->settings, &error))) {
        return error;
    }
    struct fs_server_handler handler = { .aux = d, .call = on_call, .quick = is_quick, .get = on_get };
    return front_open(d->settings, d->credentials, &handler, &d->server);
}

static void
finish(struct fs_daemon *d)
{
    bool drained = fs_server_drain(d->server, END_MS);
    if (!drained) {
        fs_engine_cancel_all(d->engine); /* calls that wait for tasks come back then */
        drained = fs_server_drain(d->server, LAST_MS);
    }
    if (!drained || !fs_engine_destroy(d->engine, END_MS)) {
        _exit(1); /* a call or a task still uses what would be freed */
    }
    fs_server_destroy(d->server);
    if (d->state && d->class->stop) {
        d->class->stop(d->state);
    }
    fs_loader_destroy(d->loader);
    while (d->n_peers) {
        fs_peer_destroy(d->peers[--d->n_peers]);
    }
    free(d->peers);
    fs_settings_destroy(d->settings);
    if (d->lock_fd >= 0) {
        close(d->lock_fd);
    }
    if (d->credentials) {
        explicit_bzero(d->credentials, strlen(d->credentials));
    }
    fs_fence_free(d->fence);
    free(d->credentials);
    free(d->dir);
    xmlCleanupParser();
}

static void
usage(const struct fs_daemon_class *class, FILE *to)
{
    fprintf(to,
            "usage: flowstream-%s --config FILE [--foreground]\n\n%s\n\n"
            "  --config FILE   the configuration (XML; docs/configuration.md)\n"
            "  --foreground    stay in the foreground and log to standard error;\n"
            "                  else go to the background and log to DIR/log\n"
            "  --version       print the version\n"
            "  --help          print this\n\n"
            "The methods that it serves are listed by: flowstream call %s system.listMethods\n",
            class->name, class->summary, class->name);
}

/* The parent waits until the child serves, so that a script may go on after the daemon's command has returned. */
static int
background(void)
{
    int ready[2];
    if (pipe2(ready, O_CLOEXEC)) {
        return -1;
    }
    pid_t pid = fork();
    if (pid < 0) {
        return -1;
    }
    if (pid > 0) {
        char ok = 0;
        close(ready[1]);
        _exit(read(ready[0], &ok, 1) == 1 ? 0 : 1);
    }
    close(ready[0]);
    setsid();
    return ready[1];
}

static void
log_to_file(const struct fs_daemon *d, int ready)
{
    char *path = fs_xasprintf("%s/log", d->dir);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    dup2(null, 0);
    dup2(null, 1);
    dup2(log < 0 ? null : log, 2);
    (void) !write(ready, "y", 1);
    close(ready);
    if (null > 2) {
        close(null);
    }
    if (log > 2) {
        close(log);
    }
    free(path);
}

static void
wait_for_end(void)
{
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    int got = 0;
    sigwait(&ends, &got);
    fs_log_info("%s: ending", strsignal(got));
}

static void
prepare_process(void)
{
    sigset_t block;
    sigemptyset(&block);
    sigaddset(&block, SIGTERM);
    sigaddset(&block, SIGINT);
    pthread_sigmask(SIG_BLOCK, &block, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGIO, SIG_IGN); /* somebody wants to write a file that the loader is reading: it is soon done */
    umask(077);
    struct rlimit files;
    if (!getrlimit(RLIMIT_NOFILE, &files)) {
        files.rlim_cur = files.rlim_max < 65536 ? files.rlim_max : 65536;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    mallopt(M_ARENA_MAX, 4); /* many threads that mostly wait need no arena each */
    xmlInitParser();
}

int
fs_daemon_main(const struct fs_daemon_class *class, int argc, char **argv)
{
    static const struct option options[] = {
        { "config", required_argument, NULL, 'c' }, { "foreground", no_argument, NULL, 'f' }, { "version", no_argument, NULL, 'V' },
        { "help", no_argument, NULL, 'h' },         { "vet", no_argument, NULL, 'v' },        { NULL, 0, NULL, 0 },
    };
    const char *config = NULL;
    bool foreground = false;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 'c':
            config = optarg;
            break;
        case 'f':
            foreground = true;
            break;
        case 'v': /* not for users: the loader runs this program to try an object */
            return fs_vet_main(argc - optind, argv + optind);
        case 'V':
            printf("flowstream-%s %s\n", class->name, PACKAGE_VERSION);
            return 0;
        case 'h':
            usage(class, stdout);
            return 0;
        default:
            usage(class, stderr);
            return 2;
        }
    }
    if (!config || optind < argc) {
        fprintf(stderr, "flowstream-%s: %s\n", class->name, config ? "unexpected argument" : "--config FILE is needed");
        usage(class, stderr);
        return 2;
    }
    fs_inherit_begin();
    int ready = foreground ? -1 : background();
    prepare_process();
    struct fs_daemon d = { .class = class, .lock_fd = -1, .started = fs_now_ms() };
    random_hex(d.incarnation, 8);
    d.fence = fs_fence_new();
    fs_log_open(class->name);
    char *error = begin(&d, config);
    if (error) {
        fprintf(stderr, "flowstream-%s: %s\n", class->name, error);
        free(error);
        finish(&d);
        return 1;
    }
    if (ready >= 0) {
        log_to_file(&d, ready);
    }
    for (const struct fs_regular_task *t = class->regular; t && t->name; t++) {
        fs_engine_every(d.engine, t->name, t->ms, t->patience_ms);
    }
    fs_log_info("version %s serves", PACKAGE_VERSION);
    wait_for_end();
    finish(&d);
    return 0;
}

/* The HTTP front of a daemon, over libmicrohttpd.
 *
 * libmicrohttpd's own threads read requests and write answers with epoll.  Credentials, path, method and length are looked at when the
 * headers are in, before a byte of the body is read.  What never blocks is served at once; for any other call or text
 * the connection is suspended and a worker thread serves it, so a slow one never delays another connection. */
#include "config.h"

#include "core/server_parts.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "core/inherit.h"
#include "core/listen.h"
#include "core/util.h"
#include <flowstream/log.h>

FS_LOG_MODULE("rpc");

enum { LOCAL_WORKERS = 8 /* that only calls over a Unix socket may use */ };

static enum MHD_Result
may_come_in(void *aux, const struct sockaddr *address, socklen_t size)
{
    (void) size;
    return door_admit(((struct listener *) aux)->door, address) ? MHD_YES : MHD_NO;
}

static void
on_connection(void *aux, struct MHD_Connection *c, void **visitor, enum MHD_ConnectionNotificationCode code)
{
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        int fd = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
        *visitor = door_enter(((struct listener *) aux)->door, fd, MHD_get_connection_info(c, MHD_CONNECTION_INFO_CLIENT_ADDRESS)->client_addr);
    } else {
        door_leave(*visitor);
    }
}

static void
on_library_log(void *aux, const char *format, va_list args)
{
    (void) aux;
    if (fs_log_wants(&fs_this_log_, FS_LOG_DEBUG)) {
        char *text = fs_xvasprintf(format, args);
        fs_log_limited(FS_LOG_DEBUG, "libmicrohttpd: %s", text);
        free(text);
    }
}

struct fs_server *
fs_server_new(const struct fs_server_options *options, const struct fs_server_handler *handler, char **error)
{
    struct credentials *credentials = credentials_new(options->credentials, options->users, error);
    if (!credentials) {
        return NULL;
    }
    struct fs_server *s = fs_xcalloc(1, sizeof *s);
    s->options = *options;
    s->handler = *handler;
    s->credentials = credentials;
    s->certificate = options->certificate ? fs_xstrdup(options->certificate) : NULL;
    s->key = options->key ? fs_xstrdup(options->key) : NULL;
    s->workers = workers_new(options->threads, LOCAL_WORKERS);
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&s->done, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return s;
}

static struct door *
make_door(const struct fs_server_options *o, bool local)
{
    struct door_limits limits = {
        .connections = o->max_connections,
        .per_peer = local ? 0 : o->max_peer_connections ? o->max_peer_connections : FS_SERVER_PEER_CONNECTIONS,
        .loopback_too = o->max_peer_connections != 0,
        .header_s = o->header_seconds,
        .idle_s = o->idle_seconds,
        .body_s = o->body_seconds,
        .answer_s = o->answer_seconds,
    };
    return door_new(&limits);
}

static struct MHD_Daemon *
start_library(struct fs_server *s, struct listener *l, int fd)
{
    bool local = l->unix_path, tls = s->certificate && !local;
    struct MHD_OptionItem secure[] = {
        { MHD_OPTION_HTTPS_MEM_CERT, 0, s->certificate },
        { MHD_OPTION_HTTPS_MEM_KEY, 0, s->key },
        { MHD_OPTION_HTTPS_PRIORITIES, 0, (void *) (uintptr_t) "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:%SERVER_PRECEDENCE" },
        { MHD_OPTION_END, 0, NULL },
    };
    struct MHD_OptionItem none[] = { { MHD_OPTION_END, 0, NULL } };
    return MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG | (tls ? MHD_USE_TLS : 0), 0, may_come_in, l, server_on_access, l,
        MHD_OPTION_EXTERNAL_LOGGER, on_library_log, NULL, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_NOTIFY_COMPLETED, server_on_completed, l,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, l, MHD_OPTION_CONNECTION_LIMIT, s->options.max_connections,
        MHD_OPTION_CONNECTION_TIMEOUT, s->options.idle_seconds, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t) 32768,
        MHD_OPTION_THREAD_POOL_SIZE, local ? 0u : 2u, MHD_OPTION_ARRAY, tls ? secure : none, MHD_OPTION_END);
}

int
fs_server_listen(struct fs_server *s, const char *where, char **bound, char **error)
{
    if (s->n_listeners == MAX_SOCKETS) {
        *error = fs_xasprintf("more than %d listening sockets", MAX_SOCKETS);
        return EINVAL;
    }
    bool is_unix = !strncmp(where, "unix:", 5);
    const char *lacking = !credentials_needed(s->credentials) ? "<credentials>" : !s->certificate ? "<tls>" : NULL;
    int fd = fs_inherit_socket(s->n_listeners, where, error); /* -1: none */
    bool inherited = fd >= 0;
    if (fd < -1) {
        return EINVAL;
    }
    int code = !is_unix ? listen_tcp(where, lacking, &fd, error) : inherited ? 0 : listen_unix(where + 5, &fd);
    if (code) {
        if (is_unix) {
            *error = fs_xasprintf("cannot listen on %s: %s", where, strerror(code));
        }
        return code;
    }
    struct listener *l = &s->listeners[s->n_listeners];
    *l = (struct listener) { .server = s, .door = make_door(&s->options, is_unix), .unix_path = is_unix ? fs_xstrdup(where + 5) : NULL, .closed = -1 };
    struct MHD_Daemon *d = start_library(s, l, fd);
    if (!d) {
        *error = fs_xasprintf("libmicrohttpd cannot serve %s%s", where, s->certificate && !is_unix ? " with this certificate and key" : "");
        close(fd);
        door_destroy(l->door);
        free(l->unix_path);
        return EIO;
    }
    pthread_mutex_lock(&s->lock); /* calls that came over the first socket may ask for the load already */
    l->daemon = d;
    l->inherited = inherited;
    s->n_listeners++;
    pthread_mutex_unlock(&s->lock);
    *bound = is_unix ? fs_xstrdup(where) : listen_name(fd);
    return 0;
}

void
fs_server_load(struct fs_server *s, unsigned *connections, unsigned *calls)
{
    unsigned waiting, running;
    *connections = 0;
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < s->n_listeners; i++) {
        const union MHD_DaemonInfo *info = MHD_get_daemon_info(s->listeners[i].daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS);
        *connections += info ? info->num_connections : 0;
    }
    pthread_mutex_unlock(&s->lock);
    workers_load(s->workers, &waiting, &running);
    *calls = waiting + running;
}

xmlrpc_value *
fs_server_figures(struct fs_server *s)
{
    xmlrpc_value *v = fs_struct();
    pthread_mutex_lock(&s->lock);
    size_t n = s->n_listeners;
    pthread_mutex_unlock(&s->lock);
    for (size_t i = 0; i < n; i++) {
        door_add_figures(s->listeners[i].door, v);
    }
    return fs_set(v, "password_hashes", fs_double(credentials_checks(s->credentials)));
}

/* No new connections; nobody finds the Unix sockets any more.  Callers are refused from now on, but the descriptors are not closed yet: a thread of the library may be about to wait for
 * one, and would wait for whatever had got its number. */
static void
close_doors(struct fs_server *s)
{
    for (size_t i = 0; i < s->n_listeners; i++) {
        struct listener *l = &s->listeners[i];
        l->closed = MHD_quiesce_daemon(l->daemon);
        if (l->closed >= 0 && !l->inherited) {
            shutdown(l->closed, SHUT_RDWR);
        }
        if (l->unix_path && !l->inherited) {
            unlink(l->unix_path);
        }
    }
}

bool
fs_server_drain(struct fs_server *s, int ms)
{
    if (!s) {
        return true;
    }
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t end = fs_now_ms() + ms;
    until.tv_sec += ms / 1000;
    workers_end(s->workers);
    if (!s->ending) {
        s->ending = true;
        close_doors(s);
    }
    pthread_mutex_lock(&s->lock);
    while (s->n_calls && pthread_cond_timedwait(&s->done, &s->lock, &until) != ETIMEDOUT) {
    }
    pthread_mutex_unlock(&s->lock);
    int64_t left = end - fs_now_ms();
    bool drained = workers_wait(s->workers, left > 0 ? (int) left : 0);
    unsigned waiting, running;
    workers_load(s->workers, &waiting, &running);
    if (waiting + running) {
        fs_log_warning("%u calls have not ended after %d s", waiting + running, ms / 1000);
    }
    return drained;
}

void
fs_server_destroy(struct fs_server *s)
{
    if (!s) {
        return;
    }
    for (size_t i = 0; i < s->n_listeners; i++) {
        MHD_stop_daemon(s->listeners[i].daemon);
        if (s->listeners[i].closed >= 0) {
            close(s->listeners[i].closed);
        }
        door_destroy(s->listeners[i].door);
        free(s->listeners[i].unix_path);
    }
    workers_destroy(s->workers);
    credentials_destroy(s->credentials);
    pthread_cond_destroy(&s->done);
    pthread_mutex_destroy(&s->lock);
    free(s->certificate);
    if (s->key) {
        explicit_bzero(s->key, strlen(s->key));
    }
    free(s->key);
    free(s);
}

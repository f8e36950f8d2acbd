/* The HTTP front of a daemon, over libmicrohttpd.
 *
 * libmicrohttpd's own threads read requests and write answers with epoll.  Credentials, path, method and length are looked at when the
 * headers are in, before a byte of the body is read.  A call of a method that never blocks is served at once; for any other
 * the connection is suspended and a worker thread serves it, so a slow call never delays another connection. */
#include "config.h"

#include "core/server.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/util.h"
#include "core/xmlrpc.h"
#include <flowstream/log.h>

FS_LOG_MODULE("rpc");

enum { MAX_SOCKETS = 8, MAX_QUEUE = 1024 };

/* One HTTP request. */
struct request {
    struct fs_server *server;
    struct MHD_Connection *connection;
    struct fs_text body;
    char id[40];
    char *method;         /* decoded call */
    xmlrpc_value *params;
    char *answer;         /* owned until given to libmicrohttpd */
    size_t answer_size;
    struct request *next; /* in the queue */
};

struct fs_server {
    struct fs_server_options options;
    struct fs_server_handler handler;
    char *credentials;
    struct {
        struct MHD_Daemon *daemon;
        char *unix_path; /* to unlink, or NULL */
    } sockets[MAX_SOCKETS];
    size_t n_sockets;
    pthread_mutex_t lock;
    pthread_cond_t work, done;
    struct request *head, **tail;
    unsigned n_queued, n_running, n_threads, n_idle;
    bool ending;
};

/* --- Answers --- */

static enum MHD_Result
answer(struct MHD_Connection *c, unsigned status, const char *type, char *text /* taken */, size_t size)
{
    struct MHD_Response *r = MHD_create_response_from_buffer(size, text, MHD_RESPMEM_MUST_FREE);
    if (!r) {
        free(text);
        return MHD_NO;
    }
    MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    enum MHD_Result result = MHD_queue_response(c, status, r);
    MHD_destroy_response(r);
    return result;
}

static enum MHD_Result
refuse(struct MHD_Connection *c, unsigned status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = fs_xvasprintf(format, args);
    va_end(args);
    fs_log_limited(FS_LOG_INFO, "refused with status %u: %s", status, text);
    struct fs_text line = { 0 };
    fs_text_addf(&line, "%s\n", text);
    free(text);
    if (status != MHD_HTTP_UNAUTHORIZED) {
        return answer(c, status, "text/plain; charset=utf-8", line.text, line.length);
    }
    struct MHD_Response *r = MHD_create_response_from_buffer(line.length, line.text, MHD_RESPMEM_MUST_FREE);
    MHD_add_response_header(r, MHD_HTTP_HEADER_CONNECTION, "close");
    enum MHD_Result result = MHD_queue_basic_auth_fail_response(c, "flowstream", r);
    MHD_destroy_response(r);
    return result;
}

/* --- Serving a call --- */

static void
serve(struct request *q)
{
    struct fs_reply reply = { 0 };
    bool plain = false;
    char *error = NULL;
    fs_log_set_request(q->id);
    if (!q->method && fs_xmlrpc_decode_call(q->body.text ? q->body.text : "", q->body.length, &q->method, &q->params, &error)) {
        fs_reply_fault(&reply, XMLRPC_PARSE_ERROR, "not an XML-RPC call: %s", error);
        fs_log_limited(FS_LOG_INFO, "not an XML-RPC call: %s", error);
        free(error);
    } else {
        q->server->handler.call(q->server->handler.aux, q->method, q->params, q->id, &reply, &plain);
    }
    if (reply.fault) {
        q->answer = fs_xmlrpc_encode_fault(reply.fault, reply.message ? reply.message : "", &q->answer_size);
    } else {
        xmlrpc_value *nil = plain && !reply.value ? fs_nil() : NULL;
        xmlrpc_value *wrapped = plain ? NULL : fs_reply_value(&reply);
        q->answer = fs_xmlrpc_encode_response(wrapped ? wrapped : nil ? nil : reply.value, &q->answer_size);
        fs_free(nil);
        fs_free(wrapped);
    }
    fs_reply_clear(&reply);
    fs_log_set_request("");
}

static void *
worker(void *data)
{
    struct fs_server *s = data;
    pthread_mutex_lock(&s->lock);
    for (;;) {
        while (!s->head && !s->ending) {
            s->n_idle++;
            pthread_cond_wait(&s->work, &s->lock);
            s->n_idle--;
        }
        struct request *q = s->head;
        if (!q) {
            break;
        }
        s->head = q->next;
        if (!s->head) {
            s->tail = &s->head;
        }
        s->n_queued--;
        s->n_running++;
        pthread_mutex_unlock(&s->lock);
        serve(q);
        MHD_resume_connection(q->connection);
        pthread_mutex_lock(&s->lock);
        s->n_running--;
        pthread_cond_broadcast(&s->done);
    }
    s->n_threads--;
    pthread_cond_broadcast(&s->done);
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* Give a request to a worker; false when too many wait already. */
static bool
enqueue(struct fs_server *s, struct request *q)
{
    pthread_mutex_lock(&s->lock);
    bool taken = !s->ending && s->n_queued < MAX_QUEUE;
    if (taken) {
        MHD_suspend_connection(q->connection);
        q->next = NULL;
        *s->tail = q;
        s->tail = &q->next;
        s->n_queued++;
        if (s->n_idle < s->n_queued && s->n_threads < s->options.threads) {
            pthread_t t;
            pthread_attr_t detached;
            pthread_attr_init(&detached);
            pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
            s->n_threads += pthread_create(&t, &detached, worker, s) == 0;
            pthread_attr_destroy(&detached);
        }
        pthread_cond_signal(&s->work);
    }
    pthread_mutex_unlock(&s->lock);
    return taken;
}

/* --- HTTP --- */

/* The id that a client gave, if it is a decent one, or a new one. */
static void
choose_id(struct request *q)
{
    const char *given = MHD_lookup_connection_value(q->connection, MHD_HEADER_KIND, "Flowstream-Request");
    size_t n = given ? strlen(given) : 0;
    if (n && n < sizeof q->id && strspn(given, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-") == n) {
        memcpy(q->id, given, n + 1);
        return;
    }
    uint64_t random = 0;
    (void) !getrandom(&random, sizeof random, 0);
    snprintf(q->id, sizeof q->id, "%016llx", (unsigned long long) random);
}

/* Compares without telling by the time it takes how much was right. */
static bool
same(const char *a, const char *b)
{
    size_t na = strlen(a), nb = strlen(b);
    unsigned char difference = na != nb;
    for (size_t i = 0; i < na; i++) {
        difference |= (unsigned char) ((unsigned char) a[i] ^ (unsigned char) b[nb ? i % nb : 0]);
    }
    return !difference;
}

static bool
authorised(const struct fs_server *s, struct MHD_Connection *c)
{
    if (!s->credentials) {
        return true;
    }
    char *password = NULL;
    char *user = MHD_basic_auth_get_username_password(c, &password);
    bool good = false;
    if (user && password) {
        char *both = fs_xasprintf("%s:%s", user, password);
        good = same(both, s->credentials);
        free(both);
    }
    MHD_free(user);
    MHD_free(password);
    return good;
}

static enum MHD_Result
serve_get(struct fs_server *s, struct MHD_Connection *c, const char *path)
{
    const char *type = "text/plain; charset=utf-8";
    unsigned status = MHD_HTTP_OK;
    char *text = s->handler.get(s->handler.aux, path, &type, &status);
    if (!text) {
        return refuse(c, MHD_HTTP_NOT_FOUND, "there is no %.100s here: XML-RPC calls go to POST /RPC2", path);
    }
    return answer(c, status, type, text, strlen(text));
}

/* The headers are in: may the body come? */
static enum MHD_Result
headers(struct fs_server *s, struct MHD_Connection *c, const char *path, const char *verb, void **state)
{
    if (!strcmp(verb, "GET") || !strcmp(verb, "HEAD")) {
        return serve_get(s, c, path);
    }
    if (strcmp(verb, "POST")) {
        return refuse(c, MHD_HTTP_METHOD_NOT_ALLOWED, "%.20s is not served: POST /RPC2, GET /metrics, GET /healthz are", verb);
    }
    if (strcmp(path, "/RPC2")) {
        return refuse(c, MHD_HTTP_NOT_FOUND, "XML-RPC calls go to /RPC2, not to %.100s", path);
    }
    if (!authorised(s, c)) {
        return refuse(c, MHD_HTTP_UNAUTHORIZED, "user name and password are needed (the url that 'flowstream url' prints has them)");
    }
    const char *length = MHD_lookup_connection_value(c, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);
    if (length && (strspn(length, "0123456789") != strlen(length) || strlen(length) > 12
                   || strtoull(length, NULL, 10) > s->options.max_body)) {
        return refuse(c, MHD_HTTP_CONTENT_TOO_LARGE, "a call of %.20s bytes; at most %zu are taken", length, s->options.max_body);
    }
    struct request *q = fs_xcalloc(1, sizeof *q);
    q->server = s;
    q->connection = c;
    choose_id(q);
    *state = q;
    return MHD_YES;
}

static enum MHD_Result
on_access(void *aux, struct MHD_Connection *c, const char *path, const char *verb, const char *version, const char *bytes,
          size_t *size, void **state)
{
    struct fs_server *s = aux;
    struct request *q = *state;
    (void) version;
    if (!q) {
        return headers(s, c, path, verb, state);
    }
    if (*size) {
        if (q->body.length + *size > s->options.max_body) {
            return MHD_NO; /* chunked and too long: nothing to say that the peer would read */
        }
        fs_text_add(&q->body, bytes, *size);
        *size = 0;
        return MHD_YES;
    }
    if (!q->answer) {
        char *error = NULL;
        if (q->body.length < 4096
            && fs_xmlrpc_decode_call(q->body.text ? q->body.text : "", q->body.length, &q->method, &q->params, &error)) {
            free(error); /* serve() will say it */
            serve(q);
        } else if (q->method && s->handler.quick(s->handler.aux, q->method)) {
            serve(q);
        } else {
            return enqueue(s, q) ? MHD_YES
                                 : refuse(c, MHD_HTTP_SERVICE_UNAVAILABLE, "%d calls are waiting already: try again later", MAX_QUEUE);
        }
    }
    char *text = q->answer;
    q->answer = NULL;
    return answer(c, MHD_HTTP_OK, "text/xml; charset=utf-8", text, q->answer_size);
}

static void
on_completed(void *aux, struct MHD_Connection *c, void **state, enum MHD_RequestTerminationCode code)
{
    struct request *q = *state;
    (void) aux;
    (void) c;
    (void) code;
    if (q) {
        free(q->body.text);
        free(q->method);
        fs_free(q->params);
        free(q->answer);
        free(q);
        *state = NULL;
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
fs_server_new(const struct fs_server_options *options, const struct fs_server_handler *handler)
{
    struct fs_server *s = fs_xcalloc(1, sizeof *s);
    s->options = *options;
    s->handler = *handler;
    s->credentials = options->credentials ? fs_xstrdup(options->credentials) : NULL;
    s->tail = &s->head;
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&s->work, NULL);
    pthread_cond_init(&s->done, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return s;
}

/* --- Listening --- */

static int
listen_unix(const char *path, int *fdp)
{
    /* Through /proc/self/fd/N a path may be longer than the 107 bytes of sun_path. */
    const char *slash = strrchr(path, '/');
    char *folder = slash ? fs_xasprintf("%.*s", (int) (slash - path) + 1, path) : fs_xstrdup(".");
    int dir = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    free(folder);
    if (dir < 0) {
        return errno;
    }
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int n = snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%s", dir, slash ? slash + 1 : path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int error = fd < 0 ? errno : n >= (int) sizeof address.sun_path ? ENAMETOOLONG : 0;
    if (!error) {
        if (!connect(fd, (struct sockaddr *) &address, sizeof address)) {
            error = EADDRINUSE; /* somebody serves it */
        } else {
            unlink(address.sun_path);
            mode_t before = umask(0177);
            error = bind(fd, (struct sockaddr *) &address, sizeof address) ? errno : 0;
            umask(before);
        }
    }
    close(dir);
    if (!error && listen(fd, 128)) {
        error = errno;
    }
    if (error && fd >= 0) {
        close(fd);
    }
    *fdp = fd;
    return error;
}

static int
listen_tcp(const char *where, bool must_be_loopback, int *fdp, char **error)
{
    const char *colon = strrchr(where, ':');
    if (!colon) {
        *error = fs_xasprintf("'%s' is no HOST:PORT", where);
        return EINVAL;
    }
    bool bracketed = *where == '[' && colon > where && colon[-1] == ']';
    char *host = fs_xasprintf("%.*s", (int) (colon - where) - 2 * bracketed, where + bracketed);
    struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_PASSIVE, .ai_socktype = SOCK_STREAM }, *found = NULL;
    int e = getaddrinfo(host, colon + 1, &hints, &found);
    free(host);
    if (e) {
        *error = fs_xasprintf("'%s': %s", where, gai_strerror(e));
        return EINVAL;
    }
    const struct sockaddr_in *v4 = (const void *) found->ai_addr;
    const struct sockaddr_in6 *v6 = (const void *) found->ai_addr;
    bool loopback = found->ai_family == AF_INET ? ntohl(v4->sin_addr.s_addr) >> 24 == 127 : IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
    int code = 0, fd = -1, one = 1;
    if (must_be_loopback && !loopback) {
        *error = fs_xasprintf("%s: only loopback addresses may be listened on without <credentials>", where);
        code = EPERM;
    } else {
        fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one)
            || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) || bind(fd, found->ai_addr, found->ai_addrlen)
            || listen(fd, 1024)) {
            code = errno;
            *error = fs_xasprintf("cannot listen on %s: %s", where, strerror(code));
        }
    }
    freeaddrinfo(found);
    if (code && fd >= 0) {
        close(fd);
    }
    *fdp = fd;
    return code;
}

static char *
bound_name(int fd)
{
    struct sockaddr_storage address = { 0 };
    socklen_t size = sizeof address;
    char host[64] = "", port[16] = "";
    getsockname(fd, (struct sockaddr *) &address, &size);
    getnameinfo((struct sockaddr *) &address, size, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV);
    return fs_xasprintf(strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
}

int
fs_server_listen(struct fs_server *s, const char *where, char **bound, char **error)
{
    if (s->n_sockets == MAX_SOCKETS) {
        *error = fs_xasprintf("more than %d listening sockets", MAX_SOCKETS);
        return EINVAL;
    }
    bool is_unix = !strncmp(where, "unix:", 5);
    int fd = -1;
    int code = is_unix ? listen_unix(where + 5, &fd) : listen_tcp(where, !s->credentials, &fd, error);
    if (code) {
        if (is_unix) {
            *error = fs_xasprintf("cannot listen on %s: %s", where, strerror(code));
        }
        return code;
    }
    unsigned n_threads = is_unix ? 0 : 2;
    struct MHD_Daemon *d = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_access, s,
        MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_NOTIFY_COMPLETED, on_completed, s, MHD_OPTION_CONNECTION_LIMIT,
        s->options.max_connections, MHD_OPTION_CONNECTION_TIMEOUT, s->options.idle_seconds, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t) 32768, MHD_OPTION_EXTERNAL_LOGGER, on_library_log, NULL, MHD_OPTION_THREAD_POOL_SIZE, n_threads, MHD_OPTION_END);
    if (!d) {
        *error = fs_xasprintf("libmicrohttpd cannot serve %s", where);
        close(fd);
        return EIO;
    }
    s->sockets[s->n_sockets].daemon = d;
    s->sockets[s->n_sockets++].unix_path = is_unix ? fs_xstrdup(where + 5) : NULL;
    *bound = is_unix ? fs_xstrdup(where) : bound_name(fd);
    return 0;
}

void
fs_server_load(struct fs_server *s, unsigned *connections, unsigned *calls)
{
    *connections = 0;
    for (size_t i = 0; i < s->n_sockets; i++) {
        const union MHD_DaemonInfo *info = MHD_get_daemon_info(s->sockets[i].daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS);
        *connections += info ? info->num_connections : 0;
    }
    pthread_mutex_lock(&s->lock);
    *calls = s->n_queued + s->n_running;
    pthread_mutex_unlock(&s->lock);
}

void
fs_server_destroy(struct fs_server *s, int ms)
{
    if (!s) {
        return;
    }
    for (size_t i = 0; i < s->n_sockets; i++) {
        int fd = MHD_quiesce_daemon(s->sockets[i].daemon);
        if (fd >= 0) {
            close(fd);
        }
        if (s->sockets[i].unix_path) {
            unlink(s->sockets[i].unix_path);
        }
    }
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000 + 1;
    pthread_mutex_lock(&s->lock);
    s->ending = true;
    pthread_cond_broadcast(&s->work);
    while (s->n_threads && pthread_cond_timedwait(&s->done, &s->lock, &until) != ETIMEDOUT) {
    }
    bool stuck = s->n_threads > 0;
    pthread_mutex_unlock(&s->lock);
    if (stuck) {
        fs_log_warning("%u calls did not end in time and are abandoned", s->n_running);
        return; /* they still use the server: the process ends anyway */
    }
    for (size_t i = 0; i < s->n_sockets; i++) {
        MHD_stop_daemon(s->sockets[i].daemon);
        free(s->sockets[i].unix_path);
    }
    pthread_cond_destroy(&s->work);
    pthread_cond_destroy(&s->done);
    pthread_mutex_destroy(&s->lock);
    free(s->credentials);
    free(s);
}

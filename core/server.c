/* The HTTP front of a daemon, over libmicrohttpd.
 *
 * libmicrohttpd's own threads read requests and write answers with epoll.  Credentials, path, method and length are looked at when the
 * headers are in, before a byte of the body is read.  What never blocks is served at once; for any other call or text
 * the connection is suspended and a worker thread serves it, so a slow one never delays another connection. */
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
#include <time.h>
#include <unistd.h>

#include "core/inherit.h"
#include "core/util.h"
#include "core/xmlrpc.h"
#include <flowstream/log.h>

FS_LOG_MODULE("rpc");

enum { MAX_SOCKETS = 8, MAX_QUEUE = 1024, WORKER_STACK = 2 << 20 /* bytes of address space; most is never touched */, MAX_BODIES = 256 << 20 };

/* One HTTP request. */
struct request {
    struct fs_server *server;
    struct MHD_Connection *connection;
    struct fs_text body;
    bool counted;         /* in the server's n_calls */
    char *path;           /* of a GET, or NULL */
    char id[40];
    char *method;         /* decoded call */
    xmlrpc_value *params;
    char *answer;         /* owned until given to libmicrohttpd */
    size_t answer_size;
    const char *type;     /* of the answer */
    unsigned status;
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
    unsigned n_calls;  /* whose answer is not on its way yet */
    size_t body_bytes; /* held by all requests together */
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
serve_get(struct request *q)
{
    q->type = "text/plain; charset=utf-8";
    q->answer = q->server->handler.get(q->server->handler.aux, q->path, &q->type, &q->status);
    if (!q->answer) {
        q->status = MHD_HTTP_NOT_FOUND;
        q->answer = fs_xasprintf("there is no %.100s here: XML-RPC calls go to POST /RPC2\n", q->path);
    }
    q->answer_size = strlen(q->answer);
}

static void
serve_call(struct request *q)
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

static void
serve(struct request *q)
{
    if (q->path) {
        serve_get(q);
    } else {
        serve_call(q);
    }
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

static void
start_thread(struct fs_server *s)
{
    pthread_t t;
    pthread_attr_t detached;
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&detached, WORKER_STACK);
    s->n_threads += pthread_create(&t, &detached, worker, s) == 0;
    pthread_attr_destroy(&detached);
}

/* Give a request to a worker; false when too many wait already. */
static bool
enqueue(struct fs_server *s, struct request *q)
{
    pthread_mutex_lock(&s->lock);
    bool room = !s->ending && s->n_queued < MAX_QUEUE;
    if (room && s->n_idle < s->n_queued + 1 && s->n_threads < s->options.threads) {
        start_thread(s);
    }
    bool taken = room && s->n_threads;
    if (taken) {
        MHD_suspend_connection(q->connection);
        q->next = NULL;
        *s->tail = q;
        s->tail = &q->next;
        s->n_queued++;
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

static struct request *
new_request(struct fs_server *s, struct MHD_Connection *c, const char *path)
{
    struct request *q = fs_xcalloc(1, sizeof *q);
    q->server = s;
    q->connection = c;
    q->path = path ? fs_xstrdup(path) : NULL;
    q->status = MHD_HTTP_OK;
    q->type = "text/xml; charset=utf-8";
    choose_id(q);
    return q;
}

/* The headers are in: may the body come? */
static enum MHD_Result
headers(struct fs_server *s, struct MHD_Connection *c, const char *path, const char *verb, void **state)
{
    if (!strcmp(verb, "GET") || !strcmp(verb, "HEAD")) {
        *state = new_request(s, c, path);
        return MHD_YES;
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
    *state = new_request(s, c, NULL);
    return MHD_YES;
}

/* Some bytes of the body.  Without a Content-Length there was nothing to refuse before; a peer that goes on sending would not read what
 * we have to say, so it is cut off. */
static bool
take_body(struct fs_server *s, struct request *q, const char *bytes, size_t size)
{
    if (q->path || q->body.length + size > s->options.max_body) {
        return false;
    }
    size_t before = q->body.room;
    fs_text_add(&q->body, bytes, size);
    size_t all = __atomic_add_fetch(&s->body_bytes, q->body.room - before, __ATOMIC_RELAXED);
    if (all > MAX_BODIES) {
        fs_log_limited(FS_LOG_WARNING, "calls hold %zu bytes; a connection is closed", all);
        return false;
    }
    return true;
}

/* The request is complete and its answer is due: that of a call that does not block now, else from a worker.  Once a worker has the
 * request (WITH_WORKER) it is the worker's alone until the connection is resumed. */
static enum { ANSWERED, WITH_WORKER, TOO_BUSY }
dispatch(struct fs_server *s, struct request *q)
{
    char *error = NULL;
    pthread_mutex_lock(&s->lock);
    s->n_calls++;
    q->counted = true;
    pthread_mutex_unlock(&s->lock);
    bool quick = q->path && s->handler.quick(s->handler.aux, q->path);
    if (!q->path && q->body.length < 4096) {
        quick = fs_xmlrpc_decode_call(q->body.text ? q->body.text : "", q->body.length, &q->method, &q->params, &error)
                || s->handler.quick(s->handler.aux, q->method);
        free(error); /* serve() will say it */
    }
    if (quick) {
        serve(q);
        return ANSWERED;
    }
    return enqueue(s, q) ? WITH_WORKER : TOO_BUSY;
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
        bool taken = take_body(s, q, bytes, *size);
        *size = 0;
        return taken ? MHD_YES : MHD_NO;
    }
    if (!q->answer) {
        switch (dispatch(s, q)) {
        case ANSWERED:
            break;
        case WITH_WORKER:
            return MHD_YES;
        case TOO_BUSY:
            return refuse(c, MHD_HTTP_SERVICE_UNAVAILABLE,
                          "the daemon is ending, or %d calls are waiting already: try again later", MAX_QUEUE);
        }
    }
    char *text = q->answer;
    q->answer = NULL;
    return answer(c, q->status, q->type, text, q->answer_size);
}

static void
on_completed(void *aux, struct MHD_Connection *c, void **state, enum MHD_RequestTerminationCode code)
{
    struct fs_server *s = aux;
    struct request *q = *state;
    (void) c;
    (void) code;
    if (q) {
        __atomic_sub_fetch(&s->body_bytes, q->body.room, __ATOMIC_RELAXED);
        if (q->counted) {
            pthread_mutex_lock(&s->lock);
            s->n_calls--;
            pthread_cond_broadcast(&s->done);
            pthread_mutex_unlock(&s->lock);
        }
        free(q->path);
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
        struct stat st;
        bool there = !lstat(address.sun_path, &st);
        if (there && !S_ISSOCK(st.st_mode)) {
            error = EEXIST; /* not ours to take away */
        } else if (!connect(fd, (struct sockaddr *) &address, sizeof address) || errno == EAGAIN) {
            error = EADDRINUSE; /* somebody serves it, or does with so many waiting that we cannot join */
        } else {
            if (there) {
                unlink(address.sun_path);
            }
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
    int fd = fs_inherit_socket(s->n_sockets, where, error); /* -1: none */
    bool inherited = fd >= 0;
    if (fd < -1) {
        return EINVAL;
    }
    int code = inherited ? 0 : is_unix ? listen_unix(where + 5, &fd) : listen_tcp(where, !s->credentials, &fd, error);
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
    pthread_mutex_lock(&s->lock); /* calls that came over the first socket may ask for the load already */
    s->sockets[s->n_sockets].daemon = d;
    s->sockets[s->n_sockets++].unix_path = is_unix && !inherited ? fs_xstrdup(where + 5) : NULL; /* what is not ours is not removed at the end */
    pthread_mutex_unlock(&s->lock);
    *bound = is_unix ? fs_xstrdup(where) : bound_name(fd);
    return 0;
}

void
fs_server_load(struct fs_server *s, unsigned *connections, unsigned *calls)
{
    *connections = 0;
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < s->n_sockets; i++) {
        const union MHD_DaemonInfo *info = MHD_get_daemon_info(s->sockets[i].daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS);
        *connections += info ? info->num_connections : 0;
    }
    *calls = s->n_queued + s->n_running;
    pthread_mutex_unlock(&s->lock);
}

/* No new connections; nobody finds the Unix sockets any more. */
static void
close_doors(struct fs_server *s)
{
    for (size_t i = 0; i < s->n_sockets; i++) {
        int fd = MHD_quiesce_daemon(s->sockets[i].daemon);
        if (fd >= 0) {
            close(fd);
        }
        if (s->sockets[i].unix_path) {
            unlink(s->sockets[i].unix_path);
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
    until.tv_sec += ms / 1000;
    pthread_mutex_lock(&s->lock);
    bool first = !s->ending;
    s->ending = true;
    pthread_cond_broadcast(&s->work);
    pthread_mutex_unlock(&s->lock);
    if (first) {
        close_doors(s);
    }
    pthread_mutex_lock(&s->lock);
    while ((s->n_threads || s->n_calls) && pthread_cond_timedwait(&s->done, &s->lock, &until) != ETIMEDOUT) {
    }
    unsigned busy = s->n_queued + s->n_running;
    bool drained = !s->n_threads;
    pthread_mutex_unlock(&s->lock);
    if (busy) {
        fs_log_warning("%u calls have not ended after %d s", busy, ms / 1000);
    }
    return drained;
}

void
fs_server_destroy(struct fs_server *s)
{
    if (!s) {
        return;
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

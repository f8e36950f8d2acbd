/* One HTTP request: its headers are looked at before a byte of the body is read, what never blocks is served at once, the rest by a worker.  See core/server.c. */
#include "config.h"

#include "core/server_parts.h"

#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "core/util.h"
#include "core/xmlrpc.h"
#include <flowstream/log.h>

FS_LOG_MODULE("rpc");

enum {
    MAX_CHECKS = 32,         /* callers whose credentials wait to be checked */
    MAX_BODIES = 256 << 20,  /* bytes of all calls together */
    LOCAL_BODIES = 32 << 20, /* that only calls over a Unix socket may use */
    SMALL_BODY = 4096        /* is decoded by the thread that reads it */
};

/* One HTTP request. */
struct request {
    struct job job;       /* first */
    struct listener *listener;
    struct fs_server *server;
    struct MHD_Connection *connection;
    enum { STAGE_CHECKING, STAGE_REFUSED, STAGE_TAKING } stage; /* credentials are checked; were refused; the body comes or has come */
    char *user, *password; /* to be checked */
    struct fs_text body;
    bool counted;         /* in the server's n_calls */
    char *path;           /* of a GET, or NULL */
    char id[40];
    char caller[96];      /* USER@ADDRESS */
    char *method;         /* decoded call */
    xmlrpc_value *params;
    char *answer;         /* owned until given to libmicrohttpd */
    size_t answer_size;
    const char *type;     /* of the answer */
    unsigned status;
};

/* --- Answers --- */

static struct visitor *
visitor_of(struct MHD_Connection *c)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info->socket_context;
}

static enum MHD_Result
answer(struct MHD_Connection *c, unsigned status, const char *type, char *text /* taken */, size_t size)
{
    struct MHD_Response *r = MHD_create_response_from_buffer(size, text, MHD_RESPMEM_MUST_FREE);
    if (!r) {
        free(text);
        return MHD_NO;
    }
    MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    door_phase(visitor_of(c), DOOR_ANSWER);
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
    struct MHD_Response *r = MHD_create_response_from_buffer(line.length, line.text, MHD_RESPMEM_MUST_FREE);
    if (!r) {
        free(line.text);
        return MHD_NO;
    }
    MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, "text/plain; charset=utf-8");
    if (status != MHD_HTTP_NOT_FOUND && status != MHD_HTTP_SERVICE_UNAVAILABLE) {
        MHD_add_response_header(r, MHD_HTTP_HEADER_CONNECTION, "close");
    }
    if (status == MHD_HTTP_TOO_MANY_REQUESTS) {
        MHD_add_response_header(r, MHD_HTTP_HEADER_RETRY_AFTER, "1");
    }
    door_phase(visitor_of(c), DOOR_ANSWER);
    enum MHD_Result result = status == MHD_HTTP_UNAUTHORIZED ? MHD_queue_basic_auth_fail_response(c, "flowstream", r)
                                                             : MHD_queue_response(c, status, r);
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
        q->server->handler.call(q->server->handler.aux, q->method, q->params, q->id, q->caller, &reply, &plain);
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

/* In a worker: a call or text that may block, or the check of credentials. */
static void
run_job(struct job *job)
{
    struct request *q = (struct request *) job;
    struct fs_server *s = q->server;
    if (q->stage == STAGE_CHECKING) {
        bool good = credentials_check(s->credentials, q->user, q->password);
        q->stage = good ? STAGE_TAKING : STAGE_REFUSED;
        explicit_bzero(q->password, strlen(q->password));
        pthread_mutex_lock(&s->lock);
        s->n_checks--;
        pthread_mutex_unlock(&s->lock);
    } else {
        serve(q);
    }
    MHD_resume_connection(q->connection);
}

/* Hand a request to a worker; false when too many wait already. */
static bool
give_to_worker(struct request *q)
{
    bool reserved = q->listener->unix_path;
    if (!workers_book(q->server->workers, reserved)) {
        return false;
    }
    door_phase(visitor_of(q->connection), DOOR_BUSY);
    MHD_suspend_connection(q->connection);
    q->job.run = run_job;
    workers_give(q->server->workers, &q->job, reserved);
    return true;
}

/* --- HTTP --- */

/* A number that is not secret, only different from all others: a counter, scattered (splitmix64) from a random start. */
static uint64_t
unlikely_again(void)
{
    static __thread uint64_t state;
    if (!state) {
        (void) !getrandom(&state, sizeof state, 0);
    }
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

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
    snprintf(q->id, sizeof q->id, "%016llx", (unsigned long long) unlikely_again());
}

static struct request *
new_request(struct listener *l, struct MHD_Connection *c, const char *path)
{
    struct request *q = fs_xcalloc(1, sizeof *q);
    q->listener = l;
    q->server = l->server;
    q->connection = c;
    q->path = path ? fs_xstrdup(path) : NULL;
    q->status = MHD_HTTP_OK;
    q->type = "text/xml; charset=utf-8";
    q->stage = STAGE_TAKING;
    choose_id(q);
    return q;
}

/* The user and the password of the header Authorization (RFC 7617), owned; false: there are none. */
static bool
get_credentials(struct MHD_Connection *c, char **user, char **password)
{
    *password = NULL;
    *user = MHD_basic_auth_get_username_password(c, password);
    if (*user && *password) {
        return true;
    }
    MHD_free(*user);
    MHD_free(*password);
    return false;
}

static enum MHD_Result
refuse_caller(struct MHD_Connection *c)
{
    return refuse(c, MHD_HTTP_UNAUTHORIZED, "user name and password are needed (the url that 'flowstream url' prints has them)");
}

/* The hash of a password is computed by a worker, and a few at a time: others than its owner must not wait for it. */
static enum MHD_Result
check_later(struct request *q, const char *user, const char *password)
{
    struct fs_server *s = q->server;
    pthread_mutex_lock(&s->lock);
    bool room = s->n_checks < MAX_CHECKS;
    s->n_checks += room;
    pthread_mutex_unlock(&s->lock);
    if (!room) {
        return refuse(q->connection, MHD_HTTP_SERVICE_UNAVAILABLE, "%d callers wait for a check of their password: try again later", MAX_CHECKS);
    }
    q->stage = STAGE_CHECKING;
    q->user = fs_xstrdup(user);
    q->password = fs_xstrdup(password);
    if (give_to_worker(q)) {
        return MHD_YES;
    }
    q->stage = STAGE_TAKING;
    pthread_mutex_lock(&s->lock);
    s->n_checks--;
    pthread_mutex_unlock(&s->lock);
    return refuse(q->connection, MHD_HTTP_SERVICE_UNAVAILABLE, "the daemon is ending, or too many calls are waiting already: try again later");
}

/* The caller is let in, refused, or left waiting for the check. */
static enum MHD_Result
identify(struct request *q)
{
    struct fs_server *s = q->server;
    struct visitor *v = visitor_of(q->connection);
    char *user, *password;
    if (!credentials_needed(s->credentials)) {
        snprintf(q->caller, sizeof q->caller, "@%s", door_name(v));
        return MHD_YES;
    }
    if (!get_credentials(q->connection, &user, &password)) {
        return refuse_caller(q->connection);
    }
    enum MHD_Result result = MHD_YES;
    snprintf(q->caller, sizeof q->caller, "%.40s@%s", user, door_name(v));
    enum verdict verdict = credentials_know(s->credentials, user, password);
    if (verdict == VERDICT_GOOD) {
        door_phase(v, DOOR_BODY);
    } else if (!door_may_try(v) && !q->listener->unix_path) {
        result = refuse(q->connection, MHD_HTTP_TOO_MANY_REQUESTS, "too many wrong passwords from %s: one a second is looked at", door_name(v));
    } else if (verdict == VERDICT_SLOW) {
        result = check_later(q, user, password);
    } else if (credentials_check(s->credentials, user, password)) {
        door_phase(v, DOOR_BODY);
    } else {
        door_failed(v);
        result = refuse_caller(q->connection);
    }
    explicit_bzero(password, strlen(password));
    MHD_free(user);
    MHD_free(password);
    return result;
}

static enum MHD_Result
count_lengths(void *data, enum MHD_ValueKind kind, const char *key, const char *value)
{
    (void) kind;
    (void) value;
    *(unsigned *) data += !strcasecmp(key, MHD_HTTP_HEADER_CONTENT_LENGTH);
    return MHD_YES;
}

/* What would let two readers of the same bytes disagree about where a request ends (RFC 9112, section 6.3) is refused, as are
 * encodings that nobody asked for. */
static enum MHD_Result
check_framing(struct MHD_Connection *c, const char *version, bool *good)
{
    unsigned lengths = 0;
    MHD_get_connection_values(c, MHD_HEADER_KIND, count_lengths, &lengths);
    const char *transfer = MHD_lookup_connection_value(c, MHD_HEADER_KIND, MHD_HTTP_HEADER_TRANSFER_ENCODING);
    const char *encoding = MHD_lookup_connection_value(c, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_ENCODING);
    *good = false;
    if (strcmp(version, "HTTP/1.1") && strcmp(version, "HTTP/1.0")) {
        return refuse(c, MHD_HTTP_HTTP_VERSION_NOT_SUPPORTED, "%.20s is not spoken here: HTTP/1.1 is", version);
    }
    if (!strcmp(version, "HTTP/1.1") && !MHD_lookup_connection_value(c, MHD_HEADER_KIND, MHD_HTTP_HEADER_HOST)) {
        return refuse(c, MHD_HTTP_BAD_REQUEST, "the header Host is missing (RFC 9112, section 3.2)");
    }
    if (lengths > 1 || (lengths && transfer)) {
        return refuse(c, MHD_HTTP_BAD_REQUEST, "more than one header says how long the body is");
    }
    if (transfer && strcasecmp(transfer, "chunked")) {
        return refuse(c, MHD_HTTP_NOT_IMPLEMENTED, "Transfer-Encoding %.40s is not taken: chunked is", transfer);
    }
    if (encoding && strcasecmp(encoding, "identity")) {
        return refuse(c, MHD_HTTP_UNSUPPORTED_MEDIA_TYPE, "Content-Encoding %.40s is not taken: send the call as it is", encoding);
    }
    *good = true;
    return MHD_YES;
}

/* The headers are in: may the body come? */
static enum MHD_Result
headers(struct listener *l, struct MHD_Connection *c, const char *path, const char *verb, const char *version, void **state)
{
    struct fs_server *s = l->server;
    bool good;
    enum MHD_Result refused = check_framing(c, version, &good);
    if (!good) {
        return refused;
    }
    if (!strcmp(verb, "GET") || !strcmp(verb, "HEAD")) {
        door_phase(visitor_of(c), DOOR_BODY);
        *state = new_request(l, c, path);
        return MHD_YES;
    }
    if (strcmp(verb, "POST")) {
        return refuse(c, MHD_HTTP_METHOD_NOT_ALLOWED, "%.20s is not served: POST /RPC2, GET /metrics, GET /healthz are", verb);
    }
    if (strcmp(path, "/RPC2")) {
        return refuse(c, MHD_HTTP_NOT_FOUND, "XML-RPC calls go to /RPC2, not to %.100s", path);
    }
    const char *length = MHD_lookup_connection_value(c, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);
    if (length && (strspn(length, "0123456789") != strlen(length) || strlen(length) > 12
                   || strtoull(length, NULL, 10) > s->options.max_body)) {
        return refuse(c, MHD_HTTP_CONTENT_TOO_LARGE, "a call of %.20s bytes; at most %zu are taken", length, s->options.max_body);
    }
    struct request *q = new_request(l, c, NULL);
    *state = q; /* on_completed() frees it, however this ends */
    return identify(q);
}

/* Some bytes of the body.  Without a Content-Length there was nothing to refuse before; a peer that goes on sending would not read what
 * we have to say, so it is cut off. */
static bool
take_body(struct fs_server *s, struct request *q, const char *bytes, size_t size)
{
    if (q->path || q->stage != STAGE_TAKING || q->body.length + size > s->options.max_body) {
        return false;
    }
    size_t before = q->body.room;
    fs_text_add(&q->body, bytes, size);
    size_t all = __atomic_add_fetch(&s->body_bytes, q->body.room - before, __ATOMIC_RELAXED);
    if (all > (size_t) MAX_BODIES + (q->listener->unix_path ? LOCAL_BODIES : 0)) {
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
    if (!q->path && q->body.length < SMALL_BODY) {
        quick = fs_xmlrpc_decode_call(q->body.text ? q->body.text : "", q->body.length, &q->method, &q->params, &error)
                || s->handler.quick(s->handler.aux, q->method);
        free(error); /* serve() will say it */
    }
    if (quick) {
        serve(q);
        return ANSWERED;
    }
    return give_to_worker(q) ? WITH_WORKER : TOO_BUSY;
}

enum MHD_Result
server_on_access(void *aux, struct MHD_Connection *c, const char *path, const char *verb, const char *version, const char *bytes,
          size_t *size, void **state)
{
    struct listener *l = aux;
    struct fs_server *s = l->server;
    struct request *q = *state;
    if (!q) {
        return headers(l, c, path, verb, version, state);
    }
    if (q->user) { /* the check has been made; this is still before the body */
        free(q->user);
        free(q->password);
        q->user = q->password = NULL;
        if (q->stage == STAGE_REFUSED) {
            door_failed(visitor_of(c));
            return refuse_caller(c);
        }
        door_phase(visitor_of(c), DOOR_BODY);
        return MHD_YES;
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
                          "the daemon is ending, or too many calls are waiting already: try again later");
        }
    }
    char *text = q->answer;
    q->answer = NULL;
    return answer(c, q->status, q->type, text, q->answer_size);
}

void
server_on_completed(void *aux, struct MHD_Connection *c, void **state, enum MHD_RequestTerminationCode code)
{
    struct fs_server *s = ((struct listener *) aux)->server;
    struct request *q = *state;
    (void) code;
    door_phase(visitor_of(c), DOOR_KEPT);
    if (q) {
        __atomic_sub_fetch(&s->body_bytes, q->body.room, __ATOMIC_RELAXED);
        if (q->counted) {
            pthread_mutex_lock(&s->lock);
            s->n_calls--;
            pthread_cond_broadcast(&s->done);
            pthread_mutex_unlock(&s->lock);
        }
        free(q->user);
        free(q->password);
        free(q->path);
        free(q->body.text);
        free(q->method);
        fs_free(q->params);
        free(q->answer);
        free(q);
        *state = NULL;
    }
}

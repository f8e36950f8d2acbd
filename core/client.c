/* The XML-RPC client, over libcurl.  A peer keeps the handles (and so the connections) that are not in use on a list; a call takes the one that
 * was used last, or makes one.  So those that only a crowd of calls needed come to lie at the bottom.  Once a second whoever has made a call closes those of all peers that nobody
 * has wanted for a while.  A kept-alive connection that the peer has closed meanwhile is noticed and renewed by libcurl. */
#include "config.h"

#include "core/client.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/util.h"
#include "core/xmlrpc.h"

enum { MAX_ANSWER = 64 << 20, MAX_IDLE = 8, IDLE_MS = 10000, TIDY_MS = 1000 };

/* A handle that is not in use: three descriptors, its connection and what libcurl wakes itself up with. */
struct idle {
    CURL *handle;
    int64_t since; /* fs_now_ms() */
};

struct fs_peer {
    char *name;
    char *url;
    char *http_url;    /* what goes into the request line */
    char *unix_path;   /* or NULL */
    char *credentials; /* or NULL */
    pthread_mutex_t lock;
    struct idle idle[MAX_IDLE]; /* the one that was used last is the last */
    size_t n_idle;
    struct fs_peer *next;
};

static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;
static struct fs_peer *all;
static int64_t tidied;

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;

static void
start_curl(void)
{
    curl_global_init(CURL_GLOBAL_ALL);
}

static char trusted[4096]; /* set before there are threads */

void
fs_peer_trust(const char *ca)
{
    snprintf(trusted, sizeof trusted, "%s", ca);
}

struct fs_peer *
fs_peer_new(const char *name, const char *url, const char *credentials)
{
    pthread_once(&curl_once, start_curl);
    struct fs_peer *p = fs_xcalloc(1, sizeof *p);
    p->name = fs_xstrdup(name);
    p->url = fs_xstrdup(url);
    bool is_unix = !strncmp(url, "unix:", 5);
    p->unix_path = is_unix ? fs_xstrdup(url + 5) : NULL;
    p->http_url = fs_xstrdup(is_unix ? "http://localhost/RPC2" : url);
    p->credentials = credentials ? fs_xstrdup(credentials) : NULL;
    pthread_mutex_init(&p->lock, NULL);
    pthread_mutex_lock(&all_lock);
    p->next = all;
    all = p;
    pthread_mutex_unlock(&all_lock);
    return p;
}

void
fs_peer_destroy(struct fs_peer *p)
{
    if (!p) {
        return;
    }
    pthread_mutex_lock(&all_lock);
    struct fs_peer **at = &all;
    while (*at != p) {
        at = &(*at)->next;
    }
    *at = p->next;
    pthread_mutex_unlock(&all_lock);
    while (p->n_idle) {
        curl_easy_cleanup(p->idle[--p->n_idle].handle);
    }
    pthread_mutex_destroy(&p->lock);
    free(p->name);
    free(p->url);
    free(p->http_url);
    free(p->unix_path);
    free(p->credentials);
    free(p);
}

const char *
fs_peer_name(const struct fs_peer *p)
{
    return p->name;
}

const char *
fs_peer_url(const struct fs_peer *p)
{
    return p->url;
}

static size_t
collect(char *bytes, size_t size, size_t n, void *data)
{
    struct fs_text *answer = data;
    if (answer->length + size * n > MAX_ANSWER) {
        return 0;
    }
    fs_text_add(answer, bytes, size * n);
    return size * n;
}

static CURL *
take_handle(struct fs_peer *p)
{
    pthread_mutex_lock(&p->lock);
    CURL *h = p->n_idle ? p->idle[--p->n_idle].handle : NULL;
    pthread_mutex_unlock(&p->lock);
    if (h) {
        return h;
    }
    h = curl_easy_init();
    if (!h) {
        return NULL;
    }
    curl_easy_setopt(h, CURLOPT_URL, p->http_url);
    if (p->unix_path) {
        curl_easy_setopt(h, CURLOPT_UNIX_SOCKET_PATH, p->unix_path);
    }
    if (p->credentials) {
        curl_easy_setopt(h, CURLOPT_HTTPAUTH, (long) CURLAUTH_BASIC);
        curl_easy_setopt(h, CURLOPT_USERPWD, p->credentials);
    }
    curl_easy_setopt(h, CURLOPT_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_2);
    if (*trusted) {
        curl_easy_setopt(h, CURLOPT_CAINFO, trusted);
        curl_easy_setopt(h, CURLOPT_CAPATH, NULL);
    }
    curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(h, CURLOPT_PROXY, "");
    curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(h, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, collect);
    curl_easy_setopt(h, CURLOPT_USERAGENT, "flowstream");
    return h;
}

static void
give_handle(struct fs_peer *p, CURL *h)
{
    pthread_mutex_lock(&p->lock);
    if (p->n_idle < MAX_IDLE) {
        p->idle[p->n_idle++] = (struct idle) { .handle = h, .since = fs_now_ms() };
        h = NULL;
    }
    pthread_mutex_unlock(&p->lock);
    curl_easy_cleanup(h);
}

/* Close what lies at the bottom for too long. */
static void
tidy(struct fs_peer *p, int64_t now)
{
    CURL *old[MAX_IDLE];
    size_t n = 0;
    pthread_mutex_lock(&p->lock);
    while (n < p->n_idle && now - p->idle[n].since > IDLE_MS) {
        old[n] = p->idle[n].handle;
        n++;
    }
    p->n_idle -= n;
    memmove(p->idle, p->idle + n, p->n_idle * sizeof *p->idle);
    pthread_mutex_unlock(&p->lock);
    while (n) {
        curl_easy_cleanup(old[--n]);
    }
}

static void
tidy_all(void)
{
    int64_t now = fs_now_ms();
    pthread_mutex_lock(&all_lock);
    bool due = now - tidied > TIDY_MS;
    tidied = due ? now : tidied;
    for (struct fs_peer *p = due ? all : NULL; p; p = p->next) {
        tidy(p, now);
    }
    pthread_mutex_unlock(&all_lock);
}

/* The answer of the peer, taken apart. */
static void
understand(struct fs_peer *p, const char *method, long status, const struct fs_text *answer, struct fs_reply *reply)
{
    if (status == 401) {
        fs_reply_fail(reply, "%s daemon at %s does not accept our credentials", p->name, p->url);
        return;
    }
    if (status != 200) {
        fs_reply_fail(reply, "%s daemon at %s answered HTTP status %ld: %.200s", p->name, p->url, status,
                      answer->text ? answer->text : "");
        return;
    }
    xmlrpc_value *value = NULL;
    int fault = 0;
    char *error = NULL;
    if (fs_xmlrpc_decode_response(answer->text ? answer->text : "", answer->length, &value, &fault, &error)) {
        fs_reply_fail(reply, "%s daemon at %s: the answer to %s is no XML-RPC: %s", p->name, p->url, method, error);
        free(error);
    } else if (fault) {
        fs_reply_fault(reply, fault, "%s daemon: %s", p->name, fs_text(value, ""));
    } else if (fs_is(value, XMLRPC_TYPE_STRUCT) && fs_get(value, "code") && fs_get(value, "message") && fs_get(value, "value")) {
        reply->code = fs_get_int(value, "code", FS_FAILURE);
        reply->message = fs_xstrdup(fs_get_string(value, "message", ""));
        reply->value = fs_get(value, "value");
        xmlrpc_INCREF(reply->value);
    } else {
        reply->value = value;
        value = NULL;
    }
    fs_free(value);
}

int
fs_peer_call(struct fs_peer *p, const char *method, xmlrpc_value *params, int ms, const char *request_id, struct fs_reply *reply)
{
    *reply = (struct fs_reply) { 0 };
    size_t size;
    char *body = fs_xmlrpc_encode_call(method, params, &size);
    fs_free(params);
    struct fs_text answer = { 0 };
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: text/xml");
    headers = curl_slist_append(headers, "Expect:");
    char *id = fs_xasprintf("Flowstream-Request: %s", request_id ? request_id : "");
    headers = curl_slist_append(headers, id);
    CURL *h = take_handle(p);
    CURLcode code = CURLE_FAILED_INIT;
    long status = 0;
    char why[CURL_ERROR_SIZE] = "";
    if (h) {
        curl_easy_setopt(h, CURLOPT_POSTFIELDS, body);
        curl_easy_setopt(h, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) size);
        curl_easy_setopt(h, CURLOPT_HTTPHEADER, headers);
        curl_easy_setopt(h, CURLOPT_TIMEOUT_MS, (long) (ms > 0 ? ms : 1));
        curl_easy_setopt(h, CURLOPT_WRITEDATA, &answer);
        curl_easy_setopt(h, CURLOPT_ERRORBUFFER, why);
        code = curl_easy_perform(h);
        curl_easy_getinfo(h, CURLINFO_RESPONSE_CODE, &status);
        curl_easy_setopt(h, CURLOPT_ERRORBUFFER, NULL);
        curl_easy_setopt(h, CURLOPT_HTTPHEADER, NULL);
    }
    if (code == CURLE_OK) {
        give_handle(p, h);
        tidy_all();
        understand(p, method, status, &answer, reply);
    } else {
        curl_easy_cleanup(h);
        if (code == CURLE_OPERATION_TIMEDOUT) {
            fs_reply_fail(reply, "%s daemon at %s did not answer %s within %.1f s: is it stopped or overloaded?", p->name, p->url,
                          method, ms / 1000.0);
        } else if (code == CURLE_COULDNT_CONNECT) {
            fs_reply_fail(reply, "%s daemon is not running at %s (%s): start flowstream-%s with its --config file", p->name, p->url,
                          *why ? why : curl_easy_strerror(code), p->name);
        } else if (code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE) {
            fs_reply_fail(reply, "%s daemon at %s: its certificate is not accepted (%s): the ca of <tls> must have signed it, for this address",
                          p->name, p->url, *why ? why : curl_easy_strerror(code));
        } else if (code == CURLE_RECV_ERROR || code == CURLE_SEND_ERROR || code == CURLE_GOT_NOTHING) {
            fs_reply_fail(reply, "%s daemon at %s ended the connection before it answered %s (%s): if it is not running, start flowstream-%s with its --config file",
                          p->name, p->url, method, *why ? why : curl_easy_strerror(code), p->name);
        } else {
            fs_reply_fail(reply, "%s daemon at %s: %s: %s", p->name, p->url, method, *why ? why : curl_easy_strerror(code));
        }
    }
    curl_slist_free_all(headers);
    free(id);
    free(body);
    free(answer.text);
    return reply->code;
}

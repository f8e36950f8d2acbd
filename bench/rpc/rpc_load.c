/* Calls a method over some kept-alive connections for some seconds and prints how many answers came a second.
 *
 *     rpc-load tcp:PORT|tls:PORT|unix:PATH METHOD CONNECTIONS SECONDS [BASE64 of user:password]
 *
 * METHOD run_task:NAME calls run_task for that task and waits for its end; METHOD:TEXT# calls it with that text as its parameter, # being the number of the connection, from 1 on.
 * With tls: nobody's certificate is checked.
 *
 * One thread with epoll, each connection with one call under way, so that it takes little from what it measures. */
#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <gnutls/gnutls.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { MAX_CONNECTIONS = 256, ROOM = 1 << 17 };

struct connection {
    int fd;
    gnutls_session_t tls; /* NULL: plain */
    char request[4096];
    size_t request_size;
    size_t length;   /* of what has come of the answer */
    char answer[ROOM];
};

static gnutls_certificate_credentials_t nobody;

static void
fail(const char *what)
{
    perror(what);
    exit(1);
}

static double
now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

static int
connect_to(const char *where)
{
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    bool is_unix = !strncmp(where, "unix:", 5);
    int one = 1, fd = socket(is_unix ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int e;
    if (is_unix) {
        snprintf(un.sun_path, sizeof un.sun_path, "%s", where + 5);
        e = connect(fd, (struct sockaddr *) &un, sizeof un);
    } else {
        in.sin_port = htons((uint16_t) atoi(where + 4));
        e = connect(fd, (struct sockaddr *) &in, sizeof in);
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    }
    if (e) {
        fail(where);
    }
    return fd;
}

static void
start_tls(struct connection *c)
{
    int e;
    gnutls_init(&c->tls, GNUTLS_CLIENT);
    gnutls_set_default_priority(c->tls);
    gnutls_credentials_set(c->tls, GNUTLS_CRD_CERTIFICATE, nobody);
    gnutls_transport_set_int(c->tls, c->fd);
    while ((e = gnutls_handshake(c->tls)) < 0) {
        if (gnutls_error_is_fatal(e)) {
            fprintf(stderr, "handshake: %s\n", gnutls_strerror(e));
            exit(1);
        }
    }
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
}

static void
ask(struct connection *c)
{
    c->length = 0;
    ssize_t sent = c->tls ? gnutls_record_send(c->tls, c->request, c->request_size) : write(c->fd, c->request, c->request_size);
    if (sent != (ssize_t) c->request_size) {
        fail("write");
    }
}

/* Bytes of the answer; 0: none now. */
static size_t
receive(struct connection *c)
{
    ssize_t got = c->tls ? gnutls_record_recv(c->tls, c->answer + c->length, ROOM - 1 - c->length)
                         : read(c->fd, c->answer + c->length, ROOM - 1 - c->length);
    if (c->tls && (got == GNUTLS_E_AGAIN || got == GNUTLS_E_INTERRUPTED)) {
        return 0;
    }
    if (got <= 0) {
        fail("read");
    }
    return (size_t) got;
}

/* True when the whole answer is there. */
static bool
complete(struct connection *c)
{
    c->answer[c->length] = '\0';
    const char *body = strstr(c->answer, "\r\n\r\n"), *length = strcasestr(c->answer, "content-length:");
    if (!body || !length) {
        return false;
    }
    if (strncmp(c->answer, "HTTP/1.1 200", 12)) {
        fprintf(stderr, "%.200s\n", c->answer);
        exit(1);
    }
    return c->length - (size_t) (body + 4 - c->answer) >= strtoul(length + 15, NULL, 10);
}

static bool
take(struct connection *c)
{
    for (size_t got; (got = receive(c));) {
        c->length += got;
        if (complete(c)) {
            return true;
        }
        if (!c->tls) {
            return false;
        }
    }
    return false;
}

/* The body of the call. */
static int
make_body(char *body, size_t room, const char *method, int nth)
{
    const char *task = strncmp(method, "run_task:", 9) ? NULL : method + 9, *text = task ? NULL : strchr(method, ':');
    return task ? snprintf(body, room, "<methodCall><methodName>run_task</methodName><params><param><value>%.60s</value></param>"
                           "<param><value><struct/></value></param><param><value><struct><member><name>wait</name><value><i4>30</i4></value>"
                           "</member></struct></value></param></params></methodCall>", task)
           : text ? snprintf(body, room, "<methodCall><methodName>%.*s</methodName><params><param><value>%.*s%d</value></param></params></methodCall>",
                             (int) (text - method), method, (int) strcspn(text + 1, "#"), text + 1, nth)
                  : snprintf(body, room, "<methodCall><methodName>%.100s</methodName></methodCall>", method);
}

static void
make_request(struct connection *c, const char *method, int nth, const char *secret)
{
    char body[1024];
    int size = make_body(body, sizeof body, method, nth);
    c->request_size = (size_t) snprintf(c->request, sizeof c->request, "POST /RPC2 HTTP/1.1\r\nHost: localhost\r\n%s%.200s%sContent-Type: text/xml\r\nContent-Length: %d\r\n\r\n%s",
                                        secret ? "Authorization: Basic " : "", secret ? secret : "", secret ? "\r\n" : "", size, body);
}

int
main(int argc, char **argv)
{
    int n = argc > 3 ? atoi(argv[3]) : 0;
    if (argc < 5 || argc > 6 || n < 1 || n > MAX_CONNECTIONS) {
        fprintf(stderr, "usage: rpc-load tcp:PORT|tls:PORT|unix:PATH METHOD CONNECTIONS SECONDS [BASE64]\n");
        return 2;
    }
    bool tls = !strncmp(argv[1], "tls:", 4);
    gnutls_certificate_allocate_credentials(&nobody);
    int poll = epoll_create1(EPOLL_CLOEXEC);
    struct connection *all = calloc((size_t) n, sizeof *all);
    if (poll < 0 || !all) {
        fail("epoll");
    }
    for (int i = 0; i < n; i++) {
        make_request(&all[i], argv[2], i + 1, argc > 5 ? argv[5] : NULL);
        all[i].fd = connect_to(argv[1]);
        if (tls) {
            start_tls(&all[i]);
        }
        struct epoll_event e = { .events = EPOLLIN, .data.ptr = &all[i] };
        if (epoll_ctl(poll, EPOLL_CTL_ADD, all[i].fd, &e)) {
            fail("epoll_ctl");
        }
    }
    double begin = now(), end = begin + atof(argv[4]);
    unsigned long answers = 0;
    for (int i = 0; i < n; i++) {
        ask(&all[i]);
    }
    while (now() < end) {
        struct epoll_event events[MAX_CONNECTIONS];
        int ready = epoll_wait(poll, events, MAX_CONNECTIONS, 1000);
        for (int i = 0; i < ready; i++) {
            struct connection *c = events[i].data.ptr;
            if (take(c)) {
                answers++;
                ask(c);
            }
        }
    }
    printf("%.0f\n", (double) answers / (now() - begin));
    return 0;
}

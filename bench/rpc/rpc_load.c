/* Calls a method over some kept-alive connections for some seconds and prints how many answers came a second.
 *
 *     rpc-load tcp:PORT|unix:PATH METHOD CONNECTIONS SECONDS [BASE64 of user:password]
 *
 * One thread with epoll, each connection with one call under way, so that it takes little from what it measures. */
#include "config.h"

#include <arpa/inet.h>
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
    size_t length;   /* of what has come of the answer */
    char answer[ROOM];
};

static char request[2048];
static size_t request_size;

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
ask(struct connection *c)
{
    c->length = 0;
    if (write(c->fd, request, request_size) != (ssize_t) request_size) {
        fail("write");
    }
}

/* True when the whole answer is there. */
static bool
take(struct connection *c)
{
    ssize_t got = read(c->fd, c->answer + c->length, ROOM - 1 - c->length);
    if (got <= 0) {
        fail("read");
    }
    c->length += (size_t) got;
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

int
main(int argc, char **argv)
{
    int n = argc > 3 ? atoi(argv[3]) : 0;
    if (argc < 5 || argc > 6 || n < 1 || n > MAX_CONNECTIONS) {
        fprintf(stderr, "usage: rpc-load tcp:PORT|unix:PATH METHOD CONNECTIONS SECONDS [BASE64]\n");
        return 2;
    }
    char body[256];
    int size = snprintf(body, sizeof body, "<methodCall><methodName>%.100s</methodName></methodCall>", argv[2]);
    request_size = (size_t) snprintf(request, sizeof request,
                                     "POST /RPC2 HTTP/1.1\r\nHost: localhost\r\n%s%.200s%sContent-Type: text/xml\r\n"
                                     "Content-Length: %d\r\n\r\n%s",
                                     argc > 5 ? "Authorization: Basic " : "", argc > 5 ? argv[5] : "", argc > 5 ? "\r\n" : "", size, body);
    int poll = epoll_create1(EPOLL_CLOEXEC);
    struct connection *all = calloc((size_t) n, sizeof *all);
    if (poll < 0 || !all) {
        fail("epoll");
    }
    for (int i = 0; i < n; i++) {
        all[i].fd = connect_to(argv[1]);
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

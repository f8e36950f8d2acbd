/* udp-load: one stream of small UDP packets, for bench/platform/traffic.py.
 *
 *     udp-load answer PORT                             answers until it is killed
 *     udp-load ask ADDRESS PORT SECONDS                one packet at a time: prints round trips, median and 99th percentile in us
 *     udp-load send ADDRESS PORT SIZE SECONDS          as fast as they arrive: prints packets/s that arrived, and how many were lost
 *
 * The sender keeps at most WINDOW packets on their way, and the other side tells after each BATCH how many have come: so the stream finds the speed of what is
 * between them by itself, and there is little on the way back.  More full-sized packets than that do not fit into the socket buffer by which Open vSwitch reads
 * a port (208 kB, each packet takes 2.3 kB of it): they would be lost before any module sees them. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { WINDOW = 64, BATCH = 16, SIZE_MAX_UDP = 1472, PATIENCE_MS = 200, ROUND_TRIPS_MAX = 1 << 20 };

enum kind { ASK = 1, DATA = 2 };

struct head {
    uint32_t kind, stream;
    uint64_t number; /* of this packet; in the report of the other side: how many have come */
};

static double
now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

static void
check(int result, const char *what)
{
    if (result < 0) {
        perror(what);
        exit(1);
    }
}

static struct sockaddr_in
address_of(const char *address, const char *port)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t) atoi(port)) };
    if (inet_pton(AF_INET, address, &a.sin_addr) != 1) {
        fprintf(stderr, "udp-load: %s is no IPv4 address\n", address);
        exit(2);
    }
    return a;
}

static int
open_to(const char *address, const char *port)
{
    struct sockaddr_in to = address_of(address, port);
    struct timeval patience = { 0, PATIENCE_MS * 1000 };
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    check(fd, "socket");
    check(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), "SO_RCVTIMEO");
    check(connect(fd, (const struct sockaddr *) &to, sizeof to), "connect");
    return fd;
}

/* The other side.  Packets to be asked come back as they are; of a stream each BATCH is told. */
static _Noreturn void
answer(const char *port)
{
    struct sockaddr_in own = address_of("0.0.0.0", port), from;
    int fd = socket(AF_INET, SOCK_DGRAM, 0), room = 4 << 20;
    check(fd, "socket");
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    check(bind(fd, (const struct sockaddr *) &own, sizeof own), "bind");
    puts("ready");
    fflush(stdout);
    uint32_t stream = 0;
    uint64_t come = 0;
    for (;;) {
        char packet[SIZE_MAX_UDP];
        struct head head;
        socklen_t length = sizeof from;
        ssize_t n = recvfrom(fd, packet, sizeof packet, 0, (struct sockaddr *) &from, &length);
        if (n < (ssize_t) sizeof head) {
            continue;
        }
        memcpy(&head, packet, sizeof head);
        if (head.kind == DATA) {
            come = head.stream == stream ? come + 1 : 1;
            stream = head.stream;
            if (come % BATCH) {
                continue;
            }
            head.number = come;
            memcpy(packet, &head, sizeof head);
            n = sizeof head;
        }
        sendto(fd, packet, (size_t) n, 0, (const struct sockaddr *) &from, length);
    }
}

static int
by_size(const void *a, const void *b)
{
    double x = *(const double *) a, y = *(const double *) b;
    return (x > y) - (x < y);
}

static int
ask(int fd, double seconds)
{
    double *times = calloc(ROUND_TRIPS_MAX, sizeof *times), end = now() + seconds;
    size_t n = 0, lost = 0;
    for (uint64_t number = 1; times && n < ROUND_TRIPS_MAX && now() < end; number++) {
        char packet[64] = { 0 };
        struct head head = { ASK, 0, number }, back = { 0 };
        memcpy(packet, &head, sizeof head);
        double begin = now();
        check((int) send(fd, packet, sizeof packet, 0), "send");
        while (back.number != number) {
            ssize_t got = recv(fd, &back, sizeof back, 0);
            if (got < (ssize_t) sizeof back) {
                break;
            }
        }
        if (back.number == number) {
            times[n++] = now() - begin;
        } else {
            lost++;
        }
    }
    if (!n) {
        fprintf(stderr, "udp-load: no answer to %zu packets\n", lost);
        free(times);
        return 1;
    }
    qsort(times, n, sizeof *times, by_size);
    printf("%zu %.1f %.1f %zu\n", n, times[n / 2] * 1e6, times[n * 99 / 100] * 1e6, lost);
    free(times);
    return 0;
}

/* How many the other side has seen, waiting for the next report if 'wait'; silence for PATIENCE_MS: those on the way are lost, start anew. */
static uint64_t
hear(int fd, uint32_t stream, uint64_t known, int wait)
{
    struct head report;
    ssize_t n;
    while ((n = recv(fd, &report, sizeof report, wait ? 0 : MSG_DONTWAIT)) == (ssize_t) sizeof report) {
        if (report.stream == stream && report.number > known) {
            known = report.number;
            wait = 0;
        }
    }
    return known;
}

static int
send_all(int fd, size_t size, double seconds)
{
    char packet[SIZE_MAX_UDP] = { 0 };
    uint32_t stream = (uint32_t) getpid();
    uint64_t sent = 0, come = 0, lost = 0;
    double begin = now(), end = begin + seconds;
    while (now() < end) {
        if (sent - lost - come >= WINDOW) {
            uint64_t before = come;
            come = hear(fd, stream, come, 1);
            if (come == before) {
                lost = sent - come;
            }
            continue;
        }
        for (int i = 0; i < BATCH; i++) {
            struct head head = { DATA, stream, ++sent };
            memcpy(packet, &head, sizeof head);
            if (send(fd, packet, size, 0) < 0 && errno != ENOBUFS) {
                check(-1, "send");
            }
        }
        come = hear(fd, stream, come, 0);
    }
    double took = now() - begin;
    for (uint64_t before = 0; before != come;) {
        before = come;
        come = sent - come >= BATCH ? hear(fd, stream, come, 1) : come;
    }
    printf("%.0f %llu\n", (double) come / took, (unsigned long long) (sent - come));
    return come ? 0 : 1;
}

int
main(int argc, char *argv[])
{
    if (argc == 3 && !strcmp(argv[1], "answer")) {
        answer(argv[2]);
    }
    if (argc == 5 && !strcmp(argv[1], "ask")) {
        return ask(open_to(argv[2], argv[3]), atof(argv[4]));
    }
    size_t size = argc == 6 && !strcmp(argv[1], "send") ? (size_t) atoi(argv[4]) : 0;
    if (size >= sizeof(struct head) && size <= SIZE_MAX_UDP) {
        return send_all(open_to(argv[2], argv[3]), size, atof(argv[5]));
    }
    fprintf(stderr, "usage: udp-load answer PORT | ask ADDRESS PORT SECONDS | send ADDRESS PORT SIZE SECONDS\n");
    return 2;
}

/* Load for the packet side: sends service frames into the far end of a trunk and waits for them to come back, never more than a window
 * of them under way, so that the rate is one without loss.
 *
 *     pm-load INTERFACE SPI BYTES SECONDS      BYTES is the length of the inner frame
 *
 * Prints packets a second. Exit status 1 where frames are lost. */
#include "config.h"

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "pm/nsh.h"

enum { BATCH = 64, WINDOW = 256, PATIENCE_MS = 1000, BUFFER = 16 << 20 };

static double
now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

static int
open_far_end(const char *interface)
{
    int fd = socket(AF_PACKET, SOCK_RAW, 0), one = 1, size = BUFFER;
    struct sockaddr_ll address = { .sll_family = AF_PACKET, .sll_protocol = htons(PM_ETHERTYPE_NSH),
                                   .sll_ifindex = (int) if_nametoindex(interface) };
    if (fd < 0 || setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof one) ||
        bind(fd, (const struct sockaddr *) &address, sizeof address)) {
        perror(interface);
        exit(2);
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
    return fd;
}

static unsigned
receive(int fd, struct mmsghdr *in)
{
    int n = recvmmsg(fd, in, BATCH, MSG_DONTWAIT, NULL);
    if (n <= 0) {
        struct pollfd p = { .fd = fd, .events = POLLIN };
        poll(&p, 1, PATIENCE_MS);
        n = recvmmsg(fd, in, BATCH, MSG_DONTWAIT, NULL);
    }
    return n > 0 ? (unsigned) n : 0;
}

int
main(int argc, char *argv[])
{
    static uint8_t frame[PM_NSH_HEADER + PM_FRAME_MAX], back[BATCH][2048];
    struct mmsghdr out[BATCH] = { 0 }, in[BATCH] = { 0 };
    struct iovec iov, in_iov[BATCH];
    size_t bytes = argc == 5 ? strtoul(argv[3], NULL, 10) : 0;
    if (bytes < PM_ETHERNET_HEADER || bytes > PM_FRAME_MAX) {
        fprintf(stderr, "usage: pm-load INTERFACE SPI BYTES SECONDS\n");
        return 2;
    }
    int fd = open_far_end(argv[1]);
    pm_nsh_encode(frame, (uint32_t) strtoul(argv[2], NULL, 10));
    iov = (struct iovec){ frame, PM_NSH_HEADER + bytes };
    for (unsigned i = 0; i < BATCH; i++) {
        out[i].msg_hdr = (struct msghdr){ .msg_iov = &iov, .msg_iovlen = 1 };
        in_iov[i] = (struct iovec){ back[i], sizeof back[i] };
        in[i].msg_hdr = (struct msghdr){ .msg_iov = &in_iov[i], .msg_iovlen = 1 };
    }
    unsigned long sent = 0, received = 0;
    double begin = now(), end = begin + strtod(argv[4], NULL);
    while (now() < end || received < sent) {
        if (now() < end && sent - received + BATCH <= WINDOW) {
            int n = sendmmsg(fd, out, BATCH, 0);
            sent += n > 0 ? (unsigned long) n : 0;
            continue;
        }
        unsigned n = receive(fd, in);
        if (n == 0) {
            break;
        }
        received += n;
    }
    printf("%lu bytes: %.0f packets/s, %lu sent, %lu lost\n", (unsigned long) bytes, (double) received / (now() - begin), sent,
           sent - received);
    return sent != received;
}

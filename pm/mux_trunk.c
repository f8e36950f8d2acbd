/* The multiplexer's end of the trunk: a packet socket that sees only service headers, read in batches, and another for frames on their way out, written in
 * batches.  They are two because the kernel tells who waits for a socket of every frame that has left it: nobody waits for the second.  An interface that
 * goes away (a namespace made anew, a link replaced) is looked for once a second. */
#include "config.h"

#include "pm/mux.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <arpa/inet.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SOCKET_BUFFER = 16 << 20 };

struct trunk {
    struct handle handle; /* fd -1: lost */
    int out_fd;           /* -1 where that is */
    int64_t next_mend;    /* pm_now() of the next look for it */

    struct mmsghdr in[MUX_BATCH];
    struct iovec in_iov[MUX_BATCH];
    uint8_t frames[MUX_BATCH][MUX_FRAME_ROOM];

    struct mmsghdr out[MUX_BATCH];
    struct iovec out_iov[MUX_BATCH][2];
    uint8_t headers[MUX_BATCH][PM_NSH_HEADER];
    unsigned n_out;
};

static void
prepare_batches(struct trunk *t)
{
    for (unsigned i = 0; i < MUX_BATCH; i++) {
        t->in_iov[i] = (struct iovec){ .iov_base = t->frames[i], .iov_len = MUX_FRAME_ROOM };
        t->in[i].msg_hdr = (struct msghdr){ .msg_iov = &t->in_iov[i], .msg_iovlen = 1 };
        t->out_iov[i][0] = (struct iovec){ .iov_base = t->headers[i], .iov_len = PM_NSH_HEADER };
        t->out[i].msg_hdr = (struct msghdr){ .msg_iov = t->out_iov[i], .msg_iovlen = 2 };
    }
}

/* The socket lives in the namespace where it was made: go there, and stay (control sockets work by path and are open already). */
static int
enter_namespace(const char *path, char **error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int err = fd < 0 || setns(fd, CLONE_NEWNET) ? errno : 0;
    if (fd >= 0) {
        close(fd);
    }
    return err ? pm_fail(error, err, "multiplexer: network namespace %s: %s", path, strerror(err)) : 0;
}

static void
set_buffer(int fd, int force, int ask)
{
    int size = SOCKET_BUFFER;
    if (setsockopt(fd, SOL_SOCKET, force, &size, sizeof size)) {
        setsockopt(fd, SOL_SOCKET, ask, &size, sizeof size); /* an ordinary user gets what the system allows */
    }
}

/* A socket for frames out of interface 'index'; -1 with errno.  It is bound to no protocol, so nothing comes in by it. */
static int
open_out(unsigned index)
{
    int one = 1, fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_ll address = { .sll_family = AF_PACKET, .sll_ifindex = (int) index };
    if (fd >= 0 && bind(fd, (const struct sockaddr *) &address, sizeof address)) {
        int err = errno;
        close(fd);
        errno = err;
        return -1;
    }
    if (fd >= 0) {
        set_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF);
        setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof one); /* a veth has no queue that it could wait in */
    }
    return fd;
}

static void
close_if_open(int fd)
{
    if (fd >= 0) {
        close(fd);
    }
}

/* Both sockets on the interface, one in the epoll set; 0 or errno. */
static int
open_socket(struct mux *mux)
{
    struct trunk *t = mux->trunk;
    unsigned index = if_nametoindex(mux->interface);
    if (index == 0) {
        return errno;
    }
    int one = 1, fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), out = fd < 0 ? -1 : open_out(index);
    struct sockaddr_ll address = { .sll_family = AF_PACKET, .sll_protocol = htons(PM_ETHERTYPE_NSH), .sll_ifindex = (int) index };
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = &t->handle };
    int err = out < 0 || setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof one) ? errno : 0;
    if (!err) {
        set_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF);
    }
    if (!err && (bind(fd, (const struct sockaddr *) &address, sizeof address) || epoll_ctl(mux->epoll, EPOLL_CTL_ADD, fd, &event))) {
        err = errno;
    }
    if (err) {
        close_if_open(fd);
        close_if_open(out);
        return err;
    }
    t->handle.fd = fd;
    t->out_fd = out;
    return 0;
}

int
mux_trunk_open(struct mux *mux, char **error)
{
    struct trunk *t = calloc(1, sizeof *t);
    if (!t) {
        return ENOMEM;
    }
    mux->trunk = t;
    t->handle = (struct handle){ .kind = HANDLE_TRUNK, .fd = -1 };
    t->out_fd = -1;
    prepare_batches(t);
    int err = mux->netns ? enter_namespace(mux->netns, error) : 0;
    if (!err && (err = open_socket(mux)) != 0) {
        pm_fail(error, err, "multiplexer: trunk %s: %s", mux->interface, strerror(err));
    }
    return err;
}

void
mux_trunk_close(struct mux *mux)
{
    if (mux->trunk) {
        close_if_open(mux->trunk->handle.fd);
        close_if_open(mux->trunk->out_fd);
    }
    free(mux->trunk);
    mux->trunk = NULL;
}

bool
mux_trunk_mend(struct mux *mux)
{
    struct trunk *t = mux->trunk;
    if (t->handle.fd < 0 && pm_now() >= t->next_mend) {
        t->next_mend = pm_now() + 1000;
        if (open_socket(mux) == 0) {
            fprintf(stderr, "multiplexer: trunk %s is back\n", mux->interface);
        }
    }
    return t->handle.fd >= 0;
}

/* The kernel reports an interface that went down or away once, as an error of the socket. */
static void
lose(struct mux *mux, int err)
{
    fprintf(stderr, "multiplexer: trunk %s: %s\n", mux->interface, strerror(err));
    mux_trunk_count_drops(mux);
    close(mux->trunk->handle.fd);
    close(mux->trunk->out_fd);
    mux->trunk->handle.fd = mux->trunk->out_fd = -1;
    mux->trunk->next_mend = pm_now() + 1000;
}

void
mux_trunk_receive(struct mux *mux)
{
    struct trunk *t = mux->trunk;
    if (t->handle.fd < 0) {
        return;
    }
    int n = recvmmsg(t->handle.fd, t->in, MUX_BATCH, MSG_DONTWAIT, NULL);
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        lose(mux, errno);
    }
    for (int i = 0; i < n; i++) {
        struct pm_nsh found;
        uint32_t length = t->in[i].msg_len;
        mux->stats.rx_packets++;
        mux->stats.rx_bytes += length;
        if ((t->in[i].msg_hdr.msg_flags & MSG_TRUNC) || pm_nsh_decode(t->frames[i], length, &found)) {
            mux->stats.malformed++;
        } else if (!mux_deliver(mux, found.spi, t->frames[i] + found.offset, found.length)) {
            mux->stats.unknown_spi++;
        }
    }
}

void
mux_trunk_add(struct mux *mux, uint32_t spi, const uint8_t *data, uint32_t length)
{
    struct trunk *t = mux->trunk;
    if (t->n_out == MUX_BATCH) {
        mux_trunk_flush(mux);
    }
    pm_nsh_encode(t->headers[t->n_out], spi);
    t->out_iov[t->n_out][1] = (struct iovec){ .iov_base = (void *) (uintptr_t) data, .iov_len = length };
    t->n_out++;
}

static void
count_sent(struct mux *mux, unsigned from, unsigned n)
{
    for (unsigned i = from; i < from + n; i++) {
        mux->stats.tx_packets++;
        mux->stats.tx_bytes += PM_NSH_HEADER + mux->trunk->out_iov[i][1].iov_len;
    }
}

/* A frame that is refused (longer than the trunk's MTU, no room in the queue) is skipped, so that it holds up no other. */
void
mux_trunk_flush(struct mux *mux)
{
    struct trunk *t = mux->trunk;
    for (unsigned i = 0; i < t->n_out;) {
        int n = t->out_fd < 0 ? -1 : sendmmsg(t->out_fd, t->out + i, t->n_out - i, MSG_DONTWAIT);
        if (n > 0) {
            count_sent(mux, i, (unsigned) n);
            i += (unsigned) n;
        } else if (t->out_fd < 0 || errno != EINTR) {
            mux->stats.tx_errors++;
            i++;
        }
    }
    t->n_out = 0;
}

void
mux_trunk_count_drops(struct mux *mux)
{
    struct tpacket_stats stats;
    socklen_t size = sizeof stats;
    if (mux->trunk->handle.fd >= 0 && getsockopt(mux->trunk->handle.fd, SOL_PACKET, PACKET_STATISTICS, &stats, &size) == 0) {
        mux->stats.kernel_drops += stats.tp_drops;
    }
}

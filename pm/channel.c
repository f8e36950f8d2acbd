/* Control sockets of the multiplexer and of modules: the daemon's library is the client, both programs are servers.  The other side may
 * be an enemy (a module's code is a tenant's): sizes are bounded, descriptors nobody asked for are closed, every wait ends.
 *
 * A host's folder may be deeper than the 107 bytes of a socket address, so sockets are reached through /proc/self/fd. */
#include "config.h"

#include "pm/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { RETRY_MS = 2 };

static void
socket_address(struct sockaddr_un *address, int folder_fd)
{
    *address = (struct sockaddr_un){ .sun_family = AF_UNIX };
    snprintf(address->sun_path, sizeof address->sun_path, "/proc/self/fd/%d/control.sock", folder_fd);
}

void
pm_message_free(struct pm_message *m)
{
    for (size_t i = 0; i < m->n_fds; i++) {
        close(m->fds[i]);
    }
    free(m->text);
    *m = (struct pm_message){ 0 };
}

int
pm_channel_listen(const char *folder, int *fd)
{
    int dir = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0) {
        return errno;
    }
    int err = 0;
    struct sockaddr_un address;
    socket_address(&address, dir);
    *fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (*fd < 0) {
        err = errno;
    } else {
        unlinkat(dir, "control.sock", 0);
        if (bind(*fd, (const struct sockaddr *) &address, sizeof address) || listen(*fd, 64)) {
            err = errno;
            close(*fd);
            *fd = -1;
        }
    }
    close(dir);
    return err;
}

int
pm_channel_send(int fd, const char *text, size_t length, const int *fds, size_t n_fds)
{
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(sizeof(int) * PM_FDS_MAX)];
    } control = { .room = { 0 } };
    struct iovec iov = { .iov_base = (void *) (uintptr_t) text, .iov_len = length };
    struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
    if (n_fds) {
        message.msg_control = control.room;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
        struct cmsghdr *c = CMSG_FIRSTHDR(&message);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
        memcpy(CMSG_DATA(c), fds, sizeof(int) * n_fds);
    }
    ssize_t n;
    do {
        n = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? errno : 0;
}

static void
take_fds(struct msghdr *message, struct pm_message *m)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
            if (m->n_fds < PM_FDS_MAX) {
                m->fds[m->n_fds++] = fd;
            } else {
                close(fd);
            }
        }
    }
}

int
pm_channel_receive(int fd, struct pm_message *m)
{
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(sizeof(int) * PM_FDS_MAX)];
    } control = { .room = { 0 } };
    *m = (struct pm_message){ .text = malloc(PM_MESSAGE_MAX + 1) };
    if (!m->text) {
        return ENOMEM;
    }
    struct iovec iov = { .iov_base = m->text, .iov_len = PM_MESSAGE_MAX };
    struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.room,
                              .msg_controllen = sizeof control.room };
    ssize_t n;
    do {
        n = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    int err = n < 0 ? errno : n == 0 ? EPIPE : 0;
    if (n > 0) {
        take_fds(&message, m);
        m->length = (size_t) n;
        m->text[n] = '\0';
        err = message.msg_flags & MSG_TRUNC ? EMSGSIZE : 0;
    }
    if (err) {
        pm_message_free(m);
    }
    return err;
}

/* Wait until 'events' or 'end'. */
static int
wait_for(int fd, short events, int64_t end)
{
    struct pollfd p = { .fd = fd, .events = events };
    for (;;) {
        int n = poll(&p, 1, pm_left(end));
        if (n > 0) {
            return 0;
        }
        if (n == 0) {
            return ETIMEDOUT;
        }
        if (errno != EINTR) {
            return errno;
        }
    }
}

/* A full queue of connections answers EAGAIN: there is nothing to wait on but time. */
static int
connect_until(int fd, const struct sockaddr_un *address, int64_t end)
{
    while (connect(fd, (const struct sockaddr *) address, sizeof *address)) {
        if (errno != EAGAIN && errno != EINTR) {
            return errno;
        }
        if (pm_left(end) == 0) {
            return ETIMEDOUT;
        }
        poll(NULL, 0, RETRY_MS);
    }
    return 0;
}

static int
exchange(int fd, const char *text, const int *fds, size_t n_fds, struct pm_message *answer, int64_t end)
{
    int err;
    while ((err = pm_channel_send(fd, text, strlen(text), fds, n_fds)) == EAGAIN) {
        if ((err = wait_for(fd, POLLOUT, end)) != 0) {
            break;
        }
    }
    while (!err && (err = pm_channel_receive(fd, answer)) == EAGAIN) {
        err = wait_for(fd, POLLIN, end);
    }
    return err == EPIPE || err == ECONNRESET ? EPROTO : err;
}

int
pm_channel_call(const char *folder, const char *text, const int *fds, size_t n_fds, struct pm_message *answer, int64_t end)
{
    *answer = (struct pm_message){ 0 };
    int dir = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0) {
        return errno;
    }
    int err = 0;
    struct sockaddr_un address;
    socket_address(&address, dir);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        err = errno;
    } else {
        err = connect_until(fd, &address, end);
        if (!err) {
            err = exchange(fd, text, fds, n_fds, answer, end);
        }
        close(fd);
    }
    close(dir);
    return err;
}

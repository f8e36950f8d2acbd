/* A service that is run after each change of an Open vSwitch database, and not kept running: "watch SOCKET" in the file of services.
 *
 * The database tells its changes by itself (RFC 7047, "monitor"), so waiting for them costs nothing.  What they are is not looked at: the program finds out, and where nothing
 * is to be done it does nothing. */
#include "daemons/supervisor/supervisor.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { SETTLE_MS = 500, CONNECT_MS = 1000 };

/* Ports and bridges, and what of an interface changes when it is taken away below. */
static const char request[] = "{\"method\":\"monitor\",\"id\":1,\"params\":[\"Open_vSwitch\",null,{\"Port\":{\"columns\":[\"name\"]},\"Bridge\":{\"columns\":[\"name\"]},"
                              "\"Interface\":{\"columns\":[\"name\",\"error\",\"ifindex\"]}}]}";

static int
connected(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = strlen(path) < sizeof address.sun_path ? socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0) : -1;
    if (fd >= 0) {
        strcpy(address.sun_path, path);
        if (connect(fd, (struct sockaddr *) &address, sizeof address) || send(fd, request, sizeof request - 1, MSG_NOSIGNAL) != (ssize_t) sizeof request - 1) {
            close(fd);
            fd = -1;
        }
    }
    return fd;
}

void
service_watch(struct service *s)
{
    char buffer[16384];
    ssize_t n;
    if (s->watch_fd < 0 && now_ms() >= s->connect_ms) {
        s->connect_ms = now_ms() + CONNECT_MS;
        s->watch_fd = connected(s->watch);
    }
    while (s->watch_fd >= 0 && (n = recv(s->watch_fd, buffer, sizeof buffer, 0)) != 0) {
        if (n < 0) {
            if (errno == EAGAIN) {
                return;
            }
            break;
        }
        if (!s->wanted) { /* the first that it tells is what there is: that is looked at as well, for nobody saw what happened before */
            s->wanted = true;
            s->next_ms = now_ms() + SETTLE_MS;
        }
    }
    if (s->watch_fd >= 0) { /* it has ended */
        close(s->watch_fd);
        s->watch_fd = -1;
    }
}

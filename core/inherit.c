/* Sockets from a supervisor: see inherit.h. */
#include "config.h"

#include "core/inherit.h"

#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/util.h"

enum { FIRST_FD = 3 };

static size_t n_inherited;

void
fs_inherit_begin(void)
{
    const char *n = getenv("LISTEN_FDS"), *pid = getenv("LISTEN_PID");
    if (n && pid && strtol(pid, NULL, 10) == getpid()) {
        long number = strtol(n, NULL, 10);
        n_inherited = number > 0 && number < 64 ? (size_t) number : 0;
    }
    for (int fd = FIRST_FD; fd < FIRST_FD + (int) n_inherited; fd++) {
        fcntl(fd, F_SETFD, FD_CLOEXEC);
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    }
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDNAMES");
}

/* "HOST:PORT" as the kernel has it; for a Unix socket "unix:". */
static void
name_of(int fd, char *name, size_t room)
{
    struct sockaddr_storage address = { 0 };
    socklen_t size = sizeof address;
    char host[64] = "", port[16] = "";
    *name = '\0';
    if (!getsockname(fd, (struct sockaddr *) &address, &size) && address.ss_family == AF_UNIX) {
        snprintf(name, room, "unix:");
    } else if (!getnameinfo((struct sockaddr *) &address, size, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV)) {
        snprintf(name, room, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
    }
}

int
fs_inherit_socket(size_t number, const char *where, char **error)
{
    int fd = FIRST_FD + (int) number, listens = 0;
    socklen_t size = sizeof listens;
    char name[96];
    if (number >= n_inherited) {
        return -1;
    }
    name_of(fd, name, sizeof name);
    bool fits = !strncmp(where, "unix:", 5) ? !strcmp(name, "unix:") : !strcmp(name, where);
    if (fits && !getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) && listens) {
        return fd;
    }
    *error = fs_xasprintf("descriptor %d was handed on for %s, but it is %s%s: are the sockets of the unit in the order of the configuration?", fd, where,
                          *name ? name : "no socket", fits ? " and does not listen" : "");
    return -2;
}

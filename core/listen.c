/* Sockets to listen on: Unix and TCP, from the texts of the configuration. */
#include "config.h"

#include "core/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/util.h"

int
listen_unix(const char *path, int *fdp)
{
    /* Through /proc/self/fd/N a path may be longer than the 107 bytes of sun_path. */
    const char *slash = strrchr(path, '/');
    char *folder = slash ? fs_xasprintf("%.*s", (int) (slash - path) + 1, path) : fs_xstrdup(".");
    int dir = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    free(folder);
    if (dir < 0) {
        return errno;
    }
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int n = snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%s", dir, slash ? slash + 1 : path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int error = fd < 0 ? errno : n >= (int) sizeof address.sun_path ? ENAMETOOLONG : 0;
    if (!error) {
        struct stat st;
        bool there = !lstat(address.sun_path, &st);
        if (there && !S_ISSOCK(st.st_mode)) {
            error = EEXIST; /* not ours to take away */
        } else if (!connect(fd, (struct sockaddr *) &address, sizeof address) || errno == EAGAIN) {
            error = EADDRINUSE; /* somebody serves it, or does with so many waiting that we cannot join */
        } else {
            if (there) {
                unlink(address.sun_path);
            }
            /* Its mode is the file's.  Not by umask(), which is the process's: calls that came over the first socket may be making files and folders. */
            error = fchmod(fd, 0600) || bind(fd, (struct sockaddr *) &address, sizeof address) ? errno : 0;
        }
    }
    close(dir);
    if (!error && listen(fd, 1024)) {
        error = errno;
    }
    if (error && fd >= 0) {
        close(fd);
    }
    *fdp = fd;
    return error;
}

int
listen_tcp(const char *where, const char *lacking, int *fdp, char **error)
{
    const char *colon = strrchr(where, ':');
    if (!colon) {
        *error = fs_xasprintf("'%s' is no HOST:PORT", where);
        return EINVAL;
    }
    bool bracketed = *where == '[' && colon > where && colon[-1] == ']';
    char *host = fs_xasprintf("%.*s", (int) (colon - where) - 2 * bracketed, where + bracketed);
    struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_PASSIVE, .ai_socktype = SOCK_STREAM }, *found = NULL;
    int e = getaddrinfo(host, colon + 1, &hints, &found);
    free(host);
    if (e) {
        *error = fs_xasprintf("'%s': %s", where, gai_strerror(e));
        return EINVAL;
    }
    const struct sockaddr_in *v4 = (const void *) found->ai_addr;
    const struct sockaddr_in6 *v6 = (const void *) found->ai_addr;
    bool loopback = found->ai_family == AF_INET ? ntohl(v4->sin_addr.s_addr) >> 24 == 127 : IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
    int code = 0, fd = *fdp, one = 1;
    bool given = fd >= 0;
    if (lacking && !loopback) {
        *error = fs_xasprintf("%s: only loopback addresses may be listened on without %s (docs/configuration.md)", where, lacking);
        code = EPERM;
    } else if (!given) {
        fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one)
            || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) || bind(fd, found->ai_addr, found->ai_addrlen)
            || listen(fd, 1024)) {
            code = errno;
            *error = fs_xasprintf("cannot listen on %s: %s", where, strerror(code));
        }
    }
    freeaddrinfo(found);
    if (code && fd >= 0) {
        close(fd);
    }
    *fdp = fd;
    return code;
}

char *
listen_name(int fd)
{
    struct sockaddr_storage address = { 0 };
    socklen_t size = sizeof address;
    char host[64] = "", port[16] = "";
    getsockname(fd, (struct sockaddr *) &address, &size);
    getnameinfo((struct sockaddr *) &address, size, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV);
    return fs_xasprintf(strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
}

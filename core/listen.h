/* Sockets to listen on, for core/server.c. */
#ifndef CORE_LISTEN_H
#define CORE_LISTEN_H 1

/* A socket at 'path' with mode 0600; one that nobody serves is replaced.  0, or an errno. */
int listen_unix(const char *path, int *fd);
/* 'where' is "HOST:PORT" or "[V6]:PORT".  'lacking' is NULL, or names what the configuration would need for others than loopback
 * addresses: then those are refused.  *fd is -1, or a socket that listens there already: then only the address is looked at.  0, or an errno with *error owned. */
int listen_tcp(const char *where, const char *lacking, int *fd, char **error);
/* "HOST:PORT" of a TCP socket (owned). */
char *listen_name(int fd);

#endif

/* The HTTP front of a daemon: XML-RPC calls on POST /RPC2, texts on GET, over TCP and Unix sockets. */
#ifndef CORE_SERVER_H
#define CORE_SERVER_H 1

#include <stdbool.h>
#include <stddef.h>

#include <flowstream/value.h>

struct fs_server;

struct fs_server_options {
    const char *credentials;       /* "user:password" of the platform, or NULL */
    const char *users;             /* file of further users with hashed passwords (core/credentials.h), or NULL */
    const char *certificate, *key; /* PEM; NULL: no TLS.  Other than loopback addresses are listened on only with both TLS and credentials */
    size_t max_body;               /* bytes of a call */
    unsigned max_connections;      /* of one listening socket */
    unsigned max_peer_connections; /* of those from one peer; 0: FS_SERVER_PEER_CONNECTIONS, and no limit for this computer itself */
    unsigned idle_seconds;         /* a connection without a byte for so long is closed */
    unsigned header_seconds, body_seconds, answer_seconds; /* for all of the headers, the body, the answer, however slowly they move */
    unsigned threads;              /* that serve calls which may block */
};

enum { FS_SERVER_PEER_CONNECTIONS = 1024 };

/* What the server asks its owner. All are called from several threads. */
struct fs_server_handler {
    void *aux;
    /* Serve a call; 'params' is borrowed.  'caller' is USER@ADDRESS.  'plain': answer with the bare value. */
    void (*call)(void *aux, const char *method, xmlrpc_value *params, const char *request_id, const char *caller, struct fs_reply *,
                 bool *plain);
    /* True: call() of this method, or get() of this path, never blocks. */
    bool (*quick)(void *aux, const char *method);
    /* The text of GET 'path' (owned by the server from then on) and its type, or NULL: not found.  'status' is 200 before. */
    char *(*get)(void *aux, const char *path, const char **type, unsigned *status);
};

/* The strings of the options are copied.  NULL with *error (owned): the file of users cannot be used. */
FS_API struct fs_server *fs_server_new(const struct fs_server_options *, const struct fs_server_handler *, char **error);
/* "HOST:PORT", "[V6]:PORT" (port 0: any) or "unix:/PATH" (made with mode 0600; one that nobody serves is replaced).  0, or an errno with
 * *error owned.  *bound (owned) says where it listens. */
FS_API int fs_server_listen(struct fs_server *, const char *where, char **bound, char **error);
/* The end begins: no new connections and no new calls; those under way get 'ms' milliseconds to end and to be answered.  False: some
 * have not, and still use the server and its owner; wait again, or end the process.  Accepts NULL. */
FS_API bool fs_server_drain(struct fs_server *, int ms);
/* Closes all connections and frees all; fs_server_drain() must have returned true.  Accepts NULL. */
FS_API void fs_server_destroy(struct fs_server *);
/* Connections open and calls waiting or running. */
FS_API void fs_server_load(struct fs_server *, unsigned *connections, unsigned *calls);
/* A struct: connections; refused (the peer had too many), late (closed by a deadline), evicted (for a newer one); credentials_refused, throttled
 * (not looked at), password_hashes (computed). */
FS_API xmlrpc_value *fs_server_figures(struct fs_server *);

#endif

/* What the files of the HTTP front share: core/server.c (sockets, beginning and end) and core/server_request.c (one request, from its headers to its answer). */
#ifndef CORE_SERVER_PARTS_H
#define CORE_SERVER_PARTS_H 1

#include <microhttpd.h>
#include <pthread.h>
#include <stdbool.h>

#include "core/credentials.h"
#include "core/door.h"
#include "core/server.h"
#include "core/workers.h"

enum { MAX_SOCKETS = 8 };

/* One listening socket. */
struct listener {
    struct fs_server *server;
    struct MHD_Daemon *daemon;
    struct door *door;
    char *unix_path; /* to unlink; NULL: it is TCP */
    bool inherited;  /* it is the supervisor's: not ours to unlink, nor to shut down */
    int closed;      /* the socket, once nobody is let in any more: its number is kept until the library's threads have ended; else -1 */
};

struct fs_server {
    struct fs_server_options options;
    struct fs_server_handler handler;
    struct credentials *credentials;
    struct workers *workers;
    char *certificate, *key;
    struct listener listeners[MAX_SOCKETS];
    size_t n_listeners;
    pthread_mutex_t lock;
    pthread_cond_t done;
    unsigned n_calls;    /* whose answer is not on its way yet */
    unsigned n_checks;   /* of credentials, that wait or run */
    size_t body_bytes;   /* held by all requests together */
    bool ending;
};

/* For libmicrohttpd: aux is the listener, *state the request. */
enum MHD_Result server_on_access(void *aux, struct MHD_Connection *, const char *path, const char *verb, const char *version, const char *bytes, size_t *size, void **state);
void server_on_completed(void *aux, struct MHD_Connection *, void **state, enum MHD_RequestTerminationCode);

#endif

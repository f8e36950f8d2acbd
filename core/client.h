/* The XML-RPC client: calls to other daemons, with a deadline, over kept-alive connections, TCP or Unix sockets. */
#ifndef CORE_CLIENT_H
#define CORE_CLIENT_H 1

#include <flowstream/value.h>

struct fs_peer;

/* The file of certificates (PEM) of which one must have signed those of peers; without it the system's are asked.  Before the first call. */
FS_API void fs_peer_trust(const char *ca);
/* 'url' is https://HOST:PORT/RPC2 (TLS 1.2 or newer), http://HOST:PORT/RPC2 or unix:/PATH; 'credentials' "user:password" or NULL.  No I/O. */
FS_API struct fs_peer *fs_peer_new(const char *name, const char *url, const char *credentials);
FS_API void fs_peer_destroy(struct fs_peer *);
FS_API const char *fs_peer_name(const struct fs_peer *);
FS_API const char *fs_peer_url(const struct fs_peer *);

/* Calls 'method' and waits at most 'ms' milliseconds, connecting included.  'params' is an array and is taken.  What the peer answers
 * is in *reply (a ReturnValue is taken apart; a plain answer is its value with code 0; a fault has reply->fault set); what goes
 * wrong on the way is code 1 with a message that names the daemon and what to do.  Returns reply->code.  Thread-safe. */
FS_API int fs_peer_call(struct fs_peer *, const char *method, xmlrpc_value *params, int ms, const char *request_id,
                        struct fs_reply *reply);

#endif

/* Who stands at a listening socket: how many there are, in all and from one peer, what each of them is doing, until when it may do so, and
 * how often a peer has shown wrong credentials.
 *
 * libmicrohttpd closes a connection on which nothing moves; it has no clock for one that sends a byte now and then.  Here each phase of a
 * connection has a deadline of its own, however much moves.  A connection that is late is shut down and libmicrohttpd finds its end.
 * When the socket is nearly full, the connection that has waited longest without a call makes room for the next one: idle
 * connections, however many, cannot keep a caller out.
 *
 * A peer is an IPv4 address, the first 64 bits of an IPv6 address (what one customer gets), or, of a Unix socket, this computer. Thread-safe. */
#ifndef CORE_DOOR_H
#define CORE_DOOR_H 1

#include <stdbool.h>
#include <sys/socket.h>

#include <flowstream/value.h>

struct door;
struct visitor;

struct door_limits {
    unsigned connections;   /* in all; libmicrohttpd accepts no more */
    unsigned per_peer;      /* 0: no limit */
    bool loopback_too;      /* the limit of a peer also holds for this computer */
    unsigned header_s;      /* seconds from the connection, or from the first byte that may come, to the end of the headers */
    unsigned idle_s;        /* between an answer and the headers of the next call */
    unsigned body_s;        /* from the headers to the end of the body */
    unsigned answer_s;      /* from the answer to its last byte taken by the peer */
};

enum door_phase { DOOR_FRESH, DOOR_KEPT, DOOR_BODY, DOOR_ANSWER, DOOR_BUSY /* we are at work: no deadline */ };

/* Starts a thread.  Never NULL. */
struct door *door_new(const struct door_limits *);
/* Ends the thread and frees all; nobody may be at the door any more.  Accepts NULL. */
void door_destroy(struct door *);

/* May a connection from there come in?  False is counted. */
bool door_admit(struct door *, const struct sockaddr *);
/* It has come in (phase FRESH).  'fd' is watched until door_leave(). */
struct visitor *door_enter(struct door *, int fd, const struct sockaddr *);
void door_leave(struct visitor *);
void door_phase(struct visitor *, enum door_phase);
/* "192.0.2.7", or "local" for a Unix socket; lives as long as the visitor. */
const char *door_name(const struct visitor *);

/* May this peer have credentials checked that nobody has verified yet?  Ten failures in a row are free, then one a second. */
bool door_may_try(struct visitor *);
void door_failed(struct visitor *);

/* Adds this door's figures to those in a struct: connections, refused, late, evicted, credentials_refused, throttled. */
void door_add_figures(struct door *, xmlrpc_value *figures);

#endif

#ifndef OPENFLOW_CONNECTION_H
#define OPENFLOW_CONNECTION_H

/* One OpenFlow connection: bytes to messages and back, always by a deadline.  Not thread-safe: switch.c gives
 * the switch, and with it its connection, to one thread at a time. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openvswitch/ofp-msgs.h>
#include <openvswitch/ofp-protocol.h>
#include <openvswitch/ofpbuf.h>

/* Gets each message first, so also what the switch tells unasked; true: it was for it. */
typedef bool connection_tell(void *aux, const struct ofp_header *message, enum ofptype type);

struct connection {
    int fd;                   /* -1: closed. */
    bool lost;                /* The other side went away (not: it was silent, or spoke nonsense). */
    uint8_t version;          /* Agreed version of OpenFlow. */
    uint32_t next_xid;
    struct ofpbuf in, out;    /* Received and not yet taken; to be sent. */
    size_t sent;              /* How much of 'out' is sent. */
    struct ofpbuf message;    /* The message being handled. */
    unsigned session;         /* Counts how often it was opened. */
    bool ports_changed;       /* The switch has told of a port since this was last set to false. */
    connection_tell *tell;    /* Or NULL. */
    void *tell_aux;
};

/* Takes one message, whose length has been checked.  Sets '*done' when no more are wanted.  An error ends the talk. */
typedef int connection_take(void *aux, const struct ofp_header *message, bool *done, char **error);

void connection_init(struct connection *);
void connection_close(struct connection *);

/* Milliseconds of the monotonic clock. */
int64_t connection_now(void);

/* Opens the connection and agrees on a version by the deadline (of connection_now()).  It is closed again on error. */
int connection_open(struct connection *, const char *target, int64_t deadline, char **error);

/* Whether the connection still lives, as far as can be seen without waiting.  Answers what the switch asked meanwhile. */
bool connection_is_alive(struct connection *);

/* Queues a message, which it frees, under the transaction number returned (host byte order). */
uint32_t connection_queue(struct connection *, struct ofpbuf *message);

/* Sends what is queued and hands received messages to 'take' until it is done.  The connection is closed on error. */
int connection_talk(struct connection *, int64_t deadline, connection_take *, void *aux, char **error);

#endif

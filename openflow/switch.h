#ifndef OPENFLOW_SWITCH_H
#define OPENFLOW_SWITCH_H

/* What the operations on a switch (apply.c, rules.c, ports.c) share: turns, the connection, questions and answers. */

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include <openvswitch/ofp-msgs.h>
#include <openvswitch/ofp-port.h>

#include <flowstream/openflow.h>

#include "openflow/connection.h"

struct fs_switch {
    char *name;
    char *target;
    pthread_mutex_t lock;         /* Guards 'busy'. */
    pthread_cond_t idle;          /* Signalled when 'busy' becomes false; on the monotonic clock. */
    bool busy;                    /* Some thread has its turn: it alone uses the connection. */
    struct connection connection;
    uint32_t last_bundle;         /* Number of the newest bundle. */
    struct fs_switch_watch watch; /* What fs_switch_watch() last found. */
    _Atomic int64_t changed;      /* When we last changed something there, or began to. */
};

/* Something that a caller wants of a switch, done while it has its turn and the connection is open.  It may be done twice, if
 * a kept connection turns out to be dead, and must then begin afresh. */
typedef int switch_operation(struct fs_switch *, void *aux, int64_t deadline, char **error);

/* Does an operation by the deadline.  Messages are put behind "switch NAME (TARGET): " unless the operation names the switch. */
int switch_run(struct fs_switch *, switch_operation *, void *aux, int deadline_ms, char **error);

/* For what waits for nobody: the turn if it can be had now, and giving it back. */
bool switch_try_turn(struct fs_switch *);
void switch_end_turn(struct fs_switch *);

/* To be said before and after a change. */
void switch_note_change(struct fs_switch *);

/* A request and what becomes of its answer.  'reply' is called for each part of the answer, whose header is pulled off and can
 * be found in 'part->header'; it returns 0 or an errno with a message. */
struct switch_question {
    struct ofpbuf *request;       /* Freed when it is sent. */
    enum ofptype answer;          /* Type of the answer. */
    int (*reply)(void *aux, struct ofpbuf *part, char **error);
    void *aux;
    uint32_t xid;
    bool answered;
};

/* Asks all questions at once and returns when all are answered. */
int switch_ask(struct fs_switch *, struct switch_question *, size_t n, int64_t deadline, char **error);

/* A question for the ports; its answers fill an initialised port map. */
struct switch_question switch_ask_ports(struct fs_switch *, struct ofputil_port_map *);
/* A question for what fs_switch_watch() tells of the ports: '*ports' begins with zeros, and has 'down' for the caller to free. */
struct switch_question switch_ask_watch(struct fs_switch *, struct fs_switch_watch *ports);

#endif

#ifndef OPENFLOW_COMPARE_H
#define OPENFLOW_COMPARE_H

/* Reading what is ours, and digests of it, for those who have the turn of a switch. */

#include "openflow/switch.h"

struct ofpact;

/* A rule as a switch tells it. */
struct compare_rule {
    uint64_t cookie;
    uint8_t table;
    uint16_t priority;
    uint16_t idle, hard;
    const struct match *match;
    const struct ofpact *actions;
    size_t actions_length;
};

/* A sum over place, actions, cookie and timeouts of a rule; 'wire' is for its use. */
uint64_t compare_digest(const struct compare_rule *, struct ofpbuf *wire);
uint64_t compare_meter_digest(const struct fs_meter *);

/* Asks for the rules with such a cookie, whose parts 'take' gets, and for the ports, unless 'ports' is NULL. */
int compare_ask_ours(struct fs_switch *, struct ofputil_port_map *ports, int (*take)(void *aux, struct ofpbuf *part, char **error), void *aux, uint64_t cookie, uint64_t mask,
                     int64_t deadline, char **error);

#endif

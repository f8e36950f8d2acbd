#ifndef OPENFLOW_APPLY_H
#define OPENFLOW_APPLY_H

/* What apply.c, which applies changes at once, and bundle.c, which keeps them prepared, have in common. */

#include <stddef.h>
#include <stdint.h>

#include <openvswitch/hmap.h>
#include <openvswitch/ofp-flow.h>
#include <openvswitch/ofp-port.h>

#include <flowstream/openflow.h>

#include "openflow/switch.h"

struct apply {
    const struct fs_change *changes;
    size_t n;
    struct ofputil_port_map ports;
    struct hmap foreign;
    struct ofputil_flow_mod *mods; /* The changes, parsed. */
    size_t n_mods;                 /* How many of them are. */
    struct ofpbuf **messages;      /* The changes as they are sent. */
    uint32_t id;                   /* Of the bundle; others may be open on the same connection. */
    uint32_t first;                /* xid of the message that opened it. */
};

void apply_init(struct apply *, const struct fs_change *, size_t n);
void apply_destroy(struct apply *);

/* 0 unless a change would touch what is not ours. */
int apply_check_cookies(const struct fs_switch *, const struct fs_change *, size_t n, char **error);

/* With a turn: check the changes and put them into an open bundle of the switch; then all that is left is the commit.  A struct apply as 'aux'. */
switch_operation apply_prepare;
int apply_commit(struct fs_switch *, struct apply *, int64_t deadline, char **error);
/* Queues the message that throws the bundle away. */
void apply_discard(struct fs_switch *, const struct apply *);

#endif

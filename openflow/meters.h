#ifndef OPENFLOW_METERS_H
#define OPENFLOW_METERS_H

/* Reading the meters of a switch, for those who have its turn. */

#include "openflow/switch.h"

struct meter_list {
    struct fs_meter *meters;
    size_t n, allocated;
    bool counters; /* Whether these are wanted too. */
};

/* A struct meter_list as 'aux', whose 'meters' is freed by the caller: fills it, by id.  A switch that refuses the question has none. */
switch_operation meters_read;

/* The one of that id, or NULL. */
struct fs_meter *meters_find(const struct meter_list *, uint32_t id);

#endif

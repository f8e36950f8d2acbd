/* What the tasks and commands of the OpenFlow daemon share: the switches that it has been told of, each with its connection. */
#ifndef DAEMONS_OPENFLOW_SWITCHES_H
#define DAEMONS_OPENFLOW_SWITCHES_H 1

#include <flowstream/api.h>
#include <flowstream/openflow.h>
#include <flowstream/value.h>

#include "core/daemon.h"

struct switches;

/* Which switch: members of a command's parameter. */
#define OPENFLOW_WHICH \
    { "switch", "string", 0, 0, "its name" }, \
    { "target", "string", 0, 0, "where it is reached" }


FS_API void *switches_start(struct fs_daemon *, const struct fs_settings *, char **error);
FS_API void switches_stop(void *);
/* The switch of that name at that target, entered if it is new; it lives as long as the daemon.  A switch that has moved to another target is a
 * new one. NULL with *error for a bad name or target. */
FS_API struct fs_switch *switches_get(struct switches *, const char *name, const char *target, char **error);
/* The same switch over a connection of its own, for reading all of its rules: that takes a while, and changes need not wait for it. */
FS_API struct fs_switch *switches_reader(struct switches *, const char *name, const char *target, char **error);
/* Calls 'each' with every switch that has been entered. */
void switches_each(struct switches *, void (*each)(void *aux, const char *name, const char *target, struct fs_switch *), void *aux);
/* All: [{name, target, session, ports, down}], each the newest of its name; session, ports and down as of fs_switch_watch(). */
FS_API xmlrpc_value *switches_list(struct switches *);

#endif

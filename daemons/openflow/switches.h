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
/* What the same switch has of ours, followed over a connection of its own. */
FS_API struct fs_follow *switches_follow(struct switches *, const char *name, const char *target, char **error);
/* A state of fs_follow_changes() as text, "" for 0, that means nothing to another process of this daemon; and back, 0 where it is none of this process. */
FS_API xmlrpc_value *switches_state(struct switches *, uint64_t state);
FS_API uint64_t switches_read_state(struct switches *, const char *text);

/* One that has been entered. */
struct switches_one {
    const char *name, *target;
    struct fs_switch *sw;
    struct fs_follow *follow;
};
/* Calls 'each' with every one; what it gets lives as long as the daemon. */
void switches_each(struct switches *, void (*each)(void *aux, const struct switches_one *), void *aux);
/* All: [{name, target, session, ports, down, rules}], each the newest of its name; session, ports and down as of fs_switch_watch(), rules the state of fs_follow_state(), by what news.c has heard. */
FS_API xmlrpc_value *switches_list(struct switches *);

#endif

/* What the tasks and commands of the module host daemon share: where this host lives.  The modules themselves are on disk and in their processes
 * (include/flowstream/pm.h), so that a daemon that was killed knows them again. */
#ifndef DAEMONS_MODULEHOST_H
#define DAEMONS_MODULEHOST_H 1

#include <pthread.h>

#include <flowstream/pm.h>
#include <flowstream/value.h>

#include "core/daemon.h"

struct modulehost {
    struct fs_host_env env;
    struct fs_daemon *daemon;
    char *name, *address, *bridge, *ovsdb, *target, *trunk, *mux, *netns, *basesys, *programs;
    double cpu, mem;
    int mtu;
    bool ready; /* setup_host has done its work; atomic */
    pthread_mutex_t setup; /* one setup_host at a time, of whichever version: its turn may come while watch_host has asked for it */
    struct modulehost_watch *watch;
    struct modulehost_meter *meter;
};

FS_API void *modulehost_start(struct fs_daemon *, const struct fs_settings *, char **error);
FS_API void modulehost_stop(void *);
/* Run a program (argv ends with NULL; no shell) within 'ms' milliseconds, in the network namespace of the host if 'in_netns'.  0, or an errno with *error
 * (owned): the command and what it said. */
FS_API int modulehost_run(const struct modulehost *, bool in_netns, int ms, char *const argv[], char **error);

struct fs_call;
/* Connect or disconnect the ports that the call's parameter names: what connect_pm and disconnect_pm do. */
FS_API void modulehost_change_ports(struct fs_call *,
                                    int (*change)(const struct fs_host_env *, const char *name, const struct fs_module_ports *, int ms, char **error));
/* The member 'key' of a module, inputs or outputs: [{port, spi}] as an array of its own that the caller frees, with fs_size() elements. */
FS_API struct fs_port_spi *modulehost_ports(const xmlrpc_value *pm, const char *key);

/* measure.c: cores of this computer that were idle between the last two looks, half a second or more apart, and MB that could be given out now; less than 0: not known. */
struct modulehost_meter *modulehost_meter_new(void);
void modulehost_meter_free(struct modulehost_meter *); /* accepts NULL */
FS_API double modulehost_idle_cores(struct modulehost_meter *);
FS_API double modulehost_available_mem(void);

/* watch.c: notices what comes, goes and ends, and keeps a table of it.  A look at nothing new is a few system calls, whatever runs here. */
struct modulehost_watch *modulehost_watch_new(void);
void modulehost_watch_free(struct modulehost_watch *); /* accepts NULL */
/* Look: has a module died or gone, or come without modulehost_watch_note(), since the last look?  *mux_ended: the multiplexer has ended since. */
FS_API bool modulehost_watch_look(struct modulehost *, bool *mux_ended);
/* This process of modules was made, changed or removed just now. */
FS_API void modulehost_watch_note(struct modulehost *, const char *process);
/* "9f3e...-17": this start of the daemon and the generation of its table, which changes whenever a process comes, goes, dies or is changed (owned).  NULL: the folder of modules
 * cannot be read, nothing is known. */
FS_API char *modulehost_watch_state(struct modulehost *);
/* {state; all: everything is told, not only what changed since the state 'known'; owners [[id, digest]]: a digest of an owner's processes, "" for one that has none any more}.
 * NULL as above. */
FS_API xmlrpc_value *modulehost_watch_changes(struct modulehost *, const char *known);
/* Calls visit(aux, process) for the processes of an owner. */
FS_API void modulehost_watch_processes(struct modulehost *, uint64_t owner, void (*visit)(void *aux, const char *process), void *aux);

#endif

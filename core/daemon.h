/* What every daemon is: a loader, a task engine, a server, peers, and a state that its tasks and commands share.
 *
 * The daemon's own part is one struct fs_daemon_class and a main() that gives it to fs_daemon_main(); it implements no method. */
#ifndef CORE_DAEMON_H
#define CORE_DAEMON_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <flowstream/method.h>

#include "core/settings.h"

struct fs_engine;
struct fs_fence;
struct fs_loader;
struct fs_server;
struct fs_table;

struct fs_daemon_class {
    const char *name;    /* "resource": also the folder of its own tasks and commands */
    const char *summary; /* one line for --help */
    /* Make the state from the settings before anything is served.  NULL with *error (owned) on failure. May be NULL: no state. */
    void *(*start)(struct fs_daemon *, const struct fs_settings *, char **error);
    void (*stop)(void *state);
    /* Tasks that the engine runs at regular times; ends with a NULL name. */
    const struct fs_regular_task {
        const char *name;
        int ms, patience_ms; /* see fs_engine_every() */
    } *regular;
};

/* Options, configuration, log, signals, life and end: returns the exit status of the process. */
FS_API int fs_daemon_main(const struct fs_daemon_class *, int argc, char **argv);

/* The parts, for tasks and commands. */
FS_API const char *fs_daemon_name(const struct fs_daemon *);
FS_API void *fs_daemon_state(const struct fs_daemon *);
FS_API struct fs_engine *fs_daemon_engine(const struct fs_daemon *);
/* Which controller the daemon obeys: fence.h. */
FS_API struct fs_fence *fs_daemon_fence(const struct fs_daemon *);
FS_API struct fs_loader *fs_daemon_loader(const struct fs_daemon *);
/* The folder that the daemon may write to. */
FS_API const char *fs_daemon_dir(const struct fs_daemon *);
/* "user:password" that peers are called with, or NULL. */
FS_API const char *fs_daemon_credentials(const struct fs_daemon *);
/* The peer of that name in the configuration, or NULL. */
FS_API struct fs_peer *fs_daemon_peer(const struct fs_daemon *, const char *name);
/* Uptime, memory, connections, calls: what get_statistics answers for every daemon (a new struct). */
FS_API xmlrpc_value *fs_daemon_statistics(const struct fs_daemon *);
/* "1f3a...": random at each start, so that a peer can see that we are another process. */
FS_API const char *fs_daemon_incarnation(const struct fs_daemon *);

/* Who calls, how long they wait, whether they still want it. */
struct fs_daemon_call {
    const char *request_id;
    const char *caller; /* USER@ADDRESS, or NULL: the daemon itself */
    const bool *cancel; /* or NULL */
    int64_t deadline;   /* fs_now_ms() */
    void *task;         /* of the engine, whose progress is told; or NULL */
    struct fs_table *table; /* the versions that the call uses; NULL: those of now */
};

/* Serve command 'name' as the XML-RPC server does. */
FS_API void fs_daemon_run_command(struct fs_daemon *, const char *name, xmlrpc_value *params, const struct fs_daemon_call *,
                                  struct fs_reply *, bool *plain);
/* Run task 'name' in this thread; 'param' is borrowed. */
FS_API void fs_daemon_run_task(struct fs_daemon *, const char *name, xmlrpc_value *param, const struct fs_daemon_call *,
                               struct fs_reply *);
/* The name of the task that undoes task 'name' (owned), or NULL. */
FS_API char *fs_daemon_undo_of(struct fs_daemon *, const struct fs_daemon_call *, const char *name);
/* The versions that a call uses. */
FS_API struct fs_table *fs_call_table(const struct fs_call *);
/* Use the versions of now from here on, not those of the dispatch: for a command that changes versions, and must not wait for itself.  It is not unloaded before it has ended. */
FS_API void fs_call_step_aside(struct fs_call *);

#endif

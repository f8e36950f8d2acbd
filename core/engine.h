/* The task engine of a daemon: queues with two priorities, threads that run tasks, handles, results (section 3.1.1 of D3.2).
 *
 * A normal task starts only when no task of high priority waits.  A compound task is a list of tasks that run one after the other;
 * the first that fails ends it, and those that had succeeded are undone in reverse order, as far as their descriptors name a
 * task that undoes them.  Finished tasks are kept for get_task until 4,096 newer ones have finished.  Thread-safe. */
#ifndef CORE_ENGINE_H
#define CORE_ENGINE_H 1

#include <flowstream/value.h>

struct fs_engine;
struct fs_daemon;

struct fs_step {
    char *name;          /* owned */
    xmlrpc_value *param; /* owned */
};

FS_API void fs_steps_free(struct fs_step *, size_t n);

FS_API struct fs_engine *fs_engine_new(struct fs_daemon *, unsigned threads);
/* Cancels what waits, gives what runs 'ms' milliseconds, and frees all.  False: something still runs and nothing was freed. */
FS_API bool fs_engine_destroy(struct fs_engine *, int ms);

/* Queue 'n' steps (the array and what it points to are taken) as one task; 'compound' decides the form of the answer.  Returns the
 * handle, or 0 with *reply set when too many tasks wait. */
FS_API int fs_engine_submit(struct fs_engine *, struct fs_step *steps, size_t n, bool compound, bool high, const char *request_id,
                            struct fs_reply *reply);
/* A task may wait for tasks: while it does, another thread does its work, so that they run also when all threads wait.
 * True with the answer once the task has ended; false after 'ms' milliseconds.  An unknown handle is an answer with code 1. */
FS_API bool fs_engine_wait(struct fs_engine *, int handle, int ms, struct fs_reply *reply);
/* A struct about the task, or NULL: unknown (or forgotten). */
FS_API xmlrpc_value *fs_engine_describe(struct fs_engine *, int handle);
/* A task that waits is taken out; one that runs is told (fs_call_cancelled) and ends when it looks.  False: unknown or ended. */
FS_API bool fs_engine_cancel(struct fs_engine *, int handle);
/* The end begins: nothing more is taken, what waits is cancelled, what runs is told.  Accepts NULL. */
FS_API void fs_engine_cancel_all(struct fs_engine *);
/* Submit task 'name' every 'ms' milliseconds from now on, the first time at once; never while the last one of it is not done. */
FS_API void fs_engine_every(struct fs_engine *, const char *name, int ms);
FS_API void fs_engine_load(struct fs_engine *, unsigned *waiting, unsigned *running, double *done);

#endif

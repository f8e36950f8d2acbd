/* The task engine of a daemon: queues with two priorities, threads that run tasks, handles, results (section 3.1.1 of D3.2).
 *
 * Order.  A normal task starts only when no task of high priority waits.  Inside a class callers take turns, and so do the tasks of
 * different names of one caller (core/turns.h); tasks of one name and caller start in the order in which they came.
 * Compound.  A list of tasks that run one after the other; the first that fails ends it, and those that had succeeded are undone in
 * reverse order, as far as their descriptors name a task that undoes them.
 * Hanging.  When tasks wait and for a second none could start, because all threads are held, another thread is made, up to 256.  A task with a
 * deadline is told to end when it passes; one that has not ended five seconds later has failed, and its thread no longer counts.
 * Bounds.  Waiting tasks are bounded in number and in bytes of their parameters, results in number, bytes and age. Thread-safe. */
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

struct fs_engine_limits {
    unsigned threads;      /* that run tasks at once, while none hangs */
    size_t waiting;        /* tasks */
    size_t waiting_bytes;  /* of their parameters, about */
    size_t results;        /* tasks that have ended and are kept for get_task */
    size_t result_bytes;   /* of the memory that they take */
    unsigned result_seconds;
};

struct fs_submission {
    struct fs_step *steps; /* taken, the array and what it points to, also when it is refused */
    size_t n;
    bool compound;          /* the form of the answer */
    bool high;
    const char *request_id; /* or NULL */
    const char *caller;     /* USER@ADDRESS; NULL: the daemon itself */
    int deadline_ms;        /* from now until it must have ended; 0: none */
    unsigned retries;       /* further attempts when it fails; all its steps must be idempotent, which is not checked here */
    int backoff_ms;         /* before the first of these; twice as long before each further one, a minute at most */
};

FS_API struct fs_engine *fs_engine_new(struct fs_daemon *, const struct fs_engine_limits *);
/* Cancels what waits, gives what runs 'ms' milliseconds, and frees all.  False: something still runs and nothing was freed. */
FS_API bool fs_engine_destroy(struct fs_engine *, int ms);

/* Queue a task.  Returns the handle, or 0 with *reply set when too many tasks wait. */
FS_API int fs_engine_submit(struct fs_engine *, const struct fs_submission *, struct fs_reply *reply);
/* A task may wait for tasks: while it does, another thread does its work, so that they run also when all threads wait.
 * True with the answer once the task has ended; false after 'ms' milliseconds.  An unknown handle is an answer with code 1. */
FS_API bool fs_engine_wait(struct fs_engine *, int handle, int ms, struct fs_reply *reply);
/* A struct about the task, or NULL: unknown (or forgotten). */
FS_API xmlrpc_value *fs_engine_describe(struct fs_engine *, int handle);
/* A task that waits is taken out; one that runs is told (fs_call_cancelled) and ends when it looks.  False: unknown or ended. */
FS_API bool fs_engine_cancel(struct fs_engine *, int handle);
/* The end begins: nothing more is taken, what waits is cancelled, what runs is told.  Accepts NULL. */
FS_API void fs_engine_cancel_all(struct fs_engine *);
/* Submit task 'name' every 'ms' milliseconds from now on, the first time at once; never while the last one of it is not done, unless that has run for 'patience_ms' (0: however
 * long that takes): then another is begun beside it, so a task that knows what it has in hand is not kept from all else by what hangs. */
FS_API void fs_engine_every(struct fs_engine *, const char *name, int ms, int patience_ms);
/* How far a task has come, from 0 to 1 (negative: unknown), and what it is at.  'task' is that of the struct fs_daemon_call; NULL does nothing. */
FS_API void fs_engine_progress(struct fs_engine *, void *task, double fraction, const char *text);
FS_API void fs_engine_load(struct fs_engine *, unsigned *waiting, unsigned *running, double *done);
/* Adds to a struct: tasks_waiting, tasks_running, tasks_done, task_threads, tasks_hanging (of written-off threads), task_waiting_bytes,
 * task_results, task_result_bytes, and 'task', an array with a struct for each name (core/tally.h). */
FS_API void fs_engine_add_figures(struct fs_engine *, xmlrpc_value *figures);

#endif

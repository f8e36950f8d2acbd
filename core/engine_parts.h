/* What the files of the task engine share: core/engine.c (tasks, from submission to result), core/engine_run.c (threads, running) and core/engine_clock.c (what
 * happens at a time). */
#ifndef CORE_ENGINE_PARTS_H
#define CORE_ENGINE_PARTS_H 1

#include <pthread.h>
#include <stdint.h>

#include "core/engine.h"
#include "core/tally.h"
#include "core/turns.h"

enum {
    MAX_REGULAR = 16,
    MAX_BESIDE = 4, /* of one regular task */
    MAX_EXTRA = 240,       /* threads beyond the limit, because others hang */
    STARVED_MS = 1000,     /* tasks wait, and none started for so long */
    GRACE_MS = 5000,       /* to end after the deadline */
    MAX_BACKOFF_MS = 60000,
    SWEEP_MS = 60000,      /* old results are looked for so often */
    NO_TIMER = -1
};

enum task_state { WAITING, RUNNING, DONE, FAILED, CANCELLED };

/* Someone who waits for a task; on the stack of fs_engine_wait(). */
struct waiter {
    pthread_cond_t ended;
    struct waiter *next;
};

struct task {
    struct turn turn; /* first; its place in a queue */
    int handle;
    enum task_state state;
    bool high, compound, cancel;
    bool written_off; /* its thread has not come back; it has failed already */
    bool forgotten;   /* no longer in the table; freed by the last waiter */
    struct fs_step *steps;
    size_t n_steps;
    char request_id[40];
    char *caller;
    unsigned retries, attempts;
    int backoff_ms;
    int64_t submitted, started, ended, queued, retry_at, deadline /* 0: none */;
    size_t bytes; /* of its parameters while it waits or runs, of its result afterwards */
    double progress; /* negative: unknown */
    char doing[120];
    struct fs_reply reply;
    struct tally_row *row;
    struct waiter *waiters;
    int64_t wake;   /* when the clock looks at it */
    int timer;      /* its place in the heap, or NO_TIMER */
    struct task *in_bucket;
    struct task *next_ended;
};

struct fs_engine {
    struct fs_daemon *daemon;
    struct fs_engine_limits limits;
    pthread_mutex_t lock;
    pthread_cond_t work, done, tick;
    struct turns *high, *normal;
    struct task **buckets;
    size_t n_buckets, n_tasks;
    struct task *first_ended, **last_ended;
    int next_handle;
    unsigned n_threads, max_threads, extra, n_idle, n_running, n_hanging;
    size_t n_waiting, waiting_bytes, n_ended, ended_bytes;
    double n_done;
    int64_t last_start;
    bool ending;
    struct tally *tally;
    /* The clock's. */
    struct task **heap;
    size_t n_timers, timer_room;
    struct regular {
        char *name;
        int ms, patience_ms, handles[MAX_BESIDE];
        int64_t next;
    } regular[MAX_REGULAR];
    size_t n_regular;
    pthread_t clock;
    bool has_clock;
    int64_t clock_sleeps_until;
};

/* All with the lock held. */
struct task *engine_find(struct fs_engine *, int handle);
void engine_enqueue(struct fs_engine *, struct task *);
/* Takes a task that waits out of its queue, if it is in one, and ends it so; 'message' is taken. */
void engine_end_waiting(struct fs_engine *, struct task *, enum task_state, char *message);
/* A running task is given up. */
void engine_write_off(struct fs_engine *, struct task *, char *message);
void engine_forget_old(struct fs_engine *, int64_t now);

/* The task, which is in no queue and has its reply, has ended: it is remembered, its waiters are told, the oldest are forgotten. */
void engine_end(struct fs_engine *, struct task *, enum task_state);
void engine_free_params(struct task *);
void engine_free_task(struct task *);
double engine_seconds(int64_t from, int64_t to); /* of times in ms */

/* core/engine_run.c.  With the lock held: one more thread, if there can be one. */
void engine_start_thread(struct fs_engine *);
/* Is the calling thread one of the engine's?  Needs no lock. */
bool engine_runs_here(const struct fs_engine *);

/* core/engine_clock.c, with the lock held: look at the task at that time; 0: no more. */
void clock_set(struct fs_engine *, struct task *, int64_t when);
/* There may be something to look at earlier than the clock thinks. */
void clock_stir(struct fs_engine *, int64_t when);
/* The clock is started if it does not go yet. */
void clock_start(struct fs_engine *);
struct timespec clock_moment(int64_t when);

#endif

/* The task engine; see the header for what it promises.
 *
 * One lock, two fair queues (core/turns.c), a table of tasks by handle, threads that are made when there is work for them (core/engine_run.c), and a
 * clock (core/engine_clock.c).  A task belongs to its thread while it runs, but for what is read and written with the lock held. */
#include "config.h"

#include "core/engine.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/daemon.h"
#include "core/engine_parts.h"
#include "core/loader.h"
#include "core/util.h"
#include <flowstream/log.h>

FS_LOG_MODULE("tasks");

static const char *const state_names[] = { "waiting", "running", "done", "failed", "cancelled" };

/* --- The table --- */

static struct task **
place_of(struct fs_engine *e, int handle)
{
    struct task **p = &e->buckets[(unsigned) handle & (e->n_buckets - 1)];
    while (*p && (*p)->handle != handle) {
        p = &(*p)->in_bucket;
    }
    return p;
}

struct task *
engine_find(struct fs_engine *e, int handle)
{
    return *place_of(e, handle);
}

static void
grow_table(struct fs_engine *e)
{
    struct task **old = e->buckets;
    size_t n = e->n_buckets;
    e->n_buckets = n ? 4 * n : 1024;
    e->buckets = fs_xcalloc(e->n_buckets, sizeof *e->buckets);
    for (size_t i = 0; i < n; i++) {
        for (struct task *t = old[i], *next; t; t = next) {
            next = t->in_bucket;
            t->in_bucket = e->buckets[(unsigned) t->handle & (e->n_buckets - 1)];
            e->buckets[(unsigned) t->handle & (e->n_buckets - 1)] = t;
        }
    }
    free(old);
}

static void
enter(struct fs_engine *e, struct task *t)
{
    if (e->n_tasks >= e->n_buckets) {
        grow_table(e);
    }
    do { /* the next number that no task has: after 2^31 tasks they begin again with 1 */
        e->next_handle = e->next_handle == INT32_MAX ? 1 : e->next_handle + 1;
    } while (engine_find(e, e->next_handle));
    t->handle = e->next_handle;
    *place_of(e, t->handle) = t;
    e->n_tasks++;
}

/* --- Tasks --- */

void
fs_steps_free(struct fs_step *steps, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(steps[i].name);
        fs_free(steps[i].param);
    }
    free(steps);
}

void
engine_free_task(struct task *t)
{
    fs_steps_free(t->steps, t->n_steps);
    fs_reply_clear(&t->reply);
    free(t->caller);
    free(t);
}

/* Nobody can ask for it any more; who waits for it, or runs it, frees it. */
static void
forget(struct fs_engine *e, struct task *t)
{
    struct task **p = place_of(e, t->handle);
    *p = t->in_bucket;
    e->n_tasks--;
    t->forgotten = true;
    if (!t->waiters && !t->written_off) {
        engine_free_task(t);
    }
}

void
engine_forget_old(struct fs_engine *e, int64_t now)
{
    struct task *t;
    while ((t = e->first_ended) && (e->n_ended > e->limits.results || (e->n_ended > 1 && e->ended_bytes > e->limits.result_bytes)
                                    || t->ended + (int64_t) e->limits.result_seconds * 1000 < now)) {
        e->first_ended = t->next_ended;
        if (!e->first_ended) {
            e->last_ended = &e->first_ended;
        }
        e->n_ended--;
        e->ended_bytes -= t->bytes;
        forget(e, t);
    }
}

void
engine_free_params(struct task *t)
{
    for (size_t i = 0; i < t->n_steps; i++) { /* its name is all that is asked for from now on */
        fs_free(t->steps[i].param);
        t->steps[i].param = NULL;
    }
}

double
engine_seconds(int64_t from, int64_t to)
{
    return (double) (to - from) / 1e3;
}

static void
count_end(struct task *t)
{
    struct tally_row *row = t->row;
    *(t->state == DONE ? &row->done : t->state == FAILED ? &row->failed : &row->cancelled) += 1;
}

/* The memory of a task with these steps and their parameters, where those are still there. */
static size_t
weight_of_steps(const struct fs_step *steps, size_t n, const char *caller)
{
    size_t bytes = fs_taken(sizeof(struct task)) + fs_taken(n * sizeof *steps) + fs_taken(strlen(caller) + 1);
    for (size_t i = 0; i < n; i++) {
        bytes += fs_taken(strlen(steps[i].name) + 1) + fs_weight(steps[i].param);
    }
    return bytes;
}

/* The task has ended: remember it, forget the oldest.  Called with the lock held; it is in no queue, and t->reply is set. */
void
engine_end(struct fs_engine *e, struct task *t, enum task_state state)
{
    t->state = state;
    t->ended = fs_now_ms();
    clock_set(e, t, 0);
    count_end(t);
    e->waiting_bytes -= t->bytes;
    if (!t->written_off) { /* else its thread has the parameters, and they weigh what they did */
        engine_free_params(t);
        t->bytes = weight_of_steps(t->steps, t->n_steps, t->caller);
    }
    t->bytes += fs_weight(t->reply.value) + (t->reply.message ? fs_taken(strlen(t->reply.message) + 1) : 0);
    e->ended_bytes += t->bytes;
    t->next_ended = NULL;
    *e->last_ended = t;
    e->last_ended = &t->next_ended;
    e->n_ended++;
    e->n_done++;
    for (struct waiter *w = t->waiters; w; w = w->next) {
        pthread_cond_signal(&w->ended);
    }
    engine_forget_old(e, t->ended);
    clock_start(e); /* results have an age */
    clock_stir(e, t->ended + SWEEP_MS);
}

void
engine_end_waiting(struct fs_engine *e, struct task *t, enum task_state state, char *message)
{
    if (t->turn.line) {
        turns_remove(t->high ? e->high : e->normal, &t->turn);
    }
    e->n_waiting--;
    t->row->waiting--;
    fs_reply_clear(&t->reply);
    t->reply = (struct fs_reply) { .code = FS_FAILURE, .message = message };
    engine_end(e, t, state);
}

void
engine_write_off(struct fs_engine *e, struct task *t, char *message)
{
    t->written_off = true;
    e->n_running--;
    t->row->running--;
    e->n_hanging++;
    e->max_threads++;
    fs_reply_clear(&t->reply);
    t->reply = (struct fs_reply) { .code = FS_FAILURE, .message = message };
    engine_end(e, t, FAILED);
    if (e->n_threads < e->max_threads) {
        engine_start_thread(e);
    }
}

/* --- Queueing --- */

void
engine_enqueue(struct fs_engine *e, struct task *t)
{
    turns_push(t->high ? e->high : e->normal, &t->turn, t->caller, t->compound ? "" : t->steps->name);
    if (e->n_idle) {
        pthread_cond_signal(&e->work);
    } else if (e->n_threads < e->max_threads) {
        engine_start_thread(e);
    } else if (e->clock_sleeps_until > e->last_start + STARVED_MS || !e->has_clock) {
        clock_start(e);
        clock_stir(e, e->last_start + STARVED_MS);
    }
}

/* NULL, or why the engine takes no more. */
static char *
why_not(const struct fs_engine *e, size_t bytes)
{
    if (e->ending) {
        return fs_xstrdup("the daemon is ending");
    }
    if (e->n_waiting >= e->limits.waiting) {
        return fs_xasprintf("%zu tasks are waiting already, and no more are taken (limits tasks=): try again later", e->n_waiting);
    }
    if (e->waiting_bytes + bytes > e->limits.waiting_bytes) {
        return fs_xasprintf("the task has %zu bytes, and those that wait and run have %zu of %zu (limits task-bytes=): try again later",
                            bytes, e->waiting_bytes, e->limits.waiting_bytes);
    }
    return NULL;
}

static struct task *
new_task(struct fs_engine *e, const struct fs_submission *s, size_t bytes)
{
    struct task *t = fs_xcalloc(1, sizeof *t);
    t->steps = s->steps;
    t->n_steps = s->n;
    t->compound = s->compound;
    t->high = s->high;
    t->submitted = t->queued = fs_now_ms();
    t->deadline = s->deadline_ms > 0 ? t->submitted + s->deadline_ms : 0;
    t->retries = s->retries;
    t->backoff_ms = s->backoff_ms > 0 ? s->backoff_ms : 1;
    t->bytes = bytes;
    t->progress = -1;
    t->timer = NO_TIMER;
    t->caller = fs_xstrdup(s->caller ? s->caller : "");
    strncpy(t->request_id, s->request_id ? s->request_id : "", sizeof t->request_id - 1);
    t->row = tally_row(e->tally, s->compound ? "(compound)" : s->steps->name);
    return t;
}

int
fs_engine_submit(struct fs_engine *e, const struct fs_submission *s, struct fs_reply *reply)
{
    size_t bytes = weight_of_steps(s->steps, s->n, s->caller ? s->caller : "");
    pthread_mutex_lock(&e->lock);
    char *why = why_not(e, bytes);
    if (!why && !e->n_threads) {
        engine_start_thread(e);
        why = e->n_threads ? NULL : fs_xasprintf("no thread could be started for the task: %s", strerror(EAGAIN));
    }
    if (why) {
        pthread_mutex_unlock(&e->lock);
        fs_reply_fail(reply, "%s", why);
        free(why);
        fs_steps_free(s->steps, s->n);
        return 0;
    }
    struct task *t = new_task(e, s, bytes);
    enter(e, t);
    e->n_waiting++;
    e->waiting_bytes += bytes;
    t->row->waiting++;
    if (t->deadline) {
        clock_set(e, t, t->deadline);
    }
    engine_enqueue(e, t);
    int handle = t->handle;
    pthread_mutex_unlock(&e->lock);
    return handle;
}

/* --- Waiting --- */

static void
make_condition(pthread_cond_t *c)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(c, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

/* True when the task has ended; it stays there meanwhile, whoever forgets it. */
static bool
await(struct fs_engine *e, struct task *t, int64_t until)
{
    struct waiter w = { .next = t->waiters };
    struct timespec moment = clock_moment(until);
    make_condition(&w.ended);
    t->waiters = &w;
    while (t->state <= RUNNING && pthread_cond_timedwait(&w.ended, &e->lock, &moment) != ETIMEDOUT) {
    }
    struct waiter **p = &t->waiters;
    while (*p != &w) {
        p = &(*p)->next;
    }
    *p = w.next;
    pthread_cond_destroy(&w.ended);
    return t->state > RUNNING;
}

static void
copy_reply(const struct task *t, struct fs_reply *reply)
{
    fs_reply_clear(reply);
    *reply = (struct fs_reply) { .code = t->reply.code, .fault = t->reply.fault };
    reply->message = t->reply.message ? fs_xstrdup(t->reply.message) : NULL;
    reply->value = t->reply.value ? fs_copy(t->reply.value) : NULL;
}

bool
fs_engine_wait(struct fs_engine *e, int handle, int ms, struct fs_reply *reply)
{
    int64_t until = fs_now_ms() + (ms > 0 ? ms : 0);
    bool lends = engine_runs_here(e), ended = true;
    pthread_mutex_lock(&e->lock);
    struct task *t = engine_find(e, handle);
    if (!t) {
        fs_reply_fail(reply, "there is no task %d (of those that have ended the last %zu are kept, for %u s at most)", handle, e->limits.results,
                      e->limits.result_seconds);
        pthread_mutex_unlock(&e->lock);
        return true;
    }
    if (lends) { /* a task that waits for tasks must not be what keeps them from running */
        e->max_threads++;
        if (e->n_idle < e->n_waiting && e->n_threads < e->max_threads) {
            engine_start_thread(e);
        }
    }
    ended = await(e, t, until);
    e->max_threads -= lends;
    if (ended) {
        copy_reply(t, reply);
    }
    if (t->forgotten && !t->waiters && !t->written_off) {
        engine_free_task(t);
    }
    pthread_mutex_unlock(&e->lock);
    return ended;
}

/* --- Telling --- */

static xmlrpc_value *
describe(const struct task *t)
{
    xmlrpc_value *v = fs_struct(), *names = fs_array();
    int64_t now = fs_now_ms();
    fs_set(v, "handle", fs_int(t->handle));
    for (size_t i = 0; i < t->n_steps; i++) {
        fs_append(names, fs_string(t->steps[i].name));
    }
    fs_set(v, "tasks", names);
    fs_set(v, "state", fs_string(state_names[t->state]));
    fs_set(v, "priority", fs_string(t->high ? "high" : "normal"));
    fs_set(v, "request", fs_string(t->request_id));
    fs_set(v, "caller", fs_string(t->caller));
    fs_set(v, "attempts", fs_int((int) t->attempts));
    fs_set(v, "waited", fs_double(engine_seconds(t->submitted, t->started ? t->started : t->state == WAITING ? now : t->ended)));
    fs_set(v, "seconds", fs_double(!t->started || t->state == WAITING ? 0.0 : engine_seconds(t->started, t->state == RUNNING ? now : t->ended)));
    if (t->deadline && t->state <= RUNNING) {
        fs_set(v, "seconds_left", fs_double(engine_seconds(now, t->deadline)));
    }
    if (t->progress >= 0) {
        fs_set(v, "progress", fs_double(t->state == DONE ? 1 : t->progress));
    }
    if (*t->doing && t->state <= RUNNING) {
        fs_set(v, "doing", fs_string(t->doing));
    }
    if (t->state > RUNNING) {
        fs_set(v, "code", fs_int(t->reply.code));
        fs_set(v, "value", t->reply.value ? fs_copy(t->reply.value) : fs_nil());
    }
    if (t->state > RUNNING || t->reply.message) {
        fs_set(v, "message", fs_string(t->reply.message));
    }
    return v;
}

xmlrpc_value *
fs_engine_describe(struct fs_engine *e, int handle)
{
    pthread_mutex_lock(&e->lock);
    struct task *t = engine_find(e, handle);
    xmlrpc_value *v = t ? describe(t) : NULL;
    pthread_mutex_unlock(&e->lock);
    return v;
}

void
fs_engine_progress(struct fs_engine *e, void *task, double fraction, const char *text)
{
    struct task *t = task;
    if (t) {
        pthread_mutex_lock(&e->lock);
        t->progress = fraction > 1 ? 1 : fraction;
        strncpy(t->doing, text ? text : "", sizeof t->doing - 1);
        pthread_mutex_unlock(&e->lock);
    }
}

void
fs_engine_load(struct fs_engine *e, unsigned *waiting, unsigned *running, double *done)
{
    pthread_mutex_lock(&e->lock);
    *waiting = (unsigned) e->n_waiting;
    *running = e->n_running;
    *done = e->n_done;
    pthread_mutex_unlock(&e->lock);
}

void
fs_engine_add_figures(struct fs_engine *e, xmlrpc_value *v)
{
    pthread_mutex_lock(&e->lock);
    fs_set(v, "tasks_waiting", fs_int((int) e->n_waiting));
    fs_set(v, "tasks_running", fs_int((int) e->n_running));
    fs_set(v, "tasks_done", fs_double(e->n_done));
    fs_set(v, "tasks_hanging", fs_int((int) e->n_hanging));
    fs_set(v, "task_threads", fs_int((int) e->n_threads));
    fs_set(v, "task_waiting_bytes", fs_double((double) e->waiting_bytes));
    fs_set(v, "task_results", fs_int((int) e->n_ended));
    fs_set(v, "task_result_bytes", fs_double((double) e->ended_bytes));
    fs_set(v, "task", tally_value(e->tally));
    pthread_mutex_unlock(&e->lock);
}

/* --- Cancelling --- */

bool
fs_engine_cancel(struct fs_engine *e, int handle)
{
    pthread_mutex_lock(&e->lock);
    struct task *t = engine_find(e, handle);
    bool known = t && t->state <= RUNNING;
    if (known) {
        __atomic_store_n(&t->cancel, true, __ATOMIC_RELAXED);
        if (t->state == WAITING) {
            engine_end_waiting(e, t, CANCELLED, fs_xstrdup(t->attempts ? "cancelled between two attempts" : "cancelled before it began"));
        }
    }
    pthread_mutex_unlock(&e->lock);
    return known;
}

void
fs_engine_cancel_all(struct fs_engine *e)
{
    if (!e) {
        return;
    }
    pthread_mutex_lock(&e->lock);
    e->ending = true;
    e->limits.results = e->limits.result_bytes = SIZE_MAX; /* none of the table may be forgotten while it is walked through */
    e->limits.result_seconds = UINT_MAX;
    for (size_t i = 0; i < e->n_buckets; i++) {
        for (struct task *t = e->buckets[i], *next; t; t = next) {
            next = t->in_bucket;
            __atomic_store_n(&t->cancel, true, __ATOMIC_RELAXED);
            if (t->state == WAITING) {
                engine_end_waiting(e, t, CANCELLED, fs_xstrdup("the daemon ended before the task began"));
            }
        }
    }
    pthread_cond_broadcast(&e->work);
    pthread_cond_broadcast(&e->done);
    pthread_cond_broadcast(&e->tick);
    pthread_mutex_unlock(&e->lock);
}

/* --- Life --- */

struct fs_engine *
fs_engine_new(struct fs_daemon *daemon, const struct fs_engine_limits *limits)
{
    struct fs_engine *e = fs_xcalloc(1, sizeof *e);
    e->daemon = daemon;
    e->limits = *limits;
    e->max_threads = limits->threads;
    e->high = turns_new();
    e->normal = turns_new();
    e->tally = tally_new();
    e->last_ended = &e->first_ended;
    e->clock_sleeps_until = INT64_MAX;
    grow_table(e);
    pthread_mutex_init(&e->lock, NULL);
    make_condition(&e->work);
    make_condition(&e->done);
    make_condition(&e->tick);
    return e;
}

static void
free_all(struct fs_engine *e)
{
    for (size_t i = 0; i < e->n_buckets; i++) {
        while (e->buckets[i]) {
            struct task *t = e->buckets[i];
            e->buckets[i] = t->in_bucket;
            engine_free_task(t);
        }
    }
    for (size_t i = 0; i < e->n_regular; i++) {
        free(e->regular[i].name);
    }
    turns_destroy(e->high);
    turns_destroy(e->normal);
    tally_destroy(e->tally);
    free(e->buckets);
    free(e->heap);
    pthread_cond_destroy(&e->work);
    pthread_cond_destroy(&e->done);
    pthread_cond_destroy(&e->tick);
    pthread_mutex_destroy(&e->lock);
    free(e);
}

bool
fs_engine_destroy(struct fs_engine *e, int ms)
{
    if (!e) {
        return true;
    }
    struct timespec until = clock_moment(fs_now_ms() + ms);
    fs_engine_cancel_all(e);
    if (e->has_clock) {
        pthread_join(e->clock, NULL);
    }
    pthread_mutex_lock(&e->lock);
    while (e->n_threads && pthread_cond_timedwait(&e->done, &e->lock, &until) != ETIMEDOUT) {
    }
    bool idle = !e->n_threads;
    unsigned running = e->n_running + e->n_hanging;
    pthread_mutex_unlock(&e->lock);
    if (!idle) {
        fs_log_warning("%u tasks did not end in time and are abandoned", running);
        return false;
    }
    free_all(e);
    return true;
}

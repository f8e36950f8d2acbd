/* The clock of the task engine: one thread for what happens at a time.
 *
 * Deadlines and further attempts are tasks in a heap by the time at which somebody must look at them; tasks that are submitted at regular times are
 * rows of a small table; and while tasks wait and all threads are held, it looks every second whether one should be added. */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/engine_parts.h"
#include "core/util.h"
#include <flowstream/log.h>

FS_LOG_MODULE("tasks");

struct timespec
clock_moment(int64_t when)
{
    return (struct timespec) { .tv_sec = when / 1000, .tv_nsec = when % 1000 * 1000000 };
}

/* --- The heap --- */

static void
put(struct fs_engine *e, size_t i, struct task *t)
{
    e->heap[i] = t;
    t->timer = (int) i;
}

static void
sift_up(struct fs_engine *e, size_t i)
{
    struct task *t = e->heap[i];
    while (i && e->heap[(i - 1) / 2]->wake > t->wake) {
        put(e, i, e->heap[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    put(e, i, t);
}

static void
sift_down(struct fs_engine *e, size_t i)
{
    struct task *t = e->heap[i];
    for (size_t child; (child = 2 * i + 1) < e->n_timers; i = child) {
        child += child + 1 < e->n_timers && e->heap[child + 1]->wake < e->heap[child]->wake;
        if (e->heap[child]->wake >= t->wake) {
            break;
        }
        put(e, i, e->heap[child]);
    }
    put(e, i, t);
}

static void
take_out(struct fs_engine *e, struct task *t)
{
    size_t i = (size_t) t->timer;
    struct task *last = e->heap[--e->n_timers];
    t->timer = NO_TIMER;
    if (last != t) {
        put(e, i, last);
        sift_up(e, i);
        sift_down(e, (size_t) last->timer);
    }
}

void
clock_set(struct fs_engine *e, struct task *t, int64_t when)
{
    if (t->timer != NO_TIMER) {
        take_out(e, t);
    }
    if (!when) {
        return;
    }
    if (e->n_timers == e->timer_room) {
        e->timer_room = e->timer_room ? 2 * e->timer_room : 64;
        e->heap = fs_xrealloc(e->heap, e->timer_room * sizeof *e->heap);
    }
    t->wake = when;
    e->heap[e->n_timers] = t;
    sift_up(e, e->n_timers++);
    clock_start(e);
    clock_stir(e, when);
}

void
clock_stir(struct fs_engine *e, int64_t when)
{
    if (when < e->clock_sleeps_until) {
        e->clock_sleeps_until = when;
        pthread_cond_signal(&e->tick);
    }
}

/* --- What is due --- */

/* The deadline of a running task has passed: it is told, and given up when that does not help. */
static void
press(struct fs_engine *e, struct task *t, int64_t now)
{
    if (now < t->deadline + GRACE_MS) {
        __atomic_store_n(&t->cancel, true, __ATOMIC_RELAXED);
        clock_set(e, t, t->deadline + GRACE_MS);
        return;
    }
    fs_log_warning("task %d (%s) has not ended %d s after its deadline; its thread is written off", t->handle, t->steps->name, GRACE_MS / 1000);
    engine_write_off(e, t, fs_xasprintf("it did not end within its deadline and %d s more; it may still be at work", GRACE_MS / 1000));
}

static void
look_at(struct fs_engine *e, struct task *t, int64_t now)
{
    clock_set(e, t, 0);
    if (t->state == RUNNING) {
        press(e, t, now);
    } else if (t->state == WAITING && t->deadline && t->deadline <= now) {
        engine_end_waiting(e, t, FAILED, fs_xasprintf("its deadline passed while it waited%s%s", t->reply.message ? " for another attempt after: " : "",
                                                      t->reply.message ? t->reply.message : ""));
    } else if (t->state == WAITING && !t->turn.line) {
        clock_set(e, t, t->deadline);
        engine_enqueue(e, t);
    }
}

/* Tasks wait, and none has started for a while: the threads are held by tasks that hang, or are slow. */
static int64_t
feed_the_starved(struct fs_engine *e, int64_t now)
{
    if ((turns_empty(e->high) && turns_empty(e->normal)) || e->n_idle) {
        return INT64_MAX;
    }
    if (now < e->last_start + STARVED_MS) {
        return e->last_start + STARVED_MS;
    }
    if (e->extra < MAX_EXTRA && e->n_threads >= e->max_threads) {
        e->extra++;
        e->max_threads++;
        fs_log_limited(FS_LOG_WARNING, "no task could start for %d s: %u run; a thread is added", STARVED_MS / 1000, e->n_running);
    }
    if (e->n_threads < e->max_threads) {
        engine_start_thread(e);
    }
    e->last_start = now;
    return now + STARVED_MS;
}

/* Where the handle of the next one goes, or NULL: those that are there have not had their time yet, or are as many as may be. */
static int *
room_for_next(struct fs_engine *e, struct regular *r, int64_t now)
{
    int *room = NULL;
    for (size_t i = 0; i < (r->patience_ms ? MAX_BESIDE : 1); i++) {
        const struct task *t = r->handles[i] ? engine_find(e, r->handles[i]) : NULL;
        if (!t || t->state > RUNNING) {
            room = &r->handles[i];
        } else if (t->state == WAITING || now - t->started < r->patience_ms) {
            return NULL;
        }
    }
    return room;
}

static void
submit_regular(struct fs_engine *e, const struct regular *r, int *handle)
{
    struct fs_step *step = fs_xcalloc(1, sizeof *step);
    step->name = fs_xstrdup(r->name);
    step->param = fs_struct();
    struct fs_submission submission = { .steps = step, .n = 1 };
    struct fs_reply reply = { 0 };
    pthread_mutex_unlock(&e->lock);
    int submitted = fs_engine_submit(e, &submission, &reply);
    fs_reply_clear(&reply);
    pthread_mutex_lock(&e->lock);
    *handle = submitted;
}

/* Submits the regular tasks that are due; the time of the next. */
static int64_t
regular_ones(struct fs_engine *e, int64_t now)
{
    int64_t next = INT64_MAX;
    for (size_t i = 0; i < e->n_regular; i++) {
        struct regular *r = &e->regular[i];
        if (r->next <= now) {
            int *handle = room_for_next(e, r, now);
            r->next = now + r->ms;
            if (handle) {
                submit_regular(e, r, handle);
            }
        }
        next = r->next < next ? r->next : next;
    }
    return next;
}

static void *
clock_main(void *data)
{
    struct fs_engine *e = data;
    pthread_mutex_lock(&e->lock);
    while (!e->ending) {
        int64_t now = fs_now_ms();
        e->clock_sleeps_until = INT64_MAX; /* what is set from now on is seen below */
        while (e->n_timers && e->heap[0]->wake <= now) {
            look_at(e, e->heap[0], now);
        }
        engine_forget_old(e, now);
        int64_t next = regular_ones(e, now), starved = feed_the_starved(e, now), sweep = e->n_ended ? now + SWEEP_MS : INT64_MAX;
        next = starved < next ? starved : next;
        next = sweep < next ? sweep : next;
        next = e->n_timers && e->heap[0]->wake < next ? e->heap[0]->wake : next;
        e->clock_sleeps_until = next < e->clock_sleeps_until ? next : e->clock_sleeps_until;
        if (e->ending || e->clock_sleeps_until <= fs_now_ms()) {
            continue;
        }
        if (e->clock_sleeps_until == INT64_MAX) {
            pthread_cond_wait(&e->tick, &e->lock);
        } else {
            struct timespec until = clock_moment(e->clock_sleeps_until);
            pthread_cond_timedwait(&e->tick, &e->lock, &until);
        }
    }
    pthread_mutex_unlock(&e->lock);
    return NULL;
}

void
clock_start(struct fs_engine *e)
{
    if (!e->has_clock && !e->ending) {
        e->clock_sleeps_until = 0;
        e->has_clock = pthread_create(&e->clock, NULL, clock_main, e) == 0;
    }
}

void
fs_engine_every(struct fs_engine *e, const char *name, int ms, int patience_ms)
{
    pthread_mutex_lock(&e->lock);
    if (e->n_regular < MAX_REGULAR) {
        e->regular[e->n_regular].name = fs_xstrdup(name);
        e->regular[e->n_regular].ms = ms;
        e->regular[e->n_regular].patience_ms = patience_ms;
        e->regular[e->n_regular++].next = 0;
    }
    clock_start(e);
    clock_stir(e, 0);
    pthread_mutex_unlock(&e->lock);
}

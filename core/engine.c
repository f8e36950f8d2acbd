/* The task engine; see the header for what it promises.
 *
 * One lock, two queues, a table of tasks by handle, and threads that are made when there is work for them.  Tasks that are submitted
 * at regular times are rows of a small table that one thread of the engine (the clock) reads. */
#include "config.h"

#include "core/engine.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/daemon.h"
#include "core/loader.h"
#include "core/util.h"
#include <flowstream/log.h>

FS_LOG_MODULE("tasks");

enum { MAX_WAITING = 10000, KEEP = 4096, BUCKETS = 1024, MAX_REGULAR = 16 };

/* The engine that this thread runs tasks of. */
static __thread struct fs_engine *works_for;

enum task_state { WAITING, RUNNING, DONE, FAILED, CANCELLED };
static const char *const state_names[] = { "waiting", "running", "done", "failed", "cancelled" };

struct task {
    int handle;
    enum task_state state;
    bool high, compound, cancel;
    struct fs_step *steps;
    size_t n_steps;
    char request_id[40];
    int64_t submitted, started, ended;
    struct fs_reply reply;
    struct task *in_bucket; /* next of the same bucket */
    struct task *in_queue;  /* next that waits, or next that ended */
};

struct queue {
    struct task *head, **tail;
};

struct fs_engine {
    struct fs_daemon *daemon;
    pthread_mutex_t lock;
    pthread_cond_t work, done;
    struct queue high, normal, ended;
    struct task *buckets[BUCKETS];
    int next_handle;
    unsigned n_waiting, n_running, n_threads, max_threads, n_idle, n_ended;
    double n_done;
    bool ending;
    struct {
        char *name;
        int ms, handle;
        int64_t next;
    } regular[MAX_REGULAR];
    size_t n_regular;
    pthread_t clock;
    bool has_clock;
};

static void
push(struct queue *q, struct task *t)
{
    t->in_queue = NULL;
    *q->tail = t;
    q->tail = &t->in_queue;
}

static struct task *
pop(struct queue *q)
{
    struct task *t = q->head;
    if (t) {
        q->head = t->in_queue;
        if (!q->head) {
            q->tail = &q->head;
        }
    }
    return t;
}

static bool
take_out(struct queue *q, struct task *wanted)
{
    for (struct task **p = &q->head; *p; p = &(*p)->in_queue) {
        if (*p == wanted) {
            *p = wanted->in_queue;
            if (q->tail == &wanted->in_queue) {
                q->tail = p;
            }
            return true;
        }
    }
    return false;
}

static struct task *
find(struct fs_engine *e, int handle)
{
    struct task *t = e->buckets[(unsigned) handle % BUCKETS];
    while (t && t->handle != handle) {
        t = t->in_bucket;
    }
    return t;
}

void
fs_steps_free(struct fs_step *steps, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(steps[i].name);
        fs_free(steps[i].param);
    }
    free(steps);
}

static void
free_task(struct fs_engine *e, struct task *t)
{
    struct task **p = &e->buckets[(unsigned) t->handle % BUCKETS];
    while (*p != t) {
        p = &(*p)->in_bucket;
    }
    *p = t->in_bucket;
    fs_steps_free(t->steps, t->n_steps);
    fs_reply_clear(&t->reply);
    free(t);
}

/* The task has ended: remember it, forget the oldest. Called with the lock held. */
static void
end(struct fs_engine *e, struct task *t, enum task_state state)
{
    t->state = state;
    t->ended = fs_now_ms();
    for (size_t i = 0; i < t->n_steps; i++) { /* its name is all that is asked for from now on */
        fs_free(t->steps[i].param);
        t->steps[i].param = NULL;
    }
    push(&e->ended, t);
    e->n_done++;
    if (++e->n_ended > KEEP) {
        e->n_ended--;
        free_task(e, pop(&e->ended));
    }
    pthread_cond_broadcast(&e->done);
}

/* --- Running --- */

/* Undo steps n-1 ... 0 where their descriptors say how; the names of what was undone are appended to 'said'. */
static void
undo(struct fs_engine *e, struct task *t, size_t n, const struct fs_daemon_call *context, struct fs_text *said)
{
    while (n--) {
        char *name = fs_daemon_undo_of(e->daemon, context, t->steps[n].name);
        if (!name) {
            continue;
        }
        struct fs_reply reply = { 0 };
        fs_daemon_run_task(e->daemon, name, t->steps[n].param, context, &reply);
        fs_text_addf(said, "%s%s%s%s", said->length ? ", " : "", name, reply.code ? " failed: " : "",
                     reply.code && reply.message ? reply.message : "");
        fs_reply_clear(&reply);
        free(name);
    }
}

static void
run_compound(struct fs_engine *e, struct task *t, const struct fs_daemon_call *context, struct fs_reply *reply)
{
    xmlrpc_value *results = fs_array();
    for (size_t i = 0; i < t->n_steps; i++) {
        struct fs_reply one = { 0 };
        if (__atomic_load_n(&t->cancel, __ATOMIC_RELAXED)) {
            fs_reply_fail(&one, "cancelled");
        } else {
            fs_daemon_run_task(e->daemon, t->steps[i].name, t->steps[i].param, context, &one);
        }
        if (one.code) {
            struct fs_text undone = { 0 };
            struct fs_daemon_call to_the_end = *context;
            to_the_end.cancel = NULL; /* a cancelled task is undone all the same */
            undo(e, t, i, &to_the_end, &undone);
            fs_reply_fail(reply, "task %zu of %zu (%s) failed: %s%s%s", i + 1, t->n_steps, t->steps[i].name,
                          one.message ? one.message : "", undone.length ? "; undone by: " : "", undone.length ? undone.text : "");
            free(undone.text);
            fs_reply_clear(&one);
            break;
        }
        fs_append(results, one.value ? one.value : fs_nil());
        one.value = NULL;
        fs_reply_clear(&one);
    }
    fs_free(reply->value);
    reply->value = results;
}

static void
run(struct fs_engine *e, struct task *t)
{
    struct fs_daemon_call context = { .request_id = t->request_id, .cancel = &t->cancel, .deadline = INT64_MAX };
    struct fs_reply reply = { 0 };
    fs_log_set_request(t->request_id);
    context.table = fs_loader_take(fs_daemon_loader(e->daemon), FS_KIND_TASK, t->steps->name);
    if (t->compound) {
        run_compound(e, t, &context, &reply);
    } else {
        fs_daemon_run_task(e->daemon, t->steps->name, t->steps->param, &context, &reply);
    }
    fs_log_set_request("");
    fs_loader_give(fs_daemon_loader(e->daemon), context.table);
    pthread_mutex_lock(&e->lock);
    t->reply = reply;
    bool cancelled = reply.code && __atomic_load_n(&t->cancel, __ATOMIC_RELAXED);
    end(e, t, cancelled ? CANCELLED : reply.code == FS_SUCCESS ? DONE : FAILED);
    pthread_mutex_unlock(&e->lock);
}

static void *
worker(void *data)
{
    struct fs_engine *e = data;
    works_for = e;
    pthread_mutex_lock(&e->lock);
    while (e->n_threads <= e->max_threads) {
        while (!e->high.head && !e->normal.head && !e->ending) {
            e->n_idle++;
            pthread_cond_wait(&e->work, &e->lock);
            e->n_idle--;
        }
        struct task *t = pop(&e->high);
        t = t ? t : pop(&e->normal);
        if (!t) {
            break;
        }
        t->state = RUNNING;
        t->started = fs_now_ms();
        e->n_waiting--;
        e->n_running++;
        pthread_mutex_unlock(&e->lock);
        run(e, t);
        pthread_mutex_lock(&e->lock);
        e->n_running--;
        pthread_cond_broadcast(&e->done);
    }
    e->n_threads--;
    pthread_cond_broadcast(&e->done);
    pthread_mutex_unlock(&e->lock);
    return NULL;
}

static void
start_thread(struct fs_engine *e)
{
    pthread_t thread;
    pthread_attr_t detached;
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    e->n_threads += pthread_create(&thread, &detached, worker, e) == 0;
    pthread_attr_destroy(&detached);
}

/* The next number that no task has: after 2^31 tasks they begin again with 1. */
static int
new_handle(struct fs_engine *e)
{
    do {
        e->next_handle = e->next_handle == INT32_MAX ? 1 : e->next_handle + 1;
    } while (find(e, e->next_handle));
    return e->next_handle;
}

int
fs_engine_submit(struct fs_engine *e, struct fs_step *steps, size_t n, bool compound, bool high, const char *request_id,
                 struct fs_reply *reply)
{
    pthread_mutex_lock(&e->lock);
    if (e->ending || e->n_waiting >= MAX_WAITING) {
        fs_reply_fail(reply, e->ending ? "the daemon is ending" : "%d tasks are waiting already: try again later", MAX_WAITING);
        pthread_mutex_unlock(&e->lock);
        fs_steps_free(steps, n);
        return 0;
    }
    if (e->n_idle < e->n_waiting + 1 && e->n_threads < e->max_threads) {
        start_thread(e);
    }
    if (!e->n_threads) {
        fs_reply_fail(reply, "no thread could be started for the task: %s", strerror(EAGAIN));
        pthread_mutex_unlock(&e->lock);
        fs_steps_free(steps, n);
        return 0;
    }
    struct task *t = fs_xcalloc(1, sizeof *t);
    t->handle = new_handle(e);
    t->steps = steps;
    t->n_steps = n;
    t->compound = compound;
    t->high = high;
    t->submitted = fs_now_ms();
    strncpy(t->request_id, request_id ? request_id : "", sizeof t->request_id - 1);
    t->in_bucket = e->buckets[(unsigned) t->handle % BUCKETS];
    e->buckets[(unsigned) t->handle % BUCKETS] = t;
    push(high ? &e->high : &e->normal, t);
    e->n_waiting++;
    pthread_cond_signal(&e->work);
    int handle = t->handle;
    pthread_mutex_unlock(&e->lock);
    return handle;
}

static struct timespec
moment(int ms)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    int64_t ns = t.tv_nsec + (int64_t) (ms % 1000) * 1000000;
    t.tv_sec += ms / 1000 + ns / 1000000000;
    t.tv_nsec = ns % 1000000000;
    return t;
}

bool
fs_engine_wait(struct fs_engine *e, int handle, int ms, struct fs_reply *reply)
{
    struct timespec until = moment(ms > 0 ? ms : 0);
    pthread_mutex_lock(&e->lock);
    struct task *t = find(e, handle);
    bool lends = works_for == e;
    if (lends) { /* a task that waits for tasks must not be what keeps them from running */
        e->max_threads++;
        if (e->n_idle < e->n_waiting && e->n_threads < e->max_threads) {
            start_thread(e);
        }
    }
    while (t && (t->state == WAITING || t->state == RUNNING)) {
        if (pthread_cond_timedwait(&e->done, &e->lock, &until) == ETIMEDOUT) {
            t = find(e, handle);
            break;
        }
        t = find(e, handle);
    }
    e->max_threads -= lends;
    bool ended = !t || t->state > RUNNING;
    if (!t) {
        fs_reply_fail(reply, "there is no task %d (finished tasks are kept until %d newer ones have finished)", handle, KEEP);
    } else if (ended) {
        fs_reply_clear(reply);
        *reply = (struct fs_reply) { .code = t->reply.code, .fault = t->reply.fault };
        reply->message = t->reply.message ? fs_xstrdup(t->reply.message) : NULL;
        reply->value = t->reply.value ? fs_copy(t->reply.value) : NULL;
    }
    pthread_mutex_unlock(&e->lock);
    return ended;
}

xmlrpc_value *
fs_engine_describe(struct fs_engine *e, int handle)
{
    xmlrpc_value *v = NULL;
    pthread_mutex_lock(&e->lock);
    struct task *t = find(e, handle);
    if (t) {
        v = fs_struct();
        int64_t now = fs_now_ms();
        fs_set(v, "handle", fs_int(t->handle));
        xmlrpc_value *names = fs_array();
        for (size_t i = 0; i < t->n_steps; i++) {
            fs_append(names, fs_string(t->steps[i].name));
        }
        fs_set(v, "tasks", names);
        fs_set(v, "state", fs_string(state_names[t->state]));
        fs_set(v, "priority", fs_string(t->high ? "high" : "normal"));
        fs_set(v, "request", fs_string(t->request_id));
        fs_set(v, "waited", fs_double((double) ((t->state == WAITING ? now : t->started ? t->started : t->ended) - t->submitted) / 1e3));
        fs_set(v, "seconds", fs_double(t->started ? (double) ((t->state == RUNNING ? now : t->ended) - t->started) / 1e3 : 0.0));
        if (t->state > RUNNING) {
            fs_set(v, "code", fs_int(t->reply.code));
            fs_set(v, "message", fs_string(t->reply.message));
            fs_set(v, "value", t->reply.value ? fs_copy(t->reply.value) : fs_nil());
        }
    }
    pthread_mutex_unlock(&e->lock);
    return v;
}

bool
fs_engine_cancel(struct fs_engine *e, int handle)
{
    pthread_mutex_lock(&e->lock);
    struct task *t = find(e, handle);
    bool known = t && t->state <= RUNNING;
    if (known) {
        __atomic_store_n(&t->cancel, true, __ATOMIC_RELAXED);
        if (t->state == WAITING && take_out(t->high ? &e->high : &e->normal, t)) {
            e->n_waiting--;
            fs_reply_fail(&t->reply, "cancelled before it began");
            end(e, t, CANCELLED);
        }
    }
    pthread_mutex_unlock(&e->lock);
    return known;
}

/* --- Regular tasks --- */

static bool
still_going(struct fs_engine *e, int handle)
{
    struct task *t = handle ? find(e, handle) : NULL;
    return t && t->state <= RUNNING;
}

static void *
clock_main(void *data)
{
    struct fs_engine *e = data;
    pthread_mutex_lock(&e->lock);
    while (!e->ending) {
        int64_t now = fs_now_ms(), next = now + 60000;
        for (size_t i = 0; i < e->n_regular; i++) {
            if (e->regular[i].next <= now) {
                e->regular[i].next = now + e->regular[i].ms;
                if (!still_going(e, e->regular[i].handle)) {
                    struct fs_step *step = fs_xcalloc(1, sizeof *step);
                    step->name = fs_xstrdup(e->regular[i].name);
                    step->param = fs_struct();
                    struct fs_reply reply = { 0 };
                    pthread_mutex_unlock(&e->lock);
                    int handle = fs_engine_submit(e, step, 1, false, false, NULL, &reply);
                    fs_reply_clear(&reply);
                    pthread_mutex_lock(&e->lock);
                    e->regular[i].handle = handle;
                }
            }
            next = e->regular[i].next < next ? e->regular[i].next : next;
        }
        int64_t wait = next - fs_now_ms();
        struct timespec until = moment(wait > 1 ? (int) wait : 1);
        while (!e->ending && pthread_cond_timedwait(&e->done, &e->lock, &until) != ETIMEDOUT) {
        }
    }
    pthread_mutex_unlock(&e->lock);
    return NULL;
}

void
fs_engine_every(struct fs_engine *e, const char *name, int ms)
{
    pthread_mutex_lock(&e->lock);
    if (e->n_regular < MAX_REGULAR) {
        e->regular[e->n_regular].name = fs_xstrdup(name);
        e->regular[e->n_regular].ms = ms;
        e->regular[e->n_regular++].next = 0;
    }
    if (!e->has_clock) {
        e->has_clock = pthread_create(&e->clock, NULL, clock_main, e) == 0;
    }
    pthread_mutex_unlock(&e->lock);
}

void
fs_engine_cancel_all(struct fs_engine *e)
{
    if (!e) {
        return;
    }
    pthread_mutex_lock(&e->lock);
    e->ending = true;
    for (struct task *t; (t = pop(&e->high)) || (t = pop(&e->normal));) {
        e->n_waiting--;
        fs_reply_fail(&t->reply, "the daemon ended before the task began");
        end(e, t, CANCELLED);
    }
    for (size_t i = 0; i < BUCKETS; i++) {
        for (struct task *t = e->buckets[i]; t; t = t->in_bucket) {
            __atomic_store_n(&t->cancel, true, __ATOMIC_RELAXED);
        }
    }
    pthread_cond_broadcast(&e->work);
    pthread_cond_broadcast(&e->done);
    pthread_mutex_unlock(&e->lock);
}

/* --- Life --- */

struct fs_engine *
fs_engine_new(struct fs_daemon *daemon, unsigned threads)
{
    struct fs_engine *e = fs_xcalloc(1, sizeof *e);
    e->daemon = daemon;
    e->max_threads = threads;
    e->high.tail = &e->high.head;
    e->normal.tail = &e->normal.head;
    e->ended.tail = &e->ended.head;
    pthread_mutex_init(&e->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&e->work, &monotonic);
    pthread_cond_init(&e->done, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return e;
}

bool
fs_engine_destroy(struct fs_engine *e, int ms)
{
    if (!e) {
        return true;
    }
    struct timespec until = moment(ms);
    fs_engine_cancel_all(e);
    if (e->has_clock) {
        pthread_join(e->clock, NULL);
    }
    pthread_mutex_lock(&e->lock);
    while (e->n_threads && pthread_cond_timedwait(&e->done, &e->lock, &until) != ETIMEDOUT) {
    }
    bool idle = !e->n_threads;
    pthread_mutex_unlock(&e->lock);
    if (!idle) {
        fs_log_warning("%u tasks did not end in time and are abandoned", e->n_running);
        return false;
    }
    for (size_t i = 0; i < BUCKETS; i++) {
        while (e->buckets[i]) {
            free_task(e, e->buckets[i]);
        }
    }
    for (size_t i = 0; i < e->n_regular; i++) {
        free(e->regular[i].name);
    }
    pthread_cond_destroy(&e->work);
    pthread_cond_destroy(&e->done);
    pthread_mutex_destroy(&e->lock);
    free(e);
    return true;
}

void
fs_engine_load(struct fs_engine *e, unsigned *waiting, unsigned *running, double *done)
{
    pthread_mutex_lock(&e->lock);
    *waiting = e->n_waiting;
    *running = e->n_running;
    *done = e->n_done;
    pthread_mutex_unlock(&e->lock);
}

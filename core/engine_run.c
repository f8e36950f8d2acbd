/* Running tasks: threads, compound tasks and what undoes them, and trying again. */
#include "config.h"

#include <stdlib.h>

#include "core/daemon.h"
#include "core/engine_parts.h"
#include "core/loader.h"
#include "core/util.h"
#include <flowstream/log.h>

/* The engine that this thread runs tasks of. */
static __thread struct fs_engine *works_for;

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
            fs_engine_progress(e, t, (double) i / (double) t->n_steps, t->steps[i].name);
            fs_daemon_run_task(e->daemon, t->steps[i].name, t->steps[i].param, context, &one);
        }
        if (one.code) {
            struct fs_text undone = { 0 };
            struct fs_daemon_call to_the_end = *context;
            to_the_end.cancel = NULL; /* a cancelled task is undone all the same */
            to_the_end.deadline = INT64_MAX;
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
run(struct fs_engine *e, struct task *t, struct fs_reply *reply)
{
    struct fs_daemon_call context = { .request_id = t->request_id, .caller = *t->caller ? t->caller : NULL, .cancel = &t->cancel,
                                      .deadline = t->deadline ? t->deadline : INT64_MAX, .task = t };
    fs_log_set_request(t->request_id);
    context.table = fs_loader_take(fs_daemon_loader(e->daemon), FS_KIND_TASK, t->steps->name);
    if (t->compound) {
        run_compound(e, t, &context, reply);
    } else {
        fs_daemon_run_task(e->daemon, t->steps->name, t->steps->param, &context, reply);
    }
    fs_log_set_request("");
    fs_loader_give(fs_daemon_loader(e->daemon), context.table);
}

/* How long before attempt n+1: doubled each time, and not the same for all that failed together. */
static int64_t
backoff(const struct task *t, int64_t now)
{
    int64_t ms = t->backoff_ms;
    for (unsigned i = 1; i < t->attempts && ms < MAX_BACKOFF_MS; i++) {
        ms *= 2;
    }
    ms = ms > MAX_BACKOFF_MS ? MAX_BACKOFF_MS : ms;
    uint32_t scatter = ((uint32_t) t->handle ^ (uint32_t) now) * 2654435761u >> 24;
    return ms - ms * (int64_t) scatter / 1024; /* up to a quarter less */
}

static bool
try_again(struct fs_engine *e, struct task *t, int64_t now)
{
    if (t->reply.code != FS_FAILURE || t->attempts > t->retries || __atomic_load_n(&t->cancel, __ATOMIC_RELAXED) || e->ending) {
        return false;
    }
    t->retry_at = now + backoff(t, now);
    if (t->deadline && t->retry_at >= t->deadline) {
        return false;
    }
    t->state = WAITING;
    t->queued = now;
    t->row->waiting++;
    t->row->retries++;
    e->n_waiting++;
    clock_set(e, t, t->retry_at);
    return true;
}

/* The thread has come back from the task, with the lock held. */
static void
finish(struct fs_engine *e, struct task *t, struct fs_reply *reply)
{
    int64_t now = fs_now_ms();
    double ran = engine_seconds(t->started, now);
    t->row->ran += ran;
    t->row->longest_run = ran > t->row->longest_run ? ran : t->row->longest_run;
    if (t->written_off) {
        t->written_off = false;
        e->n_hanging--;
        e->max_threads--;
        fs_reply_clear(reply);
        engine_free_params(t);
        if (t->forgotten && !t->waiters) {
            engine_free_task(t);
        }
        return;
    }
    e->n_running--;
    t->row->running--;
    fs_reply_clear(&t->reply);
    t->reply = *reply;
    if (!try_again(e, t, now)) {
        bool cancelled = reply->code && __atomic_load_n(&t->cancel, __ATOMIC_RELAXED), late = t->deadline && t->deadline <= now;
        if (cancelled && late) {
            fs_reply_fail(&t->reply, "its deadline passed: %s", reply->message ? reply->message : "");
        }
        engine_end(e, t, cancelled && !late ? CANCELLED : reply->code == FS_SUCCESS ? DONE : FAILED);
    }
    if (e->extra && e->n_running < e->limits.threads) { /* what hung does so no more */
        e->extra--;
        e->max_threads--;
    }
}

static struct task *
next_task(struct fs_engine *e)
{
    struct turn *turn = turns_pop(e->high);
    turn = turn ? turn : turns_pop(e->normal);
    if (!turn) {
        return NULL;
    }
    struct task *t = (struct task *) turn;
    t->state = RUNNING;
    e->last_start = t->started = fs_now_ms();
    double waited = engine_seconds(t->queued, t->started);
    t->attempts++;
    t->row->waiting--;
    t->row->running++;
    t->row->waited += waited;
    t->row->longest_wait = waited > t->row->longest_wait ? waited : t->row->longest_wait;
    e->n_waiting--;
    e->n_running++;
    return t;
}

static void *
worker(void *data)
{
    struct fs_engine *e = data;
    works_for = e;
    pthread_mutex_lock(&e->lock);
    while (e->n_threads <= e->max_threads) {
        while (turns_empty(e->high) && turns_empty(e->normal) && !e->ending) {
            e->n_idle++;
            pthread_cond_wait(&e->work, &e->lock);
            e->n_idle--;
        }
        struct task *t = next_task(e);
        if (!t) {
            break;
        }
        struct fs_reply reply = { 0 };
        pthread_mutex_unlock(&e->lock);
        run(e, t, &reply);
        pthread_mutex_lock(&e->lock);
        finish(e, t, &reply);
    }
    e->n_threads--;
    pthread_cond_broadcast(&e->done);
    pthread_mutex_unlock(&e->lock);
    return NULL;
}

void
engine_start_thread(struct fs_engine *e)
{
    pthread_t thread;
    pthread_attr_t detached;
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    e->n_threads += pthread_create(&thread, &detached, worker, e) == 0;
    pthread_attr_destroy(&detached);
}

bool
engine_runs_here(const struct fs_engine *e)
{
    return works_for == e;
}

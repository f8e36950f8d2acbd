/* The pool of threads behind the server; see the header. */
#include "config.h"

#include "core/workers.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "core/util.h"

enum { MAX_QUEUE = 1024, MAX_RESERVED_QUEUE = 64, STACK = 2 << 20 /* bytes of address space; most is never touched */ };

struct queue {
    struct job *head, **tail;
    unsigned booked, waiting, running; /* booked ones are not there yet */
};

struct workers {
    pthread_mutex_t lock;
    pthread_cond_t work, done;
    struct queue open, reserved;
    unsigned limit, reserve, n_threads, n_idle;
    bool ending;
};

static void
make_condition(pthread_cond_t *c)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(c, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

struct workers *
workers_new(unsigned threads, unsigned reserved_threads)
{
    struct workers *w = fs_xcalloc(1, sizeof *w);
    pthread_mutex_init(&w->lock, NULL);
    make_condition(&w->work);
    make_condition(&w->done);
    w->limit = threads;
    w->reserve = reserved_threads;
    w->open.tail = &w->open.head;
    w->reserved.tail = &w->reserved.head;
    return w;
}

/* The queue whose turn it is, or NULL: others than reserved jobs leave the reserved threads alone. */
static struct queue *
next_queue(struct workers *w)
{
    return w->reserved.head ? &w->reserved : w->open.head && w->open.running < w->limit ? &w->open : NULL;
}

static struct job *
pop(struct queue *q)
{
    struct job *j = q->head;
    q->head = j->next;
    if (!q->head) {
        q->tail = &q->head;
    }
    q->waiting--;
    q->running++;
    return j;
}

static void *
work(void *data)
{
    struct workers *w = data;
    pthread_mutex_lock(&w->lock);
    for (;;) {
        struct queue *q;
        while (!(q = next_queue(w)) && !(w->ending && !w->open.booked && !w->reserved.booked && !w->open.waiting)) {
            w->n_idle++;
            pthread_cond_wait(&w->work, &w->lock);
            w->n_idle--;
        }
        if (!q) {
            break;
        }
        struct job *j = pop(q);
        pthread_mutex_unlock(&w->lock);
        j->run(j);
        pthread_mutex_lock(&w->lock);
        q->running--;
        if (w->ending) {
            pthread_cond_broadcast(&w->work);
        }
    }
    w->n_threads--;
    pthread_cond_broadcast(&w->done);
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

static void
start_thread(struct workers *w)
{
    pthread_t t;
    pthread_attr_t detached;
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&detached, STACK);
    w->n_threads += pthread_create(&t, &detached, work, w) == 0;
    pthread_attr_destroy(&detached);
}

bool
workers_book(struct workers *w, bool reserved)
{
    struct queue *q = reserved ? &w->reserved : &w->open;
    pthread_mutex_lock(&w->lock);
    unsigned waiting = q->waiting + q->booked;
    bool room = !w->ending && waiting < (unsigned) (reserved ? MAX_RESERVED_QUEUE : MAX_QUEUE);
    if (room && w->n_idle < w->open.waiting + w->open.booked + w->reserved.waiting + w->reserved.booked + 1
        && w->n_threads < w->limit + (reserved ? w->reserve : 0)) {
        start_thread(w);
    }
    room = room && w->n_threads;
    q->booked += room;
    pthread_mutex_unlock(&w->lock);
    return room;
}

void
workers_give(struct workers *w, struct job *j, bool reserved)
{
    struct queue *q = reserved ? &w->reserved : &w->open;
    pthread_mutex_lock(&w->lock);
    j->next = NULL;
    *q->tail = j;
    q->tail = &j->next;
    q->booked--;
    q->waiting++;
    pthread_cond_signal(&w->work);
    pthread_mutex_unlock(&w->lock);
}

void
workers_load(struct workers *w, unsigned *waiting, unsigned *running)
{
    pthread_mutex_lock(&w->lock);
    *waiting = w->open.waiting + w->reserved.waiting;
    *running = w->open.running + w->reserved.running;
    pthread_mutex_unlock(&w->lock);
}

void
workers_end(struct workers *w)
{
    pthread_mutex_lock(&w->lock);
    w->ending = true;
    pthread_cond_broadcast(&w->work);
    pthread_mutex_unlock(&w->lock);
}

bool
workers_wait(struct workers *w, int ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    pthread_mutex_lock(&w->lock);
    while (w->n_threads && pthread_cond_timedwait(&w->done, &w->lock, &until) != ETIMEDOUT) {
    }
    bool ended = !w->n_threads;
    pthread_mutex_unlock(&w->lock);
    return ended;
}

void
workers_destroy(struct workers *w)
{
    if (w) {
        pthread_cond_destroy(&w->work);
        pthread_cond_destroy(&w->done);
        pthread_mutex_destroy(&w->lock);
        free(w);
    }
}

/* Threads that serve what may block, made when there is work for them, with some set apart for the local administrator.
 *
 * Reserved jobs (those that came over the Unix socket) go first and may use threads beyond the limit of the others: a daemon whose
 * threads are all held by callers from the network can still be asked what is wrong, and told to end it.  Thread-safe. */
#ifndef CORE_WORKERS_H
#define CORE_WORKERS_H 1

#include <stdbool.h>

struct workers;

struct job {
    void (*run)(struct job *); /* in one of the threads; may free the job */
    struct job *next;          /* of the pool */
};

struct workers *workers_new(unsigned threads, unsigned reserved_threads);
/* A place in the queue for one job; false when too many wait or the end has begun.  It must be followed by workers_give(). */
bool workers_book(struct workers *, bool reserved);
void workers_give(struct workers *, struct job *, bool reserved);
void workers_load(struct workers *, unsigned *waiting, unsigned *running);
/* The end begins: nothing more can be booked; what was is still done. */
void workers_end(struct workers *);
/* True when all threads have ended within 'ms' milliseconds. */
bool workers_wait(struct workers *, int ms);
/* After workers_wait() was true.  Accepts NULL. */
void workers_destroy(struct workers *);

#endif

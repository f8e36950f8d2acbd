/* Turns that threads would rarely take: included before all else (-include) into a build with ThreadSanitizer, it lets a thread sometimes wait before it takes a lock and after it has
 * given one back.
 *
 * ThreadSanitizer reports two accesses that no lock orders, in this run.  Where something is read without the lock that guards it, but a lock was taken for something else
 * shortly before, the run is most often in order, and nothing is reported.  See docs/testing.md. */
#ifndef TESTS_LIB_JITTER_H
#define TESTS_LIB_JITTER_H 1

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif

#include <pthread.h>
#include <sched.h>
#include <time.h>

/* One time in 128 up to 2 ms, one in 8 a mere offer to others. */
static inline __attribute__((unused, no_sanitize("thread"))) void
jitter(void)
{
    static __thread unsigned state;
    if (!state) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        state = ((unsigned) now.tv_nsec * 2654435761u) | 1;
    }
    state ^= state << 13; /* xorshift */
    state ^= state >> 17;
    state ^= state << 5;
    if ((state >> 8 & 127) == 0) {
        struct timespec moment = { .tv_nsec = (long) (state >> 16 & 2047) * 1000 };
        nanosleep(&moment, NULL);
    } else if ((state >> 8 & 7) == 0) {
        sched_yield();
    }
}

#define pthread_mutex_lock(LOCK) (jitter(), pthread_mutex_lock(LOCK))
#define pthread_mutex_unlock(LOCK) \
    __extension__({ \
        int error_ = pthread_mutex_unlock(LOCK); \
        jitter(); \
        error_; \
    })

#endif

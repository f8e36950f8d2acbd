/* Token buckets: a link with a rate passes its rate, and after a silence a burst on top of it. */
#ifndef PM_BUCKET_H
#define PM_BUCKET_H 1

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#define PM_BURST_MS 10u                /* of the rate ... */
#define PM_BURST_BITS_MIN (16u * 1600u * 8u) /* ... but never less than some whole frames */

/* Begin with zeros and the rate: a bucket that never gave anything is full. */
struct pm_bucket {
    uint64_t rate;  /* bit/s; 0: no limit */
    uint64_t bits;  /* there to be spent */
    uint64_t at_ns; /* when 'bits' was right */
};

static inline uint64_t
pm_bucket_clock(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t) t.tv_sec * 1000000000u + (uint64_t) t.tv_nsec;
}

/* May a frame of so many bytes pass at 'now' (of pm_bucket_clock())?  It has then been paid for. */
static inline bool
pm_bucket_pass(struct pm_bucket *b, uint32_t bytes, uint64_t now)
{
    uint64_t burst = b->rate / (1000u / PM_BURST_MS), since = now - b->at_ns;
    burst = burst < PM_BURST_BITS_MIN ? PM_BURST_BITS_MIN : burst;
    if (since >= 1000000000u) {
        b->bits = burst;
        b->at_ns = now;
    } else {
        uint64_t grown = (uint64_t) ((double) b->rate * (double) since / 1e9);
        b->bits = b->bits + grown < burst ? b->bits + grown : burst;
        b->at_ns += (uint64_t) ((double) grown * 1e9 / (double) b->rate); /* what is less than a bit goes on growing */
    }
    if (b->bits < (uint64_t) bytes * 8) {
        return false;
    }
    b->bits -= (uint64_t) bytes * 8;
    return true;
}

#endif

/* The memory that one process of modules shares with the multiplexer, and how packets cross it.
 *
 * Two rings, one each way, each with one producer and one consumer.  A ring is a list of descriptors (length, module and port, number of a
 * buffer) and the buffers.  Which buffers are free is known to the producer alone, in its own memory: it takes the one that came back
 * last, so that a ring with little in it touches few buffers, which stay in the processor's cache and are all the memory it costs.
 *
 * The two sides do not trust each other: each keeps its own index in its own memory and only publishes it; the other side's index is read
 * once and a distance that cannot be is an answer, never an address.  A descriptor is read once, into local variables, and
 * bounded.
 *
 * Who has nothing to do says so in 'asleep' and waits for its doorbell (one end of a socket pair: a send that never blocks, whatever
 * the other side does to its end; an eventfd could be filled and made blocking by a hostile module).  The order that makes
 * this safe: the consumer writes 'asleep', then reads 'head'; the producer writes 'head', then reads 'asleep'; both with full
 * barriers, so that at least one of them sees the other. */
#ifndef PM_RING_H
#define PM_RING_H 1

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pm/nsh.h"

#define PM_RING_SLOTS 512u /* a power of two */
#define PM_BUFFER_ROOM 2048u
#define PM_MEMBERS_MAX 64u /* modules that share a process */
#define PM_AREA_MAGIC 0x46534152u /* "FSAR" */
#define PM_AREA_VERSION 2u

_Static_assert(PM_FRAME_MAX <= PM_BUFFER_ROOM, "a frame fits in a buffer");

struct pm_descriptor {
    _Alignas(16) _Atomic uint32_t length;
    _Atomic uint32_t where; /* pm_where(): of the process's modules, input port on the way in, output port on the way out */
    _Atomic uint32_t buffer;
};

static inline uint32_t
pm_where(uint32_t member, uint32_t port)
{
    return member << 16 | port;
}

struct pm_ring {
    _Alignas(64) _Atomic uint32_t head;   /* slots ever filled, modulo 2^32 */
    _Alignas(64) _Atomic uint32_t tail;   /* slots ever emptied */
    _Alignas(64) _Atomic uint32_t asleep; /* the consumer waits for its doorbell */
};

/* Counts of one module, written by one side only.  Those of the module's process are its claims; 'inner' counts what came from and went to
 * modules of the same process, which the multiplexer never sees. */
struct pm_claims {
    _Alignas(64) _Atomic uint64_t in;
    _Atomic uint64_t bytes_in, out, bytes_out, dropped, tx_full;
    _Atomic uint64_t inner_in, inner_bytes_in, inner_out, inner_bytes_out, rate_drops;
};
struct pm_tally {
    _Alignas(64) _Atomic uint64_t in;
    _Atomic uint64_t bytes_in, out, bytes_out, ring_drops, rate_drops;
};

struct pm_area {
    uint32_t magic, version;
    _Atomic uint32_t starting; /* which module is being loaded and configured: told should the process end over it */
    struct pm_ring rx, tx; /* rx: to the modules, tx: from them */
    struct pm_claims claims[PM_MEMBERS_MAX];
    struct pm_tally tally[PM_MEMBERS_MAX];
    struct pm_descriptor rx_descriptors[PM_RING_SLOTS];
    struct pm_descriptor tx_descriptors[PM_RING_SLOTS];
    _Alignas(4096) uint8_t rx_buffers[PM_RING_SLOTS][PM_BUFFER_ROOM];
    uint8_t tx_buffers[PM_RING_SLOTS][PM_BUFFER_ROOM];
};

_Static_assert(offsetof(struct pm_area, rx_descriptors) == 448 + PM_MEMBERS_MAX * 192, "no part of the area is larger than it looks");

/* Make an area as a sealed memory file; *fd is the caller's.  0 or errno. */
int pm_area_create(int *fd);
/* Map one that may come from an enemy: a memory file that can still shrink or is too small is refused with EBADF.  NULL: see errno. */
struct pm_area *pm_area_map(int fd);
void pm_area_unmap(struct pm_area *); /* accepts NULL */

struct pm_producer {
    struct pm_ring *ring;
    struct pm_descriptor *descriptors;
    uint8_t (*buffers)[PM_BUFFER_ROOM];
    uint32_t head;
    uint32_t tail;   /* the consumer's index as last believed: what lies before it is ours again */
    uint32_t n_free; /* always PM_RING_SLOTS - (head - tail) */
    bool fault;      /* the consumer's index could not be */
    uint16_t free[PM_RING_SLOTS];  /* a stack of buffers */
    uint16_t given[PM_RING_SLOTS]; /* the buffer of each descriptor, as we wrote it */
};

struct pm_consumer {
    struct pm_ring *ring;
    struct pm_descriptor *descriptors;
    uint8_t (*buffers)[PM_BUFFER_ROOM];
    uint32_t tail;
};

/* Take up a ring where the last producer left it, whatever it says: after an index that cannot be it has nothing under way and 'fault' is set; a
 * buffer that is named twice is replaced.  See ring.c. */
void pm_producer_init(struct pm_producer *, struct pm_ring *, struct pm_descriptor *, uint8_t (*buffers)[PM_BUFFER_ROOM]);

/* The same for a consumer. */
static inline void
pm_consumer_init(struct pm_consumer *c, struct pm_ring *ring, struct pm_descriptor *descriptors, uint8_t (*buffers)[PM_BUFFER_ROOM])
{
    *c = (struct pm_consumer){ .ring = ring, .descriptors = descriptors, .buffers = buffers };
    c->tail = atomic_load_explicit(&ring->tail, memory_order_acquire);
}

/* Take back the buffers that the consumer has done with. */
static inline void
pm_producer_collect(struct pm_producer *p)
{
    uint32_t tail = atomic_load_explicit(&p->ring->tail, memory_order_acquire);
    if (tail - p->tail > p->head - p->tail) {
        p->fault = true;
        return;
    }
    while (p->tail != tail) {
        p->free[p->n_free++] = p->given[p->tail++ & (PM_RING_SLOTS - 1)];
    }
}

/* The buffer to fill next, or NULL: the ring is full (or the consumer's index cannot be). */
static inline uint8_t *
pm_producer_buffer(struct pm_producer *p)
{
    if (p->n_free == 0) {
        pm_producer_collect(p);
    }
    return p->n_free ? p->buffers[p->free[p->n_free - 1]] : NULL;
}

/* The buffer from pm_producer_buffer() is filled.  The other side sees it after pm_producer_publish(). */
static inline void
pm_producer_advance(struct pm_producer *p, uint32_t length, uint32_t where)
{
    uint32_t at = p->head++ & (PM_RING_SLOTS - 1);
    struct pm_descriptor *d = &p->descriptors[at];
    p->given[at] = p->free[--p->n_free];
    atomic_store_explicit(&d->length, length, memory_order_relaxed);
    atomic_store_explicit(&d->where, where, memory_order_relaxed);
    atomic_store_explicit(&d->buffer, p->given[at], memory_order_relaxed);
}

/* Show what was filled.  True: the consumer sleeps, ring its doorbell. */
static inline bool
pm_producer_publish(struct pm_producer *p)
{
    atomic_store_explicit(&p->ring->head, p->head, memory_order_seq_cst);
    bool asleep = atomic_load_explicit(&p->ring->asleep, memory_order_seq_cst) &&
                  atomic_exchange_explicit(&p->ring->asleep, 0, memory_order_seq_cst);
    pm_producer_collect(p);
    return asleep;
}

/* Packets to read.  An index that cannot be empties the ring and sets *fault. */
static inline uint32_t
pm_consumer_count(struct pm_consumer *c, bool *fault)
{
    uint32_t head = atomic_load_explicit(&c->ring->head, memory_order_seq_cst);
    uint32_t n = head - c->tail;
    if (n > PM_RING_SLOTS) {
        *fault = true;
        c->tail = head;
        atomic_store_explicit(&c->ring->tail, head, memory_order_release);
        return 0;
    }
    return n;
}

/* Packet 'i' of those: its bytes, of which PM_BUFFER_ROOM are there whatever '*length' says. */
static inline uint8_t *
pm_consumer_packet(const struct pm_consumer *c, uint32_t i, uint32_t *length, uint32_t *where)
{
    const struct pm_descriptor *d = &c->descriptors[(c->tail + i) & (PM_RING_SLOTS - 1)];
    *length = atomic_load_explicit(&d->length, memory_order_relaxed);
    *where = atomic_load_explicit(&d->where, memory_order_relaxed);
    return c->buffers[atomic_load_explicit(&d->buffer, memory_order_relaxed) & (PM_RING_SLOTS - 1)];
}

static inline void
pm_consumer_release(struct pm_consumer *c, uint32_t n)
{
    c->tail += n;
    atomic_store_explicit(&c->ring->tail, c->tail, memory_order_release);
}

/* Say that we are about to sleep.  True: there is still nothing, so sleep; false: there is, and we are awake again. */
static inline bool
pm_consumer_sleep(struct pm_consumer *c)
{
    atomic_store_explicit(&c->ring->asleep, 1, memory_order_seq_cst);
    if (atomic_load_explicit(&c->ring->head, memory_order_seq_cst) == c->tail) {
        return true;
    }
    atomic_store_explicit(&c->ring->asleep, 0, memory_order_seq_cst);
    return false;
}

#endif

/* The memory that one module shares with the multiplexer, and how packets cross it.
 *
 * Two rings of slots, one each way, each with one producer and one consumer.  The two sides do not trust each other: each keeps its
 * own index in its own memory and only publishes it; the other side's index is read once and a distance that cannot be
 * is an answer, never an address.  A slot's length and port are read once, into a local variable, and bounded.
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
#define PM_SLOT_ROOM (2048u - 64u)
#define PM_AREA_MAGIC 0x46534152u /* "FSAR" */
#define PM_AREA_VERSION 1u

_Static_assert(PM_FRAME_MAX <= PM_SLOT_ROOM, "a frame fits in a slot");

struct pm_slot {
    _Alignas(64) _Atomic uint32_t length;
    _Atomic uint32_t port; /* of the module: input port on its way in, output port on its way out */
    _Alignas(64) uint8_t data[PM_SLOT_ROOM];
};

struct pm_ring {
    _Alignas(64) _Atomic uint32_t head;   /* slots ever filled, modulo 2^32 */
    _Alignas(64) _Atomic uint32_t tail;   /* slots ever emptied */
    _Alignas(64) _Atomic uint32_t asleep; /* the consumer waits for its doorbell */
};

/* Counts written by one side only.  Those of the module are its claims. */
struct pm_claims {
    _Alignas(64) _Atomic uint64_t in;
    _Atomic uint64_t bytes_in, out, bytes_out, dropped, tx_full;
};
struct pm_tally {
    _Alignas(64) _Atomic uint64_t in;
    _Atomic uint64_t bytes_in, out, bytes_out, ring_drops;
};

struct pm_area {
    uint32_t magic, version;
    struct pm_claims claims;
    struct pm_tally tally;
    struct pm_ring rx, tx; /* rx: to the module, tx: from it */
    struct pm_slot rx_slots[PM_RING_SLOTS];
    struct pm_slot tx_slots[PM_RING_SLOTS];
};

_Static_assert(offsetof(struct pm_area, rx_slots) == 576, "no part of the area is larger than it looks");

/* Make an area as a sealed memory file; *fd is the caller's.  0 or errno. */
int pm_area_create(int *fd);
/* Map one that may come from an enemy: a memory file that can still shrink or is too small is refused with EBADF.  NULL: see errno. */
struct pm_area *pm_area_map(int fd);
void pm_area_unmap(struct pm_area *); /* accepts NULL */

struct pm_producer {
    struct pm_ring *ring;
    struct pm_slot *slots;
    uint32_t head;
    uint32_t free; /* slots known to be free: spares a look at the other side's index */
};

struct pm_consumer {
    struct pm_ring *ring;
    struct pm_slot *slots;
    uint32_t tail;
};

/* Take up a ring where the last producer or consumer left it, whatever it says. */
static inline void
pm_producer_init(struct pm_producer *p, struct pm_ring *ring, struct pm_slot *slots)
{
    *p = (struct pm_producer){ .ring = ring, .slots = slots };
    p->head = atomic_load_explicit(&ring->head, memory_order_acquire);
}

static inline void
pm_consumer_init(struct pm_consumer *c, struct pm_ring *ring, struct pm_slot *slots)
{
    *c = (struct pm_consumer){ .ring = ring, .slots = slots };
    c->tail = atomic_load_explicit(&ring->tail, memory_order_acquire);
}

/* The slot to fill next, or NULL: the ring is full (or the consumer's index cannot be). */
static inline struct pm_slot *
pm_producer_slot(struct pm_producer *p)
{
    if (p->free == 0) {
        uint32_t used = p->head - atomic_load_explicit(&p->ring->tail, memory_order_acquire);
        if (used >= PM_RING_SLOTS) {
            return NULL;
        }
        p->free = PM_RING_SLOTS - used;
    }
    return &p->slots[p->head & (PM_RING_SLOTS - 1)];
}

/* The slot from pm_producer_slot() is filled.  The other side sees it after pm_producer_publish(). */
static inline void
pm_producer_advance(struct pm_producer *p, uint32_t length, uint32_t port)
{
    struct pm_slot *slot = &p->slots[p->head & (PM_RING_SLOTS - 1)];
    atomic_store_explicit(&slot->length, length, memory_order_relaxed);
    atomic_store_explicit(&slot->port, port, memory_order_relaxed);
    p->head++;
    p->free--;
}

/* Show what was filled.  True: the consumer sleeps, ring its doorbell. */
static inline bool
pm_producer_publish(struct pm_producer *p)
{
    atomic_store_explicit(&p->ring->head, p->head, memory_order_seq_cst);
    return atomic_load_explicit(&p->ring->asleep, memory_order_seq_cst) &&
           atomic_exchange_explicit(&p->ring->asleep, 0, memory_order_seq_cst);
}

/* Slots to read.  An index that cannot be empties the ring and sets *fault. */
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

static inline struct pm_slot *
pm_consumer_slot(const struct pm_consumer *c, uint32_t i)
{
    return &c->slots[(c->tail + i) & (PM_RING_SLOTS - 1)];
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
    bool fault = false;
    atomic_store_explicit(&c->ring->asleep, 1, memory_order_seq_cst);
    if (pm_consumer_count(c, &fault) == 0 && !fault) {
        return true;
    }
    atomic_store_explicit(&c->ring->asleep, 0, memory_order_seq_cst);
    return false;
}

#endif

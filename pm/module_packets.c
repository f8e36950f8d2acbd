/* Packets through the modules of one process: a batch from the ring, through every module that it concerns, to the other ring.
 *
 * A module that emits to another one of the process puts the packet into that one's queue, and its process() is called with the whole queue
 * when it is full or nothing else is left to do.  What a module passes on (pass()) is handed over where it lies, in the ring's buffer or the
 * pool's; what it emits (emit()) it may go on changing, so that is copied into a buffer of the pool.  The batch of the ring is given
 * back when all queues are empty again. */
#include "config.h"

#include "pm/module.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "pm/spread.h"

/* A module can have a full queue and a full batch under way: so many buffers are always enough. */
enum { BUFFERS_PER_MEMBER = 2 * BATCH };

/* Members that lead to each other in a circle would never end: then the packets are dropped after so many calls a member. */
enum { STEPS_MAX = 4096 };

/* What emit() needs to know; the type sees only 'public'. */
struct emitter {
    struct fs_emitter public;
    struct process *process;
    struct member *member;
    struct queue *batch;
    bool passed[BATCH]; /* it went somewhere */
    bool given[BATCH];  /* its bytes belong to somebody else now */
    uint64_t out, bytes_out, inner_out, inner_bytes_out, full, above_rate;
};

static inline void
count(_Atomic uint64_t *counter, uint64_t n)
{
    /* This process is the only writer: no need of a locked instruction. */
    if (n) {
        atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n, memory_order_relaxed);
    }
}

static void run_member(struct process *, struct member *);

/* Which packet of the batch is it?  -1: one of the type's own making. */
static int
index_in_batch(const struct emitter *e, const struct fs_packet *packet)
{
    uintptr_t first = (uintptr_t) e->batch->packets, it = (uintptr_t) packet;
    return it >= first && it < first + e->batch->n * sizeof *packet ? (int) ((it - first) / sizeof *packet) : -1;
}

static bool
send_out(struct emitter *e, uint32_t port, const struct fs_packet *packet)
{
    struct pm_producer *tx = &e->process->tx;
    uint8_t *buffer = pm_producer_buffer(tx);
    if (!buffer) {
        e->full++;
        return false;
    }
    memcpy(buffer, packet->data, packet->length);
    pm_producer_advance(tx, packet->length, pm_where(e->member->index, port));
    e->out++;
    e->bytes_out += packet->length;
    return true;
}

/* A place at the end of a module's queue, which is run first where it is full; NULL: it is full and running, we are in a circle. */
static struct fs_packet *
place_in(struct process *p, struct member *to)
{
    if (to->waiting.n == BATCH && !to->running) {
        run_member(p, to);
    }
    return to->waiting.n < BATCH ? &to->waiting.packets[to->waiting.n] : NULL;
}

/* The bytes of packet 'i' of the batch change hands; false: they do not lie where they came (a type may point a packet at memory of its own). */
static bool
give(struct emitter *e, struct queue *to, struct fs_packet *place, int i, const struct fs_packet *packet)
{
    int buffer = e->batch->buffers[i];
    const uint8_t *first = buffer < 0 ? e->process->area->rx_buffers[0] : e->process->pool[buffer];
    size_t all = buffer < 0 ? sizeof e->process->area->rx_buffers : PM_BUFFER_ROOM;
    uintptr_t at = (uintptr_t) packet->data - (uintptr_t) first;
    uint32_t left = PM_BUFFER_ROOM - (uint32_t) (at % PM_BUFFER_ROOM);
    if (e->given[i] || at >= all || packet->length > left) {
        return false;
    }
    *place = (struct fs_packet){ .data = packet->data, .length = packet->length, .room = left < PM_FRAME_MAX ? left : PM_FRAME_MAX };
    to->buffers[to->n] = buffer;
    e->given[i] = true;
    return true;
}

static bool
copy(struct emitter *e, struct queue *to, struct fs_packet *place, const struct fs_packet *packet)
{
    struct process *p = e->process;
    if (p->n_free_buffers == 0) {
        return false;
    }
    int buffer = p->free_buffers[--p->n_free_buffers];
    memcpy(p->pool[buffer], packet->data, packet->length);
    *place = (struct fs_packet){ .data = p->pool[buffer], .length = packet->length, .room = PM_FRAME_MAX };
    to->buffers[to->n] = buffer;
    return true;
}

static bool
hand_on(struct emitter *e, const struct lane *lane, const struct fs_packet *packet, int give_away)
{
    struct member *to = lane->to;
    struct fs_packet *place = place_in(e->process, to);
    if (!place) {
        e->full++;
        return false;
    }
    if (!(give_away >= 0 && give(e, &to->waiting, place, give_away, packet)) && !copy(e, &to->waiting, place, packet)) {
        e->full++;
        return false;
    }
    place->port = lane->port;
    place->reserved = 1; /* from a member: see run_member() */
    to->waiting.n++;
    e->inner_out++;
    e->inner_bytes_out += packet->length;
    return true;
}

/* The path that a packet takes within the process; NULL: it leaves it. */
static struct lane *
inner_lane(const struct member *m, uint32_t port, const struct fs_packet *packet)
{
    uint32_t n = m->outputs[port].n;
    struct lane *lane = n == 0 ? NULL : &m->outputs[port].lanes[n > 1 ? pm_spread_hash(packet->data, packet->length) % n : 0];
    return lane && lane->to ? lane : NULL;
}

static void
dispatch(struct fs_emitter *public, uint32_t port, const struct fs_packet *packet, bool give_away)
{
    struct emitter *e = (struct emitter *) public;
    if (port >= public->n_outputs || packet->length < PM_ETHERNET_HEADER || packet->length > PM_FRAME_MAX) {
        return;
    }
    int i = index_in_batch(e, packet);
    struct lane *lane = inner_lane(e->member, port, packet);
    bool within = !lane || lane->limit.rate == 0 || pm_bucket_pass(&lane->limit, packet->length, pm_bucket_clock());
    bool sent = within && (lane ? hand_on(e, lane, packet, give_away ? i : -1) : send_out(e, port, packet));
    e->above_rate += !within;
    if (i >= 0 && (sent || !within)) { /* what is above the rate is counted as such and not as dropped too */
        e->passed[i] = true;
    }
}

static void
emit(struct fs_emitter *public, uint32_t port, const struct fs_packet *packet)
{
    dispatch(public, port, packet, false);
}

static void
pass(struct fs_emitter *public, uint32_t port, const struct fs_packet *packet)
{
    dispatch(public, port, packet, true);
}

/* Count what a batch came to and take back the buffers that nobody got. */
static void
settle(struct emitter *e)
{
    struct process *p = e->process;
    uint64_t dropped = 0;
    for (uint32_t i = 0; i < e->batch->n; i++) {
        dropped += !e->passed[i];
        if (!e->given[i] && e->batch->buffers[i] >= 0) {
            p->free_buffers[p->n_free_buffers++] = e->batch->buffers[i];
        }
    }
    struct pm_claims *c = &p->area->claims[e->member->index];
    count(&c->out, e->out);
    count(&c->bytes_out, e->bytes_out);
    count(&c->inner_out, e->inner_out);
    count(&c->inner_bytes_out, e->inner_bytes_out);
    count(&c->dropped, dropped);
    count(&c->tx_full, e->full);
    count(&c->rate_drops, e->above_rate);
}

/* Let a module handle its queue. */
static void
run_member(struct process *p, struct member *m)
{
    struct queue batch;
    uint64_t bytes = 0, inner = 0, inner_bytes = 0;
    batch.n = m->waiting.n;
    memcpy(batch.packets, m->waiting.packets, batch.n * sizeof batch.packets[0]);
    memcpy(batch.buffers, m->waiting.buffers, batch.n * sizeof batch.buffers[0]);
    m->waiting.n = 0;
    for (uint32_t i = 0; i < batch.n; i++) {
        bool from_member = batch.packets[i].reserved;
        batch.packets[i].reserved = 0;
        bytes += batch.packets[i].length;
        inner += from_member;
        inner_bytes += from_member ? batch.packets[i].length : 0;
    }
    struct emitter e = { .public = { .emit = emit, .n_outputs = m->n_outputs, .pass = pass }, .process = p, .member = m, .batch = &batch };
    p->steps++;
    m->running = true;
    m->type->process(m->state, batch.packets, batch.n, &e.public);
    m->running = false;
    struct pm_claims *c = &p->area->claims[m->index];
    count(&c->in, batch.n);
    count(&c->bytes_in, bytes);
    count(&c->inner_in, inner);
    count(&c->inner_bytes_in, inner_bytes);
    settle(&e);
}

/* A circle has no end: what still goes round in it is lost. */
static void
drop_all(struct process *p)
{
    for (uint32_t i = 0; i < p->n_members; i++) {
        struct member *m = &p->members[i];
        count(&p->area->claims[i].tx_full, m->waiting.n);
        while (m->waiting.n > 0) {
            int buffer = m->waiting.buffers[--m->waiting.n];
            if (buffer >= 0) {
                p->free_buffers[p->n_free_buffers++] = buffer;
            }
        }
    }
}

/* Run the queues until all are empty. */
static void
drain(struct process *p)
{
    for (bool more = true; more;) {
        more = false;
        for (uint32_t i = 0; i < p->n_members; i++) {
            if (p->members[i].waiting.n > 0) {
                run_member(p, &p->members[i]);
                more = true;
            }
        }
        if (p->steps > STEPS_MAX * p->n_members) {
            drop_all(p);
        }
    }
}

/* Put one packet of the ring into the queue of its module. */
static void
take(struct process *p, uint32_t i)
{
    uint32_t length, where;
    uint8_t *data = pm_consumer_packet(&p->rx, i, &length, &where);
    struct member *to = &p->members[(where >> 16) % p->n_members];
    struct fs_packet *place = place_in(p, to);
    if (place) {
        *place = (struct fs_packet){ .data = data, .length = length, .room = PM_FRAME_MAX, .port = where & 0xffff };
        to->waiting.buffers[to->waiting.n++] = -1;
    }
}

bool
packets_handle(struct process *p)
{
    bool fault = false;
    uint32_t n = pm_consumer_count(&p->rx, &fault);
    if (n == 0) {
        return false;
    }
    n = n < BATCH ? n : BATCH;
    p->steps = 0;
    for (uint32_t i = 0; i < n; i++) {
        take(p, i);
    }
    drain(p);
    pm_consumer_release(&p->rx, n);
    if (pm_producer_publish(&p->tx)) {
        (void) send(p->bell, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    return true;
}

/* The member that has an input of this path, and which input it is; NULL: none. */
static struct member *
find_input(const struct process *p, uint32_t spi, uint32_t *port)
{
    for (uint32_t k = 0; k < p->n_members; k++) {
        const struct fs_module_spec *spec = p->members[k].spec;
        for (size_t i = 0; i < spec->n_inputs; i++) {
            if (spec->inputs[i].spi == spi) {
                *port = spec->inputs[i].port;
                return &p->members[k];
            }
        }
    }
    return NULL;
}

/* The paths of one output, in their order as the multiplexer has them; true: one leads to a member. */
static bool
connect_output(const struct process *p, struct member *from, uint32_t port, uint32_t *used)
{
    struct lane *lanes = from->lanes + *used;
    uint32_t n = 0;
    bool inner = false;
    for (size_t o = 0; o < from->spec->n_outputs; o++) {
        const struct fs_port_spi *out = &from->spec->outputs[o];
        if (out->port == port && out->spi) {
            lanes[n].limit.rate = out->rate;
            lanes[n].to = find_input(p, out->spi, &lanes[n].port);
            inner |= lanes[n++].to != NULL;
        }
    }
    from->outputs[port].lanes = lanes;
    from->outputs[port].n = inner ? n : 0;
    *used += n;
    return inner;
}

/* Where does each output lead?  *inner: one leads to a member.  0 or errno. */
static int
connect_members(struct process *p, bool *inner)
{
    *inner = false;
    for (uint32_t i = 0; i < p->n_members; i++) {
        struct member *from = &p->members[i];
        uint32_t used = 0;
        from->lanes = calloc(from->spec->n_outputs + 1, sizeof *from->lanes);
        if (!from->lanes) {
            return ENOMEM;
        }
        for (uint32_t port = 0; port < from->n_outputs; port++) {
            *inner |= connect_output(p, from, port, &used);
        }
    }
    return 0;
}

int
packets_prepare(struct process *p)
{
    bool inner;
    int err = connect_members(p, &inner);
    if (err || !inner) {
        return err;
    }
    uint32_t n = p->n_members * BUFFERS_PER_MEMBER;
    p->pool = calloc(n, sizeof *p->pool); /* memory that is never used is never touched */
    p->free_buffers = calloc(n, sizeof *p->free_buffers);
    if (!p->pool || !p->free_buffers) {
        return ENOMEM;
    }
    for (uint32_t i = 0; i < n; i++) {
        p->free_buffers[i] = (int) (n - 1 - i);
    }
    p->n_free_buffers = n;
    return 0;
}

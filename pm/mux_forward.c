/* The processes of one host as the multiplexer sees them: where service paths end, what is put in a ring, what is taken from it.
 *
 * A module that emits to a path of this same host gets its packets copied from ring to ring, without the trunk.  A full ring drops
 * and counts, a link above its rate too; nobody waits for a module.  A path between two modules of one process does not come here. */
#include "config.h"

#include "pm/mux.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pm/spec.h"
#include "pm/spread.h"

enum { PATHS_ROOM_MIN = 64 };

static inline void
count(_Atomic uint64_t *counter, uint64_t n)
{
    /* This process is the only writer that counts: no need of a locked instruction. */
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n, memory_order_relaxed);
}

/* The table of paths. */

static uint32_t
place_of(const struct mux *mux, uint32_t spi)
{
    uint32_t at = (spi * 2654435769u) & (mux->paths_room - 1);
    while (mux->paths[at].spi != 0 && mux->paths[at].spi != spi) {
        at = (at + 1) & (mux->paths_room - 1);
    }
    return at;
}

static struct path *
find_path(const struct mux *mux, uint32_t spi)
{
    if (spi == 0 || mux->paths_room == 0) {
        return NULL;
    }
    struct path *p = &mux->paths[place_of(mux, spi)];
    return p->spi ? p : NULL;
}

/* What was limited stays so when the table is made anew. */
static struct pm_bucket
limit_of(const struct mux *mux, const struct fs_port_spi *in)
{
    const struct path *old = find_path(mux, in->spi);
    return old && old->limit.rate == in->rate ? old->limit : (struct pm_bucket){ .rate = in->rate };
}

/* Build the table anew from the processes' specifications: they change seldom. */
static int
rebuild_paths(struct mux *mux)
{
    struct mux fresh = { .paths_room = PATHS_ROOM_MIN };
    for (const struct mux_process *p = mux->processes; p; p = p->next) {
        for (size_t k = 0; k < p->spec->n_modules; k++) {
            fresh.n_paths += (uint32_t) p->spec->modules[k]->n_inputs;
        }
    }
    while (fresh.paths_room < 2 * fresh.n_paths) {
        fresh.paths_room *= 2;
    }
    fresh.paths = calloc(fresh.paths_room, sizeof *fresh.paths);
    if (!fresh.paths) {
        return ENOMEM;
    }
    for (struct mux_process *p = mux->processes; p; p = p->next) {
        for (size_t k = 0; k < p->spec->n_modules; k++) {
            struct mux_module *m = &p->modules[k];
            for (size_t i = 0; i < m->spec->n_inputs; i++) {
                const struct fs_port_spi *in = &m->spec->inputs[i];
                fresh.paths[place_of(&fresh, in->spi)] =
                    (struct path){ .spi = in->spi, .port = in->port, .module = m, .limit = limit_of(mux, in) };
            }
        }
    }
    free(mux->paths);
    mux->paths = fresh.paths;
    mux->paths_room = fresh.paths_room;
    mux->n_paths = fresh.n_paths;
    return 0;
}

/* Processes come and go. */

struct mux_module *
mux_find(const struct mux *mux, const char *name)
{
    for (struct mux_process *p = mux->processes; p; p = p->next) {
        for (size_t k = 0; k < p->spec->n_modules; k++) {
            if (!strcmp(p->modules[k].spec->name, name)) {
                return &p->modules[k];
            }
        }
    }
    return NULL;
}

/* The process holds a copy of our doorbell: closing ours does not take it out of the epoll set. */
static void
destroy(struct mux *mux, struct mux_process *p)
{
    if (p) {
        epoll_ctl(mux->epoll, EPOLL_CTL_DEL, p->bell.fd, NULL);
        close(p->bell.fd);
        pm_area_unmap(p->area);
        for (size_t i = 0; p->modules && i < p->spec->n_modules; i++) {
            flows_destroy(p->modules[i].flows);
            free(p->modules[i].lanes);
        }
        free(p->modules);
        pm_process_free(p->spec);
        free(p);
    }
}

static int
check_paths_free(const struct mux *mux, const struct mux_process *fresh, const struct fs_module_spec *spec, char **error)
{
    for (size_t i = 0; i < spec->n_inputs; i++) {
        const struct path *p = find_path(mux, spec->inputs[i].spi);
        if (p && p->module && strcmp(p->module->process->spec->name, fresh->spec->name)) {
            return pm_fail(error, EEXIST, "module %s: service path %u leads to module %s already", spec->name,
                           spec->inputs[i].spi, p->module->spec->name);
        }
    }
    return 0;
}

static int
fill_exits(struct mux_module *m)
{
    uint32_t n = 0;
    m->lanes = calloc(m->spec->n_outputs + 1, sizeof *m->lanes);
    if (!m->lanes) {
        return ENOMEM;
    }
    for (uint32_t port = 0; port < pm_spec_output_ports(m->spec); port++) {
        m->exits[port].lanes = m->lanes + n;
        for (size_t i = 0; i < m->spec->n_outputs; i++) {
            if (m->spec->outputs[i].port == port && m->spec->outputs[i].spi) {
                m->lanes[n++] = (struct lane){ .spi = m->spec->outputs[i].spi, .limit = { .rate = m->spec->outputs[i].rate } };
                m->exits[port].n++;
            }
        }
    }
    return 0;
}

static int
set_up_module(const struct mux *mux, struct mux_process *p, uint32_t member, char **error)
{
    struct mux_module *m = &p->modules[member];
    *m = (struct mux_module){ .spec = p->spec->modules[member], .process = p, .member = member };
    int err = fill_exits(m);
    return err ? err : check_paths_free(mux, p, m->spec, error);
}

static int
connect_process(struct mux *mux, struct mux_process *p, int area_fd, char **error)
{
    p->modules = calloc(p->spec->n_modules, sizeof *p->modules);
    int err = p->modules ? 0 : ENOMEM;
    for (uint32_t i = 0; i < p->spec->n_modules && !err; i++) {
        err = set_up_module(mux, p, i, error);
    }
    if (err) {
        return err;
    }
    p->area = pm_area_map(area_fd);
    if (!p->area) {
        return pm_fail(error, errno, "process %s: its rings are not what a runner makes: %s", p->spec->name, strerror(errno));
    }
    pm_producer_init(&p->rx, &p->area->rx, p->area->rx_descriptors, p->area->rx_buffers);
    pm_consumer_init(&p->tx, &p->area->tx, p->area->tx_descriptors, p->area->tx_buffers);
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = &p->bell };
    return epoll_ctl(mux->epoll, EPOLL_CTL_ADD, p->bell.fd, &event) ? errno : 0;
}

int
mux_add(struct mux *mux, struct fs_process_spec *spec, int area_fd, int bell_fd, char **error)
{
    mux_publish(mux); /* what the rings say is all there is, also where this takes the place of an older one */
    struct mux_process *p = calloc(1, sizeof *p);
    int err = p ? 0 : ENOMEM;
    if (p) {
        p->bell = (struct handle){ .kind = HANDLE_PROCESS, .fd = bell_fd };
        p->spec = spec;
        err = connect_process(mux, p, area_fd, error);
    } else {
        close(bell_fd);
        pm_process_free(spec);
    }
    close(area_fd);
    if (err) {
        destroy(mux, p);
        return err;
    }
    mux_remove(mux, spec->name);
    p->next = mux->processes;
    mux->processes = p;
    mux->stats.modules += spec->n_modules;
    err = rebuild_paths(mux);
    if (err) {
        mux_remove(mux, spec->name);
        return err;
    }
    mux_wake(mux, p); /* it may hold packets from before */
    return 0;
}

static void
unlink_active(struct mux *mux, const struct mux_process *process)
{
    for (struct mux_process **p = &mux->active; *p; p = &(*p)->next_active) {
        if (*p == process) {
            *p = process->next_active;
            return;
        }
    }
}

bool
mux_remove(struct mux *mux, const char *name)
{
    mux_publish(mux); /* empties the list of dirty processes */
    struct mux_process **at = &mux->processes;
    while (*at && strcmp((*at)->spec->name, name)) {
        at = &(*at)->next;
    }
    struct mux_process *p = *at;
    if (!p) {
        return false;
    }
    *at = p->next;
    unlink_active(mux, p);
    mux->stats.modules -= p->spec->n_modules;
    if (rebuild_paths(mux)) {
        for (uint32_t i = 0; i < mux->paths_room; i++) { /* no memory for a new table: let the old one lead nowhere */
            if (mux->paths[i].module && mux->paths[i].module->process == p) {
                mux->paths[i] = (struct path){ .spi = FS_SPI_MAX + 1 };
            }
        }
    }
    destroy(mux, p);
    return true;
}

/* No packet of it moves any more; the daemon asks for such processes and ends them. */
static void
give_up(struct mux *mux, struct mux_process *p)
{
    if (!p->faulty) {
        fprintf(stderr, "multiplexer: process %s: its rings cannot be: it is cut off and will be ended\n", p->spec->name);
        epoll_ctl(mux->epoll, EPOLL_CTL_DEL, p->bell.fd, NULL);
        mux->stats.ring_faults++;
        p->faulty = true;
    }
}

/* Packets to a module. */

static void
put(struct mux *mux, const struct mux_module *m, uint32_t port, const uint8_t *frame, uint32_t length)
{
    struct mux_process *p = m->process;
    struct pm_tally *tally = &p->area->tally[m->member];
    uint8_t *buffer = p->dead || p->faulty ? NULL : pm_producer_buffer(&p->rx);
    if (p->rx.fault) {
        give_up(mux, p);
    }
    if (!buffer) {
        mux->stats.ring_drops++;
        count(&tally->ring_drops, 1);
        return;
    }
    memcpy(buffer, frame, length);
    pm_producer_advance(&p->rx, length, pm_where(m->member, port));
    count(&tally->in, 1);
    count(&tally->bytes_in, length);
    if (m->flows) {
        flows_count(m->flows, frame, length);
    }
    if (!p->dirty) {
        p->dirty = true;
        p->next_dirty = mux->dirty;
        mux->dirty = p;
    }
}

/* Has the link room for one more frame?  If not it is counted. */
static inline bool
within(struct mux *mux, struct pm_bucket *limit, const struct mux_module *m, uint32_t length)
{
    if (limit->rate == 0 || pm_bucket_pass(limit, length, pm_bucket_clock())) {
        return true;
    }
    mux->stats.rate_drops++;
    count(&m->process->area->tally[m->member].rate_drops, 1);
    return false;
}

bool
mux_deliver(struct mux *mux, uint32_t spi, const uint8_t *frame, uint32_t length)
{
    struct path *p = find_path(mux, spi);
    if (p && within(mux, &p->limit, p->module, length)) {
        put(mux, p->module, p->port, frame, length);
    }
    return p != NULL;
}

void
mux_publish(struct mux *mux)
{
    while (mux->dirty) {
        struct mux_process *p = mux->dirty;
        mux->dirty = p->next_dirty;
        p->dirty = false;
        if (pm_producer_publish(&p->rx) && !p->dead) {
            (void) send(p->bell.fd, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
        }
    }
}

void
mux_end_flows(struct mux *mux)
{
    int64_t now = pm_now();
    for (struct mux_process *p = mux->processes; p; p = p->next) {
        for (size_t i = 0; i < p->spec->n_modules; i++) {
            struct mux_module *m = &p->modules[i];
            if (m->flows && now > m->flows_until) {
                flows_destroy(m->flows);
                m->flows = NULL;
            }
        }
    }
}

/* Packets from modules. */

void
mux_wake(struct mux *mux, struct mux_process *p)
{
    char rings[64];
    ssize_t n = recv(p->bell.fd, rings, sizeof rings, MSG_DONTWAIT);
    if ((n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) && !p->dead) {
        p->dead = true; /* it ended, or closed its end: what is in the ring still goes out */
        epoll_ctl(mux->epoll, EPOLL_CTL_DEL, p->bell.fd, NULL);
    }
    if (!p->active && !p->faulty) {
        p->active = true;
        p->next_active = mux->active;
        mux->active = p;
    }
}

/* The path that a packet takes out of a port that is connected. */
static struct lane *
choose_lane(const struct exit *exit, const uint8_t *frame, uint32_t length)
{
    return &exit->lanes[exit->n > 1 ? pm_spread_hash(frame, length) % exit->n : 0];
}

/* One packet of a process: length, module and port are its word, taken once. */
static void
send_on(struct mux *mux, struct mux_process *p, const uint8_t *data, uint32_t length, uint32_t where)
{
    uint32_t member = where >> 16, port = where & 0xffff;
    struct mux_module *m = member < p->spec->n_modules ? &p->modules[member] : NULL;
    if (!m || length < PM_ETHERNET_HEADER || length > PM_FRAME_MAX || port >= FS_PORTS_MAX || !m->exits[port].n) {
        mux->stats.ring_faults++;
        return;
    }
    struct lane *lane = choose_lane(&m->exits[port], data, length);
    if (!within(mux, &lane->limit, m, length)) {
        return;
    }
    struct pm_tally *tally = &p->area->tally[member];
    count(&tally->out, 1);
    count(&tally->bytes_out, length);
    if (mux_deliver(mux, lane->spi, data, length)) {
        mux->stats.local_packets++;
    } else {
        mux_trunk_add(mux, lane->spi, data, length);
    }
}

/* A batch of one process; false: its ring is empty and it will ring, or it will never be listened to again. */
static bool
take_batch(struct mux *mux, struct mux_process *p)
{
    bool fault = false;
    uint32_t n = pm_consumer_count(&p->tx, &fault);
    if (fault) {
        give_up(mux, p);
    }
    if (p->faulty) {
        return false;
    }
    n = n < MUX_BATCH ? n : MUX_BATCH;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t length, where;
        const uint8_t *data = pm_consumer_packet(&p->tx, i, &length, &where);
        send_on(mux, p, data, length, where);
    }
    mux_trunk_flush(mux); /* the frames are in the buffers: before they are given back */
    pm_consumer_release(&p->tx, n);
    return n > 0 || !pm_consumer_sleep(&p->tx);
}

void
mux_forward(struct mux *mux)
{
    for (struct mux_process **at = &mux->active; *at;) {
        struct mux_process *p = *at;
        if (take_batch(mux, p)) {
            at = &p->next_active;
        } else {
            *at = p->next_active;
            p->active = false;
        }
    }
}

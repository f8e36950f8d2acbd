/* The modules of one host as the multiplexer sees them: where service paths end, what is put in a module's ring, what is taken from it.
 *
 * A module that emits to a path of this same host gets its packets copied from ring to ring, without the trunk.  A full ring drops
 * and counts; nobody waits for a module. */
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

static const struct path *
find_path(const struct mux *mux, uint32_t spi)
{
    if (spi == 0 || mux->paths_room == 0) {
        return NULL;
    }
    const struct path *p = &mux->paths[place_of(mux, spi)];
    return p->spi ? p : NULL;
}

/* Build the table anew from the modules' specifications: they change seldom. */
static int
rebuild_paths(struct mux *mux)
{
    uint32_t n = 0, room = PATHS_ROOM_MIN;
    for (const struct mux_module *m = mux->modules; m; m = m->next) {
        n += (uint32_t) m->spec->n_inputs;
    }
    while (room < 2 * n) {
        room *= 2;
    }
    struct path *fresh = calloc(room, sizeof *fresh);
    if (!fresh) {
        return ENOMEM;
    }
    free(mux->paths);
    mux->paths = fresh;
    mux->paths_room = room;
    mux->n_paths = n;
    for (struct mux_module *m = mux->modules; m; m = m->next) {
        for (size_t i = 0; i < m->spec->n_inputs; i++) {
            const struct fs_port_spi *in = &m->spec->inputs[i];
            mux->paths[place_of(mux, in->spi)] = (struct path){ .spi = in->spi, .port = in->port, .module = m };
        }
    }
    return 0;
}

/* Modules come and go. */

struct mux_module *
mux_find(const struct mux *mux, const char *name)
{
    struct mux_module *m = mux->modules;
    while (m && strcmp(m->spec->name, name)) {
        m = m->next;
    }
    return m;
}

/* The module holds a copy of our doorbell: closing ours does not take it out of the epoll set. */
static void
destroy(struct mux *mux, struct mux_module *m)
{
    if (m) {
        epoll_ctl(mux->epoll, EPOLL_CTL_DEL, m->bell.fd, NULL);
        close(m->bell.fd);
        pm_area_unmap(m->area);
        pm_spec_free(m->spec);
        free(m->spis);
        free(m);
    }
}

static int
check_paths_free(const struct mux *mux, const struct fs_module_spec *spec, char **error)
{
    for (size_t i = 0; i < spec->n_inputs; i++) {
        const struct path *p = find_path(mux, spec->inputs[i].spi);
        if (p && strcmp(p->module->spec->name, spec->name)) {
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
    m->spis = calloc(m->spec->n_outputs + 1, sizeof *m->spis);
    if (!m->spis) {
        return ENOMEM;
    }
    for (uint32_t port = 0; port < pm_spec_output_ports(m->spec); port++) {
        m->exits[port].spi = m->spis + n;
        for (size_t i = 0; i < m->spec->n_outputs; i++) {
            if (m->spec->outputs[i].port == port && m->spec->outputs[i].spi) {
                m->spis[n++] = m->spec->outputs[i].spi;
                m->exits[port].n++;
            }
        }
    }
    return 0;
}

static int
connect_module(struct mux *mux, struct mux_module *m, int area_fd, char **error)
{
    int err = check_paths_free(mux, m->spec, error);
    if (err) {
        return err;
    }
    m->area = pm_area_map(area_fd);
    if (!m->area) {
        return pm_fail(error, errno, "module %s: its rings are not what a runner makes: %s", m->spec->name, strerror(errno));
    }
    err = fill_exits(m);
    if (err) {
        return err;
    }
    pm_producer_init(&m->rx, &m->area->rx, m->area->rx_slots);
    pm_consumer_init(&m->tx, &m->area->tx, m->area->tx_slots);
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = &m->bell };
    return epoll_ctl(mux->epoll, EPOLL_CTL_ADD, m->bell.fd, &event) ? errno : 0;
}

int
mux_add(struct mux *mux, struct fs_module_spec *spec, int area_fd, int bell_fd, char **error)
{
    struct mux_module *m = calloc(1, sizeof *m);
    int err = m ? 0 : ENOMEM;
    if (m) {
        m->bell = (struct handle){ .kind = HANDLE_MODULE, .fd = bell_fd };
        m->spec = spec;
        err = connect_module(mux, m, area_fd, error);
    } else {
        close(bell_fd);
        pm_spec_free(spec);
    }
    close(area_fd);
    if (err) {
        destroy(mux, m);
        return err;
    }
    mux_remove(mux, spec->name);
    m->next = mux->modules;
    mux->modules = m;
    mux->stats.modules++;
    err = rebuild_paths(mux);
    if (err) {
        mux_remove(mux, spec->name);
        return err;
    }
    mux_wake(mux, m); /* it may hold packets from before */
    return 0;
}

static void
unlink_active(struct mux *mux, const struct mux_module *m)
{
    for (struct mux_module **p = &mux->active; *p; p = &(*p)->next_active) {
        if (*p == m) {
            *p = m->next_active;
            return;
        }
    }
}

bool
mux_remove(struct mux *mux, const char *name)
{
    mux_publish(mux); /* empties the list of dirty modules */
    struct mux_module **p = &mux->modules;
    while (*p && strcmp((*p)->spec->name, name)) {
        p = &(*p)->next;
    }
    struct mux_module *m = *p;
    if (!m) {
        return false;
    }
    *p = m->next;
    unlink_active(mux, m);
    mux->stats.modules--;
    if (rebuild_paths(mux)) {
        for (uint32_t i = 0; i < mux->paths_room; i++) { /* no memory for a new table: let the old one lead nowhere */
            if (mux->paths[i].module == m) {
                mux->paths[i] = (struct path){ .spi = FS_SPI_MAX + 1 };
            }
        }
    }
    destroy(mux, m);
    return true;
}

/* Packets to a module. */

static void
put(struct mux *mux, struct mux_module *m, uint32_t port, const uint8_t *frame, uint32_t length)
{
    struct pm_slot *slot = m->dead ? NULL : pm_producer_slot(&m->rx);
    if (!slot) {
        mux->stats.ring_drops++;
        count(&m->area->tally.ring_drops, 1);
        return;
    }
    memcpy(slot->data, frame, length);
    pm_producer_advance(&m->rx, length, port);
    count(&m->area->tally.in, 1);
    count(&m->area->tally.bytes_in, length);
    if (!m->dirty) {
        m->dirty = true;
        m->next_dirty = mux->dirty;
        mux->dirty = m;
    }
}

bool
mux_deliver(struct mux *mux, uint32_t spi, const uint8_t *frame, uint32_t length)
{
    const struct path *p = find_path(mux, spi);
    if (p) {
        put(mux, p->module, p->port, frame, length);
    }
    return p != NULL;
}

void
mux_publish(struct mux *mux)
{
    while (mux->dirty) {
        struct mux_module *m = mux->dirty;
        mux->dirty = m->next_dirty;
        m->dirty = false;
        if (pm_producer_publish(&m->rx) && !m->dead) {
            (void) send(m->bell.fd, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
        }
    }
}

/* Packets from modules. */

void
mux_wake(struct mux *mux, struct mux_module *m)
{
    char rings[64];
    ssize_t n = recv(m->bell.fd, rings, sizeof rings, MSG_DONTWAIT);
    if ((n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) && !m->dead) {
        m->dead = true; /* its process ended, or closed its end: what is in the ring still goes out */
        epoll_ctl(mux->epoll, EPOLL_CTL_DEL, m->bell.fd, NULL);
    }
    if (!m->active) {
        m->active = true;
        m->next_active = mux->active;
        mux->active = m;
    }
}

/* The path that a packet takes out of a port that is connected. */
static uint32_t
choose_exit(const struct exit *exit, const uint8_t *frame, uint32_t length)
{
    return exit->spi[exit->n > 1 ? pm_spread_hash(frame, length) % exit->n : 0];
}

/* One packet of a module: length and port are its word, taken once. */
static void
send_on(struct mux *mux, struct mux_module *m, struct pm_slot *slot)
{
    uint32_t length = atomic_load_explicit(&slot->length, memory_order_relaxed);
    uint32_t port = atomic_load_explicit(&slot->port, memory_order_relaxed);
    if (length < PM_ETHERNET_HEADER || length > PM_FRAME_MAX || port >= FS_PORTS_MAX || !m->exits[port].n) {
        mux->stats.ring_faults++;
        return;
    }
    count(&m->area->tally.out, 1);
    count(&m->area->tally.bytes_out, length);
    uint32_t spi = choose_exit(&m->exits[port], slot->data, length);
    if (mux_deliver(mux, spi, slot->data, length)) {
        mux->stats.local_packets++;
    } else {
        mux_trunk_add(mux, spi, slot->data, length);
    }
}

/* A batch of one module; false: its ring is empty and it will ring. */
static bool
take_batch(struct mux *mux, struct mux_module *m)
{
    bool fault = false;
    uint32_t n = pm_consumer_count(&m->tx, &fault);
    mux->stats.ring_faults += fault;
    n = n < MUX_BATCH ? n : MUX_BATCH;
    for (uint32_t i = 0; i < n; i++) {
        send_on(mux, m, pm_consumer_slot(&m->tx, i));
    }
    mux_trunk_flush(mux); /* the frames are in the slots: before they are given back */
    pm_consumer_release(&m->tx, n);
    return n > 0 || !pm_consumer_sleep(&m->tx);
}

void
mux_forward(struct mux *mux)
{
    for (struct mux_module **p = &mux->active; *p;) {
        struct mux_module *m = *p;
        if (take_batch(mux, m)) {
            p = &m->next_active;
        } else {
            *p = m->next_active;
            m->active = false;
        }
    }
}

/* The life of a module behind its walls: packets from one ring, through the type, to the other ring; commands in between.
 *
 * One thread.  It sleeps in poll() when both its ring and its control socket are silent.  A configuration is replaced between two
 * batches: the new state is made first, and the old one goes only when that succeeded. */
#include "config.h"

#include "pm/module.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pm/channel.h"

enum { BATCH = 64, CALLERS_MAX = 16 };

/* What emit() needs to know; the type sees only 'public'. */
struct emitter {
    struct fs_emitter public;
    struct module *module;
    const struct fs_packet *batch;
    size_t n;
    bool passed[BATCH];
    uint64_t out, bytes_out, full;
};

static inline void
count(_Atomic uint64_t *counter, uint64_t n)
{
    /* This process is the only writer: no need of a locked instruction. */
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n, memory_order_relaxed);
}

static void
emit(struct fs_emitter *public, uint32_t port, const struct fs_packet *packet)
{
    struct emitter *e = (struct emitter *) public;
    if (port >= public->n_outputs || packet->length < PM_ETHERNET_HEADER || packet->length > PM_FRAME_MAX) {
        return;
    }
    struct pm_slot *slot = pm_producer_slot(&e->module->tx);
    if (!slot) {
        e->full++;
        return;
    }
    memcpy(slot->data, packet->data, packet->length);
    pm_producer_advance(&e->module->tx, packet->length, port);
    e->out++;
    e->bytes_out += packet->length;
    uintptr_t first = (uintptr_t) e->batch, it = (uintptr_t) packet;
    if (it >= first && it < first + e->n * sizeof *packet) {
        e->passed[(it - first) / sizeof *packet] = true;
    }
}

static void
ring_bell(int bell)
{
    (void) send(bell, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void
silence_bell(int bell)
{
    char rings[64];
    (void) recv(bell, rings, sizeof rings, MSG_DONTWAIT);
}

/* One batch; false where there was none. */
static bool
handle_packets(struct module *m)
{
    bool fault = false;
    uint32_t n = pm_consumer_count(&m->rx, &fault);
    if (n == 0) {
        return false;
    }
    n = n < BATCH ? n : BATCH;
    struct fs_packet packets[BATCH];
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < n; i++) {
        struct pm_slot *slot = pm_consumer_slot(&m->rx, i);
        packets[i] = (struct fs_packet){ .data = slot->data, .room = PM_FRAME_MAX,
                                         .length = atomic_load_explicit(&slot->length, memory_order_relaxed),
                                         .port = atomic_load_explicit(&slot->port, memory_order_relaxed) };
        bytes += packets[i].length;
    }
    struct emitter e = { .public = { .emit = emit, .n_outputs = m->n_outputs }, .module = m, .batch = packets, .n = n };
    m->type->process(m->state, packets, n, &e.public);
    pm_consumer_release(&m->rx, n);
    if (pm_producer_publish(&m->tx)) {
        ring_bell(m->bell);
    }

    uint64_t dropped = 0;
    for (uint32_t i = 0; i < n; i++) {
        dropped += !e.passed[i];
    }
    struct pm_claims *c = &m->area->claims;
    count(&c->in, n);
    count(&c->bytes_in, bytes);
    count(&c->out, e.out);
    count(&c->bytes_out, e.bytes_out);
    count(&c->dropped, dropped);
    count(&c->tx_full, e.full);
    return true;
}

static char *
print_counters(const struct pm_claims *c)
{
    char *text = NULL;
    return asprintf(&text,
                    "+in %" PRIu64 "\nbytes_in %" PRIu64 "\nout %" PRIu64 "\nbytes_out %" PRIu64 "\ndropped %" PRIu64
                    "\ntx_full %" PRIu64 "\n",
                    c->in, c->bytes_in, c->out, c->bytes_out, c->dropped, c->tx_full) < 0
               ? NULL
               : text;
}

/* An answer of 'sign' and 'text'; NULL: no memory. */
static char *
answer(char sign, const char *text)
{
    char *line = NULL;
    return asprintf(&line, "%c%s", sign, text) < 0 ? NULL : line;
}

static char *
configure(struct module *m, const char *args)
{
    char *why = NULL;
    void *fresh = m->type->configure(args, m->n_outputs, &why);
    char *reply;
    if (fresh) {
        m->type->destroy(m->state);
        m->state = fresh;
        reply = answer('+', "");
    } else {
        reply = answer('-', why ? why : "the type refuses these arguments");
    }
    free(why);
    return reply;
}

static char *
read_value(struct module *m, const char *name)
{
    char *value = m->type->read ? m->type->read(m->state, name) : NULL;
    char *reply;
    if (value) {
        reply = answer('+', value);
    } else if (asprintf(&reply, "-type %s has no value \"%s\" to read", m->type->name, name) < 0) {
        reply = NULL;
    }
    free(value);
    return reply;
}

static char *
write_value(struct module *m, char *name)
{
    char *why = NULL, *reply;
    char *value = strchr(name, ' ');
    if (value) {
        *value++ = '\0';
    }
    if (m->type->write && m->type->write(m->state, name, value ? value : "", &why) == 0) {
        reply = answer('+', "");
    } else if (why) {
        reply = answer('-', why);
    } else if (asprintf(&reply, "-type %s has no value \"%s\" to write", m->type->name, name) < 0) {
        reply = NULL;
    }
    free(why);
    return reply;
}

/* The words of the control socket.  A word that takes an argument ends with a blank. */
static char *
obey(struct module *m, char *command, bool *stop)
{
    if (!strncmp(command, "configure ", 10)) {
        return configure(m, command + 10);
    }
    if (!strcmp(command, "configure")) {
        return configure(m, "");
    }
    if (!strncmp(command, "read ", 5)) {
        return read_value(m, command + 5);
    }
    if (!strncmp(command, "write ", 6)) {
        return write_value(m, command + 6);
    }
    if (!strcmp(command, "counters")) {
        return print_counters(&m->area->claims);
    }
    if (!strcmp(command, "status")) {
        return answer('+', m->status);
    }
    if (!strcmp(command, "stop")) {
        *stop = true;
        return answer('+', "");
    }
    return answer('-', "unknown command: there are configure, counters, read, rings, status, stop, write");
}

/* One request of one caller; the answer is sent without waiting, a caller that does not listen misses it. */
static void
serve(struct module *m, int fd, struct pm_message *request, bool *stop)
{
    if (!strcmp(request->text, "rings")) {
        int fds[] = { m->area_fd, m->mux_bell };
        (void) pm_channel_send(fd, "+", 1, fds, 2);
        return;
    }
    char *reply = obey(m, request->text, stop);
    size_t length = reply ? strlen(reply) : 0;
    if (length > PM_MESSAGE_MAX) {
        length = PM_MESSAGE_MAX;
    }
    if (length) {
        (void) pm_channel_send(fd, reply, length, NULL, 0);
    }
    free(reply);
}

/* The callers that are connected: polls[2] on. */
struct callers {
    struct pollfd polls[2 + CALLERS_MAX];
    nfds_t n;
};

static void
accept_caller(struct callers *c, int control)
{
    int fd = accept4(control, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) {
        c->polls[c->n++] = (struct pollfd){ .fd = fd, .events = POLLIN };
    }
}

static void
hear_callers(struct module *m, struct callers *c, bool *stop)
{
    for (nfds_t i = 2; i < c->n && !*stop;) {
        struct pm_message request;
        int err = c->polls[i].revents ? pm_channel_receive(c->polls[i].fd, &request) : EAGAIN;
        if (err == EAGAIN) {
            i++;
            continue;
        }
        if (!err) {
            serve(m, c->polls[i].fd, &request, stop);
            pm_message_free(&request);
        }
        close(c->polls[i].fd);
        c->polls[i] = c->polls[--c->n];
    }
}

int
module_run(struct module *m)
{
    struct callers c = { .n = 2 };
    bool stop = false;
    while (!stop) {
        bool busy = handle_packets(m);
        bool sleeping = !busy && pm_consumer_sleep(&m->rx);
        c.polls[0] = (struct pollfd){ .fd = m->bell, .events = POLLIN };
        c.polls[1] = (struct pollfd){ .fd = c.n < 2 + CALLERS_MAX ? m->control : -1, .events = POLLIN };
        if (poll(c.polls, c.n, sleeping ? -1 : 0) < 0 && errno != EINTR) {
            fprintf(stderr, "poll: %s\n", strerror(errno));
            return 1;
        }
        if (c.polls[0].revents) {
            silence_bell(m->bell);
        }
        hear_callers(m, &c, &stop);
        if (c.polls[1].revents) {
            accept_caller(&c, m->control);
        }
    }
    for (nfds_t i = 2; i < c.n; i++) {
        close(c.polls[i].fd);
    }
    return 0;
}

/* The requests of the daemon to the multiplexer: "add" (the specification of a process follows, the descriptors of the rings come beside it), "remove PROCESS",
 * "counters MODULE", "tallies OFFSET", "flows MS POSITION MODULE", "processes", "faulty", "statistics", "stop".  One request a connection. */
#include "config.h"

#include "pm/mux.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pm/spec.h"

/* Bytes of a line about a module at most: names, and eight numbers of 20 digits. */
enum { TALLY_MAX = 512 };

void
mux_accept(struct mux *mux)
{
    int fd = accept4(mux->control.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        return;
    }
    struct handle *caller = mux->n_callers < MUX_CALLERS_MAX ? malloc(sizeof *caller) : NULL;
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = caller };
    if (caller) {
        *caller = (struct handle){ .kind = HANDLE_CALLER, .fd = fd };
    }
    if (!caller || epoll_ctl(mux->epoll, EPOLL_CTL_ADD, fd, &event)) {
        free(caller);
        close(fd);
        return;
    }
    mux->n_callers++;
}

static char *
add(struct mux *mux, struct pm_message *request)
{
    struct fs_process_spec *spec = NULL;
    char *why = NULL, *reply = NULL;
    int err = request->n_fds == 2 ? pm_process_parse(request->text + 4, &spec, &why) : EBADF;
    if (!err) {
        int area_fd = request->fds[0], bell_fd = request->fds[1];
        request->n_fds = 0; /* they are mux_add()'s now */
        err = mux_add(mux, spec, area_fd, bell_fd, &why);
    }
    if (!err) {
        return strdup("+");
    }
    if (asprintf(&reply, "-%s", why ? why : strerror(err)) < 0) {
        reply = NULL;
    }
    free(why);
    return reply;
}

static char *
print_statistics(struct mux *mux)
{
    mux_trunk_count_drops(mux);
    const struct fs_mux_stats *s = &mux->stats;
    struct pm_text t = { 0 };
    pm_text_add(&t, "+%" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64, s->rx_packets, s->rx_bytes,
                s->tx_packets, s->tx_bytes, s->local_packets, s->unknown_spi);
    pm_text_add(&t, " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64, s->malformed, s->tx_errors,
                s->ring_drops, s->ring_faults, s->kernel_drops, s->modules, s->rate_drops);
    return pm_text_take(&t);
}

/* "IN BYTES_IN OUT BYTES_OUT DROPPED RING_DROPS RATE_DROPS" */
static void
print_counts(const struct mux_module *m, struct pm_text *t)
{
    const struct pm_tally *c = &m->process->area->tally[m->member];
    const struct pm_claims *claims = &m->process->area->claims[m->member];
    pm_text_add(t, "%" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64, c->in + claims->inner_in, c->bytes_in + claims->inner_bytes_in,
                c->out + claims->inner_out, c->bytes_out + claims->inner_bytes_out);
    pm_text_add(t, " %" PRIu64 " %" PRIu64 " %" PRIu64, claims->dropped, c->ring_drops + claims->tx_full, c->rate_drops + claims->rate_drops);
}

static char *
print_counters(const struct mux *mux, const char *name)
{
    const struct mux_module *m = mux_find(mux, name);
    struct pm_text t = { 0 };
    if (!m) {
        pm_text_add(&t, "-module %s is not connected", name);
    } else {
        pm_text_add(&t, "+");
        print_counts(m, &t);
    }
    return pm_text_take(&t);
}

/* "NAME PROCESS TYPE OWNER LIVES COUNTS", see print_counts(). */
static void
print_tally(const struct mux_module *m, struct pm_text *t)
{
    pm_text_add(t, "%s %s %s %" PRIu64 " %d ", m->spec->name, m->process->spec->name, m->spec->type, m->spec->owner, !m->process->dead && !m->process->faulty);
    print_counts(m, t);
    pm_text_add(t, "\n");
}

/* As many as fit into a message, behind the number of all. */
static char *
print_tallies(const struct mux *mux, uint64_t offset)
{
    struct pm_text t = { 0 };
    uint64_t number = 0;
    pm_text_add(&t, "+%" PRIu64 "\n", mux->stats.modules);
    for (const struct mux_process *p = mux->processes; p; p = p->next) {
        for (size_t i = 0; i < p->spec->n_modules && t.length < PM_MESSAGE_MAX - TALLY_MAX; i++) {
            if (number++ >= offset) {
                print_tally(&p->modules[i], &t);
            }
        }
    }
    return pm_text_take(&t);
}

/* "flows MS POSITION NAME": count the flows of the module for so long from now on, and tell what there is from that position on; MS 0: count no longer. */
static char *
tell_flows(const struct mux *mux, const char *request)
{
    struct pm_text t = { 0 };
    int64_t ms;
    uint32_t position;
    int at = 0;
    struct mux_module *m = sscanf(request, "%" SCNd64 " %" SCNu32 " %n", &ms, &position, &at) == 2 && at ? mux_find(mux, request + at) : NULL;
    if (!m) {
        pm_text_add(&t, "-module %s is not connected", at ? request + at : request);
        return pm_text_take(&t);
    }
    m->flows = m->flows || ms <= 0 ? m->flows : flows_create();
    m->flows_until = pm_now() + ms;
    if (m->flows) {
        pm_text_add(&t, "+");
        flows_print(m->flows, position, PM_MESSAGE_MAX, &t);
    } else {
        pm_text_add(&t, ms > 0 ? "-no memory for the flows of module %s" : "+0 0 0 0 0\n", m->spec->name);
    }
    if (ms <= 0) {
        flows_destroy(m->flows);
        m->flows = NULL;
    }
    return pm_text_take(&t);
}

/* The names of all processes, or of those that are to be ended. */
static char *
print_processes(const struct mux *mux, bool faulty)
{
    struct pm_text t = { 0 };
    pm_text_add(&t, "+");
    for (const struct mux_process *p = mux->processes; p; p = p->next) {
        if (p->faulty || !faulty) {
            pm_text_add(&t, "%s\n", p->spec->name);
        }
    }
    return pm_text_take(&t);
}

static char *
obey(struct mux *mux, struct pm_message *request)
{
    const char *text = request->text;
    if (!strncmp(text, "add\n", 4)) {
        return add(mux, request);
    }
    if (!strncmp(text, "remove ", 7)) {
        mux_remove(mux, text + 7);
        return strdup("+");
    }
    if (!strncmp(text, "counters ", 9)) {
        return print_counters(mux, text + 9);
    }
    if (!strncmp(text, "flows ", 6)) {
        return tell_flows(mux, text + 6);
    }
    if (!strncmp(text, "tallies ", 8)) {
        return print_tallies(mux, strtoull(text + 8, NULL, 10));
    }
    if (!strcmp(text, "statistics")) {
        return print_statistics(mux);
    }
    if (!strcmp(text, "processes") || !strcmp(text, "faulty")) {
        return print_processes(mux, text[0] == 'f');
    }
    if (!strcmp(text, "stop")) {
        mux->stop = true;
        return strdup("+");
    }
    return strdup("-unknown request: there are add, counters, faulty, flows, processes, remove, statistics, stop, tallies");
}

void
mux_serve(struct mux *mux, struct handle *caller)
{
    struct pm_message request;
    mux_end_flows(mux); /* somebody asks every few seconds: statistics, at the least */
    int err = pm_channel_receive(caller->fd, &request);
    if (err == EAGAIN) {
        return;
    }
    if (!err) {
        char *reply = obey(mux, &request);
        size_t length = reply ? strlen(reply) : 0;
        (void) pm_channel_send(caller->fd, reply, length < PM_MESSAGE_MAX ? length : PM_MESSAGE_MAX, NULL, 0);
        free(reply);
        pm_message_free(&request);
    }
    close(caller->fd);
    free(caller);
    mux->n_callers--;
}

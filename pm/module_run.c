/* The life of a process of modules behind its walls: packets (module_packets.c), and commands in between.
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

enum { CALLERS_MAX = 16 };

static void
silence_bell(int bell)
{
    char rings[64];
    (void) recv(bell, rings, sizeof rings, MSG_DONTWAIT);
}

static char *
print_counters(const struct pm_claims *c)
{
    char *text = NULL;
    return asprintf(&text,
                    "+in %" PRIu64 "\nbytes_in %" PRIu64 "\nout %" PRIu64 "\nbytes_out %" PRIu64 "\ndropped %" PRIu64
                    "\ntx_full %" PRIu64 "\n",
                    c->in, c->bytes_in, c->out + c->inner_out, c->bytes_out + c->inner_bytes_out, c->dropped, c->tx_full) < 0
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
configure(struct member *m, const char *args)
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
read_value(struct member *m, const char *name)
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
write_value(struct member *m, char *name)
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

/* The words about one module.  A word that takes an argument ends with a blank. */
static char *
obey_for(struct process *p, struct member *m, char *command)
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
        return print_counters(&p->area->claims[m->index]);
    }
    if (!strcmp(command, "status")) {
        return answer('+', p->status);
    }
    return answer('-', "unknown command: there are configure, counters, read, status, write");
}

/* The words of the control socket: "for MODULE WORD", "rings" (see serve()), "stop". */
static char *
obey(struct process *p, char *command, bool *stop)
{
    if (!strcmp(command, "stop")) {
        *stop = true;
        return answer('+', "");
    }
    char *name = strncmp(command, "for ", 4) ? NULL : command + 4, *word = name ? strchr(name, ' ') : NULL;
    for (uint32_t i = 0; word && i < p->n_members; i++) {
        size_t length = (size_t) (word - name);
        if (strlen(p->members[i].spec->name) == length && !memcmp(p->members[i].spec->name, name, length)) {
            return obey_for(p, &p->members[i], word + 1);
        }
    }
    return answer('-', "no such module in this process, or an unknown command: there are for, rings, stop");
}

/* One request of one caller; the answer is sent without waiting, a caller that does not listen misses it. */
static void
serve(struct process *m, int fd, struct pm_message *request, bool *stop)
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
hear_callers(struct process *m, struct callers *c, bool *stop)
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
module_run(struct process *m)
{
    struct callers c = { .n = 2 };
    bool stop = false;
    while (!stop) {
        bool busy = packets_handle(m);
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

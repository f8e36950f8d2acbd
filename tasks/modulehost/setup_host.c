/* setup_host: the trunk between the bridge of this host and its multiplexer, and the multiplexer itself.
 *
 * Both ends of the trunk are a veth pair: one is a port of the bridge, the other is the multiplexer's.  Run at regular times; where all is there it changes
 * nothing, and what somebody took away, the trunk or its place in the bridge, is made again.  The first time that all is there the host registers itself. */
#include "config.h"

#include <fcntl.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <flowstream/failpoint.h>
#include <flowstream/log.h>
#include <flowstream/method.h>

#include "core/util.h"
#include "daemons/modulehost/modulehost.h"

FS_LOG_MODULE("setup");

enum { TOOL_MS = 5000, MUX_MS = 10000 };

static char *
run_tool(struct modulehost *m, bool in_netns, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *line = fs_xvasprintf(format, args); /* words without blanks: names were checked by the kernel's own rules */
    va_end(args);
    char *argv[24], *rest = NULL, *error = NULL;
    size_t n = 0;
    for (char *word = strtok_r(line, " ", &rest); word && n < 23; word = strtok_r(NULL, " ", &rest)) {
        argv[n++] = word;
    }
    argv[n] = NULL;
    modulehost_run(m, in_netns, TOOL_MS, argv, &error);
    free(line);
    return error;
}

/* Whether the other namespace has an interface, found out by a thread that moves there: a program for it, every few seconds on each of hundreds of hosts, would be
 * more work than all else. */
struct look {
    struct modulehost *host;
    bool there;
    bool listened_at; /* somebody has a socket at the trunk's end at the bridge: Open vSwitch, where the trunk is a port of its userspace datapath */
};

static bool
is_listened_at(unsigned interface)
{
    FILE *f = fopen("/proc/thread-self/net/packet", "re");
    char line[256];
    unsigned one;
    bool is = false;
    while (f && !is && fgets(line, sizeof line, f)) {
        is = sscanf(line, "%*s %*s %*s %*s %u", &one) == 1 && one == interface;
    }
    if (f) {
        fclose(f);
    }
    return is;
}

static void *
look(void *aux)
{
    struct look *l = aux;
    int fd = l->host->netns ? open(l->host->netns, O_RDONLY | O_CLOEXEC) : -1;
    if (!l->host->netns || (fd >= 0 && !setns(fd, CLONE_NEWNET))) {
        unsigned trunk = if_nametoindex(l->host->trunk);
        l->there = trunk && if_nametoindex(l->host->mux);
        l->listened_at = trunk && is_listened_at(trunk);
    }
    if (fd >= 0) {
        close(fd);
    }
    return NULL;
}

static struct look
look_at_trunk(struct modulehost *m)
{
    struct look l = { .host = m };
    pthread_t thread;
    if (pthread_create(&thread, NULL, look, &l)) {
        return (struct look) { m, true, true }; /* what a busy moment does not let us know is looked at again */
    }
    pthread_join(thread, NULL);
    return l;
}

/* Is the trunk a port of the bridge?  To ask costs the switch nothing, to add it again a look at all its ports. */
static bool
trunk_is_port(struct modulehost *m)
{
    char *error = run_tool(m, false, "ovs-vsctl --timeout=5 --db=%s port-to-br %s", m->ovsdb, m->trunk);
    free(error);
    return !error;
}

static char *
make_trunk(struct modulehost *m)
{
    /* The trunk carries the service header as well: more than what it must pass. */
    char *error = run_tool(m, true, "ip link add %s mtu %d type veth peer name %s mtu %d", m->trunk, m->mtu + 64, m->mux, m->mtu + 64);
    const char *const ends[] = { m->trunk, m->mux };
    for (size_t i = 0; i < 2 && !error; i++) {
        free(run_tool(m, true, "ip link set dev %s addrgenmode none", ends[i])); /* refused where IPv6 is off: just as well */
        error = run_tool(m, true, "ethtool -K %s tx off", ends[i]);
        error = error ? error : run_tool(m, true, "ip link set dev %s up", ends[i]);
    }
    if (error) {
        free(run_tool(m, true, "ip link delete dev %s", m->trunk)); /* half a trunk would pass for a whole one the next time */
    } else {
        fs_log_info("made the trunk %s - %s", m->trunk, m->mux);
    }
    return error;
}

/* Processes whose rings the multiplexer cannot believe. */
static char *
end_faulty(struct modulehost *m)
{
    char *ended = NULL, *error = NULL, *rest = NULL;
    fs_host_mend(&m->env, MUX_MS, &ended, &error);
    for (char *name = strtok_r(ended, "\n", &rest); name; name = strtok_r(NULL, "\n", &rest)) {
        fs_log_error("process %s was ended: its ring indexes cannot be, it is hostile or broken; its modules are dead until their allocation is deleted", name);
    }
    free(ended);
    return error;
}

static char *
set_up(struct modulehost *m)
{
    bool ready = __atomic_load_n(&m->ready, __ATOMIC_RELAXED);
    struct look trunk = look_at_trunk(m);
    char *error = trunk.there ? NULL : make_trunk(m);
    if (!error && !trunk.there) { /* a port that is kept would be the interface that is no more */
        free(run_tool(m, false, "ovs-vsctl --timeout=5 --db=%s --if-exists del-port %s %s", m->ovsdb, m->bridge, m->trunk));
    }
    if (!error && (!ready || !trunk.there || !trunk.listened_at) && !trunk_is_port(m)) {
        error = run_tool(m, false, "ovs-vsctl --timeout=5 --db=%s --may-exist add-port %s %s", m->ovsdb, m->bridge, m->trunk);
        if (!error && ready) {
            fs_log_warning("the trunk %s was no port of bridge %s any more: it is one again", m->trunk, m->bridge);
        }
    }
    if (FS_FAILPOINT_ERROR("recover.multiplexer") && !error) {
        error = fs_xstrdup("failpoint recover.multiplexer");
    }
    if (!error) {
        fs_mux_start(&m->env, MUX_MS, &error);
    }
    return error ? error : end_faulty(m);
}

static void
run(struct fs_call *call)
{
    struct modulehost *m = fs_call_state(call);
    pthread_mutex_lock(&m->setup);
    char *error = set_up(m);
    pthread_mutex_unlock(&m->setup);
    bool was_ready = __atomic_exchange_n(&m->ready, !error, __ATOMIC_RELAXED);
    if (error) {
        fs_call_fail(call, "host %s: %s", m->name, error);
    } else if (!was_ready) {
        struct fs_reply reply; /* now, not when its turn comes; where the resource daemon is away it is tried again then */
        fs_call_task(call, "register_host", fs_struct(), &reply);
        fs_reply_clear(&reply);
    }
    free(error);
}

FS_TASK = {
    FS_IS_TASK,
    .name = "setup_host",
    .help = "Makes the trunk between the bridge and the multiplexer and starts the multiplexer, where they are not there; registers the host when that has made it ready.",
    .params = { { "parameter", "any?", "not used" } },
    .returns = "nil",
    .idempotent = true,
    .run = run,
};

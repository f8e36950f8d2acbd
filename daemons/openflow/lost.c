/* A thread that notices when the connection to a switch ends, connects again as soon as somebody listens there, and has the resource daemon put the rules back at once.
 *
 * It costs nothing while nothing happens: one poll() that looks for ends alone, once a second anew for connections that others have opened meanwhile.  What it misses is seen
 * by the resource daemon's own look at each switch, every second. */
#include "config.h"

#include "daemons/openflow/lost.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/client.h"
#include "core/util.h"
#include <flowstream/log.h>

FS_LOG_MODULE("openflow");

enum { LOOK_MS = 1000, AGAIN_MS = 20, PROBE_MS = 100, GIVE_UP_MS = 30000, TELL_MS = 15000 };

struct lost {
    struct fs_daemon *daemon;
    struct switches *switches;
    pthread_t thread;
    int end; /* an eventfd */
    struct watched {
        char *name, *target;
        struct fs_switch *sw;
        int64_t since; /* when its connection was lost; 0: it was not */
    } *all;
    size_t n;
};

static void
add(void *aux, const char *name, const char *target, struct fs_switch *sw)
{
    struct lost *l = aux;
    for (size_t i = 0; i < l->n; i++) {
        if (l->all[i].sw == sw) {
            return;
        }
    }
    l->all = fs_xrealloc(l->all, (l->n + 1) * sizeof *l->all);
    l->all[l->n++] = (struct watched) { fs_xstrdup(name), fs_xstrdup(target), sw, 0 };
}

/* Is there one whose connection was lost? */
static bool
any_lost(const struct lost *l)
{
    for (size_t i = 0; i < l->n; i++) {
        if (l->all[i].since) {
            return true;
        }
    }
    return false;
}

/* Wait for an end of a connection; false: the daemon ends. */
static bool
wait_for_ends(struct lost *l)
{
    struct pollfd *p = fs_xcalloc(l->n + 1, sizeof *p);
    for (size_t i = 0; i < l->n; i++) {
        p[i] = (struct pollfd) { .fd = l->all[i].since ? -1 : fs_switch_descriptor(l->all[i].sw), .events = POLLRDHUP };
    }
    p[l->n] = (struct pollfd) { .fd = l->end, .events = POLLIN };
    poll(p, l->n + 1, any_lost(l) ? AGAIN_MS : LOOK_MS);
    for (size_t i = 0; i < l->n; i++) {
        if (p[i].revents & (POLLRDHUP | POLLHUP | POLLERR)) {
            l->all[i].since = fs_now_ms();
        }
    }
    bool goes_on = !p[l->n].revents;
    free(p);
    return goes_on;
}

/* Those of the lost that can be reached again, as [{switch}]. */
static xmlrpc_value *
found_again(struct lost *l)
{
    xmlrpc_value *found = fs_array();
    for (size_t i = 0; i < l->n; i++) {
        struct watched *w = &l->all[i];
        struct fs_switch_info info;
        if (w->since && !fs_switch_probe(w->sw, PROBE_MS, &info, NULL)) {
            fs_log_info("switch %s at %s is connected again after %lld ms", w->name, w->target, (long long) (fs_now_ms() - w->since));
            fs_append(found, fs_set(fs_struct(), "switch", fs_string(w->name)));
            w->since = 0;
        } else if (w->since && fs_now_ms() - w->since > GIVE_UP_MS) {
            w->since = 0; /* whoever needs it connects */
        }
    }
    return found;
}

static void
tell(struct lost *l, xmlrpc_value *found)
{
    struct fs_peer *resource = fs_daemon_peer(l->daemon, "resource");
    if (resource && fs_size(found)) {
        xmlrpc_value *params = fs_append(fs_append(fs_array(), fs_string("prepare_platform")), fs_set(fs_struct(), "switches", fs_copy(found)));
        struct fs_reply reply;
        if (fs_peer_call(resource, "run_task", fs_append(params, fs_set(fs_struct(), "priority", fs_string("high"))), TELL_MS, NULL, &reply)) {
            fs_log_info("the resource daemon was not told of it, and will see it by itself: %s", reply.message);
        }
        fs_reply_clear(&reply);
    }
    fs_free(found);
}

static void *
watch(void *aux)
{
    struct lost *l = aux;
    do {
        switches_each(l->switches, add, l);
        if (any_lost(l)) {
            tell(l, found_again(l));
        }
    } while (wait_for_ends(l));
    return NULL;
}

struct lost *
lost_start(struct fs_daemon *daemon, struct switches *s)
{
    struct lost *l = fs_xcalloc(1, sizeof *l);
    l->daemon = daemon;
    l->switches = s;
    l->end = eventfd(0, EFD_CLOEXEC);
    if (l->end < 0 || pthread_create(&l->thread, NULL, watch, l)) {
        fs_log_warning("connections to switches are not watched: rules that a switch has lost are put back a second later");
        if (l->end >= 0) {
            close(l->end);
        }
        free(l);
        return NULL;
    }
    return l;
}

void
lost_stop(struct lost *l)
{
    if (l) {
        (void) !write(l->end, &(uint64_t) { 1 }, sizeof(uint64_t));
        pthread_join(l->thread, NULL);
        close(l->end);
        for (size_t i = 0; i < l->n; i++) {
            free(l->all[i].name);
            free(l->all[i].target);
        }
        free(l->all);
        free(l);
    }
}

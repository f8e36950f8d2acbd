/* A thread that notices at once what nobody has asked for, and has the resource daemon look at that switch.
 *
 * Where the connection to a switch ends it connects again as soon as somebody listens there: its rules have to be put back.  Where a switch tells that its rules or meters have changed, and
 * we have just changed nothing, somebody else has.
 *
 * It costs nothing while nothing happens: one poll(), once a second anew for connections that others have opened meanwhile.  What it misses is seen by the resource daemon's own look
 * at each switch, every second. */
#include "config.h"

#include "daemons/openflow/news.h"

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

enum { LOOK_MS = 1000, AGAIN_MS = 20, PROBE_MS = 100, GIVE_UP_MS = 30000, TELL_MS = 15000, TELL_BRIEFLY_MS = 2000, QUIET_MS = 300, PAUSE_MS = 50 };

struct news {
    struct fs_daemon *daemon;
    struct switches *switches;
    pthread_t thread;
    int end; /* an eventfd */
    struct watched {
        struct switches_one one;
        int64_t lost;   /* when its connection was; 0: it was not */
        uint64_t state; /* what it had told when that was last looked at */
        int64_t told;   /* when the resource daemon was last told of it */
    } *all;
    size_t n;
};

static void
add(void *aux, const struct switches_one *one)
{
    struct news *n = aux;
    for (size_t i = 0; i < n->n; i++) {
        if (n->all[i].one.sw == one->sw) {
            return;
        }
    }
    n->all = fs_xrealloc(n->all, (n->n + 1) * sizeof *n->all);
    n->all[n->n++] = (struct watched) { .one = *one };
}

/* Is there one whose connection was lost? */
static bool
any_lost(const struct news *n)
{
    for (size_t i = 0; i < n->n; i++) {
        if (n->all[i].lost) {
            return true;
        }
    }
    return false;
}

/* --- Telling the resource daemon --- */

static void
tell(struct news *n, const char *task, xmlrpc_value *param /* taken */, int ms)
{
    struct fs_peer *resource = fs_daemon_peer(n->daemon, "resource");
    xmlrpc_value *params = fs_append(fs_append(fs_array(), fs_string(task)), param);
    struct fs_reply reply = { 0 };
    if (resource && fs_peer_call(resource, "run_task", fs_append(params, fs_set(fs_struct(), "priority", fs_string("high"))), ms, NULL, &reply)) {
        fs_log_info("the resource daemon was not told, and will see it by itself: %s", reply.message);
    }
    if (!resource) {
        fs_free(params);
    }
    fs_reply_clear(&reply);
}

/* Those of the lost that can be reached again. */
static void
tell_found(struct news *n)
{
    xmlrpc_value *found = fs_array();
    for (size_t i = 0; i < n->n; i++) {
        struct watched *w = &n->all[i];
        struct fs_switch_info info;
        if (w->lost && !fs_switch_probe(w->one.sw, PROBE_MS, &info, NULL)) {
            fs_log_info("switch %s at %s is connected again after %lld ms", w->one.name, w->one.target, (long long) (fs_now_ms() - w->lost));
            fs_append(found, fs_set(fs_struct(), "switch", fs_string(w->one.name)));
            w->lost = 0;
        } else if (w->lost && fs_now_ms() - w->lost > GIVE_UP_MS) {
            w->lost = 0; /* whoever needs it connects */
        }
    }
    if (fs_size(found)) {
        tell(n, "prepare_platform", fs_set(fs_struct(), "switches", found), TELL_MS);
    } else {
        fs_free(found);
    }
}

/* The switch has told something: was it somebody else?  What comes right after a change of ours is taken for ours, and who changes something a thousand times a second is not told
 * of each time: the resource daemon looks by itself every second. */
static void
hear(struct news *n, struct watched *w)
{
    uint64_t state = fs_follow_state(w->one.follow, true);
    bool changed = state && w->state && state != w->state;
    w->state = state ? state : w->state;
    if (changed && fs_switch_quiet(w->one.sw) > QUIET_MS && fs_now_ms() - w->told > PAUSE_MS) {
        w->told = fs_now_ms();
        fs_log_limited(FS_LOG_INFO, "somebody has changed rules or meters of ours in switch %s", w->one.name);
        tell(n, "reconcile_switches", fs_set(fs_struct(), "switch", fs_string(w->one.name)), TELL_BRIEFLY_MS);
    }
}

/* --- The thread --- */

/* Wait for something to happen, and look at what the switches have told; false: the daemon ends. */
static bool
wait_for_news(struct news *n)
{
    struct pollfd *p = fs_xcalloc(2 * n->n + 1, sizeof *p);
    bool soon = any_lost(n);
    for (size_t i = 0; i < n->n; i++) {
        p[2 * i] = (struct pollfd) { .fd = -1, .events = POLLRDHUP };
        p[2 * i + 1] = (struct pollfd) { .fd = -1, .events = POLLIN };
        bool there = n->all[i].lost || fs_switch_descriptor(n->all[i].one.sw, &p[2 * i].fd);
        soon = !fs_follow_descriptor(n->all[i].one.follow, &p[2 * i + 1].fd) || !there || soon; /* some are in use now */
    }
    p[2 * n->n] = (struct pollfd) { .fd = n->end, .events = POLLIN };
    poll(p, 2 * n->n + 1, soon ? AGAIN_MS : LOOK_MS);
    for (size_t i = 0; i < n->n; i++) {
        if (p[2 * i].revents & (POLLRDHUP | POLLHUP | POLLERR)) {
            n->all[i].lost = fs_now_ms();
        }
        if (p[2 * i + 1].revents) {
            hear(n, &n->all[i]);
        }
    }
    bool goes_on = !p[2 * n->n].revents;
    free(p);
    return goes_on;
}

static void *
watch(void *aux)
{
    struct news *n = aux;
    do {
        switches_each(n->switches, add, n);
        if (any_lost(n)) {
            tell_found(n);
        }
    } while (wait_for_news(n));
    return NULL;
}

struct news *
news_start(struct fs_daemon *daemon, struct switches *s)
{
    struct news *n = fs_xcalloc(1, sizeof *n);
    n->daemon = daemon;
    n->switches = s;
    n->end = eventfd(0, EFD_CLOEXEC);
    if (n->end < 0 || pthread_create(&n->thread, NULL, watch, n)) {
        fs_log_warning("switches are not watched: rules that one has lost are put back a second later");
        if (n->end >= 0) {
            close(n->end);
        }
        free(n);
        return NULL;
    }
    return n;
}

void
news_stop(struct news *n)
{
    if (n) {
        (void) !write(n->end, &(uint64_t) { 1 }, sizeof(uint64_t));
        pthread_join(n->thread, NULL);
        close(n->end);
        free(n->all);
        free(n);
    }
}

/* Who is not there: hosts that get no modules and switches that cannot be reached, for those who read a plan or a refusal. */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "core/util.h"
#include "daemons/resource/state.h"

enum { TELL = 8, LOST_AFTER_MS = 10000 };

void
resource_note_reached(struct resource *r, const char *name, bool reached)
{
    pthread_mutex_lock(&r->lock);
    if (reached && fs_get_double(r->away, name, 0) > 0) {
        fs_set(r->away, name, fs_double(0));
    } else if (!reached && !(fs_get_double(r->away, name, 0) > 0)) {
        fs_set(r->away, name, fs_double((double) fs_now_ms()));
    }
    pthread_mutex_unlock(&r->lock);
}

/* Seconds since then, 1 at least: what was noticed just now is not "since 0 s". */
static int
seconds_since(double ms)
{
    int s = (int) (((double) fs_now_ms() - ms) / 1e3 + 0.5);
    return s < 1 ? 1 : s;
}

char *
resource_switch_away(struct resource *r, const char *name)
{
    pthread_mutex_lock(&r->lock);
    double since = fs_get_double(r->away, name, 0);
    pthread_mutex_unlock(&r->lock);
    return since > 0 ? fs_xasprintf("switch %s is not connected since %d s", name, seconds_since(since)) : NULL;
}

bool
resource_switch_is_lost(struct resource *r, const char *name)
{
    pthread_mutex_lock(&r->lock);
    double since = fs_get_double(r->away, name, 0);
    pthread_mutex_unlock(&r->lock);
    return since > 0 && (double) fs_now_ms() - since > LOST_AFTER_MS;
}

/* Why a host gets no modules, or NULL; with the lock held. */
static char *
why_not(struct resource *r, const char *name)
{
    const struct host *h = r->hosts;
    while (h && strcmp(h->name, name)) {
        h = h->next;
    }
    if (!h || h->removed) {
        return fs_xasprintf("host %s %s: not considered", name, h ? "was removed" : "has not registered");
    }
    const char *state = resource_host_state(h);
    return !strcmp(state, "silent") && !h->last_seen ? fs_xasprintf("host %s has not been heard of since this daemon started: not considered", name)
           : !strcmp(state, "silent")                ? fs_xasprintf("host %s is silent since %d s: not considered", name, seconds_since((double) h->last_seen))
           : !strcmp(state, "preparing")             ? fs_xasprintf("host %s has not got the base rules of its bridge yet: not considered", name)
           : h->draining                             ? fs_xasprintf("host %s is being drained: not considered", name)
                                                     : NULL;
}

static xmlrpc_value *
shortened(xmlrpc_value *all /* taken */)
{
    if (fs_size(all) <= TELL) {
        return all;
    }
    xmlrpc_value *some = fs_array();
    for (size_t i = 0; i + 1 < TELL; i++) {
        fs_append(some, fs_copy(fs_item(all, i)));
    }
    fs_append(some, fs_stringf("and %zu more hosts or switches are not there: list_hosts and get_drift tell which", fs_size(all) - fs_size(some)));
    fs_free(all);
    return some;
}

xmlrpc_value *
resource_absent(struct resource *r)
{
    xmlrpc_value *all = fs_array();
    pthread_mutex_lock(&r->lock);
    for (int n = 0; n < r->platform->n_nodes; n++) {
        char *why = r->platform->nodes[n].kind == FS_NODE_SERVER ? why_not(r, r->platform->nodes[n].id) : NULL;
        if (why) {
            fs_append(all, fs_string(why));
        }
        free(why);
    }
    pthread_mutex_unlock(&r->lock);
    xmlrpc_value *switches = resource_switches(r);
    for (size_t i = 0; i < fs_size(switches); i++) {
        char *why = resource_switch_away(r, fs_get_string(fs_item(switches, i), "name", ""));
        if (why) {
            fs_append(all, fs_string(why));
        }
        free(why);
    }
    fs_free(switches);
    return shortened(all);
}

/* The newest sample of the whole platform, and rates from the one before.
 *
 * A sample is {daemons [{daemon, host, up, problem, ...}], switches [...], hosts [...], trunks [...], modules [...], allocations [...]}. */
#include "config.h"

#include "daemons/monitoring/monitor.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/util.h"

struct monitor {
    pthread_mutex_t lock;
    xmlrpc_value *sample;
    int64_t taken;
};

void *
monitor_start(struct fs_daemon *daemon, const struct fs_settings *settings, char **error)
{
    (void) daemon;
    (void) settings;
    (void) error;
    struct monitor *m = fs_xcalloc(1, sizeof *m);
    pthread_mutex_init(&m->lock, NULL);
    m->sample = fs_struct();
    m->taken = fs_now_ms();
    return m;
}

void
monitor_stop(void *state)
{
    struct monitor *m = state;
    fs_free(m->sample);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

static const xmlrpc_value *
module_named(const xmlrpc_value *modules, const char *host, const char *name)
{
    for (size_t i = 0; i < fs_size(modules); i++) {
        const xmlrpc_value *m = fs_item(modules, i);
        if (!strcmp(fs_get_string(m, "name", ""), name) && !strcmp(fs_get_string(m, "host", ""), host)) {
            return m;
        }
    }
    return NULL;
}

/* Packets and bits a second since the sample before. */
static void
add_rates(const xmlrpc_value *now, const xmlrpc_value *before, double seconds)
{
    const xmlrpc_value *modules = fs_get(now, "modules"), *old = fs_get(before, "modules");
    for (size_t i = 0; i < fs_size(modules); i++) {
        xmlrpc_value *m = fs_item(modules, i);
        const xmlrpc_value *o = module_named(old, fs_get_string(m, "host", ""), fs_get_string(m, "name", ""));
        double packets = o ? fs_get_double(m, "in", 0) - fs_get_double(o, "in", 0) : 0;
        double bytes = o ? fs_get_double(m, "bytes", 0) - fs_get_double(o, "bytes", 0) : 0;
        fs_set(m, "packets_per_second", fs_double(packets > 0 && seconds > 0 ? packets / seconds : 0));
        fs_set(m, "bits_per_second", fs_double(bytes > 0 && seconds > 0 ? bytes * 8 / seconds : 0));
    }
}

void
monitor_put(struct monitor *m, xmlrpc_value *sample)
{
    int64_t now = fs_now_ms();
    pthread_mutex_lock(&m->lock);
    add_rates(sample, m->sample, (double) (now - m->taken) / 1e3);
    fs_free(m->sample);
    m->sample = sample;
    m->taken = now;
    pthread_mutex_unlock(&m->lock);
}

xmlrpc_value *
monitor_get(struct monitor *m)
{
    pthread_mutex_lock(&m->lock);
    xmlrpc_value *v = fs_copy(m->sample);
    fs_set(v, "age", fs_double((double) (fs_now_ms() - m->taken) / 1e3));
    pthread_mutex_unlock(&m->lock);
    return v;
}

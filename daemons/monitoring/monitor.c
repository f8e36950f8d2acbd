/* The newest sample of the whole platform, and rates from the one before.
 *
 * A sample is {daemons [{daemon, host, up, problem, ...}], switches [...], hosts [...], trunks [...], modules [...], allocations [...]}. */
#include "config.h"

#include "daemons/monitoring/monitor.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/util.h"

/* The modules of a sample in the order of owner, host, name: found without looking at all. */
struct row {
    int owner;
    const char *host, *name; /* the value's own */
    xmlrpc_value *value;
};

struct monitor {
    pthread_mutex_t lock;
    xmlrpc_value *sample;
    struct row *rows; /* n_rows, into the sample */
    size_t n_rows;
    int64_t taken, rests_until;
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
    free(m->rows);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

static int
compare(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    int order = (x->owner > y->owner) - (x->owner < y->owner);
    order = order ? order : strcmp(x->host, y->host);
    return order ? order : strcmp(x->name, y->name);
}

static struct row
row_of(xmlrpc_value *module)
{
    return (struct row) { fs_get_int(module, "owner", -1), fs_get_string(module, "host", ""), fs_get_string(module, "name", ""), module };
}

static struct row *
sort_modules(const xmlrpc_value *sample, size_t *n)
{
    const xmlrpc_value *modules = fs_get(sample, "modules");
    *n = fs_size(modules);
    struct row *rows = fs_xcalloc(*n + 1, sizeof *rows);
    for (size_t i = 0; i < *n; i++) {
        rows[i] = row_of(fs_item(modules, i));
    }
    qsort(rows, *n, sizeof *rows, compare);
    return rows;
}

/* Packets and bits a second since the sample before. */
static void
add_rates(const struct row *rows, size_t n, const struct monitor *before, double seconds)
{
    for (size_t i = 0; i < n; i++) {
        xmlrpc_value *m = rows[i].value;
        const struct row *row = before->n_rows ? bsearch(&rows[i], before->rows, before->n_rows, sizeof *rows, compare) : NULL;
        const xmlrpc_value *o = row ? row->value : NULL;
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
    size_t n;
    struct row *rows = sort_modules(sample, &n);
    pthread_mutex_lock(&m->lock);
    add_rates(rows, n, m, (double) (now - m->taken) / 1e3);
    fs_free(m->sample);
    free(m->rows);
    m->sample = sample;
    m->rows = rows;
    m->n_rows = n;
    m->taken = now;
    pthread_mutex_unlock(&m->lock);
}

xmlrpc_value *
monitor_modules(struct monitor *m, int owner)
{
    xmlrpc_value *modules = fs_array();
    pthread_mutex_lock(&m->lock);
    size_t low = 0, high = owner < 0 ? 0 : m->n_rows;
    while (low < high) { /* the first of this owner */
        size_t middle = low + (high - low) / 2;
        if (m->rows[middle].owner < owner) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    for (size_t i = low; i < m->n_rows && (owner < 0 || m->rows[i].owner == owner); i++) {
        fs_append(modules, fs_copy(m->rows[i].value));
    }
    pthread_mutex_unlock(&m->lock);
    return modules;
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

void
monitor_rest_until(struct monitor *m, int64_t until)
{
    __atomic_store_n(&m->rests_until, until, __ATOMIC_RELAXED);
}

int64_t
monitor_rests_until(struct monitor *m)
{
    return __atomic_load_n(&m->rests_until, __ATOMIC_RELAXED);
}

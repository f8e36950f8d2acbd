/* Lists of allocations: ids, and a few words about each.  None of these is asked for at regular times, but the unsettled ones and the summaries, which do not go through all. */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "core/util.h"
#include "daemons/resource/reconcile.h"
#include "daemons/resource/state.h"

struct ids {
    int *list;
    size_t n, room;
};

static void
add_id(struct ids *ids, int id)
{
    if (ids->n == ids->room) {
        ids->room = ids->room * 2 + 16;
        ids->list = fs_xrealloc(ids->list, ids->room * sizeof *ids->list);
    }
    ids->list[ids->n++] = id;
}

int *
resource_allocation_ids_after(struct resource *r, int after, size_t most, size_t *n)
{
    struct ids ids = { 0 };
    pthread_mutex_lock(&r->lock);
    const struct allocation *a = after > 0 ? resource_find_entering(r, after) : NULL;
    for (a = a ? a->next : r->allocations; a && ids.n < most; a = a->next) {
        if (!a->entering && a->id > after) {
            add_id(&ids, a->id);
        }
    }
    pthread_mutex_unlock(&r->lock);
    *n = ids.n;
    return ids.list;
}

int *
resource_allocation_ids(struct resource *r, size_t *n)
{
    return resource_allocation_ids_after(r, 0, SIZE_MAX, n);
}

int *
resource_unsettled_ids(struct resource *r, size_t *n)
{
    struct ids ids = { 0 };
    pthread_mutex_lock(&r->lock);
    for (struct allocation *a = r->restless, *next; a; a = next) {
        next = a->next_restless;
        if (!a->entering && !resource_is_busy(r, a) && !resource_is_installed(a)) {
            add_id(&ids, a->id);
        }
        resource_index_rest(r, a);
    }
    pthread_mutex_unlock(&r->lock);
    if (ids.n) {
        qsort(ids.list, ids.n, sizeof *ids.list, resource_by_id);
    }
    *n = ids.n;
    return ids.list;
}

static xmlrpc_value *
summary(const struct allocation *a)
{
    struct fs_packed doc = resource_doc(a);
    xmlrpc_value *v = fs_set(fs_struct(), "allocation", fs_stringf("%d", a->id));
    fs_set(v, "name", fs_string(fs_packed_get_string(doc, "name", "")));
    fs_set(v, "state", fs_string(a->state));
    return fs_set(v, "modules", fs_int((int) fs_packed_count(fs_packed_get(fs_packed_get(doc, "plan"), "modules"))));
}

xmlrpc_value *
resource_summaries(struct resource *r, size_t most)
{
    xmlrpc_value *all = fs_array();
    size_t n = 0;
    pthread_mutex_lock(&r->lock);
    for (const struct allocation *a = r->restless; a && n < most; a = a->next_restless) {
        if (!a->entering) {
            fs_append(all, summary(a));
            n++;
        }
    }
    for (const struct allocation *a = r->last_allocation; a && n < most; a = a->previous) {
        if (!a->restless_link) {
            fs_append(all, summary(a));
            n++;
        }
    }
    pthread_mutex_unlock(&r->lock);
    return all;
}

xmlrpc_value *
resource_states(struct resource *r)
{
    static const char *const states[] = { "installed", "installing", "deleting", "restoring" };
    enum { N = sizeof states / sizeof *states };
    size_t numbers[N] = { 0 };
    pthread_mutex_lock(&r->lock);
    numbers[0] = r->n_allocations;
    for (const struct allocation *a = r->restless; a; a = a->next_restless) {
        for (size_t i = 1; i < N; i++) {
            bool is = !strcmp(a->state, states[i]);
            numbers[i] += is;
            numbers[0] -= is;
        }
    }
    pthread_mutex_unlock(&r->lock);
    xmlrpc_value *all = fs_array();
    for (size_t i = 0; i < N; i++) {
        fs_append(all, fs_set(fs_set(fs_struct(), "state", fs_string(states[i])), "number", fs_int((int) numbers[i])));
    }
    return all;
}

/* Each host of the modules once. */
static xmlrpc_value *
hosts_of(struct fs_packed modules)
{
    xmlrpc_value *hosts = fs_array();
    struct fs_packed m = { 0 };
    for (struct fs_packed_items i = fs_packed_items(modules); fs_packed_next(&i, &m);) {
        const char *host = fs_packed_get_string(m, "host", "");
        size_t k = 0, n = fs_size(hosts);
        while (k < n && strcmp(fs_text(fs_item(hosts, k), ""), host)) {
            k++;
        }
        if (k == n) {
            fs_append(hosts, fs_string(host));
        }
    }
    return hosts;
}

xmlrpc_value *
resource_brief(struct resource *r, int id)
{
    static const char *const members[] = { "id", "name", "owner", "state", "message", "created" };
    xmlrpc_value *v = NULL;
    pthread_mutex_lock(&r->lock);
    const struct allocation *a = resource_find(r, id);
    if (a) {
        struct fs_packed doc = resource_doc(a);
        v = fs_struct();
        for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
            fs_set(v, members[i], fs_packed_value(fs_packed_get(doc, members[i])));
        }
        fs_set(v, "kind", fs_string(fs_packed_get_string(fs_packed_get(doc, "request"), "kind", "request")));
        struct fs_packed modules = fs_packed_get(fs_packed_get(doc, "plan"), "modules");
        fs_set(fs_set(v, "hosts", hosts_of(modules)), "module_count", fs_int((int) fs_packed_count(modules)));
    }
    pthread_mutex_unlock(&r->lock);
    return v;
}

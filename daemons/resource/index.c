/* How an allocation is found without looking at all: by id, by key, and how many modules each host has.  All with the lock of the daemon's state held.
 *
 * The allocations are also a list, in the order of their ids: new ones have the highest, so they are looked for from its end. */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "core/util.h"
#include "daemons/resource/state.h"

enum { BUCKETS_MIN = 64, HOST_BUCKETS = 256 };

struct host_count {
    char *name;
    size_t n;
    struct host_count *next;
};

struct fs_index {
    struct allocation **by_id, **by_key; /* n_buckets each, a power of two */
    size_t n_buckets, n;
    struct host_count *hosts[HOST_BUCKETS];
    int *extending; /* ids of allocations that connect ports of others' modules, in no order */
    size_t n_extending;
};

static size_t
hash(const char *text)
{
    uint32_t h = 2166136261u; /* FNV-1a */
    for (const char *p = text; *p; p++) {
        h = (h ^ (unsigned char) *p) * 16777619u;
    }
    return h;
}

struct fs_index *
resource_index_create(void)
{
    struct fs_index *x = fs_xcalloc(1, sizeof *x);
    x->n_buckets = BUCKETS_MIN;
    x->by_id = fs_xcalloc(x->n_buckets, sizeof *x->by_id);
    x->by_key = fs_xcalloc(x->n_buckets, sizeof *x->by_key);
    return x;
}

void
resource_index_destroy(struct fs_index *x)
{
    for (size_t i = 0; x && i < HOST_BUCKETS; i++) {
        for (struct host_count *h = x->hosts[i], *next; h; h = next) {
            next = h->next;
            free(h->name);
            free(h);
        }
    }
    if (x) {
        free(x->by_id);
        free(x->by_key);
        free(x->extending);
        free(x);
    }
}

static struct allocation **
id_bucket(const struct fs_index *x, int id)
{
    return &x->by_id[(uint32_t) id * 2654435769u & (x->n_buckets - 1)];
}

static struct allocation **
key_bucket(const struct fs_index *x, const struct allocation *a)
{
    return &x->by_key[hash(fs_get_string(a->doc, "key", "")) & (x->n_buckets - 1)];
}

static void
put_into_buckets(struct fs_index *x, struct allocation *a)
{
    struct allocation **id = id_bucket(x, a->id), **key = key_bucket(x, a);
    a->same_id_bucket = *id;
    *id = a;
    a->same_key_bucket = *key;
    *key = a;
}

static void
grow(struct resource *r)
{
    struct fs_index *x = r->index;
    free(x->by_id);
    free(x->by_key);
    x->n_buckets *= 2;
    x->by_id = fs_xcalloc(x->n_buckets, sizeof *x->by_id);
    x->by_key = fs_xcalloc(x->n_buckets, sizeof *x->by_key);
    for (struct allocation *a = r->allocations; a; a = a->next) {
        put_into_buckets(x, a);
    }
}

void
resource_index_add(struct resource *r, struct allocation *a)
{
    struct allocation *before = r->last_allocation;
    while (before && before->id > a->id) {
        before = before->previous;
    }
    a->previous = before;
    a->next = before ? before->next : r->allocations;
    *(before ? &before->next : &r->allocations) = a;
    *(a->next ? &a->next->previous : &r->last_allocation) = a;
    put_into_buckets(r->index, a);
    if (++r->index->n > r->index->n_buckets) {
        grow(r);
    }
    resource_count_modules(r, a->doc, 1);
}

void
resource_index_remove(struct resource *r, struct allocation *a)
{
    struct allocation **id = id_bucket(r->index, a->id), **key = key_bucket(r->index, a);
    while (*id != a) {
        id = &(*id)->same_id_bucket;
    }
    *id = a->same_id_bucket;
    while (*key != a) {
        key = &(*key)->same_key_bucket;
    }
    *key = a->same_key_bucket;
    *(a->previous ? &a->previous->next : &r->allocations) = a->next;
    *(a->next ? &a->next->previous : &r->last_allocation) = a->previous;
    r->index->n--;
    resource_count_modules(r, a->doc, -1);
}

struct allocation *
resource_find(struct resource *r, int id)
{
    struct allocation *a = *id_bucket(r->index, id);
    while (a && a->id != id) {
        a = a->same_id_bucket;
    }
    return a;
}

struct allocation *
resource_find_key(struct resource *r, const char *key)
{
    struct allocation *a = *key ? r->index->by_key[hash(key) & (r->index->n_buckets - 1)] : NULL;
    while (a && strcmp(fs_get_string(a->doc, "key", ""), key)) {
        a = a->same_key_bucket;
    }
    return a;
}

static struct host_count *
count_of(struct fs_index *x, const char *host, bool make)
{
    struct host_count **p = &x->hosts[hash(host) % HOST_BUCKETS];
    while (*p && strcmp((*p)->name, host)) {
        p = &(*p)->next;
    }
    if (!*p && make) {
        *p = fs_xcalloc(1, sizeof **p);
        (*p)->name = fs_xstrdup(host);
    }
    return *p;
}

static void
note_extending(struct fs_index *x, int id, int by)
{
    size_t i = 0;
    while (i < x->n_extending && x->extending[i] != id) {
        i++;
    }
    if (by < 0 && i < x->n_extending) {
        x->extending[i] = x->extending[--x->n_extending];
    } else if (by > 0 && i == x->n_extending) {
        x->extending = fs_xrealloc(x->extending, (x->n_extending + 1) * sizeof *x->extending);
        x->extending[x->n_extending++] = id;
    }
}

void
resource_count_modules(struct resource *r, const xmlrpc_value *doc, int by)
{
    const xmlrpc_value *modules = fs_get(fs_get(doc, "plan"), "modules");
    bool extends = false;
    for (size_t i = 0, n = fs_size(modules); i < n; i++) {
        count_of(r->index, fs_get_string(fs_item(modules, i), "host", ""), true)->n += (size_t) by;
        extends = extends || fs_get_bool(fs_item(modules, i), "existing", false);
    }
    if (extends) {
        note_extending(r->index, fs_get_int(doc, "id", 0), by);
    }
}

const int *
resource_extending(struct resource *r, size_t *n)
{
    *n = r->index->n_extending;
    return r->index->extending;
}

size_t
resource_modules_on(struct resource *r, const char *host)
{
    const struct host_count *h = count_of(r->index, host, false);
    return h ? h->n : 0;
}

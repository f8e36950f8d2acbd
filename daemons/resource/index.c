/* How allocations are found without looking at all: by id, by key, by the hosts and switches that they use; those that are made by hand, and those that are not at rest.  All
 * with the lock of the daemon's state held.
 *
 * The allocations are also a list, in the order of their ids: new ones have the highest, so they are looked for from its end. */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "core/util.h"
#include "daemons/resource/byhand.h"
#include "daemons/resource/state.h"

enum { BUCKETS_MIN = 64, PLACE_BUCKETS = 4096 };

/* A host or a switch. */
struct site {
    char *name;
    size_t n_modules;
    struct stay *stays;
    struct site *next;
};

struct fs_index {
    struct allocation **by_id, **by_key; /* n_buckets each, a power of two; without those whose key is "" */
    size_t n_buckets;
    struct site *hosts[PLACE_BUCKETS], *switches[PLACE_BUCKETS];
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

static void
destroy_places(struct site **buckets)
{
    for (size_t i = 0; i < PLACE_BUCKETS; i++) {
        for (struct site *p = buckets[i], *next; p; p = next) {
            next = p->next;
            free(p->name);
            free(p);
        }
    }
}

void
resource_index_destroy(struct fs_index *x)
{
    if (x) {
        destroy_places(x->hosts);
        destroy_places(x->switches);
        free(x->by_id);
        free(x->by_key);
        free(x);
    }
}

/* --- By id and key --- */

static struct allocation **
id_bucket(const struct fs_index *x, int id)
{
    return &x->by_id[(uint32_t) id * 2654435769u & (x->n_buckets - 1)];
}

static struct allocation **
key_bucket(const struct fs_index *x, const struct allocation *a)
{
    return &x->by_key[hash(a->key) & (x->n_buckets - 1)];
}

static void
put_into_buckets(struct fs_index *x, struct allocation *a)
{
    struct allocation **id = id_bucket(x, a->id), **key = key_bucket(x, a);
    a->same_id_bucket = *id;
    *id = a;
    if (*a->key) {
        a->same_key_bucket = *key;
        *key = a;
    }
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

static void
take_from_buckets(struct fs_index *x, struct allocation *a)
{
    struct allocation **id = id_bucket(x, a->id), **key = key_bucket(x, a);
    while (*id != a) {
        id = &(*id)->same_id_bucket;
    }
    *id = a->same_id_bucket;
    while (*a->key && *key != a) {
        key = &(*key)->same_key_bucket;
    }
    if (*a->key) {
        *key = a->same_key_bucket;
    }
}

struct allocation *
resource_find_entering(struct resource *r, int id)
{
    struct allocation *a = *id_bucket(r->index, id);
    while (a && a->id != id) {
        a = a->same_id_bucket;
    }
    return a;
}

struct allocation *
resource_find(struct resource *r, int id)
{
    struct allocation *a = resource_find_entering(r, id);
    return a && !a->entering ? a : NULL;
}

struct allocation *
resource_find_key(struct resource *r, const char *key)
{
    struct allocation *a = *key ? r->index->by_key[hash(key) & (r->index->n_buckets - 1)] : NULL;
    while (a && strcmp(a->key, key)) {
        a = a->same_key_bucket;
    }
    return a;
}

/* --- By place --- */

static struct site *
place_named(struct site **buckets, const char *name, bool make)
{
    struct site **p = &buckets[hash(name) % PLACE_BUCKETS];
    while (*p && strcmp((*p)->name, name)) {
        p = &(*p)->next;
    }
    if (!*p && make) {
        *p = fs_xcalloc(1, sizeof **p);
        (*p)->name = fs_xstrdup(name);
    }
    return *p;
}

static void
leave_places(struct allocation *a)
{
    for (size_t i = 0; i < a->n_stays; i++) {
        struct stay *s = &a->stays[i];
        s->place->n_modules -= s->modules;
        *s->link = s->next;
        if (s->next) {
            s->next->link = s->link;
        }
    }
    free(a->stays);
    a->stays = NULL;
    a->n_stays = 0;
}

/* One more place of 'a', or the same as before; 'stays' has room. */
static void
note_place(struct allocation *a, struct stay *stays, size_t *n, struct site *place, size_t modules)
{
    size_t i = 0;
    while (i < *n && stays[i].place != place) {
        i++;
    }
    if (i == *n) {
        stays[(*n)++] = (struct stay) { .allocation = a, .place = place };
    }
    stays[i].modules += modules;
    place->n_modules += modules;
}

static void
enter_places(struct resource *r, struct allocation *a)
{
    struct fs_packed plan = fs_packed_get(resource_doc(a), "plan"), modules = fs_packed_get(plan, "modules"), rules = fs_packed_get(plan, "rules"), one;
    size_t room = fs_packed_count(modules) + fs_packed_count(rules), n = 0;
    struct stay *stays = room ? fs_xcalloc(room, sizeof *stays) : NULL;
    for (struct fs_packed_items i = fs_packed_items(modules); fs_packed_next(&i, &one);) {
        note_place(a, stays, &n, place_named(r->index->hosts, fs_packed_get_string(one, "host", ""), true), 1);
    }
    for (struct fs_packed_items i = fs_packed_items(rules); fs_packed_next(&i, &one);) {
        note_place(a, stays, &n, place_named(r->index->switches, fs_packed_get_string(one, "switch", ""), true), 0);
    }
    a->stays = n ? fs_xrealloc(stays, n * sizeof *stays) : NULL;
    a->n_stays = n;
    for (size_t i = 0; i < n; i++) {
        struct stay *s = &a->stays[i];
        s->link = &s->place->stays;
        s->next = *s->link;
        *s->link = s;
        if (s->next) {
            s->next->link = &s->next;
        }
    }
    if (!n) {
        free(stays);
    }
}

static struct stay *
stays_of(struct site **buckets, const char *name)
{
    const struct site *p = place_named(buckets, name, false);
    return p ? p->stays : NULL;
}

struct stay *
resource_stays_on(struct resource *r, const char *host)
{
    return stays_of(r->index->hosts, host);
}

struct stay *
resource_stays_in(struct resource *r, const char *name)
{
    return stays_of(r->index->switches, name);
}

size_t
resource_modules_on(struct resource *r, const char *host)
{
    const struct site *p = place_named(r->index->hosts, host, false);
    return p ? p->n_modules : 0;
}

/* --- By what they are, and by whether something is to be done about them --- */

static void
enter_by_hand(struct resource *r, struct allocation *a)
{
    if (strcmp(fs_packed_get_string(fs_packed_get(resource_doc(a), "request"), "kind", "request"), "request") != 0) {
        a->by_hand_link = r->by_hand_end;
        *r->by_hand_end = a;
        r->by_hand_end = &a->next_by_hand;
    }
}

static void
leave_by_hand(struct resource *r, struct allocation *a)
{
    if (a->by_hand_link) {
        *a->by_hand_link = a->next_by_hand;
        *(a->next_by_hand ? &a->next_by_hand->by_hand_link : &r->by_hand_end) = a->by_hand_link;
    }
}

bool
resource_is_installed(const struct allocation *a)
{
    return !strcmp(a->state, "installed");
}

static void
leave_restless(struct allocation *a)
{
    if (a->restless_link) {
        *a->restless_link = a->next_restless;
        if (a->next_restless) {
            a->next_restless->restless_link = a->restless_link;
        }
        a->restless_link = NULL;
    }
}

void
resource_index_rest(struct resource *r, struct allocation *a)
{
    bool rests = resource_is_installed(a) && !a->busy && !a->entering;
    if (rests) {
        leave_restless(a);
    } else if (!a->restless_link) {
        a->restless_link = &r->restless;
        a->next_restless = r->restless;
        r->restless = a;
        if (a->next_restless) {
            a->next_restless->restless_link = &a->next_restless;
        }
    }
}

/* --- All of it --- */

static void
take_doc(struct allocation *a, unsigned char *block, size_t size)
{
    free(a->block);
    a->block = block;
    a->size = size;
    a->key = fs_packed_get_string(resource_doc(a), "key", "");
    a->state = fs_packed_get_string(resource_doc(a), "state", "");
}

/* The key and the kind of a request stay what they are. */
void
resource_set_doc(struct resource *r, struct allocation *a, unsigned char *block, size_t size)
{
    leave_places(a);
    take_doc(a, block, size);
    enter_places(r, a);
    resource_index_rest(r, a);
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
    a->key = fs_packed_get_string(resource_doc(a), "key", "");
    a->state = fs_packed_get_string(resource_doc(a), "state", "");
    put_into_buckets(r->index, a);
    if (++r->n_allocations > r->index->n_buckets) {
        grow(r);
    }
    enter_places(r, a);
    enter_by_hand(r, a);
    resource_index_rest(r, a);
}

void
resource_index_remove(struct resource *r, struct allocation *a)
{
    leave_places(a);
    leave_by_hand(r, a);
    leave_restless(a);
    take_from_buckets(r->index, a);
    *(a->previous ? &a->previous->next : &r->allocations) = a->next;
    *(a->next ? &a->next->previous : &r->last_allocation) = a->previous;
    r->n_allocations--;
}

/* What the reconciler remembers of hosts and switches between its runs; see reconcile.h.
 *
 * A host or switch says in a few bytes in which state it is.  Where that is the state in which it was last looked at, nothing has changed and nothing is compared; where it is
 * not, it says the same for each allocation that changed.  An allocation is in doubt when a host or switch tells another state of it, or somebody has worked on it, until it was found
 * right after that. */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "core/util.h"
#include "daemons/resource/reconcile.h"
#include "daemons/resource/state.h"

enum { LEAST_COST_MS = 40, BUCKETS = 4096 };

struct known {
    int id;
    char *state;
    bool doubted;
    unsigned doubts; /* how often */
};

struct place {
    char *name, *right;
    bool busy;
    int64_t due[RESOURCE_LOOKS], cost;
    struct known *known; /* ascending ids */
    size_t n, room, n_doubted;
    int turn; /* the id that was last doubted without a reason */
    struct place *next;
};

struct resource_memory {
    pthread_mutex_t lock;
    struct place *places[BUCKETS]; /* by a hash of the name */
};

struct resource_memory *
resource_memory_new(void)
{
    struct resource_memory *m = fs_xcalloc(1, sizeof *m);
    pthread_mutex_init(&m->lock, NULL);
    return m;
}

static void
forget_known(struct place *p)
{
    for (size_t i = 0; i < p->n; i++) {
        free(p->known[i].state);
    }
    free(p->known);
}

void
resource_memory_free(struct resource_memory *m)
{
    if (!m) {
        return;
    }
    for (size_t i = 0; i < BUCKETS; i++) {
        for (struct place *p = m->places[i], *next; p; p = next) {
            next = p->next;
            forget_known(p);
            free(p->name);
            free(p->right);
            free(p);
        }
    }
    pthread_mutex_destroy(&m->lock);
    free(m);
}

static struct place **
bucket_of(struct resource_memory *m, const char *name)
{
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (; *name; name++) {
        hash = (hash ^ (unsigned char) *name) * 16777619u;
    }
    return &m->places[hash % BUCKETS];
}

static struct place *
lock_place(struct resource *r, const char *name)
{
    pthread_mutex_lock(&r->memory->lock);
    struct place **bucket = bucket_of(r->memory, name), *p = *bucket;
    while (p && strcmp(p->name, name)) {
        p = p->next;
    }
    if (!p) {
        p = fs_xcalloc(1, sizeof *p);
        p->name = fs_xstrdup(name);
        p->right = fs_xstrdup("");
        p->cost = LEAST_COST_MS;
        p->next = *bucket;
        *bucket = p;
    }
    return p;
}

static void
unlock(struct resource *r)
{
    pthread_mutex_unlock(&r->memory->lock);
}

bool
resource_memory_begin(struct resource *r, const char *name)
{
    struct place *p = lock_place(r, name);
    bool mine = !p->busy;
    p->busy = true;
    unlock(r);
    return mine;
}

void
resource_memory_end(struct resource *r, const char *name)
{
    lock_place(r, name)->busy = false;
    unlock(r);
}

char *
resource_memory_right(struct resource *r, const char *name)
{
    char *right = fs_xstrdup(lock_place(r, name)->right);
    unlock(r);
    return right;
}

void
resource_memory_set_right(struct resource *r, const char *name, const char *state)
{
    struct place *p = lock_place(r, name);
    free(p->right);
    p->right = fs_xstrdup(state);
    unlock(r);
}

bool
resource_memory_is_due(struct resource *r, const char *name, enum resource_look look)
{
    bool due = fs_now_ms() >= lock_place(r, name)->due[look];
    unlock(r);
    return due;
}

void
resource_memory_set_due(struct resource *r, const char *name, enum resource_look look, int64_t ms)
{
    lock_place(r, name)->due[look] = fs_now_ms() + ms;
    unlock(r);
}

int64_t
resource_memory_cost(struct resource *r, const char *name, int64_t took)
{
    struct place *p = lock_place(r, name);
    int64_t most = p->cost + p->cost / 4;
    p->cost = took > most ? most : took < LEAST_COST_MS ? LEAST_COST_MS : took;
    int64_t cost = p->cost;
    unlock(r);
    return cost;
}

/* Where 'id' is, or would be. */
static size_t
position(const struct place *p, int id)
{
    size_t low = 0, high = p->n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (p->known[middle].id < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* The entry of 'id', made where there is none. */
static struct known *
entry(struct place *p, int id)
{
    size_t i = position(p, id);
    if (i == p->n || p->known[i].id != id) {
        if (p->n == p->room) {
            p->room = p->room * 2 + 64;
            p->known = fs_xrealloc(p->known, p->room * sizeof *p->known);
        }
        memmove(p->known + i + 1, p->known + i, (p->n++ - i) * sizeof *p->known);
        p->known[i] = (struct known) { .id = id, .state = fs_xstrdup("") };
    }
    return &p->known[i];
}

static void
forget(struct place *p, struct known *k)
{
    free(k->state);
    p->n_doubted -= k->doubted;
    memmove(k, k + 1, (size_t) (p->known + --p->n - k) * sizeof *k);
}

/* --- Doubts --- */

static void
doubt(struct place *p, struct known *k)
{
    p->n_doubted += !k->doubted;
    k->doubted = true;
    k->doubts++;
}

void
resource_memory_doubt(struct resource *r, const char *name, int id)
{
    struct place *p = lock_place(r, name);
    doubt(p, entry(p, id));
    unlock(r);
}

void
resource_memory_renew(struct resource *r, const char *name)
{
    struct place *p = lock_place(r, name);
    for (size_t i = 0; i < p->n; i++) {
        doubt(p, &p->known[i]);
    }
    unlock(r);
}

void
resource_memory_tell(struct resource *r, const char *name, int id, const char *state)
{
    struct place *p = lock_place(r, name);
    size_t before = p->n;
    struct known *k = entry(p, id);
    if (p->n > before || strcmp(k->state, state)) {
        free(k->state);
        k->state = fs_xstrdup(state);
        doubt(p, k);
    }
    unlock(r);
}

void
resource_memory_tell_gone(struct resource *r, const char *name, const int *there, size_t n)
{
    struct place *p = lock_place(r, name);
    for (size_t i = 0, k = 0; i < p->n; i++) {
        while (k < n && there[k] < p->known[i].id) {
            k++;
        }
        if (p->known[i].state[0] && (k == n || there[k] != p->known[i].id)) {
            p->known[i].state[0] = '\0';
            doubt(p, &p->known[i]);
        }
    }
    unlock(r);
}

void
resource_memory_doubt_some(struct resource *r, const char *name, size_t n)
{
    struct place *p = lock_place(r, name);
    size_t i = position(p, p->turn + 1);
    for (i = i < p->n ? i : 0; n > 0 && i < p->n; i++, n--) {
        p->turn = p->known[i].id;
        doubt(p, &p->known[i]);
    }
    unlock(r);
}

bool
resource_memory_doubts(struct resource *r, const char *name)
{
    bool any = lock_place(r, name)->n_doubted > 0;
    unlock(r);
    return any;
}

struct resource_doubt *
resource_memory_doubted(struct resource *r, const char *name, size_t *n)
{
    struct place *p = lock_place(r, name);
    struct resource_doubt *all = fs_xcalloc(p->n_doubted + 1, sizeof *all);
    *n = 0;
    for (size_t i = 0; i < p->n && *n < p->n_doubted; i++) {
        if (p->known[i].doubted) {
            all[(*n)++] = (struct resource_doubt) { p->known[i].id, p->known[i].doubts, p->known[i].state[0] != '\0' };
        }
    }
    unlock(r);
    return all;
}

void
resource_memory_settle(struct resource *r, const char *name, const struct resource_doubt *d, bool gone)
{
    struct place *p = lock_place(r, name);
    size_t i = position(p, d->id);
    struct known *k = i < p->n && p->known[i].id == d->id ? &p->known[i] : NULL;
    if (k && k->doubted && k->doubts == d->doubts) {
        k->doubted = false;
        p->n_doubted--;
        if (gone) {
            forget(p, k);
        }
    }
    unlock(r);
}

static void
doubt_at(struct resource *r, const char *host, int id)
{
    char *place = resource_host_place(host);
    resource_memory_doubt(r, place, id);
    free(place);
}

/* The one that has the module of that name which others connect: it was made by hand, as the connections were. */
static void
doubt_owner_of(struct resource *r, struct fs_packed existing)
{
    const char *name = fs_packed_get_string(existing, "name", ""), *host = fs_packed_get_string(existing, "host", "");
    for (const struct allocation *a = r->by_hand; a; a = a->next_by_hand) {
        struct fs_packed m = { 0 };
        for (struct fs_packed_items i = fs_packed_items(fs_packed_get(fs_packed_get(resource_doc(a), "plan"), "modules")); fs_packed_next(&i, &m);) {
            if (!strcmp(fs_packed_get_string(m, "name", ""), name)) {
                doubt_at(r, host, a->id);
            }
        }
    }
}

void
resource_doubt_allocation(struct resource *r, const struct allocation *a)
{
    struct fs_packed plan = fs_packed_get(resource_doc(a), "plan"), m = { 0 };
    for (struct fs_packed_items i = fs_packed_items(fs_packed_get(plan, "rules")); fs_packed_next(&i, &m);) {
        resource_memory_doubt(r, fs_packed_get_string(m, "switch", ""), a->id);
    }
    for (struct fs_packed_items i = fs_packed_items(fs_packed_get(plan, "modules")); fs_packed_next(&i, &m);) {
        doubt_at(r, fs_packed_get_string(m, "host", ""), a->id);
        if (fs_packed_get_bool(m, "existing", false)) {
            doubt_owner_of(r, m);
        }
    }
    resource_begin_anew(r, a->id);
}

char *
resource_host_place(const char *host)
{
    return fs_xasprintf("host %s", host);
}

char *
resource_host_digest(struct resource *r, const char *host)
{
    char *digest = NULL;
    pthread_mutex_lock(&r->lock);
    for (struct host *h = r->hosts; h; h = h->next) {
        if (!strcmp(h->name, host) && h->digest) {
            digest = fs_xstrdup(h->digest);
        }
    }
    pthread_mutex_unlock(&r->lock);
    return digest ? digest : fs_xstrdup("");
}

/* What the reconciler remembers of hosts and switches between its runs; see reconcile.h.
 *
 * A host or switch says in a few bytes in which state it is.  Where that is the state in which it was last found right, nothing has changed and nothing is compared; where it is
 * not, a switch says the same for each allocation, and only those that changed are compared. */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "core/util.h"
#include "daemons/resource/reconcile.h"
#include "daemons/resource/state.h"

struct known {
    int id;
    char *state;
};

struct place {
    char *name, *right;
    bool busy;
    int64_t due;
    struct known *known; /* ascending ids */
    size_t n;
    struct place *next;
};

struct resource_memory {
    pthread_mutex_t lock;
    struct place *places;
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
    for (struct place *p = m->places, *next; p; p = next) {
        next = p->next;
        forget_known(p);
        free(p->name);
        free(p->right);
        free(p);
    }
    pthread_mutex_destroy(&m->lock);
    free(m);
}

static struct place *
lock_place(struct resource *r, const char *name)
{
    pthread_mutex_lock(&r->memory->lock);
    struct place *p = r->memory->places;
    while (p && strcmp(p->name, name)) {
        p = p->next;
    }
    if (!p) {
        p = fs_xcalloc(1, sizeof *p);
        p->name = fs_xstrdup(name);
        p->right = fs_xstrdup("");
        p->next = r->memory->places;
        r->memory->places = p;
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

int64_t
resource_memory_due(struct resource *r, const char *name)
{
    int64_t due = lock_place(r, name)->due;
    unlock(r);
    return due;
}

void
resource_memory_set_due(struct resource *r, const char *name, int64_t at)
{
    lock_place(r, name)->due = at;
    unlock(r);
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

bool
resource_memory_is_right(struct resource *r, const char *name, int id, const char *state)
{
    struct place *p = lock_place(r, name);
    size_t i = position(p, id);
    bool right = i < p->n && p->known[i].id == id && !strcmp(p->known[i].state, state);
    unlock(r);
    return right;
}

void
resource_memory_note(struct resource *r, const char *name, int id, const char *state)
{
    struct place *p = lock_place(r, name);
    size_t i = position(p, id);
    if (i == p->n || p->known[i].id != id) {
        p->known = fs_xrealloc(p->known, (p->n + 1) * sizeof *p->known);
        memmove(p->known + i + 1, p->known + i, (p->n++ - i) * sizeof *p->known);
        p->known[i] = (struct known) { .id = id };
    }
    free(p->known[i].state);
    p->known[i].state = fs_xstrdup(state);
    unlock(r);
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

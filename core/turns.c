/* The fair queue; see the header.  Two levels of rings: callers, and below each the names of its tasks; a line of turns below each name.
 * A ring's first member is served and goes to its end.  Lines exist as long as something waits in them. */
#include "config.h"

#include "core/turns.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/util.h"

enum { BUCKETS = 256 };

/* A caller, or a name of one. */
struct line {
    struct line *parent;        /* the caller of a name; NULL: this is a caller */
    char *key;
    struct line *before, *after; /* in the ring of all callers, or of the caller's names */
    struct line *ring;           /* first of the caller's names */
    struct turn *first, *last;   /* of a name */
    struct line **bucket;
    struct line *in_bucket;
};

struct turns {
    struct line *ring; /* first of the callers */
    struct line *buckets[BUCKETS];
};

struct turns *
turns_new(void)
{
    return fs_xcalloc(1, sizeof(struct turns));
}

void
turns_destroy(struct turns *q)
{
    free(q);
}

bool
turns_empty(const struct turns *q)
{
    return !q->ring;
}

static void
join_ring(struct line **ring, struct line *l)
{
    struct line *first = *ring;
    if (first) {
        l->after = first;
        l->before = first->before;
        l->before->after = l;
        first->before = l;
    } else {
        l->before = l->after = l;
        *ring = l;
    }
}

static void
leave_ring(struct line **ring, struct line *l)
{
    if (l->after == l) {
        *ring = NULL;
    } else {
        l->before->after = l->after;
        l->after->before = l->before;
        if (*ring == l) {
            *ring = l->after;
        }
    }
}

static struct line **
bucket_of(struct turns *q, const struct line *parent, const char *key)
{
    uint32_t hash = 2166136261u ^ (uint32_t) ((uintptr_t) parent >> 4);
    for (; *key; key++) {
        hash = (hash ^ (unsigned char) *key) * 16777619u;
    }
    return &q->buckets[hash % BUCKETS];
}

static struct line *
get_line(struct turns *q, struct line *parent, const char *key)
{
    struct line **bucket = bucket_of(q, parent, key), *l = *bucket;
    while (l && (l->parent != parent || strcmp(l->key, key))) {
        l = l->in_bucket;
    }
    if (!l) {
        l = fs_xcalloc(1, sizeof *l);
        l->parent = parent;
        l->key = fs_xstrdup(key);
        l->bucket = bucket;
        l->in_bucket = *bucket;
        *bucket = l;
        join_ring(parent ? &parent->ring : &q->ring, l);
    }
    return l;
}

static void
end_line(struct turns *q, struct line *l)
{
    leave_ring(l->parent ? &l->parent->ring : &q->ring, l);
    struct line **p = l->bucket;
    while (*p != l) {
        p = &(*p)->in_bucket;
    }
    *p = l->in_bucket;
    free(l->key);
    free(l);
}

void
turns_push(struct turns *q, struct turn *t, const char *caller, const char *name)
{
    struct line *l = get_line(q, get_line(q, NULL, caller), name);
    t->line = l;
    t->after = NULL;
    t->before = l->last;
    *(l->last ? &l->last->after : &l->first) = t;
    l->last = t;
}

void
turns_remove(struct turns *q, struct turn *t)
{
    struct line *l = t->line, *caller = l->parent;
    *(t->before ? &t->before->after : &l->first) = t->after;
    *(t->after ? &t->after->before : &l->last) = t->before;
    t->line = NULL;
    if (!l->first) {
        end_line(q, l);
        if (!caller->ring) {
            end_line(q, caller);
        }
    }
}

struct turn *
turns_pop(struct turns *q)
{
    struct line *caller = q->ring;
    if (!caller) {
        return NULL;
    }
    struct line *name = caller->ring;
    struct turn *t = name->first;
    q->ring = caller->after;
    caller->ring = name->after;
    turns_remove(q, t);
    return t;
}

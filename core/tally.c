/* Figures of tasks by name; see the header.  Names come from callers, so there is an end to how many are kept. */
#include "config.h"

#include "core/tally.h"

#include <stdlib.h>
#include <string.h>

#include "core/util.h"

enum { BUCKETS = 128, MOST = 512 };

struct tally {
    struct tally_row *buckets[BUCKETS];
    struct tally_row others;
    unsigned n;
};

struct tally *
tally_new(void)
{
    struct tally *t = fs_xcalloc(1, sizeof *t);
    t->others.name = fs_xstrdup("(others)");
    return t;
}

void
tally_destroy(struct tally *t)
{
    for (size_t i = 0; t && i < BUCKETS; i++) {
        while (t->buckets[i]) {
            struct tally_row *gone = t->buckets[i];
            t->buckets[i] = gone->next;
            free(gone->name);
            free(gone);
        }
    }
    if (t) {
        free(t->others.name);
        free(t);
    }
}

struct tally_row *
tally_row(struct tally *t, const char *name)
{
    uint32_t hash = 2166136261u;
    for (const char *p = name; *p; p++) {
        hash = (hash ^ (unsigned char) *p) * 16777619u;
    }
    struct tally_row **p = &t->buckets[hash % BUCKETS];
    while (*p && strcmp((*p)->name, name)) {
        p = &(*p)->next;
    }
    if (!*p && t->n == MOST) {
        return &t->others;
    }
    if (!*p) {
        *p = fs_xcalloc(1, sizeof **p);
        (*p)->name = fs_xstrdup(name);
        t->n++;
    }
    return *p;
}

static xmlrpc_value *
row_value(const struct tally_row *r)
{
    xmlrpc_value *v = fs_set(fs_struct(), "task", fs_string(r->name));
    fs_set(v, "waiting", fs_int((int) r->waiting));
    fs_set(v, "running", fs_int((int) r->running));
    fs_set(v, "done", fs_double(r->done));
    fs_set(v, "failed", fs_double(r->failed));
    fs_set(v, "cancelled", fs_double(r->cancelled));
    fs_set(v, "retries", fs_double(r->retries));
    fs_set(v, "waited_seconds", fs_double(r->waited));
    fs_set(v, "run_seconds", fs_double(r->ran));
    fs_set(v, "longest_wait_seconds", fs_double(r->longest_wait));
    return fs_set(v, "longest_run_seconds", fs_double(r->longest_run));
}

xmlrpc_value *
tally_value(const struct tally *t)
{
    xmlrpc_value *all = fs_array();
    for (size_t i = 0; i < BUCKETS; i++) {
        for (const struct tally_row *r = t->buckets[i]; r; r = r->next) {
            fs_append(all, row_value(r));
        }
    }
    const struct tally_row *o = &t->others;
    return o->waiting + o->running + o->done + o->failed + o->cancelled > 0 ? fs_append(all, row_value(o)) : all;
}

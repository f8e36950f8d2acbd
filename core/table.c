/* Tables of methods and the life of versions: load, warm, cool, discard. */
#include "config.h"

#include "core/table.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/crash.h"
#include "core/util.h"
#include "core/vet.h"
#include <flowstream/log.h>

FS_LOG_MODULE("loader");

enum { WHY_BYTES = 400 };

/* --- Versions --- */

struct fs_loaded *
loaded_new(struct fs_loader *l, enum fs_method_kind kind, const char *name, const char *hash, const char *path)
{
    struct fs_loaded *v = fs_xcalloc(1, sizeof *v);
    v->kind = kind;
    snprintf(v->name, sizeof v->name, "%s", name);
    snprintf(v->hash, sizeof v->hash, "%s", hash);
    snprintf(v->who, sizeof v->who, "%s %c %s ", hash, kind == FS_KIND_TASK ? 't' : 'c', name);
    v->path = fs_xstrdup(path);
    v->image = fs_images_path(l->images, hash);
    v->refs = 1;
    pthread_mutex_lock(&l->lives);
    v->next = l->live;
    l->live = v;
    pthread_mutex_unlock(&l->lives);
    return v;
}

void
loaded_ref(struct fs_loader *l, struct fs_loaded *v)
{
    pthread_mutex_lock(&l->lives);
    v->refs++;
    pthread_mutex_unlock(&l->lives);
}

/* Cool and discard: nobody can be in its code any more. */
static void
discard(struct fs_loaded *v)
{
    const char *before = fs_crash_enter(v->who); /* whatever of it makes the daemon die counts for it */
    if (v->method && v->method->cool) {
        v->method->cool(v->state);
    }
    if (v->handle) {
        dlclose(v->handle);
    }
    fs_crash_enter(before);
    free(v->problem);
    free(v->image);
    free(v->path);
    free(v);
}

void
loaded_unref(struct fs_loader *l, struct fs_loaded *v)
{
    pthread_mutex_lock(&l->lives);
    bool last = --v->refs == 0;
    for (struct fs_loaded **p = &l->live; last && *p; p = &(*p)->next) {
        if (*p == v) {
            *p = v->next;
            break;
        }
    }
    pthread_mutex_unlock(&l->lives);
    if (last) {
        discard(v);
    }
}

unsigned
loaded_in_use(struct fs_loader *l, const char *path)
{
    unsigned n = 0;
    pthread_mutex_lock(&l->lives);
    for (struct fs_loaded *v = l->live; v; v = v->next) {
        n += !strcmp(v->path, path);
    }
    pthread_mutex_unlock(&l->lives);
    return n;
}

/* Open, look, warm: the method, or NULL with v->problem. */
static const struct fs_method *
open_version(struct fs_loader *l, struct fs_loaded *v, const struct fs_loaded *before)
{
    char why[WHY_BYTES] = "";
    const struct fs_method *m = fs_open_object(v->image, &v->handle, &v->problem);
    if (m && (v->problem = fs_vet_descriptor(m, v->kind, v->name))) {
        m = NULL;
    }
    if (m && m->warm) {
        const struct fs_method *old = before ? before->method : NULL;
        v->state = m->warm(l->daemon, old ? before->state : NULL, old ? (old->version ? old->version : "1") : NULL, why, sizeof why);
        if (!v->state) {
            v->problem = fs_xasprintf("it could not be warmed: %s", *why ? why : "no reason was given");
            m = NULL;
        }
    }
    if (!m && v->handle) {
        dlclose(v->handle);
        v->handle = NULL;
    }
    return m;
}

const char *
loaded_open(struct fs_loader *l, struct fs_loaded *v, const struct fs_loaded *before)
{
    if (__atomic_load_n(&v->method, __ATOMIC_ACQUIRE)) {
        return NULL;
    }
    pthread_mutex_lock(&l->opening);
    if (!v->method && !v->problem) {
        const char *who = fs_crash_enter(v->who);
        const struct fs_method *m = open_version(l, v, before);
        fs_crash_enter(who);
        if (m) {
            fs_log_debug("loaded %s (%.12s)", v->path, v->hash);
            __atomic_store_n(&v->method, m, __ATOMIC_RELEASE);
        } else {
            fs_log_warning("%s is not loaded: %s", v->path, v->problem);
        }
    }
    pthread_mutex_unlock(&l->opening);
    return v->problem;
}

/* --- Tables --- */

struct fs_table *
table_new(size_t room)
{
    struct fs_table *t = fs_xcalloc(1, sizeof *t);
    t->bindings = fs_xcalloc(room + 1, sizeof *t->bindings);
    t->refs = 1;
    return t;
}

bool
same_identity(const struct identity *a, const struct identity *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size && a->modified.tv_sec == b->modified.tv_sec
           && a->modified.tv_nsec == b->modified.tv_nsec && a->changed.tv_sec == b->changed.tv_sec
           && a->changed.tv_nsec == b->changed.tv_nsec;
}

static int
compare(const struct binding *b, enum fs_method_kind kind, const char *name, int folder)
{
    int c = b->kind != kind ? (b->kind < kind ? -1 : 1) : strcmp(b->name, name);
    return c ? c : b->folder - folder;
}

static int
by_key(const void *a, const void *b)
{
    const struct binding *x = a, *y = b;
    return compare(x, y->kind, y->name, y->folder);
}

struct binding *
table_find(const struct fs_table *t, enum fs_method_kind kind, const char *name, int folder)
{
    size_t low = 0, high = t ? t->n : 0;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int c = compare(&t->bindings[middle], kind, name, folder);
        if (!c) {
            return &t->bindings[middle];
        }
        if (c < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

struct binding *
table_serving(const struct fs_table *t, enum fs_method_kind kind, const char *name)
{
    struct binding *own = table_find(t, kind, name, 0);
    return own ? own : table_find(t, kind, name, 1);
}

void
table_add(struct fs_loader *l, struct fs_table *t, const struct binding *from)
{
    struct binding *b = &t->bindings[t->n++];
    *b = *from;
    b->problem = from->problem ? fs_xstrdup(from->problem) : NULL;
    if (b->loaded) {
        loaded_ref(l, b->loaded);
    }
}

void
table_publish(struct fs_loader *l, struct fs_table *t)
{
    qsort(t->bindings, t->n, sizeof *t->bindings, by_key);
    pthread_rwlock_wrlock(&l->lock);
    struct fs_table *old = l->table;
    l->table = t;
    pthread_rwlock_unlock(&l->lock);
    fs_loader_give(l, old);
}

void
fs_loader_give(struct fs_loader *l, struct fs_table *t)
{
    if (t && __atomic_sub_fetch(&t->refs, 1, __ATOMIC_ACQ_REL) == 0) {
        for (size_t i = 0; i < t->n; i++) {
            if (t->bindings[i].loaded) {
                loaded_unref(l, t->bindings[i].loaded);
            }
            free(t->bindings[i].problem);
        }
        free(t->bindings);
        free(t);
    }
}

/* --- Asking one --- */

struct fs_loaded *
fs_table_get(struct fs_loader *l, const struct fs_table *t, enum fs_method_kind kind, const char *name, char **error)
{
    *error = NULL;
    struct binding *b = table_serving(t, kind, name);
    if (!b) {
        return NULL;
    }
    const char *why = b->loaded ? loaded_open(l, b->loaded, NULL) : b->problem;
    if (why) {
        *error = fs_xasprintf("%s/%s.so is not loaded: %s", l->folders[kind - 1][b->folder].path, name, why);
        return NULL;
    }
    return b->loaded;
}

struct fs_loaded **
fs_table_list(struct fs_loader *l, const struct fs_table *t, enum fs_method_kind kind, size_t *n, char **problems)
{
    struct fs_loaded **list = fs_xcalloc(t->n + 1, sizeof *list);
    struct fs_text said = { 0 };
    *n = 0;
    for (size_t i = 0; i < t->n; i++) {
        const struct binding *b = &t->bindings[i];
        if (b->kind == kind && table_serving(t, kind, b->name) == b) {
            char *error;
            struct fs_loaded *v = fs_table_get(l, t, kind, b->name, &error);
            if (v) {
                list[(*n)++] = v;
            } else if (error) {
                fs_text_addf(&said, "%s%s", said.length ? "\n" : "", error);
            }
            free(error);
        }
    }
    *problems = said.text;
    return list;
}

const char *
fs_table_problem(const struct fs_table *t, enum fs_method_kind kind, const char *name)
{
    const struct binding *b = table_serving(t, kind, name);
    return b ? b->problem : NULL;
}

void
fs_loaded_account(struct fs_loaded *m, bool failed, double seconds)
{
    __atomic_add_fetch(&m->calls, 1, __ATOMIC_RELAXED);
    __atomic_add_fetch(&m->failures, failed, __ATOMIC_RELAXED);
    double before, after;
    __atomic_load(&m->seconds, &before, __ATOMIC_RELAXED);
    do {
        after = before + seconds;
    } while (!__atomic_compare_exchange(&m->seconds, &before, &after, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
}

void
fs_loaded_figures(const struct fs_loaded *m, double *calls, double *failures, double *seconds)
{
    *calls = (double) __atomic_load_n(&m->calls, __ATOMIC_RELAXED);
    *failures = (double) __atomic_load_n(&m->failures, __ATOMIC_RELAXED);
    __atomic_load(&m->seconds, seconds, __ATOMIC_RELAXED);
}

/* The loader of tasks and commands: taking a table, and changing what is in it.  table.c has the tables, scan.c reads the folders. */
#include "config.h"

#include "core/loader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <dirent.h>
#include <unistd.h>

#include "core/crash.h"
#include "core/elf.h"
#include "core/place.h"
#include "core/table.h"
#include "core/util.h"
#include <flowstream/log.h>

FS_LOG_MODULE("loader");

enum { DRAIN_MS = 10000, DRAIN_STEP_US = 500, LOOK_MS = 200 };

/* --- Life --- */

/* Try all files of the daemon in one child before they are looked at one by one. */
static void
try_all(struct fs_loader *l)
{
    char **files = NULL;
    size_t n = 0;
    for (int i = 0; i < 4; i++) {
        const char *folder = l->folders[i / 2][i % 2].path;
        DIR *dir = opendir(folder);
        for (struct dirent *d; dir && (d = readdir(dir));) {
            size_t length = strlen(d->d_name);
            if (length > 3 && !strcmp(d->d_name + length - 3, ".so")) {
                files = fs_xrealloc(files, (n + 1) * sizeof *files);
                files[n++] = fs_xasprintf("%s/%s", folder, d->d_name);
            }
        }
        if (dir) {
            closedir(dir);
        }
    }
    if (!l->keys) { /* else the signature comes first */
        fs_images_add_all(l->images, files, n);
    }
    while (n) {
        free(files[--n]);
    }
    free(files);
}

struct fs_loader *
fs_loader_new(const struct fs_loader_options *o, char **error)
{
    struct fs_loader *l = fs_xcalloc(1, sizeof *l);
    l->lib = fs_xstrdup(o->lib);
    l->own = fs_xstrdup(o->own);
    l->daemon = o->daemon;
    pthread_rwlock_init(&l->lock, NULL);
    pthread_mutex_init(&l->loading, NULL);
    pthread_mutex_init(&l->opening, NULL);
    pthread_mutex_init(&l->lives, NULL);
    folders_open(l, o->own);
    struct stat st;
    l->images = fs_images_open(o->images, error);
    l->keys = l->images && o->n_keys ? fs_keys_read(o->keys, o->n_keys, error) : NULL;
    if (!*error && (stat(l->folders[0][1].path, &st) || !S_ISDIR(st.st_mode))) {
        *error = fs_xasprintf("%s: no such folder: 'lib' in the configuration must hold tasks/ and commands/", l->folders[0][1].path);
    }
    if (*error) {
        fs_loader_destroy(l);
        return NULL;
    }
    l->versions = fs_versions_read(o->images);
    fs_crash_watch(o->images);
    place_tidy(l->folders[0][0].path);
    place_tidy(l->folders[1][0].path);
    versions_recover(l);
    try_all(l);
    pthread_mutex_lock(&l->loading);
    folders_read(l, "start");
    l->started = true;
    pthread_mutex_unlock(&l->loading);
    return l;
}

void
fs_loader_destroy(struct fs_loader *l)
{
    if (!l) {
        return;
    }
    fs_loader_give(l, l->table);
    fs_versions_destroy(l->versions);
    fs_images_close(l->images);
    fs_keys_destroy(l->keys);
    folders_close(l);
    pthread_rwlock_destroy(&l->lock);
    pthread_mutex_destroy(&l->loading);
    pthread_mutex_destroy(&l->opening);
    pthread_mutex_destroy(&l->lives);
    free(l->lib);
    free(l->own);
    free(l);
}

/* --- Taking a table --- */

static struct fs_table *
take(struct fs_loader *l)
{
    pthread_rwlock_rdlock(&l->lock);
    struct fs_table *t = l->table;
    __atomic_add_fetch(&t->refs, 1, __ATOMIC_RELAXED);
    pthread_rwlock_unlock(&l->lock);
    return t;
}

static bool
must_look(struct fs_loader *l, const struct fs_table *t, enum fs_method_kind kind, const char *name)
{
    int64_t again = __atomic_load_n(&l->look_again, __ATOMIC_RELAXED);
    return __atomic_load_n(&l->dirty, __ATOMIC_RELAXED) || (again && again <= fs_now_ms()) || folders_changed(l) || file_changed(l, t, kind, name);
}

/* Get the lock for a look at the folders, or false: there is no need to wait for who has it.  That is so while a patch is applied (the folders are half done, and what was active goes on
 * until all of it is), and where a look takes long, as when a dropped file hangs while it is tried: then only calls of the methods whose files have changed wait. */
static bool
lock_for_look(struct fs_loader *l, const struct fs_table *t, enum fs_method_kind kind, const char *name)
{
    while (pthread_mutex_trylock(&l->loading)) {
        int64_t since = __atomic_load_n(&l->looking_since, __ATOMIC_RELAXED);
        const struct binding *b = name ? table_serving(t, kind, name) : NULL;
        bool unchanged = !name || (b && b->loaded && !file_changed(l, t, kind, name) && !is_shadowed(l, t, kind, name));
        if (__atomic_load_n(&l->patching, __ATOMIC_ACQUIRE) || (since && fs_now_ms() - since > LOOK_MS && unchanged)) {
            return false;
        }
        usleep(DRAIN_STEP_US);
    }
    __atomic_store_n(&l->looking_since, fs_now_ms(), __ATOMIC_RELAXED);
    return true;
}

static void
unlock(struct fs_loader *l)
{
    __atomic_store_n(&l->looking_since, 0, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&l->loading);
}

/* A thread that serves a socket asks whether a call is quick, and if so runs it: it has looked already. */
static __thread bool looked __attribute__((tls_model("initial-exec")));

struct fs_table *
fs_loader_take(struct fs_loader *l, enum fs_method_kind kind, const char *name)
{
    struct fs_table *t = take(l);
    bool done = looked;
    looked = false;
    if (done || __atomic_load_n(&l->patching, __ATOMIC_ACQUIRE) || !must_look(l, t, kind, name)) {
        return t;
    }
    bool locked = lock_for_look(l, t, kind, name);
    fs_loader_give(l, t);
    t = take(l); /* whoever held the lock before us may have done it */
    if (locked && must_look(l, t, kind, name)) {
        fs_loader_give(l, t);
        folders_read(l, "dropped");
        t = take(l);
    }
    if (locked) {
        unlock(l);
    }
    return t;
}

bool
fs_loader_is_quick(struct fs_loader *l, const char *name)
{
    struct fs_table *t = take(l);
    const struct binding *b = table_serving(t, FS_KIND_COMMAND, name);
    const struct fs_method *m = b && b->loaded ? __atomic_load_n(&b->loaded->method, __ATOMIC_ACQUIRE) : NULL;
    bool quick = m && m->quick && (__atomic_load_n(&l->patching, __ATOMIC_ACQUIRE) || !must_look(l, t, FS_KIND_COMMAND, name));
    fs_loader_give(l, t);
    looked = quick;
    return quick;
}

/* --- Patches --- */

/* One file of a patch while it is applied. */
struct change {
    const struct fs_patch *patch;
    char hash[FS_HASH_SIZE];
    struct fs_loaded *fresh;  /* NULL: it is active already */
    struct placing placing;
    uint64_t counter;         /* of its signature */
};

static const char *
word(enum fs_method_kind kind)
{
    return kind == FS_KIND_TASK ? "task" : "command";
}

/* Look at one before anything is done: NULL, or what is wrong with it. */
static char *
examine(struct fs_loader *l, struct change *c, bool known)
{
    const struct fs_patch *p = c->patch;
    if (!fs_method_name_ok(p->name)) {
        return fs_xasprintf("'name' must be the name of a method (letters, digits, '_' and '.'), not '%.64s'", p->name);
    }
    char *why = p->size > FS_LOADABLE_MAX ? fs_xasprintf("it has %zu bytes, more than %d", p->size, FS_LOADABLE_MAX) : fs_elf_check(p->bytes, p->size);
    if (!why) {
        fs_image_hash(p->bytes, p->size, c->hash);
        const char *refused = fs_versions_refused(l->versions, c->hash);
        why = refused ? fs_xasprintf("its hash %.12s is refused: %s (lift_refusal lifts that)", c->hash, refused)
                      : check_signature(l, p->signature, p->kind, 0, p->name, c->hash, known, &c->counter);
    }
    char *said = why ? fs_xasprintf("%s %s is refused: %s", word(p->kind), p->name, why) : NULL;
    free(why);
    return said;
}

/* Wait until there is room for one more version: NULL, or why there is none. */
static char *
wait_for_room(struct fs_loader *l, const char *path)
{
    int64_t until = fs_now_ms() + DRAIN_MS;
    while (loaded_in_use(l, path) >= FS_VERSIONS_AT_ONCE) {
        if (fs_now_ms() > until) {
            return fs_xasprintf("calls that began before its last patch have not ended within %d s, and at most two versions are in use at once: try again when they "
                                "have ended, or cancel_task them", DRAIN_MS / 1000);
        }
        usleep(DRAIN_STEP_US);
    }
    return NULL;
}

/* Make the new version ready: image, child, room, load, warm. */
static char *
prepare(struct fs_loader *l, struct change *c)
{
    const struct fs_patch *p = c->patch;
    const struct binding *now = table_find(l->table, p->kind, p->name, 0), *serving = table_serving(l->table, p->kind, p->name);
    if (now && now->loaded && !now->problem && !strcmp(now->loaded->hash, c->hash)) {
        return NULL;
    }
    char *why = fs_images_add(l->images, c->hash, p->bytes, p->size, p->kind, p->name);
    why = why ? why : keep_signature(l, p->signature, c->hash);
    char *path = fs_xasprintf("%s/%s.so", l->folders[p->kind - 1][0].path, p->name);
    why = why ? why : wait_for_room(l, path);
    if (!why) {
        c->fresh = loaded_new(l, p->kind, p->name, c->hash, path);
        const char *problem = loaded_open(l, c->fresh, serving ? serving->loaded : NULL);
        why = problem ? fs_xstrdup(problem) : NULL;
    }
    free(path);
    char *said = why ? fs_xasprintf("%s %s is refused: %s", word(p->kind), p->name, why) : NULL;
    free(why);
    return said;
}

static char *
stage_files(struct fs_loader *l, struct change *changes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct fs_patch *p = changes[i].patch;
        const struct folder *f = &l->folders[p->kind - 1][0];
        int e = changes[i].fresh ? place_stage(&changes[i].placing, f->path, p->name, p->bytes, p->size, p->signature) : 0;
        if (e) {
            return fs_xasprintf("%s: %s", changes[i].placing.path, strerror(e));
        }
    }
    return NULL;
}

/* The files as they were before. */
static void
take_back(struct change *changes, size_t n)
{
    for (size_t i = n; i--;) {
        int e = place_undo(&changes[i].placing);
        if (e) {
            fs_log_error("%s could not be put back: %s", changes[i].placing.path, strerror(e));
        }
    }
}

static char *
switch_files(struct fs_loader *l, struct change *changes, size_t n)
{
    char *why = NULL;
    for (size_t i = 0; i < n && !why; i++) {
        int e = changes[i].fresh ? place_switch(&changes[i].placing) : 0;
        why = e ? fs_xasprintf("%s: %s", changes[i].placing.path, strerror(e)) : NULL;
    }
    for (int kind = 0; kind < 2 && !why; kind++) {
        int e = place_sync(l->folders[kind][0].path);
        why = e && e != ENOENT ? fs_xasprintf("%s: %s", l->folders[kind][0].path, strerror(e)) : NULL;
    }
    if (why) {
        take_back(changes, n);
    }
    return why;
}

/* The table with all the changes in it. */
static void
publish(struct fs_loader *l, struct change *changes, size_t n)
{
    struct fs_table *old = l->table, *fresh = table_new(old->n + n);
    for (size_t i = 0; i < old->n; i++) {
        bool replaced = false;
        for (size_t k = 0; k < n; k++) {
            const struct fs_patch *p = changes[k].patch;
            replaced = replaced || (changes[k].fresh && table_find(old, p->kind, p->name, 0) == &old->bindings[i]);
        }
        if (!replaced) {
            table_add(l, fresh, &old->bindings[i]);
        }
    }
    for (size_t k = 0; k < n; k++) {
        if (changes[k].fresh) {
            struct binding *b = &fresh->bindings[fresh->n++];
            *b = (struct binding) { .kind = changes[k].patch->kind, .loaded = changes[k].fresh };
            memcpy(b->name, changes[k].fresh->name, sizeof b->name);
            if (identify(l, b->kind, 0, b->name, ".so", &b->seen) && b->seen.inode != changes[k].placing.inode) {
                memset(&b->seen, 0, sizeof b->seen); /* somebody has put another there meanwhile: it is to be looked at */
            }
            if (l->keys) {
                identify(l, b->kind, 0, b->name, ".so.sig", &b->seen_signature);
            }
            changes[k].fresh = NULL; /* its reference is the table's */
        }
    }
    table_publish(l, fresh);
}

static void
count_signatures(struct fs_loader *l, const struct change *changes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        count_signature(l, changes[i].patch->kind, changes[i].patch->name, changes[i].hash, changes[i].counter);
    }
}

static int
write_intents(struct fs_loader *l, const struct change *changes, size_t n)
{
    struct fs_intent *intents = fs_xcalloc(n, sizeof *intents);
    size_t n_intents = 0;
    for (size_t i = 0; i < n; i++) {
        if (changes[i].fresh) {
            intents[n_intents].kind = changes[i].patch->kind;
            memcpy(intents[n_intents].name, changes[i].fresh->name, sizeof intents->name);
            memcpy(intents[n_intents++].hash, changes[i].hash, sizeof intents->hash);
        }
    }
    int e = fs_versions_begin(l->versions, intents, n_intents);
    free(intents);
    return e;
}

/* Write, write down, switch, publish, write down: in this order, so that a restart after a crash at any point finds all of it or nothing. */
static char *
commit(struct fs_loader *l, struct change *changes, size_t n, const char *source)
{
    bool any = false;
    for (size_t i = 0; i < n; i++) {
        any = any || changes[i].fresh;
    }
    if (!any) {
        count_signatures(l, changes, n);
        fs_versions_write(l->versions);
        return NULL;
    }
    char *why = stage_files(l, changes, n);
    int e = why ? 0 : write_intents(l, changes, n);
    if (why || e) {
        return why ? why : fs_xasprintf("the patch cannot be written down: %s", strerror(e));
    }
    why = switch_files(l, changes, n);
    if (!why) {
        count_signatures(l, changes, n);
        publish(l, changes, n);
        versions_record(l, l->table, source);
    }
    fs_versions_end(l->versions);
    return why;
}

/* 'known': the bytes were accepted once before, so the counter of their signature may be old. */
static char *
apply(struct fs_loader *l, const struct fs_patch *patches, size_t n, bool known, const char *source)
{
    struct change *changes = fs_xcalloc(n + 1, sizeof *changes);
    char *why = NULL;
    for (size_t i = 0; i < n && !why; i++) {
        changes[i].patch = &patches[i];
        why = examine(l, &changes[i], known);
    }
    for (size_t i = 0; i < n && !why; i++) {
        for (size_t k = 0; k < i && !why; k++) {
            if (patches[i].kind == patches[k].kind && !strcmp(patches[i].name, patches[k].name)) {
                why = fs_xasprintf("%s %s is in the list twice", word(patches[i].kind), patches[i].name);
            }
        }
    }
    for (size_t i = 0; i < n && !why; i++) {
        why = prepare(l, &changes[i]);
    }
    why = why ? why : commit(l, changes, n, source);
    for (size_t i = 0; i < n; i++) {
        if (changes[i].fresh) {
            loaded_unref(l, changes[i].fresh);
        }
        place_end(&changes[i].placing);
    }
    free(changes);
    return why;
}

/* Begin a change of what is active: first what lies in the folders, then the others wait. */
static void
begin_change(struct fs_loader *l)
{
    pthread_mutex_lock(&l->loading);
    __atomic_store_n(&l->looking_since, fs_now_ms(), __ATOMIC_RELAXED);
    if (must_look(l, l->table, FS_KIND_COMMAND, NULL)) {
        folders_read(l, "dropped");
    }
    __atomic_store_n(&l->patching, true, __ATOMIC_RELEASE);
}

static void
end_change(struct fs_loader *l)
{
    __atomic_store_n(&l->patching, false, __ATOMIC_RELEASE);
    unlock(l);
}

char *
fs_loader_patch(struct fs_loader *l, const struct fs_patch *patches, size_t n)
{
    begin_change(l);
    char *why = apply(l, patches, n, false, "upgrade");
    end_change(l);
    return why;
}

/* The hash to go back to (of the list of versions), or NULL with *why. */
static const char *
choose(struct fs_loader *l, enum fs_method_kind kind, const char *name, const char *wanted, char **why)
{
    size_t n;
    const struct fs_version **list = fs_versions_list(l->versions, kind, name, &n);
    const char *found = NULL;
    for (size_t i = 1; i < n && !found; i++) {
        bool fits = wanted ? !strncmp(list[i]->hash, wanted, strlen(wanted)) : !fs_versions_refused(l->versions, list[i]->hash);
        found = fits ? list[i]->hash : NULL;
    }
    if (!found) {
        *why = !n       ? fs_xasprintf("there is no %s '%.64s'", word(kind), name)
               : wanted ? fs_xasprintf("no version %.64s of %s is kept (list_versions lists them)", wanted, name)
                        : fs_xasprintf("no version of %s before the active one is kept (list_versions lists them)", name);
    }
    free(list);
    return found;
}

char *
fs_loader_rollback(struct fs_loader *l, enum fs_method_kind kind, const char *name, const char *hash, char now[FS_HASH_SIZE])
{
    begin_change(l);
    char *why = NULL, *bytes = NULL;
    const char *back = choose(l, kind, name, hash, &why);
    size_t size = 0;
    int e = back ? fs_images_read(l->images, back, &bytes, &size) : 0;
    if (e) {
        why = fs_xasprintf("the image %.12s of %s cannot be read: %s", back, name, strerror(e));
    }
    if (!why) {
        memcpy(now, back, FS_HASH_SIZE);
        char *signature = fs_images_signature(l->images, now);
        struct fs_patch patch = { .kind = kind, .name = name, .bytes = bytes, .size = size, .signature = signature };
        why = apply(l, &patch, 1, true, "rollback");
        free(signature);
        free(bytes);
    }
    end_change(l);
    return why;
}

xmlrpc_value *
fs_loader_versions(struct fs_loader *l)
{
    xmlrpc_value *versions = fs_array(), *refused = fs_array(), *all = fs_struct();
    pthread_mutex_lock(&l->loading);
    size_t n;
    const struct fs_version **list = fs_versions_list(l->versions, 0, NULL, &n);
    for (size_t i = 0; i < n; i++) {
        bool first = !i || list[i]->kind != list[i - 1]->kind || strcmp(list[i]->name, list[i - 1]->name);
        const struct binding *b = table_serving(l->table, list[i]->kind, list[i]->name);
        xmlrpc_value *v = fs_set(fs_struct(), "kind", fs_string(word(list[i]->kind)));
        fs_set(v, "name", fs_string(list[i]->name));
        fs_set(v, "sha256", fs_string(list[i]->hash));
        fs_set(v, "generation", fs_double((double) list[i]->generation));
        fs_set(v, "time", fs_double((double) list[i]->time));
        fs_set(v, "source", fs_string(list[i]->source));
        fs_append(versions, fs_set(v, "active", fs_bool(first && b && b->loaded && !strcmp(b->loaded->hash, list[i]->hash))));
    }
    free(list);
    const struct fs_refusal *r = fs_versions_refusals(l->versions, &n);
    for (size_t i = 0; i < n; i++) {
        xmlrpc_value *v = fs_set(fs_struct(), "sha256", fs_string(r[i].hash));
        fs_append(refused, fs_set(fs_set(v, "time", fs_double((double) r[i].time)), "why", fs_string(r[i].why)));
    }
    fs_set(all, "generation", fs_double((double) fs_versions_generation(l->versions)));
    pthread_mutex_unlock(&l->loading);
    return fs_set(fs_set(all, "versions", versions), "refused", refused);
}

bool
fs_loader_lift(struct fs_loader *l, const char *hash)
{
    pthread_mutex_lock(&l->loading);
    bool lifted = fs_versions_lift(l->versions, hash);
    if (lifted) {
        fs_versions_write(l->versions);
        l->look_at_bad = true;
        __atomic_store_n(&l->dirty, true, __ATOMIC_RELAXED);
    }
    pthread_mutex_unlock(&l->loading);
    return lifted;
}

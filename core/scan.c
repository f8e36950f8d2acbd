/* From the folders to a new table.  Identity of a file is (device, inode, size, times of modification and change).  Same identity: what served goes on.  Another: the file is
 * read into memory, passes the ELF gate, is hashed, and, unless an image with just these bytes exists, becomes one after a child has tried it. */
#include "config.h"

#include "core/table.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/elf.h"
#include "core/place.h"
#include "core/util.h"
#include <flowstream/log.h>

FS_LOG_MODULE("loader");

#define BEING_WRITTEN "somebody has it open for writing"
#define IN_USE "two versions of it are in use: it waits until calls of the older one have ended"

enum { SIGNATURE_MAX = 4096 };

/* --- Folders --- */

void
folders_open(struct fs_loader *l, const char *own)
{
    for (int kind = 0; kind < 2; kind++) {
        for (int common = 0; common < 2; common++) {
            l->folders[kind][common].path = fs_xasprintf("%s/%s/%s", l->lib, kind ? "tasks" : "commands", common ? "common" : own);
            l->folders[kind][common].fd = -1;
        }
    }
}

void
folders_close(struct fs_loader *l)
{
    for (int i = 0; i < 4; i++) {
        struct folder *f = &l->folders[i / 2][i % 2];
        free(f->path);
        if (f->path && f->fd >= 0) {
            close(f->fd);
        }
    }
}

/* The folder's time of change; zero: there is none.  One that was removed and made again is found by its path. */
static struct timespec
folder_time(struct folder *f)
{
    struct stat st;
    int fd = __atomic_load_n(&f->fd, __ATOMIC_ACQUIRE);
    if (fd < 0 || fstat(fd, &st) || !st.st_nlink) {
        if (stat(f->path, &st) || !S_ISDIR(st.st_mode)) {
            return (struct timespec) { 0 };
        }
    }
    return st.st_ctim;
}

static int64_t
nanoseconds(struct timespec t)
{
    return (int64_t) t.tv_sec * 1000000000 + t.tv_nsec;
}

static bool
folder_changed(struct folder *f)
{
    return nanoseconds(folder_time(f)) != __atomic_load_n(&f->seen, __ATOMIC_RELAXED);
}

bool
folders_changed(struct fs_loader *l)
{
    return folder_changed(&l->folders[0][0]) || folder_changed(&l->folders[0][1]) || folder_changed(&l->folders[1][0]) || folder_changed(&l->folders[1][1]);
}

bool
identify(struct fs_loader *l, enum fs_method_kind kind, int folder, const char *name, const char *suffix, struct identity *id)
{
    struct stat st;
    char file[80];
    const struct folder *f = &l->folders[kind - 1][folder];
    snprintf(file, sizeof file, "%s%s", name, suffix);
    memset(id, 0, sizeof *id);
    int fd = __atomic_load_n(&f->fd, __ATOMIC_ACQUIRE); /* a folder may come while calls are served */
    if (fd < 0 || fstatat(fd, file, &st, AT_SYMLINK_NOFOLLOW)) {
        return false;
    }
    *id = (struct identity) { st.st_dev, st.st_ino, st.st_size, st.st_mtim, st.st_ctim };
    return true;
}

bool
file_changed(struct fs_loader *l, const struct fs_table *t, enum fs_method_kind kind, const char *name)
{
    bool changed = false;
    for (size_t i = 0; !name && i < t->n && !changed; i++) {
        changed = file_changed(l, t, t->bindings[i].kind, t->bindings[i].name);
    }
    const struct binding *b = name ? table_serving(t, kind, name) : NULL;
    struct identity id;
    return b ? (!identify(l, kind, b->folder, name, ".so", &id) || !same_identity(&b->seen, &id)) : changed;
}

bool
is_shadowed(struct fs_loader *l, const struct fs_table *t, enum fs_method_kind kind, const char *name)
{
    const struct binding *b = table_serving(t, kind, name);
    struct identity id;
    return b && b->folder && identify(l, kind, 0, name, ".so", &id);
}

/* The folders are read again at a dispatch after 'when' (fs_now_ms(); 0: the next one). */
static void
set_unsettled(struct fs_loader *l, int64_t when)
{
    int64_t now = __atomic_load_n(&l->look_again, __ATOMIC_RELAXED);
    when = when ? when : 1;
    __atomic_store_n(&l->look_again, now && now < when ? now : when, __ATOMIC_RELAXED);
}

/* --- One file --- */

/* Two writes within one tick of the file system's clock leave the same times: what was written just now is looked at again. */
static bool
is_settled(const struct timespec *changed)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    return labs((now.tv_sec - changed->tv_sec) * 1000 + (now.tv_nsec - changed->tv_nsec) / 1000000) > FS_TICK_MS; /* the clock may have gone back since */
}

/* NULL, with the bytes, or why the file cannot be had. */
static char *
read_object(const struct folder *f, const char *name, char **bytes, size_t *size)
{
    struct stat st;
    char *file = fs_xasprintf("%s/%s.so", f->path, name);
    int e = fs_read_unwritten_file(file, FS_LOADABLE_MAX, &st, bytes, size);
    char *why = e ? fs_xasprintf("%s", e == EBUSY ? BEING_WRITTEN : e == EINVAL ? "not a regular file" : e == ELOOP ? "it is a symbolic link" : strerror(e)) : fs_images_trust(&st);
    free(file);
    return why ? why : fs_elf_check(*bytes, *size);
}

static char *
read_signature(const struct folder *f, const char *name)
{
    char *file = fs_xasprintf("%s/%s.so.sig", f->path, name), *text = NULL;
    size_t size;
    if (fs_read_file(AT_FDCWD, file, SIGNATURE_MAX, true, &text, &size)) {
        text = NULL;
    }
    free(file);
    return text;
}

/* By a key, as a method of the daemon or of all of them? */
static char *
check_key(struct fs_loader *l, const char *text, enum fs_method_kind kind, int folder, const char *name, const char *hash, uint64_t *counter)
{
    char *why = fs_signature_check(l->keys, text, folder ? "common" : l->own, kind, name, hash, counter);
    char *common = why && !folder ? fs_signature_check(l->keys, text, "common", kind, name, hash, counter) : NULL;
    if (why && !folder && !common) {
        free(why);
        why = NULL;
    }
    free(common);
    return why;
}

char *
check_signature(struct fs_loader *l, const char *text, enum fs_method_kind kind, int folder, const char *name, const char *hash, bool known, uint64_t *counter)
{
    *counter = 0;
    if (!l->keys) {
        return NULL;
    }
    if (!text) {
        return fs_xasprintf("it is not signed: keys are configured, so %s.so.sig is needed beside it (flowstream-sign sign)", name);
    }
    const char *counted;
    char *why = check_key(l, text, kind, folder, name, hash, counter);
    uint64_t highest = fs_versions_counter(l->versions, kind, name, &counted);
    if (!why && !known && *counter <= highest && strcmp(counted, hash) && !fs_versions_has(l->versions, hash)) {
        why = fs_xasprintf("its signature has counter %llu, but %llu has been seen: an old version is not taken for a new one", (unsigned long long) *counter,
                           (unsigned long long) highest);
    }
    return why;
}

char *
keep_signature(struct fs_loader *l, const char *text, const char *hash)
{
    int e = l->keys && text ? fs_images_set_signature(l->images, hash, text) : 0;
    return e ? fs_xasprintf("its signature could not be kept: %s", strerror(e)) : NULL;
}

void
count_signature(struct fs_loader *l, enum fs_method_kind kind, const char *name, const char *hash, uint64_t counter)
{
    const char *counted;
    if (l->keys && counter > fs_versions_counter(l->versions, kind, name, &counted)) {
        fs_versions_set_counter(l->versions, kind, name, counter, hash);
    }
}

/* A new version of bytes that have passed all gates, tried and opened; NULL with *why. */
static struct fs_loaded *
new_version(struct fs_loader *l, const struct binding *b, const char *bytes, size_t size, const char *hash, const struct fs_loaded *before, char **why)
{
    char *path = fs_xasprintf("%s/%s.so", l->folders[b->kind - 1][b->folder].path, b->name);
    *why = loaded_in_use(l, path) >= FS_VERSIONS_AT_ONCE ? fs_xstrdup(IN_USE) : fs_images_add(l->images, hash, bytes, size, b->kind, b->name);
    struct fs_loaded *v = *why ? NULL : loaded_new(l, b->kind, b->name, hash, path);
    const char *problem = v && l->started ? loaded_open(l, v, before) : NULL; /* at the start each is opened at its first call */
    if (problem) {
        *why = fs_xstrdup(problem);
        loaded_unref(l, v);
        v = NULL;
    }
    free(path);
    return v;
}

/* The version of bytes that have been read: a new one, or that of 'before' with a reference more; NULL with *why. */
static struct fs_loaded *
version_of(struct fs_loader *l, const struct binding *b, const char *bytes, size_t size, struct fs_loaded *before, char **why)
{
    char hash[FS_HASH_SIZE];
    uint64_t counter = 0;
    fs_image_hash(bytes, size, hash);
    const char *refused = fs_versions_refused(l->versions, hash);
    char *signature = l->keys ? read_signature(&l->folders[b->kind - 1][b->folder], b->name) : NULL;
    struct fs_loaded *v = NULL;
    *why = refused ? fs_xasprintf("its hash %.12s is refused: %s (lift_refusal lifts that)", hash, refused)
                   : check_signature(l, signature, b->kind, b->folder, b->name, hash, false, &counter);
    if (!*why && before && !strcmp(before->hash, hash)) { /* the same bytes written again: the same version goes on */
        loaded_ref(l, before);
        v = before;
    } else if (!*why) {
        v = new_version(l, b, bytes, size, hash, before, why);
    }
    if (v && (*why = keep_signature(l, signature, hash))) {
        loaded_unref(l, v);
        v = NULL;
    } else if (v) {
        count_signature(l, b->kind, b->name, hash, counter);
    }
    free(signature);
    return v;
}

/* At the start a file is no good: the version that served before the daemon ended does so again, if its image is what it was and the keys of now would take it. */
static struct fs_loaded *
version_on_record(struct fs_loader *l, const struct binding *b)
{
    size_t n, size;
    const struct fs_version **list = fs_versions_list(l->versions, b->kind, b->name, &n);
    struct fs_loaded *v = NULL;
    for (size_t i = 0; i < n && !v; i++) {
        char *bytes = NULL, *signature = fs_images_signature(l->images, list[i]->hash);
        uint64_t counter;
        char *why = check_signature(l, signature, b->kind, 0, b->name, list[i]->hash, true, &counter);
        if (!why && !fs_versions_refused(l->versions, list[i]->hash) && !fs_images_read(l->images, list[i]->hash, &bytes, &size)) {
            char *path = fs_xasprintf("%s/%s.so", l->folders[b->kind - 1][b->folder].path, b->name);
            v = loaded_new(l, b->kind, b->name, list[i]->hash, path);
            fs_log_warning("%s: version %.12s serves, as before", path, v->hash);
            free(path);
            free(bytes);
        }
        free(signature);
        free(why);
    }
    free(list);
    return v;
}

/* Look at a file that has changed. */
static void
look(struct fs_loader *l, struct binding *b, const struct binding *old)
{
    char *bytes = NULL;
    size_t size = 0;
    char *why = read_object(&l->folders[b->kind - 1][b->folder], b->name, &bytes, &size);
    struct fs_loaded *before = old ? old->loaded : NULL;
    b->loaded = why ? NULL : version_of(l, b, bytes, size, before, &why);
    if (why && (!old || !old->problem || strcmp(old->problem, why))) {
        fs_log_warning("%s/%s.so is not loaded: %s", l->folders[b->kind - 1][b->folder].path, b->name, why);
    }
    bool unfinished = why && (!strcmp(why, BEING_WRITTEN) || !strcmp(why, IN_USE));
    if (unfinished || !is_settled(&b->seen.changed)) {
        set_unsettled(l, unfinished ? fs_now_ms() + FS_WRITTEN_MS : 0);
        memset(&b->seen, 0, sizeof b->seen);
    }
    b->problem = why;
    if (!b->loaded && before) {
        loaded_ref(l, before);
        b->loaded = before;
    } else if (!b->loaded && !l->started) {
        b->loaded = version_on_record(l, b);
    }
    free(bytes);
}

/* --- All files --- */

static void
read_file(struct fs_loader *l, struct fs_table *fresh, enum fs_method_kind kind, int folder, const char *name)
{
    struct binding b = { .kind = kind, .folder = folder };
    snprintf(b.name, sizeof b.name, "%s", name);
    const struct binding *old = table_find(l->table, kind, name, folder);
    if (!identify(l, kind, folder, name, ".so", &b.seen)) {
        return;
    }
    if (l->keys) {
        identify(l, kind, folder, name, ".so.sig", &b.seen_signature);
    }
    if (old && !(l->look_at_bad && old->problem) && same_identity(&old->seen, &b.seen) && same_identity(&old->seen_signature, &b.seen_signature)) {
        table_add(l, fresh, old);
    } else {
        look(l, &b, old);
        fresh->bindings[fresh->n++] = b;
    }
}

/* The descriptor that other threads look at becomes that of this folder, under the number that they know. */
static void
keep_folder(struct folder *f, int fd)
{
    struct stat a, b;
    if (f->fd < 0) {
        __atomic_store_n(&f->fd, fcntl(fd, F_DUPFD_CLOEXEC, 3), __ATOMIC_RELEASE);
    } else if (fstat(f->fd, &a) || fstat(fd, &b) || a.st_ino != b.st_ino || a.st_dev != b.st_dev) {
        dup3(fd, f->fd, O_CLOEXEC);
    }
}

static void
read_folder(struct fs_loader *l, struct fs_table **fresh, size_t *room, enum fs_method_kind kind, int folder)
{
    struct folder *f = &l->folders[kind - 1][folder];
    struct timespec changed = folder_time(f);
    if (!is_settled(&changed)) {
        set_unsettled(l, 0);
    }
    __atomic_store_n(&f->seen, nanoseconds(changed), __ATOMIC_RELAXED);
    int fd = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        keep_folder(f, fd);
    }
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    for (struct dirent *d; dir && (d = readdir(dir));) {
        size_t length = strlen(d->d_name);
        if (length < 4 || strcmp(d->d_name + length - 3, ".so")) {
            continue;
        }
        d->d_name[length - 3] = '\0';
        if (fs_method_name_ok(d->d_name)) {
            if ((*fresh)->n == *room) {
                *room *= 2;
                (*fresh)->bindings = fs_xrealloc((*fresh)->bindings, *room * sizeof *(*fresh)->bindings);
            }
            read_file(l, *fresh, kind, folder, d->d_name);
        }
    }
    if (dir) {
        closedir(dir);
    }
}

void
folders_read(struct fs_loader *l, const char *source)
{
    size_t room = (l->table ? l->table->n : 0) + 64;
    struct fs_table *fresh = table_new(room);
    __atomic_store_n(&l->look_again, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&l->dirty, false, __ATOMIC_RELAXED);
    for (int kind = FS_KIND_COMMAND; kind <= FS_KIND_TASK; kind++) {
        for (int folder = 0; folder < 2; folder++) {
            read_folder(l, &fresh, &room, (enum fs_method_kind) kind, folder);
        }
    }
    l->look_at_bad = false;
    table_publish(l, fresh);
    versions_record(l, fresh, source);
}

/* --- Records --- */

static bool
is_needed(void *aux, const char *hash)
{
    struct fs_loader *l = aux;
    bool needed = fs_versions_has(l->versions, hash);
    pthread_mutex_lock(&l->lives);
    for (struct fs_loaded *v = l->live; v && !needed; v = v->next) {
        needed = !strcmp(v->hash, hash);
    }
    pthread_mutex_unlock(&l->lives);
    return needed;
}

void
versions_record(struct fs_loader *l, const struct fs_table *t, const char *source)
{
    bool changed = false;
    for (size_t i = 0; i < t->n; i++) {
        const struct binding *b = &t->bindings[i];
        if (b->loaded && table_serving(t, b->kind, b->name) == b) {
            changed = fs_versions_note(l->versions, b->kind, b->name, b->loaded->hash, source) || changed;
        }
    }
    int e = fs_versions_write(l->versions);
    if (e) {
        fs_log_limited(FS_LOG_WARNING, "which versions are active cannot be written down: %s", strerror(e));
    } else if (changed) {
        fs_images_sweep(l->images, is_needed, l);
    }
}

/* Is the file that would serve this very image? */
static bool
is_file(struct fs_loader *l, const struct fs_version *v)
{
    char hash[FS_HASH_SIZE] = "", *bytes;
    size_t size;
    for (int folder = 0; folder < 2 && !*hash; folder++) {
        char *path = fs_xasprintf("%s/%s.so", l->folders[v->kind - 1][folder].path, v->name);
        if (!fs_read_file(AT_FDCWD, path, FS_LOADABLE_MAX, true, &bytes, &size)) {
            fs_image_hash(bytes, size, hash);
            free(bytes);
        }
        free(path);
    }
    return !strcmp(hash, v->hash);
}

/* Make the file of a method be an image; false: it cannot be. */
static bool
put_back(struct fs_loader *l, enum fs_method_kind kind, const char *name, const char *hash)
{
    const struct folder *f = &l->folders[kind - 1][0];
    char *path = fs_xasprintf("%s/%s.so", f->path, name), *bytes;
    size_t size;
    int e = fs_images_read(l->images, hash, &bytes, &size);
    if (!e) {
        char *signature = fs_images_signature(l->images, hash);
        struct placing p = { 0 };
        e = place_stage(&p, f->path, name, bytes, size, signature);
        e = e ? e : place_switch(&p);
        if (e) {
            place_undo(&p);
        }
        place_end(&p);
        e = e ? e : place_sync(f->path);
        free(signature);
        free(bytes);
    }
    if (e) {
        fs_log_warning("%s could not be made %.12s again: %s", path, hash, strerror(e));
    } else {
        fs_log_warning("%s is %.12s again", path, hash);
    }
    free(path);
    return !e;
}

/* The newest version before the active one of a refused method that is not refused itself. */
static void
leave_refused(struct fs_loader *l)
{
    size_t n;
    const struct fs_version **all = fs_versions_list(l->versions, 0, NULL, &n);
    for (size_t i = 0; i < n; i++) {
        bool active = !i || all[i]->kind != all[i - 1]->kind || strcmp(all[i]->name, all[i - 1]->name);
        size_t k = i + 1;
        if (!active || !fs_versions_refused(l->versions, all[i]->hash)) {
            continue;
        }
        while (k < n && all[k]->kind == all[i]->kind && !strcmp(all[k]->name, all[i]->name) && fs_versions_refused(l->versions, all[k]->hash)) {
            k++;
        }
        if (k < n && all[k]->kind == all[i]->kind && !strcmp(all[k]->name, all[i]->name) && is_file(l, all[i])) {
            put_back(l, all[k]->kind, all[k]->name, all[k]->hash);
        }
    }
    free(all);
}

/* Can all of a patch be finished? */
static bool
can_finish(struct fs_loader *l, const struct fs_intent *begun, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char *bytes;
        size_t size;
        int e = fs_images_read(l->images, begun[i].hash, &bytes, &size);
        if (e) {
            fs_log_error("the patch of %s that was under way when the daemon died cannot be finished (image %.12s: %s): it is taken back", begun[i].name, begun[i].hash, strerror(e));
            return false;
        }
        free(bytes);
    }
    return true;
}

/* One method of a patch: as the patch has it, or, where it is taken back, as the record has it. */
static bool
recover(struct fs_loader *l, const struct fs_intent *one, bool finish)
{
    if (finish) {
        fs_log_warning("a patch of %s was under way when the daemon died: it is finished", one->name);
        return put_back(l, one->kind, one->name, one->hash);
    }
    size_t n;
    const struct fs_version **list = fs_versions_list(l->versions, one->kind, one->name, &n);
    struct fs_version patched = { .kind = one->kind };
    memcpy(patched.name, one->name, sizeof patched.name);
    memcpy(patched.hash, one->hash, sizeof patched.hash);
    char *path = fs_xasprintf("%s/%s.so", l->folders[one->kind - 1][0].path, one->name);
    bool good = true;
    if (is_file(l, &patched)) { /* it is in place already: else there is nothing to take back */
        good = n ? put_back(l, one->kind, one->name, list[0]->hash) : !unlink(path);
    }
    free(path);
    free(list);
    return good;
}

void
versions_recover(struct fs_loader *l)
{
    size_t n;
    struct fs_intent *begun = fs_versions_pending(l->versions, &n);
    bool all = true, finish = can_finish(l, begun, n);
    for (size_t i = 0; i < n; i++) {
        all = recover(l, &begun[i], finish) && all;
    }
    if (all) {
        fs_versions_end(l->versions);
    }
    free(begun);
    leave_refused(l);
}

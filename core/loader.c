/* The loader of tasks and commands; the promise is in the header.
 *
 * Look-up: one lstat() in the daemon's own folder and, when nothing is there, one in the common folder; identity is (device, inode,
 * size, times of modification and change).  Same identity: the entry is served.  Another: the file is read into memory, passes
 * fs_elf_check(), is hashed, and, unless an image with just these bytes is already in the store of images (then it has been vetted),
 * written there and tried in a child. */
#include "config.h"

#include "core/loader.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/elf.h"
#include "core/util.h"
#include <flowstream/log.h>

FS_LOG_MODULE("loader");

enum { MAX_LOADABLE = 64 << 20, VET_MS = 10000, TICK_MS = 20 };

/* A file as it was when it was looked at. */
struct identity {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec modified, changed; /* 'changed' tells when the modification time was set back */
};

/* A name in one folder. */
struct entry {
    char *name;
    enum fs_method_kind kind;
    int folder;              /* 0 own, 1 common */
    struct identity seen;    /* the file that 'loaded' or 'problem' came from */
    struct fs_loaded *loaded; /* newest good version; NULL: none yet */
    char *problem;           /* why the file as seen cannot be loaded, or NULL */
    struct entry *next;
};

struct fs_loader {
    char *lib;
    char *images;
    int images_fd;
    char *folders[2][2];     /* [kind - 1][own, common]; by path, so that one made later counts too */
    pthread_rwlock_t lock;   /* of the table */
    pthread_mutex_t loading; /* one load at a time */
    struct entry *buckets[256];
    struct fs_loaded **all;  /* every version ever loaded, to free */
    size_t n_all;
};

bool
fs_method_name_ok(const char *name)
{
    size_t n = strlen(name);
    return n > 0 && n <= 64 && name[0] != '.'
           && strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.") == n;
}

static unsigned
bucket(enum fs_method_kind kind, const char *name)
{
    unsigned h = 5381 + (unsigned) kind;
    while (*name) {
        h = h * 33 + (unsigned char) *name++;
    }
    return h % 256;
}

static struct entry *
find(struct fs_loader *l, enum fs_method_kind kind, const char *name, int folder)
{
    for (struct entry *e = l->buckets[bucket(kind, name)]; e; e = e->next) {
        if (e->kind == kind && e->folder == folder && !strcmp(e->name, name)) {
            return e;
        }
    }
    return NULL;
}

static bool
same(const struct identity *a, const struct identity *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size && a->modified.tv_sec == b->modified.tv_sec
           && a->modified.tv_nsec == b->modified.tv_nsec && a->changed.tv_sec == b->changed.tv_sec
           && a->changed.tv_nsec == b->changed.tv_nsec;
}

struct fs_loader *
fs_loader_new(const char *lib, const char *own, const char *images, char **error)
{
    struct fs_loader *l = fs_xcalloc(1, sizeof *l);
    l->lib = fs_xstrdup(lib);
    l->images = fs_xstrdup(images);
    pthread_rwlock_init(&l->lock, NULL);
    pthread_mutex_init(&l->loading, NULL);
    for (int kind = 0; kind < 2; kind++) {
        for (int common = 0; common < 2; common++) {
            l->folders[kind][common] = fs_xasprintf("%s/%s/%s", lib, kind ? "tasks" : "commands", common ? "common" : own);
        }
    }
    struct stat st;
    int e = fs_make_dirs(images);
    l->images_fd = e ? -1 : open(images, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (l->images_fd < 0) {
        *error = fs_xasprintf("%s: %s", images, strerror(e ? e : errno));
    } else if (stat(l->folders[0][1], &st) || !S_ISDIR(st.st_mode)) {
        *error = fs_xasprintf("%s: no such folder: 'lib' in the configuration must hold tasks/ and commands/", l->folders[0][1]);
    } else {
        return l;
    }
    fs_loader_destroy(l);
    return NULL;
}

void
fs_loader_destroy(struct fs_loader *l)
{
    if (!l) {
        return;
    }
    for (size_t i = 0; i < 256; i++) {
        for (struct entry *e = l->buckets[i], *next; e; e = next) {
            next = e->next;
            free(e->name);
            free(e->problem);
            free(e);
        }
    }
    for (size_t i = 0; i < l->n_all; i++) {
        free(l->all[i]->path);
        free(l->all[i]);
    }
    free(l->all);
    for (int i = 0; i < 4; i++) {
        free(l->folders[i / 2][i % 2]);
    }
    if (l->images_fd >= 0) {
        close(l->images_fd);
    }
    pthread_rwlock_destroy(&l->lock);
    pthread_mutex_destroy(&l->loading);
    free(l->lib);
    free(l->images);
    free(l);
}

/* --- The child that tries an object first --- */

static const struct fs_method *
open_object(const char *path, char **error)
{
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        *error = fs_xasprintf("%s", dlerror());
        return NULL;
    }
    const struct fs_method *m = dlsym(handle, "fs_method_v1");
    if (!m) {
        *error = fs_xasprintf("it defines no FS_TASK or FS_COMMAND (symbol fs_method_v1)");
    } else if (m->magic != FS_METHOD_MAGIC || m->abi != FS_METHOD_ABI) {
        *error = fs_xasprintf("it was compiled for another version of <flowstream/method.h> (ABI %u, this is %u)", m->abi, FS_METHOD_ABI);
    } else if (!m->name || !m->run || (m->kind != FS_KIND_TASK && m->kind != FS_KIND_COMMAND)) {
        *error = fs_xasprintf("its descriptor has no name, no kind or no run function");
    } else {
        return m;
    }
    return NULL; /* the handle stays: what was loaded is never unloaded */
}

int
fs_loader_vet_main(int n, char **files)
{
    struct rlimit two_seconds = { 2, 3 }, none = { 0, 0 };
    setrlimit(RLIMIT_CPU, &two_seconds);
    setrlimit(RLIMIT_CORE, &none);
    alarm(VET_MS / 1000);
    /* What an object prints while it is loaded must not pass for our verdict. */
    int verdict = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    if (verdict < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0) {
        return 1;
    }
    int bad = 0;
    for (int i = 0; i < n; i++) {
        char *error = NULL;
        const struct fs_method *m = open_object(files[i], &error);
        bad |= dprintf(verdict, "%s\n", m ? "ok" : error) < 0 || !m;
        free(error);
    }
    return bad ? 1 : 0;
}

/* What the child says until it ends; false when it takes too long.  An object may leave processes behind that keep the pipe
 * open, so the end of the pipe alone is not waited for. */
static bool
listen_to(int fd, struct fs_text *said)
{
    int64_t until = fs_now_ms() + VET_MS + 1000;
    for (;;) {
        int64_t left = until - fs_now_ms();
        struct pollfd p = { .fd = fd, .events = POLLIN };
        if (left <= 0 || poll(&p, 1, (int) left) <= 0) {
            return false;
        }
        char buffer[512];
        ssize_t got = read(fd, buffer, sizeof buffer);
        if (got <= 0) {
            return true;
        }
        fs_text_add(said, buffer, (size_t) got);
    }
}

/* Have one child load 'n' files, in order.  What it said, a line a file, goes into 'said' and its end into '*status'; 0 or errno. */
static int
try_in_child(char *const files[], size_t n, struct fs_text *said, int *status)
{
    int out[2];
    if (pipe2(out, O_CLOEXEC)) {
        return errno;
    }
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    char program[] = "/proc/self/exe", option[] = "--vet";
    char **argv = fs_xcalloc(n + 3, sizeof *argv);
    argv[0] = program;
    argv[1] = option;
    memcpy(argv + 2, files, n * sizeof *argv);
    pid_t pid;
    extern char **environ;
    int e = posix_spawn(&pid, program, &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(out[1]);
    free(argv);
    if (!e && !listen_to(out[0], said)) {
        kill(pid, SIGKILL);
    }
    close(out[0]);
    return e ? e : waitpid(pid, status, 0) != pid ? errno : 0;
}

/* NULL when a child could load 'path', else why not. */
static char *
vet(char *path)
{
    struct fs_text said = { 0 };
    int status = 0;
    int e = try_in_child(&path, 1, &said, &status);
    char *why = NULL;
    if (e) {
        why = fs_xasprintf("it could not be tried in a child process: %s", strerror(e));
    } else if (WIFSIGNALED(status)) {
        why = fs_xasprintf("loading it ended the process that tried it: %s", strsignal(WTERMSIG(status)));
    } else if (!said.text) {
        why = fs_xasprintf("loading it ended the process that tried it with status %d: does it call exit() in a constructor?",
                           WEXITSTATUS(status));
    } else if (strcmp(said.text, "ok\n") || WEXITSTATUS(status)) {
        said.text[strcspn(said.text, "\n")] = '\0';
        why = fs_xstrdup(said.text);
    }
    free(said.text);
    return why;
}

/* --- Loading --- */

static void
hash(const void *bytes, size_t size, char hex[65])
{
    unsigned char digest[32];
    gnutls_hash_fast(GNUTLS_DIG_SHA256, bytes, size, digest);
    for (size_t i = 0; i < sizeof digest; i++) {
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    }
}

/* Is the image there, with these very bytes?  A crash of the machine may have left an empty file under the name. */
static bool
image_is_good(const struct fs_loader *l, const char *name, const char *bytes, size_t size)
{
    char *there;
    size_t n;
    if (fs_read_file(l->images_fd, name, MAX_LOADABLE, true, &there, &n)) {
        return false;
    }
    bool good = n == size && !memcmp(there, bytes, n);
    free(there);
    return good;
}

/* Bring the bytes into the store of images, vetted; NULL or the reason why not. */
static char *
make_image(struct fs_loader *l, const char *bytes, size_t size, const char *hex, char **path)
{
    *path = fs_xasprintf("%s/%s.so", l->images, hex);
    char *name = fs_xasprintf("%s.so", hex);
    char *why = NULL;
    if (!image_is_good(l, name, bytes, size)) {
        char *trial = fs_xasprintf("%s/trial-%s.so", l->images, hex);
        char *trial_name = fs_xasprintf("trial-%s.so", hex);
        int e = fs_write_file(l->images_fd, trial_name, bytes, size, 0444);
        why = e ? fs_xasprintf("%s: %s", trial, strerror(e)) : vet(trial);
        if (!why && renameat(l->images_fd, trial_name, l->images_fd, name)) {
            why = fs_xasprintf("%s: %s", *path, strerror(errno));
        }
        if (why) {
            unlinkat(l->images_fd, trial_name, 0);
        }
        free(trial);
        free(trial_name);
    }
    free(name);
    return why;
}

/* --- Trying many at once --- */

/* Files that are tried together: where each is now, and the image that it becomes. */
struct trials {
    char **paths, **images;
    size_t n;
};

static void
add_trial(struct fs_loader *l, struct trials *t, const char *file)
{
    char *bytes = NULL, hex[65];
    size_t size;
    if (fs_read_file(AT_FDCWD, file, MAX_LOADABLE, true, &bytes, &size)) {
        return;
    }
    char *why = fs_elf_check(bytes, size);
    if (!why) {
        hash(bytes, size, hex);
        char *image = fs_xasprintf("%s.so", hex), *trial = fs_xasprintf("ahead-%s.so", hex);
        if (!image_is_good(l, image, bytes, size) && !fs_write_file(l->images_fd, trial, bytes, size, 0444)) {
            t->paths = fs_xrealloc(t->paths, (t->n + 1) * sizeof *t->paths);
            t->images = fs_xrealloc(t->images, (t->n + 1) * sizeof *t->images);
            t->paths[t->n] = fs_xasprintf("%s/%s", l->images, trial);
            t->images[t->n++] = fs_xasprintf("%s/%s", l->images, image);
        }
        free(image);
        free(trial);
    }
    free(why);
    free(bytes);
}

static void
add_folder(struct fs_loader *l, struct trials *t, const char *folder)
{
    DIR *dir = opendir(folder);
    for (struct dirent *d; dir && (d = readdir(dir));) {
        size_t length = strlen(d->d_name);
        if (length > 3 && !strcmp(d->d_name + length - 3, ".so")) {
            char *file = fs_xasprintf("%s/%s", folder, d->d_name);
            add_trial(l, t, file);
            free(file);
        }
    }
    if (dir) {
        closedir(dir);
    }
}

static bool
all_are_good(const struct trials *t)
{
    struct fs_text said = { 0 };
    int status = 0;
    bool good = !try_in_child(t->paths, t->n, &said, &status) && !status && said.length == 3 * t->n; /* so many times "ok\n" */
    free(said.text);
    return good;
}

void
fs_loader_try_all(struct fs_loader *l)
{
    struct trials t = { 0 };
    for (int i = 0; i < 4; i++) {
        add_folder(l, &t, l->folders[i / 2][i % 2]);
    }
    bool good = t.n && all_are_good(&t);
    for (size_t i = 0; i < t.n; i++) {
        if (!good || rename(t.paths[i], t.images[i])) {
            unlink(t.paths[i]);
        }
        free(t.paths[i]);
        free(t.images[i]);
    }
    free(t.paths);
    free(t.images);
}

/* --- One --- */

static struct fs_loaded *
load(struct fs_loader *l, enum fs_method_kind kind, const char *name, int folder, char **error)
{
    char *file = fs_xasprintf("%s/%s.so", l->folders[kind - 1][folder], name);
    char *bytes = NULL, *image = NULL, *why = NULL;
    size_t size = 0;
    char hex[65];
    int e = fs_read_file(AT_FDCWD, file, MAX_LOADABLE, true, &bytes, &size);
    if (e) {
        why = fs_xasprintf("%s", e == EINVAL ? "not a regular file" : e == ELOOP ? "it is a symbolic link" : strerror(e));
    } else {
        why = fs_elf_check(bytes, size);
    }
    const struct fs_method *m = NULL;
    if (!why) {
        hash(bytes, size, hex);
        why = make_image(l, bytes, size, hex, &image);
    }
    if (!why) {
        m = open_object(image, &why);
    }
    if (m && m->kind != kind) {
        why = fs_xasprintf("it is a %s, but lies in a folder of %s", m->kind == FS_KIND_TASK ? "task" : "command",
                           kind == FS_KIND_TASK ? "tasks" : "commands");
    } else if (m && strcmp(m->name, name)) {
        why = fs_xasprintf("its descriptor says '%s': file and method have the same name", m->name);
    }
    struct fs_loaded *loaded = NULL;
    if (!why) {
        loaded = fs_xcalloc(1, sizeof *loaded);
        loaded->method = m;
        loaded->path = fs_xstrdup(file);
        memcpy(loaded->hash, hex, sizeof hex);
        l->all = fs_xrealloc(l->all, (l->n_all + 1) * sizeof *l->all);
        l->all[l->n_all++] = loaded;
    }
    free(bytes);
    free(file);
    free(image);
    *error = why;
    return loaded;
}

/* The file has changed: load it again.  Called with 'loading' held. */
static void
renew(struct fs_loader *l, enum fs_method_kind kind, const char *name, int folder, const struct identity *id)
{
    struct entry *e = find(l, kind, name, folder); /* only we change the table: reading needs no lock */
    if (e && same(&e->seen, id)) {
        return;
    }
    /* Two writes within one tick of the file system's clock leave the same times: what was written just now is looked at again. */
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    bool settled = (now.tv_sec - id->changed.tv_sec) * 1000 + (now.tv_nsec - id->changed.tv_nsec) / 1000000 > TICK_MS;
    char *why = NULL;
    struct fs_loaded *loaded = load(l, kind, name, folder, &why);
    if (why && (!e || !e->problem || strcmp(e->problem, why))) {
        fs_log_warning("%s/%s.so is not loaded: %s", l->folders[kind - 1][folder], name, why);
    } else if (!why) {
        fs_log_debug("loaded %s (%.12s)", loaded->path, loaded->hash);
    }
    pthread_rwlock_wrlock(&l->lock);
    if (!e) {
        e = fs_xcalloc(1, sizeof *e);
        e->name = fs_xstrdup(name);
        e->kind = kind;
        e->folder = folder;
        e->next = l->buckets[bucket(kind, name)];
        l->buckets[bucket(kind, name)] = e;
    }
    e->seen = settled ? *id : (struct identity) { 0 };
    free(e->problem);
    e->problem = why;
    if (loaded && e->loaded && !strcmp(loaded->hash, e->loaded->hash)) {
        loaded = e->loaded; /* the same bytes written again: the same version goes on */
    }
    e->loaded = loaded ? loaded : e->loaded;
    pthread_rwlock_unlock(&l->lock);
}

static bool
identify(struct fs_loader *l, enum fs_method_kind kind, const char *name, int folder, struct identity *id)
{
    struct stat st;
    char *file = fs_xasprintf("%s/%s.so", l->folders[kind - 1][folder], name);
    bool there = !lstat(file, &st);
    free(file);
    if (there) {
        *id = (struct identity) { st.st_dev, st.st_ino, st.st_size, st.st_mtim, st.st_ctim };
    }
    return there;
}

/* What the table says: true when the file as it is now has been looked at, with what serves or why nothing does. */
static bool
look_up(struct fs_loader *l, enum fs_method_kind kind, const char *name, int folder, const struct identity *id,
        struct fs_loaded **loaded, char **error)
{
    pthread_rwlock_rdlock(&l->lock);
    struct entry *e = find(l, kind, name, folder);
    bool fresh = e && same(&e->seen, id);
    *loaded = e ? e->loaded : NULL;
    *error = e && !e->loaded && e->problem
                 ? fs_xasprintf("%s/%s.so is not loaded: %s", l->folders[kind - 1][folder], name, e->problem)
                 : NULL;
    pthread_rwlock_unlock(&l->lock);
    return fresh;
}

struct fs_loaded *
fs_loader_get(struct fs_loader *l, enum fs_method_kind kind, const char *name, char **error)
{
    *error = NULL;
    struct identity id;
    int folder = 0;
    if (!fs_method_name_ok(name) || (!identify(l, kind, name, folder, &id) && !identify(l, kind, name, ++folder, &id))) {
        return NULL;
    }
    struct fs_loaded *loaded;
    if (look_up(l, kind, name, folder, &id, &loaded, error)) {
        return loaded;
    }
    free(*error);
    pthread_mutex_lock(&l->loading);
    if (identify(l, kind, name, folder, &id)) { /* again: whoever held the lock before us may have taken long */
        renew(l, kind, name, folder, &id);
    }
    look_up(l, kind, name, folder, &id, &loaded, error); /* under the lock: no other thread has looked at a newer file since */
    pthread_mutex_unlock(&l->loading);
    return loaded;
}

struct fs_loaded *
fs_loader_peek(struct fs_loader *l, enum fs_method_kind kind, const char *name)
{
    struct identity id;
    int folder = 0;
    if (!fs_method_name_ok(name) || (!identify(l, kind, name, folder, &id) && !identify(l, kind, name, ++folder, &id))) {
        return NULL;
    }
    struct fs_loaded *loaded;
    char *error;
    bool fresh = look_up(l, kind, name, folder, &id, &loaded, &error);
    free(error);
    return fresh ? loaded : NULL;
}

char *
fs_loader_problem(struct fs_loader *l, enum fs_method_kind kind, const char *name)
{
    char *why = NULL;
    pthread_rwlock_rdlock(&l->lock);
    struct entry *own = find(l, kind, name, 0), *common = find(l, kind, name, 1);
    struct identity id;
    struct entry *e = own && identify(l, kind, name, 0, &id) ? own : common;
    if (e && e->problem) {
        why = fs_xstrdup(e->problem);
    }
    pthread_rwlock_unlock(&l->lock);
    return why;
}

const char *
fs_loader_folder(const struct fs_loader *l, enum fs_method_kind kind)
{
    return l->folders[kind - 1][0];
}

static int
by_name(const void *a, const void *b)
{
    const struct fs_loaded *const *x = a, *const *y = b;
    return strcmp((*x)->method->name, (*y)->method->name);
}

struct fs_loaded **
fs_loader_list(struct fs_loader *l, enum fs_method_kind kind, size_t *n, char **problems)
{
    struct fs_loaded **list = NULL;
    struct fs_text said = { 0 };
    *n = 0;
    for (int folder = 0; folder < 2; folder++) {
        DIR *dir = opendir(l->folders[kind - 1][folder]);
        for (struct dirent *d; dir && (d = readdir(dir));) {
            size_t length = strlen(d->d_name);
            if (length < 4 || strcmp(d->d_name + length - 3, ".so")) {
                continue;
            }
            d->d_name[length - 3] = '\0';
            struct identity id;
            if (folder == 1 && identify(l, kind, d->d_name, 0, &id)) {
                continue; /* the daemon's own comes before the common one */
            }
            char *error = NULL;
            struct fs_loaded *loaded = fs_loader_get(l, kind, d->d_name, &error);
            if (error) {
                fs_text_addf(&said, "%s%s", said.length ? "\n" : "", error);
                free(error);
            }
            if (loaded) {
                list = fs_xrealloc(list, (*n + 1) * sizeof *list);
                list[(*n)++] = loaded;
            }
        }
        if (dir) {
            closedir(dir);
        }
    }
    if (*n) {
        qsort(list, *n, sizeof *list, by_name);
    }
    *problems = said.text;
    return list;
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

/* The store of images: files HASH.so in one folder. */
#include "config.h"

#include "core/images.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/elf.h"
#include "core/util.h"
#include "core/vet.h"

enum { SIGNATURE_MAX = 4096, TRIED_TOGETHER = 64 };

struct fs_images {
    char *folder;
    int fd;
};

static bool
is_unfinished(const char *name)
{
    size_t n = strlen(name);
    return !strncmp(name, "trial-", 6) || !strncmp(name, "ahead-", 6) || (n > 4 && !strcmp(name + n - 4, ".tmp"));
}

static void
tidy(struct fs_images *s)
{
    int fd = openat(s->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    for (struct dirent *d; dir && (d = readdir(dir));) {
        if (is_unfinished(d->d_name)) {
            unlinkat(s->fd, d->d_name, 0);
        }
    }
    if (dir) {
        closedir(dir);
    } else if (fd >= 0) {
        close(fd);
    }
}

struct fs_images *
fs_images_open(const char *folder, char **error)
{
    struct fs_images *s = fs_xcalloc(1, sizeof *s);
    s->folder = fs_xstrdup(folder);
    int e = fs_make_dirs(folder);
    s->fd = e ? -1 : open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->fd < 0) {
        *error = fs_xasprintf("%s: %s", folder, strerror(e ? e : errno));
        fs_images_close(s);
        return NULL;
    }
    tidy(s);
    return s;
}

void
fs_images_close(struct fs_images *s)
{
    if (s) {
        if (s->fd >= 0) {
            close(s->fd);
        }
        free(s->folder);
        free(s);
    }
}

void
fs_image_hash(const void *bytes, size_t size, char hex[FS_HASH_SIZE])
{
    unsigned char digest[32];
    gnutls_hash_fast(GNUTLS_DIG_SHA256, bytes, size, digest);
    for (size_t i = 0; i < sizeof digest; i++) {
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    }
}

char *
fs_images_path(const struct fs_images *s, const char *hash)
{
    return fs_xasprintf("%s/%s.so", s->folder, hash);
}

int
fs_images_read(const struct fs_images *s, const char *hash, char **bytes, size_t *size)
{
    char *name = fs_xasprintf("%s.so", hash), is[FS_HASH_SIZE];
    int e = fs_read_file(s->fd, name, FS_LOADABLE_MAX, true, bytes, size);
    if (!e) {
        fs_image_hash(*bytes, *size, is);
        if (strcmp(is, hash)) {
            free(*bytes);
            e = EBADMSG;
        }
    }
    free(name);
    return e;
}

int
fs_images_set_signature(struct fs_images *s, const char *hash, const char *text)
{
    char *name = fs_xasprintf("%s.sig", hash);
    int e = fs_write_file(s->fd, name, text, strlen(text), 0444);
    free(name);
    return e;
}

char *
fs_images_signature(const struct fs_images *s, const char *hash)
{
    char *name = fs_xasprintf("%s.sig", hash), *text = NULL;
    size_t size;
    if (fs_read_file(s->fd, name, SIGNATURE_MAX, true, &text, &size)) {
        text = NULL;
    }
    free(name);
    return text;
}

/* Is the image there, with these very bytes?  A crash of the machine may have left an empty file under the name. */
static bool
is_there(const struct fs_images *s, const char *hash, const char *bytes, size_t size)
{
    char *name = fs_xasprintf("%s.so", hash), *there;
    size_t n;
    bool good = !fs_read_file(s->fd, name, FS_LOADABLE_MAX, true, &there, &n);
    if (good) {
        good = n == size && !memcmp(there, bytes, n);
        free(there);
    }
    free(name);
    return good;
}

char *
fs_images_add(struct fs_images *s, const char *hash, const void *bytes, size_t size, enum fs_method_kind kind, const char *name)
{
    if (is_there(s, hash, bytes, size)) {
        return NULL;
    }
    char *image = fs_xasprintf("%s.so", hash), *trial = fs_xasprintf("trial-%s.so", hash), *path = fs_xasprintf("%s/%s", s->folder, trial);
    int e = fs_write_file(s->fd, trial, bytes, size, 0444);
    char *why = e ? fs_xasprintf("%s: %s", path, strerror(e)) : fs_vet(path, kind, name);
    if (!why && (renameat(s->fd, trial, s->fd, image) || fsync(s->fd))) {
        why = fs_xasprintf("%s/%s: %s", s->folder, image, strerror(errno));
    }
    if (why) {
        unlinkat(s->fd, trial, 0);
    }
    free(path);
    free(trial);
    free(image);
    return why;
}

/* --- Many at once --- */

char *
fs_images_trust(const struct stat *st)
{
    if (st->st_uid != 0 && st->st_uid != geteuid()) {
        return fs_xasprintf("it belongs to user %u: only files of root and of the daemon's own user are loaded", (unsigned) st->st_uid);
    }
    return st->st_mode & 022 ? fs_xasprintf("others may write it (mode %04o): chmod go-w", (unsigned) st->st_mode & 07777) : NULL;
}

/* Files that are tried together: where each is now, and the image that it becomes. */
struct trials {
    char **paths, **images;
    size_t n;
};

static void
add_trial(struct fs_images *s, struct trials *t, const char *file)
{
    char *bytes = NULL, hash[FS_HASH_SIZE];
    size_t size;
    struct stat st;
    if (fs_read_unwritten_file(file, FS_LOADABLE_MAX, &st, &bytes, &size)) {
        return;
    }
    char *why = fs_images_trust(&st);
    why = why ? why : fs_elf_check(bytes, size);
    if (!why) {
        fs_image_hash(bytes, size, hash);
        char *trial = fs_xasprintf("ahead-%s.so", hash);
        if (!is_there(s, hash, bytes, size) && !fs_write_file(s->fd, trial, bytes, size, 0444)) {
            t->paths = fs_xrealloc(t->paths, (t->n + 1) * sizeof *t->paths);
            t->images = fs_xrealloc(t->images, (t->n + 1) * sizeof *t->images);
            t->paths[t->n] = fs_xasprintf("%s/%s", s->folder, trial);
            t->images[t->n++] = fs_images_path(s, hash);
        }
        free(trial);
    }
    free(why);
    free(bytes);
}

static void
add_some(struct fs_images *s, char *const files[], size_t n)
{
    struct trials t = { 0 };
    for (size_t i = 0; i < n; i++) {
        add_trial(s, &t, files[i]);
    }
    bool good = t.n && fs_vet_all(t.paths, t.n);
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

void
fs_images_add_all(struct fs_images *s, char *const files[], size_t n)
{
    for (size_t i = 0; i < n; i += TRIED_TOGETHER) { /* a bad one spoils those that are tried with it, and a child has little time */
        add_some(s, files + i, n - i < TRIED_TOGETHER ? n - i : TRIED_TOGETHER);
    }
}

void
fs_images_sweep(struct fs_images *s, bool (*keep)(void *aux, const char *hash), void *aux)
{
    int fd = openat(s->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    for (struct dirent *d; dir && (d = readdir(dir));) {
        size_t length = strlen(d->d_name);
        const char *suffix = length > FS_HASH_SIZE - 1 ? d->d_name + FS_HASH_SIZE - 1 : "";
        if (!strcmp(suffix, ".so") || !strcmp(suffix, ".sig")) {
            char hash[FS_HASH_SIZE];
            snprintf(hash, sizeof hash, "%.64s", d->d_name);
            if (!keep(aux, hash)) {
                unlinkat(s->fd, d->d_name, 0);
            }
        }
    }
    if (dir) {
        closedir(dir);
    } else if (fd >= 0) {
        close(fd);
    }
}

/* The files of a patch on their way into a folder.  Everything that needs room on the disk is written beside the names first; then the names are switched, and switched back if one
 * cannot be, which needs none: so a full disk never leaves half a patch.
 *
 * NAME.so.fresh is to be NAME.so, NAME.so.before is what it was; the same for NAME.so.sig.  None of these names is looked at by the loader. */
#include "config.h"

#include "core/place.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/images.h"
#include "core/util.h"

/* The names of one file. */
struct names {
    char *now, *fresh, *before;
};

static struct names
names_of(const char *path)
{
    return (struct names) { fs_xstrdup(path), fs_xasprintf("%s.fresh", path), fs_xasprintf("%s.before", path) };
}

static void
free_names(struct names *n)
{
    free(n->now);
    free(n->fresh);
    free(n->before);
}

static int
copy(const char *from, const char *to)
{
    char *bytes;
    size_t size;
    int e = fs_read_file(AT_FDCWD, from, FS_LOADABLE_MAX, true, &bytes, &size);
    if (!e) {
        e = fs_write_file(AT_FDCWD, to, bytes, size, 0644);
        free(bytes);
    }
    return e;
}

static int
stage(const char *path, const void *bytes, size_t size, bool *there)
{
    struct names n = names_of(path);
    unlink(n.before);
    int e = link(n.now, n.before) ? errno : 0;
    if (e && e != ENOENT) { /* a system that lets only owners make links, a file system that has none */
        e = copy(n.now, n.before);
    }
    *there = !e;
    e = e == ENOENT ? 0 : e;
    e = e ? e : fs_write_file(AT_FDCWD, n.fresh, bytes, size, 0644);
    free_names(&n);
    return e;
}

static int
to_now(const char *path)
{
    struct names n = names_of(path);
    int e = rename(n.fresh, n.now) ? errno : 0;
    free_names(&n);
    return e;
}

static int
to_before(const char *path, bool there)
{
    struct names n = names_of(path);
    int e = there ? (rename(n.before, n.now) ? errno : 0) : unlink(n.now) && errno != ENOENT ? errno : 0;
    free_names(&n);
    return e;
}

static void
sweep(const char *path)
{
    struct names n = names_of(path);
    unlink(n.fresh);
    unlink(n.before);
    free_names(&n);
}

int
place_stage(struct placing *p, const char *folder, const char *name, const void *bytes, size_t size, const char *signature)
{
    fs_make_dirs(folder); /* what goes wrong here, the writing says */
    p->path = fs_xasprintf("%s/%s.so", folder, name);
    p->signature = signature ? fs_xasprintf("%s.sig", p->path) : NULL;
    int e = stage(p->path, bytes, size, &p->was_there);
    return !e && p->signature ? stage(p->signature, signature, strlen(signature), &p->signature_was_there) : e;
}

int
place_switch(struct placing *p)
{
    struct stat st;
    int e = p->signature ? to_now(p->signature) : 0;
    p->signature_switched = p->signature && !e;
    e = e ? e : to_now(p->path);
    p->switched = !e;
    if (!e && !stat(p->path, &st)) {
        p->inode = st.st_ino;
    }
    return e;
}

int
place_undo(struct placing *p)
{
    int e = p->switched ? to_before(p->path, p->was_there) : 0;
    int other = p->signature_switched ? to_before(p->signature, p->signature_was_there) : 0;
    p->switched = p->signature_switched = false;
    return e ? e : other;
}

void
place_end(struct placing *p)
{
    if (p->path) {
        sweep(p->path);
    }
    if (p->signature) {
        sweep(p->signature);
    }
    free(p->path);
    free(p->signature);
    *p = (struct placing) { 0 };
}

int
place_sync(const char *folder)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int e = fd < 0 || fsync(fd) ? errno : 0;
    if (fd >= 0) {
        close(fd);
    }
    return e;
}

static bool
ends_with(const char *name, const char *end)
{
    size_t n = strlen(name), m = strlen(end);
    return n > m && !strcmp(name + n - m, end);
}

void
place_tidy(const char *folder)
{
    DIR *dir = opendir(folder);
    for (struct dirent *d; dir && (d = readdir(dir));) {
        const char *object = strstr(d->d_name, ".so.");
        if (object && (ends_with(d->d_name, ".fresh") || ends_with(d->d_name, ".before") || ends_with(d->d_name, ".tmp"))) {
            unlinkat(dirfd(dir), d->d_name, 0);
        }
    }
    if (dir) {
        closedir(dir);
    }
}

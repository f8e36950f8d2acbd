/* Memory, text, time and files for the rest of the core and for the daemons. */
#include "config.h"

#include "core/util.h"
#include <flowstream/failpoint.h>

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static void *
must(void *p)
{
    if (!p) {
        static const char text[] = "flowstream: out of memory\n";
        (void) !write(STDERR_FILENO, text, sizeof text - 1);
        abort();
    }
    return p;
}

void *
fs_xmalloc(size_t size)
{
    return must(malloc(size ? size : 1));
}

void *
fs_xcalloc(size_t n, size_t size)
{
    return must(calloc(n ? n : 1, size ? size : 1));
}

void *
fs_xrealloc(void *p, size_t size)
{
    return must(realloc(p, size ? size : 1));
}

char *
fs_xstrdup(const char *s)
{
    return must(strdup(s));
}

/* As glibc has it: a word before each, multiples of 16, 32 at least. */
size_t
fs_taken(size_t bytes)
{
    size_t all = (bytes + sizeof(size_t) + 15) & ~(size_t) 15;
    return all < 32 ? 32 : all;
}

char *
fs_xvasprintf(const char *format, va_list args)
{
    char *text = NULL;
    if (vasprintf(&text, format, args) < 0) {
        must(NULL);
    }
    return text;
}

char *
fs_xasprintf(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = fs_xvasprintf(format, args);
    va_end(args);
    return text;
}

void
fs_text_add(struct fs_text *t, const char *bytes, size_t n)
{
    if (t->length + n + 1 > t->room) {
        t->room = (t->length + n + 1) * 2;
        t->text = fs_xrealloc(t->text, t->room);
    }
    memcpy(t->text + t->length, bytes, n);
    t->length += n;
    t->text[t->length] = '\0';
}

void
fs_text_addf(struct fs_text *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *s = fs_xvasprintf(format, args);
    va_end(args);
    fs_text_add(t, s, strlen(s));
    free(s);
}

int64_t
fs_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t) t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Reads all of 'fd', which is closed. */
static int
read_and_close(int fd, size_t limit, char **content, size_t *size)
{
    struct stat st;
    int error = fstat(fd, &st) ? errno : !S_ISREG(st.st_mode) ? EINVAL : (size_t) st.st_size > limit ? EFBIG : 0;
    char *buffer = NULL;
    size_t n = 0;
    if (!error) {
        size_t room = (size_t) st.st_size;
        buffer = fs_xmalloc(room + 1);
        while (n < room) {
            ssize_t got = read(fd, buffer + n, room - n);
            if (got < 0 && errno == EINTR) {
                continue;
            }
            if (got < 0) {
                error = errno;
            }
            if (got <= 0) {
                break;
            }
            n += (size_t) got;
        }
    }
    close(fd);
    if (error) {
        free(buffer);
        return error;
    }
    buffer[n] = '\0';
    *content = buffer;
    *size = n;
    return 0;
}

int
fs_read_file(int dirfd, const char *path, size_t limit, bool nofollow, char **content, size_t *size)
{
    int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | (nofollow ? O_NOFOLLOW : 0));
    return fd < 0 ? errno : read_and_close(fd, limit, content, size);
}

int
fs_read_unwritten_file(const char *path, size_t limit, struct stat *st, char **content, size_t *size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    if (fd < 0) {
        return errno;
    }
    /* A read lease is refused while anybody has the file open for writing, and who opens it for that while we have the lease waits until we
     * close it.  Where there are no leases (another owner's file, a file system without them) we read as others do. */
    if (fcntl(fd, F_SETLEASE, F_RDLCK) && (errno == EAGAIN || errno == EBUSY)) {
        close(fd);
        return EBUSY;
    }
    if (fstat(fd, st)) {
        int e = errno;
        close(fd);
        return e;
    }
    return read_and_close(fd, limit, content, size);
}

static int
write_all(int fd, const char *p, size_t n)
{
    while (n) {
        if (FS_FAILPOINT_ERROR("file.full")) {
            return ENOSPC;
        }
        ssize_t put = write(fd, p, FS_FAILPOINT_SHORT("file.write", n));
        if (put < 0 && errno != EINTR) {
            return errno;
        }
        if (put > 0) {
            p += put;
            n -= (size_t) put;
        }
    }
    return 0;
}

int
fs_write_file(int dirfd, const char *path, const void *content, size_t size, unsigned mode)
{
    static unsigned long count;
    char *temporary = fs_xasprintf("%s.%d-%lx.tmp", path, getpid(), __atomic_add_fetch(&count, 1, __ATOMIC_RELAXED));
    unlinkat(dirfd, temporary, 0); /* of a process before us that had our number and was killed */
    int fd = openat(dirfd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    int error = fd < 0 ? errno : 0;
    if (!error) {
        error = write_all(fd, content, size);
        if (!error && fsync(fd)) { /* else a crash of the machine could leave the new name without the new content */
            error = errno;
        }
        if (close(fd) && !error) {
            error = errno;
        }
        if (!error && renameat(dirfd, temporary, dirfd, path)) {
            error = errno;
        }
        if (error) {
            unlinkat(dirfd, temporary, 0);
        }
    }
    free(temporary);
    return error;
}

int
fs_make_dirs(const char *path)
{
    assert(*path);
    char *copy = fs_xstrdup(path);
    int error = 0;
    for (char *p = copy + 1; !error; p++) {
        if (*p == '/' || *p == '\0') {
            char end = *p;
            *p = '\0';
            if (mkdir(copy, 0700) && errno != EEXIST) {
                error = errno;
            }
            *p = end;
            if (!end) {
                break;
            }
        }
    }
    free(copy);
    return error;
}

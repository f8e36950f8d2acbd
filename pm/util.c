/* Small helpers of the packet side: errors as sentences, texts that grow, files that are replaced as a whole. */
#include "config.h"

#include "pm/private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { SMALL_FILE = 4096 };

int
pm_fail(char **error, int code, const char *format, ...)
{
    if (error) {
        va_list args;
        va_start(args, format);
        if (vasprintf(error, format, args) < 0) {
            *error = NULL;
        }
        va_end(args);
    }
    return code;
}

void
pm_text_add(struct pm_text *t, const char *format, ...)
{
    char *piece = NULL;
    va_list args;
    va_start(args, format);
    int n = vasprintf(&piece, format, args);
    va_end(args);
    if (n < 0 || t->failed) {
        t->failed = true;
        free(n < 0 ? NULL : piece);
        return;
    }
    size_t length = (size_t) n;
    if (t->length + length + 1 > t->room) {
        size_t room = (t->length + length + 1) * 2;
        char *bigger = realloc(t->text, room);
        if (!bigger) {
            t->failed = true;
            free(piece);
            return;
        }
        t->text = bigger;
        t->room = room;
    }
    memcpy(t->text + t->length, piece, length + 1);
    t->length += length;
    free(piece);
}

char *
pm_text_take(struct pm_text *t)
{
    char *text = t->text;
    if (t->failed) {
        free(text);
        text = NULL;
    } else if (!text) {
        text = strdup("");
    }
    *t = (struct pm_text){ 0 };
    return text;
}

int64_t
pm_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int
pm_left(int64_t end)
{
    int64_t left = end - pm_now();
    return left < 0 ? 0 : left > INT32_MAX ? INT32_MAX : (int) left;
}

int
pm_read_file(const char *path, size_t max, char **text)
{
    *text = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        return errno;
    }
    size_t n = 0, room = max < SMALL_FILE ? max : SMALL_FILE; /* most files are far below their limit */
    char *buffer = malloc(room + 1);
    int err = buffer ? 0 : ENOMEM;
    while (!err && n <= max) {
        if (n == room && room < max) {
            room = room > max / 4 ? max : room * 4;
            char *bigger = realloc(buffer, room + 1);
            err = bigger ? 0 : ENOMEM;
            buffer = bigger ? bigger : buffer;
            continue;
        }
        ssize_t got = n < max ? read(fd, buffer + n, room - n) : 0;
        if (got < 0) {
            err = errno == EINTR ? 0 : errno;
        } else if (got == 0) {
            break;
        } else {
            n += (size_t) got;
        }
    }
    close(fd);
    if (err) {
        free(buffer);
        return err;
    }
    buffer[n] = '\0';
    *text = buffer;
    return 0;
}

static int
write_all(int fd, const char *text)
{
    size_t left = strlen(text);
    while (left) {
        ssize_t n = write(fd, text, left);
        if (n < 0 && errno != EINTR) {
            return errno;
        }
        if (n > 0) {
            text += n;
            left -= (size_t) n;
        }
    }
    return 0;
}

int
pm_write_file(const char *path, const char *text)
{
    char *fresh = NULL;
    if (asprintf(&fresh, "%s.new", path) < 0) {
        return ENOMEM;
    }
    int err = 0;
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        err = errno;
    } else {
        err = write_all(fd, text);
        if (close(fd) && !err) {
            err = errno;
        }
        if (!err && rename(fresh, path)) {
            err = errno;
        }
        if (err) {
            unlink(fresh);
        }
    }
    free(fresh);
    return err;
}

int
pm_remove_folder(const char *path)
{
    DIR *dir = opendir(path);
    if (!dir) {
        return errno == ENOENT ? 0 : errno;
    }
    int err = 0;
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        if (strcmp(e->d_name, ".") && strcmp(e->d_name, "..") && unlinkat(dirfd(dir), e->d_name, 0) && errno != ENOENT) {
            err = errno;
        }
    }
    closedir(dir);
    if (!err && rmdir(path) && errno != ENOENT) {
        err = errno;
    }
    return err;
}

bool
pm_name_ok(const char *name)
{
    size_t n = name ? strlen(name) : 0;
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.:@";
    return n > 0 && n <= FS_MODULE_NAME_MAX && name[0] != '.' && name[0] != '-' && strspn(name, plain) == n;
}

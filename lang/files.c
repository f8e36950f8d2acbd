/* Reading files for flowstream-lang.  An included file is opened one folder after the other, from that of the main file on,
 * and no step follows a symbolic link: a request that somebody sent cannot read what lies elsewhere. */
#include "config.h"

#include "lang/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* More than any request may have; the library says what is too much. */
#define MOST_READ ((size_t) 64 << 20)

/* The whole of 'stream', malloc()ed; NULL with errno. */
static char *
read_stream(FILE *stream, size_t *size)
{
    char *bytes = NULL;
    size_t capacity = 0;
    for (*size = 0; !feof(stream) && *size <= MOST_READ;) {
        if (*size == capacity) {
            capacity = capacity ? capacity * 2 : 65536;
            char *larger = realloc(bytes, capacity);
            if (!larger) {
                free(bytes);
                return NULL;
            }
            bytes = larger;
        }
        *size += fread(bytes + *size, 1, capacity - *size, stream);
        if (ferror(stream)) {
            free(bytes);
            return NULL;
        }
    }
    return bytes;
}

static char *
read_and_close(FILE *stream, size_t *size)
{
    if (!stream) {
        return NULL;
    }
    char *bytes = read_stream(stream, size);
    int number = errno;
    fclose(stream);
    errno = number;
    return bytes;
}

char *
files_read(const char *name, size_t *size)
{
    return strcmp(name, "-") ? read_and_close(fopen(name, "rb"), size) : read_stream(stdin, size);
}

/* The folder of 'main_file', or -1 with errno. */
static int
open_folder_of(const char *main_file)
{
    const char *slash = strrchr(main_file, '/');
    if (!slash) {
        return open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    }
    char *folder = strndup(main_file, slash == main_file ? 1 : (size_t) (slash - main_file));
    int fd = folder ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    free(folder);
    return fd;
}

/* Step from the folder 'fd', which is closed, into the first part of 'name'.  Returns its descriptor, or -1 with errno. */
static int
step(int fd, const char *name, size_t length, bool last)
{
    char *part = strndup(name, length);
    int next = part ? openat(fd, part, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | (last ? 0 : O_DIRECTORY)) : -1;
    int number = errno;
    free(part);
    close(fd);
    errno = number;
    return next;
}

int
files_read_beside(const char *main_file, const char *name, char **text, size_t *size)
{
    int fd = strcmp(main_file, "-") ? open_folder_of(main_file) : open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct stat status;
    while (fd >= 0) {
        size_t length = strcspn(name, "/");
        bool last = name[length] == '\0';
        fd = step(fd, name, length, last);
        if (last) {
            break;
        }
        name += length + 1;
    }
    if (fd < 0) {
        return errno;
    }
    if (fstat(fd, &status) || !S_ISREG(status.st_mode)) {
        close(fd);
        return EINVAL;
    }
    FILE *stream = fdopen(fd, "rb");
    *text = read_and_close(stream, size);
    int number = errno;
    if (!stream) {
        close(fd);
    }
    return *text ? 0 : number;
}

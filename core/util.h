/* Small things that every folder of the core uses: memory that cannot run out, text, time. */
#ifndef CORE_UTIL_H
#define CORE_UTIL_H 1

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <flowstream/api.h>

/* Allocation that ends the process with a message when there is no memory. */
FS_API void *fs_xmalloc(size_t);
FS_API void *fs_xcalloc(size_t n, size_t size);
FS_API void *fs_xrealloc(void *, size_t);
FS_API char *fs_xstrdup(const char *);
FS_API char *fs_xasprintf(const char *format, ...) __attribute__((format(printf, 1, 2)));
FS_API char *fs_xvasprintf(const char *format, va_list) __attribute__((format(printf, 1, 0)));

/* What an allocation of so many bytes takes of the memory. */
FS_API size_t fs_taken(size_t bytes);

/* A text that grows. Start with { 0 }; 'text' is NULL or NUL-terminated, owned by the holder. */
struct fs_text {
    char *text;
    size_t length;
    size_t room;
};
FS_API void fs_text_add(struct fs_text *, const char *bytes, size_t n);
FS_API void fs_text_addf(struct fs_text *, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Milliseconds of the monotonic clock. */
FS_API int64_t fs_now_ms(void);

/* Reads a whole regular file of at most 'limit' bytes; NUL-terminated for convenience.  Returns 0 or an errno (EFBIG: too large,
 * EINVAL: not a regular file); never follows a symbolic link in the last component when 'nofollow'. */
FS_API int fs_read_file(int dirfd, const char *path, size_t limit, bool nofollow, char **content, size_t *size);
/* The same for a file that is whole: EBUSY while somebody has it open for writing.  Never follows a symbolic link.  What is read is the file that
 * the stat speaks of.  The process must ignore SIGIO. */
struct stat;
FS_API int fs_read_unwritten_file(const char *path, size_t limit, struct stat *, char **content, size_t *size);
/* Writes a file so that readers see the old or the new content, never a mixture: temporary file, then rename. */
FS_API int fs_write_file(int dirfd, const char *path, const void *content, size_t size, unsigned mode);
/* mkdir -p with mode 0700 for what is made.  0 or errno. */
FS_API int fs_make_dirs(const char *path);

#endif

/* Who was running when the process died: a line in the file 'crashes' of the images' folder, written from the signal handler (SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT)
 * and where a method ends the process by exit(). */
#ifndef CORE_CRASH_H
#define CORE_CRASH_H 1

#include <stddef.h>
#include <stdint.h>

struct fs_crash {
    char hash[65], name[65], kind; /* 't' or 'c' */
    int64_t time;
};

/* Begin to watch: once, before methods run. */
void fs_crash_watch(const char *folder);
/* "HASH KIND NAME " of the method that this thread is in from now on, or NULL; it must stay until the next call. Returns what was before. */
const char *fs_crash_enter(const char *who);

/* The crashes of the last ten minutes, oldest first; owned by the caller. */
struct fs_crash *fs_crash_read(const char *folder, size_t *n);
/* Strike out the old ones where the file has become long. */
void fs_crash_trim(const char *folder);
/* Strike out those of one hash. */
void fs_crash_forget(const char *folder, const char *hash);

#endif

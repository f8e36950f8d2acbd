/* Who was running when the process died.  In the handler only write() and what is on the stack is used. */
#include "config.h"

#include "core/crash.h"

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/util.h"

enum { CRASHES_MAX = 1 << 20, REMEMBERED_SECONDS = 600 };

static const int signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT };
enum { N_SIGNALS = sizeof signals / sizeof *signals };

static int crashes_fd = -1;
static pid_t watched;
static struct sigaction before[N_SIGNALS];
static __thread const char *running __attribute__((tls_model("initial-exec")));

/* "HASH KIND NAME SECONDS\n" in one write. */
static void
note(const char *who)
{
    char line[256], digits[24];
    size_t n = strlen(who), d = 0;
    int64_t now = (int64_t) time(NULL);
    if (n > sizeof line - sizeof digits) {
        return;
    }
    memcpy(line, who, n);
    do {
        digits[d++] = (char) ('0' + now % 10);
        now /= 10;
    } while (now > 0 && d < sizeof digits - 2);
    while (d) {
        line[n++] = digits[--d];
    }
    line[n++] = '\n';
    (void) !write(crashes_fd, line, n);
}

static void
on_signal(int number)
{
    if (running) {
        note(running);
        running = NULL;
    }
    for (size_t i = 0; i < N_SIGNALS; i++) {
        if (signals[i] == number) {
            sigaction(number, &before[i], NULL);
        }
    }
    raise(number); /* it comes as soon as we have returned: the process dies as it would have */
}

static void
on_exit_of_process(void)
{
    if (running && getpid() == watched) {
        note(running);
    }
}

void
fs_crash_watch(const char *folder)
{
    char *path = fs_xasprintf("%s/crashes", folder);
    crashes_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    free(path);
    if (crashes_fd < 0) {
        return;
    }
    watched = getpid();
    struct sigaction ours = { .sa_handler = on_signal, .sa_flags = SA_NODEFER };
    sigemptyset(&ours.sa_mask);
    for (size_t i = 0; i < N_SIGNALS; i++) {
        sigaction(signals[i], &ours, &before[i]);
    }
    atexit(on_exit_of_process);
}

const char *
fs_crash_enter(const char *who)
{
    const char *was = running;
    running = who;
    return was;
}

struct fs_crash *
fs_crash_read(const char *folder, size_t *n)
{
    char *path = fs_xasprintf("%s/crashes", folder), *text = NULL, *rest = NULL;
    struct fs_crash *list = NULL;
    size_t size;
    int64_t now = (int64_t) time(NULL);
    *n = 0;
    bool there = !fs_read_file(AT_FDCWD, path, CRASHES_MAX, true, &text, &size);
    for (char *line = there ? strtok_r(text, "\n", &rest) : NULL; line; line = strtok_r(NULL, "\n", &rest)) {
        struct fs_crash one;
        if (sscanf(line, "%64s %c %64s %" SCNd64, one.hash, &one.kind, one.name, &one.time) == 4 && now - one.time < REMEMBERED_SECONDS) {
            list = fs_xrealloc(list, (*n + 1) * sizeof *list);
            list[(*n)++] = one;
        }
    }
    free(there ? text : NULL);
    free(path);
    return list;
}

void
fs_crash_forget(const char *folder, const char *hash)
{
    size_t n;
    struct fs_crash *list = fs_crash_read(folder, &n);
    struct fs_text t = { 0 };
    for (size_t i = 0; i < n; i++) {
        if (strcmp(list[i].hash, hash)) {
            fs_text_addf(&t, "%s %c %s %" PRId64 "\n", list[i].hash, list[i].kind, list[i].name, list[i].time);
        }
    }
    char *path = fs_xasprintf("%s/crashes", folder);
    int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC); /* in place: the handler has the file open */
    if (fd >= 0) {
        (void) !write(fd, t.text ? t.text : "", t.length);
        close(fd);
    }
    free(path);
    free(t.text);
    free(list);
}

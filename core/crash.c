/* Who was running when the process died.  In the handler only write() and what is on the stack is used; it has a stack of its own in each thread that has run a method,
 * so it works where a method has used up that of its thread. */
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

#include "core/loader.h"
#include "core/util.h"

enum { TAIL_BYTES = 64 << 10, REMEMBERED_SECONDS = 600, STACK_BYTES = 32 << 10 };

static const int signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT };
enum { N_SIGNALS = sizeof signals / sizeof *signals };

static int crashes_fd = -1;
static pid_t watched;
static struct sigaction before[N_SIGNALS];
static pthread_key_t stacks; /* of the handler, one a thread */
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

/* Did the method do it?  A signal that another process sent comes to whichever thread is there. */
static bool
is_its_own(const siginfo_t *info)
{
    return getpid() == watched && (info->si_code > 0 || info->si_pid == watched);
}

static void
on_signal(int number, siginfo_t *info, void *context)
{
    (void) context;
    if (running && is_its_own(info)) {
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

/* Called as a thread ends. */
static void
free_stack(void *stack)
{
    stack_t none = { .ss_flags = SS_DISABLE };
    sigaltstack(&none, NULL);
    free(stack);
}

/* A sanitizer has made one already, which is good enough. */
static void
make_stack(void)
{
    static __thread bool made __attribute__((tls_model("initial-exec")));
    stack_t now;
    if (made || crashes_fd < 0) {
        return;
    }
    made = true;
    if (!sigaltstack(NULL, &now) && now.ss_flags & SS_DISABLE) {
        stack_t ours = { .ss_sp = fs_xmalloc(STACK_BYTES), .ss_size = STACK_BYTES };
        if (pthread_setspecific(stacks, ours.ss_sp) || sigaltstack(&ours, NULL)) {
            pthread_setspecific(stacks, NULL);
            free(ours.ss_sp);
        }
    }
}

void
fs_crash_watch(const char *folder)
{
    char *path = fs_xasprintf("%s/crashes", folder);
    crashes_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    free(path);
    if (crashes_fd < 0 || pthread_key_create(&stacks, free_stack)) {
        return;
    }
    watched = getpid();
    struct sigaction ours = { .sa_sigaction = on_signal, .sa_flags = SA_NODEFER | SA_SIGINFO | SA_ONSTACK };
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
    make_stack();
    running = who;
    return was;
}

/* The end of the file, from the beginning of a line (owned): what lies further back is old.  'whole': there is no more. */
static char *
read_tail(const char *folder, bool *whole)
{
    char *path = fs_xasprintf("%s/crashes", folder), *text = fs_xcalloc(1, TAIL_BYTES + 1);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    off_t end = fd < 0 ? 0 : lseek(fd, 0, SEEK_END), from = end > TAIL_BYTES ? end - TAIL_BYTES : 0;
    ssize_t got = fd < 0 ? 0 : pread(fd, text, TAIL_BYTES, from);
    text[got > 0 ? got : 0] = '\0';
    *whole = !from;
    if (from) {
        char *line = strchr(text, '\n');
        memmove(text, line ? line : "", line ? strlen(line) + 1 : 1);
    }
    if (fd >= 0) {
        close(fd);
    }
    free(path);
    return text;
}

struct fs_crash *
fs_crash_read(const char *folder, size_t *n)
{
    char *rest = NULL;
    bool whole;
    char *text = read_tail(folder, &whole);
    struct fs_crash *list = NULL;
    int64_t now = (int64_t) time(NULL);
    *n = 0;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        struct fs_crash one;
        bool whole_line = sscanf(line, "%64s %c %64s %" SCNd64, one.hash, &one.kind, one.name, &one.time) == 4;
        bool decent = whole_line && strspn(one.hash, "0123456789abcdef") == sizeof one.hash - 1 && fs_method_name_ok(one.name) && one.time > 0;
        if (decent && llabs(now - one.time) < REMEMBERED_SECONDS) {
            list = fs_xrealloc(list, (*n + 1) * sizeof *list);
            list[(*n)++] = one;
        }
    }
    free(text);
    return list;
}

void
fs_crash_trim(const char *folder)
{
    bool whole;
    free(read_tail(folder, &whole));
    if (!whole) {
        fs_crash_forget(folder, "");
    }
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

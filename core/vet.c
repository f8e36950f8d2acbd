/* The child that tries an object first. */
#include "config.h"

#include "core/vet.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/params.h"
#include "core/util.h"

enum { CPU_SECONDS = 2, LAST_CPU_SECONDS = 3, MEMORY_BYTES = 1 << 30, WHY_BYTES = 400, SAID_MAX = 1 << 20 };

const struct fs_method *
fs_open_object(const char *path, void **handle, char **error)
{
    *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!*handle) {
        *error = fs_xasprintf("%s", dlerror());
        return NULL;
    }
    const struct fs_method *m = dlsym(*handle, "fs_method_v1");
    if (!m) {
        *error = fs_xasprintf("it defines no FS_TASK or FS_COMMAND (symbol fs_method_v1)");
    } else if (m->magic != FS_METHOD_MAGIC || m->abi != FS_METHOD_ABI) {
        *error = fs_xasprintf("it was compiled for another version of <flowstream/method.h> (ABI %u, this is %u)", m->abi, FS_METHOD_ABI);
    } else if (m->abi_hash != FS_METHOD_ABI_HASH) {
        *error = fs_xasprintf("it was compiled with other headers of <flowstream/> (%016llx, these are %016llx): compile it again", (unsigned long long) m->abi_hash,
                              (unsigned long long) FS_METHOD_ABI_HASH);
    } else if (!m->name || !m->run || (m->kind != FS_KIND_TASK && m->kind != FS_KIND_COMMAND)) {
        *error = fs_xasprintf("its descriptor has no name, no kind or no run function");
    } else if (!(*error = fs_params_vet(m))) {
        return m;
    }
    dlclose(*handle);
    *handle = NULL;
    return NULL;
}

char *
fs_vet_descriptor(const struct fs_method *m, enum fs_method_kind kind, const char *name)
{
    if (m->kind != kind) {
        return fs_xasprintf("it is a %s, but lies in a folder of %s", m->kind == FS_KIND_TASK ? "task" : "command", kind == FS_KIND_TASK ? "tasks" : "commands");
    }
    return strcmp(m->name, name) ? fs_xasprintf("its descriptor says '%s': file and method have the same name", m->name) : NULL;
}

/* A verdict is one line: "ok KIND NAME" or the reason. */
static char *
judge(const char *file)
{
    void *handle;
    char *error = NULL, why[WHY_BYTES] = "";
    const struct fs_method *m = fs_open_object(file, &handle, &error);
    if (!m) {
        return error;
    }
    if (m->selftest && !m->selftest(why, sizeof why)) {
        return fs_xasprintf("its self-test failed: %s", why);
    }
    return fs_xasprintf("ok %d %s", (int) m->kind, m->name);
}

int
fs_vet_main(int n, char **files)
{
    struct rlimit cpu = { CPU_SECONDS, LAST_CPU_SECONDS }, none = { 0, 0 };
    setrlimit(RLIMIT_CPU, &cpu);
    setrlimit(RLIMIT_CORE, &none);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    struct rlimit memory = { MEMORY_BYTES, MEMORY_BYTES };
    setrlimit(RLIMIT_AS, &memory);
#endif
    alarm(FS_VET_MS / 1000);
    /* What an object prints while it is loaded must not pass for our verdict. */
    int verdict = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    if (verdict < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0) {
        return 1;
    }
    int bad = 0;
    for (int i = 0; i < n; i++) {
        char *said = judge(files[i]);
        said[strcspn(said, "\n")] = '\0';
        bad |= dprintf(verdict, "%s\n", said) < 0 || strncmp(said, "ok ", 3);
        free(said);
    }
    return bad ? 1 : 0;
}

/* What the child says until it ends; false when it takes too long.  An object may leave processes behind that keep the pipe
 * open, so the end of the pipe alone is not waited for. */
static bool
listen_to(int fd, struct fs_text *said)
{
    int64_t until = fs_now_ms() + FS_VET_MS + 1000;
    for (;;) {
        int64_t left = until - fs_now_ms();
        struct pollfd p = { .fd = fd, .events = POLLIN };
        int ready = left <= 0 ? 0 : poll(&p, 1, (int) left);
        if (ready < 0 && errno == EINTR) {
            continue;
        }
        if (ready <= 0 || said->length > SAID_MAX) { /* an object that found our pipe may write to it for ever */
            return false;
        }
        char buffer[512];
        ssize_t got = read(fd, buffer, sizeof buffer);
        if (got < 0 && errno == EINTR) {
            continue;
        }
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
    while (!e && waitpid(pid, status, 0) != pid) {
        e = errno == EINTR ? 0 : errno;
    }
    return e;
}

/* Does the verdict speak of this method?  NULL: yes, or it says nothing of it. */
static char *
compare(const char *verdict, enum fs_method_kind kind, const char *name)
{
    struct fs_method said = { .kind = (enum fs_method_kind) atoi(verdict + 3), .name = verdict + 5 };
    return name ? fs_vet_descriptor(&said, kind, name) : NULL;
}

char *
fs_vet(const char *path, enum fs_method_kind kind, const char *name)
{
    struct fs_text said = { 0 };
    int status = 0;
    char *files[] = { fs_xstrdup(path) }, *why = NULL;
    int e = try_in_child(files, 1, &said, &status);
    if (said.text) {
        said.text[strcspn(said.text, "\n")] = '\0';
    }
    if (e) {
        why = fs_xasprintf("it could not be tried in a child process: %s", strerror(e));
    } else if (WIFSIGNALED(status)) {
        why = fs_xasprintf("loading it ended the process that tried it: %s", strsignal(WTERMSIG(status)));
    } else if (!said.text) {
        why = fs_xasprintf("loading it ended the process that tried it with status %d: does it call exit() in a constructor?", WEXITSTATUS(status));
    } else if (strncmp(said.text, "ok ", 3) || said.text[4] != ' ' || WEXITSTATUS(status)) {
        why = fs_xstrdup(said.text);
    } else {
        why = compare(said.text, kind, name);
    }
    free(files[0]);
    free(said.text);
    return why;
}

bool
fs_vet_all(char *const paths[], size_t n)
{
    struct fs_text said = { 0 };
    int status = 0;
    bool good = !try_in_child(paths, n, &said, &status) && !status;
    size_t lines = 0;
    for (const char *p = said.text; p && good && (p = strchr(p, '\n')); p++) {
        lines++;
    }
    good = good && lines == n && said.text && !strncmp(said.text, "ok ", 3);
    free(said.text);
    return good;
}

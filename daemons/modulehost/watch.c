/* What ends on a host is noticed within half a second, at the price of one poll() and one stat(): a descriptor of each module's process and of the multiplexer's becomes
 * readable when it ends, and the folder of modules changes its time when one comes or goes. */
#include "config.h"

#include "daemons/modulehost/modulehost.h"

#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "core/util.h"

enum { FRESH_NS = 50 * 1000 * 1000 };

struct modulehost_watch {
    pthread_mutex_t lock;
    struct pollfd *processes;
    size_t n;
    struct timespec folder_time; /* of the folder when it was last read */
    bool unsettled;              /* something was being made or removed then: look again */
    uint64_t digest;
    int mux;                     /* the multiplexer's process; -1: none */
};

struct modulehost_watch *
modulehost_watch_new(void)
{
    struct modulehost_watch *w = fs_xcalloc(1, sizeof *w);
    pthread_mutex_init(&w->lock, NULL);
    w->mux = -1;
    w->unsettled = true;
    return w;
}

static void
close_all(struct modulehost_watch *w)
{
    for (size_t i = 0; i < w->n; i++) {
        close(w->processes[i].fd);
    }
    w->n = 0;
}

void
modulehost_watch_free(struct modulehost_watch *w)
{
    if (w) {
        close_all(w);
        if (w->mux >= 0) {
            close(w->mux);
        }
        pthread_mutex_destroy(&w->lock);
        free(w->processes);
        free(w);
    }
}

static uint64_t
mix(uint64_t digest, const char *text)
{
    for (; *text; text++) {
        digest = (digest ^ (unsigned char) *text) * UINT64_C(0x100000001b3);
    }
    return digest * UINT64_C(0x100000001b3);
}

static int
open_pid(pid_t pid)
{
    return pid > 0 ? (int) syscall(SYS_pidfd_open, pid, 0) : -1;
}

/* 0 for a process that is being made, else another number for each that died: whoever found all right while it was being made must hear that it died. */
static uintmax_t
which_death(struct modulehost *m, const char *process)
{
    char *path = fs_xasprintf("%s/modules/%s/pid", m->env.dir, process);
    struct stat st;
    uintmax_t which = stat(path, &st) ? 0 : (uintmax_t) st.st_ino;
    free(path);
    return which;
}

/* Read all anew.  A module that does not run is one that is being made, or dead: the folder does not tell when it comes to life. */
static void
read_modules(struct modulehost *m, struct modulehost_watch *w)
{
    struct fs_module_info *list = NULL;
    size_t n = 0;
    close_all(w);
    w->unsettled = fs_module_list(&m->env, &list, &n) != 0;
    w->processes = fs_xrealloc(w->processes, (n + 1) * sizeof *w->processes);
    w->digest = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < n; i++) {
        char *state = fs_xasprintf("%s %d %ju", list[i].name, list[i].running ? (int) list[i].pid : 0, list[i].running ? 0 : which_death(m, list[i].process));
        int fd = list[i].running ? open_pid(list[i].pid) : -1;
        w->digest = mix(w->digest, state);
        free(state);
        if (fd >= 0) {
            w->processes[w->n++] = (struct pollfd) { .fd = fd, .events = POLLIN };
        } else {
            w->unsettled = true;
        }
    }
    fs_module_list_free(list, n);
}

/* Has one of them? */
static bool
has_ended(struct pollfd *processes, size_t n)
{
    return n && poll(processes, n, 0) > 0;
}

/* A folder that changed just before it was read may change again without its time being another. */
static bool
is_fresh(const struct timespec *t)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec == t->tv_sec && now.tv_nsec - t->tv_nsec < FRESH_NS;
}

static bool
folder_changed(struct modulehost *m, struct modulehost_watch *w)
{
    char *path = fs_xasprintf("%s/modules", m->env.dir);
    struct stat st = { 0 };
    bool changed = !stat(path, &st) && (st.st_mtim.tv_sec != w->folder_time.tv_sec || st.st_mtim.tv_nsec != w->folder_time.tv_nsec);
    free(path);
    if (changed && !is_fresh(&st.st_mtim)) {
        w->folder_time = st.st_mtim;
    }
    return changed;
}

static bool
mux_has_ended(struct modulehost *m, struct modulehost_watch *w)
{
    struct pollfd mux = { .fd = w->mux, .events = POLLIN };
    bool ended = w->mux >= 0 && has_ended(&mux, 1);
    if (ended) {
        close(w->mux);
        w->mux = -1;
    } else if (w->mux < 0) {
        char *path = fs_xasprintf("%s/mux/pid", m->env.dir);
        FILE *file = fopen(path, "re");
        int pid = 0;
        if (file && fscanf(file, "%d", &pid) == 1) {
            w->mux = open_pid(pid);
        }
        if (file) {
            fclose(file);
        }
        free(path);
    }
    return ended;
}

bool
modulehost_watch_look(struct modulehost *m, bool *mux_ended)
{
    struct modulehost_watch *w = m->watch;
    pthread_mutex_lock(&w->lock);
    uint64_t before = w->digest;
    *mux_ended = mux_has_ended(m, w);
    bool folder = folder_changed(m, w);
    if (folder || w->unsettled || has_ended(w->processes, w->n)) {
        read_modules(m, w);
    }
    bool changed = w->digest != before;
    pthread_mutex_unlock(&w->lock);
    return changed;
}

char *
modulehost_watch_digest(struct modulehost *m)
{
    pthread_mutex_lock(&m->watch->lock);
    char *text = fs_xasprintf("%016" PRIx64, m->watch->digest);
    pthread_mutex_unlock(&m->watch->lock);
    return text;
}

/* What comes, goes and ends on a host is noticed within half a second.  A descriptor of each module's process becomes readable when it ends, also when an earlier daemon had started it;
 * our own tasks tell what they have made; and of the folder of modules the kernel tells what comes and goes (inotify; where it has no more of that to give, the folder changes its time,
 * and its names are compared).  Only the process in question is looked at.
 *
 * What somebody does inside of a process's folder tells nobody: so all are looked at again in turn, one round a minute.  What is known is in the table of inventory.c. */
#include "config.h"

#include "daemons/modulehost/modulehost.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "core/util.h"
#include "daemons/modulehost/inventory.h"

enum { FRESH_NS = 50 * 1000 * 1000, EVENTS = 64, ROUND_LOOKS = 120, BEING_MADE_MS = 30000, NAMES_BYTES = 8192 };

struct modulehost_watch {
    pthread_mutex_t lock;
    struct inventory *all;
    int ends;                    /* epoll of the processes */
    bool read;                   /* the table is what was in the folder once */
    bool news;                   /* something that our tasks did not tell */
    int names, folder;           /* inotify, and the folder of modules in it; -1: none */
    struct timespec folder_time; /* without: of the folder when it was last read */
    size_t turn;                 /* who is looked at next, whatever is known */
    bool due;                    /* the names are to be compared whatever was told: a round is over, or something was not told */
    int mux;                     /* the multiplexer's process; -1: none */
};

struct modulehost_watch *
modulehost_watch_new(void)
{
    struct modulehost_watch *w = fs_xcalloc(1, sizeof *w);
    pthread_mutex_init(&w->lock, NULL);
    w->all = inventory_new();
    w->ends = epoll_create1(EPOLL_CLOEXEC);
    w->names = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    w->folder = -1;
    w->mux = -1;
    return w;
}

void
modulehost_watch_free(struct modulehost_watch *w)
{
    if (w) {
        inventory_free(w->all);
        if (w->mux >= 0) {
            close(w->mux);
        }
        if (w->ends >= 0) {
            close(w->ends);
        }
        if (w->names >= 0) {
            close(w->names);
        }
        pthread_mutex_destroy(&w->lock);
        free(w);
    }
}

/* --- Single processes --- */

/* Look at one process and enter what it is now. */
static void
look_at(struct modulehost *m, const char *name, bool told)
{
    struct modulehost_watch *w = m->watch;
    struct process *p = inventory_find(w->all, name);
    bool ran = p && p->look.pid, changed = false;
    struct fs_process_look look;
    int e = fs_process_look(&m->env, name, &look);
    if (e == ENOENT && p) {
        inventory_drop(w->all, p);
        w->news = w->news || (!told && ran);
    } else if (!e) {
        p = inventory_put(w->all, name, &look, &changed);
        struct epoll_event end = { .events = EPOLLIN, .data.ptr = p };
        if (changed && p->look.pidfd >= 0) {
            epoll_ctl(w->ends, EPOLL_CTL_ADD, p->look.pidfd, &end); /* where that fails it is noticed when its turn comes */
        }
        w->news = w->news || (changed && !told && (ran || p->look.pid));
    }
}

/* Those that have ended. */
static void
look_at_ended(struct modulehost *m)
{
    struct epoll_event events[EVENTS];
    size_t turns;
    inventory_all(m->watch->all, &turns);
    int n = EVENTS;
    for (turns = turns / EVENTS + 1; turns > 0 && n == EVENTS; turns--) {
        n = epoll_wait(m->watch->ends, events, EVENTS, 0);
        for (int i = 0; i < n; i++) {
            const struct process *p = events[i].data.ptr; /* one event a process, and looking at one drops no other */
            look_at(m, p->name, false);
        }
    }
}

/* One that does not run is being made, maybe by a daemon before us, or dead; nothing tells when it comes to life.  And some of the others in turn. */
static void
look_at_some(struct modulehost *m)
{
    struct modulehost_watch *w = m->watch;
    size_t n;
    struct process **all = inventory_all(w->all, &n);
    size_t round = n / ROUND_LOOKS + 1, first = w->turn < n ? w->turn : 0;
    for (size_t i = n; i-- > 0;) { /* backwards: one that is dropped moves only those behind it */
        bool young = !all[i]->look.pid && fs_now_ms() - all[i]->since < BEING_MADE_MS;
        if (young || (i >= first && i < first + round)) {
            look_at(m, all[i]->name, false);
        }
    }
    w->turn = first + round;
    w->due = w->due || w->turn >= n;
}

/* --- The folder --- */

static void
meet(void *aux, const char *name)
{
    struct modulehost *m = aux;
    struct process *p = inventory_find(m->watch->all, name);
    if (!p) {
        look_at(m, name, false);
        p = inventory_find(m->watch->all, name);
    }
    if (p) {
        p->met = true;
    }
}

/* From now on the kernel tells of names, where it can. */
static void
watch_folder(struct modulehost *m)
{
    struct modulehost_watch *w = m->watch;
    char *path = fs_xasprintf("%s/modules", m->env.dir);
    if (w->names >= 0) {
        w->folder = inotify_add_watch(w->names, path, IN_CREATE | IN_DELETE | IN_MOVE | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR);
    }
    free(path);
}

/* Compare the names in the folder with those in the table. */
static void
read_folder(struct modulehost *m)
{
    struct modulehost_watch *w = m->watch;
    watch_folder(m); /* first: what comes meanwhile is told */
    w->due = false;
    if (fs_process_names(&m->env, meet, m)) {
        return; /* what cannot be read says nothing */
    }
    w->read = true;
    size_t n;
    struct process **all = inventory_all(w->all, &n);
    for (size_t i = n; i-- > 0;) {
        bool met = all[i]->met;
        all[i]->met = false;
        if (!met) {
            look_at(m, all[i]->name, false);
        }
    }
}

/* What has come and gone.  What is told of the folder itself, or that something was not told, means that the names are to be compared. */
static void
read_names(struct modulehost *m)
{
    struct modulehost_watch *w = m->watch;
    char buffer[NAMES_BYTES] __attribute__((aligned(__alignof__(struct inotify_event))));
    ssize_t n;
    while (w->names >= 0 && (n = read(w->names, buffer, sizeof buffer)) > 0) {
        const struct inotify_event *e;
        for (ssize_t at = 0; at < n; at += (ssize_t) (sizeof *e + e->len)) {
            e = (const struct inotify_event *) (const void *) (buffer + at);
            if (e->wd >= 0 && e->wd != w->folder) {
                continue; /* of a folder that was here before */
            } else if (e->mask & (IN_Q_OVERFLOW | IN_IGNORED | IN_DELETE_SELF | IN_MOVE_SELF)) {
                w->folder = -1;
                w->due = true;
            } else if (e->len) {
                look_at(m, e->name, false);
            }
        }
    }
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
folder_changed(struct modulehost *m)
{
    struct modulehost_watch *w = m->watch;
    char *path = fs_xasprintf("%s/modules", m->env.dir);
    struct stat st = { 0 };
    bool there = !stat(path, &st) || errno == ENOENT; /* one that is gone has no time */
    bool changed = there && (st.st_mtim.tv_sec != w->folder_time.tv_sec || st.st_mtim.tv_nsec != w->folder_time.tv_nsec);
    free(path);
    if (changed && !is_fresh(&st.st_mtim)) {
        w->folder_time = st.st_mtim;
    }
    return changed;
}

/* --- The multiplexer --- */

static bool
mux_has_ended(struct modulehost *m, struct modulehost_watch *w)
{
    struct pollfd mux = { .fd = w->mux, .events = POLLIN };
    bool ended = w->mux >= 0 && poll(&mux, 1, 0) > 0;
    if (ended) {
        close(w->mux);
        w->mux = -1;
    } else if (w->mux < 0) {
        char *path = fs_xasprintf("%s/mux/pid", m->env.dir);
        FILE *file = fopen(path, "re");
        int pid = 0;
        if (file && fscanf(file, "%d", &pid) == 1) {
            w->mux = pid > 0 ? (int) syscall(SYS_pidfd_open, pid, 0) : -1;
        }
        if (file) {
            fclose(file);
        }
        free(path);
    }
    return ended;
}

/* --- For the daemon's tasks and commands --- */

static struct modulehost_watch *
lock(struct modulehost *m)
{
    pthread_mutex_lock(&m->watch->lock);
    if (!m->watch->read) {
        read_folder(m);
    }
    return m->watch;
}

bool
modulehost_watch_look(struct modulehost *m, bool *mux_ended)
{
    struct modulehost_watch *w = lock(m);
    *mux_ended = mux_has_ended(m, w);
    look_at_ended(m);
    read_names(m);
    if (w->due || (w->folder < 0 && folder_changed(m))) {
        read_folder(m);
    }
    look_at_some(m);
    bool news = w->news;
    w->news = false;
    pthread_mutex_unlock(&w->lock);
    return news;
}

void
modulehost_watch_note(struct modulehost *m, const char *process)
{
    struct modulehost_watch *w = lock(m);
    look_at(m, process, true);
    pthread_mutex_unlock(&w->lock);
}

static char *
state(struct modulehost *m)
{
    return fs_xasprintf("%s-%" PRIu64, fs_daemon_incarnation(m->daemon), inventory_generation(m->watch->all));
}

char *
modulehost_watch_state(struct modulehost *m)
{
    struct modulehost_watch *w = lock(m);
    char *text = w->read ? state(m) : NULL;
    pthread_mutex_unlock(&w->lock);
    return text;
}

/* The generation of a state of ours; of another's none that there is. */
static uint64_t
generation_of(struct modulehost *m, const char *known)
{
    const char *ours = fs_daemon_incarnation(m->daemon);
    size_t n = strlen(ours);
    return !strncmp(known, ours, n) && known[n] == '-' ? strtoull(known + n + 1, NULL, 10) : UINT64_MAX;
}

static void
tell(void *aux, uint64_t id, uint64_t digest, size_t processes)
{
    xmlrpc_value *one = fs_append(fs_array(), fs_int((int) id));
    fs_append(aux, fs_append(one, processes ? fs_stringf("%zu-%016" PRIx64, processes, digest) : fs_string("")));
}

xmlrpc_value *
modulehost_watch_changes(struct modulehost *m, const char *known)
{
    struct modulehost_watch *w = lock(m);
    xmlrpc_value *v = NULL;
    if (w->read) {
        xmlrpc_value *owners = fs_array();
        bool all = !inventory_changes(w->all, generation_of(m, known), tell, owners);
        char *now = state(m);
        v = fs_set(fs_set(fs_set(fs_struct(), "state", fs_string(now)), "all", fs_bool(all)), "owners", owners);
        free(now);
    }
    pthread_mutex_unlock(&w->lock);
    return v;
}

void
modulehost_watch_processes(struct modulehost *m, uint64_t owner, void (*visit)(void *aux, const char *process), void *aux)
{
    struct modulehost_watch *w = lock(m);
    for (const struct process *p = inventory_of(w->all, owner); p; p = p->next_of_owner) {
        visit(aux, p->name);
    }
    pthread_mutex_unlock(&w->lock);
}

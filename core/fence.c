/* Obeying one controller; see fence.h. */
#include "config.h"

#include "core/fence.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/client.h"
#include "core/util.h"
#include <flowstream/log.h>

FS_LOG_MODULE("fence");

enum { ASK_MS = 2000 };

struct fs_fence {
    pthread_mutex_t lock;
    char *obeyed;        /* "EPOCH.INCARNATION", NULL: nobody yet */
    long long highest;   /* epoch; -1: the file was not read yet */
};

struct fs_fence *
fs_fence_new(void)
{
    struct fs_fence *f = fs_xcalloc(1, sizeof *f);
    pthread_mutex_init(&f->lock, NULL);
    f->highest = -1;
    return f;
}

void
fs_fence_free(struct fs_fence *f)
{
    if (f) {
        pthread_mutex_destroy(&f->lock);
        free(f->obeyed);
        free(f);
    }
}

static char *
path_of(const struct fs_daemon *d)
{
    return fs_xasprintf("%s/epoch", fs_daemon_dir(d));
}

static void
read_highest(struct fs_fence *f, const struct fs_daemon *d)
{
    char *path = path_of(d);
    FILE *file = f->highest < 0 ? fopen(path, "re") : NULL;
    if (f->highest < 0) {
        f->highest = 0;
    }
    if (file) {
        if (fscanf(file, "%lld", &f->highest) != 1) {
            f->highest = 0;
        }
        fclose(file);
    }
    free(path);
}

/* The number is on disk before the first order of that controller is carried out. */
static char *
keep_highest(struct fs_fence *f, const struct fs_daemon *d, long long epoch)
{
    char *path = path_of(d), *next = fs_xasprintf("%s.new", path), *why = NULL;
    int fd = open(next, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || dprintf(fd, "%lld\n", epoch) < 0 || fdatasync(fd) || rename(next, path)) {
        why = fs_xasprintf("%s: it cannot be noted which controller is obeyed: %m", path);
    } else {
        f->highest = epoch;
    }
    if (fd >= 0) {
        close(fd);
    }
    free(next);
    free(path);
    return why;
}

/* Who the controller of our configuration says that it is: "EPOCH.INCARNATION", or NULL with *why. */
static char *
ask(struct fs_peer *peer, const struct fs_daemon_call *context, char **why)
{
    struct fs_reply reply;
    char *controller = NULL;
    if (fs_peer_call(peer, "get_controller", fs_array(), ASK_MS, context->request_id, &reply)) {
        *why = fs_xasprintf("the controller of this daemon's configuration cannot be asked whether that is it: %s", reply.message);
    } else {
        controller = fs_xasprintf("%.0f.%s", fs_get_double(reply.value, "epoch", 0), fs_get_string(reply.value, "incarnation", ""));
    }
    fs_reply_clear(&reply);
    return controller;
}

static char *
judge(struct fs_fence *f, struct fs_daemon *d, const char *controller, const struct fs_daemon_call *context)
{
    struct fs_peer *peer = fs_daemon_peer(d, "resource");
    long long epoch = strtoll(controller, NULL, 10);
    char *why = NULL, *ours = peer ? ask(peer, context, &why) : NULL;
    if (ours && strcmp(ours, controller)) {
        why = fs_xasprintf("controller %s is refused: the controller of this daemon's configuration is %s; one of two resource daemons should be stopped", controller, ours);
    } else if (!why && epoch < f->highest) {
        why = fs_xasprintf("controller %s is refused: epoch %lld has been obeyed here, so its store is older than what was done; restore a newer one, or remove %s/epoch to obey it",
                           controller, f->highest, fs_daemon_dir(d));
    } else if (!why && !peer && f->obeyed && epoch == f->highest) {
        why = fs_xasprintf("controller %s is refused: %s of the same epoch is obeyed; one of two resource daemons should be stopped", controller, f->obeyed);
    } else if (!why && epoch > f->highest) {
        why = keep_highest(f, d, epoch);
    }
    free(ours);
    return why;
}

bool
fs_fence_admits(struct fs_fence *f, struct fs_daemon *d, const xmlrpc_value *param, const struct fs_daemon_call *context, struct fs_reply *reply)
{
    const char *controller = f && fs_is(param, XMLRPC_TYPE_STRUCT) ? fs_get_string(param, "controller", NULL) : NULL;
    if (!controller) {
        return true;
    }
    pthread_mutex_lock(&f->lock);
    char *why = NULL;
    if (!f->obeyed || strcmp(f->obeyed, controller)) {
        read_highest(f, d);
        why = judge(f, d, controller, context);
        if (!why) {
            fs_log_info("controller %s is obeyed", controller);
            free(f->obeyed);
            f->obeyed = fs_xstrdup(controller);
        }
    }
    pthread_mutex_unlock(&f->lock);
    if (why) {
        fs_log_limited(FS_LOG_WARNING, "%s", why);
        fs_reply_fail(reply, "%s", why);
    }
    bool admitted = !why;
    free(why);
    return admitted;
}

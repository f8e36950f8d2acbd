/* The state of the processing module daemon. */
#include "config.h"

#include "daemons/pm/pm.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/util.h"

struct pm {
    struct fs_daemon *daemon;
    char *types;
    pthread_mutex_t lock;
    struct fs_peer **hosts;
    size_t n_hosts;
};

void *
pm_start(struct fs_daemon *daemon, const struct fs_settings *settings, char **error)
{
    const char *types = fs_setting(settings, "types", 0, "dir");
    if (!types) {
        *error = fs_xasprintf("the configuration needs <types dir=\"...\"/>");
        return NULL;
    }
    struct pm *p = fs_xcalloc(1, sizeof *p);
    p->daemon = daemon;
    p->types = fs_xstrdup(types);
    pthread_mutex_init(&p->lock, NULL);
    return p;
}

void
pm_stop(void *state)
{
    struct pm *p = state;
    for (size_t i = 0; i < p->n_hosts; i++) {
        fs_peer_destroy(p->hosts[i]);
    }
    free(p->hosts);
    pthread_mutex_destroy(&p->lock);
    free(p->types);
    free(p);
}

const char *
pm_types(const struct pm *p)
{
    return p->types;
}

struct fs_peer *
pm_host(struct pm *p, const char *address)
{
    struct fs_peer *peer = NULL;
    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < p->n_hosts && !peer; i++) {
        peer = strcmp(fs_peer_url(p->hosts[i]), address) ? NULL : p->hosts[i];
    }
    if (!peer) {
        peer = fs_peer_new("modulehost", address, fs_daemon_credentials(p->daemon));
        p->hosts = fs_xrealloc(p->hosts, (p->n_hosts + 1) * sizeof *p->hosts);
        p->hosts[p->n_hosts++] = peer;
    }
    pthread_mutex_unlock(&p->lock);
    return peer;
}

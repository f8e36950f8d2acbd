/* What the OpenFlow daemon last told of each switch's connection and ports, so that hundreds of switches need not be asked for their rules every second. */
#include "config.h"

#include <string.h>

#include "daemons/resource/state.h"

enum resource_watched
resource_watch(struct resource *r, const char *name, const xmlrpc_value *now)
{
    pthread_mutex_lock(&r->lock);
    const xmlrpc_value *before = fs_get(r->watched, name);
    bool moved = before && now && fs_get_int(now, "session", 0) && strcmp(fs_get_string(before, "ports", ""), fs_get_string(now, "ports", ""));
    bool same = before && now && fs_get_int(now, "session", 0) && fs_get_int(before, "session", 0) == fs_get_int(now, "session", 0);
    pthread_mutex_unlock(&r->lock);
    return moved ? RESOURCE_PORTS_MOVED : same ? RESOURCE_SAME : RESOURCE_UNKNOWN;
}

void
resource_note_watched(struct resource *r, const char *name, const xmlrpc_value *now)
{
    if (now && fs_get_int(now, "session", 0)) {
        pthread_mutex_lock(&r->lock);
        fs_set(r->watched, name, fs_copy(now));
        pthread_mutex_unlock(&r->lock);
    }
}

/* register_host: tells the resource daemon that this host is here, every few seconds; that is also its sign of life. */
#include <stdlib.h>

#include <flowstream/method.h>

#include "core/daemon.h"
#include "daemons/modulehost/modulehost.h"

static void
run(struct fs_call *call)
{
    struct modulehost *m = fs_call_state(call);
    if (!__atomic_load_n(&m->ready, __ATOMIC_RELAXED)) {
        return; /* not before modules can be started here */
    }
    xmlrpc_value *host = fs_struct(), *basesys = fs_array();
    fs_set(host, "name", fs_string(m->name));
    fs_set(host, "address", fs_string(m->address));
    fs_set(host, "cpu", fs_double(m->cpu));
    fs_set(host, "mem", fs_double(m->mem));
    fs_set(host, "bridge", fs_string(m->bridge));
    fs_set(host, "switch", fs_string(m->target));
    fs_set(host, "trunk", fs_string(m->trunk));
    fs_set(host, "incarnation", fs_string(fs_daemon_incarnation(m->daemon)));
    char *state = modulehost_watch_state(m);
    if (state) {
        fs_set(host, "modules", fs_string(state));
    }
    free(state);
    for (const char *const *name = fs_basesys_names(); *name; name++) {
        fs_append(basesys, fs_string(*name));
    }
    fs_set(host, "basesys", basesys);
    struct fs_reply reply;
    if (fs_call_peer(call, fs_daemon_peer(m->daemon, "resource"), "register_host", fs_append(fs_array(), host), &reply)) {
        fs_call_fail(call, "%s", reply.message);
    }
    fs_reply_clear(&reply);
}

FS_TASK = {
    FS_IS_TASK,
    .name = "register_host",
    .help = "Registers this host with the resource daemon.",
    .params = { { "parameter", "any?", "not used" } },
    .returns = "nil",
    .idempotent = true,
    .run = run,
};

/* register_host: tells the resource daemon that this host is here, every few seconds; that is also its sign of life. */
#include <stdlib.h>

#include <flowstream/method.h>

#include "core/client.h"
#include "core/daemon.h"
#include "daemons/modulehost/modulehost.h"

/* Longer than a resource daemon takes that lives; what a network has lost is said again on another connection. */
enum { ANSWER_MS = 5000 };

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
    double idle = modulehost_idle_cores(m->meter), available = modulehost_available_mem();
    if (idle >= 0) {
        fs_set(host, "cpu_idle", fs_double(idle));
    }
    if (available >= 0) {
        fs_set(host, "mem_available", fs_double(available));
    }
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
    struct fs_peer *resource = fs_daemon_peer(m->daemon, "resource");
    xmlrpc_value *params = fs_append(fs_array(), host);
    if (resource ? fs_peer_call(resource, "register_host", params, ANSWER_MS, fs_call_request_id(call), &reply) : fs_call_peer(call, NULL, "register_host", params, &reply)) {
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

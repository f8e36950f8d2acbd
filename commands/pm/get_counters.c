/* get_counters: what modules on several hosts have handled; all hosts are asked at the same time. */
#include <stdlib.h>
#include <string.h>

#include <flowstream/method.h>

#include "core/parallel.h"
#include "core/util.h"
#include "daemons/pm/pm.h"

enum { HOST_MS = 3000 };

struct question {
    struct fs_call *call;
    const xmlrpc_value *hosts;
    int owner;
    struct fs_reply *replies;
};

static void
ask(void *aux, size_t i)
{
    struct question *q = aux;
    struct fs_peer *peer = pm_host(fs_call_state(q->call), fs_get_string(fs_item(q->hosts, i), "address", ""));
    xmlrpc_value *params = fs_array();
    if (q->owner >= 0) {
        fs_append(params, fs_int(q->owner));
    }
    fs_peer_call(peer, "get_module_counters", params, HOST_MS, fs_call_request_id(q->call), &q->replies[i]);
}

static void
run(struct fs_call *call)
{
    struct question q = { .call = call, .hosts = fs_call_param(call, 0), .owner = fs_call_int(call, 1, -1) };
    size_t n = fs_size(q.hosts);
    q.replies = fs_xcalloc(n, sizeof *q.replies);
    fs_parallel(n, ask, &q);
    xmlrpc_value *modules = fs_array(), *problems = fs_array();
    for (size_t i = 0; i < n; i++) {
        const char *host = fs_get_string(fs_item(q.hosts, i), "name", "");
        for (size_t k = 0; k < fs_size(q.replies[i].value) && !q.replies[i].code; k++) {
            fs_append(modules, fs_set(fs_copy(fs_item(q.replies[i].value, k)), "host", fs_string(host)));
        }
        if (q.replies[i].code) {
            fs_append(problems, fs_stringf("host %s: %s", host, q.replies[i].message));
        }
        fs_reply_clear(&q.replies[i]);
    }
    free(q.replies);
    fs_call_return(call, fs_set(fs_set(fs_struct(), "modules", modules), "problems", problems));
}

static const struct fs_member members[] = {
    { "name", "string", 0, 0, "of the host" },
    { "address", "string", 0, 0, "of its module host daemon" },
    { 0 },
};

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "get_counters",
    .help = "Reads the counters of modules on several hosts at the same time: modules (as get_module_counters answers, with 'host'), problems (hosts that do not answer).",
    .params = { { "hosts", "array", "structs" }, { "owner", "int?", "only modules of this allocation" } },
    .members = { members },
    .returns = "struct",
    .idempotent = true,
    .run = run,
};

/* get_flows: which flows an allocation handles, asked of the hosts whose modules its traffic comes to first, all at the same time. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <flowstream/method.h>

#include "core/client.h"
#include "core/parallel.h"
#include "core/util.h"
#include "daemons/resource/resource.h"

enum { HOST_MS = 5000, MOST = 100, KEEP_SECONDS = 60, KEEP_SECONDS_MAX = 3600 };

struct question {
    const char *node, *name, *host;
    struct fs_peer *peer;
    struct fs_reply reply;
};

struct questions {
    struct fs_call *call;
    double keep;
    size_t n;
    struct question *list;
};

static void
ask(void *aux, size_t i)
{
    struct questions *all = aux;
    struct question *q = &all->list[i];
    if (!q->peer) {
        fs_reply_fail(&q->reply, "host %s is not registered", q->host);
        return;
    }
    xmlrpc_value *which = fs_set(fs_set(fs_struct(), "module", fs_string(q->name)), "keep", fs_double(all->keep));
    fs_peer_call(q->peer, "get_flows", fs_append(fs_array(), which), HOST_MS, fs_call_request_id(all->call), &q->reply);
}

static bool
is_source(const xmlrpc_value *request, const char *name)
{
    const xmlrpc_value *nodes = fs_get(request, "nodes");
    for (size_t i = 0, n = fs_size(nodes); i < n; i++) {
        if (!strcmp(fs_get_string(fs_item(nodes, i), "name", ""), name)) {
            return !strcmp(fs_get_string(fs_item(nodes, i), "kind", ""), "from");
        }
    }
    return false;
}

/* Does traffic come to this module straight from the network? */
static bool
is_first(const xmlrpc_value *doc, const char *node)
{
    const xmlrpc_value *flows = fs_get(fs_get(doc, "plan"), "flows");
    for (size_t i = 0, n = fs_size(flows); i < n; i++) {
        const xmlrpc_value *f = fs_item(flows, i);
        if (!strcmp(fs_get_string(f, "to", ""), node) && is_source(fs_get(doc, "request"), fs_get_string(f, "from", ""))) {
            return true;
        }
    }
    return false;
}

static void
choose(struct questions *all, const xmlrpc_value *doc)
{
    const xmlrpc_value *modules = fs_get(fs_get(doc, "plan"), "modules");
    size_t n = fs_size(modules);
    all->list = fs_xcalloc(n + 1, sizeof *all->list);
    for (size_t i = 0; i < n; i++) {
        const xmlrpc_value *m = fs_item(modules, i);
        const char *host = fs_get_string(m, "host", "");
        if (is_first(doc, fs_get_string(m, "node", ""))) {
            all->list[all->n++] = (struct question) { .node = fs_get_string(m, "node", ""), .name = fs_get_string(m, "name", ""), .host = host,
                                                      .peer = resource_host_peer(fs_call_state(all->call), host) };
        }
    }
}

static int
by_bytes(const void *a, const void *b)
{
    double x = fs_get_double(*(xmlrpc_value *const *) a, "bytes", 0), y = fs_get_double(*(xmlrpc_value *const *) b, "bytes", 0);
    return (x < y) - (x > y);
}

/* The answers as one: the largest flows, and the others in sum. */
static xmlrpc_value *
join(const struct questions *all, size_t most)
{
    static const char *const sums[] = { "other_packets", "other_bytes", "forgotten" };
    double sum[3] = { 0 }, seconds = 0;
    size_t n = 0;
    xmlrpc_value **sorted = NULL, *flows = fs_array(), *problems = fs_array();
    for (size_t i = 0; i < all->n; i++) {
        const struct question *q = &all->list[i];
        const xmlrpc_value *list = q->reply.code ? NULL : fs_get(q->reply.value, "flows");
        size_t found = fs_size(list);
        sorted = fs_xrealloc(sorted, (n + found + 1) * sizeof *sorted);
        for (size_t k = 0; k < found; k++) {
            sorted[n] = fs_copy(fs_item(list, k));
            fs_set(sorted[n++], "module", fs_string(q->node));
        }
        for (size_t k = 0; k < 3 && !q->reply.code; k++) {
            sum[k] += fs_get_double(q->reply.value, sums[k], 0);
        }
        double since = q->reply.code ? 0 : fs_get_double(q->reply.value, "seconds", 0);
        seconds = since > seconds ? since : seconds;
        if (q->reply.code) {
            fs_append(problems, fs_string(q->reply.message));
        }
    }
    if (n) {
        qsort(sorted, n, sizeof *sorted, by_bytes);
    }
    for (size_t i = 0; i < n; i++) {
        if (i < most) {
            fs_append(flows, sorted[i]);
        } else {
            sum[0] += fs_get_double(sorted[i], "packets", 0);
            sum[1] += fs_get_double(sorted[i], "bytes", 0);
            fs_free(sorted[i]);
        }
    }
    free(sorted);
    xmlrpc_value *v = fs_set(fs_set(fs_struct(), "flows", flows), "problems", problems);
    for (size_t k = 0; k < 3; k++) {
        fs_set(v, sums[k], fs_double(sum[k]));
    }
    return fs_set(fs_set(v, "known", fs_int((int) n)), "seconds", fs_double(seconds));
}

static void
run(struct fs_call *call)
{
    int id = fs_call_int(call, 0, 0);
    const xmlrpc_value *options = fs_call_param(call, 1);
    xmlrpc_value *doc = resource_allocation(fs_call_state(call), id);
    struct questions all = { .call = call, .keep = fs_get_double(options, "keep", KEEP_SECONDS) };
    if (!doc) {
        fs_call_fail(call, "there is no allocation %d (list_allocations lists them)", id);
        return;
    }
    choose(&all, doc);
    if (!all.n) {
        fs_call_fail(call, "allocation %d has no module that its traffic comes to first, so nobody sees its flows: the rules' counts are all there is (flowstream show %d --rules)", id, id);
    } else {
        fs_parallel(all.n, ask, &all);
        bool any = false;
        for (size_t i = 0; i < all.n; i++) {
            any = any || !all.list[i].reply.code;
        }
        if (any) {
            fs_call_return(call, join(&all, (size_t) fs_get_int(options, "most", MOST)));
        } else {
            fs_call_reply(call, &all.list[0].reply);
        }
        for (size_t i = 0; i < all.n; i++) {
            fs_reply_clear(&all.list[i].reply);
        }
    }
    free(all.list);
    fs_free(doc);
}

static const struct fs_member options[] = {
    { "keep", "double?", 0, KEEP_SECONDS_MAX, "seconds to go on counting (default 60); 0 ends it" },
    { "most", "int?", 0, INT_MAX, "how many flows to tell (default 100)" },
    { 0 },
};

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "get_flows",
    .help = "Tells which flows an allocation handles, the largest first: flows (module, vlan, ethertype, protocol, source, source_port, destination, destination_port, packets, bytes), counted "
            "where they come to its first modules, since the first call of this method: that one begins the counting and knows none yet. seconds: for so long; other_packets, other_bytes: all "
            "others together, so that the sum is exact; known: how many flows are told apart; forgotten: how many there was no place for any more (4,096 a module are kept); problems: hosts that do not "
            "answer. Nobody asking for 'keep' seconds ends it.",
    .params = { { "alloc_id", "int", "the id that install_allocation answered" },
                { "options", "struct?", NULL } },
    .members = { [1] = options },
    .returns = "struct",
    .run = run,
};

/* collect: one sample of the whole platform: the resource daemon says which hosts and allocations there are, the others what they have counted. */
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include <flowstream/method.h>

#include "core/client.h"
#include "core/daemon.h"
#include "core/parallel.h"
#include "core/util.h"
#include "daemons/monitoring/monitor.h"

/* To watch a crowded platform must not be what keeps it busy: a tenth of the time at most. */
enum { CALL_MS = 3000, REST = 9 };

struct questions {
    struct fs_call *call;
    size_t n;
    struct question {
        const char *daemon, *host;
        struct fs_peer *peer;
        bool own; /* the peer is ours to destroy */
        struct fs_reply reply;
    } *list;
};

static void
ask(void *aux, size_t i)
{
    struct questions *all = aux;
    struct question *q = &all->list[i];
    if (q->peer) {
        fs_peer_call(q->peer, "get_statistics", fs_array(), CALL_MS, fs_call_request_id(all->call), &q->reply);
    } else {
        fs_reply_fail(&q->reply, "not in the configuration");
    }
}

static void
add_question(struct questions *all, const char *daemon, const char *host, struct fs_peer *peer, bool own)
{
    all->list = fs_xrealloc(all->list, (all->n + 1) * sizeof *all->list);
    all->list[all->n++] = (struct question) { .daemon = daemon, .host = host, .peer = peer, .own = own };
}

static void
move_all(xmlrpc_value *to, const xmlrpc_value *answer, const char *key, const char *host)
{
    const xmlrpc_value *from = fs_get(answer, key);
    for (size_t i = 0; i < fs_size(from); i++) {
        xmlrpc_value *v = fs_copy(fs_item(from, i));
        if (*host) {
            fs_set(v, "host", fs_string(host));
        }
        fs_append(to, v);
    }
}

static xmlrpc_value *
sample_of(const struct questions *all)
{
    xmlrpc_value *daemons = fs_array(), *switches = fs_array(), *hosts = fs_array(), *trunks = fs_array(), *modules = fs_array(),
                 *allocations = fs_array();
    for (size_t i = 0; i < all->n; i++) {
        const struct question *q = &all->list[i];
        xmlrpc_value *d = q->reply.code ? fs_struct() : fs_copy(fs_get(q->reply.value, "process"));
        fs_set(d, "daemon", fs_string(q->daemon));
        fs_set(d, "host", fs_string(q->host));
        fs_set(d, "up", fs_int(!q->reply.code));
        fs_set(d, "methods", fs_array()); /* each daemon shows these itself */
        if (q->reply.code) {
            fs_set(d, "problem", fs_string(q->reply.message));
        }
        fs_append(daemons, d);
        move_all(switches, q->reply.value, "switches", "");
        move_all(hosts, q->reply.value, "host", "");
        move_all(trunks, q->reply.value, "trunk", "");
        move_all(allocations, q->reply.value, "allocations", "");
        if (!strcmp(q->daemon, "modulehost")) {
            move_all(modules, q->reply.value, "modules", q->host);
        }
    }
    xmlrpc_value *v = fs_struct();
    fs_set(v, "daemons", daemons);
    fs_set(v, "switches", switches);
    fs_set(v, "hosts", hosts);
    fs_set(v, "trunks", trunks);
    fs_set(v, "allocations", allocations);
    return fs_set(v, "modules", modules);
}

static void
take_sample(struct fs_call *call)
{
    struct fs_daemon *d = fs_call_daemon(call);
    struct fs_reply hosts = { 0 };
    struct questions all = { .call = call };
    static const char *const central[] = { "resource", "openflow", "pm" };
    for (size_t i = 0; i < 3; i++) {
        add_question(&all, central[i], "", fs_daemon_peer(d, central[i]), false);
    }
    if (all.list[0].peer) {
        fs_peer_call(all.list[0].peer, "list_hosts", fs_array(), CALL_MS, fs_call_request_id(call), &hosts);
    }
    for (size_t i = 0; i < fs_size(hosts.value); i++) {
        const xmlrpc_value *h = fs_item(hosts.value, i);
        add_question(&all, "modulehost", fs_get_string(h, "name", ""),
                     fs_peer_new("modulehost", fs_get_string(h, "address", ""), fs_daemon_credentials(d)), true);
    }
    fs_parallel(all.n, ask, &all);
    monitor_put(fs_call_state(call), sample_of(&all));
    for (size_t i = 0; i < all.n; i++) {
        if (all.list[i].own) {
            fs_peer_destroy(all.list[i].peer);
        }
        fs_reply_clear(&all.list[i].reply);
    }
    free(all.list);
    fs_reply_clear(&hosts);
}

static void
run(struct fs_call *call)
{
    struct monitor *m = fs_call_state(call);
    int64_t begin = fs_now_ms();
    if (!fs_get_bool(fs_call_param(call, 0), "now", false) && begin < monitor_rests_until(m)) {
        return;
    }
    take_sample(call);
    malloc_trim(0); /* what the answers took: values of a crowded platform are ten times the sample */
    int64_t end = fs_now_ms();
    monitor_rest_until(m, end + REST * (end - begin));
}

FS_TASK = {
    FS_IS_TASK,
    .name = "collect",
    .help = "Gathers one sample of the whole platform from all daemons; then rests nine times as long as that took.",
    .params = { { "parameter", "struct?", "now (boolean): also when the last one took so long that it is not time yet" } },
    .returns = "nil",
    .idempotent = true,
    .run = run,
};

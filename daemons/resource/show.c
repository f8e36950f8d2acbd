/* Allocations as they are shown to users: what is in the store, joined with what the monitoring daemon has counted. */
#include "config.h"

#include "daemons/resource/show.h"

#include <stdlib.h>
#include <string.h>

#include "core/client.h"
#include "core/daemon.h"
#include "core/util.h"
#include "daemons/resource/byhand.h"
#include "daemons/resource/reconcile.h"

enum { MONITORING_MS = 4000, OPENFLOW_MS = 4000 };

/* Counters in the order of host and name. */
struct resource_counts {
    size_t n;
    struct row {
        const char *host, *name; /* the value's own */
        const xmlrpc_value *value;
    } rows[];
};

static int
compare(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    int order = strcmp(x->host, y->host);
    return order ? order : strcmp(x->name, y->name);
}

struct resource_counts *
resource_sort_counters(const xmlrpc_value *counters)
{
    size_t n = fs_size(counters);
    struct resource_counts *all = fs_xcalloc(1, sizeof *all + n * sizeof *all->rows);
    all->n = n;
    for (size_t i = 0; i < n; i++) {
        const xmlrpc_value *c = fs_item(counters, i);
        all->rows[i] = (struct row) { fs_get_string(c, "host", ""), fs_get_string(c, "name", ""), c };
    }
    qsort(all->rows, n, sizeof *all->rows, compare);
    return all;
}

static const xmlrpc_value *
counters_of(const struct resource_counts *counts, const xmlrpc_value *module)
{
    struct row wanted = { fs_get_string(module, "host", ""), fs_get_string(module, "name", ""), NULL };
    const struct row *found = counts->n ? bsearch(&wanted, counts->rows, counts->n, sizeof wanted, compare) : NULL;
    return found ? found->value : NULL;
}

static xmlrpc_value *
show_module(const xmlrpc_value *module, const struct resource_counts *counters)
{
    static const char *const figures[] = { "in", "out", "dropped", "ring_drops", "rate_drops", "bytes", "bytes_out", "packets_per_second", "bits_per_second" };
    const xmlrpc_value *c = counters_of(counters, module);
    xmlrpc_value *v = fs_struct();
    fs_set(v, "name", fs_string(fs_get_string(module, "node", "")));
    fs_set(v, "type", fs_string(fs_get_string(module, "type", "")));
    fs_set(v, "args", fs_string(fs_get_string(module, "args", "")));
    fs_set(v, "host", fs_string(fs_get_string(module, "host", "")));
    fs_set(v, "instance", fs_string(fs_get_string(module, "name", "")));
    fs_set(v, "state", fs_string(!c ? "unknown" : fs_get_int(c, "running", 0) ? "running" : "dead"));
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++) {
        fs_set(v, figures[i], fs_double(fs_get_double(c, figures[i], 0)));
    }
    return v;
}

xmlrpc_value *
resource_show(const xmlrpc_value *doc, const struct resource_counts *counters)
{
    static const char *const members[] = { "id", "name", "owner", "state", "message", "created" };
    const xmlrpc_value *plan = fs_get(doc, "plan"), *planned = fs_get(plan, "modules");
    xmlrpc_value *v = fs_struct(), *modules = fs_array();
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        fs_set(v, members[i], fs_copy(fs_get(doc, members[i])));
    }
    const xmlrpc_value *request = fs_get(doc, "request");
    fs_set(v, "kind", fs_string(resource_kind(request)));
    if (fs_get(request, "switch")) {
        fs_set(v, "switch", fs_copy(fs_get(request, "switch")));
        fs_set(v, "table", fs_copy(fs_get(request, "table")));
    }
    for (size_t i = 0; i < fs_size(planned); i++) {
        fs_append(modules, show_module(fs_item(planned, i), counters));
    }
    fs_set(v, "modules", modules);
    fs_set(v, "ports", fs_get(plan, "ports") ? fs_copy(fs_get(plan, "ports")) : fs_struct());
    return fs_set(v, "paths", fs_get(plan, "flows") ? fs_copy(fs_get(plan, "flows")) : fs_array());
}

/* A host of one of the modules that is silent, or NULL. */
static const char *
lost_host(struct resource *r, const xmlrpc_value *shown)
{
    const xmlrpc_value *modules = fs_get(shown, "modules"), *hosts = fs_get(shown, "hosts");
    for (size_t i = 0, n = fs_size(modules) + fs_size(hosts); i < n; i++) {
        const char *host = hosts ? fs_text(fs_item(hosts, i), "") : fs_get_string(fs_item(modules, i), "host", "");
        if (resource_host_is_lost(r, host)) {
            return host;
        }
    }
    return NULL;
}

xmlrpc_value *
resource_show_health(struct resource *r, xmlrpc_value *shown)
{
    if (!strcmp(fs_get_string(shown, "state", ""), "installed")) {
        const char *host = lost_host(r, shown);
        char *why = host ? fs_xasprintf("host %s is silent", host) : resource_degraded(r, fs_get_int(shown, "id", 0));
        if (why) {
            fs_set(fs_set(shown, "state", fs_string("degraded")), "message", fs_string(why));
        }
        free(why);
    }
    return shown;
}

/* Name and address of each host that the plan uses. */
static xmlrpc_value *
hosts_of(struct fs_call *call, const xmlrpc_value *doc)
{
    xmlrpc_value *hosts = fs_array(), *seen = fs_struct();
    const xmlrpc_value *modules = fs_get(fs_get(doc, "plan"), "modules");
    for (size_t i = 0; i < fs_size(modules); i++) {
        const char *name = fs_get_string(fs_item(modules, i), "host", "");
        if (!fs_get(seen, name)) {
            xmlrpc_value *host = resource_host(fs_call_state(call), name);
            fs_set(seen, name, fs_nil());
            fs_append(hosts, fs_set(fs_set(fs_struct(), "name", fs_string(name)), "address", fs_string(fs_get_string(host, "address", ""))));
            fs_free(host);
        }
    }
    fs_free(seen);
    return hosts;
}

xmlrpc_value *
resource_counters(struct fs_call *call, int id, const xmlrpc_value *doc, bool fresh)
{
    xmlrpc_value *which = fs_struct();
    if (id >= 0 && strcmp(resource_kind(fs_get(doc, "request")), "connections")) { /* those have modules of others */
        fs_set(which, "owner", fs_int(id));
    }
    if (fresh) {
        fs_set(which, "hosts", hosts_of(call, doc));
    }
    struct fs_peer *monitoring = fs_daemon_peer(fs_call_daemon(call), "monitoring");
    struct fs_reply reply = { 0 };
    xmlrpc_value *v;
    if (!monitoring) {
        fs_reply_fail(&reply, "no monitoring daemon is in the configuration");
        fs_free(which);
    } else {
        fs_peer_call(monitoring, "get_module_counters", fs_append(fs_array(), which), MONITORING_MS, fs_call_request_id(call), &reply);
    }
    if (reply.code) {
        v = fs_set(fs_struct(), "modules", fs_array());
        fs_set(v, "problems", fs_append(fs_array(), fs_stringf("no counters: %s", reply.message)));
    } else {
        v = fs_copy(reply.value);
    }
    fs_reply_clear(&reply);
    return v;
}

/* What a meter of the plan has counted, by what its switch answered. */
static xmlrpc_value *
show_meter(const xmlrpc_value *planned, const char *name, const xmlrpc_value *answer)
{
    static const char *const figures[] = { "packets", "bytes", "rate_drops", "rate_drop_bytes" };
    const xmlrpc_value *meters = fs_get(answer, "meters"), *there = NULL;
    for (size_t i = 0; i < fs_size(meters) && !there; i++) {
        there = fs_get_int(fs_item(meters, i), "meter", 0) == fs_get_int(planned, "meter", -1) ? fs_item(meters, i) : NULL;
    }
    xmlrpc_value *v = fs_set(fs_copy(planned), "switch", fs_string(name));
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++) {
        fs_set(v, figures[i], fs_double(fs_get_double(there, figures[i], 0)));
    }
    return v;
}

xmlrpc_value *
resource_show_meters(struct fs_call *call, int id, const xmlrpc_value *doc, xmlrpc_value *problems)
{
    const xmlrpc_value *switches = fs_get(fs_get(doc, "plan"), "rules");
    struct fs_peer *openflow = fs_daemon_peer(fs_call_daemon(call), "openflow");
    xmlrpc_value *all = fs_array();
    for (size_t i = 0; i < fs_size(switches); i++) {
        const xmlrpc_value *sw = fs_item(switches, i), *meters = fs_get(sw, "meters");
        const char *name = fs_get_string(sw, "switch", "");
        if (!fs_size(meters) || !openflow) {
            continue;
        }
        xmlrpc_value *which = fs_set(fs_set(fs_struct(), "switch", fs_string(name)), "target", fs_string(fs_get_string(sw, "target", "")));
        struct fs_reply reply;
        if (fs_peer_call(openflow, "get_meters", fs_append(fs_array(), fs_set(which, "allocation", fs_int(id))), OPENFLOW_MS, fs_call_request_id(call), &reply)) {
            fs_append(problems, fs_stringf("what meters dropped: %s", reply.message));
        }
        for (size_t k = 0; k < fs_size(meters); k++) {
            fs_append(all, show_meter(fs_item(meters, k), name, reply.code ? NULL : reply.value));
        }
        fs_reply_clear(&reply);
    }
    return all;
}

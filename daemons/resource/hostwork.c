/* The same tasks on several module hosts at the same time: for create_modules and delete_modules. */
#include "config.h"

#include "daemons/resource/hostwork.h"

#include <stdlib.h>
#include <string.h>

#include "core/client.h"
#include "core/parallel.h"
#include "core/util.h"
#include "daemons/resource/resource.h"

enum { HOST_MS = 30000, CANCEL_MS = 3000 };

struct work {
    struct fs_call *call;
    struct {
        const char *host;
        xmlrpc_value *steps;
        struct fs_reply reply;
    } *hosts;
    size_t n;
};

static void
one_host(void *aux, size_t i)
{
    struct work *w = aux;
    struct fs_peer *peer = resource_host_peer(fs_call_state(w->call), w->hosts[i].host);
    if (!peer) {
        fs_reply_fail(&w->hosts[i].reply, "is not registered");
        return;
    }
    if (resource_host_is_lost(fs_call_state(w->call), w->hosts[i].host)) { /* known to be away: nobody waits for it */
        fs_reply_fail(&w->hosts[i].reply, "has not been heard of for more than ten seconds");
        return;
    }
    for (size_t k = 0; k < fs_size(w->hosts[i].steps); k++) {
        resource_order(fs_call_state(w->call), fs_get(fs_item(w->hosts[i].steps, k), "parameter"));
    }
    xmlrpc_value *options = fs_struct();
    fs_set(options, "priority", fs_string("high"));
    fs_set(options, "wait", fs_double(HOST_MS / 1e3 - 2));
    xmlrpc_value *params = fs_append(fs_append(fs_array(), fs_copy(w->hosts[i].steps)), options);
    if (fs_peer_call(peer, "run_compound_task", params, HOST_MS, fs_call_request_id(w->call), &w->hosts[i].reply) == FS_NOT_READY) {
        xmlrpc_value *handle = w->hosts[i].reply.value ? fs_copy(w->hosts[i].reply.value) : fs_nil();
        struct fs_reply cancelled;
        fs_peer_call(peer, "cancel_task", fs_append(fs_array(), handle), CANCEL_MS, fs_call_request_id(w->call), &cancelled);
        fs_reply_clear(&cancelled);
        fs_reply_fail(&w->hosts[i].reply, "did not end its task in time");
    }
}

/* One step a process.  A module that shares its process with others joins the step of the first of them. */
static void
add_step(xmlrpc_value *steps, const char *task, const xmlrpc_value *module)
{
    const char *name = fs_get_string(module, "name", ""), *process = fs_get_string(module, "process", name);
    xmlrpc_value *parameter;
    if (!strcmp(process, name)) {
        parameter = fs_copy(module);
    } else {
        for (size_t i = 0; i < fs_size(steps); i++) {
            xmlrpc_value *other = fs_get(fs_item(steps, i), "parameter");
            if (!strcmp(fs_get_string(other, "name", ""), process)) {
                fs_append(fs_get(other, "modules"), fs_copy(module));
                return;
            }
        }
        parameter = fs_set(fs_set(fs_struct(), "name", fs_string(process)), "modules", fs_append(fs_array(), fs_copy(module)));
    }
    fs_append(steps, fs_set(fs_set(fs_struct(), "name", fs_string(task)), "parameter", parameter));
}

static void
sort_by_host(struct work *w, const char *task, const xmlrpc_value *modules)
{
    for (size_t i = 0; i < fs_size(modules); i++) {
        const xmlrpc_value *m = fs_item(modules, i);
        const char *host = fs_get_string(m, "host", "");
        size_t k = 0;
        while (k < w->n && strcmp(w->hosts[k].host, host)) {
            k++;
        }
        if (k == w->n) {
            w->hosts = fs_xrealloc(w->hosts, ++w->n * sizeof *w->hosts);
            memset(&w->hosts[k], 0, sizeof w->hosts[k]);
            w->hosts[k].host = host;
            w->hosts[k].steps = fs_array();
        }
        add_step(w->hosts[k].steps, task, m);
    }
}

char *
resource_on_hosts(struct fs_call *call, const char *task, const xmlrpc_value *modules)
{
    struct work w = { .call = call };
    sort_by_host(&w, task, modules);
    fs_parallel(w.n, one_host, &w);
    struct fs_text failed = { 0 };
    for (size_t i = 0; i < w.n; i++) {
        if (w.hosts[i].reply.code) {
            fs_text_addf(&failed, "%shost %s: %s", failed.length ? "; " : "", w.hosts[i].host, w.hosts[i].reply.message);
        }
        fs_reply_clear(&w.hosts[i].reply);
        fs_free(w.hosts[i].steps);
    }
    free(w.hosts);
    return failed.text;
}

xmlrpc_value *
resource_pick(const xmlrpc_value *modules, bool existing)
{
    xmlrpc_value *some = fs_array();
    for (size_t i = 0; i < fs_size(modules); i++) {
        if (fs_get_bool(fs_item(modules, i), "existing", false) == existing) {
            fs_append(some, fs_copy(fs_item(modules, i)));
        }
    }
    return some;
}

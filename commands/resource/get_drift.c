/* get_drift: how what is there differs from what is wanted.  Changes nothing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <flowstream/method.h>

#include "core/parallel.h"
#include "core/util.h"
#include "daemons/resource/reconcile.h"

enum { AGAIN_US = 400000 };

struct work {
    struct fs_call *call;
    xmlrpc_value *hosts, *switches;
    xmlrpc_value **found; /* one list a host, then one a switch */
};

static xmlrpc_value *
unreachable(const char *kind, const char *name, const char *why)
{
    return fs_set(resource_difference(kind, "unreachable", 0, name, name), "why", fs_string(why));
}

static void
look_at_host(struct work *w, const xmlrpc_value *host, xmlrpc_value *found)
{
    const char *name = fs_get_string(host, "name", ""), *state = fs_get_string(host, "state", "");
    char *why = !strcmp(state, "silent") ? fs_xstrdup("it has not been heard of for more than ten seconds") : resource_compare_host(w->call, name, NULL, NULL, found, NULL);
    if (why) {
        fs_append(found, unreachable("host", name, why));
    }
    free(why);
}

static void
look_at_switch(struct work *w, const xmlrpc_value *sw, xmlrpc_value *found)
{
    struct resource *r = fs_call_state(w->call);
    const char *name = fs_get_string(sw, "name", "");
    xmlrpc_value *where = fs_set(fs_struct(), "switch", fs_string(name));
    fs_set(where, "target", fs_string(fs_get_string(sw, "target", "")));
    size_t n;
    int *all = resource_allocation_ids(r, &n); /* also those that should have nothing there */
    xmlrpc_value *unsure = resource_unsure(r, NULL);
    int *ids = fs_xcalloc(n + 1, sizeof *ids);
    size_t n_sure = 0;
    for (size_t i = 0; i < n; i++) {
        char id[16];
        snprintf(id, sizeof id, "%d", all[i]);
        if (!fs_get(unsure, id)) {
            ids[n_sure++] = all[i];
        }
    }
    ids[n_sure++] = 0;
    char *why = resource_compare_switch(w->call, where, ids, n_sure, true, found);
    if (why) {
        fs_append(found, unreachable("switch", name, why));
    }
    free(why);
    free(ids);
    free(all);
    fs_free(unsure);
    fs_free(where);
}

static void
look(void *aux, size_t i)
{
    struct work *w = aux;
    size_t n = fs_size(w->hosts);
    if (i < n) {
        look_at_host(w, fs_item(w->hosts, i), w->found[i]);
    } else {
        look_at_switch(w, fs_item(w->switches, i - n), w->found[i]);
    }
}

static void
take(xmlrpc_value *all, const xmlrpc_value *some)
{
    for (size_t i = 0; i < fs_size(some); i++) {
        fs_append(all, fs_copy(fs_item(some, i)));
    }
}

/* Rules of allocations that are no more: only the sweep knows them. */
static void
add_orphan_rules(struct fs_call *call, xmlrpc_value *all)
{
    struct fs_reply reply;
    fs_call_task(call, "sweep", fs_set(fs_struct(), "dry_run", fs_bool(true)), &reply);
    const xmlrpc_value *items = fs_get(reply.value, "items");
    for (size_t i = 0; i < fs_size(items); i++) {
        if (!strcmp(fs_get_string(fs_item(items, i), "kind", ""), "rule")) {
            fs_append(all, fs_copy(fs_item(items, i)));
        }
    }
    fs_reply_clear(&reply);
}

static xmlrpc_value *
drift(struct fs_call *call)
{
    struct resource *r = fs_call_state(call);
    struct work w = { .call = call, .hosts = resource_host_states(r), .switches = resource_switches(r) };
    size_t n = fs_size(w.hosts) + fs_size(w.switches);
    xmlrpc_value *all = fs_array();
    w.found = fs_xcalloc(n + 1, sizeof *w.found);
    for (size_t i = 0; i < n; i++) {
        w.found[i] = fs_array();
    }
    fs_parallel(n, look, &w);
    for (size_t i = 0; i < n; i++) {
        take(all, w.found[i]);
        fs_free(w.found[i]);
    }
    add_orphan_rules(call, all);
    free(w.found);
    fs_free(w.hosts);
    fs_free(w.switches);
    return all;
}

static bool
is_in(const xmlrpc_value *list, const xmlrpc_value *d)
{
    static const char *const members[] = { "kind", "problem", "where", "name" };
    for (size_t i = 0; i < fs_size(list); i++) {
        const xmlrpc_value *other = fs_item(list, i);
        bool same = fs_get_int(other, "allocation", -1) == fs_get_int(d, "allocation", -1);
        for (size_t k = 0; k < sizeof members / sizeof *members && same; k++) {
            same = !strcmp(fs_get_string(other, members[k], ""), fs_get_string(d, members[k], ""));
        }
        if (same) {
            return true;
        }
    }
    return false;
}

static void
run(struct fs_call *call)
{
    xmlrpc_value *first = drift(call), *both = fs_array();
    if (fs_size(first)) { /* what is being installed or deleted right now may look different; what stays so does not */
        usleep(AGAIN_US);
        xmlrpc_value *second = drift(call);
        for (size_t i = 0; i < fs_size(second); i++) {
            if (is_in(first, fs_item(second, i))) {
                fs_append(both, fs_copy(fs_item(second, i)));
            }
        }
        fs_free(second);
    }
    fs_free(first);
    xmlrpc_value *v = fs_set(fs_struct(), "in_step", fs_bool(!fs_size(both)));
    fs_call_return(call, fs_set(v, "differences", both));
}

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "get_drift",
    .help = "Compares all that is wanted with all that is there, and changes nothing. Answers in_step and differences: kind (module, rule, host, switch), problem (missing, dead, changed, "
            "extra, owned by nobody, unreachable), allocation (0: none), where (host or switch), name (module, or the rule), why (optional). The daemon mends them by itself.",
    .params = {},
    .returns = "struct",
    .idempotent = true,
    .run = run,
};

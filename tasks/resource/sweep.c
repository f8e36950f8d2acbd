/* sweep: take away what belongs to no allocation: modules and rules that came to be after their allocation was undone, because a daemon was stopped or
 * killed in the middle and went on later, or because a host was away when it was deleted.
 *
 * An allocation is in the store before anything of it exists and its id is never used again, so what has an owner that is not in the store now will never
 * have one.  What does not carry our cookie or our sign, or does not lie in a module host's folder, is not looked at. */
#include <stdlib.h>
#include <string.h>

#include <flowstream/failpoint.h>
#include <flowstream/log.h>
#include <flowstream/method.h>

#include "core/client.h"
#include "core/daemon.h"
#include "core/util.h"
#include "daemons/resource/hostwork.h"
#include "daemons/resource/reconcile.h"

FS_LOG_MODULE("sweep");

enum { OPENFLOW_MS = 10000 };

struct sweeping {
    struct fs_call *call;
    bool dry_run;
    xmlrpc_value *items, *problems;
};

static void
note_problem(struct sweeping *s, const char *why)
{
    fs_append(s->problems, fs_string(why));
    fs_log_limited(FS_LOG_WARNING, "%s (it is tried again)", why);
}

/* --- Modules --- */

/* A process goes as a whole, once. */
static void
add_orphan(xmlrpc_value *orphans, const char *host, const char *process)
{
    for (size_t i = 0; i < fs_size(orphans); i++) {
        if (!strcmp(fs_get_string(fs_item(orphans, i), "name", ""), process)) {
            return;
        }
    }
    fs_append(orphans, fs_set(fs_set(fs_struct(), "name", fs_string(process)), "host", fs_string(host)));
}

static void
sweep_host(struct sweeping *s, const char *host, const struct resource_ids *only)
{
    xmlrpc_value *differences = fs_array(), *orphans = fs_array();
    char *why = resource_compare_host(s->call, host, only, NULL, differences, NULL);
    for (size_t i = 0; i < fs_size(differences) && !why; i++) {
        const xmlrpc_value *d = fs_item(differences, i);
        if (!strcmp(fs_get_string(d, "problem", ""), "owned by nobody")) {
            add_orphan(orphans, host, fs_get_string(d, "process", fs_get_string(d, "name", "")));
            fs_append(s->items, fs_copy(d));
            if (!s->dry_run) {
                fs_log_warning("module %s on host %s belongs to allocation %d, which is no more: it is removed", fs_get_string(d, "name", ""), host,
                               fs_get_int(d, "allocation", 0));
            }
        }
    }
    if (!why && !s->dry_run && fs_size(orphans)) {
        why = resource_on_hosts(s->call, "delete_pm", orphans);
    }
    if (why) {
        note_problem(s, why);
    }
    free(why);
    fs_free(orphans);
    fs_free(differences);
}

/* --- Rules and meters --- */

static void
clear(struct sweeping *s, int id, const xmlrpc_value *where)
{
    if (FS_FAILPOINT_ERROR("recover.sweep")) {
        note_problem(s, "failpoint recover.sweep");
        return;
    }
    fs_log_warning("rules or meters of allocation %d, which is no more, are in switch %s: they are removed", id, fs_get_string(where, "switch", ""));
    xmlrpc_value *param = fs_set(fs_set(fs_struct(), "allocation", fs_int(id)), "switches", fs_append(fs_array(), fs_copy(where)));
    struct fs_reply reply;
    if (fs_call_task(s->call, "clear_switches", param, &reply)) {
        note_problem(s, reply.message);
    }
    fs_reply_clear(&reply);
}

static void
sweep_switch(struct sweeping *s, const xmlrpc_value *sw)
{
    struct fs_peer *openflow = fs_daemon_peer(fs_call_daemon(s->call), "openflow");
    const char *name = fs_get_string(sw, "name", "");
    xmlrpc_value *where = fs_set(fs_struct(), "switch", fs_string(name));
    fs_set(where, "target", fs_string(fs_get_string(sw, "target", "")));
    struct fs_reply reply;
    if (!openflow || fs_peer_call(openflow, "get_rule_changes", fs_append(fs_array(), fs_copy(where)), OPENFLOW_MS, fs_call_request_id(s->call), &reply)) {
        note_problem(s, openflow ? reply.message : "no openflow daemon is in the configuration");
    } else {
        const xmlrpc_value *owners = fs_get(reply.value, "owners");
        for (size_t i = 0; i < fs_size(owners); i++) {
            int id = (int) fs_number(fs_item(fs_item(owners, i), 0), 0);
            if (id && !resource_knows(fs_call_state(s->call), id)) {
                const char *digest = fs_text(fs_item(fs_item(owners, i), 1), "");
                int meters = (int) fs_number(fs_item(fs_item(owners, i), 2), 0);
                char *rules = fs_xasprintf("%.*s rules", (int) strcspn(digest, "-"), digest), *both = meters ? fs_xasprintf("%s, %d meters", rules, meters) : NULL;
                fs_append(s->items, resource_difference("rule", "owned by nobody", id, name, both ? both : rules));
                free(both);
                free(rules);
                if (!s->dry_run) {
                    clear(s, id, where);
                }
            }
        }
    }
    if (openflow) {
        fs_reply_clear(&reply);
    }
    fs_free(where);
}

static bool
is_asked_for(const xmlrpc_value *param, const char *kind, const char *name)
{
    const char *host = fs_get_string(param, "host", NULL), *sw = fs_get_string(param, "switch", NULL), *only = *kind == 'h' ? host : sw;
    return (!host && !sw) || (only && !strcmp(only, name));
}

static void
run(struct fs_call *call)
{
    const xmlrpc_value *param = fs_call_param(call, 0);
    struct sweeping s = { call, fs_get_bool(param, "dry_run", false), fs_array(), fs_array() };
    const xmlrpc_value *owners = fs_get(param, "owners");
    int *ids = fs_xcalloc(fs_size(owners) + 1, sizeof *ids);
    struct resource_ids only = { ids, fs_size(owners) };
    for (size_t i = 0; i < only.n; i++) {
        ids[i] = (int) fs_number(fs_item(owners, i), 0);
    }
    xmlrpc_value *hosts = resource_host_states(fs_call_state(call)), *switches = resource_switches(fs_call_state(call));
    for (size_t i = 0; i < fs_size(hosts) && !fs_call_cancelled(call); i++) {
        const char *name = fs_get_string(fs_item(hosts, i), "name", ""), *state = fs_get_string(fs_item(hosts, i), "state", "");
        if (is_asked_for(param, "host", name) && (!strcmp(state, "up") || !strcmp(state, "preparing"))) {
            sweep_host(&s, name, owners ? &only : NULL);
        } else if (is_asked_for(param, "host", name)) {
            char *why = fs_xasprintf("host %s is %s: what is there is not known, and is looked at when it comes back", name, state);
            note_problem(&s, why);
            free(why);
        }
    }
    for (size_t i = 0; i < fs_size(switches) && !fs_call_cancelled(call); i++) {
        if (is_asked_for(param, "switch", fs_get_string(fs_item(switches, i), "name", ""))) {
            sweep_switch(&s, fs_item(switches, i));
        }
    }
    free(ids);
    fs_free(hosts);
    fs_free(switches);
    fs_call_return(call, fs_set(fs_set(fs_struct(), "items", s.items), "problems", s.problems));
}

FS_TASK = {
    FS_IS_TASK,
    .name = "sweep",
    .help = "Removes modules, rules and meters whose allocation is no more; answers items, what they were, and problems, what could not be looked at or removed.",
    .params = { { "parameter", "any?", "dry_run (boolean): only tell; host or switch: only this one; owners (array of ids): on a host, only the modules of these" } },
    .returns = "struct",
    .idempotent = true,
    .run = run,
};

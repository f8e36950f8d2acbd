/* reconcile_hosts: the modules that run are those that are wanted, by nothing but the difference.
 *
 * Level-triggered: a host says in which state its modules are.  Where that is another one than before it is asked whose modules have changed since, and only these allocations are
 * compared, and those that somebody has worked on.  An allocation is in doubt until it was found right after its last change, so it does not matter why something differs, and an event
 * that was missed is not lost.  Once a minute a host tells the state of all, in a few bytes each, and some are compared without a reason.
 *
 * Allocations that somebody works on are left to him.  One that needs mending again and again is mended ever more rarely, and shown as degraded. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <flowstream/log.h>
#include <flowstream/method.h>

#include "core/client.h"
#include "core/daemon.h"
#include "core/parallel.h"
#include "core/util.h"
#include "daemons/resource/reconcile.h"

FS_LOG_MODULE("reconcile");

enum { ALL_MS = 60000, HOST_MS = 5000, WITHOUT_REASON = 64 };

/* Those of the allocations that may be mended now (owned). */
static int *
owners(struct resource *r, const char *place, const struct resource_difference_of *differ, size_t n_differ, size_t *n)
{
    int *ids = fs_xcalloc(n_differ + 1, sizeof *ids);
    *n = 0;
    for (size_t i = 0; i < n_differ; i++) {
        if (differ[i].id && resource_may_mend(r, differ[i].id, place)) {
            ids[(*n)++] = differ[i].id;
        }
    }
    return ids;
}

static const char *
process_of(const xmlrpc_value *module)
{
    return fs_get_string(module, "process", fs_get_string(module, "name", ""));
}

/* Is the module, or one that shares its process, among the differences? */
static bool
is_bad(const xmlrpc_value *module, const xmlrpc_value *wanted, const xmlrpc_value *differences)
{
    for (size_t i = 0; i < fs_size(differences); i++) {
        const char *name = fs_get_string(fs_item(differences, i), "name", "");
        for (size_t k = 0; k < fs_size(wanted); k++) {
            const xmlrpc_value *w = fs_item(wanted, k);
            if (!strcmp(fs_get_string(w, "name", ""), name) && !strcmp(process_of(w), process_of(module))) {
                return true;
            }
        }
    }
    return false;
}

static char *
step(struct fs_call *call, const char *task, const xmlrpc_value *modules)
{
    struct fs_reply reply;
    fs_call_task(call, task, fs_set(fs_struct(), "modules", fs_copy(modules)), &reply);
    char *why = reply.code ? fs_xstrdup(reply.message) : NULL;
    fs_reply_clear(&reply);
    return why;
}

/* Those of the wanted modules of allocation 'id' that are bad, and in 'gone' these and the extra ones. */
static xmlrpc_value *
bad_modules(int id, const char *host, const xmlrpc_value *wanted, const xmlrpc_value *differences, xmlrpc_value *gone)
{
    xmlrpc_value *bad = fs_array();
    for (size_t i = 0; i < fs_size(wanted); i++) {
        const xmlrpc_value *w = fs_item(wanted, i);
        if (fs_get_int(w, "owner", 0) == id && is_bad(w, wanted, differences)) {
            fs_append(bad, fs_copy(w));
            fs_append(gone, fs_copy(w));
        }
    }
    for (size_t i = 0; i < fs_size(differences); i++) {
        const xmlrpc_value *d = fs_item(differences, i);
        if (fs_get_int(d, "allocation", 0) == id && !strcmp(fs_get_string(d, "problem", ""), "extra")) {
            xmlrpc_value *m = fs_set(fs_set(fs_struct(), "name", fs_string(process_of(d))), "host", fs_string(host));
            fs_append(gone, m);
        }
    }
    return bad;
}

static char *
summary(int id, const xmlrpc_value *differences)
{
    struct fs_text t = { 0 };
    for (size_t i = 0; i < fs_size(differences) && t.length < 400; i++) {
        const xmlrpc_value *d = fs_item(differences, i);
        if (fs_get_int(d, "allocation", 0) == id) {
            fs_text_addf(&t, "%s%s %s at %s was %s", t.length ? "; " : "", fs_get_string(d, "kind", ""), fs_get_string(d, "name", ""), fs_get_string(d, "where", ""),
                         fs_get_string(d, "problem", ""));
        }
    }
    return t.text ? t.text : fs_xstrdup("");
}

/* The modules of one claimed allocation on one host: what is bad is removed and made again. */
static void
mend_modules(struct fs_call *call, int id, const char *host, const char *place, const xmlrpc_value *wanted, const xmlrpc_value *differences)
{
    xmlrpc_value *gone = fs_array(), *bad = bad_modules(id, host, wanted, differences, gone);
    if (fs_size(gone)) {
        char *failed = step(call, "delete_modules", gone), *what = summary(id, differences);
        failed = failed || !fs_size(bad) ? failed : step(call, "create_modules", bad);
        resource_note_mended(fs_call_state(call), id, place, what, failed);
        fs_log_warning("allocation %d: %s; %s%s", id, what, failed ? "it cannot be mended now: " : "it is mended", failed ? failed : "");
        free(what);
        free(failed);
    }
    fs_free(bad);
    fs_free(gone);
}

/* Those about one allocation: each is gone through for each module of the other. */
static xmlrpc_value *
of_allocation(const xmlrpc_value *list, const char *member, int id)
{
    xmlrpc_value *its = fs_array();
    for (size_t i = 0; i < fs_size(list); i++) {
        if (fs_get_int(fs_item(list, i), member, 0) == id) {
            fs_append(its, fs_copy(fs_item(list, i)));
        }
    }
    return its;
}

static void
mend_host(struct fs_call *call, const char *host, const char *place, const struct resource_difference_of *differ, size_t n_differ)
{
    struct resource *r = fs_call_state(call);
    struct resource_claims claims;
    size_t n;
    int *ids = owners(r, place, differ, n_differ, &n);
    resource_claims_take(r, ids, n, &claims);
    struct resource_ids only = { claims.ids, claims.n };
    xmlrpc_value *sure = fs_array(), *unsure = fs_struct(), *wanted = resource_wanted_modules(r, host, &only, &claims, unsure, NULL);
    char *why = claims.n ? resource_compare_host(call, host, &only, &claims, sure, NULL) : NULL; /* now that nobody else changes them */
    for (size_t i = 0; i < claims.n && !why; i++) {
        xmlrpc_value *its = of_allocation(wanted, "owner", claims.ids[i]), *about = of_allocation(sure, "allocation", claims.ids[i]);
        mend_modules(call, claims.ids[i], host, place, its, about);
        fs_free(its);
        fs_free(about);
    }
    resource_claims_give(r, &claims);
    free(why);
    free(ids);
    fs_free(wanted);
    fs_free(unsure);
    fs_free(sure);
}

/* --- What is in doubt --- */

static void
sweep(struct fs_call *call, const char *host, xmlrpc_value *ids /* taken */)
{
    struct fs_reply reply;
    fs_call_task(call, "sweep", fs_set(fs_set(fs_struct(), "host", fs_string(host)), "owners", ids), &reply);
    fs_reply_clear(&reply);
}

/* What was compared and is right is in doubt no longer.  One that somebody works on comes into doubt again when he has done, unless he is the reconciler of switches. */
static void
settle(struct resource *r, const char *place, const struct resource_doubt *d, const xmlrpc_value *unsure)
{
    char id[16];
    snprintf(id, sizeof id, "%d", d->id);
    if (!fs_get_bool(unsure, id, false)) {
        resource_memory_settle(r, place, d, false);
        if (!fs_get(unsure, id)) {
            resource_note_healthy(r, d->id, place);
        }
    }
}

static void
look_at_doubts(struct fs_call *call, const char *host, const char *place)
{
    struct resource *r = fs_call_state(call);
    size_t n;
    struct resource_doubt *doubts = resource_memory_doubted(r, place, &n);
    xmlrpc_value *orphans = fs_array();
    n = resource_sort_out(r, place, doubts, n, orphans);
    if (fs_size(orphans)) {
        sweep(call, host, fs_copy(orphans));
    }
    int *ids = fs_xcalloc(n + 1, sizeof *ids);
    for (size_t i = 0; i < n; i++) {
        ids[i] = doubts[i].id;
    }
    struct resource_ids only = { ids, n };
    xmlrpc_value *differences = fs_array(), *unsure = fs_struct();
    char *why = n ? resource_compare_host(call, host, &only, NULL, differences, unsure) : NULL;
    if (why) {
        fs_log_limited(FS_LOG_WARNING, "%s", why);
    } else {
        size_t n_differ;
        struct resource_difference_of *differ = resource_sort_differences(differences, &n_differ);
        for (size_t i = 0; i < n; i++) {
            if (!resource_differs(differ, n_differ, doubts[i].id)) {
                settle(r, place, &doubts[i], unsure);
            }
        }
        if (n_differ) {
            mend_host(call, host, place, differ, n_differ);
        }
        free(differ);
    }
    fs_free(orphans);
    fs_free(differences);
    fs_free(unsure);
    free(ids);
    free(doubts);
    free(why);
}

/* --- What has changed --- */

/* Whose modules have changed since the state 'known'.  False: the host does not say. */
static bool
ask_for_changes(struct fs_call *call, const char *host, const char *place, const char *known)
{
    struct resource *r = fs_call_state(call);
    struct fs_peer *peer = resource_host_peer(r, host);
    struct fs_reply reply = { 0 };
    bool told = peer && !fs_peer_call(peer, "get_module_changes", fs_append(fs_array(), fs_set(fs_struct(), "known", fs_string(known))), HOST_MS, fs_call_request_id(call), &reply);
    if (told) {
        resource_note_changes(r, place, host, reply.value, resource_ids_on);
    } else {
        fs_log_limited(FS_LOG_WARNING, "host %s: %s", host, peer ? reply.message : "it is not registered");
    }
    fs_reply_clear(&reply);
    return told;
}

static void
look_at_host(struct fs_call *call, const char *host, const char *place, bool all, bool force)
{
    struct resource *r = fs_call_state(call);
    char *known = all ? fs_xstrdup("") : resource_memory_right(r, place);
    if (ask_for_changes(call, host, place, known)) {
        if (all) {
            resource_memory_set_due(r, place, RESOURCE_LOOK_AT_ALL, ALL_MS);
            resource_memory_doubt_some(r, place, force ? SIZE_MAX : WITHOUT_REASON);
        }
        look_at_doubts(call, host, place);
        if (all) {
            resource_note_undoubted_healthy(r, place);
        }
    }
    free(known);
}

static void
reconcile_host(struct fs_call *call, const char *host, bool force)
{
    struct resource *r = fs_call_state(call);
    char *place = resource_host_place(host), *state = resource_host_digest(r, host), *seen = resource_memory_right(r, place);
    bool all = force || resource_memory_is_due(r, place, RESOURCE_LOOK_AT_ALL);
    if ((all || !*state || strcmp(state, seen) || resource_memory_doubts(r, place)) && resource_memory_begin(r, place)) {
        look_at_host(call, host, place, all, force);
        resource_memory_end(r, place);
    }
    free(place);
    free(state);
    free(seen);
}

struct work {
    struct fs_call *call;
    const xmlrpc_value *hosts;
    bool force;
};

static void
one_host(void *aux, size_t i)
{
    const struct work *w = aux;
    const xmlrpc_value *host = fs_item(w->hosts, i);
    const char *state = fs_get_string(host, "state", "");
    if (!fs_call_cancelled(w->call) && (!strcmp(state, "up") || !strcmp(state, "preparing"))) {
        reconcile_host(w->call, fs_get_string(host, "name", ""), w->force);
    }
}

static void
run(struct fs_call *call)
{
    xmlrpc_value *hosts = resource_host_states(fs_call_state(call));
    struct work w = { call, hosts, fs_get_bool(fs_call_param(call, 0), "force", false) };
    fs_parallel(fs_size(hosts), one_host, &w); /* one that is slow does not keep the others waiting */
    fs_free(hosts);
}

FS_TASK = {
    FS_IS_TASK,
    .name = "reconcile_hosts",
    .help = "Compares the modules that have changed on hosts, and those of allocations that were worked on, with what is wanted, and puts the difference right: starts what is missing or dead, makes anew what is other than it "
            "should be, removes what is too much.",
    .params = { { "parameter", "any?", "force (boolean): compare all, also where nothing has changed" } },
    .returns = "nil",
    .idempotent = true,
    .run = run,
};

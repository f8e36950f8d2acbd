/* reconcile_hosts: the modules that run are those that are wanted, by nothing but the difference.
 *
 * Level-triggered: a host says in which state its modules are, and is compared where that is not the state in which it was last found right, at the latest after a minute.  So it does
 * not matter why something differs, or whether an event was missed; and where nothing changed nothing is asked.  Allocations that somebody works on are left to him.  One that needs
 * mending again and again is mended ever more rarely, and shown as degraded. */
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

enum { ALL_MS = 60000 };

static bool
is_of_nobody(const xmlrpc_value *d)
{
    return !strcmp(fs_get_string(d, "problem", ""), "owned by nobody");
}

/* The allocations of the differences that may be mended now; each once, ascending order not needed (owned). */
static int *
owners(struct resource *r, const xmlrpc_value *differences, size_t *n)
{
    int *ids = fs_xcalloc(fs_size(differences) + 1, sizeof *ids);
    *n = 0;
    for (size_t i = 0; i < fs_size(differences); i++) {
        const xmlrpc_value *d = fs_item(differences, i);
        int id = fs_get_int(d, "allocation", 0);
        bool again = false;
        for (size_t k = 0; k < *n; k++) {
            again = again || ids[k] == id;
        }
        if (id && !again && !is_of_nobody(d) && resource_may_mend(r, id, RESOURCE_MODULES)) {
            ids[(*n)++] = id;
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
mend_modules(struct fs_call *call, int id, const char *host, const xmlrpc_value *wanted, const xmlrpc_value *differences)
{
    xmlrpc_value *gone = fs_array(), *bad = bad_modules(id, host, wanted, differences, gone);
    if (fs_size(gone)) {
        char *failed = step(call, "delete_modules", gone), *what = summary(id, differences);
        failed = failed || !fs_size(bad) ? failed : step(call, "create_modules", bad);
        resource_note_mended(fs_call_state(call), id, RESOURCE_MODULES, what, failed);
        fs_log_warning("allocation %d: %s; %s%s", id, what, failed ? "it cannot be mended now: " : "it is mended", failed ? failed : "");
        free(what);
        free(failed);
    }
    fs_free(bad);
    fs_free(gone);
}

static void
mend_host(struct fs_call *call, const char *host, const xmlrpc_value *first)
{
    struct resource *r = fs_call_state(call);
    struct resource_claims claims;
    size_t n;
    int *ids = owners(r, first, &n);
    resource_claims_take(r, ids, n, &claims);
    xmlrpc_value *sure = fs_array(), *unsure = fs_struct(), *wanted = resource_wanted_modules(r, host, &claims, unsure);
    char *why = claims.n ? resource_compare_host(call, host, &claims, sure, NULL) : NULL; /* now that nobody else changes them */
    for (size_t i = 0; i < claims.n && !why; i++) {
        mend_modules(call, claims.ids[i], host, wanted, sure);
    }
    resource_claims_give(r, &claims);
    free(why);
    free(ids);
    fs_free(wanted);
    fs_free(unsure);
    fs_free(sure);
}

static void
sweep(struct fs_call *call, const char *host)
{
    struct fs_reply reply;
    fs_call_task(call, "sweep", fs_set(fs_struct(), "host", fs_string(host)), &reply);
    fs_reply_clear(&reply);
}

static void
look_at_host(struct fs_call *call, const char *host, const char *digest)
{
    struct resource *r = fs_call_state(call);
    xmlrpc_value *differences = fs_array();
    bool orphans = false, complete = false;
    char *why = resource_compare_host(call, host, NULL, differences, &complete);
    for (size_t i = 0; i < fs_size(differences); i++) {
        orphans = orphans || is_of_nobody(fs_item(differences, i));
    }
    if (why) {
        fs_log_limited(FS_LOG_WARNING, "%s", why);
    } else {
        if (orphans) {
            sweep(call, host);
        }
        if (fs_size(differences)) {
            mend_host(call, host, differences);
        }
        resource_note_others_healthy(r, RESOURCE_MODULES, differences);
    }
    resource_memory_set_right(r, host, why || fs_size(differences) || !complete ? "" : digest);
    resource_memory_set_due(r, host, fs_now_ms() + ALL_MS);
    fs_free(differences);
    free(why);
}

static void
reconcile_host(struct fs_call *call, const char *host, bool force)
{
    struct resource *r = fs_call_state(call);
    char *digest = resource_host_digest(r, host), *right = resource_memory_right(r, host);
    bool same = *digest && !strcmp(digest, right);
    if ((force || !same || fs_now_ms() >= resource_memory_due(r, host)) && resource_memory_begin(r, host)) {
        look_at_host(call, host, digest);
        resource_memory_end(r, host);
    }
    free(digest);
    free(right);
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
    .help = "Compares the modules of hosts whose state has changed with what is wanted, and puts the difference right: starts what is missing or dead, makes anew what is other than it "
            "should be, removes what is too much.",
    .params = { { "parameter", "any?", "force (boolean): compare also where nothing has changed" } },
    .returns = "nil",
    .idempotent = true,
    .run = run,
};

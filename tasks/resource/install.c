/* install: carry out an allocation that is in the store: place, start modules, program switches; or undo all of it.
 *
 * The plan is in the store before the first module starts, and with its rules only once all hosts and switches that it needs have answered: whoever finds a plan
 * with rules after a crash knows what may exist, and a request that needs one that is away fails with nothing to take away.  The steps are tasks of their own, looked up
 * when they run. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <flowstream/failpoint.h>
#include <flowstream/log.h>
#include <flowstream/method.h>

#include "core/client.h"
#include "core/daemon.h"
#include "core/parallel.h"
#include "core/util.h"
#include "daemons/resource/byhand.h"
#include "daemons/resource/resource.h"

FS_LOG_MODULE("install");

enum { ANSWER_MS = 10000, BUSY_MS = 10000, STEP_US = 10000 };

/* One step: a task of this daemon.  Its value (owned), or NULL with *error. */
static xmlrpc_value *
step(struct fs_call *call, const char *task, xmlrpc_value *param, char **error)
{
    struct fs_reply reply;
    xmlrpc_value *value = NULL;
    if (fs_call_cancelled(call)) {
        *error = fs_xstrdup("cancelled");
        fs_free(param);
        return NULL;
    }
    if (fs_call_task(call, task, param, &reply)) {
        *error = fs_xstrdup(reply.message);
    } else {
        value = reply.value ? reply.value : fs_nil();
        reply.value = NULL;
    }
    fs_reply_clear(&reply);
    return value;
}

/* Does a test want the step to fail here? */
static bool
fails(const char *failpoint, char **error)
{
    if (failpoint && !*error) {
        *error = fs_xstrdup(failpoint);
    }
    return failpoint;
}

/* --- Connections lead through modules that run --- */

/* The host of the installed module by hand that is this node, or NULL (owned); *busy: somebody works on it. */
static char *
host_of(struct resource *r, const xmlrpc_value *node, bool *busy)
{
    xmlrpc_value *doc = resource_module_by_hand(r, fs_get_string(node, "name", ""));
    int id = fs_get_int(doc, "id", 0);
    bool mine = id && resource_claim(r, id);
    fs_free(doc);
    doc = mine ? resource_allocation(r, id) : NULL; /* now that nobody changes it */
    const xmlrpc_value *module = fs_item(fs_get(fs_get(doc, "plan"), "modules"), 0);
    bool is_it = !strcmp(fs_get_string(doc, "state", ""), "installed") && !strcmp(fs_get_string(module, "name", ""), fs_get_string(node, "process", "?"));
    char *host = is_it ? fs_xstrdup(fs_get_string(module, "host", "")) : NULL;
    fs_free(doc);
    if (mine) {
        resource_release_unchanged(r, id);
    }
    *busy = id && !mine;
    return host;
}

/* A module is where it runs now: not where it ran when the text was checked, if a backup has brought both back.  From here on nobody deletes it, for who wants to finds its
 * connections; who has begun to before is waited for. */
static bool
find_modules(struct fs_call *call, const xmlrpc_value *request, char **error)
{
    struct resource *r = fs_call_state(call);
    const xmlrpc_value *nodes = fs_get(request, "nodes");
    int64_t until = fs_now_ms() + BUSY_MS;
    for (size_t i = 0; i < fs_size(nodes) && !*error; i++) {
        xmlrpc_value *node = fs_item(nodes, i);
        bool busy = false;
        char *host = NULL;
        while (fs_get(node, "process") && !(host = host_of(r, node, &busy)) && busy && fs_now_ms() < until) {
            usleep(STEP_US);
        }
        if (host) {
            fs_set(node, "hosts", fs_append(fs_array(), fs_string(host)));
        } else if (fs_get(node, "process")) {
            *error = fs_xasprintf("module %s, which create_pm has made, %s", fs_get_string(node, "name", ""), busy ? "is being worked on: try again" : "is not there, or not yet");
        }
        free(host);
    }
    return !*error;
}

/* The placement step and what follows from it, in the account and in the store: the plan, or NULL. */
static xmlrpc_value *
place(struct fs_call *call, int id, const xmlrpc_value *request, char **error)
{
    struct resource *r = fs_call_state(call);
    if (fails(FS_FAILPOINT_WHY("install.entered"), error)) {
        return NULL;
    }
    resource_await_hosts(r);
    resource_placing_begin(r);
    xmlrpc_value *param = fs_set(fs_set(fs_struct(), "id", fs_int(id)), "request", fs_copy(request));
    xmlrpc_value *placement = step(call, "place_allocation", param, error);
    xmlrpc_value *plan = placement ? resource_make_plan(r, id, request, placement, true, error) : NULL;
    resource_placing_end(r);
    fs_free(placement);
    if (plan && resource_keep_plan(r, id, plan, error)) {
        fs_free(plan);
        plan = NULL;
    }
    return plan;
}

/* --- Is everybody there? --- */

/* Values are not shared between threads: each row has its own. */
struct roll_call {
    struct fs_call *call;
    int id;
    size_t n;
    struct row {
        const char *host;           /* or NULL: a switch */
        const xmlrpc_value *where;  /* switch and target */
        char *absent;               /* why it cannot be, or NULL */
    } *rows;
};

static void
ask_host(struct roll_call *all, struct row *row)
{
    struct fs_peer *peer = resource_host_peer(fs_call_state(all->call), row->host);
    struct fs_reply reply = { 0 };
    if (!peer) {
        fs_reply_fail(&reply, "is not registered");
    } else {
        fs_peer_call(peer, "ping", fs_array(), ANSWER_MS, fs_call_request_id(all->call), &reply);
    }
    row->absent = reply.code ? fs_xasprintf("host %s: %s", row->host, reply.message) : NULL;
    fs_reply_clear(&reply);
}

static void
ask_switch(struct roll_call *all, struct row *row)
{
    xmlrpc_value *which = fs_set(fs_struct(), "switch", fs_string(fs_get_string(row->where, "switch", "")));
    fs_set(which, "target", fs_string(fs_get_string(row->where, "target", "")));
    xmlrpc_value *params = fs_append(fs_array(), fs_set(fs_set(which, "allocation", fs_int(all->id)), "index", fs_int(0)));
    struct fs_peer *openflow = fs_daemon_peer(fs_call_daemon(all->call), "openflow");
    struct fs_reply reply;
    int code = openflow ? fs_peer_call(openflow, "get_rules", params, ANSWER_MS, fs_call_request_id(all->call), &reply)
                        : fs_call_peer(all->call, NULL, "get_rules", params, &reply);
    row->absent = code ? fs_xstrdup(reply.message) : NULL;
    fs_reply_clear(&reply);
}

static void
ask(void *aux, size_t i)
{
    struct roll_call *all = aux;
    if (all->rows[i].host) {
        ask_host(all, &all->rows[i]);
    } else {
        ask_switch(all, &all->rows[i]);
    }
}

static void
add_host(struct roll_call *all, const char *host)
{
    for (size_t i = 0; i < all->n; i++) {
        if (!strcmp(all->rows[i].host, host)) {
            return;
        }
    }
    all->rows[all->n++].host = host;
}

/* Do all hosts and switches of the plan answer? */
static bool
all_answer(struct fs_call *call, int id, const xmlrpc_value *plan, const xmlrpc_value *switches, char **error)
{
    const xmlrpc_value *modules = fs_get(plan, "modules");
    struct roll_call all = { .call = call, .id = id };
    all.rows = fs_xcalloc(fs_size(modules) + fs_size(switches), sizeof *all.rows);
    for (size_t i = 0; i < fs_size(modules); i++) {
        add_host(&all, fs_get_string(fs_item(modules, i), "host", ""));
    }
    for (size_t i = 0; i < fs_size(switches); i++) {
        all.rows[all.n++].where = fs_item(switches, i);
    }
    fs_parallel(all.n, ask, &all);
    for (size_t i = 0; i < all.n; i++) {
        if (!*error) {
            *error = all.rows[i].absent;
        } else {
            free(all.rows[i].absent);
        }
    }
    free(all.rows);
    return !*error;
}

/* --- The steps --- */

/* The plan becomes the one that choose_meters has answered (taken). */
static void
take_meters(xmlrpc_value *plan, xmlrpc_value *metered)
{
    static const char *const members[] = { "modules", "flows", "meters" };
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        if (fs_get(metered, members[i])) {
            fs_set(plan, members[i], fs_copy(fs_get(metered, members[i])));
        }
    }
    fs_free(metered);
}

static bool
add_rules(struct fs_call *call, int id, const xmlrpc_value *request, xmlrpc_value *plan, char **error)
{
    xmlrpc_value *metered = step(call, "choose_meters", fs_set(fs_struct(), "plan", fs_copy(plan)), error);
    if (!metered) {
        return false;
    }
    take_meters(plan, metered);
    xmlrpc_value *param = fs_set(fs_set(fs_struct(), "plan", fs_copy(plan)), "request", fs_copy(request));
    xmlrpc_value *rules = step(call, "generate_rules", param, error);
    if (!rules) {
        return false;
    }
    bool here = !fails(FS_FAILPOINT_WHY("install.placed"), error) && all_answer(call, id, plan, rules, error);
    fs_set(plan, "rules", rules);
    return here && !resource_update(fs_call_state(call), id, fs_set(fs_struct(), "plan", fs_copy(plan)), error);
}

static bool
carry_out(struct fs_call *call, int id, const xmlrpc_value *request, const xmlrpc_value *plan, char **error)
{
    if (fails(FS_FAILPOINT_WHY("install.planned"), error)) {
        return false;
    }
    xmlrpc_value *done = step(call, "create_modules", fs_set(fs_struct(), "modules", fs_copy(fs_get(plan, "modules"))), error);
    if (!done) {
        return false;
    }
    fs_free(done);
    if (fails(FS_FAILPOINT_WHY("install.modules_made"), error)) {
        return false;
    }
    /* Without the base rules no tagged packet gets as far as the rules of an allocation. */
    xmlrpc_value *where = fs_set(fs_struct(), "switches", fs_copy(fs_get(plan, "rules")));
    done = step(call, "prepare_platform", fs_set(where, "id", fs_int(id)), error);
    if (!done) {
        return false;
    }
    fs_free(done);
    if (fails(FS_FAILPOINT_WHY("install.before_rules"), error)) {
        return false;
    }
    xmlrpc_value *rules = fs_set(fs_struct(), "allocation", fs_int(id));
    fs_set(rules, "switches", fs_copy(fs_get(plan, "rules")));
    fs_set(rules, "entry", fs_int(resource_entry_table(request)));
    done = step(call, "program_switches", rules, error);
    fs_free(done);
    return done != NULL && !fails(FS_FAILPOINT_WHY("install.rules_made"), error);
}

static void
run(struct fs_call *call)
{
    struct resource *r = fs_call_state(call);
    int id = fs_get_int(fs_call_param(call, 0), "id", 0);
    xmlrpc_value *doc = resource_allocation(r, id), *plan = NULL;
    const xmlrpc_value *request = fs_get(doc, "request");
    char *error = NULL;
    bool again = doc && !strcmp(fs_get_string(doc, "state", ""), "restoring"); /* from a backup: wanted whether it can be had now or not */
    if (doc && ((strcmp(fs_get_string(doc, "state", ""), "installing") && !again) || fs_get(doc, "plan"))) {
        fs_call_fail(call, "allocation %d is %s: only one that install_allocation has just entered can be installed", id, fs_get_string(doc, "state", ""));
        fs_free(doc);
        return;
    }
    bool done = doc && find_modules(call, request, &error) && (plan = place(call, id, request, &error)) && add_rules(call, id, request, plan, &error)
                && carry_out(call, id, request, plan, &error)
                && !resource_update(r, id, fs_set(fs_set(fs_struct(), "state", fs_string("installed")), "message", fs_string("")), &error);
    if (done) {
        fs_log_info("allocation %d is installed", id);
        FS_FAILPOINT("install.before_answer");
        fs_call_return(call, fs_int(id));
        resource_release(r, id);
    } else {
        struct fs_reply undone;
        fs_log_warning("allocation %d is undone: %s", id, error ? error : "it is gone");
        xmlrpc_value *what = fs_set(fs_struct(), "id", fs_int(id));
        fs_call_task(call, "undo_allocation", again ? fs_set(what, "restore", fs_string(error ? error : "")) : what, &undone);
        fs_call_fail(call, "%s%s%s", error ? error : "the allocation is gone", undone.code ? " (not all could be undone yet, it is tried again: " : "",
                     undone.code ? undone.message : "");
        fs_reply_clear(&undone);
    }
    free(error);
    fs_free(plan);
    fs_free(doc);
}

FS_TASK = {
    FS_IS_TASK,
    .name = "install",
    .help = "Carries out an allocation that has been entered: places it, starts its modules, programs the switches. When a step fails everything is undone.",
    .params = { { "parameter", "struct", "id" } },
    .returns = "int",
    .run = run,
};

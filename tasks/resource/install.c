/* install: carry out an allocation that is in the store: place, start modules, program switches; or undo all of it.
 *
 * The plan is in the store before the first module starts, so whoever finds it there after a crash knows what may exist.  The steps are tasks of their own, looked up
 * when they run. */
#include <stdlib.h>

#include <flowstream/log.h>
#include <flowstream/method.h>

#include "core/util.h"
#include "daemons/resource/resource.h"

FS_LOG_MODULE("install");

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

/* The placement step and what follows from it, in the account and in the store: the plan, or NULL. */
static xmlrpc_value *
place(struct fs_call *call, int id, const xmlrpc_value *request, char **error)
{
    struct resource *r = fs_call_state(call);
    resource_placing_begin(r);
    xmlrpc_value *param = fs_set(fs_set(fs_struct(), "id", fs_int(id)), "request", fs_copy(request));
    xmlrpc_value *placement = step(call, "place_allocation", param, error);
    xmlrpc_value *plan = placement ? resource_make_plan(r, id, request, placement, true, error) : NULL;
    resource_placing_end(r);
    fs_free(placement);
    return plan;
}

static bool
add_rules(struct fs_call *call, int id, const xmlrpc_value *request, xmlrpc_value *plan, char **error)
{
    xmlrpc_value *param = fs_set(fs_set(fs_struct(), "plan", fs_copy(plan)), "request", fs_copy(request));
    xmlrpc_value *rules = step(call, "generate_rules", param, error);
    if (!rules) {
        return false;
    }
    fs_set(plan, "rules", rules);
    return !resource_update(fs_call_state(call), id, fs_set(fs_struct(), "plan", fs_copy(plan)), error);
}

static bool
carry_out(struct fs_call *call, int id, const xmlrpc_value *plan, char **error)
{
    xmlrpc_value *done = step(call, "create_modules", fs_set(fs_struct(), "modules", fs_copy(fs_get(plan, "modules"))), error);
    if (!done) {
        return false;
    }
    fs_free(done);
    /* Without the base rules no tagged packet gets as far as the rules of an allocation. */
    done = step(call, "prepare_platform", fs_set(fs_struct(), "switches", fs_copy(fs_get(plan, "rules"))), error);
    if (!done) {
        return false;
    }
    fs_free(done);
    xmlrpc_value *rules = fs_set(fs_struct(), "allocation", fs_int(id));
    fs_set(rules, "switches", fs_copy(fs_get(plan, "rules")));
    done = step(call, "program_switches", rules, error);
    fs_free(done);
    return done != NULL;
}

static void
run(struct fs_call *call)
{
    struct resource *r = fs_call_state(call);
    int id = fs_get_int(fs_call_param(call, 0), "id", 0);
    xmlrpc_value *doc = resource_allocation(r, id), *plan = NULL;
    const xmlrpc_value *request = fs_get(doc, "request");
    char *error = NULL;
    bool done = doc && (plan = place(call, id, request, &error)) && add_rules(call, id, request, plan, &error)
                && carry_out(call, id, plan, &error)
                && !resource_update(r, id, fs_set(fs_struct(), "state", fs_string("installed")), &error);
    if (done) {
        fs_log_info("allocation %d is installed", id);
        fs_call_return(call, fs_int(id));
        resource_release(r, id);
    } else {
        struct fs_reply undone;
        fs_log_warning("allocation %d is undone: %s", id, error ? error : "it is gone");
        fs_call_task(call, "undo_allocation", fs_set(fs_struct(), "id", fs_int(id)), &undone);
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

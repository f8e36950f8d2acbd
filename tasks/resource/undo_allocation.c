/* undo_allocation: take away all that there may be of an allocation, traffic first, and forget it.  Its caller has claimed it; afterwards it is free again.
 *
 * What cannot be reached now stays in the store in state "deleting", and the task settle comes back to it.  One that the store has in state "installing" is
 * taken away after a crash as well, so a store that cannot be written (full disk) does not keep its modules and rules alive. */
#include <stdlib.h>
#include <string.h>

#include <flowstream/failpoint.h>
#include <flowstream/log.h>
#include <flowstream/method.h>

#include "core/util.h"
#include "daemons/resource/byhand.h"
#include "daemons/resource/reconcile.h"

FS_LOG_MODULE("delete");

static void
step(struct fs_call *call, const char *task, xmlrpc_value *param, struct fs_text *failed)
{
    struct fs_reply reply;
    if (fs_call_task(call, task, param, &reply)) {
        fs_text_addf(failed, "%s%s", failed->length ? "; " : "", reply.message);
    }
    fs_reply_clear(&reply);
}

/* A test may want the step to fail here. */
static void
fails(const char *failpoint, struct fs_text *failed)
{
    if (failpoint) {
        fs_text_addf(failed, "%s%s", failed->length ? "; " : "", failpoint);
    }
}

static void
run(struct fs_call *call)
{
    struct resource *r = fs_call_state(call);
    int id = fs_get_int(fs_call_param(call, 0), "id", 0);
    xmlrpc_value *doc = resource_allocation(r, id);
    if (!doc) {
        return;
    }
    char *error = NULL;
    const char *later = fs_get_string(fs_call_param(call, 0), "restore", NULL);
    struct fs_text failed = { 0 };
    bool force = fs_get_bool(fs_call_param(call, 0), "force", false);
    const char *state = fs_get_string(doc, "state", "");
    bool marked = later || !strcmp(state, "deleting");
    if (!marked && resource_update(r, id, fs_set(fs_struct(), "state", fs_string("deleting")), &error) && !strcmp(state, "installed")) {
        fs_text_addf(&failed, "%s", error); /* the intent is not on disk: nothing may be taken away yet */
    } else {
        free(error);
        error = NULL;
        fails(FS_FAILPOINT_WHY("delete.begun"), &failed);
        const xmlrpc_value *plan = fs_get(doc, "plan");
        xmlrpc_value *rules = resource_rules_still_there(r, fs_get(plan, "rules"));
        xmlrpc_value *modules = resource_modules_still_there(r, fs_get(plan, "rules") ? fs_get(plan, "modules") : NULL); /* none before the plan has its rules */
        if (!failed.length && fs_size(rules)) {
            xmlrpc_value *which = fs_set(fs_set(fs_struct(), "allocation", fs_int(id)), "switches", fs_copy(rules));
            step(call, "clear_switches", fs_set(which, "entry", fs_int(resource_entry_table(fs_get(doc, "request")))), &failed);
        }
        fails(FS_FAILPOINT_WHY("delete.rules_gone"), &failed);
        if ((!failed.length || force) && fs_size(modules)) { /* never take the modules from under traffic that still comes in */
            step(call, "delete_modules", fs_set(fs_struct(), "modules", fs_copy(modules)), &failed);
        }
        fails(FS_FAILPOINT_WHY("delete.modules_gone"), &failed);
        if (force && failed.length) {
            fs_log_warning("allocation %d is forgotten by force; what could not be reached is swept when it comes back: %s", id, failed.text);
            fs_call_return(call, fs_string(failed.text));
            failed.length = 0;
        }
        if (!failed.length && (later ? resource_restore_later(r, id, later, &error) : resource_forget(r, id, &error))) {
            fs_text_addf(&failed, "%s", error);
        }
        fs_free(rules);
        fs_free(modules);
    }
    if (failed.length) {
        char *ignored = NULL;
        resource_update(r, id, fs_set(fs_struct(), "message", fs_string(failed.text)), &ignored);
        free(ignored);
        fs_call_fail(call, "%s", failed.text);
    } else {
        fs_log_info(later ? "allocation %d is tried again later" : "allocation %d is gone", id);
    }
    FS_FAILPOINT("delete.before_answer");
    resource_release(r, id);
    free(failed.text);
    free(error);
    fs_free(doc);
}

FS_TASK = {
    FS_IS_TASK,
    .name = "undo_allocation",
    .help = "Takes away all that there may be of an allocation: rules that let traffic in, other rules, modules, account, record.",
    .params = { { "parameter", "struct",
                  "id (claimed by the caller); restore (optional): why it could not be installed from a backup; it is kept, to be installed later; force (boolean): forget it "
                  "also where something cannot be reached, and answer what" } },
    .returns = "string",
    .idempotent = true,
    .run = run,
};

/* To begin the installation or the deletion of an allocation, wait for its end, and answer the call: for the commands that do either. */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/util.h"
#include "daemons/resource/answered.h"
#include "daemons/resource/byhand.h"
#include "daemons/resource/resource.h"

enum { DELETE_MS = 50000, FORCE_MS = 90000, STEP_US = 10000 };

/* Done; the message is for what the language warns of. */
static void
answer_installed(struct fs_call *call, int id, const char *warnings, bool with_id)
{
    struct fs_reply reply = { .message = *warnings ? fs_xstrdup(warnings) : NULL, .value = with_id ? fs_int(id) : fs_nil() };
    fs_call_reply(call, &reply);
}

void
resource_answer_again(struct fs_call *call, int id, const char *warnings, bool with_id)
{
    xmlrpc_value *doc = resource_allocation(fs_call_state(call), id);
    const char *state = fs_get_string(doc, "state", "gone"), *message = fs_get_string(doc, "message", "");
    if (!strcmp(state, "installed")) {
        answer_installed(call, id, warnings, with_id);
    } else {
        fs_call_not_ready(call, with_id ? fs_int(id) : fs_nil(), "allocation %d is %s%s%s", id, state, *message ? ": " : "", message);
    }
    fs_free(doc);
}

void
resource_begin_install(struct fs_call *call, int id, double wait, bool with_id)
{
    struct fs_reply reply;
    int handle = fs_call_submit(call, "install", fs_set(fs_struct(), "id", fs_int(id)), true, &reply);
    if (!handle) {
        resource_release(fs_call_state(call), id); /* 'settle' takes it away */
        fs_call_reply(call, &reply);
        return;
    }
    resource_claimed_by(fs_call_state(call), id, handle);
    if (!fs_call_wait(call, handle, (int) (wait * 1000), &reply)) {
        fs_call_not_ready(call, fs_int(id), "allocation %d is being installed: ask get_allocation", id);
    } else if (reply.code) {
        fs_call_reply(call, &reply);
    } else {
        fs_reply_clear(&reply);
        xmlrpc_value *doc = resource_allocation(fs_call_state(call), id);
        answer_installed(call, id, fs_get_string(fs_get(doc, "request"), "warnings", ""), with_id);
        fs_free(doc);
    }
}

bool
resource_claim_soon(struct resource *r, int id, bool anybody, int64_t until)
{
    while (!resource_claim(r, id)) {
        xmlrpc_value *doc = resource_allocation(r, id);
        bool waits = doc && (anybody || !strcmp(fs_get_string(doc, "state", ""), "installed"));
        fs_free(doc);
        if (!waits || fs_now_ms() > until) {
            return false;
        }
        usleep(STEP_US);
    }
    return true;
}

/* Claim it for deletion, or answer why not.  One that has gone meanwhile may have been deleted by the same call, said twice at the same time. */
static bool
claim(struct fs_call *call, int id, bool force, const char *key, const char *what)
{
    struct resource *r = fs_call_state(call);
    bool mine = resource_claim_soon(r, id, force, fs_now_ms() + (force ? FORCE_MS : RESOURCE_MOMENT_MS)); /* all of their steps have deadlines */
    xmlrpc_value *doc = resource_allocation(r, id);
    const xmlrpc_value *module = fs_item(fs_get(fs_get(doc, "plan"), "modules"), 0);
    int user = 0;
    if (!doc && !resource_delete_again(call, key, what)) {
        fs_call_fail(call, "there is no allocation %d (list_allocations lists them)", id);
    } else if (doc && !mine) {
        fs_call_not_ready(call, fs_nil(), "allocation %d is being %s right now: try again", id,
                          fs_get_string(doc, "state", "")[0] == 'i' ? "installed" : "deleted");
    } else if (doc && !strcmp(resource_kind(fs_get(doc, "request")), "module") && (user = resource_user_of(r, fs_get_string(module, "name", "")))) {
        fs_call_fail(call, "module %s is connected by allocation %d: delete that one first (delete_connections, or delete_allocation %d)",
                     fs_get_string(doc, "name", ""), user, user);
        resource_release(r, id);
    }
    fs_free(doc);
    return mine && !user;
}

bool
resource_delete_again(struct fs_call *call, const char *key, const char *what)
{
    int id;
    char *error = NULL;
    enum resource_said said = resource_was_deleted(fs_call_state(call), key, what, &id, &error);
    if (said == RESOURCE_SAID_OTHERWISE) {
        fs_call_fail(call, "%s", error);
    } else if (said == RESOURCE_BEING_DONE) {
        resource_begin_delete(call, id, false, key, what);
    } else if (said == RESOURCE_DONE) {
        fs_call_return(call, fs_nil());
    }
    free(error);
    return said != RESOURCE_NOT_SAID;
}

/* Keep the key of a claimed allocation's deletion, or answer the call and give the allocation back. */
static bool
keep_key(struct fs_call *call, int id, const char *key, const char *what)
{
    char *error = NULL;
    int e = resource_mark_deleted(fs_call_state(call), id, key, what, &error);
    if (e) {
        resource_release_unchanged(fs_call_state(call), id);
        if (e != EEXIST || !resource_delete_again(call, key, what)) {
            fs_call_fail(call, "%s", error ? error : "it was said a day ago: say it again");
        }
    }
    free(error);
    return !e;
}

void
resource_begin_delete(struct fs_call *call, int id, bool force, const char *key, const char *what)
{
    if (!claim(call, id, force, key, what) || (*key && !keep_key(call, id, key, what))) {
        return;
    }
    struct fs_reply reply;
    int handle = fs_call_submit(call, "undo_allocation", fs_set(fs_set(fs_struct(), "id", fs_int(id)), "force", fs_bool(force)), true, &reply);
    if (!handle) {
        resource_release(fs_call_state(call), id); /* if it is marked, 'settle' does it */
        fs_call_reply(call, &reply);
        return;
    }
    resource_claimed_by(fs_call_state(call), id, handle);
    if (!fs_call_wait(call, handle, force ? FORCE_MS : DELETE_MS, &reply)) {
        fs_call_not_ready(call, fs_nil(), "allocation %d is being deleted", id);
    } else if (reply.code) {
        fs_call_not_ready(call, fs_nil(), "allocation %d is marked as deleted, but not all could be taken away yet (it is tried again; delete by force forgets it): %s", id, reply.message);
        fs_reply_clear(&reply);
    } else {
        const char *unreached = fs_text(reply.value, "");
        struct fs_reply answer = { .message = *unreached ? fs_xasprintf("not reached, and swept when it comes back: %s", unreached) : NULL, .value = fs_nil() };
        fs_call_reply(call, &answer);
        fs_reply_clear(&reply);
    }
}

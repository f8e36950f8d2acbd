/* apply_platform: another platform file while everything runs. */
#include <stdlib.h>
#include <unistd.h>

#include <flowstream/log.h>
#include <flowstream/method.h>

#include "core/util.h"
#include "daemons/resource/resource.h"

FS_LOG_MODULE("platform");

enum { BUSY_MS = 30000, STEP_US = 10000 };

/* Claim an allocation, waiting for whoever works on it: what he has installed would stay. */
static bool
claim(struct resource *r, int id, int64_t until)
{
    bool mine;
    while (!(mine = resource_claim(r, id)) && resource_exists(r, id) && fs_now_ms() < until) {
        usleep(STEP_US);
    }
    return mine;
}

/* What would be cut is deleted as by delete_allocation, while its hosts and switches are still part of the platform. */
static void
delete_cut(struct fs_call *call, const xmlrpc_value *cuts)
{
    struct resource *r = fs_call_state(call);
    int64_t until = fs_now_ms() + BUSY_MS;
    for (size_t i = 0; i < fs_size(cuts); i++) {
        int id = fs_get_int(fs_item(cuts, i), "id", 0);
        struct fs_reply reply = { 0 };
        if (claim(r, id, until) && fs_call_task(call, "undo_allocation", fs_set(fs_struct(), "id", fs_int(id)), &reply)) {
            fs_log_warning("allocation %d cannot be taken away whole before the platform changes: %s", id, reply.message);
        }
        fs_reply_clear(&reply);
    }
}

static void
run(struct fs_call *call)
{
    struct resource *r = fs_call_state(call);
    const char *text = fs_call_string(call, 0, "");
    const xmlrpc_value *options = fs_call_param(call, 1);
    bool check = fs_get_bool(options, "check", false), force = fs_get_bool(options, "force", false);
    text = *text ? text : NULL;
    char *error = NULL;
    xmlrpc_value *first = check || force ? resource_apply_platform(r, text, true, force, &error) : NULL;
    if (force && !check && first) {
        delete_cut(call, fs_get(first, "cut"));
    }
    xmlrpc_value *answer = check || error ? NULL : resource_apply_platform(r, text, false, force, &error);
    if (error) {
        fs_call_fail(call, "%s", error);
        fs_free(answer);
    } else if (check) {
        fs_call_return(call, fs_copy(first));
    } else {
        if (first) { /* what was cut is gone by now: say what it was */
            fs_set(answer, "cut", fs_copy(fs_get(first, "cut")));
        }
        fs_call_return(call, answer);
    }
    fs_free(first);
    free(error);
}

static const struct fs_member options[] = {
    { "check", "boolean?", 0, 0, "only say what would be" },
    { "force", "boolean?", 0, 0, "delete what is cut" },
    { 0 },
};

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "apply_platform",
    .help = "Takes up another platform file while everything runs, or the daemon's own again where it has changed: network ports, switches, hosts and links that were added, removed, or "
            "have other capacities. Refused, naming them, when installed allocations would be cut: by a host, link or port on their way that is no more or has another name, or by a "
            "capacity that is too small for what is there (the youngest give way). Answers {added, removed, changed: names, a link as A-B; cut: [{id, name, why}]}.",
    .params = { { "platform", "string", "the text of the file; \"\": read the file of the configuration again" },
                { "options", "struct?", NULL } },
    .members = { [1] = options },
    .returns = "struct",
    .idempotent = true,
    .run = run,
};

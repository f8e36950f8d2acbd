/* settle: finish what was begun and not ended: allocations that were being installed when this daemon died, and deletions that could not reach a host or switch, are
 * taken away; what a backup wants is installed. */
#include <stdlib.h>
#include <string.h>

#include <flowstream/failpoint.h>
#include <flowstream/log.h>
#include <flowstream/method.h>

#include "core/parallel.h"
#include "daemons/resource/resource.h"

FS_LOG_MODULE("settle");

enum { AT_A_TIME = 8 };

static bool
has_plan(struct resource *r, int id)
{
    xmlrpc_value *doc = resource_allocation(r, id);
    bool has = fs_get(doc, "plan");
    fs_free(doc);
    return has;
}

static bool
is_to_be_restored(struct resource *r, int id)
{
    xmlrpc_value *doc = resource_allocation(r, id);
    bool is = doc && !strcmp(fs_get_string(doc, "state", ""), "restoring");
    fs_free(doc);
    return is;
}

/* Nothing is taken away of one from a backup, but the remains of an earlier try. */
static int
settle_one(struct fs_call *call, int id, struct fs_reply *reply)
{
    struct resource *r = fs_call_state(call);
    bool restore = is_to_be_restored(r, id);
    xmlrpc_value *what = fs_set(fs_struct(), "id", fs_int(id));
    if (FS_FAILPOINT_ERROR("recover.settle")) {
        fs_free(what);
        resource_release(r, id);
        fs_reply_fail(reply, "failpoint recover.settle");
        return reply->code;
    }
    if (restore && has_plan(r, id)) {
        return fs_call_task(call, "undo_allocation", fs_set(what, "restore", fs_string("its restoring was interrupted")), reply);
    }
    return fs_call_task(call, restore ? "install" : "undo_allocation", what, reply);
}

struct work {
    struct fs_call *call;
    int *ids;
    size_t n, next;
};

/* One after the other, beside others that do the same. */
static void
some(void *aux, size_t part)
{
    struct work *w = aux;
    (void) part;
    for (size_t i; (i = __atomic_fetch_add(&w->next, 1, __ATOMIC_RELAXED)) < w->n && !fs_call_cancelled(w->call);) {
        struct fs_reply reply = { 0 };
        if (resource_claim(fs_call_state(w->call), w->ids[i]) && settle_one(w->call, w->ids[i], &reply)) {
            fs_log_limited(FS_LOG_WARNING, "allocation %d cannot be settled yet: %s", w->ids[i], reply.message);
        }
        fs_reply_clear(&reply);
    }
}

/* Several at a time, so that one which waits for a switch or host that does not answer does not keep all others waiting; not so many that the daemons which wait with it have no
 * thread for anything else. */
static void
run(struct fs_call *call)
{
    struct work w = { .call = call };
    w.ids = resource_unsettled_ids(fs_call_state(call), &w.n);
    fs_parallel(w.n < AT_A_TIME ? w.n : AT_A_TIME, some, &w);
    free(w.ids);
}

FS_TASK = {
    FS_IS_TASK,
    .name = "settle",
    .help = "Takes away allocations whose installation or deletion was begun and not ended, and installs those that a backup wants.",
    .params = { { "parameter", "any?", "not used" } },
    .returns = "nil",
    .idempotent = true,
    .run = run,
};

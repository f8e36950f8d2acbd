/* settle: finish what was begun and not ended: allocations that were being installed when this daemon died, and deletions that could not reach a host or switch. */
#include <stdlib.h>

#include <flowstream/log.h>
#include <flowstream/method.h>

#include "daemons/resource/resource.h"

FS_LOG_MODULE("settle");

static void
run(struct fs_call *call)
{
    struct resource *r = fs_call_state(call);
    size_t n;
    int *ids = resource_unsettled_ids(r, &n);
    for (size_t i = 0; i < n && !fs_call_cancelled(call); i++) {
        struct fs_reply reply = { 0 };
        if (resource_claim(r, ids[i])
            && fs_call_task(call, "undo_allocation", fs_set(fs_struct(), "id", fs_int(ids[i])), &reply)) {
            fs_log_limited(FS_LOG_WARNING, "allocation %d cannot be taken away yet: %s", ids[i], reply.message);
        }
        fs_reply_clear(&reply);
    }
    free(ids);
}

FS_TASK = {
    FS_IS_TASK,
    .name = "settle",
    .help = "Takes away allocations whose installation or deletion was begun and not ended.",
    .params = { { "parameter", "any?", "not used" } },
    .returns = "nil",
    .idempotent = true,
    .run = run,
};

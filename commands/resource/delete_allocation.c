/* delete_allocation: traffic out first, then modules, then the record. */
#include <flowstream/method.h>

#include "daemons/resource/resource.h"

enum { WAIT_MS = 50000 };

static void
run(struct fs_call *call)
{
    struct resource *r = fs_call_state(call);
    int id = fs_call_int(call, 0, 0);
    if (!resource_claim(r, id)) {
        xmlrpc_value *doc = resource_allocation(r, id);
        if (doc) {
            fs_call_not_ready(call, fs_nil(), "allocation %d is being %s right now: try again", id,
                              fs_get_string(doc, "state", "")[0] == 'i' ? "installed" : "deleted");
        } else {
            fs_call_fail(call, "there is no allocation %d (list_allocations lists them)", id);
        }
        fs_free(doc);
        return;
    }
    struct fs_reply reply;
    int handle = fs_call_submit(call, "undo_allocation", fs_set(fs_struct(), "id", fs_int(id)), true, &reply);
    if (!handle) {
        resource_release(r, id);
        fs_call_reply(call, &reply);
        return;
    }
    resource_claimed_by(r, id, handle);
    if (!fs_call_wait(call, handle, WAIT_MS, &reply)) {
        fs_call_not_ready(call, fs_nil(), "allocation %d is being deleted", id);
    } else if (reply.code) {
        fs_call_not_ready(call, fs_nil(), "allocation %d is marked as deleted, but not all could be taken away yet (it is tried again): %s", id, reply.message);
        fs_reply_clear(&reply);
    } else {
        fs_call_reply(call, &reply);
    }
}

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "delete_allocation",
    .help = "Deletes an allocation: its traffic goes its old way again, its modules end. With code -1 something could not be reached yet; the daemon goes on trying.",
    .params = { { "alloc_id", "int", "the id that install_allocation answered" } },
    .returns = "nil",
    .run = run,
};

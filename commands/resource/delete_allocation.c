/* delete_allocation: traffic out first, then modules, then the record. */
#include <flowstream/method.h>

#include "daemons/resource/byhand.h"
#include "daemons/resource/options.h"

/* Was there one of this id, which is gone?  Ids are not used twice, so who asks again has got what he wanted. */
static bool
is_gone(struct resource *r, int id)
{
    return id > 0 && id < resource_next_id(r) && !resource_exists(r, id);
}

static void
run(struct fs_call *call)
{
    int id = fs_call_int(call, 0, 0);
    const xmlrpc_value *options = fs_call_param(call, 1);
    if (*fs_get_string(options, "key", "") && is_gone(fs_call_state(call), id)) {
        fs_call_return(call, fs_nil());
    } else {
        resource_begin_delete(call, id, fs_get_bool(options, "force", false), "", "");
    }
}

static const struct fs_member options[] = {
    { "force", "boolean?", 0, 0, "end also where a host or switch cannot be reached" },
    RESOURCE_KEY_OPTION("this may be the same call again, so an allocation that was deleted before is no mistake"),
    { 0 },
};

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "delete_allocation",
    .help = "Deletes an allocation: its traffic goes its old way again, its modules end. With code -1 something could not be reached yet; the daemon goes on trying. By force it is forgotten "
            "all the same, and the message says what could not be reached: that is swept when it comes back.",
    .params = { { "alloc_id", "int", "the id that install_allocation answered" }, { "options", "struct?", NULL } },
    .members = { [1] = options },
    .returns = "nil",
    .run = run,
};

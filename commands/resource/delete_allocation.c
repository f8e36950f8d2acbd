/* delete_allocation: traffic out first, then modules, then the record. */
#include <flowstream/method.h>

#include "daemons/resource/byhand.h"

static void
run(struct fs_call *call)
{
    resource_begin_delete(call, fs_call_int(call, 0, 0), fs_get_bool(fs_call_param(call, 1), "force", false));
}

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "delete_allocation",
    .help = "Deletes an allocation: its traffic goes its old way again, its modules end. With code -1 something could not be reached yet; the daemon goes on trying. By force it is forgotten "
            "all the same, and the message says what could not be reached: that is swept when it comes back.",
    .params = { { "alloc_id", "int", "the id that install_allocation answered" }, { "options", "struct?", "force (boolean, default false)" } },
    .returns = "nil",
    .run = run,
};

/* restore_store: what the backup that write_backup has taken in wants is what is wanted from now on; the task 'restore' does it. */
#include <flowstream/method.h>

enum { WAIT_MS = 50000 };

static void
run(struct fs_call *call)
{
    struct fs_reply reply;
    int handle = fs_call_submit(call, "restore", fs_struct(), true, &reply);
    if (!handle || fs_call_wait(call, handle, WAIT_MS, &reply)) {
        fs_call_reply(call, &reply);
    } else {
        fs_call_not_ready(call, fs_int(handle), "the backup is being restored: ask get_task %d", handle);
    }
}

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "restore_store",
    .help = "Checks the backup that write_backup has taken in; when it is whole, what it wants is wanted from now on: allocations that it has not are deleted, those that "
            "are not there are installed again under their ids, those that are the same go on untouched. Refused, with nothing changed, while an allocation is being "
            "installed or deleted. Answers deleted, restored and unchanged (ids) and problems (texts); what cannot be installed now is in state 'restoring' and tried "
            "again. With code -1 the handle of the task, where it takes longer. A backup is read once: to do it again, take it in again.",
    .returns = "struct",
    .idempotent = true,
    .run = run,
};

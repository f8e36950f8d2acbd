/* set_failpoint: arm a failpoint in a running daemon.  Test builds only: see include/flowstream/failpoint.h. */
#include <stdlib.h>

#include <flowstream/failpoint.h>
#include <flowstream/method.h>

static void
run(struct fs_call *call)
{
#ifdef FS_FAILPOINTS
    const char *name = fs_call_string(call, 0, ""), *action = fs_call_string(call, 1, NULL);
    char *wrong = action ? fs_failpoint_set(name, action) : NULL;
    if (wrong) {
        fs_call_fail(call, "%s", wrong);
    } else {
        fs_call_return(call, fs_int((int) fs_failpoint_hits(name)));
    }
    free(wrong);
#else
    fs_call_fail(call, "this build has no failpoints; configure --enable-failpoints makes one for tests");
#endif
}

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "set_failpoint",
    .help = "Arms a failpoint; answers how often it was passed. Test builds only.",
    .params = { { "name", "string", "the point" }, { "action", "string?", "error, short, kill, delay:MILLISECONDS or off; @N behind it: at the Nth time; none: only answer" } },
    .returns = "int",
    .run = run,
};

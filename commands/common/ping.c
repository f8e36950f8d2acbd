/* ping: is the daemon there? Quick, so that it answers also when all threads are busy. */
#include <flowstream/method.h>

static void
run(struct fs_call *call)
{
    fs_call_return(call, fs_string("pong"));
}

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "ping",
    .help = "Answers 'pong': the daemon serves calls.",
    .returns = "string",
    .idempotent = true,
    .quick = true,
    .run = run,
};

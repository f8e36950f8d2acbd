/* watch_host: where the multiplexer has ended it is started again at once; where a module came, went or died the resource daemon is told, which compares what is wanted. */
#include <stdlib.h>

#include <flowstream/log.h>
#include <flowstream/method.h>

#include "daemons/modulehost/modulehost.h"

FS_LOG_MODULE("watch");

static void
task(struct fs_call *call, const char *name)
{
    struct fs_reply reply; /* what fails now is done when its turn comes */
    fs_call_task(call, name, fs_struct(), &reply);
    fs_reply_clear(&reply);
}

static void
run(struct fs_call *call)
{
    struct modulehost *m = fs_call_state(call);
    bool mux_ended, changed = modulehost_watch_look(m, &mux_ended);
    if (mux_ended) {
        fs_log_warning("the multiplexer has ended: it is started again");
    }
    if (mux_ended || !__atomic_load_n(&m->ready, __ATOMIC_RELAXED)) { /* a host on which nothing can be started does not wait for its turn */
        task(call, "setup_host");
    }
    if (changed) {
        task(call, "register_host");
    }
}

FS_TASK = {
    FS_IS_TASK,
    .name = "watch_host",
    .help = "Looks whether the multiplexer or a module has ended since the last time: the one is started again, of the other the resource daemon is told.",
    .params = { { "parameter", "any?", "not used" } },
    .returns = "nil",
    .idempotent = true,
    .run = run,
};

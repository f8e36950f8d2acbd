/* The common end of run_task and run_compound_task: options, submission, waiting. */
#include "config.h"

#include "core/submit.h"

#include <string.h>

#include "core/daemon.h"

enum { MAX_WAIT_SECONDS = 50 };

void
fs_submit_and_answer(struct fs_call *call, struct fs_step *steps, size_t n, bool compound, const xmlrpc_value *options)
{
    const char *priority = fs_get_string(options, "priority", "normal");
    double wait = fs_get_double(options, "wait", 0);
    struct fs_engine *e = fs_daemon_engine(fs_call_daemon(call));
    struct fs_reply reply = { 0 };
    bool high = !strcmp(priority, "high");
    int handle = 0;
    if (high || !strcmp(priority, "normal")) {
        handle = fs_engine_submit(e, steps, n, compound, high, fs_call_request_id(call), &reply);
    } else {
        fs_reply_fail(&reply, "options: priority '%.40s' is neither normal nor high", priority);
        fs_steps_free(steps, n);
    }
    if (!handle) {
        fs_call_reply(call, &reply);
        return;
    }
    if (wait <= 0) {
        fs_call_return(call, fs_int(handle));
        return;
    }
    wait = wait > MAX_WAIT_SECONDS ? MAX_WAIT_SECONDS : wait;
    if (fs_engine_wait(e, handle, (int) (wait * 1000), &reply)) {
        fs_call_reply(call, &reply);
    } else {
        fs_call_not_ready(call, fs_int(handle), "task %d has not ended after %g s: ask get_task", handle, wait);
    }
}

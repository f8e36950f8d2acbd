/* The common end of run_task and run_compound_task: options, submission, waiting. */
#include "config.h"

#include "core/submit.h"

#include <stdlib.h>
#include <string.h>

#include "core/daemon.h"
#include "core/loader.h"
#include "core/util.h"

enum { MAX_WAIT_SECONDS = 50, MAX_DEADLINE_SECONDS = 7 * 86400, MAX_RETRIES = 10, MAX_BACKOFF_SECONDS = 60 };

const struct fs_member fs_submit_options[] = {
    { "priority", "string?", 0, 0, "\"normal\" (default) or \"high\"" },
    { "wait", "double?", 0, MAX_DEADLINE_SECONDS, "seconds to wait for its end, 50 at most; default 0: answer at once" },
    { "deadline", "double?", 0, MAX_DEADLINE_SECONDS, "seconds from now until it must have ended; default 0: none" },
    { "retries", "int?", 0, MAX_RETRIES, "further attempts when an idempotent task fails, 10 at most" },
    { "backoff", "double?", 0, MAX_BACKOFF_SECONDS, "seconds before the first of them (default 0.5), doubled for each further one" },
    { 0 },
};

/* NULL, or why that task cannot be run as it is asked for. */
static char *
check_step(struct fs_daemon *d, const char *name, bool again)
{
    struct fs_loader *l = fs_daemon_loader(d);
    struct fs_table *table = fs_loader_take(l, FS_KIND_TASK, name);
    char *why = NULL;
    struct fs_loaded *loaded = fs_table_get(l, table, FS_KIND_TASK, name, &why);
    if (!loaded && !why) {
        why = fs_xasprintf("the %s daemon has no task '%.64s' (list_tasks lists them)", fs_daemon_name(d), name);
    } else if (loaded && again && !loaded->method->idempotent) {
        why = fs_xasprintf("options: retries: task %s is not idempotent: to run it again could do its work twice", name);
    }
    fs_loader_give(l, table);
    return why;
}

/* The tasks must be there, and idempotent when they may be run again.  NULL, or what is wrong. */
static char *
check_steps(struct fs_daemon *d, const struct fs_submission *s)
{
    char *why = NULL;
    for (size_t i = 0; i < s->n && !why; i++) {
        if (!i || strcmp(s->steps[i].name, s->steps[i - 1].name)) {
            why = check_step(d, s->steps[i].name, s->retries);
        }
    }
    return why;
}

static char *
read_options(struct fs_daemon *d, const xmlrpc_value *options, struct fs_submission *s, double *wait)
{
    const char *priority = fs_get_string(options, "priority", "normal");
    s->high = !strcmp(priority, "high");
    if (!s->high && strcmp(priority, "normal")) {
        return fs_xasprintf("options: priority '%.40s' is neither normal nor high", priority);
    }
    double deadline = fs_get_double(options, "deadline", 0);
    *wait = fs_get_double(options, "wait", 0);
    s->deadline_ms = (int) (deadline * 1000);
    s->deadline_ms += deadline > 0 && !s->deadline_ms;
    s->retries = (unsigned) fs_get_int(options, "retries", 0);
    s->backoff_ms = (int) (fs_get_double(options, "backoff", 0.5) * 1000);
    return check_steps(d, s);
}

void
fs_submit_and_answer(struct fs_call *call, struct fs_step *steps, size_t n, bool compound, const xmlrpc_value *options)
{
    struct fs_engine *e = fs_daemon_engine(fs_call_daemon(call));
    struct fs_submission s = { .steps = steps, .n = n, .compound = compound, .request_id = fs_call_request_id(call), .caller = fs_call_caller(call) };
    struct fs_reply reply = { 0 };
    double wait = 0;
    char *why = read_options(fs_call_daemon(call), options, &s, &wait);
    if (why) {
        fs_steps_free(steps, n);
        fs_call_fail(call, "%s", why);
        free(why);
        return;
    }
    int handle = fs_engine_submit(e, &s, &reply);
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

/* For measurements: a task of the resource daemon that has requests placed one after the other and tells what each step took.
 *
 * The daemon, its store and the placement step are the real ones; no module is started and no switch programmed, so that thousands of requests can be there. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <flowstream/method.h>

#include "core/util.h"
#include "daemons/resource/resource.h"

/* Microseconds of processor time of this thread. */
static double
now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double) t.tv_sec * 1e6 + (double) t.tv_nsec / 1e3;
}

/* Place one, and enter it where 'keep'; what placing and entering took goes to the lists. */
static void
place(struct fs_call *call, int id, const xmlrpc_value *request, bool keep, xmlrpc_value *placing, xmlrpc_value *planning, char **error)
{
    struct resource *r = fs_call_state(call);
    struct fs_reply reply;
    xmlrpc_value *param = fs_set(fs_set(fs_struct(), "id", fs_int(id)), "request", fs_copy(request));
    resource_placing_begin(r);
    double begin = now();
    if (fs_call_task(call, "place_allocation", param, &reply)) {
        *error = fs_xstrdup(reply.message);
    }
    fs_append(placing, fs_double(now() - begin));
    begin = now();
    xmlrpc_value *plan = *error || !keep ? NULL : resource_make_plan(r, id, request, reply.value, true, error);
    if (plan) {
        fs_append(planning, fs_double(now() - begin));
    }
    resource_placing_end(r);
    fs_free(plan);
    fs_reply_clear(&reply);
}

static void
run(struct fs_call *call)
{
    struct resource *r = fs_call_state(call);
    const xmlrpc_value *switches = fs_get(fs_call_param(call, 0), "prepared"), *requests = fs_get(fs_call_param(call, 0), "requests");
    bool keep = fs_get_bool(fs_call_param(call, 0), "keep", false);
    xmlrpc_value *placing = fs_array(), *planning = fs_array(), *v = fs_struct();
    char *error = NULL;
    for (size_t i = 0; i < fs_size(switches); i++) {
        resource_switch_is_prepared(r, fs_text(fs_item(switches, i), ""));
    }
    for (size_t i = 0; i < fs_size(requests) && !error; i++) {
        const xmlrpc_value *request = fs_item(requests, i);
        bool again;
        int id = keep ? resource_new_allocation(r, "", "", "", "operator", request, &again, &error) : resource_next_id(r) + (int) i;
        if (id && !error) {
            place(call, id, request, keep, placing, planning, &error);
        }
        if (keep && !error) { /* claimed by us, for good: nobody looks after it */
            resource_update(r, id, fs_set(fs_struct(), "state", fs_string("installed")), &error);
        }
    }
    fs_set(v, "error", fs_string(error ? error : ""));
    fs_call_return(call, fs_set(fs_set(v, "placing", placing), "planning", planning));
    free(error);
}

FS_TASK = {
    FS_IS_TASK,
    .name = "hold",
    .help = "For measurements: places requests, and enters them without starting anything.",
    .params = { { "parameter", "struct", "prepared: bridges that need no more rules; requests; keep" } },
    .returns = "struct",
    .run = run,
};

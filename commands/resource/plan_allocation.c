/* plan_allocation: what install_allocation would do, without doing it. */
#include <stdlib.h>
#include <string.h>

#include <flowstream/method.h>

#include "daemons/resource/options.h"
#include "daemons/resource/resource.h"

/* The value of a task, or NULL after the call has been answered with why not. */
static xmlrpc_value *
step(struct fs_call *call, const char *task, xmlrpc_value *param)
{
    struct fs_reply reply;
    xmlrpc_value *value = NULL;
    if (fs_call_task(call, task, param, &reply)) {
        fs_call_fail(call, "%s", reply.message);
    } else {
        value = reply.value;
        reply.value = NULL;
    }
    fs_reply_clear(&reply);
    return value;
}

static void
run(struct fs_call *call)
{
    struct resource *r = fs_call_state(call);
    xmlrpc_value *request = resource_compile(call, fs_call_string(call, 0, ""), fs_call_param(call, 1), false), *placement = NULL, *plan = NULL, *rules = NULL;
    char *error = NULL;
    int id = resource_next_id(r);
    if (request && resource_conflict(r, request, &error)) {
        fs_call_fail(call, "%s", error);
    } else if (request) {
        resource_placing_begin(r);
        placement = step(call, "place_allocation", fs_set(fs_set(fs_struct(), "id", fs_int(id)), "request", fs_copy(request)));
        plan = placement ? resource_make_plan(r, id, request, placement, false, &error) : NULL;
        resource_placing_end(r);
        if (placement && !plan) {
            fs_call_fail(call, "%s", error);
        }
    }
    if (plan) {
        rules = step(call, "generate_rules", fs_set(fs_set(fs_struct(), "plan", fs_copy(plan)), "request", fs_copy(request)));
    }
    if (rules) {
        xmlrpc_value *v = fs_struct();
        fs_set(v, "id", fs_int(id));
        fs_set(v, "placement", fs_copy(fs_get(plan, "modules")));
        fs_set(v, "ports", fs_copy(fs_get(plan, "ports")));
        fs_set(v, "paths", fs_copy(fs_get(plan, "flows")));
        fs_set(v, "rules", fs_copy(rules));
        fs_set(v, "warnings", fs_string(fs_get_string(request, "warnings", "")));
        fs_call_return(call, v);
    }
    free(error);
    fs_free(request);
    fs_free(placement);
    fs_free(plan);
    fs_free(rules);
}

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "plan_allocation",
    .help = "Tells what install_allocation would do with the request now, and changes nothing: id (that the allocation would get), placement (modules with their hosts), ports (of ToNets), paths (of flows, with the "
            "path identifiers that would be next), rules (of each switch), warnings (of the language, a text).",
    .params = { { "alloc", "string", "the request, in the allocation language" },
                { "options", "struct?", "parameters, files, request: as of install_allocation" } },
    .returns = "struct",
    .idempotent = true,
    .run = run,
};

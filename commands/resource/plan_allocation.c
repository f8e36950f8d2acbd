/* plan_allocation: what install_allocation would do, without doing it. */
#include <stdlib.h>
#include <string.h>

#include <flowstream/method.h>

#include "core/util.h"
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

/* Put the options into the parameter of compile_request.  NULL, or what is wrong with them. */
static char *
pass_options(const xmlrpc_value *options, xmlrpc_value *param)
{
    for (size_t i = 0; i < fs_size(options); i++) {
        xmlrpc_value *v;
        const char *key = fs_member(options, i, &v), *type = fs_type_name(v);
        bool name = !strcmp(key, "request") || !strcmp(key, "file");
        if (!name && strcmp(key, "parameters") && strcmp(key, "files")) {
            return fs_xasprintf("there is no option '%.64s'; parameters, files, request and file are possible", key);
        }
        if (strcmp(type, name ? "string" : "struct")) {
            return fs_xasprintf("option %s must be of type %s, not %s", key, name ? "string" : "struct", type);
        }
        fs_set(param, key, fs_copy(v));
    }
    return NULL;
}

static void
run(struct fs_call *call)
{
    struct resource *r = fs_call_state(call);
    xmlrpc_value *param = fs_set(fs_struct(), "text", fs_string(fs_call_string(call, 0, "")));
    fs_set(param, "file", fs_string("request"));
    char *wrong = pass_options(fs_call_param(call, 1), param);
    if (wrong) {
        fs_call_fail(call, "plan_allocation: parameter 2 (options): %s", wrong);
        free(wrong);
        fs_free(param);
        return;
    }
    xmlrpc_value *request = step(call, "compile_request", param), *placement = NULL, *plan = NULL, *rules = NULL;
    char *error = NULL;
    int id = resource_next_id(r);
    if (request && resource_conflict(r, 0, request, &error)) {
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

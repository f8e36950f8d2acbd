/* plan_allocation: what install_allocation would do, without doing it. */
#include <stdlib.h>
#include <string.h>

#include <flowstream/method.h>

#include "core/util.h"
#include "daemons/resource/options.h"
#include "daemons/resource/resource.h"

/* The value of a task, or NULL with what it said, added to what stands against the request already; *how is then what else came with that, or NULL. */
static xmlrpc_value *
step(struct fs_call *call, const char *task, xmlrpc_value *param, struct fs_text *against, xmlrpc_value **how)
{
    struct fs_reply reply;
    xmlrpc_value *value = NULL;
    if (fs_call_task(call, task, param, &reply)) {
        fs_text_addf(against, "%s%s", against->length ? "\n" : "", reply.message);
        *how = reply.value;
        reply.value = NULL;
    } else {
        value = reply.value ? reply.value : fs_nil();
        reply.value = NULL;
    }
    fs_reply_clear(&reply);
    return value;
}

/* The plan, without rules, and what it would change; NULL when the request does not fit. */
static xmlrpc_value *
place(struct fs_call *call, int *id, const xmlrpc_value *request, xmlrpc_value **loads, struct fs_text *against, xmlrpc_value **how)
{
    struct resource *r = fs_call_state(call);
    char *error = NULL;
    resource_await_hosts(r);
    resource_placing_begin(r);
    *id = resource_next_id(r);
    xmlrpc_value *placement = step(call, "place_allocation", fs_set(fs_set(fs_struct(), "id", fs_int(*id)), "request", fs_copy(request)), against, how);
    xmlrpc_value *plan = placement ? resource_make_plan(r, *id, request, placement, false, &error) : NULL;
    *loads = plan ? resource_loads(r, request, plan) : NULL;
    resource_placing_end(r);
    if (error) {
        fs_text_addf(against, "%s%s", against->length ? "\n" : "", error);
    }
    free(error);
    fs_free(placement);
    return plan;
}

/* Nothing can be installed in a switch that is not there. */
static void
add_absent(struct resource *r, const xmlrpc_value *rules, struct fs_text *against)
{
    for (size_t i = 0; i < fs_size(rules); i++) {
        char *why = resource_switch_away(r, fs_get_string(fs_item(rules, i), "switch", ""));
        if (why) {
            fs_text_addf(against, "%s%s, and %zu rules would go there", against->length ? "\n" : "", why, fs_size(fs_get(fs_item(rules, i), "rules")));
        }
        free(why);
    }
}

/* What is worth knowing of a plan that can be carried out. */
static xmlrpc_value *
notes_of(struct resource *r, const xmlrpc_value *plan)
{
    xmlrpc_value *notes = resource_absent(r);
    const xmlrpc_value *more = fs_get(plan, "notes");
    for (size_t i = 0; i < fs_size(more); i++) {
        fs_append(notes, fs_copy(fs_item(more, i)));
    }
    return notes;
}

static void
run(struct fs_call *call)
{
    xmlrpc_value *request = resource_compile(call, fs_call_string(call, 0, ""), fs_call_param(call, 1)), *loads = NULL, *rules = NULL, *how = NULL, *ignored = NULL;
    if (!request) {
        return;
    }
    struct fs_text against = { 0 }; /* all that does, not only what would be found first */
    char *error = NULL;
    int id;
    if (resource_conflict(fs_call_state(call), request, &error)) {
        fs_text_addf(&against, "%s", error);
    }
    xmlrpc_value *plan = place(call, &id, request, &loads, &against, &how);
    xmlrpc_value *metered = plan ? step(call, "choose_meters", fs_set(fs_struct(), "plan", fs_copy(plan)), &against, &ignored) : NULL;
    if (metered) {
        fs_free(plan);
        plan = metered;
        rules = step(call, "generate_rules", fs_set(fs_set(fs_struct(), "plan", fs_copy(plan)), "request", fs_copy(request)), &against, &ignored);
    }
    add_absent(fs_call_state(call), rules, &against);
    if (against.length) {
        struct fs_reply reply = { .code = 1, .message = fs_xstrdup(against.text), .value = how };
        fs_call_reply(call, &reply);
        how = NULL;
    } else {
        xmlrpc_value *v = fs_struct();
        fs_set(v, "id", fs_int(id));
        fs_set(v, "placement", fs_copy(fs_get(plan, "modules")));
        fs_set(v, "ports", fs_copy(fs_get(plan, "ports")));
        fs_set(v, "paths", fs_copy(fs_get(plan, "flows")));
        fs_set(v, "rules", fs_copy(rules));
        fs_set(v, "loads", fs_copy(loads));
        fs_set(v, "notes", notes_of(fs_call_state(call), plan));
        fs_set(v, "warnings", fs_string(fs_get_string(request, "warnings", "")));
        fs_call_return(call, v);
    }
    free(against.text);
    free(error);
    fs_free(request);
    fs_free(plan);
    fs_free(rules);
    fs_free(loads);
    fs_free(how);
    fs_free(ignored);
}

static const struct fs_member options[] = {
    RESOURCE_TEXT_OPTIONS,
    { 0 },
};

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "plan_allocation",
    .help = "Tells what install_allocation would do with the request now, and changes nothing: id (that the allocation would get), placement (modules with their hosts), ports (of ToNets), paths (of flows, with the "
            "path identifiers that would be next), rules (of each switch, as ovs-ofctl writes them; rule number i of an allocation will have the cookie 0xf105 << 48 | id << 16 | i; and its meters, where it has some: meter (id), kbps, burst (kbit), from), loads (of all hosts and links, "
            "before and after: hosts, links), notes (texts: hosts that were not considered and why, switches that are not connected, rates that nothing holds), warnings (of the language, a text). A request that would be refused is refused here with all reasons; where it does not fit the value is "
            "a struct then: reason (a text) and would_fit_with (array of structs: limit \"cpu\", \"mem\", \"inside\", \"bandwidth\" or \"delay\"; host, or from and to; is; needed; empty when no change of limits helps).",
    .params = { { "alloc", "string", "the request, in the allocation language" },
                { "options", "struct?", "as of install_allocation" } },
    .members = { [1] = options },
    .returns = "struct",
    .idempotent = true,
    .run = run,
};

/* create_connections: lead traffic through modules that create_pm has started (section 2.1.2, low-level API).
 *
 * The text is an allocation request whose modules exist already; what it leaves unconnected stays as it is.  Its FromNets take from the network ports of the switch that is
 * named, by rules in the table that is named. */
#include <stdlib.h>
#include <string.h>

#include <flowstream/method.h>

#include "core/util.h"
#include "daemons/resource/byhand.h"
#include "daemons/resource/options.h"

enum { WAIT_SECONDS = 50 };

/* Make a module of the text the one that runs under its name: NULL, or why it cannot be. */
static char *
bind_module(struct resource *r, xmlrpc_value *node)
{
    const char *name = fs_get_string(node, "name", "");
    xmlrpc_value *doc = resource_module_by_hand(r, name);
    const xmlrpc_value *own = fs_item(fs_get(fs_get(doc, "request"), "nodes"), 0), *module = fs_item(fs_get(fs_get(doc, "plan"), "modules"), 0);
    char *why = NULL;
    if (fs_get(node, "element")) {
        why = fs_xasprintf("%s asks for several instances: a module by hand is one; make so many and connect each", fs_get_string(node, "element", ""));
    } else if (!doc) {
        char *names = resource_modules_by_hand(r);
        why = fs_xasprintf("there is no module '%s' made by create_pm%s%s", name, *names ? "; there are " : "", names);
        free(names);
    } else if (!module || strcmp(fs_get_string(doc, "state", ""), "installed")) {
        why = fs_xasprintf("module %s is %s: try again", name, fs_get_string(doc, "state", ""));
    } else if (strcmp(fs_get_string(own, "type", ""), fs_get_string(node, "type", "")) || strcmp(fs_get_string(own, "args", ""), fs_get_string(node, "args", ""))) {
        why = fs_xasprintf("module %s is a %s(\"%s\"), the text says %s(\"%s\")", name, fs_get_string(own, "type", ""), fs_get_string(own, "args", ""),
                           fs_get_string(node, "type", ""), fs_get_string(node, "args", ""));
    } else if (fs_get_int(node, "outputs", 0) > fs_get_int(own, "open_outputs", 0)) {
        why = fs_xasprintf("module %s was made with %d outputs, the text connects number %d: create_pm takes a member outputs", name,
                           fs_get_int(own, "open_outputs", 0), fs_get_int(node, "outputs", 0) - 1);
    } else {
        fs_set(node, "process", fs_string(fs_get_string(module, "name", "")));
        fs_set(node, "hosts", fs_append(fs_array(), fs_string(fs_get_string(module, "host", ""))));
        fs_set(node, "cpu", fs_double(0)); /* the module's own allocation accounts for it */
        fs_set(node, "mem", fs_double(0));
    }
    fs_free(doc);
    return why;
}

/* A FromNet takes from ports of the switch: NULL, or why it cannot. */
static char *
check_port(struct resource *r, const xmlrpc_value *node, const char *switch_node, const char *ports)
{
    const char *in_port = fs_get_string(node, "in_port", "");
    if (*in_port ? resource_is_at(r, switch_node, in_port) : *ports) {
        return NULL;
    }
    return fs_xasprintf("FromNet %s: %s%s switch %s, which has %s", fs_get_string(node, "name", ""), *in_port ? in_port : "no network port",
                        *in_port ? " is not at" : " is at", switch_node, *ports ? ports : "none");
}

static char *
bind_all(struct resource *r, const xmlrpc_value *request, const char *switch_node)
{
    const xmlrpc_value *nodes = fs_get(request, "nodes");
    char *ports = resource_ports_at(r, switch_node), *why = NULL;
    for (size_t i = 0; i < fs_size(nodes) && !why; i++) {
        xmlrpc_value *node = fs_item(nodes, i);
        const char *kind = fs_get_string(node, "kind", "");
        why = !strcmp(kind, "module") ? bind_module(r, node) : !strcmp(kind, "from") ? check_port(r, node, switch_node, ports) : NULL;
    }
    free(ports);
    return why;
}

/* The checked text, bound to what runs, or NULL after the call has been answered. */
static xmlrpc_value *
compile(struct fs_call *call, const char *switch_node, int table, const char *text)
{
    struct fs_reply reply;
    xmlrpc_value *param = fs_set(fs_set(fs_struct(), "text", fs_string(text)), "file", fs_string("connections"));
    if (fs_call_task(call, "compile_request", fs_set(param, "partial", fs_bool(true)), &reply)) {
        fs_call_reply(call, &reply);
        return NULL;
    }
    xmlrpc_value *request = reply.value;
    reply.value = NULL;
    fs_reply_clear(&reply);
    char *why = fs_size(fs_get(request, "links")) ? bind_all(fs_call_state(call), request, switch_node) : fs_xstrdup("the text connects nothing");
    if (why) {
        fs_call_fail(call, "create_connections: %s", why);
        fs_free(request);
        free(why);
        return NULL;
    }
    fs_set(request, "kind", fs_string("connections"));
    fs_set(request, "switch", fs_string(switch_node));
    return fs_set(request, "table", fs_int(table));
}

static void
enter(struct fs_call *call, const char *text, const xmlrpc_value *request)
{
    struct resource *r = fs_call_state(call);
    char *name = fs_xstrdup(fs_get_string(fs_get(request, "headers"), "NAME", "")), *why = NULL;
    bool again;
    if (!*name) {
        free(name);
        name = fs_xasprintf("connections at %s", fs_get_string(request, "switch", ""));
    }
    int id = resource_new_allocation(r, text, name, fs_get_string(fs_call_param(call, 3), "key", ""), "operator", request, &again, &why);
    if (!id) {
        fs_call_fail(call, "create_connections: %s", why);
    } else if (again) {
        resource_answer_again(call, id, "", false);
    } else {
        resource_begin_install(call, id, WAIT_SECONDS, false);
    }
    free(why);
    free(name);
}

static bool
is_reserved(int table)
{
    return table == RESOURCE_TABLE_SPREAD || table == RESOURCE_TABLE_CHOOSE || table == RESOURCE_TABLE_FORWARD;
}

static void
run(struct fs_call *call)
{
    const char *name = fs_call_string(call, 0, ""), *text = fs_call_string(call, 2, "");
    int table = fs_call_int(call, 1, 0);
    char *node = resource_switch_node(fs_call_state(call), name);
    if (!node) {
        char *names = resource_switch_names(fs_call_state(call));
        fs_call_fail(call, "create_connections: parameter 1 (switch_name): the platform has no switch '%.64s'; it has %s", name, names);
        free(names);
    } else if (table < 0 || table > RESOURCE_TABLE_LAST || is_reserved(table)) {
        fs_call_fail(call, "create_connections: parameter 2 (switch_table_id): %d: 0 to %d are possible, but not %d and %d, which spread packets over instances, and %d, which "
                     "forwards tagged packets", table, RESOURCE_TABLE_LAST, RESOURCE_TABLE_SPREAD, RESOURCE_TABLE_CHOOSE, RESOURCE_TABLE_FORWARD);
    } else {
        xmlrpc_value *request = compile(call, node, table, text);
        if (request) {
            enter(call, text, request);
            fs_free(request);
        }
    }
    free(node);
}

static const struct fs_member options[] = {
    RESOURCE_KEY_OPTION("the same key and connections again answer what became of the first call"),
    { 0 },
};

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "create_connections",
    .help = "Leads traffic through modules that create_pm has started. The text is an allocation request whose modules are declared as they were made; ports that it leaves out stay as "
            "they are. It is listed as an allocation of kind \"connections\" and stays until delete_connections.",
    .params = { { "switch_name", "string", "the switch at whose network ports traffic comes in" },
                { "switch_table_id", "int", "the table of that switch for the rules that let traffic in: 10 is where those of other requests are; 12, 14 and 20 are reserved" },
                { "alloc", "string", "what is connected, in the allocation language" },
                { "options", "struct?", NULL } },
    .members = { [3] = options },
    .returns = "nil",
    .run = run,
};

/* create_pm: one processing module by hand (section 2.1.2, low-level API).  It runs without traffic until create_connections leads some through it. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include <flowstream/method.h>
#include <flowstream/pm.h>

#include "core/client.h"
#include "core/daemon.h"
#include "core/util.h"
#include "daemons/resource/byhand.h"
#include "daemons/resource/options.h"

enum { PM_MS = 10000, WAIT_SECONDS = 50, NAME_MAX_BYTES = 64 };

static bool
is_name(const char *name)
{
    size_t n = strlen(name);
    bool good = n && n <= NAME_MAX_BYTES && !isdigit((unsigned char) *name);
    for (size_t i = 0; i < n && good; i++) {
        good = isalnum((unsigned char) name[i]) || name[i] == '_';
    }
    return good;
}

static char *
check_members(const xmlrpc_value *pm)
{
    double cpu = fs_get_double(pm, "cpu", RESOURCE_MODULE_CPU), mem = fs_get_double(pm, "mem", RESOURCE_MODULE_MEM);
    int outputs = fs_get_int(pm, "outputs", 0);
    return !is_name(fs_get_string(pm, "name", ""))
               ? fs_xasprintf("member name is '%.64s': letters, digits and '_' are possible, no digit first, %d at most", fs_get_string(pm, "name", ""),
                              NAME_MAX_BYTES)
           : !*fs_get_string(pm, "type", "") ? fs_xstrdup("member type is missing: get_pm_info lists the types")
           : !(cpu > 0 && cpu <= 4096)       ? fs_xasprintf("member cpu is %g: more than 0 cores and at most 4096 are possible", cpu)
           : !(mem >= 1 && mem <= 1 << 24)   ? fs_xasprintf("member mem is %g: 1 MB to 16 TB are possible", mem)
           : outputs < 0 || outputs > (int) FS_PORTS_MAX
               ? fs_xasprintf("member outputs is %d: 0 to %u are possible", outputs, FS_PORTS_MAX)
               : NULL;
}

static int
ask_pm(struct fs_call *call, const char *method, xmlrpc_value *params, struct fs_reply *reply)
{
    struct fs_peer *pm = fs_daemon_peer(fs_call_daemon(call), "pm");
    return pm ? fs_peer_call(pm, method, params, PM_MS, fs_call_request_id(call), reply) : fs_call_peer(call, NULL, method, params, reply);
}

/* The installed type of this name in 'types', or NULL with the reason. */
static const xmlrpc_value *
find_type(const xmlrpc_value *types, const char *name, char **why)
{
    struct fs_text names = { 0 };
    const xmlrpc_value *found = NULL;
    for (size_t i = 0; i < fs_size(types) && !found; i++) {
        const char *its = fs_get_string(fs_item(types, i), "name", "");
        found = strcmp(its, name) ? NULL : fs_item(types, i);
        fs_text_addf(&names, "%s%s", i ? ", " : "", its);
    }
    if (!found) {
        *why = fs_xasprintf("member type: there is no module type '%.64s'; installed are %s", name, names.length ? names.text : "none");
    }
    free(names.text);
    return found;
}

/* How many outputs the module has: as many as are asked for, else the fewest that its type takes with these arguments.  -1 with the reason. */
static int
count_outputs(struct fs_call *call, const xmlrpc_value *pm, const xmlrpc_value *type, char **why)
{
    int first = fs_get_int(type, "min_outputs", 0), last = fs_get_int(type, "max_outputs", 0), found = -1;
    last = last < 0 || last > (int) FS_PORTS_MAX ? (int) FS_PORTS_MAX : last;
    if (fs_get(pm, "outputs")) {
        int n = fs_get_int(pm, "outputs", 0);
        if (n < first || n > last) {
            *why = fs_xasprintf("member outputs is %d: a %s has %d to %d", n, fs_get_string(pm, "type", ""), first, last);
            return -1;
        }
        first = last = n;
    } else if (first == 0 && last > 0) {
        first = 1; /* it can be connected, then it should be */
    }
    xmlrpc_value *list = fs_array();
    for (int n = first; n <= last; n++) {
        xmlrpc_value *one = fs_set(fs_struct(), "type", fs_string(fs_get_string(pm, "type", "")));
        fs_append(list, fs_set(fs_set(one, "args", fs_string(fs_get_string(pm, "args", ""))), "outputs", fs_int(n)));
    }
    struct fs_reply reply;
    if (ask_pm(call, "check_pms", fs_append(fs_array(), list), &reply)) {
        *why = fs_xstrdup(reply.message);
    }
    for (size_t i = 0; i < fs_size(reply.value) && found < 0 && !*why; i++) {
        found = *fs_text(fs_item(reply.value, i), "?") ? -1 : first + (int) i;
    }
    if (found < 0 && !*why) {
        *why = fs_xasprintf("member args: %s", fs_text(fs_item(reply.value, 0), "refused"));
    }
    fs_reply_clear(&reply);
    return found;
}

/* The request that stands for the module, or NULL with the reason. */
static xmlrpc_value *
make_request(struct fs_call *call, const xmlrpc_value *pm, char **why)
{
    struct fs_reply types;
    if (ask_pm(call, "list_types", fs_array(), &types)) {
        *why = fs_xstrdup(types.message);
        fs_reply_clear(&types);
        return NULL;
    }
    const xmlrpc_value *type = find_type(types.value, fs_get_string(pm, "type", ""), why);
    int outputs = type ? count_outputs(call, pm, type, why) : -1;
    fs_reply_clear(&types);
    const char *host = fs_get_string(pm, "host", "");
    if (outputs >= 0 && *host && resource_node_kind(fs_call_state(call), host) != 'h') {
        *why = fs_xasprintf("member host: the platform has no host '%.64s' (list_hosts lists them)", host);
    }
    if (*why) {
        return NULL;
    }
    xmlrpc_value *node = fs_set(fs_struct(), "name", fs_string(fs_get_string(pm, "name", ""))), *headers = fs_struct();
    fs_set(node, "kind", fs_string("module"));
    fs_set(node, "type", fs_string(fs_get_string(pm, "type", "")));
    fs_set(node, "args", fs_string(fs_get_string(pm, "args", "")));
    fs_set(node, "inputs", fs_int(0));
    fs_set(node, "outputs", fs_int(0));
    fs_set(node, "open_outputs", fs_int(outputs));
    fs_set(node, "cpu", fs_double(fs_get_double(pm, "cpu", RESOURCE_MODULE_CPU)));
    fs_set(node, "mem", fs_double(fs_get_double(pm, "mem", RESOURCE_MODULE_MEM)));
    if (*host) {
        fs_set(node, "hosts", fs_append(fs_array(), fs_string(host)));
    }
    if (*fs_get_string(pm, "basesys", "")) {
        fs_set(headers, "BASESYS", fs_string(fs_get_string(pm, "basesys", "")));
    }
    xmlrpc_value *request = fs_set(fs_set(fs_struct(), "kind", fs_string("module")), "headers", headers);
    fs_set(request, "delays", fs_array());
    return fs_set(fs_set(request, "nodes", fs_append(fs_array(), node)), "links", fs_array());
}

/* Another module of this name than allocation 'id', or the one that was made with this key?  NULL: no. */
static char *
find_namesake(struct resource *r, const char *name, int id, const char *key)
{
    xmlrpc_value *doc = resource_module_by_hand(r, name);
    int other = fs_get_int(doc, "id", id);
    bool same = *key && !strcmp(fs_get_string(doc, "key", ""), key);
    fs_free(doc);
    return other == id || same ? NULL : fs_xasprintf("member name: there is a module %s already (allocation %d); delete_pm ends it", name, other);
}

static void
enter(struct fs_call *call, const xmlrpc_value *pm, const xmlrpc_value *request)
{
    struct resource *r = fs_call_state(call);
    const char *name = fs_get_string(pm, "name", ""), *key = fs_get_string(fs_call_param(call, 1), "key", "");
    char *text = fs_xasprintf("%s :: %s(\"%s\")", name, fs_get_string(pm, "type", ""), fs_get_string(pm, "args", "")), *why = NULL, *ignored = NULL;
    bool again;
    int id = resource_new_allocation(r, text, name, key, "operator", request, &again, &why);
    if (id && !again && (why = find_namesake(r, name, id, ""))) { /* of two that come at the same time the older stays */
        resource_forget(r, id, &ignored);
    }
    if (why) {
        fs_call_fail(call, "create_pm: %s", why);
    } else if (again) {
        resource_answer_again(call, id, "", false);
    } else {
        resource_begin_install(call, id, WAIT_SECONDS, false);
    }
    free(ignored);
    free(why);
    free(text);
}

static void
run(struct fs_call *call)
{
    const xmlrpc_value *pm = fs_call_param(call, 0);
    char *why = check_members(pm);
    why = why ? why : find_namesake(fs_call_state(call), fs_get_string(pm, "name", ""), 0, fs_get_string(fs_call_param(call, 1), "key", ""));
    xmlrpc_value *request = why ? NULL : make_request(call, pm, &why);
    if (request) {
        enter(call, pm, request);
        fs_free(request);
    } else {
        fs_call_fail(call, "create_pm: parameter 1 (pm): %s", why);
    }
    free(why);
}

static const struct fs_member options[] = {
    RESOURCE_KEY_OPTION("the same key and module again answer what became of the first call"),
    { 0 },
};

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "create_pm",
    .help = "Starts one processing module by hand. It gets no traffic until create_connections leads some through it, is listed as an allocation of kind \"module\", and stays until "
            "delete_pm.",
    .params = { { "pm", "struct", NULL }, { "options", "struct?", NULL } },
    .members = { resource_pm_members, options },
    .returns = "nil",
    .run = run,
};

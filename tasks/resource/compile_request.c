/* compile_request: from the text of a request to the value that the rest works on, or to what is wrong with it, all of it.
 *
 * What the language cannot know is asked: which types of modules there are and whether they take their arguments (processing module daemon), whether the
 * switch takes a match (libopenvswitch), which network ports there are (platform). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <flowstream/lang.h>
#include <flowstream/method.h>
#include <flowstream/openflow.h>

#include "core/client.h"
#include "core/daemon.h"
#include "core/util.h"
#include "daemons/resource/resource.h"

struct surroundings {
    struct fs_call *call;
    struct fs_lang_env env;
    xmlrpc_value *types;        /* as list_types answers */
    struct fs_lang_type *rows;
    struct fs_lang_argument **arguments; /* of each row, or NULL */
    const char **ports, **hosts;
    struct fs_lang_parameter *parameters;
    const xmlrpc_value *files;  /* name to text: what the request may include */
    char *failed;               /* the processing module daemon went away meanwhile */
};

static uint32_t
limit(const xmlrpc_value *type, const char *key)
{
    int n = fs_get_int(type, key, 0);
    return n < 0 ? UINT32_MAX : (uint32_t) n;
}

enum { PM_MS = 10000 };

/* Ask the processing module daemon, which answers such questions at once or not at all. */
static int
ask_pm(struct fs_call *call, const char *method, xmlrpc_value *params, struct fs_reply *reply)
{
    struct fs_peer *pm = fs_daemon_peer(fs_call_daemon(call), "pm");
    return pm ? fs_peer_call(pm, method, params, PM_MS, fs_call_request_id(call), reply) : fs_call_peer(call, NULL, method, params, reply);
}

static char *
check_match(void *aux, const char *match, size_t *offset)
{
    (void) aux;
    return fs_match_check(match, offset);
}

static char *
check_args(void *aux, const char *type, const char *args, uint32_t n_outputs)
{
    struct surroundings *s = aux;
    xmlrpc_value *pm = fs_struct();
    fs_set(pm, "type", fs_string(type));
    fs_set(pm, "args", fs_string(args));
    fs_set(pm, "outputs", fs_int((int) n_outputs));
    xmlrpc_value *params = fs_append(fs_array(), fs_append(fs_array(), pm));
    struct fs_reply reply;
    char *why = NULL;
    if (s->failed) {
        fs_free(params);
    } else if (ask_pm(s->call, "check_pms", params, &reply)) {
        s->failed = fs_xstrdup(reply.message);
        fs_reply_clear(&reply);
    } else {
        const char *said = fs_text(fs_item(reply.value, 0), "");
        why = *said ? fs_xstrdup(said) : NULL;
        fs_reply_clear(&reply);
    }
    return why;
}

static int
read_include(void *aux, const char *name, char **text, size_t *size)
{
    const struct surroundings *s = aux;
    const char *found = fs_get_string(s->files, name, NULL);
    if (!found) {
        return ENOENT;
    }
    *text = fs_xstrdup(found);
    *size = strlen(found);
    return 0;
}

/* The struct 'parameters' of the caller's. */
static char *
read_parameters(struct surroundings *s, const xmlrpc_value *given)
{
    size_t n = fs_size(given);
    s->parameters = fs_xcalloc(n + 1, sizeof *s->parameters);
    s->env.parameters = s->parameters;
    for (size_t i = 0; i < n; i++) {
        xmlrpc_value *member = NULL;
        const char *name = fs_member(given, i, &member), *value = fs_text(member, NULL);
        if (!value) {
            return fs_xasprintf("parameter '%s' is no string", name);
        }
        s->parameters[s->env.n_parameters++] = (struct fs_lang_parameter) { name, value };
    }
    return NULL;
}

/* The arguments of a type that says which it takes, for row 'i'. */
static void
read_arguments(struct surroundings *s, size_t i, const xmlrpc_value *list)
{
    size_t n = fs_size(list);
    struct fs_lang_argument *rows = list ? fs_xcalloc(n + 1, sizeof *rows) : NULL;
    for (size_t k = 0; k < n; k++) {
        const xmlrpc_value *a = fs_item(list, k);
        rows[k] = (struct fs_lang_argument) { .name = fs_get_string(a, "name", ""),
                                              .unit = fs_get_string(a, "unit", NULL),
                                              .minimum = fs_get_double(a, "minimum", 0),
                                              .maximum = fs_get_double(a, "maximum", 0),
                                              .required = fs_get_bool(a, "required", false) };
    }
    s->rows[i].arguments = s->arguments[i] = rows;
    s->rows[i].n_arguments = n;
}

/* Fill in 's'; NULL or why it cannot be. */
static char *
look_around(struct surroundings *s)
{
    struct fs_reply reply;
    if (ask_pm(s->call, "list_types", fs_array(), &reply)) {
        char *why = fs_xstrdup(reply.message);
        fs_reply_clear(&reply);
        return why;
    }
    s->types = reply.value;
    reply.value = NULL;
    fs_reply_clear(&reply);
    size_t n = fs_size(s->types);
    s->rows = fs_xcalloc(n, sizeof *s->rows);
    s->arguments = fs_xcalloc(n + 1, sizeof *s->arguments);
    s->env.types = s->rows;
    s->env.n_types = n;
    for (size_t i = 0; i < n; i++) {
        const xmlrpc_value *t = fs_item(s->types, i);
        s->rows[i] = (struct fs_lang_type) { .name = fs_get_string(t, "name", ""),
                                             .min_inputs = limit(t, "min_inputs"),
                                             .max_inputs = limit(t, "max_inputs"),
                                             .min_outputs = limit(t, "min_outputs"),
                                             .max_outputs = limit(t, "max_outputs") };
        read_arguments(s, i, fs_get(t, "named_arguments"));
    }
    resource_placing_begin(fs_call_state(s->call));
    const struct fs_platform *p = resource_platform(fs_call_state(s->call));
    s->ports = fs_xcalloc((size_t) p->n_nodes, sizeof *s->ports);
    s->hosts = fs_xcalloc((size_t) p->n_nodes, sizeof *s->hosts);
    size_t n_ports = 0, n_hosts = 0;
    for (int i = 0; i < p->n_nodes; i++) {
        if (p->nodes[i].kind == FS_NODE_IO) {
            s->ports[n_ports++] = fs_xstrdup(p->nodes[i].id);
        } else if (p->nodes[i].kind == FS_NODE_SERVER) {
            s->hosts[n_hosts++] = fs_xstrdup(p->nodes[i].id);
        }
    }
    resource_placing_end(fs_call_state(s->call));
    s->env.check_match = check_match;
    s->env.check_args = check_args;
    s->env.aux = s;
    s->env.ports = s->ports;
    s->env.n_ports = n_ports;
    s->env.hosts = s->hosts;
    s->env.n_hosts = n_hosts;
    s->env.read_include = s->files ? read_include : NULL;
    if (s->env.partial) {
        s->env.check_args = NULL; /* how many outputs a module has is not in this text; whoever asks compares with what it was made of */
    }
    return NULL;
}

static void
forget(struct surroundings *s)
{
    for (size_t i = 0; i < s->env.n_ports; i++) {
        free((void *) (uintptr_t) s->ports[i]);
    }
    for (size_t i = 0; i < s->env.n_hosts; i++) {
        free((void *) (uintptr_t) s->hosts[i]);
    }
    free(s->ports);
    free(s->hosts);
    free(s->parameters);
    for (size_t i = 0; i < s->env.n_types; i++) {
        free(s->arguments[i]);
    }
    free(s->arguments);
    free(s->rows);
    fs_free(s->types);
    free(s->failed);
}

static xmlrpc_value *
names_value(const char *const *names, uint32_t n)
{
    xmlrpc_value *list = fs_array();
    for (uint32_t i = 0; i < n; i++) {
        fs_append(list, fs_string(names[i]));
    }
    return list;
}

/* What is given of the needs: cores, MB, names. */
static void
set_needs(xmlrpc_value *v, const struct fs_request_needs *needs)
{
    if (needs->cpu) {
        fs_set(v, "cpu", fs_double(needs->cpu / 1000.0));
    }
    if (needs->mem) {
        fs_set(v, "mem", fs_double((double) needs->mem / (1024 * 1024)));
    }
    if (needs->n_hosts) {
        fs_set(v, "hosts", names_value(needs->hosts, needs->n_hosts));
    }
    if (needs->n_avoid) {
        fs_set(v, "avoid", names_value(needs->avoid, needs->n_avoid));
    }
    if (needs->instances) {
        fs_set(v, "instances", fs_int((int) needs->instances));
    }
    if (needs->isolate) {
        fs_set(v, "isolate", fs_bool(needs->isolate == FS_ISOLATE_YES));
    }
}

static xmlrpc_value *
node_value(const struct fs_request_node *n)
{
    xmlrpc_value *v = fs_struct();
    fs_set(v, "name", fs_string(n->name));
    fs_set(v, "type", fs_string(n->type));
    fs_set(v, "args", fs_string(n->args));
    fs_set(v, "kind", fs_string(n->kind == FS_NODE_FROM_NET ? "from" : n->kind == FS_NODE_TO_NET ? "to" : "module"));
    fs_set(v, "inputs", fs_int((int) n->n_inputs));
    fs_set(v, "outputs", fs_int((int) n->n_outputs));
    fs_set(v, "match", fs_string(n->match));
    fs_set(v, "in_port", fs_string(n->in_port));
    fs_set(v, "line", fs_int((int) n->line));
    set_needs(v, &n->needs);
    return fs_set(v, "ports", names_value(n->ports, n->n_ports));
}

/* The bounds on delays in milliseconds; "from" and "to" are "" for the bound of all other pairs. */
static xmlrpc_value *
delays_value(const struct fs_request *r)
{
    xmlrpc_value *list = fs_array();
    for (size_t i = 0; i < r->n_delays + (r->delay > 0); i++) {
        bool pair = i < r->n_delays;
        xmlrpc_value *d = fs_struct();
        fs_set(d, "from", fs_string(pair ? r->nodes[r->delays[i].from].name : ""));
        fs_set(d, "to", fs_string(pair ? r->nodes[r->delays[i].to].name : ""));
        fs_append(list, fs_set(d, "bound", fs_double((double) (pair ? r->delays[i].bound : r->delay) / 1000)));
    }
    return list;
}

static xmlrpc_value *
request_value(const struct fs_request *r)
{
    xmlrpc_value *headers = fs_struct(), *nodes = fs_array(), *links = fs_array();
    for (size_t i = 0; i < r->n_headers; i++) {
        fs_set(headers, r->headers[i].key, fs_string(r->headers[i].value));
    }
    for (size_t i = 0; i < r->n_nodes; i++) {
        fs_append(nodes, node_value(&r->nodes[i]));
    }
    for (size_t i = 0; i < r->n_links; i++) {
        xmlrpc_value *l = fs_struct();
        fs_set(l, "from", fs_string(r->nodes[r->links[i].from].name));
        fs_set(l, "from_port", fs_int((int) r->links[i].from_port));
        fs_set(l, "to", fs_string(r->nodes[r->links[i].to].name));
        if (r->links[i].rate) {
            fs_set(l, "rate", fs_double((double) r->links[i].rate / 1e6));
        }
        fs_append(links, fs_set(l, "to_port", fs_int((int) r->links[i].to_port)));
    }
    if (r->name && !fs_get(headers, "NAME")) {
        fs_set(headers, "NAME", fs_string(r->name));
    }
    xmlrpc_value *v = fs_set(fs_set(fs_struct(), "headers", headers), "delays", delays_value(r));
    return fs_set(fs_set(v, "nodes", nodes), "links", links);
}

/* The request that is asked for, of those in the text, or NULL with the reason. */
static const struct fs_request *
choose(const struct fs_request *first, const char *wanted, char **why)
{
    const struct fs_request *found = *wanted ? fs_request_find(first, wanted) : first->next ? NULL : first;
    if (!found) {
        struct fs_text names = { 0 };
        for (const struct fs_request *r = first; r; r = r->next) {
            fs_text_addf(&names, "%s%s", names.length ? ", " : "", r->name ? r->name : "one without a name");
        }
        *why = *wanted ? fs_xasprintf("the text has no request '%s': it has %s", wanted, names.text)
                       : fs_xasprintf("the text has several requests (%s): say in option request which to take", names.text);
        free(names.text);
    }
    return found;
}

static void
run(struct fs_call *call)
{
    const char *text = fs_get_string(fs_call_param(call, 0), "text", ""), *name = fs_get_string(fs_call_param(call, 0), "file", "request");
    struct surroundings s = { .call = call, .files = fs_get(fs_call_param(call, 0), "files") };
    s.env.partial = fs_get_bool(fs_call_param(call, 0), "partial", false);
    char *why = read_parameters(&s, fs_get(fs_call_param(call, 0), "parameters"));
    why = why ? why : look_around(&s);
    struct fs_request *request = NULL;
    struct fs_diagnostics *diagnostics = NULL;
    int e = why ? 0 : fs_lang_check(text, strlen(text), name, &s.env, &request, &diagnostics);
    if (why || s.failed) {
        fs_call_fail(call, "%s", why ? why : s.failed);
    } else if (e) {
        char *said = diagnostics ? fs_diagnostics_text(diagnostics, false) : NULL;
        fs_call_fail(call, "%s", said ? said : strerror(e));
        free(said);
    } else {
        const struct fs_request *chosen = choose(request, fs_get_string(fs_call_param(call, 0), "request", ""), &why);
        xmlrpc_value *value = chosen ? request_value(chosen) : NULL;
        why = why ? why : resource_write_instances(value);
        if (!why) {
            char *warnings = fs_diagnostics_text(diagnostics, false);
            fs_call_return(call, fs_set(value, "warnings", fs_string(warnings)));
            free(warnings);
        } else {
            fs_call_fail(call, "%s", why);
            fs_free(value);
        }
    }
    fs_request_destroy(request);
    fs_diagnostics_destroy(diagnostics);
    free(why);
    forget(&s);
}

FS_TASK = {
    FS_IS_TASK,
    .name = "compile_request",
    .help = "Checks the text of a request against the language, the installed types, the switch's matches and the platform's ports. Answers the request as a struct, "
            "with a module of several instances written out as so many modules, or fails with all mistakes, each with its line and column.",
    .params = { { "parameter", "struct", "text; optional: file: the name for messages, parameters: struct of strings, files: struct of texts that it may "
                                       "include, request: which of several, partial: ports of modules may stay unconnected, and arguments "
                                       "are not looked at" } },
    .returns = "struct",
    .idempotent = true,
    .run = run,
};

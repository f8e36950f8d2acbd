/* Looking up what was made by hand; see byhand.h. */
#include "config.h"

#include "daemons/resource/byhand.h"

#include <stdlib.h>
#include <string.h>

#include "core/util.h"
#include "daemons/resource/state.h"

const struct fs_member resource_pm_members[] = {
    { "name", "string", 0, 0, "of the module" },
    { "type", "string?", 0, 0, "of those that get_pm_info lists; create_pm needs it" },
    { "args", "string?", 0, 0, "of the type (default: none)" },
    { "host", "string?", 0, 0, "where it runs (default: the platform chooses)" },
    { "basesys", "string?", 0, 0, "base system (default: linux.process)" },
    { "cpu", "double?", 0, 0, "cores (default 0.1)" },
    { "mem", "double?", 0, 0, "MB (default 32)" },
    { "outputs", "int?", 0, 0, "how many it has (default: the fewest that the type takes with these arguments)" },
    { 0 },
};

const char *
resource_kind(const xmlrpc_value *request)
{
    return fs_get_string(request, "kind", "request");
}

int
resource_entry_table(const xmlrpc_value *request)
{
    return fs_get_int(request, "table", RESOURCE_TABLE_CLASSIFY);
}

static bool
is_kind(const struct allocation *a, const char *kind)
{
    return !strcmp(fs_packed_get_string(fs_packed_get(resource_doc(a), "request"), "kind", "request"), kind) && !a->entering;
}

static const char *
name_of(const struct allocation *a)
{
    return fs_packed_get_string(resource_doc(a), "name", "");
}

static bool
is_module(const struct allocation *a, const char *name)
{
    return is_kind(a, "module") && strcmp(a->state, "deleting") != 0 && (!name || !strcmp(name_of(a), name));
}

xmlrpc_value *
resource_module_by_hand(struct resource *r, const char *name)
{
    xmlrpc_value *doc = NULL;
    pthread_mutex_lock(&r->lock);
    for (struct allocation *a = r->by_hand; a && !doc; a = a->next_by_hand) {
        doc = is_module(a, name) ? fs_packed_value(resource_doc(a)) : NULL;
    }
    pthread_mutex_unlock(&r->lock);
    return doc;
}

char *
resource_modules_by_hand(struct resource *r)
{
    struct fs_text names = { 0 };
    pthread_mutex_lock(&r->lock);
    for (struct allocation *a = r->by_hand; a; a = a->next_by_hand) {
        if (is_module(a, NULL)) {
            fs_text_addf(&names, "%s%s", names.length ? ", " : "", name_of(a));
        }
    }
    pthread_mutex_unlock(&r->lock);
    return names.text ? names.text : fs_xstrdup("");
}

static bool
uses(const struct allocation *a, const char *process)
{
    struct fs_packed node = { 0 };
    for (struct fs_packed_items i = fs_packed_items(fs_packed_get(fs_packed_get(resource_doc(a), "request"), "nodes")); fs_packed_next(&i, &node);) {
        if (!strcmp(fs_packed_get_string(node, "process", ""), process)) {
            return is_kind(a, "connections");
        }
    }
    return false;
}

int
resource_user_of(struct resource *r, const char *process)
{
    int id = 0;
    pthread_mutex_lock(&r->lock);
    for (struct allocation *a = r->by_hand; a && !id; a = a->next_by_hand) {
        id = uses(a, process) ? a->id : 0;
    }
    pthread_mutex_unlock(&r->lock);
    return id;
}

/* What a request says, however it is written (owned). */
static char *
form_of(const xmlrpc_value *request)
{
    struct fs_text t = { 0 };
    const xmlrpc_value *nodes = fs_get(request, "nodes"), *links = fs_get(request, "links");
    for (size_t i = 0; i < fs_size(nodes); i++) {
        const xmlrpc_value *n = fs_item(nodes, i);
        fs_text_addf(&t, "%s %s %s\n", fs_get_string(n, "name", ""), fs_get_string(n, "type", ""), fs_get_string(n, "args", ""));
    }
    for (size_t i = 0; i < fs_size(links); i++) {
        const xmlrpc_value *l = fs_item(links, i);
        fs_text_addf(&t, "%s %d %s %d %g\n", fs_get_string(l, "from", ""), fs_get_int(l, "from_port", 0), fs_get_string(l, "to", ""),
                     fs_get_int(l, "to_port", 0), fs_get_double(l, "rate", 0));
    }
    return t.text ? t.text : fs_xstrdup("");
}

int
resource_connections(struct resource *r, const char *switch_node, int table, const xmlrpc_value *request)
{
    char *wanted = form_of(request);
    int id = 0;
    pthread_mutex_lock(&r->lock);
    for (struct allocation *a = r->by_hand; a && !id; a = a->next_by_hand) {
        struct fs_packed its = fs_packed_get(resource_doc(a), "request");
        if (is_kind(a, "connections") && fs_packed_get_int(its, "table", RESOURCE_TABLE_CLASSIFY) == table
            && !strcmp(fs_packed_get_string(its, "switch", ""), switch_node)) {
            xmlrpc_value *tree = fs_packed_value(its);
            char *form = form_of(tree);
            id = strcmp(form, wanted) ? 0 : a->id;
            free(form);
            fs_free(tree);
        }
    }
    pthread_mutex_unlock(&r->lock);
    free(wanted);
    return id;
}

char *
resource_switch_node(struct resource *r, const char *name)
{
    xmlrpc_value *switches = resource_switches(r);
    char *node = NULL;
    for (size_t i = 0; i < fs_size(switches) && !node; i++) {
        const xmlrpc_value *sw = fs_item(switches, i);
        if (!strcmp(fs_get_string(sw, "name", ""), name)) {
            const char *host = fs_get_string(sw, "host", "");
            node = fs_xstrdup(*host ? host : name);
        }
    }
    fs_free(switches);
    return node;
}

char *
resource_switch_names(struct resource *r)
{
    xmlrpc_value *switches = resource_switches(r);
    struct fs_text t = { 0 };
    for (size_t i = 0; i < fs_size(switches); i++) {
        fs_text_addf(&t, "%s%s", i ? ", " : "", fs_get_string(fs_item(switches, i), "name", ""));
    }
    fs_free(switches);
    return t.text ? t.text : fs_xstrdup("none");
}

/* Calls 'visit' for each network port at a node, until it answers true. */
static bool
each_port(struct resource *r, const char *node, bool (*visit)(void *aux, const char *io), void *aux)
{
    bool found = false;
    pthread_mutex_lock(&r->lock);
    const struct fs_platform *p = r->platform;
    int n = fs_platform_find(p, node);
    for (int i = n < 0 ? 0 : p->out_start[n]; n >= 0 && i < p->out_start[n + 1] && !found; i++) {
        const struct fs_node *to = &p->nodes[p->arcs[p->out[i]].to];
        found = to->kind == FS_NODE_IO && visit(aux, to->id);
    }
    pthread_mutex_unlock(&r->lock);
    return found;
}

static bool
add_name(void *aux, const char *io)
{
    struct fs_text *t = aux;
    fs_text_addf(t, "%s%s", t->length ? ", " : "", io);
    return false;
}

static bool
is_same(void *aux, const char *io)
{
    return !strcmp(aux, io);
}

char *
resource_ports_at(struct resource *r, const char *node)
{
    struct fs_text t = { 0 };
    each_port(r, node, add_name, &t);
    return t.text ? t.text : fs_xstrdup("");
}

bool
resource_is_at(struct resource *r, const char *node, const char *io)
{
    char *name = fs_xstrdup(io);
    bool at = each_port(r, node, is_same, name);
    free(name);
    return at;
}

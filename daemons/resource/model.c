/* Requests, platform and allocator brought together: flows, services, plans, the account of what is taken, names of ports. */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/util.h"
#include "daemons/resource/state.h"
#include <flowstream/pm.h>

static fs_amount
amount(double d)
{
    return (fs_amount) (d * (double) FS_UNIT + 0.5);
}

static const xmlrpc_value *
node_of(const xmlrpc_value *request, const char *name)
{
    const xmlrpc_value *nodes = fs_get(request, "nodes");
    for (size_t i = 0; i < fs_size(nodes); i++) {
        if (!strcmp(fs_get_string(fs_item(nodes, i), "name", ""), name)) {
            return fs_item(nodes, i);
        }
    }
    return NULL;
}

static bool
is_kind(const xmlrpc_value *node, const char *kind)
{
    return !strcmp(fs_get_string(node, "kind", ""), kind);
}

/* --- Flows --- */

/* May traffic that a FromNet without in_port takes come in at 'port'?  Not at the request's own ToNets. */
static bool
is_own_exit(const xmlrpc_value *request, const char *port)
{
    const xmlrpc_value *nodes = fs_get(request, "nodes");
    for (size_t i = 0; i < fs_size(nodes); i++) {
        const xmlrpc_value *ports = fs_get(fs_item(nodes, i), "ports");
        for (size_t j = 0; j < fs_size(ports); j++) {
            if (!strcmp(fs_text(fs_item(ports, j), ""), port)) {
                return true;
            }
        }
    }
    return false;
}

/* Connections made by hand take from the ports of one switch only. */
static bool
may_come_in(const struct fs_platform *p, const xmlrpc_value *request, int io)
{
    const char *at = fs_get_string(request, "switch", "");
    return !*at || resource_arc_between(p, io, fs_platform_find(p, at)) >= 0;
}

static void
add_flow(xmlrpc_value *flows, const xmlrpc_value *link, const char *io)
{
    xmlrpc_value *flow = fs_copy(link);
    fs_append(flows, fs_set(flow, "io", fs_string(io)));
}

xmlrpc_value *
resource_flows(struct resource *r, const xmlrpc_value *request)
{
    xmlrpc_value *flows = fs_array();
    const xmlrpc_value *links = fs_get(request, "links");
    pthread_mutex_lock(&r->lock);
    for (size_t i = 0; i < fs_size(links); i++) {
        const xmlrpc_value *link = fs_item(links, i), *from = node_of(request, fs_get_string(link, "from", ""));
        const char *in_port = fs_get_string(from, "in_port", "");
        if (!fs_is(link, XMLRPC_TYPE_STRUCT)) {
            continue; /* of a request that no compile_request has made */
        }
        if (!is_kind(from, "from")) {
            add_flow(flows, link, "");
        } else if (*in_port) {
            add_flow(flows, link, in_port);
        } else {
            for (int n = 0; n < r->platform->n_nodes; n++) {
                const struct fs_node *node = &r->platform->nodes[n];
                if (node->kind == FS_NODE_IO && !is_own_exit(request, node->id) && may_come_in(r->platform, request, n)) {
                    add_flow(flows, link, node->id);
                }
            }
        }
    }
    pthread_mutex_unlock(&r->lock);
    return flows;
}

/* --- The allocator's view of a request --- */

/* What a flow's source is called in the service. */
static char *
source_name(const xmlrpc_value *flow)
{
    const char *io = fs_get_string(flow, "io", "");
    return *io ? fs_xasprintf("%s@%s", fs_get_string(flow, "from", ""), io) : fs_xstrdup(fs_get_string(flow, "from", ""));
}

static int
add_node(struct fs_services_builder *b, const xmlrpc_value *node, char **error)
{
    const char *name = fs_get_string(node, "name", "");
    if (is_kind(node, "module")) {
        return fs_services_add_pm(b, name, amount(fs_get_double(node, "cpu", RESOURCE_MODULE_CPU)),
                                  amount(fs_get_double(node, "mem", RESOURCE_MODULE_MEM)), error);
    }
    if (!is_kind(node, "to")) {
        return 0; /* sources come with their flows */
    }
    struct fs_text ios = { 0 };
    const xmlrpc_value *ports = fs_get(node, "ports");
    for (size_t i = 0; i < fs_size(ports); i++) {
        fs_text_addf(&ios, "%s%s", i ? " " : "", fs_text(fs_item(ports, i), ""));
    }
    int e = fs_services_add_sink(b, name, ios.text ? ios.text : "", error);
    free(ios.text);
    return e;
}

static int
add_flow_to_service(struct fs_services_builder *b, const xmlrpc_value *flow, char **error)
{
    char *from = source_name(flow);
    const char *io = fs_get_string(flow, "io", "");
    int e = *io && fs_get_int(flow, "choice", 1) == 1 ? fs_services_add_source(b, from, io, error) : 0; /* several choices, one source */
    e = e ? e : fs_services_add_link(b, from, fs_get_string(flow, "to", ""),
                                     amount(fs_get_double(flow, "rate", RESOURCE_FLOW_RATE)), error);
    free(from);
    return e;
}

struct fs_services *
resource_services(struct resource *r, const xmlrpc_value *request, const xmlrpc_value *flows, char **error)
{
    struct fs_services_builder *b = fs_services_builder_create(r->platform);
    const xmlrpc_value *nodes = fs_get(request, "nodes");
    int e = fs_services_begin(b, "request", NULL, error);
    for (size_t i = 0; i < fs_size(nodes) && !e; i++) {
        e = add_node(b, fs_item(nodes, i), error);
    }
    for (size_t i = 0; i < fs_size(flows) && !e; i++) {
        e = add_flow_to_service(b, fs_item(flows, i), error);
    }
    char *why = e ? NULL : resource_add_delays(b, request, flows);
    if (why) {
        *error = why;
        e = EINVAL;
    }
    e = e ? e : fs_services_end(b, error);
    struct fs_services *services = e ? NULL : fs_services_finish(&b);
    fs_services_builder_destroy(b);
    return services;
}

/* --- Placements and plans --- */

void
resource_placing_begin(struct resource *r)
{
    pthread_mutex_lock(&r->placing);
}

void
resource_placing_end(struct resource *r)
{
    pthread_mutex_unlock(&r->placing);
}

const struct fs_platform *
resource_platform(struct resource *r)
{
    return r->platform;
}

/* The node of the platform where a node of the request is, by a placement and, for sources, the flow's port. */
static const char *
place_of(const xmlrpc_value *placement, const char *name, const char *io)
{
    return *io ? io : fs_get_string(fs_get(placement, "hosts"), name, fs_get_string(fs_get(placement, "ports"), name, ""));
}

/* NULL when the path of flow 'f' leads along links of the platform from where it begins to where it ends. */
static char *
check_path(struct resource *r, const xmlrpc_value *placement, const xmlrpc_value *flow, const xmlrpc_value *path)
{
    const char *from = place_of(placement, fs_get_string(flow, "from", ""), fs_get_string(flow, "io", ""));
    const char *to = place_of(placement, fs_get_string(flow, "to", ""), "");
    size_t n = fs_size(path);
    if (!n || strcmp(fs_text(fs_item(path, 0), ""), from) || strcmp(fs_text(fs_item(path, n - 1), ""), to)) {
        return fs_xasprintf("the placement step gave no path from %s to %s for %s -> %s", *from ? from : "(nowhere)", *to ? to : "(nowhere)",
                            fs_get_string(flow, "from", ""), fs_get_string(flow, "to", ""));
    }
    for (size_t i = 0; i + 1 < n; i++) {
        char *port = resource_port(r, fs_text(fs_item(path, i), ""), fs_text(fs_item(path, i + 1), ""));
        if (!port) {
            return fs_xasprintf("the placement step gave a path from %s to %s, which no link joins", fs_text(fs_item(path, i), ""),
                                fs_text(fs_item(path, i + 1), ""));
        }
        free(port);
    }
    return NULL;
}

/* Hosts give out whole MB. */
static double
whole_mb(double mb)
{
    double whole = (double) (long long) mb;
    return whole < mb ? whole + 1 : whole;
}

/* What the module host calls a module: "a7.fw", or of several instances "a7.fw:2"; what runs already has its name. */
static xmlrpc_value *
process_name(int id, const xmlrpc_value *node)
{
    const char *element = fs_get_string(node, "element", NULL), *process = fs_get_string(node, "process", NULL);
    return process ? fs_string(process)
           : element ? fs_stringf("a%d.%s:%d", id, element, fs_get_int(node, "instance", 0))
                     : fs_stringf("a%d.%s", id, fs_get_string(node, "name", ""));
}

static xmlrpc_value *
make_module(int id, const xmlrpc_value *request, const xmlrpc_value *node, const char *host)
{
    const char *name = fs_get_string(node, "name", "");
    xmlrpc_value *m = fs_struct();
    fs_set(m, "name", process_name(id, node));
    fs_set(m, "existing", fs_bool(fs_get(node, "process"))); /* it runs already: its ports are connected, nothing else */
    fs_set(m, "node", fs_string(name));
    fs_set(m, "type", fs_string(fs_get_string(node, "type", "")));
    fs_set(m, "args", fs_string(fs_get_string(node, "args", "")));
    fs_set(m, "basesys", fs_string(fs_get_string(fs_get(request, "headers"), "BASESYS", "linux.process")));
    fs_set(m, "owner", fs_int(id));
    fs_set(m, "host", fs_string(host));
    fs_set(m, "cpu", fs_double(fs_get_double(node, "cpu", RESOURCE_MODULE_CPU_LIMIT)));
    fs_set(m, "mem", fs_double(whole_mb(fs_get_double(node, "mem", RESOURCE_MODULE_MEM))));
    xmlrpc_value *outputs = fs_array();
    for (int i = 0; i < fs_get_int(node, "open_outputs", 0); i++) {
        fs_append(outputs, fs_set(fs_set(fs_struct(), "port", fs_int(i)), "spi", fs_int(0)));
    }
    return fs_set(fs_set(m, "inputs", fs_array()), "outputs", outputs);
}

xmlrpc_value *
resource_module_of(const xmlrpc_value *modules, const char *node)
{
    for (size_t i = 0; i < fs_size(modules); i++) {
        if (!strcmp(fs_get_string(fs_item(modules, i), "node", ""), node)) {
            return fs_item(modules, i);
        }
    }
    return NULL;
}

/* A port's end of a flow.  A flow that states a rate has it in bit/s at one end, where 'limits': the host there enforces it. */
static xmlrpc_value *
port_spi(const xmlrpc_value *flow, const char *port, int spi, bool limits)
{
    double rate = fs_get_double(flow, "rate", 0) * 1e6;
    xmlrpc_value *v = fs_set(fs_set(fs_struct(), "port", fs_int(fs_get_int(flow, port, 0))), "spi", fs_int(spi));
    return limits && rate > 0 ? fs_set(v, "rate", fs_double(rate)) : v;
}

static int
last_spi(struct resource *r)
{
    pthread_mutex_lock(&r->lock);
    int spi = r->last_spi;
    pthread_mutex_unlock(&r->lock);
    return spi;
}

/* The numbers behind it were given out on trial. */
static void
set_last_spi(struct resource *r, int spi)
{
    pthread_mutex_lock(&r->lock);
    r->last_spi = spi;
    pthread_mutex_unlock(&r->lock);
}

static bool
spi_in_use(struct resource *r, int spi)
{
    for (struct allocation *a = r->allocations; a; a = a->next) {
        struct fs_packed flow = { 0 }, flows = fs_packed_get(fs_packed_get(resource_doc(a), "plan"), "flows");
        for (struct fs_packed_items i = fs_packed_items(flows); fs_packed_next(&i, &flow);) {
            if (fs_packed_get_int(flow, "spi", 0) == spi) {
                return true;
            }
        }
    }
    return false;
}

/* The next service path identifier: 24 bits, used again only after all others (an old rule or frame then matches nothing new). */
static int
next_spi(struct resource *r)
{
    bool wrapped = false;
    pthread_mutex_lock(&r->lock);
    do {
        wrapped = wrapped || r->last_spi >= RESOURCE_SPI_LAST;
        r->last_spi = r->last_spi >= RESOURCE_SPI_LAST ? 1 : r->last_spi + 1;
    } while (wrapped && spi_in_use(r, r->last_spi));
    int spi = r->last_spi;
    pthread_mutex_unlock(&r->lock);
    return spi;
}

/* A module while processes are given out. */
struct lodger {
    const char *host;
    int instance; /* which of several; 0: it is one of a kind */
    bool shares;
};

static struct lodger *
find_lodgers(const xmlrpc_value *request, const xmlrpc_value *modules)
{
    struct lodger *lodgers = fs_xcalloc(fs_size(modules) + 1, sizeof *lodgers);
    for (size_t i = 0; i < fs_size(modules); i++) {
        const xmlrpc_value *m = fs_item(modules, i), *node = node_of(request, fs_get_string(m, "node", ""));
        lodgers[i].host = fs_get_string(m, "host", "");
        lodgers[i].instance = fs_get_int(node, "instance", 0);
        lodgers[i].shares = !fs_get_bool(m, "existing", false) && !fs_get_bool(node, "isolate", false);
    }
    return lodgers;
}

static bool
together(const struct lodger *a, const struct lodger *b)
{
    return a->shares && b->shares && a->instance == b->instance && !strcmp(a->host, b->host);
}

/* The process of each module: modules of one request on one host share one, FS_MEMBERS_MAX at most, but those that ask for a process of their own.  Instances
 * of a module are there to have a thread each: an instance shares with those of its number, which is its lane.  A module that is alone gives its process its
 * own name; no node's name begins with '@'. */
static void
share_processes(int id, const xmlrpc_value *request, const xmlrpc_value *modules)
{
    size_t n = fs_size(modules);
    struct lodger *lodgers = find_lodgers(request, modules);
    for (size_t i = 0; i < n; i++) {
        size_t before = 0, all = 0;
        for (size_t k = 0; k < n; k++) {
            bool here = together(&lodgers[i], &lodgers[k]);
            all += here;
            before += here && k < i;
        }
        xmlrpc_value *m = fs_item(modules, i);
        size_t part = before / FS_MEMBERS_MAX + 1;
        fs_set(m, "process", all < 2 ? fs_string(fs_get_string(m, "name", ""))
                             : lodgers[i].instance ? fs_stringf("a%d.@%zu:%d", id, part, lodgers[i].instance)
                             : fs_stringf("a%d.@%zu", id, part));
    }
    free(lodgers);
}

static char *
fill_plan(struct resource *r, int id, const xmlrpc_value *request, const xmlrpc_value *placement, xmlrpc_value *modules,
          xmlrpc_value *planned)
{
    const xmlrpc_value *nodes = fs_get(request, "nodes");
    for (size_t i = 0; i < fs_size(nodes); i++) {
        const xmlrpc_value *node = fs_item(nodes, i);
        const char *host = place_of(placement, fs_get_string(node, "name", ""), "");
        if (is_kind(node, "module")) {
            if (resource_node_kind(r, host) != 'h') {
                return fs_xasprintf("the placement step put %s on '%s', which is no host", fs_get_string(node, "name", ""), host);
            }
            fs_append(modules, make_module(id, request, node, host));
        }
    }
    share_processes(id, request, modules);
    xmlrpc_value *flows = resource_flows(r, request);
    char *why = NULL;
    for (size_t i = 0; i < fs_size(flows) && !why; i++) {
        const xmlrpc_value *flow = fs_item(flows, i), *path = fs_item(fs_get(placement, "paths"), i);
        why = check_path(r, placement, flow, path);
        int spi = why ? 0 : next_spi(r);
        xmlrpc_value *from = resource_module_of(modules, fs_get_string(flow, "from", "")), *to = resource_module_of(modules, fs_get_string(flow, "to", ""));
        if (from && !why) {
            fs_append(fs_get(from, "outputs"), port_spi(flow, "from_port", spi, true));
        }
        if (to && !why) {
            fs_append(fs_get(to, "inputs"), port_spi(flow, "to_port", spi, !from));
        }
        if (!why) {
            xmlrpc_value *f = fs_copy(flow);
            fs_set(f, "spi", fs_int(spi));
            fs_append(planned, fs_set(f, "path", fs_copy(path)));
        }
    }
    fs_free(flows);
    return why;
}

static char *
account_plan(struct resource *r, int id, const xmlrpc_value *plan)
{
    char *why = NULL;
    pthread_mutex_lock(&r->lock);
    struct allocation *a = resource_find(r, id);
    if (a) {
        free(a->planned);
        a->planned = fs_pack(plan, &a->planned_size);
        why = resource_account(r, a);
    }
    pthread_mutex_unlock(&r->lock);
    return why;
}

xmlrpc_value *
resource_make_plan(struct resource *r, int id, const xmlrpc_value *request, const xmlrpc_value *placement, bool account, char **error)
{
    xmlrpc_value *plan = fs_struct(), *modules = fs_array(), *flows = fs_array();
    int spi_before = last_spi(r);
    *error = fill_plan(r, id, request, placement, modules, flows);
    fs_set(plan, "modules", modules);
    fs_set(plan, "flows", flows);
    fs_set(plan, "ports", fs_get(placement, "ports") ? fs_copy(fs_get(placement, "ports")) : fs_struct());
    if (!*error && account) {
        *error = account_plan(r, id, plan);
    }
    if (!account) {
        set_last_spi(r, spi_before);
    }
    if (*error) {
        fs_free(plan);
        return NULL;
    }
    return plan;
}

/* --- Links --- */

int
resource_arc_between(const struct fs_platform *p, int from, int to)
{
    for (int i = p->out_start[from]; i < p->out_start[from + 1]; i++) {
        if (p->arcs[p->out[i]].to == to) {
            return p->out[i];
        }
    }
    return -1;
}

int
resource_link_of(const struct fs_services *s, const xmlrpc_value *flow)
{
    char *from = source_name(flow);
    int found = -1;
    for (int i = 0; i < s->n_links && found < 0; i++) {
        if (!strcmp(s->nodes[s->links[i].from].id, from) && !strcmp(s->nodes[s->links[i].to].id, fs_get_string(flow, "to", ""))) {
            found = i;
        }
    }
    free(from);
    return found;
}

/* --- Names of ports --- */

char *
resource_port(struct resource *r, const char *from, const char *to)
{
    char *name = NULL;
    pthread_mutex_lock(&r->lock);
    int a = fs_platform_find(r->platform, from), b = fs_platform_find(r->platform, to);
    int arc = a >= 0 && b >= 0 ? resource_arc_between(r->platform, a, b) : -1;
    if (arc >= 0) {
        name = fs_xstrdup(r->platform->arcs[arc].port);
    }
    pthread_mutex_unlock(&r->lock);
    return name;
}

char
resource_node_kind(struct resource *r, const char *node)
{
    pthread_mutex_lock(&r->lock);
    int n = fs_platform_find(r->platform, node);
    char kind = n < 0 ? 0 : r->platform->nodes[n].kind == FS_NODE_IO ? 'i' : r->platform->nodes[n].kind == FS_NODE_SWITCH ? 's' : 'h';
    pthread_mutex_unlock(&r->lock);
    return kind;
}

static bool
was_removed(const struct resource *r, const struct fs_node *node)
{
    const struct host *h = node->kind == FS_NODE_SERVER ? r->hosts : NULL;
    while (h && strcmp(h->name, node->id)) {
        h = h->next;
    }
    return h && h->removed;
}

/* The ports of a switch towards others, and where traffic that nobody claims passes.  Nothing is taken from a host that was removed. */
static xmlrpc_value *
describe_switch(const struct resource *r, int n)
{
    const struct fs_platform *p = r->platform;
    xmlrpc_value *inner = fs_array(), *outer = fs_array(), *forward = fs_array();
    for (int i = p->out_start[n]; i < p->out_start[n + 1]; i++) {
        const struct fs_arc *arc = &p->arcs[p->out[i]];
        const struct fs_node *to = &p->nodes[arc->to];
        if (was_removed(r, to)) {
            continue;
        }
        fs_append(to->kind == FS_NODE_IO ? outer : inner, fs_string(arc->port));
        int back = to->kind == FS_NODE_IO && to->forward >= 0 ? resource_arc_between(p, n, to->forward) : -1;
        if (back >= 0) {
            fs_append(forward, fs_set(fs_set(fs_struct(), "in", fs_string(arc->port)), "out", fs_string(p->arcs[back].port)));
        }
    }
    xmlrpc_value *v = fs_struct();
    fs_set(v, "name", fs_string(p->nodes[n].id));
    fs_set(v, "target", fs_string(p->nodes[n].target));
    fs_set(v, "host", fs_string(""));
    fs_set(v, "trunk", fs_string(""));
    fs_set(v, "carry", fs_array());
    fs_set(v, "inner", inner);
    fs_set(v, "outer", outer);
    return fs_set(v, "forward", forward);
}

xmlrpc_value *
resource_switches(struct resource *r)
{
    xmlrpc_value *all = fs_array();
    pthread_mutex_lock(&r->lock);
    for (int n = 0; n < r->platform->n_nodes; n++) {
        if (r->platform->nodes[n].kind == FS_NODE_SWITCH) {
            fs_append(all, describe_switch(r, n));
        }
    }
    resource_add_carries(r, all);
    for (struct host *h = r->hosts; h; h = h->next) {
        if (!h->removed && fs_platform_find(r->platform, h->name) >= 0) {
            xmlrpc_value *v = describe_switch(r, fs_platform_find(r->platform, h->name));
            fs_set(v, "name", fs_string(fs_get_string(h->doc, "bridge", h->name)));
            fs_set(v, "target", fs_string(fs_get_string(h->doc, "switch", "")));
            fs_set(v, "host", fs_string(h->name));
            fs_append(all, fs_set(v, "trunk", fs_string(fs_get_string(h->doc, "trunk", ""))));
        }
    }
    pthread_mutex_unlock(&r->lock);
    return all;
}

static char *
joined(const xmlrpc_value *rules)
{
    struct fs_text t = { 0 };
    for (size_t i = 0; i < fs_size(rules); i++) {
        fs_text_addf(&t, "%s\n", fs_text(fs_item(rules, i), ""));
    }
    return t.text ? t.text : fs_xstrdup("");
}

bool
resource_base_rules_differ(struct resource *r, const char *name, const xmlrpc_value *rules)
{
    char *now = joined(rules);
    pthread_mutex_lock(&r->lock);
    bool differ = strcmp(fs_get_string(r->base_rules, name, now), now) != 0;
    pthread_mutex_unlock(&r->lock);
    free(now);
    return differ;
}

void
resource_note_base_rules(struct resource *r, const char *name, const xmlrpc_value *rules)
{
    char *now = joined(rules);
    pthread_mutex_lock(&r->lock);
    fs_set(r->base_rules, name, fs_string(now));
    pthread_mutex_unlock(&r->lock);
    free(now);
}

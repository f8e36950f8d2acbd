/* place_allocation: the placement step: which host runs each module, which port each ToNet gets, which path each flow takes.
 *
 * The allocator's live state is the daemon's account: the request is added to it, where the hosts and limits of now let it, looked at, and taken out again; nothing else of what is
 * installed is looked at, and nothing of it moves.  Runs between resource_placing_begin() and _end() of its caller, who enters what it takes up.  A refusal says which limit
 * binds where and with which others the request would fit. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <flowstream/alloc.h>
#include <flowstream/method.h>
#include <flowstream/online.h>

#include "core/util.h"
#include "daemons/resource/resource.h"

/* What the request and the hosts allow. */
struct choice {
    const char **closed;     /* by server: why it takes no modules, or NULL */
    const struct fs_platform *platform;
    const struct fs_services *services;
    const xmlrpc_value *request;
    const xmlrpc_value **asked; /* the request's node by the service's, as far as it was looked for; see node_at() */
    bool apart;              /* instances of a module are kept on different hosts, as far as there are enough */
    int first;               /* where taking turns begins */
    const char *ranked;      /* module whose hosts are ranked */
    int *rank, n_ranked;     /* the place of each server among those that it may run on, or -1 */
};

static bool
names(const xmlrpc_value *list, const char *host)
{
    for (size_t i = 0; i < fs_size(list); i++) {
        if (!strcmp(fs_text(fs_item(list, i), ""), host)) {
            return true;
        }
    }
    return false;
}

static const xmlrpc_value *
node_named(const xmlrpc_value *request, const char *name)
{
    const xmlrpc_value *nodes = fs_get(request, "nodes");
    for (size_t i = 0; i < fs_size(nodes); i++) {
        if (!strcmp(fs_get_string(fs_item(nodes, i), "name", ""), name)) {
            return fs_item(nodes, i);
        }
    }
    return NULL;
}

/* What the request says of node 'node' of the service.  It is asked for every server. */
static const xmlrpc_value *
node_at(const struct choice *c, int node)
{
    if (!c->asked[node]) {
        c->asked[node] = node_named(c->request, c->services->nodes[node].id);
    }
    return c->asked[node];
}

/* Does the request allow its node to run on 'host'? */
static bool
wants(const xmlrpc_value *node, const char *host)
{
    return (!fs_size(fs_get(node, "hosts")) || names(fs_get(node, "hosts"), host)) && !names(fs_get(node, "avoid"), host);
}

static bool
may_run(const struct choice *c, int node, int server)
{
    return !c->closed[server] && wants(node_at(c, node), c->platform->nodes[c->platform->servers[server].node].id);
}

/* Number the servers that a node, and with it all instances of its module, may run on. */
static void
rank_servers(struct choice *c, int node, const char *element)
{
    c->ranked = element;
    c->n_ranked = 0;
    for (int s = 0; s < c->platform->n_servers; s++) {
        c->rank[s] = may_run(c, node, s) ? c->n_ranked++ : -1;
    }
}

/* The servers of a module with N instances are dealt to them in turn, so no two of the instances meet unless there are more of them than servers. */
static bool
is_dealt(struct choice *c, int node, int server)
{
    const xmlrpc_value *n = node_at(c, node);
    const char *element = fs_get_string(n, "element", NULL);
    if (!element) {
        return may_run(c, node, server);
    }
    if (!c->ranked || strcmp(c->ranked, element)) {
        rank_servers(c, node, element);
    }
    int instances = fs_get_int(n, "instances", 1), hands = instances < c->n_ranked ? instances : c->n_ranked;
    return c->rank[server] >= 0 && (c->rank[server] + c->first) % c->n_ranked % hands == (fs_get_int(n, "instance", 1) - 1) % hands;
}

static bool
allowed(void *aux, int node, int server)
{
    struct choice *c = aux;
    return c->apart ? is_dealt(c, node, server) : may_run(c, node, server);
}

/* For the refusal: why not, in words. */
static const char *
forbids(void *aux, int node, int server)
{
    const struct choice *c = aux;
    const char *host = c->platform->nodes[c->platform->servers[server].node].id;
    const xmlrpc_value *n = node_at(c, node);
    return c->closed[server] ? c->closed[server] : names(fs_get(n, "avoid"), host) ? "avoided by the request" : !wants(n, host) ? "not among the hosts of the request" : NULL;
}

/* NULL, or why no host at all takes modules. */
static char *
all_closed(struct resource *r, const struct choice *c, const char *basesys)
{
    for (int s = 0; s < c->platform->n_servers; s++) {
        if (!c->closed[s]) {
            return NULL;
        }
    }
    xmlrpc_value *hosts = resource_hosts(r);
    struct fs_text offered = { 0 };
    size_t n_draining = 0;
    for (size_t i = 0; i < fs_size(hosts); i++) {
        const xmlrpc_value *h = fs_item(hosts, i), *list = fs_get(h, "basesys");
        bool draining = fs_get_bool(h, "draining", false);
        n_draining += draining;
        for (size_t k = 0; k < fs_size(list) && !draining && !strcmp(fs_get_string(h, "state", ""), "up"); k++) {
            fs_text_addf(&offered, k ? ", %s%s" : "%s offers %s", k ? "" : fs_get_string(h, "name", ""), fs_text(fs_item(list, k), ""));
        }
    }
    char *why = offered.length ? fs_xasprintf("no host offers the base system %s: %s", basesys, offered.text)
                               : fs_xasprintf("no module host is up that may take modules (%zu are known, %zu of them are being drained; list_hosts tells their state): start "
                                              "flowstream-modulehost on a server of the platform", fs_size(hosts), n_draining);
    free(offered.text);
    fs_free(hosts);
    return why;
}

static xmlrpc_value *
path_value(const struct fs_platform *p, const struct fs_services *s, const struct fs_solution *solution, int link)
{
    int n = 0;
    const int *arcs = fs_solution_route(solution, link, &n);
    xmlrpc_value *path = fs_array();
    fs_append(path, fs_string(p->nodes[fs_solution_place(solution, s->links[link].from)].id));
    for (int i = 0; i < n; i++) {
        fs_append(path, fs_string(p->nodes[p->arcs[arcs[i]].to].id));
    }
    return path;
}

static xmlrpc_value *
placement_value(const struct fs_platform *p, const struct fs_services *s, const struct fs_solution *solution, const xmlrpc_value *flows)
{
    xmlrpc_value *hosts = fs_struct(), *ports = fs_struct(), *paths = fs_array();
    for (int i = 0; i < s->n_nodes; i++) {
        const char *where = p->nodes[fs_solution_place(solution, i)].id;
        if (s->nodes[i].kind != FS_SERVICE_SOURCE) {
            fs_set(s->nodes[i].kind == FS_SERVICE_PM ? hosts : ports, s->nodes[i].id, fs_string(where));
        }
    }
    for (size_t i = 0; i < fs_size(flows); i++) {
        int link = resource_link_of(s, fs_item(flows, i));
        fs_append(paths, link < 0 ? fs_array() : path_value(p, s, solution, link));
    }
    return fs_set(fs_set(fs_set(fs_struct(), "hosts", hosts), "ports", ports), "paths", paths);
}

/* Is 'name' a ToNet of the request? */
static bool
is_exit(const xmlrpc_value *request, const char *name)
{
    const xmlrpc_value *nodes = fs_get(request, "nodes");
    for (size_t i = 0; i < fs_size(nodes); i++) {
        if (!strcmp(fs_get_string(fs_item(nodes, i), "name", ""), name)) {
            return !strcmp(fs_get_string(fs_item(nodes, i), "kind", ""), "to");
        }
    }
    return false;
}

/* Routes pass through switches only, so there is none from port to port on the bridge of a host: the reason in words, or NULL. */
static char *
explain_direct(const struct fs_platform *p, const xmlrpc_value *request, const xmlrpc_value *flows)
{
    for (size_t i = 0; i < fs_size(flows); i++) {
        const char *to = fs_get_string(fs_item(flows, i), "to", ""), *io = fs_get_string(fs_item(flows, i), "io", "");
        int n = *io ? fs_platform_find(p, io) : -1;
        const struct fs_node *next = n >= 0 && p->out_start[n] < p->out_start[n + 1] ? &p->nodes[p->arcs[p->out[p->out_start[n]]].to] : NULL;
        if (next && next->kind == FS_NODE_SERVER && is_exit(request, to)) {
            return fs_xasprintf("%s -> %s leads from network port %s, which is on the bridge of host %s, to another port without a module on the way: put a module (such as a "
                                "Counter) between them", fs_get_string(fs_item(flows, i), "from", ""), to, io, next->id);
        }
    }
    return NULL;
}

static bool
has_instances(const xmlrpc_value *request)
{
    const xmlrpc_value *nodes = fs_get(request, "nodes");
    for (size_t i = 0; i < fs_size(nodes); i++) {
        if (fs_get(fs_item(nodes, i), "element")) {
            return true;
        }
    }
    return false;
}

/* Instances go to different hosts if that can be done, else anywhere.  NULL where nothing fits.  The account is left as it was: the caller enters what it takes up. */
static struct fs_solution *
place(struct fs_online *online, uint64_t key, struct choice *c, const struct fs_online_options *options)
{
    int e = ENOSPC;
    c->apart = has_instances(c->request);
    if (c->apart) {
        e = fs_online_add(online, key, c->services, 0, options, NULL);
        c->apart = false;
    }
    e = e ? fs_online_add(online, key, c->services, 0, options, NULL) : 0;
    if (e) {
        return NULL;
    }
    struct fs_solution *solution = fs_solution_create(c->platform, c->services);
    fs_online_copy(online, key, solution);
    fs_online_remove(online, key);
    return solution;
}

/* --- Refusals --- */

/* What would have to be larger, as a struct: limit, where (a host, "FROM TO" for a link, "FROM TO" of a bounded way), is, and needed. */
static xmlrpc_value *
relaxation_value(const struct choice *c, const struct fs_online_relaxation *x)
{
    static const char *const limits[] = { "cpu", "mem", "inside", "bandwidth", "delay" };
    const struct fs_platform *p = c->platform;
    const struct fs_services *s = c->services;
    const struct fs_server *server = x->limit <= FS_ONLINE_INSIDE ? &p->servers[x->index] : NULL;
    fs_amount is = x->limit == FS_ONLINE_CPU         ? server->cpu
                   : x->limit == FS_ONLINE_MEM       ? server->mem
                   : x->limit == FS_ONLINE_INSIDE    ? server->bandwidth
                   : x->limit == FS_ONLINE_BANDWIDTH ? p->arcs[x->index].bandwidth
                                                     : s->paths[x->index].bound;
    xmlrpc_value *v = fs_set(fs_struct(), "limit", fs_string(limits[x->limit]));
    if (server) {
        fs_set(v, "host", fs_string(p->nodes[server->node].id));
    } else if (x->limit == FS_ONLINE_BANDWIDTH) {
        fs_set(v, "from", fs_string(p->nodes[p->arcs[x->index].from].id));
        fs_set(v, "to", fs_string(p->nodes[p->arcs[x->index].to].id));
    } else {
        const struct fs_service_path *path = &s->paths[x->index];
        fs_set(v, "from", fs_string(s->nodes[s->links[s->path_links[path->first_link]].from].id));
        fs_set(v, "to", fs_string(s->nodes[s->links[s->path_links[path->first_link + path->n_links - 1]].to].id));
    }
    fs_set(v, "is", fs_double((double) is / (double) FS_UNIT));
    return fs_set(v, "needed", fs_double((double) (is + x->more) / (double) FS_UNIT));
}

/* Why not, and *would_fit_with. */
static char *
explain(struct resource *r, struct fs_online *online, const struct choice *c, const struct fs_online_options *options, xmlrpc_value **would_fit_with)
{
    struct fs_online_relaxation *changes = NULL;
    size_t n = 0;
    char *why = fs_online_why_not(online, c->services, 0, options, &changes, &n);
    why = why ? why : fs_xstrdup("the search ended before it found a place: ask again");
    char *down = resource_links_down(r);
    if (*down) {
        char *more = fs_xasprintf("%s\nlinks that are down: %s", why, down);
        free(why);
        why = more;
    }
    free(down);
    *would_fit_with = fs_array();
    for (size_t i = 0; i < n; i++) {
        fs_append(*would_fit_with, relaxation_value(c, &changes[i]));
    }
    free(changes);
    return why;
}

/* With those that were not considered at all, whom the reason leaves out for that.  Where limits are the reason the value says it, too, as {reason, would_fit_with}. */
static void
refuse(struct fs_call *call, const char *why, xmlrpc_value *would_fit_with)
{
    struct fs_text t = { 0 };
    xmlrpc_value *absent = resource_absent(fs_call_state(call));
    fs_text_addf(&t, "%s", why);
    for (size_t i = 0; i < fs_size(absent); i++) {
        fs_text_addf(&t, "\n%s", fs_text(fs_item(absent, i), ""));
    }
    fs_free(absent);
    struct fs_reply reply = { .code = 1, .message = fs_xasprintf("the request does not fit: %s", t.text) };
    if (would_fit_with) {
        reply.value = fs_set(fs_set(fs_struct(), "reason", fs_string(t.text)), "would_fit_with", would_fit_with);
    }
    fs_call_reply(call, &reply);
    free(t.text);
}

/* --- The task --- */

/* The placement, or NULL with *why and, where limits are the reason, *would_fit_with. */
static xmlrpc_value *
find_place(struct resource *r, struct fs_online *online, int id, struct choice *c, const xmlrpc_value *flows, char **why, xmlrpc_value **would_fit_with)
{
    struct fs_online_options options = { .allowed = allowed, .forbids = forbids, .aux = c, .in_turn = !resource_fills(r), .start = c->first, .only_up = true };
    struct fs_solution *solution = place(online, RESOURCE_TRIAL + (uint32_t) id, c, &options);
    *why = solution ? NULL : explain_direct(c->platform, c->request, flows);
    if (!solution && !*why) {
        *why = explain(r, online, c, &options, would_fit_with);
    }
    xmlrpc_value *placement = solution ? placement_value(c->platform, c->services, solution, flows) : NULL;
    fs_solution_destroy(solution);
    return placement;
}

static void
run(struct fs_call *call)
{
    struct resource *r = fs_call_state(call);
    const xmlrpc_value *request = fs_get(fs_call_param(call, 0), "request");
    const char *basesys = fs_get_string(fs_get(request, "headers"), "BASESYS", "linux.process");
    int id = fs_get_int(fs_call_param(call, 0), "id", 0);
    resource_placing_begin(r);
    struct fs_online *online = resource_online(r);
    struct choice c = { .platform = resource_platform(r), .request = request, .closed = resource_closed_servers(r, basesys) };
    c.first = c.platform->n_servers ? id % c.platform->n_servers : 0; /* requests spread over the hosts */
    char *why = all_closed(r, &c, basesys);
    xmlrpc_value *flows = resource_flows(r, request), *placement = NULL, *would_fit_with = NULL;
    struct fs_services *services = why ? NULL : resource_services(r, request, flows, &why);
    if (services) {
        c.services = services;
        c.rank = fs_xcalloc((size_t) c.platform->n_servers, sizeof *c.rank);
        c.asked = fs_xcalloc((size_t) services->n_nodes, sizeof *c.asked);
        placement = find_place(r, online, id, &c, flows, &why, &would_fit_with);
    }
    if (placement) {
        fs_call_return(call, placement);
    } else {
        refuse(call, why, would_fit_with);
    }
    fs_services_destroy(services);
    resource_placing_end(r);
    fs_free(flows);
    free(why);
    free(c.rank);
    free(c.asked);
    free(c.closed);
}

FS_TASK = {
    FS_IS_TASK,
    .name = "place_allocation",
    .help = "Chooses a host for each module, a port for each ToNet and a path for each flow of a request, or says which limit binds. Changes nothing.",
    .params = { { "parameter", "struct", "id; request (as compile_request answers)" } },
    .returns = "struct",
    .idempotent = true,
    .run = run,
};

/* place_allocation: the placement step: which host runs each module, which port each ToNet gets, which path each flow takes.
 *
 * The first greedy round robin of section 3.2.3 of D3.2, over the hosts that are up, on top of what is installed.  Runs between resource_placing_begin() and
 * _end() of its caller and leaves the account as it was: the caller enters what it takes up. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <flowstream/alloc.h>
#include <flowstream/method.h>

#include "core/util.h"
#include "daemons/resource/resource.h"

/* Which servers are up: indexed by server. */
struct choice {
    bool *up;
    size_t n_up;
    const struct fs_platform *platform;
    const struct fs_services *services;
    const xmlrpc_value *request;
    const xmlrpc_value **asked; /* the request's node by the service's, as far as it was looked for; see node_at() */
    bool apart;              /* instances of a module are kept on different hosts, as far as there are enough */
    int first;               /* where the round robin begins */
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
    return c->up[server] && wants(node_at(c, node), c->platform->nodes[c->platform->servers[server].node].id);
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

static bool
offers(const xmlrpc_value *host, const char *basesys)
{
    const xmlrpc_value *list = fs_get(host, "basesys");
    for (size_t i = 0; i < fs_size(list); i++) {
        if (!strcmp(fs_text(fs_item(list, i), ""), basesys)) {
            return true;
        }
    }
    return false;
}

static void
name_offers(struct fs_text *t, const xmlrpc_value *host)
{
    const xmlrpc_value *list = fs_get(host, "basesys");
    fs_text_addf(t, "%s%s offers ", t->length ? "; " : "", fs_get_string(host, "name", ""));
    for (size_t i = 0; i < fs_size(list); i++) {
        fs_text_addf(t, "%s%s", i ? ", " : "", fs_text(fs_item(list, i), ""));
    }
}

/* The hosts that are up and have the base system; NULL or why there is none. */
static char *
choose(struct resource *r, const char *basesys, struct choice *c)
{
    const struct fs_platform *p = resource_platform(r);
    xmlrpc_value *hosts = resource_hosts(r);
    struct fs_text offered = { 0 };
    size_t n_alive = 0, n_draining = 0;
    c->up = fs_xcalloc((size_t) p->n_servers, sizeof *c->up);
    for (size_t i = 0; i < fs_size(hosts); i++) {
        const xmlrpc_value *h = fs_item(hosts, i);
        if (fs_get_bool(h, "draining", false)) {
            n_draining++;
        } else if (!strcmp(fs_get_string(h, "state", ""), "up")) {
            n_alive++;
            name_offers(&offered, h);
            if (offers(h, basesys)) {
                c->up[p->nodes[fs_platform_find(p, fs_get_string(h, "name", ""))].server] = true;
                c->n_up++;
            }
        }
    }
    char *why = NULL;
    if (!n_alive) {
        why = fs_xasprintf("no module host is up that may take modules (%zu are known, %zu of them are being drained; list_hosts tells their state): start "
                            "flowstream-modulehost on a server of the platform", fs_size(hosts), n_draining);
    } else if (!c->n_up) {
        why = fs_xasprintf("no host offers the base system %s: %s", basesys, offered.text);
    }
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

/* A place for all, or NULL with the limit that binds.  The account is left as it was. */
static struct fs_solution *
try(struct fs_load *load, const struct fs_services *s, struct choice *c, char **why)
{
    int at = c->first;
    struct fs_place_options options = { .pointer = &at, .allowed = allowed, .aux = c };
    struct fs_solution *solution = NULL;
    int e = fs_place_greedy(load, s, &options, &solution, why);
    if (solution) {
        fs_load_remove(load, solution, 0);
    }
    if (solution && *why) { /* it breaks a limit */
        fs_solution_destroy(solution);
        solution = NULL;
    } else if (!solution && !*why) {
        *why = fs_xstrdup(strerror(e));
    }
    return solution;
}

/* Instances go to different hosts if that can be done, else anywhere. */
static struct fs_solution *
place(struct fs_load *load, const struct fs_services *s, struct choice *c, char **why)
{
    c->rank = fs_xcalloc((size_t) c->platform->n_servers, sizeof *c->rank);
    c->asked = fs_xcalloc((size_t) s->n_nodes, sizeof *c->asked);
    c->apart = true;
    struct fs_solution *solution = try(load, s, c, why);
    if (!solution) {
        free(*why);
        *why = NULL;
        c->apart = false;
        solution = try(load, s, c, why);
    }
    free(c->rank);
    free(c->asked);
    return solution;
}

/* "; host h2 is silent since 12 s: not considered", owned; "" when all are there. */
static char *
name_absent(struct resource *r)
{
    xmlrpc_value *list = resource_absent(r);
    struct fs_text t = { 0 };
    for (size_t i = 0; i < fs_size(list); i++) {
        fs_text_addf(&t, "; %s", fs_text(fs_item(list, i), ""));
    }
    fs_free(list);
    return t.text ? t.text : fs_xstrdup("");
}

static void
run(struct fs_call *call)
{
    struct resource *r = fs_call_state(call);
    const xmlrpc_value *request = fs_get(fs_call_param(call, 0), "request");
    const struct fs_platform *p = resource_platform(r);
    struct choice c = { 0 };
    char *why = choose(r, fs_get_string(fs_get(request, "headers"), "BASESYS", "linux.process"), &c);
    xmlrpc_value *flows = resource_flows(r, request);
    struct fs_services *s = why ? NULL : resource_services(r, request, flows, &why);
    struct fs_solution *solution = NULL;
    if (s) {
        c.first = p->n_servers ? fs_get_int(fs_call_param(call, 0), "id", 0) % p->n_servers : 0; /* requests spread over the hosts */
        c.platform = p;
        c.services = s;
        c.request = request;
        solution = place(resource_load(r), s, &c, &why);
    }
    char *direct = why ? explain_direct(p, request, flows) : NULL;
    if (direct) {
        free(why);
        why = direct;
    }
    if (why) {
        char *absent = name_absent(r);
        fs_call_fail(call, "the request does not fit: %s%s", why, absent);
        free(absent);
    } else {
        fs_call_return(call, placement_value(p, s, solution, flows));
    }
    fs_solution_destroy(solution);
    fs_services_destroy(s);
    fs_free(flows);
    free(why);
    free(c.up);
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

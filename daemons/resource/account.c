/* The account of what is taken of the platform: a live state of the allocator (flowstream/online.h), in which each allocation with a plan is held under its id.
 *
 * What an allocation costs here depends on the allocation alone.  The account is the platform's: another platform gets another one, which closing and opening make; model.c and
 * state.c enter and strike out, place_allocation asks.  hosts.c says which servers may take modules, and what was measured there. */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/parallel.h"
#include "core/util.h"
#include "daemons/resource/state.h"

enum { BATCH = 4096, PARTS = 4 };

static int
set_place(struct resource *r, const xmlrpc_value *plan, struct fs_solution *solution, const struct fs_services *s, int n, char **error)
{
    const struct fs_service_node *node = &s->nodes[n];
    const char *where = node->kind == FS_SERVICE_SOURCE ? strrchr(node->id, '@') + 1
                        : node->kind == FS_SERVICE_SINK ? fs_get_string(fs_get(plan, "ports"), node->id, "")
                                                        : fs_get_string(resource_module_of(fs_get(plan, "modules"), node->id), "host", "");
    int at = fs_platform_find(r->platform, where);
    if (at < 0) {
        *error = fs_xasprintf("'%s' is not part of the platform any more", where);
        return ENOENT;
    }
    return fs_solution_set_place(solution, n, at, error);
}

static int
set_route(struct resource *r, struct fs_solution *solution, const struct fs_services *s, const xmlrpc_value *flow, char **error)
{
    const xmlrpc_value *path = fs_get(flow, "path");
    size_t n = fs_size(path);
    int link = resource_link_of(s, flow);
    if (n < 2 || link < 0) {
        return 0; /* inside one host */
    }
    int *arcs = fs_xcalloc(n, sizeof *arcs), e = 0;
    for (size_t i = 0; i + 1 < n && !e; i++) {
        int from = fs_platform_find(r->platform, fs_text(fs_item(path, i), ""));
        int to = fs_platform_find(r->platform, fs_text(fs_item(path, i + 1), ""));
        arcs[i] = from < 0 || to < 0 ? -1 : resource_arc_between(r->platform, from, to);
        if (arcs[i] < 0) {
            *error = fs_xasprintf("the link from %s to %s is not part of the platform any more", fs_text(fs_item(path, i), ""),
                                  fs_text(fs_item(path, i + 1), ""));
            e = ENOENT;
        }
    }
    e = e ? e : fs_solution_set_route(solution, link, arcs, (int) n - 1, error);
    free(arcs);
    return e;
}

/* Where the plan has its modules, ports and flows, as the allocator writes it; NULL with *error. */
static struct fs_solution *
solution_of(struct resource *r, const xmlrpc_value *plan, const struct fs_services *s, char **error)
{
    const xmlrpc_value *flows = fs_get(plan, "flows");
    struct fs_solution *solution = fs_solution_create(r->platform, s);
    int e = 0;
    for (int i = 0; i < s->n_nodes && !e; i++) {
        e = set_place(r, plan, solution, s, i, error);
    }
    for (size_t i = 0; i < fs_size(flows) && !e; i++) {
        e = set_route(r, solution, s, fs_item(flows, i), error);
    }
    if (e) {
        fs_solution_destroy(solution);
    }
    return e ? NULL : solution;
}

/* Strike it out of the account; a plan that is not on the disk yet is kept. */
static void
strike_out(struct resource *r, struct allocation *a)
{
    if (a->services) {
        fs_online_remove(r->online, (uint64_t) a->id);
        fs_services_destroy(a->services);
        a->services = NULL;
    }
}

/* Of each struct of an array the members that are asked for, as far as it has them: trees are dear, and at start they are made of all allocations. */
static xmlrpc_value *
choose(struct fs_packed array, const char *const *keys)
{
    struct fs_packed one = { 0 };
    xmlrpc_value *all = fs_array();
    for (struct fs_packed_items i = fs_packed_items(array); fs_packed_next(&i, &one);) {
        xmlrpc_value *v = fs_struct();
        for (const char *const *key = keys; *key; key++) {
            struct fs_packed member = fs_packed_get(one, *key);
            if (member.block) {
                fs_set(v, *key, fs_packed_value(member));
            }
        }
        fs_append(all, v);
    }
    return all;
}

/* What resource_services() reads of a request. */
static xmlrpc_value *
request_of(struct fs_packed doc)
{
    static const char *const members[] = { "name", "kind", "cpu", "mem", "ports", NULL };
    struct fs_packed request = fs_packed_get(doc, "request");
    xmlrpc_value *v = fs_set(fs_struct(), "nodes", choose(fs_packed_get(request, "nodes"), members));
    return fs_set(v, "delays", fs_packed_value(fs_packed_get(request, "delays")));
}

/* What solution_of() reads of a plan. */
static xmlrpc_value *
places_of(struct fs_packed plan)
{
    static const char *const of_modules[] = { "node", "host", NULL }, *const of_flows[] = { "from", "to", "io", "choice", "rate", "path", NULL };
    xmlrpc_value *v = fs_set(fs_struct(), "modules", choose(fs_packed_get(plan, "modules"), of_modules));
    fs_set(v, "ports", fs_packed_value(fs_packed_get(plan, "ports")));
    return fs_set(v, "flows", choose(fs_packed_get(plan, "flows"), of_flows));
}

/* What is known of an allocation before it is entered. */
struct entry {
    struct allocation *allocation;
    struct fs_solution *solution; /* NULL: it has no plan, or the error says why not */
    char *error;
};

/* Where the plan has its modules and flows; only the allocation itself is changed. */
static void
prepare(struct resource *r, struct entry *e)
{
    struct allocation *a = e->allocation;
    struct fs_packed packed = a->planned ? fs_packed(a->planned, a->planned_size) : fs_packed_get(resource_doc(a), "plan");
    if (!packed.block) {
        return;
    }
    xmlrpc_value *request = request_of(resource_doc(a)), *plan = places_of(packed);
    a->services = resource_services(r, request, fs_get(plan, "flows"), &e->error);
    e->solution = a->services ? solution_of(r, plan, a->services, &e->error) : NULL;
    if (!e->solution) {
        fs_services_destroy(a->services);
        a->services = NULL;
    }
    fs_free(request);
    fs_free(plan);
}

/* Enter what is prepared; NULL, or why it cannot be. */
static char *
enter(struct resource *r, struct entry *e)
{
    if (e->solution) {
        fs_online_restore(r->online, (uint64_t) e->allocation->id, e->solution, 0);
        fs_solution_destroy(e->solution);
    }
    return e->error;
}

char *
resource_account(struct resource *r, struct allocation *a)
{
    struct entry e = { .allocation = a };
    strike_out(r, a);
    prepare(r, &e);
    return enter(r, &e);
}

struct batch {
    struct resource *r;
    struct entry entries[BATCH];
    size_t n;
};

static void
prepare_part(void *aux, size_t part)
{
    struct batch *b = aux;
    for (size_t i = part; i < b->n; i += PARTS) {
        prepare(b->r, &b->entries[i]);
    }
}

void
resource_account_all(struct resource *r, void (*each)(void *aux, struct allocation *, char *why), void *aux)
{
    struct batch *b = fs_xcalloc(1, sizeof *b);
    b->r = r;
    for (struct allocation *a = r->allocations; a;) {
        for (b->n = 0; a && b->n < BATCH; a = a->next) {
            b->entries[b->n++] = (struct entry) { .allocation = a };
        }
        fs_parallel(PARTS, prepare_part, b); /* entering takes a fifth of the time that preparing takes */
        for (size_t i = 0; i < b->n; i++) {
            each(aux, b->entries[i].allocation, enter(r, &b->entries[i]));
        }
    }
    free(b);
}

void
resource_unaccount(struct resource *r, struct allocation *a)
{
    strike_out(r, a);
    free(a->planned);
    a->planned = NULL;
}

void
resource_open_account(struct resource *r, struct fs_platform *platform)
{
    r->platform = platform;
    r->online = fs_online_create(platform);
    r->servers = fs_xcalloc((size_t) platform->n_servers + 1, sizeof *r->servers);
    r->arcs_down = fs_xcalloc((size_t) platform->n_arcs + 1, sizeof *r->arcs_down);
    r->links_changed = true;
    for (int s = 0; s < platform->n_servers; s++) {
        r->servers[s].state = FS_ONLINE_UP; /* as the account has it: resource_look_at_servers() looks for itself */
    }
}

void
resource_close_account(struct resource *r)
{
    for (struct allocation *a = r->allocations; a; a = a->next) {
        strike_out(r, a);
    }
    fs_online_destroy(r->online);
    free(r->servers);
    free(r->arcs_down);
    r->online = NULL;
    r->servers = NULL;
    r->arcs_down = NULL;
}

struct fs_online *
resource_online(struct resource *r)
{
    pthread_mutex_lock(&r->lock);
    resource_look_at_servers(r);
    resource_look_at_links(r);
    pthread_mutex_unlock(&r->lock);
    return r->online;
}

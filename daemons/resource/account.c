/* The account of what is taken of the platform: a live state of the allocator (flowstream/online.h), in which each allocation with a plan is held under its id.
 *
 * What an allocation costs here depends on the allocation alone.  The account is the platform's: another platform gets another one, which closing and opening make; model.c and
 * state.c enter and strike out, place_allocation asks.  hosts.c says which servers may take modules, and what was measured there. */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/util.h"
#include "daemons/resource/state.h"

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

static char *
enter(struct resource *r, struct allocation *a, const xmlrpc_value *request, const xmlrpc_value *plan)
{
    char *error = NULL;
    a->services = resource_services(r, request, fs_get(plan, "flows"), &error);
    struct fs_solution *solution = a->services ? solution_of(r, plan, a->services, &error) : NULL;
    if (solution) {
        fs_online_restore(r->online, (uint64_t) a->id, solution, 0);
        fs_solution_destroy(solution);
    } else {
        fs_services_destroy(a->services);
        a->services = NULL;
    }
    return error;
}

char *
resource_account(struct resource *r, struct allocation *a)
{
    struct fs_packed packed = a->planned ? fs_packed(a->planned, a->planned_size) : fs_packed_get(resource_doc(a), "plan");
    if (!packed.block) {
        return NULL;
    }
    strike_out(r, a);
    xmlrpc_value *request = fs_packed_value(fs_packed_get(resource_doc(a), "request")), *plan = fs_packed_value(packed);
    char *error = enter(r, a, request, plan);
    fs_free(request);
    fs_free(plan);
    return error;
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

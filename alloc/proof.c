/* Simple proofs that no solution exists.
 *
 * Each is a sum that every solution would have to respect whatever it places where; a platform that passes them all may
 * still have no solution.  They look at the figures of the instance alone, not at what a search has found. */
#include <config.h>

#include "flowstream/alloc.h"

#include <stdlib.h>
#include <string.h>

#include "alloc/memory.h"
#include "alloc/routes.h"

/* More than any delay that is worth adding up: there is no way. */
#define NEVER (INT64_MAX / 4)

static double
plain(fs_amount amount)
{
    return (double) amount / (double) FS_UNIT;
}

static char *
prove_by_totals(const struct fs_platform *p, const struct fs_services *v)
{
    fs_amount cpu = 0, mem = 0, cpu_asked = 0, mem_asked = 0;

    for (int i = 0; i < p->n_servers; i++) {
        cpu += p->servers[i].cpu;
        mem += p->servers[i].mem;
    }
    for (int i = 0; i < v->n_services; i++) {
        cpu_asked += v->services[i].cpu;
        mem_asked += v->services[i].mem;
    }
    if (cpu_asked > cpu) {
        return alloc_format("all modules together ask for %.10g cores, all servers together have %.10g", plain(cpu_asked),
                            plain(cpu));
    }
    if (mem_asked > mem) {
        return alloc_format("all modules together ask for %.10g MB of memory, all servers together have %.10g",
                            plain(mem_asked), plain(mem));
    }
    return NULL;
}

static bool
fits_somewhere(const struct fs_platform *p, const struct fs_service_node *module)
{
    for (int i = 0; i < p->n_servers; i++) {
        if (module->cpu <= p->servers[i].cpu && module->mem <= p->servers[i].mem) {
            return true;
        }
    }
    return false;
}

static char *
prove_by_one_module(const struct fs_platform *p, const struct fs_services *v)
{
    for (int n = 0; n < v->n_nodes; n++) {
        const struct fs_service_node *m = &v->nodes[n];
        if (m->kind == FS_SERVICE_PM && !fits_somewhere(p, m)) {
            return alloc_format("module \"%s\" of service \"%s\" asks for %.10g cores and %.10g MB, which no server has",
                                m->id, v->services[m->service].id, plain(m->cpu), plain(m->mem));
        }
    }
    return NULL;
}

/* Whether a link with an end at I/O node IO must leave that node, whatever OTHER's place is. */
static bool
must_leave(const struct fs_services *v, const struct fs_service_node *other, int io)
{
    for (int i = 0; i < other->n_io; i++) {
        if (v->ios[other->first_io + i] == io) {
            return false;
        }
    }
    return true;
}

/* Adds up by I/O node what must leave it (OUT) or enter it: traffic of sources and sinks that have no choice. */
static void
add_crossing(const struct fs_services *v, bool out, fs_amount *crossing)
{
    for (int l = 0; l < v->n_links; l++) {
        const struct fs_service_link *link = &v->links[l];
        const struct fs_service_node *here = &v->nodes[out ? link->from : link->to];
        const struct fs_service_node *there = &v->nodes[out ? link->to : link->from];
        if (here->n_io == 1 && must_leave(v, there, v->ios[here->first_io])) {
            crossing[v->ios[here->first_io]] += link->bandwidth;
        }
    }
}

static char *
prove_by_ports(const struct fs_platform *p, const struct fs_services *v, bool out)
{
    fs_amount *crossing = alloc_zeroed((size_t) p->n_nodes, sizeof *crossing);
    char *proof = NULL;

    add_crossing(v, out, crossing);
    for (int n = 0; n < p->n_nodes && !proof; n++) {
        fs_amount capacity = 0;
        for (int i = p->out_start[n]; i < p->out_start[n + 1]; i++) {
            capacity += p->arcs[out ? p->out[i] : p->out[i] ^ 1].bandwidth;
        }
        if (crossing[n] > capacity) {
            proof = alloc_format("%.10g Mbit/s must %s \"%s\" wherever modules are, its links carry %.10g",
                                 plain(crossing[n]), out ? "come from" : "go to", p->nodes[n].id, plain(capacity));
        }
    }
    free(crossing);
    return proof;
}

/* ---- Delays. ---- */

/* The least delays that any placement has to reckon with. */
struct nearest {
    const struct fs_platform *platform;
    const struct fs_services *services;
    struct routes *routes;
    fs_amount *from_io, *to_io;  /* by node: from an I/O node to the nearest server, and back; -1: not known yet */
    fs_amount inside, apart;     /* between modules on one server, and on two */
    fs_amount cpu, mem;          /* the most that a server has */
};

static fs_amount
smaller(fs_amount a, fs_amount b)
{
    return a < b ? a : b;
}

/* Every way between two servers is a link between them, or has a link out of a server and one into a server. */
static fs_amount
least_apart(const struct fs_platform *p)
{
    fs_amount direct = NEVER, out = NEVER, in = NEVER;

    for (int a = 0; a < p->n_arcs; a++) {
        const struct fs_arc *arc = &p->arcs[a];
        bool from = p->nodes[arc->from].kind == FS_NODE_SERVER, to = p->nodes[arc->to].kind == FS_NODE_SERVER;
        fs_amount *least = from && to ? &direct : from ? &out : to ? &in : NULL;
        if (least) {
            *least = smaller(*least, arc->delay);
        }
    }
    return smaller(direct, smaller(out + in, NEVER));
}

static void
start_nearest(struct nearest *near, const struct fs_platform *p, const struct fs_services *v)
{
    size_t n = (size_t) p->n_nodes;

    *near = (struct nearest) {
        .platform = p, .services = v, .routes = routes_create(p), .inside = NEVER, .apart = least_apart(p),
        .from_io = alloc_zeroed(n, sizeof *near->from_io), .to_io = alloc_zeroed(n, sizeof *near->to_io),
    };
    memset(near->from_io, 0xff, n * sizeof *near->from_io);
    memset(near->to_io, 0xff, n * sizeof *near->to_io);
    for (int i = 0; i < p->n_servers; i++) {
        near->inside = smaller(near->inside, p->servers[i].delay);
        near->cpu = p->servers[i].cpu > near->cpu ? p->servers[i].cpu : near->cpu;
        near->mem = p->servers[i].mem > near->mem ? p->servers[i].mem : near->mem;
    }
}

static void
end_nearest(struct nearest *near)
{
    routes_destroy(near->routes);
    free(near->from_io);
    free(near->to_io);
}

/* The least delay between I/O node IO and a server, in the direction that OUT says. */
static fs_amount
least_at_io(struct nearest *near, int io, bool out)
{
    fs_amount *known = out ? &near->from_io[io] : &near->to_io[io];

    if (*known < 0) {
        *known = NEVER;
        for (int i = 0; i < near->platform->n_servers; i++) {
            int server = near->platform->servers[i].node;
            fs_amount delay = routes_delay(near->routes, out ? io : server, out ? server : io);
            *known = delay < 0 ? *known : smaller(*known, delay);
        }
    }
    return *known;
}

/* The least delay of service link LINK whatever is where.  (A source joined to a sink may be on its very port.) */
static fs_amount
least_of_link(struct nearest *near, int link)
{
    const struct fs_services *v = near->services;
    const struct fs_service_node *from = &v->nodes[v->links[link].from], *to = &v->nodes[v->links[link].to];
    fs_amount least = NEVER;

    if (from->kind == FS_SERVICE_PM && to->kind == FS_SERVICE_PM) {
        return smaller(near->inside, near->apart);
    }
    if (from->kind != FS_SERVICE_PM && to->kind != FS_SERVICE_PM) {
        return 0;
    }
    const struct fs_service_node *port = from->kind == FS_SERVICE_PM ? to : from;
    for (int i = 0; i < port->n_io; i++) {
        least = smaller(least, least_at_io(near, v->ios[port->first_io + i], port == from));
    }
    return least;
}

static fs_amount
least_of_path(struct nearest *near, int path)
{
    const struct fs_service_path *p = &near->services->paths[path];
    fs_amount least = 0;

    for (int i = 0; i < p->n_links; i++) {
        least = smaller(NEVER, least + least_of_link(near, near->services->path_links[p->first_link + i]));
    }
    return least;
}

/* Marks the modules on PATH (numbered from FIRST_NODE) in MARKS; returns whether one of them was marked before. */
static bool
mark_modules(const struct fs_services *v, int path, int first_node, bool *marks)
{
    const struct fs_service_path *p = &v->paths[path];
    bool met = false;

    for (int i = 0; i < p->n_links; i++) {
        int to = v->links[v->path_links[p->first_link + i]].to;
        if (v->nodes[to].kind == FS_SERVICE_PM) {
            met |= marks[to - first_node];
            marks[to - first_node] = true;
        }
    }
    return met;
}

/* Whether the modules of SERVICE's bounded paths are too large for one server, though the paths hang together.  If so,
 * one of the paths must lead from a server to another.  Says yes only where each path meets those before it. */
static bool
must_part(const struct nearest *near, const struct fs_service *service)
{
    const struct fs_services *v = near->services;
    bool *marks = alloc_zeroed((size_t) service->n_nodes, sizeof *marks), together = true;
    fs_amount cpu = 0, mem = 0;

    for (int i = 0; i < service->n_paths; i++) {
        together &= mark_modules(v, service->first_path + i, service->first_node, marks) || i == 0;
    }
    for (int n = 0; n < service->n_nodes; n++) {
        cpu += marks[n] ? v->nodes[service->first_node + n].cpu : 0;
        mem += marks[n] ? v->nodes[service->first_node + n].mem : 0;
    }
    free(marks);
    return together && (cpu > near->cpu || mem > near->mem);
}

static char *
prove_by_path(struct nearest *near, const struct fs_service *service)
{
    fs_amount parting = near->apart > near->inside ? near->apart - near->inside : 0, least_over = NEVER;

    for (int i = service->first_path; i < service->first_path + service->n_paths; i++) {
        fs_amount least = least_of_path(near, i), bound = near->services->paths[i].bound;
        if (least == NEVER) {
            return alloc_format("no server can be reached on a path of service \"%s\"", service->id);
        }
        if (least > bound) {
            return alloc_format("a path of service \"%s\" has a delay of at least %.10g wherever modules are, its bound is "
                                "%.10g", service->id, plain(least), plain(bound));
        }
        least_over = smaller(least_over, least + parting - bound);
    }
    if (service->n_paths && least_over > 0 && must_part(near, service)) {
        return alloc_format("service \"%s\" is too large for one server, and if it takes more, one of its paths exceeds its "
                            "bound by at least %.10g", service->id, plain(least_over));
    }
    return NULL;
}

static char *
prove_by_delay(const struct fs_platform *p, const struct fs_services *v)
{
    struct nearest near;
    char *proof = NULL;

    if (!p->n_servers || !v->n_paths) {
        return NULL;
    }
    start_nearest(&near, p, v);
    for (int i = 0; i < v->n_services && !proof; i++) {
        proof = prove_by_path(&near, &v->services[i]);
    }
    end_nearest(&near);
    return proof;
}

char *
fs_prove_infeasible(const struct fs_platform *p, const struct fs_services *v)
{
    char *proof = prove_by_totals(p, v);

    proof = proof ? proof : prove_by_one_module(p, v);
    proof = proof ? proof : prove_by_ports(p, v, true);
    proof = proof ? proof : prove_by_ports(p, v, false);
    return proof ? proof : prove_by_delay(p, v);
}

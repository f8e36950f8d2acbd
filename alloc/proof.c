/* Simple proofs that no solution exists.
 *
 * Each is a sum that every solution would have to respect whatever it places where; a platform that passes them all may
 * still have no solution.  They look at the figures of the instance alone, not at what a search has found. */
#include <config.h>

#include "flowstream/alloc.h"

#include <stdlib.h>

#include "alloc/memory.h"

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

char *
fs_prove_infeasible(const struct fs_platform *p, const struct fs_services *v)
{
    char *proof = prove_by_totals(p, v);

    proof = proof ? proof : prove_by_one_module(p, v);
    proof = proof ? proof : prove_by_ports(p, v, true);
    return proof ? proof : prove_by_ports(p, v, false);
}

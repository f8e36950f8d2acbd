/* Short proofs that an instance has no solution, and of what any solution breaks at least.
 *
 * Each is an argument that a person can check from the figures of the instance alone, whatever a search has found.  They are
 * independent, each about one kind of limit, so what they say of different kinds holds together.  Instances that pass all of them
 * may still have no solution. */
#include <config.h>

#include "flowstream/alloc.h"

#include <stdlib.h>
#include <string.h>

#include "alloc/bounds.h"
#include "alloc/exact.h"
#include "alloc/flow.h"
#include "alloc/memory.h"

#define LINKS_TOLD 8       /* of those that are too few together */
#define RELAX_SECONDS 5    /* for the linear relaxation of a small instance */

static double
plain(fs_amount amount)
{
    return (double) amount / (double) FS_UNIT;
}

/* Adds TEXT, which is freed, to the proof as one more argument. */
static void
argue(struct fs_proof *proof, char *text)
{
    if (!proof->text) {
        proof->text = text;
        return;
    }
    char *both = alloc_format("%s; %s", proof->text, text);
    free(proof->text);
    free(text);
    proof->text = both;
}

static void
prove_by_totals(const struct fs_platform *p, const struct fs_services *v, struct fs_proof *proof)
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
        proof->cpu = cpu_asked - cpu;
        argue(proof, alloc_format("all modules together ask for %.10g cores, all servers together have %.10g", plain(cpu_asked),
                                  plain(cpu)));
    }
    if (mem_asked > mem) {
        proof->mem = mem_asked - mem;
        argue(proof, alloc_format("all modules together ask for %.10g MB of memory, all servers together have %.10g",
                                  plain(mem_asked), plain(mem)));
    }
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

static fs_amount
larger(fs_amount a, fs_amount b)
{
    return a > b ? a : b;
}

static void
prove_by_one_module(const struct bounds *b, struct fs_proof *proof)
{
    const struct fs_services *v = b->services;
    bool told = false;

    for (int n = 0; n < v->n_nodes; n++) {
        const struct fs_service_node *m = &v->nodes[n];
        if (m->kind != FS_SERVICE_PM || (!told && fits_somewhere(b->platform, m))) {
            continue;
        }
        proof->cpu = larger(proof->cpu, m->cpu - b->cpu);
        proof->mem = larger(proof->mem, m->mem - b->mem);
        if (!told) {
            argue(proof, alloc_format("module \"%s\" of service \"%s\" asks for %.10g cores and %.10g MB, which no server has",
                                      m->id, v->services[m->service].id, plain(m->cpu), plain(m->mem)));
            told = true;
        }
    }
}

/* ---- Links. ---- */

/* Adds up by I/O node what must go from it to servers, or (OUT) from servers to it: links between a module and a source, or a sink without a
 * choice.  Returns what goes to sinks that have one. */
static fs_amount
add_demand(const struct fs_services *v, bool out, fs_amount *demand)
{
    fs_amount anywhere = 0;

    for (int l = 0; l < v->n_links; l++) {
        const struct fs_service_node *port = &v->nodes[out ? v->links[l].to : v->links[l].from];
        const struct fs_service_node *other = &v->nodes[out ? v->links[l].from : v->links[l].to];
        if (port->n_io >= 1 && other->kind == FS_SERVICE_PM) {
            *(port->n_io == 1 ? &demand[v->ios[port->first_io]] : &anywhere) += v->links[l].bandwidth;
        }
    }
    return anywhere;
}

/* The first links of CUT, by the names of their ends. */
static char *
list_links(const struct fs_platform *p, const struct flow_cut *cut)
{
    char *text = alloc_format("%s", "");

    for (int i = 0; i < cut->n_arcs && i < LINKS_TOLD; i++) {
        const struct fs_arc *a = &p->arcs[cut->arcs[i]];
        char *more = alloc_format("%s%s%s-%s", text, i ? ", " : "", p->nodes[a->from].id, p->nodes[a->to].id);
        free(text);
        text = more;
    }
    if (cut->n_arcs > LINKS_TOLD) {
        char *more = alloc_format("%s and %d more", text, cut->n_arcs - LINKS_TOLD);
        free(text);
        text = more;
    }
    return text;
}

/* The traffic of sources, or of sinks, exceeds what the links between them and all servers carry. */
static void
prove_by_cut(const struct fs_platform *p, const struct fs_services *v, bool out, bool *in_cut, struct fs_proof *proof)
{
    fs_amount *demand = alloc_zeroed((size_t) p->n_nodes, sizeof *demand), over;
    struct flow_cut cut;
    bool apart = true;

    fs_amount anywhere = add_demand(v, out, demand);
    flow_find_cut(p, demand, anywhere, out, &cut);
    over = cut.demand - cut.carried;
    if (over > 0) {
        char *links = list_links(p, &cut);
        for (int i = 0; i < cut.n_arcs; i++) {
            apart &= !in_cut[cut.arcs[i]];
            in_cut[cut.arcs[i]] = true;
        }
        /* Two cuts without a common link add up. */
        proof->bandwidth = apart ? proof->bandwidth + over : proof->bandwidth > over ? proof->bandwidth : over;
        argue(proof, alloc_format("%.10g Mbit/s must %s servers wherever modules are, over links that carry %.10g together: %s",
                                  plain(cut.parted), out ? "go out from" : "come in to", plain(cut.capacity), links));
        free(links);
    }
    free(cut.arcs);
    free(demand);
}

static void
prove_by_cuts(const struct fs_platform *p, const struct fs_services *v, struct fs_proof *proof)
{
    bool *in_cut = alloc_zeroed((size_t) p->n_arcs, sizeof *in_cut);

    prove_by_cut(p, v, false, in_cut, proof);
    prove_by_cut(p, v, true, in_cut, proof);
    free(in_cut);
}

/* ---- Delays. ---- */

/* The first path of SERVICE that is over its bound whatever is where, or -1. */
static int
hopeless_path(const struct bounds *b, const struct fs_service *service)
{
    for (int i = service->first_path; i < service->first_path + service->n_paths; i++) {
        if (bounds_path(b, i) > b->services->paths[i].bound) {
            return i;
        }
    }
    return -1;
}

/* Why SERVICE is late by LEAST. */
static char *
explain_lateness(const struct bounds *b, const struct fs_service *service, fs_amount least)
{
    int path = hopeless_path(b, service);

    if (least >= BOUNDS_NEVER / 2) {
        return alloc_format("no server can be reached on a path of service \"%s\"", service->id);
    }
    if (path >= 0) {
        return alloc_format("a path of service \"%s\" has a delay of at least %.10g wherever modules are, its bound is %.10g",
                            service->id, plain(bounds_path(b, path)), plain(b->services->paths[path].bound));
    }
    return alloc_format("service \"%s\" is too large for one server (%.10g cores and %.10g MB, a server has %.10g and %.10g), and however "
                        "it is divided so that its parts fit, with %.10g between parts and %.10g within, its paths exceed their "
                        "bounds by at least %.10g together", service->id, plain(service->cpu), plain(service->mem), plain(b->cpu),
                        plain(b->mem), plain(b->apart), plain(b->inside), plain(least));
}

static void
prove_by_delay(struct bounds *b, struct fs_proof *proof)
{
    const struct fs_services *v = b->services;
    fs_amount sum = 0;
    int n_late = 0;
    char *first = NULL;

    for (int i = 0; i < v->n_services; i++) {
        fs_amount least = v->services[i].n_paths ? bounds_lateness(b, i) : 0;
        if (least > 0) {
            sum = least < BOUNDS_NEVER / 2 && sum < BOUNDS_NEVER ? sum + least : BOUNDS_NEVER;
            first = n_late++ ? first : explain_lateness(b, &v->services[i], least);
        }
    }
    if (n_late > 1 && sum < BOUNDS_NEVER) {
        char *more = alloc_format("%s (and likewise %d more services, in all by %.10g)", first, n_late - 1, plain(sum));
        free(first);
        first = more;
    }
    if (first) {
        proof->delay = sum < BOUNDS_NEVER ? sum : 0;
        argue(proof, first);
    }
}

/* ---- Racks. ---- */

/* The least delay between servers of different racks: beside their own links a link between two racks' switches, or one out of such a
 * switch and one into another. */
static fs_amount
least_between_racks(const struct bounds *b)
{
    const struct fs_platform *p = b->platform;
    bool *is_rack = alloc_zeroed((size_t) p->n_nodes, sizeof *is_rack);
    fs_amount direct = BOUNDS_NEVER, out = BOUNDS_NEVER, in = BOUNDS_NEVER, anyhow = b->apart;

    for (int i = 0; i < p->n_servers; i++) {
        int node = p->servers[i].node;
        if (p->out_start[node + 1] - p->out_start[node] != 1 || p->out_switches[node] != 1) {
            free(is_rack);
            return anyhow;    /* a server with several links may have a shorter way */
        }
        is_rack[p->arcs[p->out[p->out_start[node]]].to] = true;
    }
    for (int a = 0; a < p->n_arcs; a++) {
        const struct fs_arc *arc = &p->arcs[a];
        if (p->nodes[arc->from].kind == FS_NODE_SWITCH && p->nodes[arc->to].kind == FS_NODE_SWITCH
            && (is_rack[arc->from] || is_rack[arc->to])) {
            fs_amount *least = is_rack[arc->from] && is_rack[arc->to] ? &direct : is_rack[arc->from] ? &out : &in;
            *least = arc->delay < *least ? arc->delay : *least;
        }
    }
    free(is_rack);
    fs_amount through = out < BOUNDS_NEVER && in < BOUNDS_NEVER ? out + in : BOUNDS_NEVER;
    through = direct < through ? direct : through;
    return through < BOUNDS_NEVER ? anyhow + through : BOUNDS_NEVER;
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

/* Whether the modules of SERVICE's bounded paths ask for more than CPU or MEM, though the paths hang together: then one of the
 * paths must lead from one place of that size to another.  Says yes only where each path meets those before it. */
static bool
must_part(const struct fs_services *v, const struct fs_service *service, fs_amount cpu, fs_amount mem)
{
    bool *marks = alloc_zeroed((size_t) service->n_nodes, sizeof *marks), together = service->n_paths > 0;
    fs_amount cpu_asked = 0, mem_asked = 0;

    for (int i = 0; i < service->n_paths; i++) {
        together &= mark_modules(v, service->first_path + i, service->first_node, marks) || i == 0;
    }
    for (int n = 0; n < service->n_nodes; n++) {
        cpu_asked += marks[n] ? v->nodes[service->first_node + n].cpu : 0;
        mem_asked += marks[n] ? v->nodes[service->first_node + n].mem : 0;
    }
    free(marks);
    return together && (cpu_asked > cpu || mem_asked > mem);
}

static void
prove_by_racks(const struct bounds *b, struct fs_proof *proof)
{
    const struct fs_platform *p = b->platform;
    const struct fs_services *v = b->services;
    fs_amount cpu = 0, mem = 0, between = least_between_racks(b), least = b->inside < b->apart ? b->inside : b->apart;

    for (int r = 0; r < p->n_racks; r++) {
        fs_amount rack_cpu = 0, rack_mem = 0;
        for (int i = p->rack_start[r]; i < p->rack_start[r + 1]; i++) {
            rack_cpu += p->servers[p->rack_servers[i]].cpu;
            rack_mem += p->servers[p->rack_servers[i]].mem;
        }
        cpu = larger(cpu, rack_cpu);
        mem = larger(mem, rack_mem);
    }
    for (int i = 0; i < v->n_services; i++) {
        const struct fs_service *service = &v->services[i];
        fs_amount over = BOUNDS_NEVER;
        if (service->cpu <= cpu && service->mem <= mem) {
            continue;
        }
        for (int t = service->first_path; t < service->first_path + service->n_paths; t++) {
            fs_amount late = bounds_path(b, t) + between - least - v->paths[t].bound;
            over = late < over ? late : over;
        }
        if (over > 0 && over < BOUNDS_NEVER && must_part(v, service, cpu, mem)) {
            proof->delay = larger(proof->delay, between < BOUNDS_NEVER ? over : 0);
            argue(proof, alloc_format("service \"%s\" fits no rack (it asks for %.10g cores and %.10g MB, no rack has more than %.10g and "
                                      "%.10g), and where a path goes from rack to rack it exceeds its bound", service->id,
                                      plain(service->cpu), plain(service->mem), plain(cpu), plain(mem)));
            return;
        }
    }
}

/* The linear relaxation: modules may be cut in pieces and traffic may go many ways, and still some limit is exceeded. */
static void
prove_by_relaxation(const struct fs_platform *p, const struct fs_services *v, struct fs_proof *proof)
{
    struct state *s = state_create(p, v);
    double cost = 0;
    char *binding;

    if (!exact_relax(s, RELAX_SECONDS, &cost, &binding) && cost > 1e-5) {
        argue(proof, alloc_format("even when modules may be divided and traffic may take many ways (the linear relaxation) these limits cannot "
                                  "be met together: %s", binding));
    }
    free(binding);
    state_destroy(s);
}

bool
proof_overloaded(const struct fs_platform *p, const struct fs_services *v)
{
    struct fs_proof proof = { 0 };

    prove_by_totals(p, v, &proof);
    bool overloaded = proof.text != NULL;
    fs_proof_clear(&proof);
    return overloaded;
}

void
fs_prove(const struct fs_platform *p, const struct fs_services *v, bool deep, struct fs_proof *proof)
{
    struct bounds *b = bounds_create(p, v);

    *proof = (struct fs_proof) { 0 };
    prove_by_totals(p, v, proof);
    prove_by_one_module(b, proof);
    prove_by_cuts(p, v, proof);
    if (p->n_servers) {
        prove_by_delay(b, proof);
        prove_by_racks(b, proof);
    }
    if (deep && !proof->text) {
        prove_by_relaxation(p, v, proof);
    }
    bounds_destroy(b);
}

void
fs_proof_clear(struct fs_proof *proof)
{
    free(proof->text);
    *proof = (struct fs_proof) { 0 };
}

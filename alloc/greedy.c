/* The greedy round robin of section 3.2.3 of D3.2.
 *
 * Services are placed one after the other.  A pointer goes round the servers, rack by rack, and stays where the last module
 * found room; each module takes the first server from there on that breaks no limit more than before.  A service is first
 * tried within the pointer's rack, then within the next ones, then over racks, and only then is each module put where
 * it does least harm.  Small platforms are searched whole at each of these steps (the plain form of the document); on
 * large ones only a few racks and servers are tried, which is the two-level form. */
#include <config.h>

#include "flowstream/alloc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "alloc/load.h"
#include "alloc/memory.h"

#define FLAT_SERVERS 1000     /* a platform with more is searched by racks, unless the caller says otherwise */
#define RACKS_TRIED 8         /* in the two-level form: racks for a service, */
#define TRIALS 64             /* and servers with enough cpu and mem for a module */
#define ATTEMPTS 16           /* for a single service: times to begin anew */
#define REASON_SERVERS 20     /* that a reason lists */

struct greedy {
    const struct fs_platform *platform;
    const struct fs_services *services;
    const struct fs_place_options *options;
    struct fs_load *load;
    struct fs_solution *solution;
    uint64_t random;
    int pointer;     /* into platform->rack_servers */
    int racks_max, trials_max;
    double deadline; /* of the monotonic clock, in seconds */
    char *reason;    /* why the service at hand breaks a limit, or NULL */
    bool quiet;      /* nobody will read a reason */
};

/* A cost that can be compared: what exceeds limits, in this order. */
struct cost {
    int unrouted;
    fs_amount excess;
};

/* xorshift64*; returns a number less than N. */
static int
random_below(struct greedy *g, int n)
{
    g->random ^= g->random >> 12;
    g->random ^= g->random << 25;
    g->random ^= g->random >> 27;
    return (int) ((g->random * UINT64_C(2685821657736338717) >> 33) % (uint64_t) n);
}

static struct cost
cost_of(const struct greedy *g, int service)
{
    const struct load_excess *e = &g->load->excess;

    return (struct cost) { e->unrouted, e->cpu + e->mem + e->bandwidth + solution_lateness(g->solution, service) };
}

static int
compare_costs(struct cost a, struct cost b)
{
    return a.unrouted != b.unrouted ? (a.unrouted > b.unrouted) - (a.unrouted < b.unrouted)
           : (a.excess > b.excess) - (a.excess < b.excess);
}

static bool
is_allowed(const struct greedy *g, int node, int server)
{
    return !g->options->allowed || g->options->allowed(g->options->aux, node, server);
}

static bool
has_room(const struct greedy *g, int node, int server)
{
    const struct fs_service_node *m = &g->services->nodes[node];
    const struct fs_server *limits = &g->platform->servers[server];
    const struct fs_server_load *use = &g->load->servers[server];

    return use->cpu + m->cpu <= limits->cpu && use->mem + m->mem <= limits->mem;
}

/* Puts module NODE on SERVER, and returns the cost then. */
static struct cost
put(struct greedy *g, int node, int server)
{
    load_place(g->load, g->solution, node, g->platform->servers[server].node);
    return cost_of(g, g->services->nodes[node].service);
}

/* Puts module NODE on SERVER if that breaks nothing more than before. */
static bool
try_server(struct greedy *g, int node, int server)
{
    struct cost before = cost_of(g, g->services->nodes[node].service);

    if (compare_costs(put(g, node, server), before) <= 0) {
        return true;
    }
    load_unplace(g->load, g->solution, node);
    return false;
}

/* Goes once round the N servers from place FIRST of the order on, beginning at the pointer, or FIRST if it is elsewhere. */
static bool
try_round(struct greedy *g, int node, int first, int n, int trials)
{
    int start = g->pointer >= first && g->pointer < first + n ? g->pointer - first : 0;

    for (int i = 0; i < n && trials > 0; i++) {
        int place = first + (start + i) % n, server = g->platform->rack_servers[place];
        if (is_allowed(g, node, server) && has_room(g, node, server)) {
            if (try_server(g, node, server)) {
                g->pointer = place;
                return true;
            }
            trials--;
        }
    }
    return false;
}

/* Takes all modules of SERVICE away that are placed. */
static void
take_modules(struct greedy *g, const struct fs_service *service)
{
    for (int n = service->first_node; n < service->first_node + service->n_nodes; n++) {
        if (g->services->nodes[n].kind == FS_SERVICE_PM && g->solution->at[n] >= 0) {
            load_unplace(g->load, g->solution, n);
        }
    }
}

/* Tries to place all modules of SERVICE within RACK. */
static bool
try_rack(struct greedy *g, const struct fs_service *service, int rack)
{
    int first = g->platform->rack_start[rack], n = g->platform->rack_start[rack + 1] - first, pointer = g->pointer;

    for (int m = service->first_node; m < service->first_node + service->n_nodes; m++) {
        if (g->services->nodes[m].kind == FS_SERVICE_PM && !try_round(g, m, first, n, n)) {
            take_modules(g, service);
            g->pointer = pointer;
            return false;
        }
    }
    return true;
}

static bool
try_racks(struct greedy *g, const struct fs_service *service)
{
    int n_racks = g->platform->n_racks, tried = 0;
    int rack = g->platform->servers[g->platform->rack_servers[g->pointer]].rack;

    for (int i = 0; i < n_racks && tried < g->racks_max; i++, rack = (rack + 1) % n_racks) {
        if (g->load->rack_cpu[rack] >= service->cpu && g->load->rack_mem[rack] >= service->mem) {
            if (try_rack(g, service, rack)) {
                return true;
            }
            tried++;
        }
    }
    return false;
}

/* Puts module NODE where it does least harm among N servers from place FIRST of the order on. */
static bool
put_least(struct greedy *g, int node, int first, int n)
{
    struct cost least = { 0 };
    int best = -1;

    for (int i = first; i < first + n; i++) {
        int server = g->platform->rack_servers[i];
        if (is_allowed(g, node, server)) {
            struct cost cost = put(g, node, server);
            load_unplace(g->load, g->solution, node);
            if (best < 0 || compare_costs(cost, least) < 0) {
                least = cost;
                best = i;
            }
        }
    }
    if (best >= 0) {
        put(g, node, g->platform->rack_servers[best]);
        g->pointer = best;
    }
    return best >= 0;
}

/* ---- Reasons. ---- */

static const char *
service_id(const struct greedy *g, int node)
{
    return g->services->services[g->services->nodes[node].service].id;
}

static double
plain(fs_amount amount)
{
    return (double) amount / (double) FS_UNIT;
}

/* Writes the first limit that the ways of module NODE, which is placed, break. */
static void
explain_ways(const struct greedy *g, int node, FILE *out)
{
    const struct fs_services *v = g->services;
    const struct fs_platform *p = g->platform;
    const struct fs_service_node *m = &v->nodes[node];

    for (int i = 0; i < m->n_incident; i++) {
        int link = v->incident[m->first_incident + i];
        int from = g->solution->at[v->links[link].from], to = g->solution->at[v->links[link].to];
        const struct route *route = g->solution->route[link];
        if (from >= 0 && to >= 0 && from != to && !route) {
            fprintf(out, "there is no way from %s to %s", p->nodes[from].id, p->nodes[to].id);
            return;
        }
        for (int k = 0; route && k < route->n; k++) {
            const struct fs_arc *arc = &p->arcs[route->arcs[k]];
            fs_amount used = g->load->used[route->arcs[k]];
            if (used > arc->bandwidth) {
                fprintf(out, "link from %s to %s: %.10g of %.10g Mbit/s would be used", p->nodes[arc->from].id,
                        p->nodes[arc->to].id, plain(used), plain(arc->bandwidth));
                return;
            }
        }
    }
    for (int i = v->services[m->service].first_path, end = i + v->services[m->service].n_paths; i < end; i++) {
        fs_amount delay = solution_path_delay(g->solution, i);
        if (delay > v->paths[i].bound) {
            fprintf(out, "delay of a path would be %.10g, %.10g is the bound", plain(delay), plain(v->paths[i].bound));
            return;
        }
    }
    fputs("breaks no limit by itself", out);
}

/* Writes the limit that keeps module NODE, which is not placed, from SERVER. */
static void
explain_server(struct greedy *g, int node, int server, FILE *out)
{
    const struct fs_service_node *m = &g->services->nodes[node];
    const struct fs_server *limits = &g->platform->servers[server];
    const struct fs_server_load use = g->load->servers[server];

    if (!is_allowed(g, node, server)) {
        fputs("may not run there", out);
    } else if (use.cpu + m->cpu > limits->cpu) {
        fprintf(out, "cpu %.10g of %.10g cores used, %.10g asked", plain(use.cpu), plain(limits->cpu), plain(m->cpu));
    } else if (use.mem + m->mem > limits->mem) {
        fprintf(out, "memory %.10g of %.10g MB used, %.10g asked", plain(use.mem), plain(limits->mem), plain(m->mem));
    } else {
        put(g, node, server);
        if (g->load->servers[server].bandwidth > limits->bandwidth) {
            fprintf(out, "bandwidth inside: %.10g of %.10g Mbit/s would be used",
                    plain(g->load->servers[server].bandwidth), plain(limits->bandwidth));
        } else {
            explain_ways(g, node, out);
        }
        load_unplace(g->load, g->solution, node);
    }
}

/* Says for each server why module NODE cannot be there, if nothing is said yet. */
static void
explain(struct greedy *g, int node)
{
    size_t size;
    int n = g->platform->n_servers, listed = n < REASON_SERVERS ? n : REASON_SERVERS;

    if (g->reason || g->quiet) {
        return;
    }
    FILE *out = open_memstream(&g->reason, &size);
    if (!out) {
        return;
    }
    fprintf(out, "service \"%s\": no server can take module \"%s\" within its limits:", service_id(g, node),
            g->services->nodes[node].id);
    for (int server = 0; server < listed; server++) {
        fprintf(out, "\n  %s: ", g->platform->nodes[g->platform->servers[server].node].id);
        explain_server(g, node, server, out);
    }
    if (!n) {
        fputs("\n  the platform has no server", out);
    }
    if (listed < n) {
        fprintf(out, "\n  and %d more servers", n - listed);
    }
    fclose(out);
}

/* ---- Services. ---- */

/* Bandwidth that is left into I/O node IO, on its best link. */
static fs_amount
room_into(const struct greedy *g, int io)
{
    const struct fs_platform *p = g->platform;
    fs_amount most = -1;

    for (int i = p->out_start[io]; i < p->out_start[io + 1]; i++) {
        int in = p->out[i] ^ 1;
        fs_amount room = p->arcs[in].bandwidth - g->load->used[in];
        most = room > most ? room : most;
    }
    return most;
}

/* A source has one place.  A sink takes one of its places at random, but one with enough bandwidth left if there is any. */
static int
choose_port(struct greedy *g, int node)
{
    const struct fs_service_node *port = &g->services->nodes[node];
    const int *ios = g->services->ios + port->first_io;
    int start = port->n_io > 1 ? random_below(g, port->n_io) : 0;
    fs_amount bandwidth = 0;

    for (int i = 0; i < port->n_incident; i++) {
        bandwidth += g->services->links[g->services->incident[port->first_incident + i]].bandwidth;
    }
    for (int i = 0; i < port->n_io && port->n_io > 1; i++) {
        int io = ios[(start + i) % port->n_io];
        if (room_into(g, io) >= bandwidth) {
            return io;
        }
    }
    return ios[start];
}

static void
place_ports(struct greedy *g, const struct fs_service *service)
{
    for (int n = service->first_node; n < service->first_node + service->n_nodes; n++) {
        if (g->services->nodes[n].kind != FS_SERVICE_PM) {
            load_place(g->load, g->solution, n, choose_port(g, n));
        }
    }
}

static void
take_service(struct greedy *g, const struct fs_service *service)
{
    for (int n = service->first_node; n < service->first_node + service->n_nodes; n++) {
        if (g->solution->at[n] >= 0) {
            load_unplace(g->load, g->solution, n);
        }
    }
}

/* Places each module on the first server of all that takes it, or where it does least harm.  Returns false if some
 * module may run nowhere. */
static bool
spread(struct greedy *g, const struct fs_service *service)
{
    const struct fs_platform *p = g->platform;

    for (int m = service->first_node; m < service->first_node + service->n_nodes; m++) {
        if (g->services->nodes[m].kind != FS_SERVICE_PM || try_round(g, m, 0, p->n_servers, g->trials_max)) {
            continue;
        }
        explain(g, m);
        int rack = p->n_servers ? p->servers[p->rack_servers[g->pointer]].rack : 0;
        int first = g->racks_max < p->n_racks ? p->rack_start[rack] : 0;
        int n = g->racks_max < p->n_racks ? p->rack_start[rack + 1] - first : p->n_servers;
        if (!put_least(g, m, first, n) && !put_least(g, m, 0, p->n_servers)) {
            free(g->reason);
            g->reason = NULL;
            g->quiet = false;
            explain(g, m);
            return false;
        }
    }
    return true;
}

static double
now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

/* The first server with room for module NODE from the pointer on, or else the first where it may run; -1 if there is none. */
static int
next_room(const struct greedy *g, int node)
{
    int n = g->platform->n_servers, best = -1;

    for (int i = 0; i < n; i++) {
        int place = (g->pointer + i) % n, server = g->platform->rack_servers[place];
        if (is_allowed(g, node, server)) {
            if (has_room(g, node, server)) {
                return place;
            }
            best = best < 0 ? place : best;
        }
    }
    return best;
}

/* Places the modules of SERVICE when time is over: looks at cpu and memory alone. */
static bool
hurry(struct greedy *g, const struct fs_service *service)
{
    for (int m = service->first_node; m < service->first_node + service->n_nodes; m++) {
        if (g->services->nodes[m].kind == FS_SERVICE_PM) {
            int place = next_room(g, m);
            if (place < 0) {
                return false;
            }
            put(g, m, g->platform->rack_servers[place]);
            g->pointer = place;
        }
    }
    return true;
}

/* Places SERVICE once.  Returns false if some module may run nowhere. */
static bool
place_once(struct greedy *g, int service)
{
    const struct fs_service *v = &g->services->services[service];
    struct cost before = cost_of(g, service);

    place_ports(g, v);
    if (compare_costs(cost_of(g, service), before) > 0 && !g->reason && !g->quiet) {
        g->reason = alloc_format("service \"%s\": its sources and sinks alone need more than the links between them give",
                                 v->id);
    }
    if (now() > g->deadline) {
        return hurry(g, v) || spread(g, v);
    }
    return (g->platform->n_servers && try_racks(g, v)) || spread(g, v);
}

/* Places SERVICE; a single one, which may be a tenant's request, gets several chances. */
static bool
place_service(struct greedy *g, int service)
{
    const struct fs_service *v = &g->services->services[service];
    int attempts = g->services->n_services == 1 ? ATTEMPTS : 1, pointer = g->pointer;

    for (int i = 1;; i++) {
        if (!place_once(g, service)) {
            take_service(g, v);
            return false;
        }
        if (!g->reason || i == attempts || now() > g->deadline) {
            return true;
        }
        take_service(g, v);
        free(g->reason);
        g->reason = NULL;
        g->pointer = i + 1 == attempts || !g->platform->n_servers ? pointer : random_below(g, g->platform->n_servers);
    }
}

static void
start(struct greedy *g, enum fs_greedy form)
{
    const struct fs_place_options *o = g->options;
    int n = g->platform->n_servers;
    bool flat = form == FS_GREEDY_FLAT || (form == FS_GREEDY_AUTO && n <= FLAT_SERVERS);

    g->random = o->seed * UINT64_C(0x9e3779b97f4a7c15) ^ UINT64_C(0x2545f4914f6cdd1d);
    g->random = g->random ? g->random : 1;
    g->deadline = o->seconds > 0 ? now() + o->seconds : 1e300;
    g->racks_max = flat ? g->platform->n_racks : RACKS_TRIED;
    g->trials_max = flat ? n : TRIALS;
    g->pointer = o->pointer && *o->pointer >= 0 && *o->pointer < n ? *o->pointer : 0;
}

int
fs_place_greedy(struct fs_load *load, const struct fs_services *services, const struct fs_place_options *options,
                struct fs_solution **solution, char **reason)
{
    static const struct fs_place_options none;
    struct greedy g = {
        .platform = load->platform, .services = services, .options = options ? options : &none, .load = load,
        .solution = fs_solution_create(load->platform, services),
    };
    char *first_reason = NULL;
    int result = 0, done = 0;

    start(&g, g.options->form);
    for (; done < services->n_services && !result; done++) {
        result = place_service(&g, done) ? 0 : ENOSPC;
        if (g.reason) {
            free(first_reason);
            first_reason = g.reason;
            g.reason = NULL;
            g.quiet = true;
        }
    }
    if (result) {
        for (int i = 0; i + 1 < done; i++) {
            take_service(&g, &services->services[i]);
        }
        fs_solution_destroy(g.solution);
        g.solution = NULL;
    } else if (g.options->pointer) {
        *g.options->pointer = g.pointer;
    }
    *solution = g.solution;
    if (reason) {
        *reason = first_reason;
    } else {
        free(first_reason);
    }
    return result;
}

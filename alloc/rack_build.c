/* Building up a rack: by single modules, by whole services, or by servers.  Which is best depends on how full the rack is and on how tight the
 * bounds are, so the packer tries one after the other. */
#include <config.h>

#include "alloc/rack.h"

#include <stdlib.h>
#include <string.h>

#include "alloc/bounds.h"
#include "alloc/memory.h"

#define FILLINGS 20          /* times that a rack is built up server by server */
#define TRIALS 600           /* moves of the exhaustive search for one service */
#define NEW_SERVERS 4        /* that it tries beside those that the service is on already */

/* ---- By module. ---- */

/* How badly MODULE fits what is left of SERVER: what would remain, as the sum of squares of shares. */
static double
misfit(const struct job *j, int node, int server)
{
    const struct state *s = j->state;
    const struct fs_service_node *m = &s->services->nodes[node];
    const struct fs_server *limits = &s->platform->servers[server];
    double cpu = (double) (limits->cpu - s->servers[server].cpu - m->cpu) / j->packing->cpu_mean;
    double mem = (double) (limits->mem - s->servers[server].mem - m->mem) / j->packing->mem_mean;

    return cpu * cpu + mem * mem;
}

/* The place in the rack where NODE, which is nowhere, costs least. */
static int
cheapest(struct job *j, int node)
{
    double least = 0;
    int best = -1;

    for (int i = 0; i < j->rack->n_servers; i++) {
        rack_shift(j, node, rack_node(j, i));
        double cost = rack_cost(j);
        rack_shift(j, node, -1);
        if (best < 0 || cost < least) {
            least = cost;
            best = i;
        }
    }
    return best;
}

/* The place in the rack where NODE fits best, or else costs least. */
static int
best_fit(struct job *j, int node)
{
    double least = 0;
    int best = -1;

    for (int i = 0; i < j->rack->n_servers; i++) {
        int server = j->rack->servers[i];
        if (rack_has_room(j->state, node, server)) {
            double bad = misfit(j, node, server);
            if (best < 0 || bad < least) {
                least = bad;
                best = i;
            }
        }
    }
    return best < 0 ? cheapest(j, node) : best;
}

/* Builds the rack up from single modules, largest first. */
void
rack_build_by_module(struct job *j)
{
    rack_clear(j);
    for (int i = 0; i < j->rack->n_modules; i++) {
        rack_shift(j, j->rack->modules[i], rack_node(j, best_fit(j, j->rack->modules[i])));
    }
}

/* ---- By service. ---- */

/* Up to NEW_SERVERS servers where NODE fits best, into CHOICE; those that its service is on already come before them. */
static int
choose_servers(const struct job *j, const struct fs_service *service, int node, int *choice)
{
    const struct state *s = j->state;
    double bad[NEW_SERVERS];
    int n = 0, known = 0;

    for (int m = service->first_node; m < node && known < 8; m++) {
        int server = s->services->nodes[m].kind == FS_SERVICE_PM && s->at[m] >= 0 ? s->platform->nodes[s->at[m]].server : -1;
        bool seen = server < 0 || !rack_has_room(s, node, server);
        for (int i = 0; i < known && !seen; i++) {
            seen = choice[i] == server;
        }
        if (!seen) {
            choice[known++] = server;
        }
    }
    for (int i = 0; i < j->rack->n_servers; i++) {
        int server = j->rack->servers[i], at = n;
        bool seen = !rack_has_room(s, node, server);
        for (int c = 0; c < known && !seen; c++) {
            seen = choice[c] == server;
        }
        if (seen) {
            continue;
        }
        double b = misfit(j, node, server);
        while (at > 0 && bad[at - 1] > b) {
            at--;
        }
        if (at == NEW_SERVERS) {
            continue;
        }
        n = n < NEW_SERVERS ? n + 1 : n;
        memmove(&bad[at + 1], &bad[at], (size_t) (n - 1 - at) * sizeof *bad);
        memmove(&choice[known + at + 1], &choice[known + at], (size_t) (n - 1 - at) * sizeof *choice);
        bad[at] = b;
        choice[known + at] = server;
    }
    return known + n;
}

/* Places the modules of SERVICE from NODE on without breaking a limit, but for LATE of delay more than before. */
static bool
place_together(struct job *j, const struct fs_service *service, int node, fs_amount late)
{
    const struct state *s = j->state;
    int end = service->first_node + service->n_nodes, choice[8 + NEW_SERVERS];

    while (node < end && s->services->nodes[node].kind != FS_SERVICE_PM) {
        node++;
    }
    if (node == end) {
        return true;
    }
    int n = choose_servers(j, service, node, choice);
    for (int i = 0; i < n && j->trials > 0; i++) {
        struct excess before = j->excess;
        j->trials--;
        rack_shift(j, node, s->platform->servers[choice[i]].node);
        fs_amount more = j->excess.delay - before.delay;
        if (j->excess.bandwidth <= before.bandwidth && j->excess.unrouted <= before.unrouted && more <= late
            && place_together(j, service, node + 1, late - more)) {
            return true;
        }
        rack_shift(j, node, -1);
    }
    return false;
}

#define PARTS 16

/* What the parts of a division ask for. */
struct parts {
    int n;
    fs_amount cpu[PARTS], mem[PARTS];
    int server[PARTS];
    double misfit;               /* of all together */
};

/* Adds up the parts; returns whether there are few enough. */
static bool
sum_parts(const struct state *s, const struct fs_service *service, const struct divisions *list, int division, struct parts *parts)
{
    const signed char *part = &list->part[division * list->n_nodes];

    *parts = (struct parts) { .n = list->n_parts[division] };
    for (int i = 0; parts->n <= PARTS && i < list->n_nodes; i++) {
        if (part[i] >= 0) {
            parts->cpu[part[i]] += s->services->nodes[service->first_node + i].cpu;
            parts->mem[part[i]] += s->services->nodes[service->first_node + i].mem;
        }
    }
    return parts->n <= PARTS;
}

/* The server of the rack that part PART fits best, none of the parts before it; -1 if there is none. */
static int
server_for_part(const struct job *j, const struct parts *parts, int part, double *misfit)
{
    const struct state *s = j->state;
    int best = -1;

    for (int i = 0; i < j->rack->n_servers; i++) {
        int server = j->rack->servers[i];
        const struct fs_server *limits = &s->platform->servers[server];
        fs_amount cpu = limits->cpu - s->servers[server].cpu - parts->cpu[part];
        fs_amount mem = limits->mem - s->servers[server].mem - parts->mem[part];
        bool taken = cpu < 0 || mem < 0;
        for (int p = 0; p < part && !taken; p++) {
            taken = parts->server[p] == server;
        }
        if (!taken) {
            double c = (double) cpu / j->packing->cpu_mean, m = (double) mem / j->packing->mem_mean, bad = c * c + m * m;
            if (best < 0 || bad < *misfit) {
                best = server;
                *misfit = bad;
            }
        }
    }
    return best;
}

/* Finds servers for the parts of a division. */
static bool
fit_parts(const struct job *j, struct parts *parts)
{
    for (int p = 0; p < parts->n; p++) {
        double misfit = 0;
        parts->server[p] = server_for_part(j, parts, p, &misfit);
        if (parts->server[p] < 0) {
            return false;
        }
        parts->misfit += misfit;
    }
    return true;
}

/* Puts the modules of SERVICE where PARTS says, unless that breaks a limit more, but for LATE of delay. */
static bool
put_parts(struct job *j, const struct fs_service *service, const struct divisions *list, int division, const struct parts *parts,
          fs_amount late)
{
    const signed char *part = &list->part[division * list->n_nodes];
    struct excess before = j->excess;

    for (int i = 0; i < list->n_nodes; i++) {
        if (part[i] >= 0) {
            rack_shift(j, service->first_node + i, j->state->platform->servers[parts->server[part[i]]].node);
        }
    }
    if (j->excess.bandwidth <= before.bandwidth && j->excess.unrouted <= before.unrouted
        && j->excess.delay - before.delay <= late) {
        return true;
    }
    for (int i = 0; i < list->n_nodes; i++) {
        if (part[i] >= 0) {
            rack_shift(j, service->first_node + i, -1);
        }
    }
    return false;
}

/* Places SERVICE by the division that wastes least among those with the fewest parts. */
static bool
place_by_divisions(struct job *j, int service)
{
    const struct fs_service *v = &j->state->services->services[service];
    const struct divisions *list = j->packing->divisions[service];
    fs_amount late = bounds_least_lateness(j->state, service);
    struct parts best = { 0 }, parts;
    int division = -1;

    for (int d = 0; list && d < list->n; d++) {
        if (division >= 0 && list->n_parts[d] > best.n) {
            break;
        }
        if (sum_parts(j->state, v, list, d, &parts) && fit_parts(j, &parts) && (division < 0 || parts.misfit < best.misfit)) {
            best = parts;
            division = d;
        }
    }
    return division >= 0 && put_parts(j, v, list, division, &best, late);
}

void
rack_place_apart(struct job *j, const struct fs_service *service)
{
    for (int m = service->first_node; m < service->first_node + service->n_nodes; m++) {
        if (j->state->services->nodes[m].kind == FS_SERVICE_PM && j->state->at[m] < 0) {
            rack_shift(j, m, rack_node(j, best_fit(j, m)));
        }
    }
}

/* Places SERVICE, which is nowhere, within the least delay violation that any server like these allows. */
bool
rack_try_service(struct job *j, int service)
{
    const struct fs_service *v = &j->state->services->services[service];

    if (place_by_divisions(j, service)) {
        return true;
    }
    j->trials = TRIALS;
    if (place_together(j, v, v->first_node, 0)) {
        return true;
    }
    fs_amount least = bounds_least_lateness(j->state, service);
    j->trials = TRIALS;
    return least > 0 && place_together(j, v, v->first_node, least);
}

/* Builds the rack up service by service, in the order of their largest modules. */
void
rack_build_by_service(struct job *j)
{
    const struct fs_services *v = j->state->services;

    rack_clear(j);
    for (int i = 0; i < j->rack->n_modules; i++) {
        int m = j->rack->modules[i];
        if (j->state->at[m] < 0 && !rack_try_service(j, v->nodes[m].service)) {
            rack_place_apart(j, &v->services[v->nodes[m].service]);
        }
    }
}

/* ---- By server. ---- */

/* The servers' free cores and memory and the modules' demands, as shares of a mean server: packing by these is so quick that it can be
 * tried many times. */
struct vectors {
    int n_items, n_bins;
    double (*item)[2], (*bin)[2];
    int *bin_of, *best;          /* by item; -1: left over */
    double left, best_left;      /* the shares of what is left over */
};

static void
start_vectors(const struct job *j, struct vectors *v)
{
    const struct state *s = j->state;
    size_t n = (size_t) j->rack->n_modules;

    *v = (struct vectors) {
        .n_items = j->rack->n_modules, .n_bins = j->rack->n_servers, .item = alloc_zeroed(n, sizeof *v->item),
        .bin = alloc_zeroed((size_t) j->rack->n_servers, sizeof *v->bin), .bin_of = alloc_filled(n, -1),
        .best = alloc_filled(n, -1), .best_left = 1e300,
    };
    for (int i = 0; i < v->n_items; i++) {
        const struct fs_service_node *m = &s->services->nodes[j->rack->modules[i]];
        v->item[i][0] = (double) m->cpu / j->packing->cpu_mean;
        v->item[i][1] = (double) m->mem / j->packing->mem_mean;
    }
}

/* How well ITEM suits what is free in BIN: its size, much less the more its direction differs from that of the free vector (the 20th
 * power of the cosine; squared, which saves the roots).  So no server is left with cores but no memory, or the other way. */
static double
suits(const double *item, const double *bin)
{
    double dot = item[0] * bin[0] + item[1] * bin[1], size = item[0] * item[0] + item[1] * item[1];
    double free_size = bin[0] * bin[0] + bin[1] * bin[1];
    double cos2 = size > 0 && free_size > 0 ? dot * dot / (size * free_size) : 1;
    double cos4 = cos2 * cos2, cos8 = cos4 * cos4, cos16 = cos8 * cos8;

    return cos16 * cos16 * cos8 * size;
}

/* The item that suits BIN best, with some chance; -1 if none fits. */
static int
fill_with(struct vectors *v, const double *bin, uint64_t *random, double chance)
{
    double most = 0;
    int best = -1;

    for (int i = 0; i < v->n_items; i++) {
        if (v->bin_of[i] >= 0 || v->item[i][0] > bin[0] + 1e-12 || v->item[i][1] > bin[1] + 1e-12) {
            continue;
        }
        double good = suits(v->item[i], bin);
        good *= chance > 0 ? 1 + chance * search_random(random, 1024) / 1024 : 1;
        if (best < 0 || good > most) {
            most = good;
            best = i;
        }
    }
    return best;
}

/* Fills server after server; returns whether nothing is left over. */
static bool
fill_servers(const struct job *j, struct vectors *v, uint64_t *random, double chance)
{
    const struct state *s = j->state;

    for (int i = 0; i < v->n_items; i++) {
        v->bin_of[i] = -1;
    }
    for (int b = 0; b < v->n_bins; b++) {
        const struct fs_server *server = &s->platform->servers[j->rack->servers[b]];
        v->bin[b][0] = (double) server->cpu / j->packing->cpu_mean;
        v->bin[b][1] = (double) server->mem / j->packing->mem_mean;
        for (int i; (i = fill_with(v, v->bin[b], random, chance)) >= 0; ) {
            v->bin_of[i] = b;
            v->bin[b][0] -= v->item[i][0];
            v->bin[b][1] -= v->item[i][1];
        }
    }
    v->left = 0;
    for (int i = 0; i < v->n_items; i++) {
        v->left += v->bin_of[i] < 0 ? v->item[i][0] + v->item[i][1] : 0;
    }
    if (v->left < v->best_left) {
        v->best_left = v->left;
        memcpy(v->best, v->bin_of, (size_t) v->n_items * sizeof *v->best);
    }
    return v->left <= 0;
}

/* Builds the rack up from single modules, server after server, trying several times. */
void
rack_build_by_server(struct job *j)
{
    struct vectors v;

    start_vectors(j, &v);
    for (int i = 0; i < FILLINGS && !fill_servers(j, &v, &j->random, i ? 0.3 : 0); i++) {
        continue;
    }
    rack_clear(j);
    for (int i = 0; i < v.n_items; i++) {
        if (v.best[i] >= 0) {
            rack_shift(j, j->rack->modules[i], rack_node(j, v.best[i]));
        }
    }
    for (int i = 0; i < v.n_items; i++) {
        if (v.best[i] < 0) {
            rack_shift(j, j->rack->modules[i], rack_node(j, best_fit(j, j->rack->modules[i])));
        }
    }
    free(v.item);
    free(v.bin);
    free(v.bin_of);
    free(v.best);
}

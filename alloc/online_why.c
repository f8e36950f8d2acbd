/* Why a service is refused, in words that tell its owner what to change.
 *
 * The modules are placed one after the other as long as that goes.  For the first that is stuck each server is asked which limit binds there, and
 * servers with the same answer are counted together, with the one that is nearest to having room.  Then the service is placed in spite of
 * all limits, each module where the least is missing, and what is exceeded then is what would have to be larger.  Nothing of this stays. */
#include <config.h>

#include "alloc/online.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alloc/memory.h"

#define GROUPS 16          /* that are listed */

struct group {
    enum online_limit limit;
    int detail;            /* an arc of the platform's inside, which is the same for many servers; or a state; or -1 */
    const char *words;     /* the caller's, why a server is closed; or NULL */
    int n;                 /* servers */
    int server;            /* that is nearest, */
    double missing;        /* by this, relative to the limits */
};

struct why {
    struct fs_online *online;
    struct held *held;
    const struct fs_online_options *options;
    struct group groups[GROUPS];
    int n_groups, n_more;  /* servers that belong to groups that are not listed */
    FILE *out;
};

struct relaxations {
    struct fs_online_relaxation *items;
    int n, room;
};

static double
plain(fs_amount amount)
{
    return (double) amount / (double) FS_UNIT;
}

static double
share(fs_amount missing, fs_amount limit)
{
    return missing <= 0 ? 0 : (double) missing / (double) (limit > 0 ? limit : 1);
}

static bool
is_module(const struct held *h, int node)
{
    return h->services->nodes[node].kind == FS_SERVICE_PM;
}

/* ---- What is missing. ---- */

static double
missing_on_server(const struct why *w, int node, int server)
{
    const struct fs_service_node *m = &w->held->services->nodes[node];
    const struct online_server *s = &w->online->servers[server];

    return share(m->cpu - online_free_cpu(w->online, server), s->cpu) + share(m->mem - online_free_mem(w->online, server), s->mem);
}

/* The bandwidth that is missing on the way of LINK, and the arc where most is missing. */
static double
missing_on_way(const struct fs_online *o, const struct held *h, int link, int *worst)
{
    const struct route *route = h->links[link - h->service->first_link].route;
    double sum = 0, most = 0;

    *worst = -1;
    for (int i = 0; route && i < route->n && h->services->links[link].bandwidth; i++) {
        double missing = share(-online_free_arc(o, route->arcs[i]), o->arcs[route->arcs[i]].limit);
        sum += missing;
        if (missing > most) {
            most = missing;
            *worst = route->arcs[i];
        }
    }
    return sum;
}

/* The same for everything that hangs on NODE, which is placed; less than 0 when no change of limits helps, since a link has no way. */
static double
missing_around(const struct why *w, int node, int *worst)
{
    struct held *h = w->held;
    const struct fs_service_node *m = &h->services->nodes[node];
    double sum = 0;

    *worst = -1;
    for (int i = 0; i < m->n_incident; i++) {
        int link = h->services->incident[m->first_incident + i], arc;
        const struct fs_service_link *l = &h->services->links[link];
        const struct route *route = held_link(h, link)->route;
        int from = held_node(h, l->from)->at, to = held_node(h, l->to)->at;
        if (from >= 0 && to >= 0 && from != to && !route) {
            return -1;
        }
        for (int k = 0; route && k < route->n; k++) {
            if (w->online->arcs[route->arcs[k]].down) {
                return -1;
            }
        }
        sum += missing_on_way(w->online, h, link, &arc);
        *worst = *worst < 0 ? arc : *worst;
    }
    for (int i = h->service->first_path; i < h->service->first_path + h->service->n_paths; i++) {
        sum += share(online_path_delay(w->online, h, i) - h->services->paths[i].bound, h->services->paths[i].bound);
    }
    int server = w->online->platform->nodes[held_node(h, node)->at].server;
    const struct online_server *s = server < 0 ? NULL : &w->online->servers[server];
    return sum + (s ? share(w->online->loads[server].bandwidth - s->bandwidth, s->bandwidth) : 0);
}

/* What would be missing in all if NODE was on SERVER; less than 0: no change helps. */
static double
missing_in_all(const struct why *w, int node, int server, int *worst)
{
    double sum = missing_on_server(w, node, server);

    online_force(w->online, w->held, node, w->online->platform->servers[server].node);
    double around = missing_around(w, node, worst);
    online_take(w->online, w->held, node);
    return around < 0 ? -1 : sum + around;
}

/* ---- The groups. ---- */

static enum online_limit
limit_on(struct why *w, int node, int server)
{
    if (w->online->servers[server].state != FS_ONLINE_UP) {
        return LIMIT_STATE;
    }
    if (!online_may_run(w->online, w->held, w->options, node, server)) {
        return LIMIT_ALLOWED;
    }
    enum online_limit limit = online_put(w->online, w->held, node, w->online->platform->servers[server].node);
    if (!limit) {
        online_take(w->online, w->held, node);
    }
    return limit;
}

static bool
is_of_server(const struct fs_platform *p, int arc)
{
    return arc >= 0 && (p->nodes[p->arcs[arc].from].kind == FS_NODE_SERVER || p->nodes[p->arcs[arc].to].kind == FS_NODE_SERVER);
}

/* Why a server is closed in the words of whoever closed it, or NULL. */
static const char *
forbids(const struct why *w, enum online_limit limit, int node, int server)
{
    bool closed = limit == LIMIT_STATE || limit == LIMIT_ALLOWED;

    return closed && w->options->forbids ? w->options->forbids(w->options->aux, node, server) : NULL;
}

static bool
same_words(const char *a, const char *b)
{
    return a == b || (a && b && !strcmp(a, b));
}

static void
add_to_group(struct why *w, enum online_limit limit, const char *words, int arc, int server, double missing)
{
    int detail = words                   ? -1
                 : limit == LIMIT_STATE ? (int) w->online->servers[server].state
                 : limit == LIMIT_BANDWIDTH && !is_of_server(w->online->platform, arc) ? arc : -1;

    for (int i = 0; i < w->n_groups; i++) {
        struct group *g = &w->groups[i];
        if (words ? same_words(words, g->words) : g->limit == limit && g->detail == detail && !g->words) {
            g->n++;
            if (missing < g->missing) {
                g->missing = missing;
                g->server = server;
            }
            return;
        }
    }
    if (w->n_groups < GROUPS) {
        w->groups[w->n_groups++] = (struct group) { limit, detail, words, 1, server, missing };
    } else {
        w->n_more++;
    }
}

static void
make_groups(struct why *w, int node)
{
    w->n_groups = w->n_more = 0;
    for (int s = 0; s < w->online->platform->n_servers; s++) {
        enum online_limit limit = limit_on(w, node, s);
        int arc = -1;
        if (limit == LIMIT_STATE && w->options->only_up) {
            continue;
        }
        double missing = limit == LIMIT_CPU || limit == LIMIT_MEM ? missing_on_server(w, node, s)
                         : limit > LIMIT_MEM ? missing_in_all(w, node, s, &arc) : 0;
        add_to_group(w, limit, forbids(w, limit, node, s), arc, s, missing);
    }
}

/* ---- Words. ---- */

static void
write_arc(const struct why *w, int arc, const struct held *h, int node)
{
    const struct fs_platform *p = w->online->platform;
    fs_amount ask = 0;

    for (int i = 0; i < h->services->nodes[node].n_incident; i++) {
        int link = h->services->incident[h->services->nodes[node].first_incident + i];
        const struct route *route = h->links[link - h->service->first_link].route;
        for (int k = 0; route && k < route->n; k++) {
            ask += route->arcs[k] == arc ? h->services->links[link].bandwidth : 0;
        }
    }
    fs_amount limit = w->online->arcs[arc].limit;
    fprintf(w->out, "link from %s to %s: %.10g of %.10g Mbit/s used, %.10g asked", p->nodes[p->arcs[arc].from].id, p->nodes[p->arcs[arc].to].id,
            plain(limit - online_free_arc(w->online, arc) - ask), plain(limit), plain(ask));
}

static void
write_late_path(const struct why *w)
{
    const struct held *h = w->held;

    for (int i = h->service->first_path; i < h->service->first_path + h->service->n_paths; i++) {
        fs_amount delay = online_path_delay(w->online, h, i);
        if (delay > h->services->paths[i].bound) {
            fprintf(w->out, "delay of a path would be %.10g, %.10g is the bound", plain(delay), plain(h->services->paths[i].bound));
            return;
        }
    }
}

/* What is wrong around NODE, which is placed against the limits. */
static void
write_around(const struct why *w, int node, enum online_limit limit, int server)
{
    const struct online_server *s = &w->online->servers[server];
    int arc;

    double missing = missing_around(w, node, &arc);
    if (limit == LIMIT_INSIDE) {
        fprintf(w->out, "bandwidth inside: %.10g of %.10g Mbit/s would be used", plain(w->online->loads[server].bandwidth), plain(s->bandwidth));
    } else if (limit == LIMIT_DELAY) {
        write_late_path(w);
    } else if (missing < 0 || arc < 0) {
        fputs("there is no way, since links are down or missing", w->out);
    } else {
        write_arc(w, arc, w->held, node);
    }
}

static void
write_limit(const struct why *w, int node, const struct group *g)
{
    enum online_limit limit = g->limit;
    int server = g->server;
    const struct fs_service_node *m = &w->held->services->nodes[node];
    const struct online_server *s = &w->online->servers[server];

    if (g->words) {
        fputs(g->words, w->out);
    } else if (limit == LIMIT_STATE) {
        fputs(s->state == FS_ONLINE_DOWN ? "down" : "being drained", w->out);
    } else if (limit == LIMIT_ALLOWED) {
        fputs("may not run there", w->out);
    } else if (limit == LIMIT_CPU) {
        fprintf(w->out, "cpu %.10g of %.10g cores used%s, %.10g asked", plain(s->cpu - online_free_cpu(w->online, server)), plain(s->cpu),
                s->measured_cpu > w->online->loads[server].cpu ? " (measured)" : "", plain(m->cpu));
    } else if (limit == LIMIT_MEM) {
        fprintf(w->out, "memory %.10g of %.10g MB used%s, %.10g asked", plain(s->mem - online_free_mem(w->online, server)), plain(s->mem),
                s->measured_mem > w->online->loads[server].mem ? " (measured)" : "", plain(m->mem));
    } else {
        online_force(w->online, w->held, node, w->online->platform->servers[server].node);
        write_around(w, node, limit, server);
        online_take(w->online, w->held, node);
    }
}

static const char *
server_id(const struct why *w, int server)
{
    return w->online->platform->nodes[w->online->platform->servers[server].node].id;
}

static void
write_groups(const struct why *w, int node)
{
    const struct held *h = w->held;

    fprintf(w->out, "service \"%s\": no server can take module \"%s\" within its limits", h->service->id, h->services->nodes[node].id);
    for (int i = 0, n = 0; i < h->service->n_nodes; i++) {
        if (h->nodes[i].at >= 0 && is_module(h, h->service->first_node + i)) {
            fprintf(w->out, "%s%s on %s", n++ ? ", " : " with ", h->services->nodes[h->service->first_node + i].id,
                    w->online->platform->nodes[h->nodes[i].at].id);
        }
    }
    fputc(':', w->out);
    for (int i = 0; i < w->n_groups; i++) {
        const struct group *g = &w->groups[i];
        if (g->n == 1) {
            fprintf(w->out, "\n  %s: ", server_id(w, g->server));
        } else {
            fprintf(w->out, "\n  %d servers%s%s: ", g->n, g->limit > LIMIT_ALLOWED ? ", nearest is " : ", such as ", server_id(w, g->server));
        }
        write_limit(w, node, g);
    }
    if (w->n_more) {
        fprintf(w->out, "\n  and %d more servers", w->n_more);
    }
    if (!w->n_groups) {
        fputs(w->online->platform->n_servers ? "\n  no server is up" : "\n  the platform has no server", w->out);
    }
}

/* ---- The module that is stuck. ---- */

static bool
fits_somewhere(struct why *w, int node, bool keep)
{
    const struct held *h = w->held;

    for (int i = h->service->n_nodes - 1; i >= 0 && keep; i--) {
        int server = h->nodes[i].at < 0 ? -1 : w->online->platform->nodes[h->nodes[i].at].server;
        if (server >= 0 && !limit_on(w, node, server)) {
            online_put(w->online, w->held, node, w->online->platform->servers[server].node);
            return true;
        }
    }
    for (int s = 0; s < w->online->platform->n_servers; s++) {
        if (!limit_on(w, node, s)) {
            if (keep) {
                online_put(w->online, w->held, node, w->online->platform->servers[s].node);
            }
            return true;
        }
    }
    return false;
}

static void
take_modules(struct why *w)
{
    for (int i = 0; i < w->held->service->n_nodes; i++) {
        if (w->held->nodes[i].at >= 0 && is_module(w->held, w->held->service->first_node + i)) {
            online_take(w->online, w->held, w->held->service->first_node + i);
        }
    }
}

/* The first module that by itself (KEEP false), or after those before it, fits nowhere; -1 when there is none. */
static int
find_stuck(struct why *w, bool keep)
{
    for (int n = w->held->service->first_node; n < w->held->service->first_node + w->held->service->n_nodes; n++) {
        if (is_module(w->held, n) && !fits_somewhere(w, n, keep)) {
            return n;
        }
    }
    return -1;
}

/* ---- The least change. ---- */

/* Puts NODE where least is missing.  Returns what is, or less than 0 when it can be nowhere. */
static double
put_least(struct why *w, int node)
{
    double least = -1;
    int best = -1, arc;

    for (int s = 0; s < w->online->platform->n_servers; s++) {
        if (online_may_run(w->online, w->held, w->options, node, s) && (least < 0 || missing_on_server(w, node, s) < least)) {
            double missing = missing_in_all(w, node, s, &arc);
            if (missing >= 0 && (least < 0 || missing < least)) {
                least = missing;
                best = s;
            }
        }
    }
    if (best >= 0) {
        online_force(w->online, w->held, node, w->online->platform->servers[best].node);
    }
    return least;
}

static bool
put_all(struct why *w)
{
    for (int n = w->held->service->first_node; n < w->held->service->first_node + w->held->service->n_nodes; n++) {
        if (is_module(w->held, n) && put_least(w, n) < 0) {
            return false;
        }
    }
    return true;
}

/* Notes that a limit would have to be larger, once. */
static void
relax(struct relaxations *r, enum fs_online_limit limit, int index, fs_amount more)
{
    for (int i = 0; i < r->n; i++) {
        if (r->items[i].limit == limit && r->items[i].index == index) {
            return;
        }
    }
    if (more > 0) {
        alloc_grow(&r->items, r->n, &r->room);
        r->items[r->n++] = (struct fs_online_relaxation) { limit, index, more };
    }
}

static void
relax_server(const struct why *w, struct relaxations *r, int server)
{
    const struct fs_online *o = w->online;

    relax(r, FS_ONLINE_CPU, server, -online_free_cpu(o, server));
    relax(r, FS_ONLINE_MEM, server, -online_free_mem(o, server));
    relax(r, FS_ONLINE_INSIDE, server, o->loads[server].bandwidth - o->servers[server].bandwidth);
}

/* What is exceeded now, all nodes being somewhere. */
static void
collect(const struct why *w, struct relaxations *r)
{
    const struct held *h = w->held;

    for (int i = 0; i < h->service->n_nodes; i++) {
        if (is_module(h, h->service->first_node + i)) {
            relax_server(w, r, w->online->platform->nodes[h->nodes[i].at].server);
        }
    }
    for (int l = 0; l < h->service->n_links; l++) {
        const struct route *route = h->links[l].route;
        for (int i = 0; route && i < route->n && h->services->links[h->service->first_link + l].bandwidth; i++) {
            relax(r, FS_ONLINE_BANDWIDTH, route->arcs[i], -online_free_arc(w->online, route->arcs[i]));
        }
    }
    for (int i = h->service->first_path; i < h->service->first_path + h->service->n_paths; i++) {
        relax(r, FS_ONLINE_DELAY, i, online_path_delay(w->online, h, i) - h->services->paths[i].bound);
    }
}

static void
write_relaxation(const struct why *w, const struct fs_online_relaxation *x)
{
    const struct fs_online *o = w->online;
    const struct fs_platform *p = o->platform;

    if (x->limit == FS_ONLINE_CPU) {
        fs_amount limit = o->servers[x->index].cpu;
        fprintf(w->out, "%.10g cores instead of %.10g on %s", plain(limit + x->more), plain(limit), server_id(w, x->index));
    } else if (x->limit == FS_ONLINE_MEM) {
        fs_amount limit = o->servers[x->index].mem;
        fprintf(w->out, "%.10g MB instead of %.10g on %s", plain(limit + x->more), plain(limit), server_id(w, x->index));
    } else if (x->limit == FS_ONLINE_INSIDE) {
        fs_amount limit = o->servers[x->index].bandwidth;
        fprintf(w->out, "%.10g Mbit/s instead of %.10g inside %s", plain(limit + x->more), plain(limit), server_id(w, x->index));
    } else if (x->limit == FS_ONLINE_BANDWIDTH) {
        fprintf(w->out, "%.10g Mbit/s instead of %.10g from %s to %s", plain(o->arcs[x->index].limit + x->more), plain(o->arcs[x->index].limit),
                p->nodes[p->arcs[x->index].from].id, p->nodes[p->arcs[x->index].to].id);
    } else {
        fs_amount bound = w->held->services->paths[x->index].bound;
        fprintf(w->out, "a bound of %.10g instead of %.10g for path %d", plain(bound + x->more), plain(bound),
                x->index - w->held->service->first_path + 1);
    }
}

static void
write_relaxations(struct why *w, struct relaxations *r)
{
    take_modules(w);
    if (!put_all(w)) {
        fputs("\nno change of limits helps: where it may run there is no way to it, or no server is up", w->out);
        return;
    }
    collect(w, r);
    for (int i = 0; i < r->n; i++) {
        fputs(i ? "; " : "\nit would fit with ", w->out);
        write_relaxation(w, &r->items[i]);
    }
}

char *
fs_online_why_not(struct fs_online *o, const struct fs_services *services, int service, const struct fs_online_options *options,
                  struct fs_online_relaxation **change, size_t *n)
{
    static const struct fs_online_options none;
    struct why w = { .online = o, .held = online_hold(0, services, service), .options = options ? options : &none };
    struct relaxations r = { 0 };
    char *text = NULL;
    size_t size;

    if (!online_place(o, w.held, w.options) && (w.out = open_memstream(&text, &size))) {
        online_place_ports(o, w.held, 0);
        int stuck = find_stuck(&w, false);
        stuck = stuck >= 0 ? stuck : find_stuck(&w, true);
        if (stuck >= 0) {
            make_groups(&w, stuck);
            write_groups(&w, stuck);
        } else {
            fprintf(w.out, "service \"%s\": its ports, or the links between them, are full, or the search ended before it found a place",
                    w.held->service->id);
        }
        write_relaxations(&w, &r);
        fclose(w.out);
    }
    online_free_held(o, w.held);
    if (change) {
        *change = r.items;
        *n = (size_t) r.n;
    } else {
        free(r.items);
    }
    return text;
}

/* The model of section 3.2.2 of D3.2 as a mixed integer program.
 *
 *   p[g,v]   1 when service node g is at platform node v (modules: servers; sources and sinks: their I/O nodes)
 *   f[l,a]   1 when service link l goes arc a: out of where its one end is, into where the other is, through switches alone
 *   w[l,v]   1 when both ends of link l are on server v
 *   over...  by how much each limit is exceeded: what is made least, with the weights of state_cost()
 *
 * Each link may go a way of its own, so the optimum is a bound for solutions with one way a pair of nodes too.  Amounts are in units
 * here, not in millionths, because the solver calculates with floating point. */
#include <config.h>

#include "alloc/exact.h"

#include <errno.h>
#include <glpk.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alloc/memory.h"

#define COLUMNS_MAX 30000     /* variables that are worth the attempt */
#define TINY 1e-6

struct model {
    const struct state *s;
    glp_prob *lp;
    int *place;               /* by service node times platform nodes: the column of p, or 0 */
    int *flow;                /* by service link times arcs: the column of f, or 0 */
    int *inside;              /* by service link times servers: the column of w, or 0 */
    int *index;               /* a row being made */
    double *value;
    int n;
};

static double
plain(fs_amount amount)
{
    return (double) amount / (double) FS_UNIT;
}

/* ---- Columns and rows. ---- */

static int
add_column(struct model *m, double upper, double cost, bool binary)
{
    int column = glp_add_cols(m->lp, 1);

    glp_set_col_bnds(m->lp, column, upper > 0 ? GLP_DB : GLP_LO, 0, upper);
    glp_set_obj_coef(m->lp, column, cost);
    if (binary) {
        glp_set_col_kind(m->lp, column, GLP_BV);
    }
    return column;
}

static void
term(struct model *m, int column, double value)
{
    if (column) {
        m->n++;
        m->index[m->n] = column;
        m->value[m->n] = value;
    }
}

/* Ends a row: the terms are at most LIMIT (GLP_UP), at least (GLP_LO) or just that (GLP_FX).  Empty ones are left out. */
static int
end_row(struct model *m, int type, double limit)
{
    int row = 0;

    if (m->n) {
        row = glp_add_rows(m->lp, 1);
        glp_set_row_bnds(m->lp, row, type, limit, limit);
        glp_set_mat_row(m->lp, row, m->n, m->index, m->value);
    }
    m->n = 0;
    return row;
}

static void
name_row(struct model *m, int row, const char *what, const char *a, const char *b)
{
    char name[200];

    if (row) {
        snprintf(name, sizeof name, "%s %.80s%s%.80s", what, a, b ? "-" : "", b ? b : "");
        glp_set_row_name(m->lp, row, name);
    }
}

/* The terms of how much a limit is exceeded, which costs WEIGHT each; ends the row. */
static void
end_limit(struct model *m, fs_amount limit, double weight, const char *what, const char *a, const char *b)
{
    if (m->n) {
        term(m, add_column(m, 0, weight * (double) FS_UNIT, false), -1);
        name_row(m, end_row(m, GLP_UP, plain(limit)), what, a, b);
    }
}

static int *
place_of(const struct model *m, int node, int where)
{
    return &m->place[(size_t) node * (size_t) m->s->platform->n_nodes + (size_t) where];
}

static int *
flow_of(const struct model *m, int link, int arc)
{
    return &m->flow[(size_t) link * (size_t) m->s->platform->n_arcs + (size_t) arc];
}

static int *
inside_of(const struct model *m, int link, int server)
{
    return &m->inside[(size_t) link * (size_t) m->s->platform->n_servers + (size_t) server];
}

/* ---- The model. ---- */

static bool
may_be(const struct state *s, int node, int where)
{
    const struct fs_service_node *g = &s->services->nodes[node];

    if (g->kind == FS_SERVICE_PM) {
        return s->platform->nodes[where].kind == FS_NODE_SERVER;
    }
    for (int i = 0; i < g->n_io; i++) {
        if (s->services->ios[g->first_io + i] == where) {
            return true;
        }
    }
    return false;
}

static void
add_places(struct model *m)
{
    const struct state *s = m->s;

    for (int g = 0; g < s->services->n_nodes; g++) {
        for (int v = 0; v < s->platform->n_nodes; v++) {
            if (may_be(s, g, v)) {
                *place_of(m, g, v) = add_column(m, 1, 0, true);
                term(m, *place_of(m, g, v), 1);
            }
        }
        end_row(m, GLP_FX, 1);
    }
}

/* Whether LINK could go ARC: its ends may be where the arc begins or ends, if that is no switch. */
static bool
may_go(const struct model *m, int link, int arc)
{
    const struct state *s = m->s;
    const struct fs_service_link *l = &s->services->links[link];
    const struct fs_arc *a = &s->platform->arcs[arc];

    return (s->platform->nodes[a->from].kind == FS_NODE_SWITCH || may_be(s, l->from, a->from))
           && (s->platform->nodes[a->to].kind == FS_NODE_SWITCH || may_be(s, l->to, a->to));
}

/* What comes out of NODE for LINK less what goes in is 1 at the one end, -1 at the other and 0 elsewhere.  At servers and I/O nodes
 * nothing passes through: out only where the link begins. */
static void
conserve(struct model *m, int link, int node)
{
    const struct fs_platform *p = m->s->platform;
    const struct fs_service_link *l = &m->s->services->links[link];
    bool through = p->nodes[node].kind == FS_NODE_SWITCH;

    for (int i = p->out_start[node]; i < p->out_start[node + 1]; i++) {
        term(m, *flow_of(m, link, p->out[i]), 1);
        term(m, *flow_of(m, link, p->out[i] ^ 1), -1);
    }
    term(m, *place_of(m, l->from, node), -1);
    term(m, *place_of(m, l->to, node), 1);
    end_row(m, GLP_FX, 0);
    for (int i = p->out_start[node]; !through && i < p->out_start[node + 1]; i++) {
        term(m, *flow_of(m, link, p->out[i]), 1);
    }
    if (!through && m->n) {
        term(m, *place_of(m, l->from, node), -1);
        end_row(m, GLP_UP, 0);
    }
}

static void
add_link(struct model *m, int link)
{
    const struct state *s = m->s;
    const struct fs_service_link *l = &s->services->links[link];

    for (int a = 0; a < s->platform->n_arcs; a++) {
        if (may_go(m, link, a)) {
            *flow_of(m, link, a) = add_column(m, 1, 0, true);
        }
    }
    for (int v = 0; v < s->platform->n_nodes; v++) {
        conserve(m, link, v);
    }
    for (int i = 0; i < s->platform->n_servers; i++) {
        int node = s->platform->servers[i].node, from = *place_of(m, l->from, node), to = *place_of(m, l->to, node);
        if (from && to) {
            *inside_of(m, link, i) = add_column(m, 1, 0, false);
            term(m, *inside_of(m, link, i), 1);
            term(m, from, -1);
            term(m, to, -1);
            end_row(m, GLP_LO, -1);
        }
    }
}

static void
limit_server(struct model *m, int server)
{
    const struct state *s = m->s;
    const struct fs_services *v = s->services;
    const struct fs_server *limits = &s->platform->servers[server];
    const char *id = s->platform->nodes[limits->node].id;

    for (int g = 0; g < v->n_nodes; g++) {
        term(m, *place_of(m, g, limits->node), plain(v->nodes[g].cpu));
    }
    end_limit(m, limits->cpu, s->cpu_weight, "cores of", id, NULL);
    for (int g = 0; g < v->n_nodes; g++) {
        term(m, *place_of(m, g, limits->node), plain(v->nodes[g].mem));
    }
    end_limit(m, limits->mem, s->mem_weight, "memory of", id, NULL);
    for (int l = 0; l < v->n_links; l++) {
        term(m, *inside_of(m, l, server), plain(v->links[l].bandwidth));
    }
    end_limit(m, limits->bandwidth, s->bandwidth_weight, "bandwidth inside", id, NULL);
}

static void
limit_arc(struct model *m, int arc)
{
    const struct state *s = m->s;
    const struct fs_arc *a = &s->platform->arcs[arc];

    for (int l = 0; l < s->services->n_links; l++) {
        term(m, *flow_of(m, l, arc), plain(s->services->links[l].bandwidth));
    }
    end_limit(m, a->bandwidth, s->bandwidth_weight, "bandwidth of", s->platform->nodes[a->from].id, s->platform->nodes[a->to].id);
}

static void
limit_path(struct model *m, int path)
{
    const struct state *s = m->s;
    const struct fs_service_path *t = &s->services->paths[path];

    for (int i = 0; i < t->n_links; i++) {
        int link = s->services->path_links[t->first_link + i];
        for (int a = 0; a < s->platform->n_arcs; a++) {
            term(m, *flow_of(m, link, a), plain(s->platform->arcs[a].delay));
        }
        for (int k = 0; k < s->platform->n_servers; k++) {
            term(m, *inside_of(m, link, k), plain(s->platform->servers[k].delay));
        }
    }
    end_limit(m, t->bound, s->delay_weight, "delay of a path of", s->services->services[t->service].id, NULL);
}

static size_t
columns_needed(const struct state *s)
{
    const struct fs_platform *p = s->platform;

    return (size_t) s->services->n_nodes * (size_t) p->n_nodes
           + (size_t) s->services->n_links * ((size_t) p->n_arcs + (size_t) p->n_servers);
}

static void
build(struct model *m, const struct state *s)
{
    size_t nodes = (size_t) s->platform->n_nodes, arcs = (size_t) s->platform->n_arcs, links = (size_t) s->services->n_links;
    size_t row = columns_needed(s) + nodes + arcs + 16;

    *m = (struct model) {
        .s = s, .lp = glp_create_prob(), .place = alloc_zeroed((size_t) s->services->n_nodes * nodes, sizeof(int)),
        .flow = alloc_zeroed(links * arcs, sizeof(int)),
        .inside = alloc_zeroed(links * (size_t) s->platform->n_servers, sizeof(int)),
        .index = alloc_zeroed(row, sizeof(int)), .value = alloc_zeroed(row, sizeof(double)),
    };
    glp_term_out(GLP_OFF);
    glp_set_obj_dir(m->lp, GLP_MIN);
    add_places(m);
    for (int l = 0; l < s->services->n_links; l++) {
        add_link(m, l);
    }
    for (int i = 0; i < s->platform->n_servers; i++) {
        limit_server(m, i);
    }
    for (int a = 0; a < s->platform->n_arcs; a++) {
        limit_arc(m, a);
    }
    for (int t = 0; t < s->services->n_paths; t++) {
        limit_path(m, t);
    }
}

static void
destroy(struct model *m)
{
    glp_delete_prob(m->lp);
    free(m->place);
    free(m->flow);
    free(m->inside);
    free(m->index);
    free(m->value);
}

/* ---- Answers. ---- */

static void
read_places(const struct model *m, int *at)
{
    for (int g = 0; g < m->s->services->n_nodes; g++) {
        for (int v = 0; v < m->s->platform->n_nodes; v++) {
            if (*place_of(m, g, v) && glp_mip_col_val(m->lp, *place_of(m, g, v)) > 0.5) {
                at[g] = v;
            }
        }
    }
}

/* The arcs of LINK from where it begins to where it ends, as a breadth-first search finds them among those that it goes: circles, which may
 * stand beside the way where they cost nothing, are left out. */
static struct route *
read_route(const struct model *m, int link, const int *at)
{
    const struct fs_platform *p = m->s->platform;
    int from = at[m->s->services->links[link].from], to = at[m->s->services->links[link].to], n = 0, first = 0, last = 0;
    int *before = alloc_filled((size_t) p->n_nodes, -1), *queue = alloc_zeroed((size_t) p->n_nodes + 1, sizeof *queue);

    for (queue[last++] = from; first < last && from != to && before[to] < 0; first++) {
        for (int i = p->out_start[queue[first]]; i < p->out_start[queue[first] + 1]; i++) {
            int next = p->arcs[p->out[i]].to, column = *flow_of(m, link, p->out[i]);
            if (column && next != from && before[next] < 0 && glp_mip_col_val(m->lp, column) > 0.5) {
                before[next] = p->out[i];
                queue[last++] = next;
            }
        }
    }
    for (int node = to; from != to && before[node] >= 0; node = p->arcs[before[node]].from) {
        n++;
    }
    for (int node = to, i = n; i > 0; node = p->arcs[before[node]].from) {
        queue[--i] = before[node];    /* which is not needed any more */
    }
    struct route *route = n ? route_create(p, queue, n) : NULL;
    free(before);
    free(queue);
    return route;
}

int
exact_solve(const struct state *s, double seconds, int *at, struct route **routes, double *cost, char **error)
{
    struct model m;
    glp_iocp parameters;

    if (columns_needed(s) > COLUMNS_MAX) {
        *error = alloc_format("the exact search takes up to %d variables, this instance would need up to %zu: use another algorithm",
                              COLUMNS_MAX, columns_needed(s));
        return E2BIG;
    }
    build(&m, s);
    glp_init_iocp(&parameters);
    parameters.msg_lev = GLP_MSG_OFF;
    parameters.presolve = GLP_ON;
    parameters.tm_lim = seconds < 2e6 ? (int) (seconds * 1000) + 1 : INT32_MAX;
    int result = glp_intopt(m.lp, &parameters), status = glp_mip_status(m.lp);
    if (!result && status == GLP_OPT) {
        *cost = glp_mip_obj_val(m.lp);
        read_places(&m, at);
        for (int l = 0; routes && l < s->services->n_links; l++) {
            routes[l] = read_route(&m, l, at);
        }
    } else if (status == GLP_NOFEAS || status == GLP_UNDEF) {
        result = result == GLP_ETMLIM ? ETIME : ENETUNREACH;
    } else {
        result = ETIME;
    }
    if (result == ETIME) {
        *error = alloc_format("the exact search was not finished after %.3g seconds: give it more --time-limit, or use another algorithm",
                              seconds);
    } else if (result) {
        *error = alloc_format("some nodes of the services cannot be joined by any way on this platform");
    }
    destroy(&m);
    return result;
}

/* The names of the limits with the largest shadow prices. */
static char *
binding_limits(const struct model *m)
{
    char *text = alloc_format("%s", "");
    int n = 0;

    for (int row = 1; row <= glp_get_num_rows(m->lp) && n < 6; row++) {
        if (glp_get_row_name(m->lp, row) && fabs(glp_get_row_dual(m->lp, row)) > TINY) {
            char *more = alloc_format("%s%s%s", text, n++ ? ", " : "", glp_get_row_name(m->lp, row));
            free(text);
            text = more;
        }
    }
    return text;
}

int
exact_relax(const struct state *s, double seconds, double *cost, char **binding)
{
    struct model m;
    glp_smcp parameters;

    *binding = NULL;
    if (columns_needed(s) > COLUMNS_MAX) {
        return E2BIG;
    }
    build(&m, s);
    glp_init_smcp(&parameters);
    parameters.msg_lev = GLP_MSG_OFF;
    parameters.tm_lim = seconds < 2e6 ? (int) (seconds * 1000) + 1 : INT32_MAX;
    int result = glp_simplex(m.lp, &parameters) || glp_get_status(m.lp) != GLP_OPT ? ETIME : 0;
    if (!result) {
        *cost = glp_get_obj_val(m.lp);
        *binding = binding_limits(&m);
    }
    destroy(&m);
    return result;
}

/* The ports of a service: which I/O node each sink takes, and whether they can carry what must pass them. */
#include <config.h>

#include "alloc/online.h"

static fs_amount
demand_of(const struct held *h, int node)
{
    const struct fs_service_node *m = &h->services->nodes[node];
    fs_amount sum = 0;

    for (int i = 0; i < m->n_incident; i++) {
        sum += h->services->links[h->services->incident[m->first_incident + i]].bandwidth;
    }
    return sum;
}

/* What is free on all links of I/O node IO together, in that direction. */
static fs_amount
port_room(const struct fs_online *o, int io, bool in)
{
    const struct fs_platform *p = o->platform;
    fs_amount sum = 0;

    for (int i = p->out_start[io]; i < p->out_start[io + 1]; i++) {
        int arc = in ? p->out[i] ^ 1 : p->out[i];
        fs_amount room = o->arcs[arc].down ? 0 : online_free_arc(o, arc);
        sum += room > 0 ? room : 0;
    }
    return sum;
}

/* The ROUND'th best I/O node of a sink: those with more room first. */
static int
choose_port(const struct fs_online *o, const struct held *h, int node, int round)
{
    const struct fs_service_node *m = &h->services->nodes[node];
    const int *ios = h->services->ios + m->first_io;
    int best = ios[0];

    round = round < m->n_io ? round : m->n_io - 1;
    for (int i = 0; i < m->n_io; i++) {
        fs_amount room = port_room(o, ios[i], true);
        int better = 0;
        for (int k = 0; k < m->n_io; k++) {
            fs_amount other = port_room(o, ios[k], true);
            better += other > room || (other == room && k < i);
        }
        if (better == round) {
            best = ios[i];
        }
    }
    return best;
}

void
online_place_ports(struct fs_online *o, struct held *h, int round)
{
    for (int n = h->service->first_node; n < h->service->first_node + h->service->n_nodes; n++) {
        const struct fs_service_node *m = &h->services->nodes[n];
        if (m->kind != FS_SERVICE_PM && held_node(h, n)->at < 0) {
            online_seat(o, h, n, m->n_io > 1 ? choose_port(o, h, n, round) : h->services->ios[m->first_io]);
        }
    }
}

bool
online_ports_are_full(const struct fs_online *o, const struct held *h)
{
    for (int n = h->service->first_node; n < h->service->first_node + h->service->n_nodes; n++) {
        const struct fs_service_node *m = &h->services->nodes[n];
        if (m->kind != FS_SERVICE_PM && h->nodes[n - h->service->first_node].at < 0) {
            fs_amount demand = demand_of(h, n);
            int full = 0;
            for (int i = 0; i < m->n_io && demand; i++) {
                full += port_room(o, h->services->ios[m->first_io + i], m->kind == FS_SERVICE_SINK) < demand;
            }
            if (full && full == m->n_io) {
                return true;
            }
        }
    }
    return false;
}

bool
online_join_ports(struct fs_online *o, struct held *h)
{
    for (int l = h->service->first_link; l < h->service->first_link + h->service->n_links; l++) {
        const struct fs_service_link *link = &h->services->links[l];
        if (h->services->nodes[link->from].kind != FS_SERVICE_PM && h->services->nodes[link->to].kind != FS_SERVICE_PM
            && held_node(h, link->from)->at != held_node(h, link->to)->at && !held_link(h, l)->route) {
            struct route *route;
            if (online_find_way(o, h, l, &route)) {
                return false;
            }
            online_enter_way(o, h, l, route);
        }
    }
    return online_in_time(o, h);
}

/* Traffic that no request claims, where the platform file has it pass from one network port to another on another switch.
 *
 * It crosses the switches between them as that of a request does, on a service path: so nothing learns addresses, nothing floods, and rings of links do no harm.
 * The path is the shortest, the first found of several.  Its number comes from the end of the number space, by the port's place in the file; requests
 * get none of those (RESOURCE_SPI_LAST). */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "core/util.h"
#include "daemons/resource/state.h"

/* The one neighbour of a network port, or -1. */
static int
neighbour(const struct fs_platform *p, int io)
{
    return p->out_start[io] < p->out_start[io + 1] ? p->arcs[p->out[p->out_start[io]]].to : -1;
}

/* For each switch from which switch 'end' is reached, the arc that leads nearer to it; -1 for all others.  Owned. */
static int *
ways_to(const struct fs_platform *p, int end)
{
    int *way = fs_xcalloc((size_t) p->n_nodes, sizeof *way), *queue = fs_xcalloc((size_t) p->n_nodes + 1, sizeof *queue), first = 0, n = 0;
    for (int i = 0; i < p->n_nodes; i++) {
        way[i] = -1;
    }
    queue[n++] = end;
    while (first < n) {
        int at = queue[first++];
        for (int i = p->out_start[at]; i < p->out_start[at] + p->out_switches[at]; i++) {
            int from = p->arcs[p->out[i]].to;
            if (from != end && way[from] < 0) {
                way[from] = p->out[i] ^ 1;
                queue[n++] = from;
            }
        }
    }
    free(queue);
    return way;
}

static const char *
port_to(const struct fs_platform *p, int from, int to)
{
    for (int i = p->out_start[from]; i < p->out_start[from + 1]; i++) {
        if (p->arcs[p->out[i]].to == to) {
            return p->arcs[p->out[i]].port;
        }
    }
    return "";
}

static void
add_hop(const struct fs_platform *p, xmlrpc_value *switches, int at, const char *kind, const char *in, const char *out, int spi)
{
    for (size_t i = 0; i < fs_size(switches); i++) {
        xmlrpc_value *sw = fs_item(switches, i);
        if (!strcmp(fs_get_string(sw, "name", ""), p->nodes[at].id) && !*fs_get_string(sw, "host", "")) {
            xmlrpc_value *hop = fs_set(fs_set(fs_struct(), "kind", fs_string(kind)), "spi", fs_int(spi));
            fs_append(fs_get(sw, "carry"), fs_set(fs_set(hop, "in", fs_string(in)), "out", fs_string(out)));
        }
    }
}

static void
carry(const struct fs_platform *p, xmlrpc_value *switches, int io, int first, int last, int spi)
{
    int *way = ways_to(p, last), before = io;
    for (int at = first; way[at] >= 0; at = p->arcs[way[at]].to) {
        add_hop(p, switches, at, before == io ? "entry" : "transit", port_to(p, at, before), p->arcs[way[at]].port, spi);
        before = at;
    }
    if (before != io) {
        add_hop(p, switches, last, "exit", port_to(p, last, before), port_to(p, last, p->nodes[io].forward), spi);
    }
    free(way);
}

void
resource_add_carries(struct resource *r, xmlrpc_value *switches)
{
    const struct fs_platform *p = r->platform;
    int place = 0;
    for (int n = 0; n < p->n_nodes; n++) {
        if (p->nodes[n].kind != FS_NODE_IO) {
            continue;
        }
        int spi = RESOURCE_SPI_LAST + 1 + place++, to = p->nodes[n].forward;
        int first = neighbour(p, n), last = to >= 0 ? neighbour(p, to) : -1;
        bool apart = first >= 0 && last >= 0 && first != last;
        if (apart && spi <= 0xffffff && p->nodes[first].kind == FS_NODE_SWITCH && p->nodes[last].kind == FS_NODE_SWITCH) {
            carry(p, switches, n, first, last, spi);
        }
    }
}

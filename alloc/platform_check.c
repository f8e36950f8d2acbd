/* What a platform needs to be run.
 *
 * The allocator reckons with platforms that nobody could build: ports without names, links without an MTU, parts under construction.  The resource daemon, and
 * whoever makes a platform, call this as well before they believe a file. */
#include <config.h>

#include "flowstream/platform.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "alloc/memory.h"

enum {
    MTU_LEAST = 576,
    MTU_MOST = 9216,
    MTU_NETWORK = 1500, /* of a network port's link that does not say */
    MTU_INNER = 1600,   /* of any other link that does not say */
    MTU_EXTRA = 26      /* what tagged packets carry besides the packet: service header 8, its own Ethernet header 14 and VLAN tag 4 */
};

struct check {
    const struct fs_platform *p;
    const char *name;
    char **error;
    int widest, needed; /* the arc of the network port with the greatest MTU, and the MTU that tagged packets of it need */
};

static bool
is_io(const struct check *c, int node)
{
    return c->p->nodes[node].kind == FS_NODE_IO;
}

static bool
is_outer(const struct check *c, const struct fs_arc *arc)
{
    return is_io(c, arc->from) || is_io(c, arc->to);
}

static int
mtu_of(const struct check *c, const struct fs_arc *arc)
{
    return arc->mtu ? arc->mtu : is_outer(c, arc) ? MTU_NETWORK : MTU_INNER;
}

static const char *
id(const struct check *c, int node)
{
    return c->p->nodes[node].id;
}

static int
check_node(const struct check *c, int n)
{
    const struct fs_node *node = &c->p->nodes[n];
    int links = c->p->out_start[n + 1] - c->p->out_start[n];

    if (!links) {
        *c->error = alloc_format("%s:%d: \"%s\" has no link", c->name, node->line, node->id);
    } else if (node->kind == FS_NODE_IO && links > 1) {
        *c->error = alloc_format("%s:%d: the network port \"%s\" has %d links; one is possible", c->name, node->line, node->id, links);
    } else if (node->kind == FS_NODE_SERVER && (!c->p->servers[node->server].cpu || !c->p->servers[node->server].mem)) {
        *c->error = alloc_format("%s:%d: the server \"%s\" has %s 0: no module could run there", c->name, node->line, node->id,
                                 c->p->servers[node->server].cpu ? "mem" : "cpu");
    }
    return *c->error ? EINVAL : 0;
}

static void
find_widest(struct check *c)
{
    for (int a = 0; a < c->p->n_arcs; a++) {
        if (is_outer(c, &c->p->arcs[a]) && mtu_of(c, &c->p->arcs[a]) + MTU_EXTRA > c->needed) {
            c->needed = mtu_of(c, &c->p->arcs[a]) + MTU_EXTRA;
            c->widest = a;
        }
    }
}

static int
check_link(const struct check *c, const struct fs_arc *arc)
{
    int mtu = mtu_of(c, arc);

    if (is_io(c, arc->from) && is_io(c, arc->to)) {
        *c->error = alloc_format("%s:%d: a link cannot connect the two network ports \"%s\" and \"%s\"", c->name, arc->line, id(c, arc->from), id(c, arc->to));
    } else if (!arc->bandwidth) {
        *c->error = alloc_format("%s:%d: the link %s-%s has the bandwidth 0 from \"%s\": nothing could be sent", c->name, arc->line, id(c, arc->from),
                                 id(c, arc->to), id(c, arc->from));
    } else if (mtu < MTU_LEAST || mtu > MTU_MOST) {
        *c->error = alloc_format("%s:%d: mtu=\"%d\" of the link %s-%s is not between %d and %d", c->name, arc->line, mtu, id(c, arc->from), id(c, arc->to),
                                 MTU_LEAST, MTU_MOST);
    } else if (!is_outer(c, arc) && mtu < c->needed) {
        *c->error = alloc_format("%s:%d: mtu=\"%d\" of the link %s-%s is too small: tagged packets of the network port's link on line %d, whose mtu is %d, need %d",
                                 c->name, arc->line, mtu, id(c, arc->from), id(c, arc->to), c->p->arcs[c->widest].line, c->needed - MTU_EXTRA, c->needed);
    }
    return *c->error ? EINVAL : 0;
}

/* Two links of a node whose ports there have the same name. */
static int
check_ports(const struct check *c, int n)
{
    const struct fs_platform *p = c->p;

    for (int i = p->out_start[n]; i < p->out_start[n + 1] && !is_io(c, n); i++) {
        for (int j = p->out_start[n]; j < i; j++) {
            const struct fs_arc *a = &p->arcs[p->out[i]], *b = &p->arcs[p->out[j]];
            if (!strcmp(a->port, b->port)) {
                *c->error = alloc_format("%s:%d: the port \"%s\" of \"%s\" is already that of the link on line %d", c->name,
                                         a->line > b->line ? a->line : b->line, a->port, id(c, n), a->line > b->line ? b->line : a->line);
                return EINVAL;
            }
        }
    }
    return 0;
}

static int
check_joined(const struct check *c)
{
    const struct fs_platform *p = c->p;
    bool *reached = alloc_zeroed((size_t) p->n_nodes + 1, sizeof *reached);
    int *todo = alloc_zeroed((size_t) p->n_nodes + 1, sizeof *todo), n = 1;

    reached[0] = true;
    while (n) {
        int node = todo[--n];
        for (int i = p->out_start[node]; i < p->out_start[node + 1]; i++) {
            int to = p->arcs[p->out[i]].to;
            if (!reached[to]) {
                reached[to] = true;
                todo[n++] = to;
            }
        }
    }
    for (int i = 0; i < p->n_nodes && !*c->error; i++) {
        if (!reached[i]) {
            *c->error = alloc_format("%s:%d: \"%s\" is not joined to \"%s\" by any links: the platform is in parts", c->name, p->nodes[i].line, id(c, i), id(c, 0));
        }
    }
    free(todo);
    free(reached);
    return *c->error ? EINVAL : 0;
}

int
fs_platform_check(const struct fs_platform *p, const char *name, char **error)
{
    struct check c = { .p = p, .name = name, .error = error };
    int status = 0;

    *error = NULL;
    if (!p->n_nodes) {
        *error = alloc_format("%s:1: the platform is empty", name);
        return EINVAL;
    }
    find_widest(&c);
    for (int n = 0; n < p->n_nodes && !status; n++) {
        status = check_node(&c, n);
    }
    for (int a = 0; a < p->n_arcs && !status; a++) {
        status = check_link(&c, &p->arcs[a]);
    }
    for (int n = 0; n < p->n_nodes && !status; n++) {
        status = check_ports(&c, n);
    }
    return status ? status : check_joined(&c);
}

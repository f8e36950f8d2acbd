/* The most that can flow between I/O nodes and servers: Dinic's algorithm.
 *
 * All traffic is taken as one liquid and all servers as one place, so what cannot flow here cannot be placed in any way; and the smallest
 * set of links that part the two is an argument that can be checked with a pencil. */
#include <config.h>

#include "alloc/flow.h"

#include <stdlib.h>
#include <string.h>

#include "alloc/memory.h"

struct network {
    const struct fs_platform *p;
    const fs_amount *demand;
    bool out;
    fs_amount *flow;         /* by arc, in its own direction; from the I/O nodes' side even where traffic leaves */
    fs_amount *entered;      /* by node: what of its demand came in */
    fs_amount anywhere;      /* what may come in at any I/O node, and did not yet */
    int *level;              /* by node: steps from where something can still come in, -1: none */
    int *next;               /* by node: the arc to try next */
    int *queue;
};

/* What arc A, as it leads away from the I/O nodes, can take beside its flow; what flows the other way can be pushed back. */
static fs_amount
room(const struct network *f, int a)
{
    return f->p->arcs[f->out ? a ^ 1 : a].bandwidth - f->flow[a] + f->flow[a ^ 1];
}

static void
push(struct network *f, int a, fs_amount amount)
{
    fs_amount back = f->flow[a ^ 1] < amount ? f->flow[a ^ 1] : amount;

    f->flow[a ^ 1] -= back;
    f->flow[a] += amount - back;
}

static bool
is_server(const struct network *f, int node)
{
    return f->p->nodes[node].kind == FS_NODE_SERVER;
}

/* Sets the levels; returns whether a server can be reached. */
static bool
set_levels(struct network *f)
{
    int first = 0, last = 0;
    bool reached = false;

    for (int n = 0; n < f->p->n_nodes; n++) {
        bool open = f->anywhere > 0 && f->p->nodes[n].kind == FS_NODE_IO;
        f->level[n] = open || f->demand[n] > f->entered[n] ? 0 : -1;
        f->next[n] = f->p->out_start[n];
        if (!f->level[n]) {
            f->queue[last++] = n;
        }
    }
    while (first < last) {
        int node = f->queue[first++];
        if (is_server(f, node)) {
            reached = true;
            continue;    /* traffic ends at servers */
        }
        for (int i = f->p->out_start[node]; i < f->p->out_start[node + 1]; i++) {
            int a = f->p->out[i], to = f->p->arcs[a].to;
            if (f->level[to] < 0 && room(f, a) > 0) {
                f->level[to] = f->level[node] + 1;
                f->queue[last++] = to;
            }
        }
    }
    return reached;
}

/* Sends up to AMOUNT on from NODE by arcs that lead a level up; returns how much got to servers. */
static fs_amount
send(struct network *f, int node, fs_amount amount)
{
    fs_amount sent = 0;

    if (is_server(f, node)) {
        return amount;
    }
    for (int *i = &f->next[node]; *i < f->p->out_start[node + 1] && sent < amount; ++*i) {
        int a = f->p->out[*i], to = f->p->arcs[a].to;
        if (f->level[to] == f->level[node] + 1 && room(f, a) > 0) {
            fs_amount rest = amount - sent, got = send(f, to, rest < room(f, a) ? rest : room(f, a));
            push(f, a, got);
            sent += got;
            if (sent == amount) {
                break;    /* this arc may have room for more */
            }
        }
    }
    return sent;
}

/* After the last levels: what is reached is on the I/O nodes' side of the cut. */
static void
read_cut(const struct network *f, struct flow_cut *cut)
{
    const struct fs_platform *p = f->p;

    cut->arcs = alloc_zeroed((size_t) p->n_arcs, sizeof *cut->arcs);
    for (int a = 0; a < p->n_arcs; a++) {
        if (f->level[p->arcs[a].from] >= 0 && f->level[p->arcs[a].to] < 0) {
            int arc = f->out ? a ^ 1 : a;
            cut->arcs[cut->n_arcs++] = arc;
            cut->capacity += p->arcs[arc].bandwidth;
        }
    }
    for (int n = 0; n < p->n_nodes; n++) {
        cut->parted += f->level[n] >= 0 ? f->demand[n] : 0;
    }
}

/* Lets in what has to come in at given nodes.  What may come in anywhere waits until then: it could only be in the way. */
static void
fill_fixed(struct network *f)
{
    while (set_levels(f)) {
        for (int n = 0; n < f->p->n_nodes; n++) {
            if (f->demand[n] > f->entered[n]) {
                f->entered[n] += send(f, n, f->demand[n] - f->entered[n]);
            }
        }
    }
}

static void
fill_anywhere(struct network *f)
{
    while (f->anywhere > 0 && set_levels(f)) {
        for (int n = 0; n < f->p->n_nodes; n++) {
            if (f->p->nodes[n].kind == FS_NODE_IO) {
                f->anywhere -= send(f, n, f->anywhere);
            }
        }
    }
}

void
flow_find_cut(const struct fs_platform *p, const fs_amount *demand, fs_amount anywhere, bool out, struct flow_cut *cut)
{
    size_t nodes = (size_t) p->n_nodes;
    struct network f = {
        .p = p, .demand = demand, .out = out, .flow = alloc_zeroed((size_t) p->n_arcs, sizeof *f.flow),
        .entered = alloc_zeroed(nodes, sizeof *f.entered), .level = alloc_zeroed(nodes, sizeof *f.level),
        .next = alloc_zeroed(nodes, sizeof *f.next), .queue = alloc_zeroed(nodes, sizeof *f.queue),
    };

    *cut = (struct flow_cut) { .demand = anywhere, .carried = anywhere };
    fill_fixed(&f);
    f.anywhere = anywhere;
    fill_anywhere(&f);
    cut->carried -= f.anywhere;
    for (int n = 0; n < p->n_nodes; n++) {
        cut->demand += demand[n];
        cut->carried += f.entered[n];
    }
    if (cut->carried < cut->demand) {
        set_levels(&f);
        read_cut(&f, cut);
        cut->parted += f.anywhere > 0 ? anywhere : 0;
    }
    free(f.flow);
    free(f.entered);
    free(f.level);
    free(f.next);
    free(f.queue);
}

/* The account of the platform: what each plan takes of servers and links.  What was entered is remembered as amounts, so it is struck out exactly, whatever has become of the plan;
 * and it is read from the packed document, for at start this is done for all allocations. */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "core/util.h"
#include "daemons/resource/state.h"

/* Of a server, or of an arc. */
struct taken {
    int server, arc; /* one is -1 */
    fs_amount cpu, mem, bandwidth;
    int modules;
};

struct bill {
    struct resource *r;
    struct taken *taken;
    size_t n, room;
    char *error;
};

static struct taken *
entry(struct bill *b, int server, int arc)
{
    for (size_t i = 0; i < b->n; i++) {
        if (b->taken[i].server == server && b->taken[i].arc == arc) {
            return &b->taken[i];
        }
    }
    if (b->n == b->room) {
        b->room = b->room * 2 + 8;
        b->taken = fs_xrealloc(b->taken, b->room * sizeof *b->taken);
    }
    b->taken[b->n] = (struct taken) { .server = server, .arc = arc };
    return &b->taken[b->n++];
}

/* The number of a node of the platform, or -1 and the bill says why. */
static int
find_node(struct bill *b, const char *name)
{
    int node = fs_platform_find(b->r->platform, name);
    if (node < 0 && !b->error) {
        b->error = fs_xasprintf("'%s' is not part of the platform any more", name);
    }
    return node;
}

static const char *
host_of(struct fs_packed modules, const char *node)
{
    struct fs_packed m = { 0 };
    for (struct fs_packed_items i = fs_packed_items(modules); fs_packed_next(&i, &m);) {
        if (!strcmp(fs_packed_get_string(m, "node", ""), node)) {
            return fs_packed_get_string(m, "host", "");
        }
    }
    return "";
}

static void
add_nodes(struct bill *b, struct fs_packed request, struct fs_packed plan)
{
    struct fs_packed node = { 0 }, modules = fs_packed_get(plan, "modules");
    for (struct fs_packed_items i = fs_packed_items(fs_packed_get(request, "nodes")); fs_packed_next(&i, &node) && !b->error;) {
        const char *kind = fs_packed_get_string(node, "kind", ""), *name = fs_packed_get_string(node, "name", "");
        if (!strcmp(kind, "to")) {
            find_node(b, fs_packed_get_string(fs_packed_get(plan, "ports"), name, ""));
        } else if (!strcmp(kind, "module")) {
            const char *host = host_of(modules, name);
            int at = find_node(b, host), server = at < 0 ? -1 : b->r->platform->nodes[at].server;
            if (at >= 0 && server < 0) {
                b->error = fs_xasprintf("'%s' is no server of the platform any more", host);
            } else if (at >= 0) {
                struct taken *t = entry(b, server, -1);
                t->cpu += resource_amount(fs_packed_get_double(node, "cpu", RESOURCE_MODULE_CPU));
                t->mem += resource_amount(fs_packed_get_double(node, "mem", RESOURCE_MODULE_MEM));
                t->modules++;
            }
        }
    }
}

static void
add_path(struct bill *b, struct fs_packed path, fs_amount rate)
{
    struct fs_packed step = { 0 };
    const char *before = NULL;
    for (struct fs_packed_items i = fs_packed_items(path); fs_packed_next(&i, &step) && !b->error;) {
        const char *here = fs_packed_text(step, "");
        int to = find_node(b, here), from = before && to >= 0 ? fs_platform_find(b->r->platform, before) : -1;
        int arc = from >= 0 ? resource_arc_between(b->r->platform, from, to) : -1;
        if (before && arc < 0 && !b->error) {
            b->error = fs_xasprintf("the link from %s to %s is not part of the platform any more", before, here);
        } else if (arc >= 0) {
            entry(b, -1, arc)->bandwidth += rate;
        } else if (to >= 0 && fs_packed_count(path) == 1 && b->r->platform->nodes[to].server >= 0) {
            entry(b, b->r->platform->nodes[to].server, -1)->bandwidth += rate; /* between two modules inside one host */
        }
        before = here;
    }
}

static void
add_flows(struct bill *b, struct fs_packed flows)
{
    struct fs_packed flow = { 0 };
    for (struct fs_packed_items i = fs_packed_items(flows); fs_packed_next(&i, &flow) && !b->error;) {
        add_path(b, fs_packed_get(flow, "path"), resource_amount(fs_packed_get_double(flow, "rate", RESOURCE_FLOW_RATE)));
    }
}

static void
enter(struct fs_load *load, const struct allocation *a, int sign)
{
    for (size_t i = 0; i < a->n_taken; i++) {
        const struct taken *t = &a->taken[i];
        if (t->arc >= 0) {
            fs_load_take_arc(load, t->arc, sign * t->bandwidth);
        } else {
            fs_load_take_server(load, t->server, sign * t->cpu, sign * t->mem, sign * t->bandwidth, sign * t->modules);
        }
    }
}

static char *
account(struct resource *r, struct allocation *a, struct fs_packed request, struct fs_packed plan)
{
    struct bill b = { .r = r };
    if (!plan.block) {
        return NULL;
    }
    add_nodes(&b, request, plan);
    add_flows(&b, fs_packed_get(plan, "flows"));
    if (b.error) {
        free(b.taken);
        return b.error;
    }
    a->taken = b.n ? fs_xrealloc(b.taken, b.n * sizeof *b.taken) : NULL;
    a->n_taken = b.n;
    enter(r->load, a, 1);
    return NULL;
}

char *
resource_account(struct resource *r, struct allocation *a)
{
    struct fs_packed plan = a->planned ? fs_packed(a->planned, a->planned_size) : fs_packed_get(resource_doc(a), "plan");
    return account(r, a, fs_packed_get(resource_doc(a), "request"), plan);
}

void
resource_forget_taken(struct allocation *a)
{
    free(a->taken);
    a->taken = NULL;
    a->n_taken = 0;
}

void
resource_unaccount(struct resource *r, struct allocation *a)
{
    if (r->load) {
        enter(r->load, a, -1);
    }
    resource_forget_taken(a);
    free(a->planned);
    a->planned = NULL;
}

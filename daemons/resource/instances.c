/* Modules of several instances, written out: what follows (placement, plan, rules, what is shown) knows single modules and links only.
 *
 * A module 'w' of three instances becomes w[1], w[2] and w[3].  A link into it becomes one to each, and what comes along is spread over them by flow: by the switch
 * where it enters, or by the multiplexer of the module that it comes from.  Both compute the same number of a packet (pm/spread.h), so what
 * is spread over N here is spread in the same way over N there; therefore between two modules of N instances each the first leads to the first, the second to
 * the second, and so on: N links instead of N times N.  Where the numbers differ each leads to each. */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "core/util.h"
#include "daemons/resource/resource.h"
#include <flowstream/pm.h>

enum { MOST_NODES = 20000, MOST_LINKS = 50000 };

struct element {
    const char *name;
    int instances;
    size_t in, out; /* links of one instance */
};

struct spreading {
    const xmlrpc_value *request;
    struct element *elements; /* by place in the request's nodes */
    size_t n_elements;
    xmlrpc_value *nodes, *links;
};

static char *
name_of(const struct element *e, int instance)
{
    return e->instances > 1 ? fs_xasprintf("%s[%d]", e->name, instance) : fs_xstrdup(e->name);
}

static struct element *
find(struct spreading *s, const char *name)
{
    for (size_t i = 0; i < s->n_elements; i++) {
        if (!strcmp(s->elements[i].name, name)) {
            return &s->elements[i];
        }
    }
    return NULL;
}

static void
write_node(struct spreading *s, const xmlrpc_value *node, const struct element *e)
{
    for (int i = 1; i <= e->instances; i++) {
        xmlrpc_value *v = fs_copy(node);
        if (e->instances > 1) {
            char *name = name_of(e, i);
            fs_set(fs_set(v, "name", fs_string(name)), "element", fs_string(e->name));
            fs_set(v, "instance", fs_int(i));
            free(name);
        }
        fs_append(s->nodes, v);
    }
}

/* The link from instance 'i' of one to instance 'k' of the other.  'share' are the links that the given rate is divided among. */
static xmlrpc_value *
make_link(const xmlrpc_value *link, const struct element *from, int i, const struct element *to, int k, int share)
{
    xmlrpc_value *v = fs_copy(link);
    char *here = name_of(from, i), *there = name_of(to, k);
    fs_set(fs_set(v, "from", fs_string(here)), "to", fs_string(there));
    if (fs_get(link, "rate")) {
        fs_set(v, "rate", fs_double(fs_get_double(link, "rate", 0) / share));
    }
    free(here);
    free(there);
    return v;
}

static char *
spread_link(struct spreading *s, const xmlrpc_value *link)
{
    struct element *from = find(s, fs_get_string(link, "from", "")), *to = find(s, fs_get_string(link, "to", ""));
    if (!from || !to) {
        return fs_xasprintf("the link from '%s' to '%s' begins or ends nowhere", fs_get_string(link, "from", ""), fs_get_string(link, "to", ""));
    }
    bool lanes = from->instances == to->instances && from->instances > 1;
    int fan_out = lanes ? 1 : to->instances, fan_in = lanes ? 1 : from->instances;
    from->out += (size_t) fan_out;
    to->in += (size_t) fan_in;
    if (from->out > FS_PATHS_MAX || to->in > FS_PATHS_MAX) {
        return fs_xasprintf("%d instances of %s and %d of %s need more than %u service paths at one module: ask for fewer, or for as many of the one as of the other",
                            from->instances, from->name, to->instances, to->name, FS_PATHS_MAX);
    }
    if (fs_size(s->links) + (size_t) from->instances * (size_t) fan_out > MOST_LINKS) {
        return fs_xasprintf("with all instances the request has more than %d service paths (at %s -> %s): ask for fewer, or for as many of the one as of the other",
                            MOST_LINKS, from->name, to->name);
    }
    for (int i = 1; i <= from->instances; i++) {
        for (int k = lanes ? i : 1; k <= (lanes ? i : to->instances); k++) {
            xmlrpc_value *v = make_link(link, from, i, to, k, lanes ? from->instances : from->instances * to->instances);
            if (fan_out > 1) {
                fs_set(fs_set(v, "choice", fs_int(k)), "choices", fs_int(fan_out));
            }
            fs_append(s->links, v);
        }
    }
    return NULL;
}

static char *
write_out(struct spreading *s)
{
    const xmlrpc_value *nodes = fs_get(s->request, "nodes"), *links = fs_get(s->request, "links");
    char *why = NULL;
    size_t total = 0;
    s->n_elements = fs_size(nodes);
    s->elements = fs_xcalloc(s->n_elements + 1, sizeof *s->elements);
    for (size_t i = 0; i < s->n_elements; i++) {
        const xmlrpc_value *node = fs_item(nodes, i);
        s->elements[i] = (struct element) { .name = fs_get_string(node, "name", ""), .instances = fs_get_int(node, "instances", 1) };
        total += (size_t) s->elements[i].instances;
    }
    if (total > MOST_NODES) {
        return fs_xasprintf("the request has %zu modules with all instances, %d are the most", total, MOST_NODES);
    }
    for (size_t i = 0; i < s->n_elements; i++) {
        write_node(s, fs_item(nodes, i), &s->elements[i]);
    }
    for (size_t i = 0; i < fs_size(links) && !why; i++) {
        why = spread_link(s, fs_item(links, i));
    }
    return why;
}

static bool
has_several(const xmlrpc_value *request)
{
    const xmlrpc_value *nodes = fs_get(request, "nodes");
    for (size_t i = 0; i < fs_size(nodes); i++) {
        if (fs_get_int(fs_item(nodes, i), "instances", 1) > 1) {
            return true;
        }
    }
    return false;
}

char *
resource_write_instances(xmlrpc_value *request)
{
    struct spreading s = { .request = request };
    if (!has_several(request)) {
        return NULL;
    }
    s.nodes = fs_array();
    s.links = fs_array();
    char *why = write_out(&s);
    free(s.elements); /* its names are in the old nodes */
    if (why) {
        fs_free(s.nodes);
        fs_free(s.links);
    } else {
        fs_set(fs_set(request, "nodes", s.nodes), "links", s.links);
    }
    return why;
}

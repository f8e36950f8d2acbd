/* Bounds on delays, from what a request says of two ends to what the allocator asks for: every way between them.
 *
 * A request has one bound a pair of FromNet and ToNet, and perhaps one for all other pairs.  The allocator wants each way
 * through the service by the names of its nodes.  There can be very many; a request with more than MOST_STEPS steps on
 * them all is refused. */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "core/util.h"
#include "daemons/resource/state.h"

enum { MOST_STEPS = 20000, DEEPEST = 256 };

struct walk {
    struct fs_services_builder *builder;
    const xmlrpc_value *request, *flows, *delays;
    const char *from;            /* the FromNet */
    const char *names[DEEPEST];  /* the way so far */
    size_t next[DEEPEST];        /* flow to be looked at next, of each */
    size_t depth;
    unsigned int steps;
};

/* The bound between the two in milliseconds, or 0. */
static double
bound_between(const xmlrpc_value *delays, const char *from, const char *to)
{
    double bound = 0;
    for (size_t i = 0; i < fs_size(delays); i++) {
        const xmlrpc_value *d = fs_item(delays, i);
        const char *d_from = fs_get_string(d, "from", ""), *d_to = fs_get_string(d, "to", "");
        if (!strcmp(d_from, from) && !strcmp(d_to, to)) {
            return fs_get_double(d, "bound", 0);
        }
        bound = *d_from ? bound : fs_get_double(d, "bound", 0);
    }
    return bound;
}

static bool
is_exit(const xmlrpc_value *request, const char *name)
{
    const xmlrpc_value *nodes = fs_get(request, "nodes");
    for (size_t i = 0; i < fs_size(nodes); i++) {
        const xmlrpc_value *node = fs_item(nodes, i);
        if (!strcmp(fs_get_string(node, "name", ""), name)) {
            return !strcmp(fs_get_string(node, "kind", ""), "to");
        }
    }
    return false;
}

/* The way on the stack has come to its end: ask for its bound, if it has one. */
static int
add_way(struct walk *w, char **error)
{
    double bound = bound_between(w->delays, w->from, w->names[w->depth - 1]);
    if (bound <= 0) {
        return 0;
    }
    struct fs_text via = { 0 };
    for (size_t i = 0; i < w->depth; i++) {
        fs_text_addf(&via, "%s%s", i ? " " : "", w->names[i]);
    }
    int e = fs_services_add_path(w->builder, via.text, (fs_amount) (bound * (double) FS_UNIT + 0.5), error);
    free(via.text);
    return e;
}

static char *
enter(struct walk *w, const char *name)
{
    if (w->depth == DEEPEST || ++w->steps > MOST_STEPS) {
        return fs_xasprintf("too many ways, or too long ones, lead from '%s' to a ToNet for a bound on their delay", w->from);
    }
    w->names[w->depth] = name;
    w->next[w->depth++] = 0;
    return NULL;
}

/* Take the next flow that leads on from the node on top, or leave that node. */
static char *
step(struct walk *w, char **error)
{
    const char *here = w->names[w->depth - 1];
    size_t *i = &w->next[w->depth - 1];
    if (*i == 0 && is_exit(w->request, here)) {
        char *why = add_way(w, error) ? *error : NULL;
        w->depth--;
        return why;
    }
    while (*i < fs_size(w->flows)) {
        const xmlrpc_value *flow = fs_item(w->flows, (*i)++);
        if (!*fs_get_string(flow, "io", "") && !strcmp(fs_get_string(flow, "from", ""), here)) {
            return enter(w, fs_get_string(flow, "to", ""));
        }
    }
    w->depth--;
    return NULL;
}

char *
resource_add_delays(struct fs_services_builder *builder, const xmlrpc_value *request, const xmlrpc_value *flows)
{
    struct walk w = { .builder = builder, .request = request, .flows = flows, .delays = fs_get(request, "delays") };
    char *why = NULL, *error = NULL;
    for (size_t i = 0; i < fs_size(flows) && fs_size(w.delays) && !why; i++) {
        const xmlrpc_value *flow = fs_item(flows, i);
        const char *io = fs_get_string(flow, "io", "");
        if (!*io) {
            continue;
        }
        w.from = fs_get_string(flow, "from", "");
        char *source = fs_xasprintf("%s@%s", w.from, io);
        w.depth = 0;
        why = enter(&w, source);
        why = why ? why : enter(&w, fs_get_string(flow, "to", ""));
        while (w.depth > 1 && !why) {
            why = step(&w, &error);
        }
        free(source);
    }
    return why;
}

/* Links that carry nothing, as far as switches tell the OpenFlow daemon: nothing new is led over them.  What runs over them already stays where it is.
 *
 * A switch that cannot be asked says nothing about its links, so what was known of them stays.  Links to network ports are not looked at: what is outside is not ours, and a
 * request may be there before its cable is. */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "core/util.h"
#include "daemons/resource/state.h"

/* The node of the platform whose switch or bridge has this name, or -1. */
static int
node_of(const struct resource *r, const char *name)
{
    for (const struct host *h = r->hosts; h; h = h->next) {
        if (!h->removed && !strcmp(fs_get_string(h->doc, "bridge", h->name), name)) {
            return fs_platform_find(r->platform, h->name);
        }
    }
    return fs_platform_find(r->platform, name);
}

static bool
same_texts(const xmlrpc_value *a, const xmlrpc_value *b)
{
    bool same = fs_size(a) == fs_size(b);
    for (size_t i = 0; same && i < fs_size(a); i++) {
        same = !strcmp(fs_text(fs_item(a, i), ""), fs_text(fs_item(b, i), ""));
    }
    return same;
}

void
resource_note_links(struct resource *r, const char *name, const xmlrpc_value *now)
{
    const xmlrpc_value *down = fs_get_int(now, "session", 0) ? fs_get(now, "down") : NULL;
    pthread_mutex_lock(&r->lock);
    if (down && !same_texts(fs_get(r->down, name), down)) {
        fs_set(r->down, name, fs_copy(down));
        r->links_changed = true;
    }
    pthread_mutex_unlock(&r->lock);
}

/* Mark the link, both directions, behind port 'port' of a node. */
static void
mark(const struct fs_platform *p, int node, const char *port, bool *down)
{
    for (int i = p->out_start[node]; i < p->out_start[node + 1]; i++) {
        const struct fs_arc *arc = &p->arcs[p->out[i]];
        if (!strcmp(arc->port, port) && p->nodes[arc->to].kind != FS_NODE_IO) {
            down[p->out[i]] = down[p->out[i] ^ 1] = true;
        }
    }
}

void
resource_look_at_links(struct resource *r)
{
    if (!r->links_changed) {
        return;
    }
    bool *down = fs_xcalloc((size_t) r->platform->n_arcs + 1, sizeof *down);
    for (size_t i = 0, n = fs_size(r->down); i < n; i++) {
        xmlrpc_value *ports;
        int node = node_of(r, fs_member(r->down, i, &ports));
        for (size_t k = 0; node >= 0 && k < fs_size(ports); k++) {
            mark(r->platform, node, fs_text(fs_item(ports, k), ""), down);
        }
    }
    for (int i = 0; i < r->platform->n_arcs; i += 2) {
        if (down[i] != r->arcs_down[i]) {
            fs_online_set_link(r->online, i, !down[i]);
        }
    }
    free(r->arcs_down);
    r->arcs_down = down;
    r->links_changed = false;
}

char *
resource_links_down(struct resource *r)
{
    struct fs_text t = { 0 };
    pthread_mutex_lock(&r->lock);
    for (int i = 0; i < r->platform->n_arcs; i += 2) {
        if (r->arcs_down[i]) {
            fs_text_addf(&t, "%s%s-%s", t.length ? ", " : "", r->platform->nodes[r->platform->arcs[i].from].id, r->platform->nodes[r->platform->arcs[i].to].id);
        }
    }
    pthread_mutex_unlock(&r->lock);
    return t.text ? t.text : fs_xstrdup("");
}

/* Platforms: reading the file, checking it, and laying it out for a search.
 *
 * Links may stand before the nodes that they join, so they are kept by name until the file has ended.  Then everything gets
 * its dense number: the arcs that leave a node stand side by side, those to switches first because routes pass through
 * nothing else, and servers are grouped by the switch that they hang on, here called a rack. */
#include <config.h>

#include "flowstream/platform.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alloc/memory.h"
#include "alloc/schemas.h"
#include "alloc/xml.h"

/* Packets between switches and servers carry 24 bytes of NSH and another Ethernet header besides 1,500 of their own. */
#define MTU_MIN 1600

struct fs_platform_private {
    struct alloc_arena arena;
    struct alloc_names names;
};

/* A link as it stands in the file. */
struct link_text {
    int line;
    const char *end[2], *port[2];
    fs_amount bandwidth[2], delay[2];
    int mtu;
};

/* What is not final before the end of the file. */
struct reader {
    struct fs_platform *platform;
    const char *file;
    int nodes_room, servers_room, links_room, n_links;
    struct link_text *links;
    int *lines;                /* by node: where it is defined */
    const char **forwards;     /* by node: the name in 'forward', or NULL */
    int lines_room, forwards_room;
    char **error;
};

static int complain(struct reader *, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));

static int
complain(struct reader *r, int line, const char *format, ...)
{
    va_list args;
    char *text = NULL;

    va_start(args, format);
    int n = vasprintf(&text, format, args);
    va_end(args);
    free(*r->error);
    *r->error = alloc_format("%s:%d: %s", r->file, line, n < 0 ? format : text);
    if (n >= 0) {
        free(text);
    }
    return EINVAL;
}

static void
warn(struct reader *r, int line, const char *about, const char *text)
{
    char *old = r->platform->warnings;

    r->platform->warnings = alloc_format("%s%s:%d: warning: %s %s\n", old, r->file, line, about, text);
    free(old);
}

int
fs_platform_find(const struct fs_platform *platform, const char *id)
{
    return alloc_names_find(&platform->private->names, id);
}

/* A copy of an attribute that lives as long as the platform. */
static const char *
text_of(struct reader *r, struct alloc_xml *xml, const char *attribute)
{
    return alloc_arena_copy(&r->platform->private->arena, alloc_xml_attribute(xml, attribute));
}

static int
read_server(struct reader *r, struct alloc_xml *xml, struct fs_node *node)
{
    struct fs_platform *p = r->platform;
    struct fs_server server = { .node = p->n_nodes };

    if (alloc_xml_amount(xml, "cpu", &server.cpu) || alloc_xml_amount(xml, "mem", &server.mem)
        || alloc_xml_amount(xml, "bandwidth", &server.bandwidth) || alloc_xml_amount(xml, "delay", &server.delay)) {
        return EINVAL;
    }
    node->address = text_of(r, xml, "address");
    node->basesys = text_of(r, xml, "basesys");
    node->server = p->n_servers;
    alloc_grow(&p->servers, p->n_servers, &r->servers_room);
    p->servers[p->n_servers++] = server;
    return 0;
}

static int
read_node(struct reader *r, struct alloc_xml *xml, enum fs_node_kind kind)
{
    struct fs_platform *p = r->platform;
    struct fs_node node = { .id = text_of(r, xml, "id"), .kind = kind, .server = -1, .switch_index = -1, .forward = -1,
                            .line = alloc_xml_line(xml) };

    if (!*node.id || strpbrk(node.id, " \t\r\n")) {
        return alloc_xml_error(xml, "id \"%s\" is empty or has a space in it", node.id);
    }
    int other = fs_platform_find(p, node.id);
    if (other >= 0) {
        return alloc_xml_error(xml, "id \"%s\" is already taken by line %d", node.id, r->lines[other]);
    }
    if (kind == FS_NODE_SERVER && read_server(r, xml, &node)) {
        return EINVAL;
    }
    if (kind == FS_NODE_SWITCH) {
        node.role = text_of(r, xml, "role");
        node.target = text_of(r, xml, "target");
        node.switch_index = p->n_switches++;
    }
    alloc_grow(&r->lines, p->n_nodes, &r->lines_room);
    r->lines[p->n_nodes] = alloc_xml_line(xml);
    alloc_grow(&r->forwards, p->n_nodes, &r->forwards_room);
    r->forwards[p->n_nodes] = kind == FS_NODE_IO ? text_of(r, xml, "forward") : NULL;
    alloc_names_add(&p->private->names, node.id, p->n_nodes);
    alloc_grow(&p->nodes, p->n_nodes, &r->nodes_room);
    p->nodes[p->n_nodes++] = node;
    return 0;
}

static int
read_link(struct reader *r, struct alloc_xml *xml)
{
    struct link_text link = { .line = alloc_xml_line(xml) };
    const char *mtu = alloc_xml_attribute(xml, "mtu");

    link.end[0] = text_of(r, xml, "a");
    link.end[1] = text_of(r, xml, "b");
    link.port[0] = text_of(r, xml, "a-port");
    link.port[1] = text_of(r, xml, "b-port");
    link.mtu = mtu ? (int) strtol(mtu, NULL, 10) : 0;
    if (alloc_xml_amount(xml, "bandwidth", &link.bandwidth[0]) || alloc_xml_amount(xml, "delay", &link.delay[0])) {
        return EINVAL;
    }
    link.bandwidth[1] = link.bandwidth[0];
    link.delay[1] = link.delay[0];
    if (alloc_xml_amount(xml, "bandwidth-back", &link.bandwidth[1])
        || alloc_xml_amount(xml, "delay-back", &link.delay[1])) {
        return EINVAL;
    }
    alloc_grow(&r->links, r->n_links, &r->links_room);
    r->links[r->n_links++] = link;
    return 0;
}

static int
read_element(struct alloc_xml *xml, const char *element, bool end, void *reader)
{
    struct reader *r = reader;

    if (end) {
        return 0;
    } else if (!strcmp(element, "io")) {
        return read_node(r, xml, FS_NODE_IO);
    } else if (!strcmp(element, "switch")) {
        return read_node(r, xml, FS_NODE_SWITCH);
    } else if (!strcmp(element, "server")) {
        return read_node(r, xml, FS_NODE_SERVER);
    } else if (!strcmp(element, "link")) {
        return read_link(r, xml);
    }
    r->platform->name = text_of(r, xml, "name");
    return 0;
}

/* Makes the two arcs of LINK, whose ends must exist. */
static int
add_arcs(struct reader *r, const struct link_text *link)
{
    struct fs_platform *p = r->platform;
    int end[2];

    for (int i = 0; i < 2; i++) {
        end[i] = fs_platform_find(p, link->end[i]);
        if (end[i] < 0) {
            return complain(r, link->line, "the link's end %s=\"%s\" is no io, switch or server", i ? "b" : "a",
                            link->end[i]);
        }
    }
    if (end[0] == end[1]) {
        return complain(r, link->line, "the link leads from \"%s\" to itself", link->end[0]);
    }
    bool io = p->nodes[end[0]].kind == FS_NODE_IO || p->nodes[end[1]].kind == FS_NODE_IO;
    if (link->mtu && link->mtu < MTU_MIN && !io) {
        return complain(r, link->line, "mtu=\"%d\" of the link %s-%s is under %d, what tagged packets need", link->mtu,
                        link->end[0], link->end[1], MTU_MIN);
    }
    for (int i = 0; i < 2; i++) {
        p->arcs[p->n_arcs++] = (struct fs_arc) {
            .from = end[i], .to = end[!i], .bandwidth = link->bandwidth[i], .delay = link->delay[i],
            .port = link->port[i] ? link->port[i] : p->nodes[end[!i]].id, .mtu = link->mtu, .line = link->line,
        };
    }
    return 0;
}

/* Sorts the arcs by the node that they leave, and those that enter a switch to the front of each node's part. */
static void
sort_arcs(struct fs_platform *p)
{
    p->out_start = alloc_zeroed((size_t) p->n_nodes + 1, sizeof *p->out_start);
    p->out = alloc_zeroed((size_t) p->n_arcs, sizeof *p->out);
    p->out_switches = alloc_zeroed((size_t) p->n_nodes, sizeof *p->out_switches);
    for (int a = 0; a < p->n_arcs; a++) {
        p->out_start[p->arcs[a].from + 1]++;
    }
    for (int n = 0; n < p->n_nodes; n++) {
        p->out_start[n + 1] += p->out_start[n];
    }
    int *back = alloc_zeroed((size_t) p->n_nodes, sizeof *back);
    for (int a = 0; a < p->n_arcs; a++) {
        int from = p->arcs[a].from;
        if (p->nodes[p->arcs[a].to].kind == FS_NODE_SWITCH) {
            p->out[p->out_start[from] + p->out_switches[from]++] = a;
        } else {
            p->out[p->out_start[from + 1] - ++back[from]] = a;
        }
    }
    free(back);
}

/* Refuses two links between the same two nodes: a route, which is a list of nodes, could not tell them apart. */
static int
check_parallel(struct reader *r)
{
    struct fs_platform *p = r->platform;
    int *seen = alloc_filled((size_t) p->n_nodes, -1);
    int error = 0;

    for (int n = 0; n < p->n_nodes && !error; n++) {
        for (int i = p->out_start[n]; i < p->out_start[n + 1] && !error; i++) {
            int to = p->arcs[p->out[i]].to, link = p->out[i] / 2;
            if (seen[to] >= 0 && p->arcs[seen[to]].from == n) {
                int other = seen[to] / 2, first = link < other ? link : other, second = link < other ? other : link;
                error = complain(r, r->links[second].line, "there is already a link between \"%s\" and \"%s\" on line %d",
                                 p->nodes[n].id, p->nodes[to].id, r->links[first].line);
            }
            seen[to] = p->out[i];
        }
    }
    free(seen);
    return error;
}

/* The rack of SERVER is that of its first switch; a server without one is alone in its rack. */
static int
rack_of(const struct fs_platform *p, int server, int *rack_at)
{
    int node = p->servers[server].node;
    int key = p->out_switches[node] ? p->arcs[p->out[p->out_start[node]]].to : node;

    if (rack_at[key] < 0) {
        rack_at[key] = p->n_racks;
    }
    return rack_at[key];
}

static void
group_racks(struct fs_platform *p)
{
    int *rack_at = alloc_filled((size_t) p->n_nodes, -1);

    p->rack_start = alloc_zeroed((size_t) p->n_servers + 2, sizeof *p->rack_start);
    p->rack_servers = alloc_zeroed((size_t) p->n_servers, sizeof *p->rack_servers);
    for (int s = 0; s < p->n_servers; s++) {
        int rack = p->servers[s].rack = rack_of(p, s, rack_at);
        p->n_racks = rack == p->n_racks ? rack + 1 : p->n_racks;
        p->rack_start[rack + 2]++;
    }
    for (int rack = 0; rack < p->n_racks; rack++) {
        p->rack_start[rack + 2] += p->rack_start[rack + 1];
    }
    /* Each rack's start is now one place to the right, and counts up to where it belongs. */
    for (int s = 0; s < p->n_servers; s++) {
        p->rack_servers[p->rack_start[p->servers[s].rack + 1]++] = s;
    }
    free(rack_at);
}

static int
resolve_forwards(struct reader *r)
{
    struct fs_platform *p = r->platform;

    for (int n = 0; n < p->n_nodes; n++) {
        if (r->forwards[n]) {
            int to = p->nodes[n].forward = fs_platform_find(p, r->forwards[n]);
            if (to < 0 || to == n || p->nodes[to].kind != FS_NODE_IO) {
                return complain(r, r->lines[n], "forward=\"%s\" of \"%s\" is no other io", r->forwards[n], p->nodes[n].id);
            }
        }
    }
    return 0;
}

/* Marks everything that is joined to START through switches. */
static void
flood(const struct fs_platform *p, int start, bool *reached)
{
    int *todo = alloc_zeroed((size_t) p->n_nodes, sizeof *todo), n = 0;

    reached[start] = true;
    todo[n++] = start;
    while (n) {
        int node = todo[--n];
        for (int i = p->out_start[node]; i < p->out_start[node + 1]; i++) {
            int to = p->arcs[p->out[i]].to;
            if (!reached[to]) {
                reached[to] = true;
                if (p->nodes[to].kind == FS_NODE_SWITCH) {
                    todo[n++] = to;
                }
            }
        }
    }
    free(todo);
}

/* Servers need a link; whatever else is apart may be a platform under construction. */
static int
check_joined(struct reader *r)
{
    struct fs_platform *p = r->platform;

    for (int s = 0; s < p->n_servers; s++) {
        int node = p->servers[s].node;
        if (p->out_start[node] == p->out_start[node + 1]) {
            return complain(r, r->lines[node], "server \"%s\" has no link", p->nodes[node].id);
        }
    }
    if (!p->n_nodes) {
        return 0;
    }
    bool *reached = alloc_zeroed((size_t) p->n_nodes, sizeof *reached);
    flood(p, 0, reached);
    for (int n = 0; n < p->n_nodes; n++) {
        if (!reached[n]) {
            warn(r, r->lines[n], p->nodes[n].id, "is not connected to the first node of the file");
            break;
        }
    }
    free(reached);
    return 0;
}

static int
lay_out(struct reader *r)
{
    struct fs_platform *p = r->platform;

    p->name = p->name ? p->name : "";
    p->arcs = alloc_zeroed((size_t) r->n_links * 2, sizeof *p->arcs);
    for (int i = 0; i < r->n_links; i++) {
        if (add_arcs(r, &r->links[i])) {
            return EINVAL;
        }
    }
    sort_arcs(p);
    group_racks(p);
    if (check_parallel(r) || resolve_forwards(r)) {
        return EINVAL;
    }
    return check_joined(r);
}

static int
read_source(const struct alloc_xml_source *source, struct fs_platform **platform, char **error)
{
    struct fs_platform *p = alloc_zeroed(1, sizeof *p);
    struct reader r = { .platform = p, .file = source->name, .error = error };

    *error = NULL;
    *platform = NULL;
    p->private = alloc_zeroed(1, sizeof *p->private);
    p->warnings = alloc_format("%s", "");
    int result = alloc_xml_read(source, schema_platform, read_element, &r, error);
    if (!result) {
        result = lay_out(&r);
    }
    free(r.links);
    free(r.lines);
    free(r.forwards);
    if (result) {
        fs_platform_destroy(p);
    } else {
        *platform = p;
    }
    return result;
}

int
fs_platform_read(const char *path, struct fs_platform **platform, char **error)
{
    return read_source(&(struct alloc_xml_source) { .name = path }, platform, error);
}

int
fs_platform_read_memory(const char *text, size_t size, const char *name, struct fs_platform **platform, char **error)
{
    return read_source(&(struct alloc_xml_source) { .name = name, .text = text, .size = size }, platform, error);
}

void
fs_platform_destroy(struct fs_platform *p)
{
    if (!p) {
        return;
    }
    alloc_names_free(&p->private->names);
    alloc_arena_free(&p->private->arena);
    free(p->private);
    free(p->nodes);
    free(p->servers);
    free(p->arcs);
    free(p->out_start);
    free(p->out);
    free(p->out_switches);
    free(p->rack_start);
    free(p->rack_servers);
    free(p->warnings);
    free(p);
}

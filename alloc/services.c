/* Services: the builder that makes them, and the reader that drives the builder.
 *
 * Nodes, links and paths of one service are kept by name until fs_services_end(), so they may come in any order; then names
 * become numbers, and the service is checked: a graph without cycles, nothing into a source, nothing out of a sink, every
 * path from a source to a sink along links.  A program that builds a service from a request calls the same functions as
 * the reader does, and gets the same messages. */
#include <config.h>

#include "flowstream/alloc.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alloc/memory.h"
#include "alloc/schemas.h"
#include "alloc/xml.h"

struct fs_services_private {
    struct alloc_arena arena;
};

struct link_text {
    const char *from, *to;
    fs_amount bandwidth;
    int line;
};

struct path_text {
    char *via;
    fs_amount bound;
    int line;
};

struct fs_services_builder {
    const struct fs_platform *platform;
    struct fs_services *services;
    struct alloc_names service_names;
    const char *file;   /* for messages; NULL when a program builds */
    int line;           /* of what is being added, */
    int first_line;     /* and of the open service */
    bool open;          /* between begin and end */

    struct alloc_names node_names;   /* of the open service */
    struct link_text *links;
    struct path_text *paths;
    int n_links, n_paths;

    int services_room, nodes_room, links_room, paths_room, ios_room, path_links_room, link_texts_room, path_texts_room;
    int n_ios, n_path_links;
};

static int complain(const struct fs_services_builder *, char **error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* An error message that begins with the file and line, or with the service when there is no file. */
static int
complain(const struct fs_services_builder *b, char **error, const char *format, ...)
{
    const struct fs_services *s = b->services;
    va_list args;
    char *text = NULL;

    va_start(args, format);
    int n = vasprintf(&text, format, args);
    va_end(args);
    const char *what = n < 0 ? format : text;
    const char *id = b->open ? s->services[s->n_services - 1].id : NULL;
    if (b->file) {
        *error = alloc_format("%s:%d: %s%s%s%s", b->file, b->line, id ? "service \"" : "", id ? id : "", id ? "\": " : "",
                              what);
    } else {
        *error = alloc_format("%s%s%s%s", id ? "service \"" : "", id ? id : "", id ? "\": " : "", what);
    }
    if (n >= 0) {
        free(text);
    }
    return EINVAL;
}

struct fs_services_builder *
fs_services_builder_create(const struct fs_platform *platform)
{
    struct fs_services_builder *b = alloc_zeroed(1, sizeof *b);

    b->platform = platform;
    b->services = alloc_zeroed(1, sizeof *b->services);
    b->services->private = alloc_zeroed(1, sizeof *b->services->private);
    return b;
}

void
fs_services_builder_destroy(struct fs_services_builder *b)
{
    if (!b) {
        return;
    }
    for (int i = 0; i < b->n_paths; i++) {
        free(b->paths[i].via);
    }
    fs_services_destroy(b->services);
    alloc_names_free(&b->service_names);
    alloc_names_free(&b->node_names);
    free(b->links);
    free(b->paths);
    free(b);
}

void
fs_services_destroy(struct fs_services *s)
{
    if (!s) {
        return;
    }
    alloc_arena_free(&s->private->arena);
    free(s->private);
    free(s->services);
    free(s->nodes);
    free(s->links);
    free(s->paths);
    free(s->ios);
    free(s->incident);
    free(s->path_links);
    free(s);
}

int
fs_services_begin(struct fs_services_builder *b, const char *id, const char *type, char **error)
{
    struct fs_services *s = b->services;

    assert(!b->open);
    id = alloc_arena_copy(&s->private->arena, id);
    if (!*id) {
        return complain(b, error, "the service's id is empty");
    }
    if (!alloc_names_add(&b->service_names, id, s->n_services)) {
        return complain(b, error, "there is already a service \"%s\"", id);
    }
    alloc_grow(&s->services, s->n_services, &b->services_room);
    s->services[s->n_services++] = (struct fs_service) {
        .id = id, .type = alloc_arena_copy(&s->private->arena, type),
        .first_node = s->n_nodes, .first_link = s->n_links, .first_path = s->n_paths,
    };
    alloc_names_clear(&b->node_names);
    b->first_line = b->line;
    b->open = true;
    return 0;
}

/* Adds a node without its particulars, and returns it through *NODE. */
static int
add_node(struct fs_services_builder *b, const char *id, enum fs_service_node_kind kind, struct fs_service_node **node,
         char **error)
{
    struct fs_services *s = b->services;

    assert(b->open);
    id = alloc_arena_copy(&s->private->arena, id);
    if (!*id || strpbrk(id, " \t\r\n")) {
        return complain(b, error, "id \"%s\" is empty or has a space in it", id);
    }
    if (!alloc_names_add(&b->node_names, id, s->n_nodes)) {
        return complain(b, error, "there is already a node \"%s\"", id);
    }
    alloc_grow(&s->nodes, s->n_nodes, &b->nodes_room);
    *node = &s->nodes[s->n_nodes++];
    **node = (struct fs_service_node) { .id = id, .kind = kind, .service = s->n_services - 1, .first_io = b->n_ios };
    return 0;
}

/* Adds each of the names in IOS, which is changed, to NODE's places. */
static int
add_ios(struct fs_services_builder *b, struct fs_service_node *node, char *ios, char **error)
{
    const struct fs_platform *p = b->platform;
    char *rest = NULL;

    for (char *name = strtok_r(ios, " \t\r\n", &rest); name; name = strtok_r(NULL, " \t\r\n", &rest)) {
        int io = fs_platform_find(p, name);
        if (io < 0 || p->nodes[io].kind != FS_NODE_IO) {
            return complain(b, error, "\"%s\" of \"%s\" is no io of the platform", name, node->id);
        }
        alloc_grow(&b->services->ios, b->n_ios, &b->ios_room);
        b->services->ios[b->n_ios++] = io;
        node->n_io++;
    }
    if (!node->n_io || (node->kind == FS_SERVICE_SOURCE && node->n_io > 1)) {
        return complain(b, error, "io of \"%s\" names %s io", node->id, node->n_io ? "more than one" : "no");
    }
    return 0;
}

static int
add_port(struct fs_services_builder *b, const char *id, enum fs_service_node_kind kind, const char *ios, char **error)
{
    struct fs_service_node *node;

    if (add_node(b, id, kind, &node, error)) {
        return EINVAL;
    }
    char *copy = alloc_format("%s", ios);
    int result = add_ios(b, node, copy, error);
    free(copy);
    return result;
}

int
fs_services_add_source(struct fs_services_builder *b, const char *id, const char *io, char **error)
{
    return add_port(b, id, FS_SERVICE_SOURCE, io, error);
}

int
fs_services_add_sink(struct fs_services_builder *b, const char *id, const char *ios, char **error)
{
    return add_port(b, id, FS_SERVICE_SINK, ios, error);
}

int
fs_services_add_pm(struct fs_services_builder *b, const char *id, fs_amount cpu, fs_amount mem, char **error)
{
    struct fs_service_node *node;

    if (add_node(b, id, FS_SERVICE_PM, &node, error)) {
        return EINVAL;
    }
    node->cpu = cpu;
    node->mem = mem;
    b->services->services[node->service].cpu += cpu;
    b->services->services[node->service].mem += mem;
    b->services->n_modules++;
    return 0;
}

int
fs_services_add_link(struct fs_services_builder *b, const char *from, const char *to, fs_amount bandwidth, char **error)
{
    struct alloc_arena *arena = &b->services->private->arena;

    assert(b->open);
    (void) error;
    alloc_grow(&b->links, b->n_links, &b->link_texts_room);
    b->links[b->n_links++] = (struct link_text) {
        .from = alloc_arena_copy(arena, from), .to = alloc_arena_copy(arena, to), .bandwidth = bandwidth, .line = b->line,
    };
    return 0;
}

int
fs_services_add_path(struct fs_services_builder *b, const char *via, fs_amount bound, char **error)
{
    assert(b->open);
    (void) error;
    alloc_grow(&b->paths, b->n_paths, &b->path_texts_room);
    b->paths[b->n_paths++] = (struct path_text) {
        .via = alloc_format("%s", via), .bound = bound, .line = b->line,
    };
    return 0;
}

/* The link of the open service between two nodes, or -1.  Looks at FROM's links alone once they are known. */
static int
find_link(const struct fs_services *s, int from, int to)
{
    const struct fs_service_node *node = &s->nodes[from];

    for (int i = 0; i < node->n_incident; i++) {
        int link = s->incident[node->first_incident + i];
        if (s->links[link].from == from && s->links[link].to == to) {
            return link;
        }
    }
    return -1;
}

static int
resolve_node(const struct fs_services_builder *b, const char *name, int *node, char **error)
{
    *node = alloc_names_find(&b->node_names, name);
    return *node >= 0 ? 0 : complain(b, error, "\"%s\" is no source, pm or sink of this service", name);
}

static int
resolve_link(struct fs_services_builder *b, const struct link_text *text, struct fs_service_link *link, char **error)
{
    const struct fs_services *s = b->services;

    b->line = text->line ? text->line : b->line;
    *link = (struct fs_service_link) { .service = s->n_services - 1, .bandwidth = text->bandwidth };
    if (resolve_node(b, text->from, &link->from, error) || resolve_node(b, text->to, &link->to, error)) {
        return EINVAL;
    }
    if (link->from == link->to) {
        return complain(b, error, "the link leads from \"%s\" to itself", text->from);
    }
    if (s->nodes[link->from].kind == FS_SERVICE_SINK) {
        return complain(b, error, "the link to \"%s\" comes out of the sink \"%s\"", text->to, text->from);
    }
    if (s->nodes[link->to].kind == FS_SERVICE_SOURCE) {
        return complain(b, error, "the link from \"%s\" leads into the source \"%s\"", text->from, text->to);
    }
    return 0;
}

static int
compare_links(const void *a_, const void *b_)
{
    const struct fs_service_link *a = a_, *b = b_;

    return a->from != b->from ? (a->from > b->from) - (a->from < b->from) : (a->to > b->to) - (a->to < b->to);
}

/* Sorts the open service's links, and joins those between the same two nodes. */
static void
merge_links(struct fs_services *s, struct fs_service *service)
{
    struct fs_service_link *links = s->links + service->first_link;
    int n = 0;

    if (!service->n_links) {
        return;
    }
    qsort(links, (size_t) service->n_links, sizeof *links, compare_links);
    for (int i = 1; i < service->n_links; i++) {
        if (compare_links(&links[n], &links[i])) {
            links[++n] = links[i];
        } else {
            links[n].bandwidth += links[i].bandwidth;
        }
    }
    service->n_links = n + 1;
    s->n_links = service->first_link + service->n_links;
}

/* Lists for each node of SERVICE the links at it.  Twice as many are listed as there are links. */
static void
list_incident(struct fs_services *s, const struct fs_service *service)
{
    int end = service->first_link + service->n_links, next = service->first_link * 2;

    for (int l = service->first_link; l < end; l++) {
        s->nodes[s->links[l].from].n_incident++;
        s->nodes[s->links[l].to].n_incident++;
    }
    for (int n = service->first_node; n < s->n_nodes; n++) {
        s->nodes[n].first_incident = next;
        next += s->nodes[n].n_incident;
        s->nodes[n].n_incident = 0;
    }
    for (int l = service->first_link; l < end; l++) {
        struct fs_service_node *from = &s->nodes[s->links[l].from], *to = &s->nodes[s->links[l].to];
        s->incident[from->first_incident + from->n_incident++] = l;
        s->incident[to->first_incident + to->n_incident++] = l;
    }
}

static int
resolve_links(struct fs_services_builder *b, struct fs_service *service, char **error)
{
    struct fs_services *s = b->services;

    for (int i = 0; i < b->n_links; i++) {
        struct fs_service_link link;
        if (resolve_link(b, &b->links[i], &link, error)) {
            return EINVAL;
        }
        int room = b->links_room;
        alloc_grow(&s->links, s->n_links, &b->links_room);
        if (room != b->links_room) {
            s->incident = realloc(s->incident, (size_t) b->links_room * 2 * sizeof *s->incident);
            if (!s->incident) {
                abort();
            }
        }
        s->links[s->n_links++] = link;
    }
    service->n_links = b->n_links;
    merge_links(s, service);
    list_incident(s, service);
    return 0;
}

/* Takes away nodes that nothing unseen leads to until none is left, or what is left goes in circles. */
static int
check_acyclic(struct fs_services_builder *b, const struct fs_service *service, char **error)
{
    const struct fs_services *s = b->services;
    size_t n = (size_t) service->n_nodes;
    int *before = alloc_zeroed(n, sizeof *before), *todo = alloc_zeroed(n, sizeof *todo);
    int base = service->first_node, n_todo = 0, done = 0, result = 0;

    for (int l = 0; l < service->n_links; l++) {
        before[s->links[service->first_link + l].to - base]++;
    }
    for (int i = 0; i < service->n_nodes; i++) {
        if (!before[i]) {
            todo[n_todo++] = i;
        }
    }
    while (n_todo) {
        const struct fs_service_node *node = &s->nodes[base + todo[--n_todo]];
        done++;
        for (int i = 0; i < node->n_incident; i++) {
            const struct fs_service_link *link = &s->links[s->incident[node->first_incident + i]];
            if (&s->nodes[link->from] == node && !--before[link->to - base]) {
                todo[n_todo++] = link->to - base;
            }
        }
    }
    for (int i = 0; i < service->n_nodes && done < service->n_nodes && !result; i++) {
        if (before[i]) {
            b->line = b->first_line;
            result = complain(b, error, "the links go in a circle at or before \"%s\"", s->nodes[base + i].id);
        }
    }
    free(before);
    free(todo);
    return result;
}

static int
resolve_path(struct fs_services_builder *b, const struct path_text *text, char **error)
{
    struct fs_services *s = b->services;
    struct fs_service_path path = { .service = s->n_services - 1, .first_link = b->n_path_links, .bound = text->bound };
    int node = -1;
    char *rest = NULL;

    b->line = text->line ? text->line : b->line;
    for (char *name = strtok_r(text->via, " \t\r\n", &rest); name; name = strtok_r(NULL, " \t\r\n", &rest)) {
        int before = node;
        if (resolve_node(b, name, &node, error)) {
            return EINVAL;
        }
        if (before < 0) {
            continue;
        }
        int link = find_link(s, before, node);
        if (link < 0) {
            return complain(b, error, "the path goes from \"%s\" to \"%s\", where there is no link",
                            s->nodes[before].id, name);
        }
        alloc_grow(&s->path_links, b->n_path_links, &b->path_links_room);
        s->path_links[b->n_path_links++] = link;
        path.n_links++;
    }
    if (!path.n_links) {
        return complain(b, error, "the path has no link");
    }
    alloc_grow(&s->paths, s->n_paths, &b->paths_room);
    s->paths[s->n_paths++] = path;
    return 0;
}

static int
resolve_paths(struct fs_services_builder *b, struct fs_service *service, char **error)
{
    for (int i = 0; i < b->n_paths; i++) {
        if (resolve_path(b, &b->paths[i], error)) {
            return EINVAL;
        }
    }
    service->n_paths = b->n_paths;
    return 0;
}

int
fs_services_end(struct fs_services_builder *b, char **error)
{
    struct fs_services *s = b->services;
    struct fs_service *service = &s->services[s->n_services - 1];

    assert(b->open);
    service->n_nodes = s->n_nodes - service->first_node;
    if (resolve_links(b, service, error) || check_acyclic(b, service, error) || resolve_paths(b, service, error)) {
        return EINVAL;
    }
    for (int i = 0; i < b->n_paths; i++) {
        free(b->paths[i].via);
    }
    b->n_links = b->n_paths = 0;
    b->open = false;
    return 0;
}

/* An array of N elements without the room for more. */
static void *
fitted(void *array, int n, size_t size)
{
    void *smaller = array && n ? realloc(array, (size_t) n * size) : NULL;
    return smaller ? smaller : array;
}

/* Nothing is added any more, and a caller may hold very many that have one service each. */
static void
shrink(struct fs_services *s)
{
    s->services = fitted(s->services, s->n_services, sizeof *s->services);
    s->nodes = fitted(s->nodes, s->n_nodes, sizeof *s->nodes);
    s->links = fitted(s->links, s->n_links, sizeof *s->links);
    s->paths = fitted(s->paths, s->n_paths, sizeof *s->paths);
}

struct fs_services *
fs_services_finish(struct fs_services_builder **b)
{
    struct fs_services *services = (*b)->services;

    assert(!(*b)->open);
    shrink(services);
    (*b)->services = NULL;
    fs_services_builder_destroy(*b);
    *b = NULL;
    return services;
}

/* ---- The reader. ---- */

struct reader {
    struct fs_services_builder *builder;
    char *error;
};

/* Adds what ELEMENT says to the open service. */
static int
read_part(struct reader *r, struct alloc_xml *xml, const char *element)
{
    struct fs_services_builder *b = r->builder;
    fs_amount amount[2] = { 0, 0 };
    const char *id = alloc_xml_attribute(xml, "id");

    if (!strcmp(element, "source")) {
        return fs_services_add_source(b, id, alloc_xml_attribute(xml, "io"), &r->error);
    }
    if (!strcmp(element, "sink")) {
        return fs_services_add_sink(b, id, alloc_xml_attribute(xml, "io"), &r->error);
    }
    if (!strcmp(element, "pm")) {
        return alloc_xml_amount(xml, "cpu", &amount[0]) || alloc_xml_amount(xml, "mem", &amount[1])
               ? EINVAL : fs_services_add_pm(b, id, amount[0], amount[1], &r->error);
    }
    if (!strcmp(element, "link")) {
        return alloc_xml_amount(xml, "bandwidth", &amount[0])
               ? EINVAL : fs_services_add_link(b, alloc_xml_attribute(xml, "from"), alloc_xml_attribute(xml, "to"),
                                               amount[0], &r->error);
    }
    return alloc_xml_amount(xml, "bound", &amount[0])
           ? EINVAL : fs_services_add_path(b, alloc_xml_attribute(xml, "via"), amount[0], &r->error);
}

static int
read_element(struct alloc_xml *xml, const char *element, bool end, void *reader)
{
    struct reader *r = reader;

    r->builder->line = alloc_xml_line(xml);
    if (!strcmp(element, "services")) {
        return 0;
    }
    if (strcmp(element, "service")) {
        return end ? 0 : read_part(r, xml, element);
    }
    return end ? fs_services_end(r->builder, &r->error)
           : fs_services_begin(r->builder, alloc_xml_attribute(xml, "id"), alloc_xml_attribute(xml, "type"), &r->error);
}

static int
read_source(const struct alloc_xml_source *source, const struct fs_platform *platform, struct fs_services **services,
            char **error)
{
    struct reader r = { .builder = fs_services_builder_create(platform) };

    *services = NULL;
    *error = NULL;
    r.builder->file = source->name;
    int result = alloc_xml_read(source, schema_services, read_element, &r, error);
    if (r.error) {
        free(*error);
        *error = r.error;
    }
    if (result) {
        fs_services_builder_destroy(r.builder);
    } else {
        *services = fs_services_finish(&r.builder);
    }
    return result;
}

int
fs_services_read(const char *path, const struct fs_platform *platform, struct fs_services **services, char **error)
{
    return read_source(&(struct alloc_xml_source) { .name = path }, platform, services, error);
}

int
fs_services_read_memory(const char *text, size_t size, const char *name, const struct fs_platform *platform,
                        struct fs_services **services, char **error)
{
    return read_source(&(struct alloc_xml_source) { .name = name, .text = text, .size = size }, platform, services, error);
}

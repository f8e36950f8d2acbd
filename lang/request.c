/* The finished request: looking things up in it, and writing it as JSON, as a graph and as text. */
#include "config.h"

#include "flowstream/request.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lang/document.h"
#include "lang/text.h"

static const char *const kind_names[] = {
    [FS_NODE_FROM_NET] = "from_net", [FS_NODE_TO_NET] = "to_net", [FS_NODE_MODULE] = "module"
};

static void write_node(struct text *, const struct fs_request_node *);
static void write_graph_node(struct text *, const struct fs_request_node *);
static void write_label(struct text *, const char *string);

void
fs_request_destroy(struct fs_request *request)
{
    if (request) {
        arena_free(&request->document->arena);
        free(request->document);
        free(request);
    }
}

const struct fs_request *
fs_request_find(const struct fs_request *request, const char *name)
{
    while (request && !(request->name && !strcmp(request->name, name))) {
        request = request->next;
    }
    return request;
}

const char *
fs_request_header(const struct fs_request *request, const char *key)
{
    for (size_t i = 0; i < request->n_headers; i++) {
        if (!strcmp(request->headers[i].key, key)) {
            return request->headers[i].value;
        }
    }
    return NULL;
}

const struct fs_request_node *
fs_request_node(const struct fs_request *request, const char *name)
{
    for (size_t i = 0; i < request->n_nodes; i++) {
        if (!strcmp(request->nodes[i].name, name)) {
            return &request->nodes[i];
        }
    }
    return NULL;
}

/* Tokens are twice as large as their text, and few requests are ever formatted: they are made again. */
struct formatting {
    const struct fs_request_document *document;
    struct arena arena;
    jmp_buf out_of_memory;
};

static char *
format_document(struct formatting *formatting)
{
    const struct fs_request_document *document = formatting->document;
    if (setjmp(formatting->out_of_memory)) {
        return NULL;
    }
    /* The lexer has nothing to report: it has had this text before. */
    return format_tokens(document->text,
                         lexer_run(&formatting->arena, document->text, 0, document->first_size, NULL));
}

char *
fs_request_format(const struct fs_request *request)
{
    struct formatting formatting = { .document = request->document };
    formatting.arena.out_of_memory = &formatting.out_of_memory;
    char *text = format_document(&formatting);
    arena_free(&formatting.arena);
    return text;
}

static void
write_link(struct text *text, const struct fs_request *request, const struct fs_request_link *link)
{
    text_printf(text, "{\"from\": \"%s\", \"from_port\": %" PRIu32 ", \"to\": \"%s\", \"to_port\": %" PRIu32,
                request->nodes[link->from].name, link->from_port, request->nodes[link->to].name, link->to_port);
    if (link->rate) {
        text_printf(text, ", \"rate_bps\": %" PRIu64, link->rate);
    }
    text_puts(text, "}");
}

/* Bounds: each pair, and the one of all other pairs. */
static void
write_delays(struct text *text, const struct fs_request *request)
{
    if (request->delay) {
        text_printf(text, ", \"delay_us\": %" PRIu64, request->delay);
    }
    for (size_t i = 0; i < request->n_delays; i++) {
        const struct fs_request_delay *delay = &request->delays[i];
        text_printf(text, "%s{\"from\": \"%s\", \"to\": \"%s\", \"bound_us\": %" PRIu64 "}",
                    i ? ", " : ", \"delays\": [", request->nodes[delay->from].name, request->nodes[delay->to].name,
                    delay->bound);
    }
    text_puts(text, request->n_delays ? "]" : "");
}

char *
fs_request_json(const struct fs_request *request)
{
    struct text text = TEXT_INITIALIZER;
    text_puts(&text, "{");
    if (request->name) {
        text_puts(&text, "\"name\": ");
        text_json_string(&text, request->name);
        text_puts(&text, ", ");
    }
    text_puts(&text, "\"headers\": {");
    for (size_t i = 0; i < request->n_headers; i++) {
        text_puts(&text, i ? ", " : "");
        text_json_string(&text, request->headers[i].key);
        text_puts(&text, ": ");
        text_json_string(&text, request->headers[i].value);
    }
    text_puts(&text, "}, \"modules\": [");
    for (size_t i = 0; i < request->n_nodes; i++) {
        text_puts(&text, i ? ", " : "");
        write_node(&text, &request->nodes[i]);
    }
    text_puts(&text, "], \"links\": [");
    for (size_t i = 0; i < request->n_links; i++) {
        text_puts(&text, i ? ", " : "");
        write_link(&text, request, &request->links[i]);
    }
    text_puts(&text, "]");
    write_delays(&text, request);
    text_puts(&text, "}");
    return text_take(&text);
}

/* Ports are written where there are several of them. */
static void
write_arrow(struct text *text, const struct fs_request *request, const struct fs_request_link *link)
{
    const struct fs_request_node *from = &request->nodes[link->from], *to = &request->nodes[link->to];
    text_printf(text, "    \"%s\" -> \"%s\" [", from->name, to->name);
    if (from->n_outputs > 1) {
        text_printf(text, "taillabel=\"%" PRIu32 "\" ", link->from_port);
    }
    if (to->n_inputs > 1) {
        text_printf(text, "headlabel=\"%" PRIu32 "\" ", link->to_port);
    }
    if (link->rate) {
        text_printf(text, "label=\"%.9g Mbps\"", (double) link->rate / 1e6);
    }
    text_puts(text, "];\n");
}

char *
fs_request_dot(const struct fs_request *request)
{
    struct text text = TEXT_INITIALIZER;
    text_puts(&text, "digraph request {\n    rankdir=LR;\n    label=\"");
    write_label(&text, request->name ? request->name : "");
    text_puts(&text, "\";\n    node [fontname=\"sans-serif\", fontsize=11, style=filled];\n"
                     "    edge [fontname=\"sans-serif\", fontsize=9, labeldistance=1.5];\n");
    for (size_t i = 0; i < request->n_nodes; i++) {
        write_graph_node(&text, &request->nodes[i]);
    }
    for (size_t i = 0; i < request->n_links; i++) {
        write_arrow(&text, request, &request->links[i]);
    }
    for (size_t i = 0; i < request->n_delays; i++) {
        const struct fs_request_delay *delay = &request->delays[i];
        text_printf(&text,
                    "    \"%s\" -> \"%s\" [style=dashed, constraint=false, arrowhead=none, label=\"< %.9g ms\"];\n",
                    request->nodes[delay->from].name, request->nodes[delay->to].name, (double) delay->bound / 1e3);
    }
    text_puts(&text, "}\n");
    return text_take(&text);
}

static void
write_list(struct text *text, const char *key, const char *const *list, uint32_t n)
{
    text_printf(text, ", \"%s\": [", key);
    for (uint32_t i = 0; i < n; i++) {
        text_puts(text, i ? ", " : "");
        text_json_string(text, list[i]);
    }
    text_puts(text, "]");
}

/* What is given of the needs, each behind a comma. */
static void
write_needs(struct text *text, const struct fs_request_needs *needs)
{
    if (needs->cpu) {
        text_printf(text, ", \"cpu\": %.9g", (double) needs->cpu / 1000);
    }
    if (needs->mem) {
        text_printf(text, ", \"mem_bytes\": %" PRIu64, needs->mem);
    }
    if (needs->n_hosts) {
        write_list(text, "hosts", needs->hosts, needs->n_hosts);
    }
    if (needs->n_avoid) {
        write_list(text, "avoid", needs->avoid, needs->n_avoid);
    }
    if (needs->instances) {
        text_printf(text, ", \"instances\": %" PRIu32, needs->instances);
    }
    if (needs->isolate) {
        text_printf(text, ", \"isolate\": %s", needs->isolate == FS_ISOLATE_YES ? "true" : "false");
    }
}

static void
write_member(struct text *text, const char *key, const char *value)
{
    text_printf(text, "\"%s\": ", key);
    if (value) {
        text_json_string(text, value);
    } else {
        text_puts(text, "null");
    }
}

static void
write_node(struct text *text, const struct fs_request_node *node)
{
    text_puts(text, "{");
    write_member(text, "name", node->name);
    text_puts(text, ", ");
    write_member(text, "type", node->type);
    text_puts(text, ", ");
    write_member(text, "args", node->args);
    text_printf(text, ", \"kind\": \"%s\", \"inputs\": %" PRIu32 ", \"outputs\": %" PRIu32, kind_names[node->kind],
                node->n_inputs, node->n_outputs);
    if (node->kind == FS_NODE_FROM_NET) {
        text_puts(text, ", ");
        write_member(text, "match", node->match);
        text_puts(text, ", ");
        write_member(text, "in_port", node->in_port);
    } else if (node->kind == FS_NODE_TO_NET) {
        write_list(text, "ports", node->ports, node->n_ports);
    } else {
        write_needs(text, &node->needs);
    }
    text_puts(text, "}");
}

/* A string in the quotes of Graphviz: in a label, a backslash would begin an escape. */
static void
write_label(struct text *text, const char *string)
{
    for (; *string; string++) {
        if (*string == '"' || *string == '\\') {
            text_repeat(text, '\\', 1);
        }
        if (*string == '\n') {
            text_puts(text, "\\n");
        } else {
            text_add(text, string, 1);
        }
    }
}

/* What a module needs, in a line of its own. */
static void
write_graph_needs(struct text *text, const struct fs_request_needs *needs)
{
    text_puts(text, needs->cpu || needs->mem || needs->instances || needs->n_hosts ? "\\n" : "");
    if (needs->cpu) {
        text_printf(text, "%.9g cores ", (double) needs->cpu / 1000);
    }
    if (needs->mem) {
        text_printf(text, "%.9g MB ", (double) needs->mem / 1024 / 1024);
    }
    if (needs->instances) {
        text_printf(text, "x%" PRIu32 " ", needs->instances);
    }
    for (uint32_t i = 0; i < needs->n_hosts; i++) {
        text_printf(text, "%s%s", i ? "|" : "on ", needs->hosts[i]);
    }
}

static void
write_graph_node(struct text *text, const struct fs_request_node *node)
{
    static const char *const looks[] = { [FS_NODE_FROM_NET] = "shape=cds, fillcolor=\"#d5e8d4\"",
                                         [FS_NODE_TO_NET] = "shape=cds, fillcolor=\"#dae8fc\"",
                                         [FS_NODE_MODULE] = "shape=box, fillcolor=\"#fff2cc\"" };
    text_printf(text, "    \"%s\" [%s, label=\"%s\\n%s", node->name, looks[node->kind], node->name, node->type);
    if (node->args[0]) {
        text_puts(text, "\\n");
        write_label(text, node->args);
    }
    write_graph_needs(text, &node->needs);
    text_puts(text, "\"];\n");
}

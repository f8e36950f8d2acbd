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

static void write_node(struct text *, const struct fs_node *);
static void write_graph_node(struct text *, const struct fs_node *);

void
fs_request_destroy(struct fs_request *request)
{
    if (request) {
        arena_free(&request->document->arena);
        free(request->document);
        free(request);
    }
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

const struct fs_node *
fs_request_node(const struct fs_request *request, const char *name)
{
    for (size_t i = 0; i < request->n_nodes; i++) {
        if (!strcmp(request->nodes[i].name, name)) {
            return &request->nodes[i];
        }
    }
    return NULL;
}

char *
fs_request_format(const struct fs_request *request)
{
    return format_tokens(request->document->text, request->document->tokens);
}

char *
fs_request_json(const struct fs_request *request)
{
    struct text text = TEXT_INITIALIZER;
    text_puts(&text, "{\"headers\": {");
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
        const struct fs_link *link = &request->links[i];
        text_printf(&text, "%s{\"from\": \"%s\", \"from_port\": %" PRIu32 ", \"to\": \"%s\", \"to_port\": %" PRIu32 "}",
                    i ? ", " : "", request->nodes[link->from].name, link->from_port, request->nodes[link->to].name,
                    link->to_port);
    }
    text_puts(&text, "]}");
    return text_take(&text);
}

char *
fs_request_dot(const struct fs_request *request)
{
    struct text text = TEXT_INITIALIZER;
    text_puts(&text, "digraph request {\n    rankdir=LR;\n");
    for (size_t i = 0; i < request->n_nodes; i++) {
        write_graph_node(&text, &request->nodes[i]);
    }
    for (size_t i = 0; i < request->n_links; i++) {
        const struct fs_link *link = &request->links[i];
        text_printf(&text, "    \"%s\" -> \"%s\" [taillabel=\"%" PRIu32 "\", headlabel=\"%" PRIu32 "\"];\n",
                    request->nodes[link->from].name, request->nodes[link->to].name, link->from_port, link->to_port);
    }
    text_puts(&text, "}\n");
    return text_take(&text);
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
write_node(struct text *text, const struct fs_node *node)
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
        text_puts(text, ", \"ports\": [");
        for (uint32_t i = 0; i < node->n_ports; i++) {
            text_puts(text, i ? ", " : "");
            text_json_string(text, node->ports[i]);
        }
        text_puts(text, "]");
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

static void
write_graph_node(struct text *text, const struct fs_node *node)
{
    text_printf(text, "    \"%s\" [shape=%s, label=\"%s\\n%s", node->name,
                node->kind == FS_NODE_MODULE ? "box" : "ellipse", node->name, node->type);
    if (node->args[0]) {
        text_puts(text, "\\n");
        write_label(text, node->args);
    }
    text_puts(text, "\"];\n");
}

/* The model of one checked allocation request: what a tenant asked for, free of syntax.
 *
 * fs_lang_check() (lang.h) makes it; the allocator, the switches and the module hosts read it.  A request owns every
 * string and array that it points to, does not change once made, and may be read by several threads at once.  What it
 * promises to its readers:
 *
 *   - 'links' name nodes by their index in 'nodes', and form no cycle;
 *   - outputs 0 ... n_outputs - 1 of each node are connected once each, inputs 0 ... n_inputs - 1 at least once each;
 *   - each node is reached from a FromNet (or from a module type that needs no input). */
#ifndef FLOWSTREAM_REQUEST_H
#define FLOWSTREAM_REQUEST_H 1

#include <stddef.h>
#include <stdint.h>

#include "flowstream/api.h"

enum fs_node_kind {
    FS_NODE_FROM_NET, /* traffic of the network comes in here */
    FS_NODE_TO_NET,   /* traffic leaves to the network here */
    FS_NODE_MODULE    /* a processing module */
};

/* One line KEY=value before the declarations. */
struct fs_header {
    const char *key;
    const char *value;     /* checked for its key; text, also where it says a number */
    uint32_t line, column; /* of the key; from 1, columns count bytes */
};

/* One element of the request: a module, a FromNet or a ToNet. */
struct fs_node {
    const char *name; /* unique; "Type@N" where the request gave none */
    const char *type; /* "FromNet", "ToNet" or the name of a module type */
    const char *args; /* the argument string with its escapes decoded; "" for none */
    enum fs_node_kind kind;
    uint32_t n_inputs, n_outputs; /* connected ports */
    uint32_t line, column;        /* of the declaration */

    const char *match;        /* FromNet: which traffic; else NULL */
    const char *in_port;      /* FromNet: the network port that 'match' names, or NULL for all */
    const char *const *ports; /* ToNet: the network ports of which one is to be picked; else NULL */
    uint32_t n_ports;
};

/* From one output port to one input port. */
struct fs_link {
    uint32_t from, from_port;
    uint32_t to, to_port;
    uint32_t line, column; /* of the module that the link leads to */
};

struct fs_request_document; /* the text that the request was made from */

struct fs_request {
    const struct fs_header *headers; /* in the order of the text */
    size_t n_headers;
    const struct fs_node *nodes; /* in the order of their declarations */
    size_t n_nodes;
    const struct fs_link *links; /* in the order of the text */
    size_t n_links;
    struct fs_request_document *document;
};

/* Free 'request' with all that it owns.  NULL is allowed. */
FS_API void fs_request_destroy(struct fs_request *request);

/* The value of the header 'key' ("BASESYS"), or NULL where the request has none.  Owned by the request. */
FS_API const char *fs_request_header(const struct fs_request *request, const char *key);

/* The node called 'name', or NULL.  Owned by the request.  Looks at one node after the other. */
FS_API const struct fs_node *fs_request_node(const struct fs_request *request, const char *name);

/* The request as text again, comments kept, in its canonical form: one statement a line, one way of spacing, a broken
 * chain goes on with an indented "->".  Formatting that text gives the same text.  The caller frees it.  NULL: out of
 * memory. */
FS_API char *fs_request_format(const struct fs_request *request);

/* The request as one JSON object on one line: {"headers": {KEY: value}, "modules": [...], "links": [...]}, without
 * positions, so that two requests that mean the same in the same order give the same text.  The caller frees it.  NULL:
 * out of memory. */
FS_API char *fs_request_json(const struct fs_request *request);

/* The request as a directed graph in the language of Graphviz.  The caller frees it.  NULL: out of memory. */
FS_API char *fs_request_dot(const struct fs_request *request);

#endif

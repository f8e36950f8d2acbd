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

enum fs_request_node_kind {
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

/* What a module needs of the place where it runs: what is written behind it, completed by the headers. */
struct fs_request_needs {
    uint32_t cpu;             /* thousandths of a core; 0: not given */
    uint32_t instances;       /* 0: not given, which is one */
    uint64_t mem;             /* bytes; 0: not given */
    const char *const *hosts; /* only one of these ... */
    const char *const *avoid; /* ... and none of these */
    uint32_t n_hosts, n_avoid; /* 0: not given */
    enum { FS_ISOLATE_NOT_GIVEN, FS_ISOLATE_NO, FS_ISOLATE_YES } isolate;
};

/* One element of the request: a module, a FromNet or a ToNet. */
struct fs_request_node {
    const char *name; /* unique; "Type@N" where the request gave none; "part.name" within a part */
    const char *type; /* "FromNet", "ToNet" or the name of a module type */
    const char *args; /* the argument string with its escapes decoded; "" for none */
    enum fs_request_node_kind kind;
    uint32_t n_inputs, n_outputs; /* connected ports */
    const char *file;             /* where it is declared */
    uint32_t line, column;

    struct fs_request_needs needs; /* modules only */

    const char *match;        /* FromNet: which traffic; else NULL */
    const char *in_port;      /* FromNet: the network port that 'match' names, or NULL for all */
    const char *const *ports; /* ToNet: the network ports of which one is to be picked; else NULL */
    uint32_t n_ports;
};

/* From one output port to one input port. */
struct fs_request_link {
    uint32_t from, from_port;
    uint32_t to, to_port;
    uint64_t rate;         /* bit/s that it needs; 0: not given */
    uint32_t line, column; /* of the module that the link leads to */
};

/* A bound on the delay of every way from a FromNet to a ToNet. */
struct fs_request_delay {
    uint32_t from, to;
    uint64_t bound; /* microseconds */
};

struct fs_request_document; /* the text that the request was made from */

struct fs_request {
    const struct fs_header *headers; /* in the order of the text */
    size_t n_headers;
    const struct fs_request_node *nodes; /* in the order of their declarations */
    size_t n_nodes;
    const struct fs_request_link *links; /* in the order of the text */
    size_t n_links;
    const struct fs_request_delay *delays; /* one a pair at most */
    size_t n_delays;
    uint64_t delay;    /* the bound of all other pairs; 0: none */
    int32_t priority;  /* -1: not given */
    const char *name;  /* of its block, else the header NAME, else NULL */
    struct fs_request *next; /* the next request of the same text, owned by the first */
    struct fs_request_document *document;
};

/* Free 'request', which is the first of its text, with all that it owns.  NULL is allowed. */
FS_API void fs_request_destroy(struct fs_request *request);

/* The request called 'name' of the text whose first is 'request', or NULL. */
FS_API const struct fs_request *fs_request_find(const struct fs_request *request, const char *name);

/* The value of the header 'key' ("BASESYS"), or NULL where the request has none.  Owned by the request. */
FS_API const char *fs_request_header(const struct fs_request *request, const char *key);

/* The node called 'name', or NULL.  Owned by the request.  Looks at one node after the other. */
FS_API const struct fs_request_node *fs_request_node(const struct fs_request *request, const char *name);

/* The whole text of the request again, comments kept, in its canonical form: one statement a line, one way of spacing,
 * what stands in a block indented, a broken chain goes on with an indented "->".  Formatting that text gives the same
 * text.  The caller frees it.  NULL: out of memory. */
FS_API char *fs_request_format(const struct fs_request *request);

/* The request as one JSON object on one line: {"name": ..., "headers": {KEY: value}, "modules": [...], "links": [...],
 * "delays": [...]}, what is not given left out, parts resolved and parameters replaced, without
 * positions, so that two requests that mean the same in the same order give the same text.  The caller frees it.  NULL:
 * out of memory. */
FS_API char *fs_request_json(const struct fs_request *request);

/* The request as a directed graph in the language of Graphviz.  The caller frees it.  NULL: out of memory. */
FS_API char *fs_request_dot(const struct fs_request *request);

#endif

/* What the parts of the checker share: the nodes and links of a request while it is being made. */
#ifndef LANG_CHECK_H
#define LANG_CHECK_H 1

#include "lang/syntax.h"
#include "lang/table.h"

/* What the checker remembers of a node beside what the request will say of it. */
struct node_facts {
    struct span span;                /* the name, or the type of an unnamed one */
    const struct syntax_args *args;  /* NULL: a ghost */
    const struct fs_lang_type *type; /* NULL: unknown, which is reported; then nothing more is asked of it */
    bool used;                       /* some connection speaks of it */
    bool outputs_sound, inputs_sound;
};

/* Where a link is written. */
struct link_spans {
    struct span from, to;
};

/* The links of each node, in the order of the text: those of node i are by_node[first[i]] ... by_node[first[i + 1] -
 * 1]. */
struct link_index {
    uint32_t *first;
    uint32_t *by_node;
};

struct check {
    struct arena *arena;
    struct fs_diagnostics *diagnostics;
    const struct fs_lang_env *env;
    struct fs_lang_limits limits; /* without zeros */
    const char *text;
    const struct syntax_tree *tree;

    struct table types; /* to env->types */
    struct table names; /* to nodes */
    struct fs_node *nodes;
    struct node_facts *facts;
    size_t n_nodes, nodes_capacity, facts_capacity;
    size_t n_ghosts; /* nodes that are only talked of: whatever is missing may be meant by them */
    struct fs_link *links;
    struct link_spans *spans;
    size_t n_links;
    struct link_index outgoing, incoming;
};

/* check.c: from the tree to nodes and links.  False when a limit stops everything; that is reported. */
bool check_names(struct check *);

/* ports.c: each port that must be connected is, once. Sets the nodes' numbers of ports. */
void check_ports(struct check *);

/* args.c: the strings in the parentheses. */
void check_args(struct check *);

/* graph.c: traffic comes in, goes nowhere in circles and gets out. */
void check_graph(struct check *);

/* "Counter" of the built-in types and of the surroundings, or NULL. */
const struct fs_lang_type *check_find_type(const struct check *, const char *name);

/* How many ports of a type may be connected, the limits counted in. */
uint32_t check_most_ports(const struct check *, uint32_t type_maximum);

#endif

/* What the parts of the checker share: the nodes and links of a request while it is being made. */
#ifndef LANG_CHECK_H
#define LANG_CHECK_H 1

#include "lang/settings.h"
#include "lang/syntax.h"
#include "lang/table.h"

/* A part as it is declared. */
struct part {
    const struct syntax_scope *scope;
    struct fs_lang_type type; /* its name and numbers of ports */
    bool used, expanded;
};

/* A parameter of the request: $name=default, or one that is only spoken of. */
struct variable {
    const char *name;
    const char *value; /* NULL: none */
    bool used;
};

/* One use of a part, or the request itself, which has no parent. */
struct check_instance {
    const struct syntax_scope *scope;
    struct part *part;   /* NULL: the request */
    const char *prefix;  /* of the names in it: "outer." */
    const char **values; /* of the part's parameters */
    uint32_t input;      /* node that stands for its inputs; the next one stands for its outputs */
    unsigned int depth;
    struct span span; /* where it is used */
    const struct check_instance *parent;
    struct check_instance *next;
};

/* Some nodes are not of the request: they stand for the ports of an instance until all is checked. */
enum node_stand { STAND_NONE, STAND_INPUTS, STAND_OUTPUTS };

/* What the checker remembers of a node beside what the request will say of it. */
struct node_facts {
    struct span span;                      /* the name, or the type of an unnamed one */
    const struct syntax_args *args;        /* NULL: a ghost */
    const struct fs_lang_type *type;       /* NULL: unknown, which is reported; then nothing more is asked of it */
    const struct check_instance *instance; /* in which it is */
    enum node_stand stand;
    bool again; /* in an instance that is not the first of its part: its structure has been checked */
    bool used;  /* some connection speaks of it */
    bool vague; /* its arguments are not known: a parameter has no value */
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

/* What all requests of a text share. */
struct check_file {
    const struct syntax_tree *tree;
    struct table types; /* to env->types */
    struct table part_names;
    struct part *parts;
    struct table variable_names;
    struct variable *variables;
    size_t n_variables, variables_capacity;
    size_t substitutes_left; /* bytes */
    const char *last_type_name;              /* looked up last, and found */
    const struct fs_lang_type *last_type;
    size_t n_missing;        /* parameters that had no value where they were used */
    const char *last_file, *file_name; /* of the last node: as the diagnostics have it, and the request's copy */
};

struct check {
    struct arena *arena; /* of the request */
    struct arena *work;  /* of what is only needed until it is checked */
    struct fs_diagnostics *diagnostics;
    const struct fs_lang_env *env;
    struct fs_lang_limits limits; /* without zeros */
    const char *text;
    struct check_file *file;
    const struct syntax_scope *scope; /* of the request */
    struct settings settings;         /* of its headers */

    bool incomplete; /* connections were lost in what could not be parsed */
    struct {
        const struct syntax_string *strings;
        const struct check_instance *instance;
        const char *value;
        bool missing; /* a parameter in it has no value */
    } last_args;      /* what was read last */
    struct {
        const struct syntax_pair *pairs;
        const struct check_instance *instance;
        struct settings settings;
    } last_properties;  /* likewise */
    struct table names; /* to nodes, of the request outside of parts */
    struct fs_request_node *nodes;
    struct node_facts *facts;
    size_t n_nodes, nodes_capacity, facts_capacity;
    size_t n_modules; /* nodes and instances */
    size_t n_ghosts;  /* nodes that are only talked of: whatever is missing may be meant by them */
    struct check_instance *waiting, **last_waiting;
    struct fs_request_link *links;
    struct link_spans *spans;
    size_t n_links, links_capacity, spans_capacity;
    struct link_index outgoing, incoming;
    uint32_t *new_index; /* of each node, once parts are dissolved */
};

/* check.c: from the tree to nodes and links.  False when a limit stops everything; that is reported. */
bool check_names(struct check *);

/* ports.c: each port that must be connected is, once. Sets the nodes' numbers of ports. */
void check_ports(struct check *);

/* args.c: the strings in the parentheses. */
void check_args(struct check *);

/* Some bytes of a decoded argument string as a span of the text. */
struct span check_span_in_args(const struct check *, const struct syntax_args *, size_t start, size_t length);

/* graph.c: traffic comes in, goes nowhere in circles and gets out. */
void check_graph(struct check *);

/* delays.c: bounds.  Fills the delays of the request. */
void check_delays(struct check *, struct fs_request *);

/* warnings.c: what is allowed, but hardly meant. */
void check_warnings(struct check *);

/* parts.c: the parts of a text and how many ports they have. */
void parts_declare(struct check *);
struct part *parts_find(const struct check *, const char *name);

/* A new instance of a part, used as 'element' says in 'parent', to be checked after what comes before it.  False when
 * it is refused; that is reported. */
bool parts_instantiate(struct check *, struct part *, const struct syntax_element *, const char *name,
                       const struct check_instance *parent, uint32_t input);

/* Say of parts and parameters of the text that nothing uses them. */
void parts_report_unused(struct check *);

/* Take the nodes that stand for ports out of the request, lead links past them, and give those without a rate that of
 * the header.  Only for a request without errors. */
void parts_dissolve(struct check *);

/* parameters.c: what "$name" stands for. */
void parameters_declare(struct check *, const struct syntax_scope *);
void parameters_report_unknown(struct check *);

/* The value of a string, or of an unquoted value, where it is used. */
const char *parameters_value(struct check *, const struct check_instance *, const char *value, bool variable,
                             struct span);

/* "Counter" of the built-in types, of the parts and of the surroundings, or NULL. */
const struct fs_lang_type *check_find_type(const struct check *, const char *name);

/* How many ports of a type may be connected, the limits counted in. */
uint32_t check_most_ports(const struct check *, uint32_t type_maximum);

/* What a message calls a node on one of its sides. */
const char *check_shown_name(const struct check *, uint32_t node, bool output);

#endif

/* The syntax tree: what the text says, before anybody asks whether it makes sense. */
#ifndef LANG_SYNTAX_H
#define LANG_SYNTAX_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lang/arena.h"
#include "lang/diagnostics.h"
#include "lang/lexer.h"

/* KEY=value before the statements, key=value in braces, or $parameter=value, where the key has no '$'. */
struct syntax_pair {
    struct span key_span, value_span;
    const char *key, *value; /* the value as it is written, but for escapes */
    bool broken;             /* the value is not to be looked at */
    bool variable;           /* the value speaks of parameters */
};

/* One string, or one bare $parameter, between parentheses. */
struct syntax_string {
    struct span span;  /* with its quotes */
    const char *value; /* decoded */
    bool variable;     /* it speaks of parameters: decode it again, with their values */
};

/* ("...", "...") behind a type */
struct syntax_args {
    const struct syntax_string *strings;
    uint32_t n;
    bool broken;      /* a mistake in it is reported */
    struct span span; /* from the first to the last string, or the type */
};

/* {key=value, ...} behind a module or an arrow */
struct syntax_properties {
    const struct syntax_pair *pairs;
    uint32_t n;
};

/* [n] before or behind a module */
struct syntax_port {
    uint32_t number;  /* 0 where none is written */
    struct span span; /* length 0: none is written */
};

enum syntax_kind {
    SYNTAX_REFERENCE,   /* name */
    SYNTAX_DECLARATION, /* name :: Type(args) */
    SYNTAX_UNNAMED,     /* Type(args) */
    SYNTAX_MENTION      /* a name in a part that could not be parsed */
};

struct syntax_element {
    enum syntax_kind kind;
    const char *name, *type; /* NULL: not written */
    struct span name_span, type_span;
    struct syntax_args args;
    struct syntax_properties properties; /* of the module */
    struct syntax_properties arrow;      /* of the connection that leads here */
    struct syntax_port input, output;
    bool listed; /* one of several names of a declaration, but for the last */
};

struct syntax_statement {
    size_t first, n; /* elements */
    bool chain;      /* connects them */
    bool broken;     /* there was more, which could not be parsed */
};

/* delay from -> to < bound */
struct syntax_delay {
    struct span from_span, to_span, bound_span;
    const char *from, *to, *bound;
    bool variable; /* the bound is a parameter */
};

/* What stands between the braces of a request or a part; or all that stands outside of any. */
struct syntax_scope {
    const char *name; /* NULL: outside of any */
    struct span span; /* the name */
    bool part;
    bool library; /* from an included file */
    struct syntax_pair *headers;
    size_t n_headers, headers_capacity;
    struct syntax_pair
        *parameters; /* $name=value lines; of a part, those in parentheses, where value NULL: no default */
    size_t n_parameters, parameters_capacity;
    struct syntax_element *elements;
    size_t n_elements, elements_capacity;
    size_t n_names; /* declared by them */
    struct syntax_statement *statements;
    size_t n_statements, statements_capacity;
    struct syntax_delay *delays;
    size_t n_delays, delays_capacity;
    struct span first_statement;
    bool incomplete; /* connections are lost in statements that could not be parsed */
};

struct syntax_tree {
    struct syntax_scope top;
    struct syntax_scope **scopes; /* parts and requests, in the order of the text */
    size_t n_scopes, scopes_capacity;
    size_t n_requests;
};

/* One text; those that are included follow the first in the same array of bytes, so that a span says which it is in. */
struct parser_source {
    const char *text;     /* all of them */
    struct tokens tokens; /* of this one */
};

/* Where included files come from.  Reads 'name' (as 'span' says it in 'source->text') and fills '*source', whose text is
 * then longer and may have moved.  False when there is nothing to parse: it is reported, or the file was there already. */
struct parser_includes {
    bool (*open)(void *aux, const char *name, struct span span, struct parser_source *source);
    void *aux;
};

/* Parse a source into a tree in the arena 'work', with names and strings in the arena 'strings'.  Mistakes are reported;
 * parsing goes on with the next statement.  NULL 'includes': they are only parsed. */
void parser_run(struct arena *strings, struct arena *work, const struct parser_source *, const struct parser_includes *,
                struct fs_diagnostics *, struct syntax_tree *);

#endif

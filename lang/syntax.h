/* The syntax tree: what the text says, before anybody asks whether it makes sense. */
#ifndef LANG_SYNTAX_H
#define LANG_SYNTAX_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lang/arena.h"
#include "lang/diagnostics.h"
#include "lang/lexer.h"

/* KEY=value */
struct syntax_header {
    struct span key_span, value_span;
    const char *key, *value;
    bool broken; /* the value is not to be looked at */
};

/* ("...") behind a type */
struct syntax_args {
    const char *value; /* decoded; "" for none */
    struct span span;  /* the string with its quotes, or the type */
    bool written;      /* there is a string */
    bool broken;       /* a mistake in it is reported */
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
    struct syntax_port input, output;
    bool listed; /* one of several names of a declaration, but for the last */
};

struct syntax_statement {
    size_t first, n; /* elements */
    bool chain;      /* connects them */
    bool broken;     /* there was more, which could not be parsed */
};

struct syntax_tree {
    struct syntax_header *headers;
    size_t n_headers, headers_capacity;
    struct syntax_element *elements;
    size_t n_elements, elements_capacity;
    struct syntax_statement *statements;
    size_t n_statements, statements_capacity;
    bool incomplete; /* connections are lost in statements that could not be parsed */
};

/* Parse the tokens of 'text' into a tree in the arena.  Mistakes are reported; parsing goes on with the next statement.
 */
void parser_run(struct arena *, const char *text, struct tokens, struct fs_diagnostics *, struct syntax_tree *);

#endif

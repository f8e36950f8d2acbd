/* What the files of the parser share: lang/parser.c (statements) and lang/parser_elements.c (the modules of a chain, with their ports, arguments and properties). */
#ifndef LANG_PARSER_H
#define LANG_PARSER_H 1

#include <string.h>

#include "lang/syntax.h"

struct parser {
    struct arena *arena; /* of names and strings */
    struct arena *work;  /* of the tree */
    const char *text;
    const struct parser_includes *includes; /* NULL: they are not opened */
    bool included;                          /* this is such a file */
    const struct token *token;              /* the one to be looked at: never a comment or a line end without meaning */
    const struct token *end;                /* TOKEN_END_OF_TEXT */
    struct fs_diagnostics *diagnostics;
    struct syntax_tree *tree;
    struct syntax_scope *scope; /* what a statement belongs to */
    const char *last_type;      /* copied last; NULL: none */
};

static inline void
skip_trivia(struct parser *parser)
{
    while (parser->token->kind == TOKEN_COMMENT || parser->token->kind == TOKEN_LINE_END) {
        parser->token++;
    }
}

static inline void
advance(struct parser *parser)
{
    if (parser->token != parser->end) {
        parser->token++;
        skip_trivia(parser);
    }
}

/* No statement goes on here. */
static inline bool
at_end(const struct parser *parser)
{
    return parser->token->kind == TOKEN_STATEMENT_END || parser->token->kind == TOKEN_CLOSE_BLOCK ||
           parser->token->kind == TOKEN_OPEN_BLOCK || parser->token == parser->end;
}

static inline bool
accept(struct parser *parser, enum token_kind kind)
{
    if (parser->token->kind != kind) {
        return false;
    }
    advance(parser);
    return true;
}

static inline bool
has_parameter(const char *value)
{
    return strchr(value, '$') != NULL;
}

static inline void
push_pair(struct parser *parser, struct syntax_pair **pairs, size_t *n, size_t *capacity, struct syntax_pair pair)
{
    *pairs = arena_grow(parser->work, *pairs, *n, capacity, sizeof **pairs);
    (*pairs)[(*n)++] = pair;
}

/* The kind of the token behind the current one. */
static inline enum token_kind
following(const struct parser *parser)
{
    struct parser copy = *parser;
    advance(&copy);
    return copy.token->kind;
}

/* "expected X, but found Y" at the current token, unless that one is already reported (NULL). */
struct fs_diagnostic *parser_complain(struct parser *, const char *expected);
/* The text of a token, in the arena of names. */
const char *parser_copy(const struct parser *, const struct token *);
void parser_push(struct parser *, const struct syntax_element *);
/* The key, '=' and the value from the current token on.  Pairs that make no sense are 'broken'. */
struct syntax_pair parser_pair(struct parser *);

/* One element, with the properties of the arrow before it if there is one.  False: it was complained of. */
bool parser_element(struct parser *, bool arrow);

#endif

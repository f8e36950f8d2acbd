/* The parser: tokens to syntax tree.
 *
 *     text        = { statement end }
 *     statement   = header | chain
 *     header      = KEY "=" value
 *     chain       = element { "->" element }
 *     element     = [ port ] ( name | name { "," name } "::" type | type "(" [ string ] ")" ) [ port ]
 *     type        = Name [ "(" [ string ] ")" ]
 *     port        = "[" number "]"
 *
 * Nothing nests, so nothing recurses.  A statement that makes no sense is reported once and left; the names in it are
 * remembered, so that the checker does not call them undeclared or unused on top. */
#include "config.h"

#include "lang/syntax.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct parser {
    struct arena *arena;
    const char *text;
    const struct token *token; /* the one to be looked at: never a comment or a line end without meaning */
    const struct token *end;   /* TOKEN_END_OF_TEXT */
    struct fs_diagnostics *diagnostics;
    struct syntax_tree *tree;
};

static void parse_statement(struct parser *);
static void parse_header(struct parser *);
static void parse_chain(struct parser *);
static bool parse_element(struct parser *);

static void
skip_trivia(struct parser *parser)
{
    while (parser->token->kind == TOKEN_COMMENT || parser->token->kind == TOKEN_LINE_END) {
        parser->token++;
    }
}

static void
advance(struct parser *parser)
{
    if (parser->token != parser->end) {
        parser->token++;
        skip_trivia(parser);
    }
}

void
parser_run(struct arena *arena, const char *text, struct tokens tokens, struct fs_diagnostics *diagnostics,
           struct syntax_tree *tree)
{
    struct parser parser = { arena, text, tokens.array, tokens.array + tokens.n - 1, diagnostics, tree };
    skip_trivia(&parser);
    while (parser.token != parser.end) {
        if (parser.token->kind == TOKEN_STATEMENT_END) {
            advance(&parser);
        } else {
            parse_statement(&parser);
        }
    }
}

/* The token as it is written, for messages. */
static const char *
describe(const struct parser *parser)
{
    const struct token *token = parser->token;
    switch (token->kind) {
    case TOKEN_END_OF_TEXT: return "the end of the text";
    case TOKEN_STATEMENT_END: return parser->text[token->span.offset] == ';' ? "';'" : "the end of the line";
    case TOKEN_STRING: return "a string";
    default:
        return arena_printf(parser->arena, "'%.*s'", (int) (token->span.length < 64 ? token->span.length : 64),
                            parser->text + token->span.offset);
    }
}

/* "expected X, but found Y" at the current token, unless that one is already reported. */
static struct fs_diagnostic *
complain(struct parser *parser, const char *expected)
{
    if (parser->token->kind == TOKEN_BAD || parser->token->kind == TOKEN_BROKEN_STRING) {
        return NULL;
    }
    return diagnostics_error(parser->diagnostics, parser->token->span, "expected %s, but found %s", expected,
                             describe(parser));
}

static bool
accept(struct parser *parser, enum token_kind kind)
{
    if (parser->token->kind != kind) {
        return false;
    }
    advance(parser);
    return true;
}

static const char *
copy_token(const struct parser *parser, const struct token *token)
{
    return arena_copy(parser->arena, parser->text + token->span.offset, token->span.length);
}

/* The kind of the token behind the current one. */
static enum token_kind
following(const struct parser *parser)
{
    struct parser copy = *parser;
    advance(&copy);
    return copy.token->kind;
}

static void
push_element(struct parser *parser, const struct syntax_element *element)
{
    struct syntax_tree *tree = parser->tree;
    tree->elements =
        arena_grow(parser->arena, tree->elements, tree->n_elements, &tree->elements_capacity, sizeof *tree->elements);
    tree->elements[tree->n_elements++] = *element;
}

/* Leave a statement from 'token' on, remembering the names in it. */
static void
give_up(struct parser *parser, const struct token *token)
{
    enum token_kind before = TOKEN_STATEMENT_END;
    parser->tree->incomplete = true;
    parser->token = token;
    while (parser->token->kind != TOKEN_STATEMENT_END && parser->token != parser->end) {
        if (parser->token->kind == TOKEN_NAME && before != TOKEN_COLONS && following(parser) != TOKEN_OPEN) {
            struct syntax_element mention = { .kind = SYNTAX_MENTION,
                                              .name = copy_token(parser, parser->token),
                                              .name_span = parser->token->span };
            push_element(parser, &mention);
        }
        before = parser->token->kind;
        advance(parser);
    }
}

static void
parse_statement(struct parser *parser)
{
    if (parser->token->kind == TOKEN_NAME && following(parser) == TOKEN_EQUALS) {
        parse_header(parser);
    } else {
        parse_chain(parser);
    }
}

static void
parse_header(struct parser *parser)
{
    struct syntax_tree *tree = parser->tree;
    struct syntax_header header = { .key_span = parser->token->span, .key = copy_token(parser, parser->token) };
    advance(parser);
    advance(parser);

    const struct token *value = parser->token;
    header.value_span = value->span;
    if (value->kind == TOKEN_STRING) {
        header.value = lexer_decode_string(parser->arena, parser->text, value->span, parser->diagnostics);
    } else {
        header.broken = value->kind != TOKEN_VALUE;
        header.value = header.broken ? "" : copy_token(parser, value);
    }
    if (tree->n_statements) {
        struct fs_diagnostic *error = diagnostics_error(parser->diagnostics, header.key_span,
                                                        "header '%s' stands behind the first declaration", header.key);
        diagnostics_note(parser->diagnostics, error, NULL, "headers, KEY=value, come first in a request");
    }
    advance(parser);
    if (parser->token->kind != TOKEN_STATEMENT_END && parser->token != parser->end) {
        complain(parser, "the end of the line behind the value");
        give_up(parser, parser->token);
    }
    tree->headers =
        arena_grow(parser->arena, tree->headers, tree->n_headers, &tree->headers_capacity, sizeof *tree->headers);
    tree->headers[tree->n_headers++] = header;
}

/* What a chain may be followed by, when it is neither "->" nor an end. */
static void
complain_behind_element(struct parser *parser)
{
    struct fs_diagnostic *error = complain(parser, "'->' or the end of the statement");
    if (error && parser->token->kind == TOKEN_OPEN_PORT) {
        diagnostics_note(parser->diagnostics, error, NULL,
                         "one port before and one behind a module: '-> [0]name[0] ->'");
    }
}

static void
parse_chain(struct parser *parser)
{
    struct syntax_tree *tree = parser->tree;
    struct syntax_statement statement = { .first = tree->n_elements };
    const struct token *start;
    bool good, arrow = false;
    do {
        start = parser->token;
        good = parse_element(parser);
    } while (good && parser->token->kind == TOKEN_ARROW && (advance(parser), arrow = true));

    statement.n = tree->n_elements - statement.first;
    statement.chain = arrow;
    if (arrow && statement.n && tree->elements[tree->n_elements - 1].args.broken) {
        tree->incomplete = true; /* the rest of the chain may be within a string that was not closed */
    }
    statement.broken = true;
    if (!good) {
        give_up(parser, start);
    } else if (parser->token->kind != TOKEN_STATEMENT_END && parser->token != parser->end) {
        struct syntax_element *only = &tree->elements[statement.first];
        if (statement.n == 1 && only->kind == SYNTAX_REFERENCE) {
            only->kind = SYNTAX_MENTION; /* perhaps a declaration gone wrong */
        }
        complain_behind_element(parser);
        give_up(parser, parser->token);
    } else {
        statement.broken = false;
    }
    tree->statements = arena_grow(parser->arena, tree->statements, tree->n_statements, &tree->statements_capacity,
                                  sizeof *tree->statements);
    tree->statements[tree->n_statements++] = statement;
}

/* A decimal number that fits, or false with an error. */
static bool
parse_port_number(struct parser *parser, uint32_t *number)
{
    const char *digits = copy_token(parser, parser->token);
    if (digits[strspn(digits, "0123456789")] != '\0') {
        diagnostics_error(parser->diagnostics, parser->token->span, "'%.40s' is no port number: ports are 0, 1, 2, ...",
                          digits);
        return false;
    }
    errno = 0;
    unsigned long long value = strtoull(digits, NULL, 10);
    *number = errno || value > UINT32_MAX ? UINT32_MAX
                                          : (uint32_t) value; /* far out of any type's range, which is reported then */
    return true;
}

/* "[n]" if there is one. */
static bool
parse_port(struct parser *parser, struct syntax_port *port)
{
    const struct token *open = parser->token;
    if (!accept(parser, TOKEN_OPEN_PORT)) {
        return true;
    }
    if (parser->token->kind != TOKEN_NUMBER) {
        complain(parser, "a port number");
        return false;
    }
    if (!parse_port_number(parser, &port->number)) {
        return false;
    }
    advance(parser);
    port->span = (struct span) { open->span.offset, parser->token->span.offset + 1 - open->span.offset };
    if (!accept(parser, TOKEN_CLOSE_PORT)) {
        complain(parser, "']' behind the port number");
        return false;
    }
    return true;
}

/* The string between the parentheses. */
static void
parse_string(struct parser *parser, struct syntax_args *args)
{
    args->span = parser->token->span;
    if (parser->token->kind == TOKEN_BROKEN_STRING) {
        args->broken = true;
    } else {
        size_t errors = fs_diagnostics_errors(parser->diagnostics);
        args->value = lexer_decode_string(parser->arena, parser->text, args->span, parser->diagnostics);
        args->written = true;
        args->broken = errors != fs_diagnostics_errors(parser->diagnostics);
    }
    advance(parser);
}

/* ("...") or () if there are any. */
static bool
parse_args(struct parser *parser, struct syntax_element *element)
{
    element->args.value = "";
    element->args.span = element->type_span;
    if (!accept(parser, TOKEN_OPEN)) {
        return true;
    }
    bool unclosed = parser->token->kind == TOKEN_BROKEN_STRING;
    if (unclosed || parser->token->kind == TOKEN_STRING) {
        parse_string(parser, &element->args);
    } else if (parser->token->kind != TOKEN_CLOSE) {
        struct fs_diagnostic *error = complain(parser, "a string in double quotes or ')'");
        if (error && parser->token->kind == TOKEN_NAME) {
            diagnostics_note(parser->diagnostics, error, NULL, "arguments are one string: %s(\"...\")", element->type);
        }
        return false;
    }
    if (!accept(parser, TOKEN_CLOSE) && !unclosed) {
        complain(parser, "')' behind the arguments");
        return false;
    }
    return true;
}

static void
set_name(struct parser *parser, struct syntax_element *element)
{
    element->name = copy_token(parser, parser->token);
    element->name_span = parser->token->span;
}

/* The rest of a declaration with the names 'element' and those behind its comma.  Pushes all but the last of them. */
static bool
parse_declaration(struct parser *parser, struct syntax_element *element)
{
    size_t first = parser->tree->n_elements;
    element->kind = SYNTAX_DECLARATION;
    while (accept(parser, TOKEN_COMMA)) {
        if (parser->token->kind != TOKEN_NAME) {
            complain(parser, "another name behind ','");
            parser->tree->n_elements = first;
            return false;
        }
        element->listed = true;
        push_element(parser, element);
        element->listed = false;
        element->input = (struct syntax_port) { .number = 0 };
        set_name(parser, element);
        advance(parser);
    }
    if (!accept(parser, TOKEN_COLONS)) {
        complain(parser, "'::' and a type behind the names");
        parser->tree->n_elements = first;
        return false;
    }
    if (parser->token->kind != TOKEN_NAME) {
        complain(parser, "a module type behind '::'");
        parser->tree->n_elements = first;
        return false;
    }
    element->type = copy_token(parser, parser->token);
    element->type_span = parser->token->span;
    advance(parser);
    if (!parse_args(parser, element)) {
        parser->tree->n_elements = first;
        return false;
    }
    for (size_t i = first; i < parser->tree->n_elements; i++) {
        struct syntax_element *other = &parser->tree->elements[i];
        other->type = element->type;
        other->type_span = element->type_span;
        other->args = element->args;
    }
    return true;
}

static bool
parse_element_body(struct parser *parser, struct syntax_element *element)
{
    if (parser->token->kind != TOKEN_NAME) {
        struct fs_diagnostic *error = complain(parser, "a module");
        if (error && parser->token->kind == TOKEN_ARROW) {
            diagnostics_note(parser->diagnostics, error, NULL, "'->' stands between two modules: 'a -> b'");
        }
        return false;
    }
    set_name(parser, element);
    advance(parser);
    switch (parser->token->kind) {
    case TOKEN_COMMA:
    case TOKEN_COLONS: return parse_declaration(parser, element);
    case TOKEN_OPEN:
        element->kind = SYNTAX_UNNAMED;
        element->type = element->name;
        element->type_span = element->name_span;
        element->name = NULL;
        return parse_args(parser, element);
    default: return true;
    }
}

static bool
parse_element(struct parser *parser)
{
    struct syntax_element element = { .kind = SYNTAX_REFERENCE };
    if (!parse_port(parser, &element.input) || !parse_element_body(parser, &element) ||
        !parse_port(parser, &element.output)) {
        return false;
    }
    push_element(parser, &element);
    return true;
}

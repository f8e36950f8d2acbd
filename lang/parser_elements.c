/* The modules of a chain: names, types, arguments, properties and ports.  The grammar is in lang/parser.c. */
#include "config.h"

#include "lang/parser.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

/* A decimal number that fits, or false with an error. */
static bool
parse_port_number(struct parser *parser, uint32_t *number)
{
    const char *digits = parser_copy(parser, parser->token);
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
        parser_complain(parser, "a port number");
        return false;
    }
    if (!parse_port_number(parser, &port->number)) {
        return false;
    }
    advance(parser);
    port->span = (struct span) { open->span.offset, parser->token->span.offset + 1 - open->span.offset };
    if (!accept(parser, TOKEN_CLOSE_PORT)) {
        parser_complain(parser, "']' behind the port number");
        return false;
    }
    return true;
}

/* One argument: a string or a parameter. */
static struct syntax_string
parse_argument(struct parser *parser, struct syntax_args *args, bool *unclosed)
{
    struct syntax_string string = { .span = parser->token->span, .value = "" };
    if (parser->token->kind == TOKEN_BROKEN_STRING) {
        args->broken = *unclosed = true;
    } else if (parser->token->kind == TOKEN_PARAMETER) {
        string.variable = true;
    } else {
        size_t errors = fs_diagnostics_errors(parser->diagnostics);
        string.value =
            lexer_decode_string(parser->arena, parser->text, string.span, parser->diagnostics, &string.variable);
        args->broken |= errors != fs_diagnostics_errors(parser->diagnostics);
    }
    advance(parser);
    return string;
}

static bool
at_argument(const struct parser *parser)
{
    enum token_kind kind = parser->token->kind;
    return kind == TOKEN_STRING || kind == TOKEN_BROKEN_STRING || kind == TOKEN_PARAMETER;
}

/* The strings between the parentheses, of which there is at least one; '*unclosed': the last one swallowed the rest. */
static bool
parse_arguments(struct parser *parser, struct syntax_args *args, bool *unclosed)
{
    struct syntax_string *strings = NULL;
    size_t n = 0, capacity = 1; /* most modules have one */
    uint32_t start = parser->token->span.offset;
    strings = arena_alloc(parser->work, sizeof *strings);
    do {
        if (!at_argument(parser)) {
            parser_complain(parser, "another string behind ','");
            return false;
        }
        strings = arena_grow(parser->work, strings, n, &capacity, sizeof *strings);
        strings[n] = parse_argument(parser, args, unclosed);
        args->span = (struct span) { start, strings[n].span.offset + strings[n].span.length - start };
        n++;
    } while (accept(parser, TOKEN_COMMA));
    args->strings = strings;
    args->n = (uint32_t) n;
    return true;
}

/* ("...") or () if there are any. */
static bool
parse_args(struct parser *parser, struct syntax_element *element)
{
    element->args.span = element->type_span;
    if (!accept(parser, TOKEN_OPEN)) {
        return true;
    }
    bool unclosed = false;
    if (at_argument(parser)) {
        if (!parse_arguments(parser, &element->args, &unclosed)) {
            return false;
        }
    } else if (parser->token->kind != TOKEN_CLOSE) {
        struct fs_diagnostic *error = parser_complain(parser, "a string in double quotes or ')'");
        if (error && parser->token->kind == TOKEN_NAME) {
            diagnostics_note(parser->diagnostics, error, NULL, "arguments are strings: %s(\"...\")", element->type);
        }
        return false;
    }
    if (!accept(parser, TOKEN_CLOSE) && !unclosed) {
        parser_complain(parser, "')' behind the arguments");
        return false;
    }
    return true;
}

/* {key=value, ...} if there are any. */
static bool
parse_properties(struct parser *parser, struct syntax_properties *properties)
{
    struct syntax_pair *pairs = NULL;
    size_t n = 0, capacity = 0;
    if (!accept(parser, TOKEN_OPEN_PROPERTIES)) {
        return true;
    }
    while (parser->token->kind != TOKEN_CLOSE_PROPERTIES) {
        if (parser->token->kind != TOKEN_NAME || following(parser) != TOKEN_EQUALS) {
            struct fs_diagnostic *error = parser_complain(parser, "a property such as cpu=0.5");
            if (error) {
                diagnostics_note(parser->diagnostics, error, NULL, "properties stand in braces: {cpu=0.5, mem=64MB}");
            }
            return false;
        }
        push_pair(parser, &pairs, &n, &capacity, parser_pair(parser));
        if (parser->token->kind != TOKEN_CLOSE_PROPERTIES && !accept(parser, TOKEN_COMMA)) {
            parser_complain(parser, "',' or '}' behind the value");
            return false;
        }
    }
    advance(parser);
    properties->pairs = pairs;
    properties->n = (uint32_t) n;
    return true;
}

/* The type of a module, from the current token.  Neighbours tend to have the same. */
static const char *
copy_type(struct parser *parser)
{
    const struct span span = parser->token->span;
    const char *last = parser->last_type;
    if (!last || strncmp(last, parser->text + span.offset, span.length) || last[span.length]) {
        parser->last_type = parser_copy(parser, parser->token);
    }
    return parser->last_type;
}

static void
set_name(struct parser *parser, struct syntax_element *element)
{
    element->name = parser_copy(parser, parser->token);
    element->name_span = parser->token->span;
}

/* The rest of a declaration with the names 'element' and those behind its comma.  Pushes all but the last of them. */
static bool
parse_declaration(struct parser *parser, struct syntax_element *element)
{
    struct syntax_scope *scope = parser->scope;
    size_t first = scope->n_elements;
    element->kind = SYNTAX_DECLARATION;
    while (accept(parser, TOKEN_COMMA)) {
        if (parser->token->kind != TOKEN_NAME) {
            parser_complain(parser, "another name behind ','");
            scope->n_elements = first;
            return false;
        }
        element->listed = true;
        parser_push(parser, element);
        element->listed = false;
        element->input = (struct syntax_port) { .number = 0 };
        set_name(parser, element);
        advance(parser);
    }
    if (!accept(parser, TOKEN_COLONS)) {
        parser_complain(parser, "'::' and a type behind the names");
        scope->n_elements = first;
        return false;
    }
    if (parser->token->kind != TOKEN_NAME) {
        parser_complain(parser, "a module type behind '::'");
        scope->n_elements = first;
        return false;
    }
    element->type = copy_type(parser);
    element->type_span = parser->token->span;
    advance(parser);
    if (!parse_args(parser, element) || !parse_properties(parser, &element->properties)) {
        scope->n_elements = first;
        return false;
    }
    for (size_t i = first; i < scope->n_elements; i++) {
        struct syntax_element *other = &scope->elements[i];
        other->type = element->type;
        other->type_span = element->type_span;
        other->args = element->args;
        other->properties = element->properties;
    }
    return true;
}

static bool
parse_element_body(struct parser *parser, struct syntax_element *element)
{
    if (parser->token->kind != TOKEN_NAME) {
        struct fs_diagnostic *error = parser_complain(parser, "a module");
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
        return parse_args(parser, element) && parse_properties(parser, &element->properties);
    default: return parse_properties(parser, &element->properties);
    }
}

bool
parser_element(struct parser *parser, bool arrow)
{
    struct syntax_element element = { .kind = SYNTAX_REFERENCE };
    if ((arrow && !parse_properties(parser, &element.arrow)) || !parse_port(parser, &element.input) ||
        !parse_element_body(parser, &element) || !parse_port(parser, &element.output)) {
        return false;
    }
    parser_push(parser, &element);
    return true;
}

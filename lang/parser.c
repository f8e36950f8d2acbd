/* The parser: tokens to syntax tree.  docs/language.md has the same grammar; tests/lang/grammar.py compares the two.
 *
 *     text        = { statement end } ;
 *     statement   = include | block | variable | header | delay | chain ;
 *     include     = "include" string ;
 *     block       = ( "request" Name | "part" Name [ "(" [ formal { "," formal } ] ")" ] ) "{" { statement end } "}" ;
 *     formal      = parameter [ "=" value ] ;
 *     variable    = parameter "=" value ;
 *     header      = Name "=" value ;
 *     delay       = "delay" Name "->" Name "<" ( number | parameter ) ;
 *     chain       = element { "->" [ properties ] element } ;
 *     element     = [ port ] ( Name | Name { "," Name } "::" type | module ) [ properties ] [ port ] ;
 *     type        = Name [ arguments ] ;
 *     module      = Name arguments ;
 *     arguments   = "(" [ argument { "," argument } ] ")" ;
 *     argument    = string | parameter ;
 *     properties  = "{" [ property { "," property } ] "}" ;
 *     property    = Name "=" value ;
 *     port        = "[" number "]" ;
 *
 * Blocks do not nest, and neither does anything else, so nothing recurses but an included file.  A statement that makes
 * no sense is reported once and left; the names in it are remembered, so that the checker does not call them undeclared
 * or unused on top. */
#include "config.h"

#include "lang/syntax.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

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

static void parse_source(struct parser *, struct tokens);
static void parse_statement(struct parser *);
static void parse_include(struct parser *);
static void parse_block(struct parser *);
static void parse_variable(struct parser *);
static void parse_delay(struct parser *);
static void parse_header(struct parser *);
static void parse_chain(struct parser *);
static bool parse_element(struct parser *, bool arrow);

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

/* No statement goes on here. */
static bool
at_end(const struct parser *parser)
{
    return parser->token->kind == TOKEN_STATEMENT_END || parser->token->kind == TOKEN_CLOSE_BLOCK ||
           parser->token->kind == TOKEN_OPEN_BLOCK || parser->token == parser->end;
}

void
parser_run(struct arena *arena, struct arena *work, const struct parser_source *source,
           const struct parser_includes *includes, struct fs_diagnostics *diagnostics, struct syntax_tree *tree)
{
    struct parser parser = { .arena = arena,
                             .work = work,
                             .text = source->text,
                             .includes = includes,
                             .diagnostics = diagnostics,
                             .tree = tree,
                             .scope = &tree->top };
    parse_source(&parser, source->tokens);
}

/* Close the block that is open; 'token' is the brace, or where it is missing. */
static void
end_block(struct parser *parser)
{
    if (parser->token->kind != TOKEN_CLOSE_BLOCK) {
        struct fs_diagnostic *error =
            diagnostics_error(parser->diagnostics, parser->scope->span,
                              "the block '%.64s' is not closed: '}' is missing", parser->scope->name);
        diagnostics_note(parser->diagnostics, error, NULL, "the next block, or the end of the text, comes first");
    }
    parser->scope = &parser->tree->top;
}

static void
parse_source(struct parser *parser, struct tokens tokens)
{
    parser->token = tokens.array;
    parser->end = tokens.array + tokens.n - 1;
    skip_trivia(parser);
    while (parser->token != parser->end) {
        if (parser->token->kind == TOKEN_STATEMENT_END) {
            advance(parser);
        } else if (parser->token->kind == TOKEN_CLOSE_BLOCK) {
            if (parser->scope == &parser->tree->top) {
                diagnostics_error(parser->diagnostics, parser->token->span, "this '}' closes nothing");
            } else {
                end_block(parser);
            }
            advance(parser);
        } else {
            parse_statement(parser);
        }
    }
    if (parser->scope != &parser->tree->top) {
        end_block(parser);
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
        return arena_printf(parser->work, "'%.*s'", (int) (token->span.length < 64 ? token->span.length : 64),
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
    struct syntax_scope *scope = parser->scope;
    scope->elements = arena_grow(parser->work, scope->elements, scope->n_elements, &scope->elements_capacity,
                                 sizeof *scope->elements);
    scope->elements[scope->n_elements++] = *element;
    scope->n_names += element->kind == SYNTAX_DECLARATION;
}

/* Leave a statement from 'token' on, remembering the names in it. */
static void
give_up(struct parser *parser, const struct token *token)
{
    enum token_kind before = TOKEN_STATEMENT_END;
    parser->scope->incomplete = true;
    parser->token = token;
    while (!at_end(parser) || (parser->token->kind == TOKEN_OPEN_BLOCK && parser->token == token)) {
        enum token_kind next = following(parser);
        if (parser->token->kind == TOKEN_NAME && before != TOKEN_COLONS && next != TOKEN_OPEN && (next != TOKEN_EQUALS || parser->token == token)) {
            struct syntax_element mention = { .kind = SYNTAX_MENTION,
                                              .name = copy_token(parser, parser->token),
                                              .name_span = parser->token->span };
            push_element(parser, &mention);
        }
        before = parser->token->kind;
        advance(parser);
    }
}

static bool
at_word(const struct parser *parser, const char *word)
{
    const struct token *token = parser->token;
    return token->kind == TOKEN_NAME && token->span.length == strlen(word) &&
           !memcmp(parser->text + token->span.offset, word, token->span.length);
}

/* The words that begin a statement are names everywhere else: what follows them decides. */
static void
parse_statement(struct parser *parser)
{
    enum token_kind next = following(parser);
    if (parser->token->kind == TOKEN_NAME && next == TOKEN_EQUALS) {
        parse_header(parser);
    } else if (parser->token->kind == TOKEN_PARAMETER) {
        parse_variable(parser);
    } else if (at_word(parser, "include") && (next == TOKEN_STRING || next == TOKEN_BROKEN_STRING)) {
        parse_include(parser);
    } else if (next == TOKEN_NAME && (at_word(parser, "request") || at_word(parser, "part"))) {
        parse_block(parser);
    } else if (next == TOKEN_NAME && at_word(parser, "delay")) {
        parse_delay(parser);
    } else {
        parse_chain(parser);
    }
}

/* A statement ends here, or the rest of it is reported and left. */
static void
demand_end(struct parser *parser, const char *what)
{
    if (!at_end(parser)) {
        complain(parser, what);
        give_up(parser, parser->token);
    }
}

static bool
has_parameter(const char *value)
{
    return strchr(value, '$') != NULL;
}

/* The key, '=' and the value from the current token on.  Pairs that make no sense are 'broken'. */
static struct syntax_pair
parse_pair(struct parser *parser)
{
    struct syntax_pair pair = { .key_span = parser->token->span, .key = copy_token(parser, parser->token) };
    pair.key += *pair.key == '$';
    advance(parser);
    advance(parser);

    const struct token *value = parser->token;
    pair.value_span = value->span;
    if (value->kind == TOKEN_STRING) {
        pair.value = lexer_decode_string(parser->arena, parser->text, value->span, parser->diagnostics, &pair.variable);
    } else {
        pair.broken = value->kind != TOKEN_VALUE;
        pair.value = pair.broken ? "" : copy_token(parser, value);
        pair.variable = has_parameter(pair.value);
    }
    advance(parser); /* behind '=' the lexer always puts a value, if only an empty one */
    return pair;
}

static void
push_pair(struct parser *parser, struct syntax_pair **pairs, size_t *n, size_t *capacity, struct syntax_pair pair)
{
    *pairs = arena_grow(parser->work, *pairs, *n, capacity, sizeof **pairs);
    (*pairs)[(*n)++] = pair;
}

/* name = Type(...), as other languages declare. */
static bool
is_declaration_with_equals(const struct parser *parser)
{
    const struct token *value = parser->token + 2; /* nothing comes between: the lexer has read them in one go */
    const char *text = parser->text + value->span.offset;
    size_t length = 0;
    while (length < value->span.length && (isalnum((unsigned char) text[length]) || text[length] == '_')) {
        length++;
    }
    return value->kind == TOKEN_VALUE && length > 0 && length < value->span.length && text[length] == '(';
}

static void
parse_header(struct parser *parser)
{
    struct syntax_scope *scope = parser->scope;
    if (is_declaration_with_equals(parser)) {
        struct fs_diagnostic *error = diagnostics_error(parser->diagnostics, parser->token[1].span, "a module is declared with '::', not with '='");
        diagnostics_suggest(parser->diagnostics, error, "::");
        give_up(parser, parser->token);
        return;
    }
    struct syntax_pair header = parse_pair(parser);
    if (scope->part) {
        diagnostics_error(parser->diagnostics, header.key_span,
                          "header '%.64s' stands in a part: headers belong to a request", header.key);
    } else if (parser->included) {
        diagnostics_error(parser->diagnostics, header.key_span,
                          "header '%.64s' stands in an included file: headers belong to a request", header.key);
    } else if (scope->n_statements) {
        struct fs_diagnostic *error = diagnostics_error(parser->diagnostics, header.key_span,
                                                        "header '%s' stands behind the first declaration", header.key);
        diagnostics_note(parser->diagnostics, error, NULL, "headers, KEY=value, come first in a request");
    }
    demand_end(parser, "the end of the line behind the value");
    push_pair(parser, &scope->headers, &scope->n_headers, &scope->headers_capacity, header);
}

/* $name=value: a parameter of the request, with its default. */
static void
parse_variable(struct parser *parser)
{
    struct syntax_scope *scope = parser->scope;
    if (following(parser) != TOKEN_EQUALS) {
        const struct token *start = parser->token;
        advance(parser);
        complain(parser, "'=' and a default behind the parameter");
        give_up(parser, start);
        return;
    }
    struct syntax_pair variable = parse_pair(parser);
    if (scope->part) {
        diagnostics_error(parser->diagnostics, variable.key_span,
                          "parameters of a part stand behind its name: part %s($%.64s=...)", scope->name, variable.key);
    } else {
        push_pair(parser, &scope->parameters, &scope->n_parameters, &scope->parameters_capacity, variable);
    }
    demand_end(parser, "the end of the line behind the value");
}

static void
parse_include(struct parser *parser)
{
    advance(parser);
    struct span span = parser->token->span;
    bool good = parser->token->kind == TOKEN_STRING, variable = false;
    const char *name =
        good ? lexer_decode_string(parser->arena, parser->text, span, parser->diagnostics, &variable) : "";
    advance(parser);
    if (parser->scope != &parser->tree->top) {
        diagnostics_error(parser->diagnostics, span, "an include stands outside of requests and parts");
        good = false;
    }
    demand_end(parser, "the end of the line behind the file");
    if (!good) {
        parser->tree->top.incomplete = true;
    } else if (parser->includes) {
        struct parser inner = *parser;
        struct parser_source source = { .text = parser->text };
        if (parser->includes->open(parser->includes->aux, name, span, &source)) {
            inner.text = source.text;
            inner.included = true;
            parse_source(&inner, source.tokens);
            parser->text = inner.text;
        }
    }
}

/* The parameters of a part, up to the parenthesis. */
static bool
parse_formals(struct parser *parser, struct syntax_scope *part)
{
    do {
        if (part->n_parameters == 0 && parser->token->kind == TOKEN_CLOSE) {
            break;
        }
        if (parser->token->kind != TOKEN_PARAMETER) {
            complain(parser, "a parameter of the part, such as $rules");
            return false;
        }
        struct syntax_pair formal;
        if (following(parser) == TOKEN_EQUALS) {
            formal = parse_pair(parser);
        } else {
            const char *key = copy_token(parser, parser->token);
            formal = (struct syntax_pair) { .key_span = parser->token->span, .key = key + 1 };
            advance(parser);
        }
        push_pair(parser, &part->parameters, &part->n_parameters, &part->parameters_capacity, formal);
    } while (accept(parser, TOKEN_COMMA));
    if (!accept(parser, TOKEN_CLOSE)) {
        complain(parser, "',' or ')' behind the parameter");
        return false;
    }
    return true;
}

/* "request Name {" or "part Name(...) {": what follows belongs to it. */
static void
parse_block(struct parser *parser)
{
    struct syntax_tree *tree = parser->tree;
    struct syntax_scope *scope = arena_alloc(parser->work, sizeof *scope);
    scope->part = at_word(parser, "part");
    scope->library = parser->included;
    advance(parser);
    scope->name = copy_token(parser, parser->token);
    scope->span = parser->token->span;
    advance(parser);
    if (scope->part && accept(parser, TOKEN_OPEN) && !parse_formals(parser, scope)) {
        give_up(parser, parser->token);
    }
    if (parser->token->kind != TOKEN_OPEN_BLOCK) {
        struct fs_diagnostic *error = complain(parser, "'{' behind the name");
        if (error) {
            diagnostics_note(parser->diagnostics, error, NULL, "a block is written %s %.64s { ... }",
                             scope->part ? "part" : "request", scope->name);
        }
        give_up(parser, parser->token);
        return;
    }
    if (parser->scope != &tree->top) {
        end_block(parser);
    }
    if (parser->included && !scope->part) {
        diagnostics_error(parser->diagnostics, scope->span, "request '%.64s' stands in an included file: parts may",
                          scope->name);
    }
    advance(parser);
    tree->scopes =
        arena_grow(parser->work, tree->scopes, tree->n_scopes, &tree->scopes_capacity, sizeof(struct syntax_scope *));
    tree->scopes[tree->n_scopes++] = scope;
    tree->n_requests += !scope->part;
    parser->scope = scope;
}

/* Take a name into '*name'. */
static bool
parse_end_of_delay(struct parser *parser, const char **name, struct span *span)
{
    if (parser->token->kind != TOKEN_NAME) {
        complain(parser, "the name of a FromNet or ToNet");
        return false;
    }
    *name = copy_token(parser, parser->token);
    *span = parser->token->span;
    advance(parser);
    return true;
}

static bool
parse_delay_body(struct parser *parser, struct syntax_delay *delay)
{
    if (!parse_end_of_delay(parser, &delay->from, &delay->from_span)) {
        return false;
    }
    if (!accept(parser, TOKEN_ARROW)) {
        complain(parser, "'->' and the ToNet");
        return false;
    }
    if (!parse_end_of_delay(parser, &delay->to, &delay->to_span)) {
        return false;
    }
    if (!accept(parser, TOKEN_LESS)) {
        complain(parser, "'<' and the bound");
        return false;
    }
    if (parser->token->kind != TOKEN_NUMBER && parser->token->kind != TOKEN_PARAMETER) {
        complain(parser, "a time such as 5ms");
        return false;
    }
    delay->bound = copy_token(parser, parser->token);
    delay->bound_span = parser->token->span;
    delay->variable = parser->token->kind == TOKEN_PARAMETER;
    advance(parser);
    return true;
}

/* delay from -> to < bound */
static void
parse_delay(struct parser *parser)
{
    struct syntax_scope *scope = parser->scope;
    const struct token *start = parser->token;
    struct syntax_delay delay = { .from = NULL };
    advance(parser);
    if (!parse_delay_body(parser, &delay)) {
        give_up(parser, parser->token);
        return;
    }
    demand_end(parser, "the end of the line behind the bound");
    if (scope->part) {
        diagnostics_error(parser->diagnostics, start->span, "a bound on the delay belongs to a request, not to a part");
        return;
    }
    scope->delays =
        arena_grow(parser->work, scope->delays, scope->n_delays, &scope->delays_capacity, sizeof *scope->delays);
    scope->delays[scope->n_delays++] = delay;
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
    struct syntax_scope *scope = parser->scope;
    struct syntax_statement statement = { .first = scope->n_elements };
    const struct token *start = parser->token;
    bool good = true, arrow = false;
    if (scope->n_statements == 0) {
        scope->first_statement = start->span;
    }
    for (bool more = true; more; arrow |= more) {
        start = parser->token;
        good = parse_element(parser, arrow);
        more = good && accept(parser, TOKEN_ARROW);
    }

    statement.n = scope->n_elements - statement.first;
    statement.chain = arrow;
    if (arrow && scope->elements[scope->n_elements - 1].args.broken) {
        scope->incomplete = true; /* the rest of the chain may be within a string that was not closed */
    }
    statement.broken = true;
    if (!good) {
        give_up(parser, start);
    } else if (!at_end(parser)) {
        struct syntax_element *last = &scope->elements[scope->n_elements - 1];
        if (last->kind == SYNTAX_REFERENCE) {
            last->kind = SYNTAX_MENTION; /* perhaps a declaration gone wrong */
        }
        complain_behind_element(parser);
        give_up(parser, parser->token);
    } else {
        statement.broken = false;
    }
    scope->statements = arena_grow(parser->work, scope->statements, scope->n_statements, &scope->statements_capacity,
                                   sizeof *scope->statements);
    scope->statements[scope->n_statements++] = statement;
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
            complain(parser, "another string behind ','");
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
        struct fs_diagnostic *error = complain(parser, "a string in double quotes or ')'");
        if (error && parser->token->kind == TOKEN_NAME) {
            diagnostics_note(parser->diagnostics, error, NULL, "arguments are strings: %s(\"...\")", element->type);
        }
        return false;
    }
    if (!accept(parser, TOKEN_CLOSE) && !unclosed) {
        complain(parser, "')' behind the arguments");
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
            struct fs_diagnostic *error = complain(parser, "a property such as cpu=0.5");
            if (error) {
                diagnostics_note(parser->diagnostics, error, NULL, "properties stand in braces: {cpu=0.5, mem=64MB}");
            }
            return false;
        }
        push_pair(parser, &pairs, &n, &capacity, parse_pair(parser));
        if (parser->token->kind != TOKEN_CLOSE_PROPERTIES && !accept(parser, TOKEN_COMMA)) {
            complain(parser, "',' or '}' behind the value");
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
        parser->last_type = copy_token(parser, parser->token);
    }
    return parser->last_type;
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
    struct syntax_scope *scope = parser->scope;
    size_t first = scope->n_elements;
    element->kind = SYNTAX_DECLARATION;
    while (accept(parser, TOKEN_COMMA)) {
        if (parser->token->kind != TOKEN_NAME) {
            complain(parser, "another name behind ','");
            scope->n_elements = first;
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
        scope->n_elements = first;
        return false;
    }
    if (parser->token->kind != TOKEN_NAME) {
        complain(parser, "a module type behind '::'");
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
        return parse_args(parser, element) && parse_properties(parser, &element->properties);
    default: return parse_properties(parser, &element->properties);
    }
}

/* One element, with the properties of the arrow before it if there is one. */
static bool
parse_element(struct parser *parser, bool arrow)
{
    struct syntax_element element = { .kind = SYNTAX_REFERENCE };
    if ((arrow && !parse_properties(parser, &element.arrow)) || !parse_port(parser, &element.input) ||
        !parse_element_body(parser, &element) || !parse_port(parser, &element.output)) {
        return false;
    }
    push_element(parser, &element);
    return true;
}

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

#include "lang/parser.h"

#include <ctype.h>
#include <string.h>

static void parse_source(struct parser *, struct tokens);
static void parse_statement(struct parser *);
static void parse_include(struct parser *);
static void parse_block(struct parser *);
static void parse_variable(struct parser *);
static void parse_delay(struct parser *);
static void parse_header(struct parser *);
static void parse_chain(struct parser *);

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
struct fs_diagnostic *
parser_complain(struct parser *parser, const char *expected)
{
    if (parser->token->kind == TOKEN_BAD || parser->token->kind == TOKEN_BROKEN_STRING) {
        return NULL;
    }
    return diagnostics_error(parser->diagnostics, parser->token->span, "expected %s, but found %s", expected,
                             describe(parser));
}

const char *
parser_copy(const struct parser *parser, const struct token *token)
{
    return arena_copy(parser->arena, parser->text + token->span.offset, token->span.length);
}

void
parser_push(struct parser *parser, const struct syntax_element *element)
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
                                              .name = parser_copy(parser, parser->token),
                                              .name_span = parser->token->span };
            parser_push(parser, &mention);
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
        parser_complain(parser, what);
        give_up(parser, parser->token);
    }
}

/* The key, '=' and the value from the current token on.  Pairs that make no sense are 'broken'. */
struct syntax_pair
parser_pair(struct parser *parser)
{
    struct syntax_pair pair = { .key_span = parser->token->span, .key = parser_copy(parser, parser->token) };
    pair.key += *pair.key == '$';
    advance(parser);
    advance(parser);

    const struct token *value = parser->token;
    pair.value_span = value->span;
    if (value->kind == TOKEN_STRING) {
        pair.value = lexer_decode_string(parser->arena, parser->text, value->span, parser->diagnostics, &pair.variable);
    } else {
        pair.broken = value->kind != TOKEN_VALUE;
        pair.value = pair.broken ? "" : parser_copy(parser, value);
        pair.variable = has_parameter(pair.value);
    }
    advance(parser); /* behind '=' the lexer always puts a value, if only an empty one */
    return pair;
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
    struct syntax_pair header = parser_pair(parser);
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
        parser_complain(parser, "'=' and a default behind the parameter");
        give_up(parser, start);
        return;
    }
    struct syntax_pair variable = parser_pair(parser);
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
            parser_complain(parser, "a parameter of the part, such as $rules");
            return false;
        }
        struct syntax_pair formal;
        if (following(parser) == TOKEN_EQUALS) {
            formal = parser_pair(parser);
        } else {
            const char *key = parser_copy(parser, parser->token);
            formal = (struct syntax_pair) { .key_span = parser->token->span, .key = key + 1 };
            advance(parser);
        }
        push_pair(parser, &part->parameters, &part->n_parameters, &part->parameters_capacity, formal);
    } while (accept(parser, TOKEN_COMMA));
    if (!accept(parser, TOKEN_CLOSE)) {
        parser_complain(parser, "',' or ')' behind the parameter");
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
    scope->name = parser_copy(parser, parser->token);
    scope->span = parser->token->span;
    advance(parser);
    if (scope->part && accept(parser, TOKEN_OPEN) && !parse_formals(parser, scope)) {
        give_up(parser, parser->token);
    }
    if (parser->token->kind != TOKEN_OPEN_BLOCK) {
        struct fs_diagnostic *error = parser_complain(parser, "'{' behind the name");
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
        parser_complain(parser, "the name of a FromNet or ToNet");
        return false;
    }
    *name = parser_copy(parser, parser->token);
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
        parser_complain(parser, "'->' and the ToNet");
        return false;
    }
    if (!parse_end_of_delay(parser, &delay->to, &delay->to_span)) {
        return false;
    }
    if (!accept(parser, TOKEN_LESS)) {
        parser_complain(parser, "'<' and the bound");
        return false;
    }
    if (parser->token->kind != TOKEN_NUMBER && parser->token->kind != TOKEN_PARAMETER) {
        parser_complain(parser, "a time such as 5ms");
        return false;
    }
    delay->bound = parser_copy(parser, parser->token);
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
    struct fs_diagnostic *error = parser_complain(parser, "'->' or the end of the statement");
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
        good = parser_element(parser, arrow);
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

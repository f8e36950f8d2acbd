/* The lexer: characters to tokens, in one pass without looking back, then one pass over the tokens that decides which
 * line ends end a statement.  It knows nothing of grammar but three things: KEY= at the beginning of a statement is
 * followed by a value up to the end of the line, a chain goes on where a line ends or the next one begins with
 * "->", and a brace is that of a block where the statement begins with 'part NAME' or 'request NAME', else that of
 * properties.
 *
 * The parser (parser.c) and the formatter (format.c) read the tokens. */
#include "config.h"

#include "lang/lexer.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "lang/utf8.h"

struct lexer {
    struct arena *arena;
    struct fs_diagnostics *diagnostics;
    const char *text;
    uint32_t size, at;
    struct tokens tokens;
    size_t capacity;
    enum token_kind last; /* but for comments; TOKEN_STATEMENT_END at the start of a line */
    unsigned int n_words; /* tokens of this statement on this line */
    bool block_due;       /* it begins like a block, whose brace is not there yet */
    bool in_properties;   /* between their braces */
    bool in_block;        /* a '}' ends it */
};

static void next_token(struct lexer *);
static void join_lines(struct tokens *);

struct tokens
lexer_run(struct arena *arena, const char *text, size_t start, size_t end, struct fs_diagnostics *diagnostics)
{
    struct lexer lexer = { .arena = arena,
                           .diagnostics = diagnostics,
                           .text = text,
                           .size = (uint32_t) end,
                           .at = (uint32_t) start,
                           .last = TOKEN_STATEMENT_END };
    if (end - start >= 3 && !memcmp(text + start, "\xef\xbb\xbf", 3)) {
        lexer.at += 3; /* a byte order mark, as some editors put it */
    }
    do {
        next_token(&lexer);
    } while (lexer.last != TOKEN_END_OF_TEXT);
    join_lines(&lexer.tokens);
    return lexer.tokens;
}

/* Look at the byte 'ahead' bytes from here; NUL behind the end. */
static char
peek(const struct lexer *lexer, uint32_t ahead)
{
    return ahead < lexer->size - lexer->at ? lexer->text[lexer->at + ahead] : '\0';
}

static bool
is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static bool
is_name_start(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool
is_name(char c)
{
    return is_name_start(c) || is_digit(c);
}

/* A line end, or the carriage return of one. */
static bool
at_line_end(const struct lexer *lexer)
{
    char c = peek(lexer, 0);
    return lexer->at == lexer->size || c == '\n' || (c == '\r' && peek(lexer, 1) == '\n');
}

static bool
at_comment(const struct lexer *lexer)
{
    char c = peek(lexer, 0), next = peek(lexer, 1);
    return c == '#' || (c == '/' && (next == '/' || next == '*'));
}

/* May a statement begin behind a token of this kind? */
static bool
is_edge(enum token_kind kind)
{
    return kind == TOKEN_STATEMENT_END || kind == TOKEN_LINE_END || kind == TOKEN_OPEN_BLOCK ||
           kind == TOKEN_CLOSE_BLOCK;
}

static bool
is_word(const struct lexer *lexer, uint32_t start, const char *word)
{
    return lexer->at - start == strlen(word) && !memcmp(lexer->text + start, word, strlen(word));
}

/* Remember what decides of which kind the next brace is. */
static void
note_place(struct lexer *lexer, enum token_kind kind, uint32_t start)
{
    bool new_line = lexer->last == TOKEN_LINE_END && kind != TOKEN_OPEN_BLOCK;
    if (kind == TOKEN_LINE_END && lexer->block_due && lexer->n_words > 1) {
        return; /* the brace may come on the next line */
    }
    if (is_edge(kind) || new_line) {
        lexer->n_words = 0;
        lexer->block_due = false;
    }
    if (!is_edge(kind) && lexer->n_words++ == 0) {
        lexer->block_due = kind == TOKEN_NAME && (is_word(lexer, start, "part") || is_word(lexer, start, "request"));
    } else if (lexer->n_words == 2) {
        lexer->block_due = lexer->block_due && kind == TOKEN_NAME;
    }
    switch (kind) {
    case TOKEN_OPEN_PROPERTIES: lexer->in_properties = true; break;
    case TOKEN_OPEN_BLOCK: lexer->in_block = true; break;
    case TOKEN_CLOSE_BLOCK: lexer->in_block = false; break;
    case TOKEN_CLOSE_PROPERTIES:
    case TOKEN_ARROW: /* these cannot be within properties: their end is missing */
    case TOKEN_COLONS:
    case TOKEN_OPEN:
    case TOKEN_OPEN_PORT:
    case TOKEN_STATEMENT_END: lexer->in_properties = false; break;
    default: break;
    }
}

static void
push(struct lexer *lexer, enum token_kind kind, uint32_t start)
{
    struct tokens *tokens = &lexer->tokens;
    tokens->array = arena_grow(lexer->arena, tokens->array, tokens->n, &lexer->capacity, sizeof *tokens->array);
    tokens->array[tokens->n++] = (struct token) { kind, { start, lexer->at - start } };
    if (kind != TOKEN_COMMENT) {
        note_place(lexer, kind, start);
        lexer->last = kind;
    }
}

static void
skip_spaces(struct lexer *lexer)
{
    while (lexer->at < lexer->size) {
        char c = peek(lexer, 0);
        if (c != ' ' && c != '\t' && !(c == '\r' && peek(lexer, 1) == '\n')) {
            break;
        }
        lexer->at++;
    }
}

static void
read_line_comment(struct lexer *lexer, uint32_t start)
{
    while (!at_line_end(lexer)) {
        lexer->at++;
    }
    uint32_t end = lexer->at;
    while (is_space(lexer->text[lexer->at - 1])) {
        lexer->at--;
    }
    push(lexer, TOKEN_COMMENT, start);
    lexer->at = end;
}

static void
read_block_comment(struct lexer *lexer, uint32_t start)
{
    lexer->at += 2;
    while (lexer->at < lexer->size && !(peek(lexer, 0) == '*' && peek(lexer, 1) == '/')) {
        lexer->at++;
    }
    if (lexer->at == lexer->size) {
        diagnostics_error(lexer->diagnostics, (struct span) { start, 2 }, "comment is not closed: '*/' is missing");
    } else {
        lexer->at += 2;
    }
    push(lexer, TOKEN_COMMENT, start);
}

/* The line end behind a backslash: its length in bytes, or 0. */
static uint32_t
continuation(const char *text, uint32_t at, uint32_t end)
{
    return at < end && text[at] == '\n' ? 1 : end - at >= 2 && text[at] == '\r' && text[at + 1] == '\n' ? 2 : 0;
}

static void
read_string(struct lexer *lexer, uint32_t start)
{
    lexer->at++;
    while (!at_line_end(lexer) && peek(lexer, 0) != '"') {
        if (peek(lexer, 0) == '\\' && lexer->at + 1 < lexer->size) {
            lexer->at++;
            uint32_t line_end = continuation(lexer->text, lexer->at, lexer->size);
            lexer->at += line_end ? line_end : 1;
        } else {
            lexer->at++;
        }
    }
    if (peek(lexer, 0) == '"') {
        lexer->at++;
        push(lexer, TOKEN_STRING, start);
        return;
    }
    struct span span = { start, lexer->at - start };
    struct fs_diagnostic *error =
        diagnostics_error(lexer->diagnostics, span, "string is not closed before the end of its line");
    if (span.length == 1) {
        diagnostics_note(lexer->diagnostics, error, NULL, "the empty string is written \"\"");
    } else {
        diagnostics_note(lexer->diagnostics, error, NULL,
                         "a backslash at the end of a line continues the string on the next");
    }
    push(lexer, TOKEN_BROKEN_STRING, start);
}

static void
read_header_value(struct lexer *lexer)
{
    skip_spaces(lexer);
    uint32_t start = lexer->at, end = start;
    if (peek(lexer, 0) == '"') {
        read_string(lexer, start);
        return;
    }
    bool after_space = true;
    while (!at_line_end(lexer) && peek(lexer, 0) != ';' && !(peek(lexer, 0) == '}' && lexer->in_block) &&
           !(after_space && at_comment(lexer))) {
        char c = peek(lexer, 0);
        after_space = is_space(c);
        lexer->at++;
        end = after_space ? end : lexer->at;
    }
    lexer->at = end;
    push(lexer, TOKEN_VALUE, start);
}

/* The value of one property, or the default of a parameter of a part: a word or a string. */
static void
read_property_value(struct lexer *lexer)
{
    skip_spaces(lexer);
    uint32_t start = lexer->at;
    if (peek(lexer, 0) == '"') {
        read_string(lexer, start);
        return;
    }
    while (!at_line_end(lexer) && !strchr(" \t,;{}()[]\"", peek(lexer, 0)) && !at_comment(lexer)) {
        lexer->at++;
    }
    push(lexer, TOKEN_VALUE, start);
}

/* '=' and the value behind a name or parameter that has just been read; 'first': it stood first in its statement. */
static void
read_assignment(struct lexer *lexer, bool first)
{
    uint32_t end = lexer->at;
    skip_spaces(lexer);
    if (peek(lexer, 0) != '=') {
        lexer->at = end;
        return;
    }
    lexer->at++;
    push(lexer, TOKEN_EQUALS, lexer->at - 1);
    if (first) {
        read_header_value(lexer);
    } else {
        read_property_value(lexer);
    }
}

static void
read_name(struct lexer *lexer, uint32_t start)
{
    bool first = !lexer->in_properties && is_edge(lexer->last);
    while (is_name(peek(lexer, 0))) {
        lexer->at++;
    }
    push(lexer, TOKEN_NAME, start);
    if (first || lexer->in_properties) {
        read_assignment(lexer, first);
    }
}

static void
read_parameter(struct lexer *lexer, uint32_t start)
{
    bool first = !lexer->in_properties && is_edge(lexer->last);
    do {
        lexer->at++;
    } while (is_name(peek(lexer, 0)));
    push(lexer, TOKEN_PARAMETER, start);
    read_assignment(lexer, first);
}

/* Digits, and what touches them: "[1x]" and "[-1]" are bad numbers, not other tokens. */
static void
read_number(struct lexer *lexer, uint32_t start)
{
    do {
        lexer->at++;
    } while (is_name(peek(lexer, 0)) || peek(lexer, 0) == '.');
    push(lexer, TOKEN_NUMBER, start);
}

/* A token of one or two characters, or TOKEN_BAD. */
static enum token_kind
punctuation(char c, char next, uint32_t *length)
{
    *length = 1;
    switch (c) {
    case ',': return TOKEN_COMMA;
    case '(': return TOKEN_OPEN;
    case ')': return TOKEN_CLOSE;
    case '[': return TOKEN_OPEN_PORT;
    case ']': return TOKEN_CLOSE_PORT;
    case '<': return TOKEN_LESS;
    case ';': return TOKEN_STATEMENT_END;
    case '\n': return TOKEN_LINE_END;
    default: break;
    }
    *length = 2;
    return c == '-' && next == '>' ? TOKEN_ARROW : c == ':' && next == ':' ? TOKEN_COLONS : TOKEN_BAD;
}

static bool
is_ascii_space_or_known(const struct lexer *lexer)
{
    char c = peek(lexer, 0);
    uint32_t length;
    return at_line_end(lexer) || c == ' ' || c == '\t' || c == '"' || c == '{' || c == '}' || is_name(c) ||
           at_comment(lexer) || punctuation(c, peek(lexer, 1), &length) != TOKEN_BAD;
}

/* 'text' on one line is one mistake.  False where the second quote is missing. */
static bool
read_single_quotes(struct lexer *lexer, uint32_t start)
{
    uint32_t end = start + 1;
    while (end < lexer->size && lexer->text[end] != '\'' && lexer->text[end] != '\n') {
        end++;
    }
    if (end == lexer->size || lexer->text[end] != '\'') {
        return false;
    }
    struct span span = { start, end + 1 - start };
    struct fs_diagnostic *error = diagnostics_error(lexer->diagnostics, span, "a string stands in double quotes");
    if (span.length < 64 && !memchr(lexer->text + start, '"', span.length)) {
        diagnostics_suggest(lexer->diagnostics, error, arena_printf(lexer->arena, "\"%.*s\"", (int) span.length - 2, lexer->text + start + 1));
    }
    lexer->at = end + 1;
    push(lexer, TOKEN_BAD, start);
    return true;
}

/* Everything up to the next character that the language knows is one mistake, not many. */
static void
read_bad(struct lexer *lexer, uint32_t start)
{
    do {
        lexer->at += (uint32_t) utf8_length(lexer->text + lexer->at, lexer->size - lexer->at);
    } while (!is_ascii_space_or_known(lexer));
    struct span span = { start, lexer->at - start };
    const char *bad = lexer->text + start;
    if (*bad == '\'' && read_single_quotes(lexer, start)) {
        return;
    }
    uint32_t point = utf8_code_point(bad, utf8_length(bad, span.length));
    char number[16] = "";
    if (point >= 0x80) { /* it may be invisible, or look like another */
        snprintf(number, sizeof number, " (U+%04X)", point);
    }
    struct fs_diagnostic *error = diagnostics_error(lexer->diagnostics, span, "unexpected '%.*s'%s",
                                                    (int) utf8_cut(bad, span.length, 40), bad, number);
    if (span.length == 1 && *bad == ':') {
        diagnostics_suggest(lexer->diagnostics, error, "::");
    } else if (span.length == 1 && (*bad == '-' || *bad == '>')) {
        diagnostics_suggest(lexer->diagnostics, error, "->");
    } else if (*bad == '=') {
        diagnostics_note(
            lexer->diagnostics, error, NULL,
            "a '=' belongs to a header, KEY=value at the beginning of a line, or to properties, {key=value}");
    }
    push(lexer, TOKEN_BAD, start);
}

static void
next_token(struct lexer *lexer)
{
    skip_spaces(lexer);
    uint32_t start = lexer->at, length;
    char c = peek(lexer, 0), next = peek(lexer, 1);
    enum token_kind kind = punctuation(c, next, &length);

    if (start == lexer->size) {
        push(lexer, TOKEN_END_OF_TEXT, start);
    } else if (kind != TOKEN_BAD) {
        lexer->at += length;
        push(lexer, kind, start);
    } else if (c == '{' || c == '}') {
        bool block = c == '{' ? lexer->block_due && lexer->n_words > 1 : !lexer->in_properties;
        lexer->at++;
        push(lexer,
             c == '{' ? (block ? TOKEN_OPEN_BLOCK : TOKEN_OPEN_PROPERTIES)
             : block  ? TOKEN_CLOSE_BLOCK
                      : TOKEN_CLOSE_PROPERTIES,
             start);
    } else if (c == '$' && is_name_start(next)) {
        read_parameter(lexer, start);
    } else if (c == '/' && next == '*') {
        read_block_comment(lexer, start);
    } else if (at_comment(lexer)) {
        read_line_comment(lexer, start);
    } else if (c == '"') {
        read_string(lexer, start);
    } else if (is_name_start(c)) {
        read_name(lexer, start);
    } else if (is_digit(c) || (c == '-' && is_digit(next))) {
        read_number(lexer, start);
    } else {
        read_bad(lexer, start);
    }
}

/* Does a statement go on from a line that ends with 'last' to one that begins with 'next'? */
static bool
goes_on(enum token_kind last, enum token_kind next)
{
    switch (last) {
    case TOKEN_ARROW:
    case TOKEN_COLONS:
    case TOKEN_COMMA:
    case TOKEN_OPEN:
    case TOKEN_OPEN_PORT:
    case TOKEN_OPEN_PROPERTIES: return true;
    default:
        return next == TOKEN_ARROW || next == TOKEN_OPEN_PROPERTIES || next == TOKEN_OPEN_BLOCK ||
               next == TOKEN_CLOSE_PROPERTIES ||
               (next == TOKEN_CLOSE && (last == TOKEN_STRING || last == TOKEN_PARAMETER));
    }
}

/* The first line end behind a statement becomes its TOKEN_STATEMENT_END. */
static void
join_lines(struct tokens *tokens)
{
    enum token_kind last = TOKEN_STATEMENT_END;
    struct token *line_end = NULL; /* the first one since 'last' */

    for (size_t i = 0; i < tokens->n; i++) {
        struct token *token = &tokens->array[i];
        if (token->kind == TOKEN_LINE_END) {
            line_end = line_end ? line_end : token;
        } else if (token->kind != TOKEN_COMMENT) {
            if (line_end && !is_edge(last) && !goes_on(last, token->kind)) {
                line_end->kind = TOKEN_STATEMENT_END;
            }
            last = token->kind;
            line_end = NULL;
        }
    }
}

/* Read one character of a string at '*at': its meaning, or -1 for a continuation, or -2 for an unknown escape. */
static int
decode_one(const char *text, uint32_t *at, uint32_t end)
{
    if (text[*at] != '\\' || *at + 1 >= end) {
        return (unsigned char) text[(*at)++];
    }
    uint32_t line_end = continuation(text, *at + 1, end);
    if (line_end) {
        *at += 1 + line_end;
        return -1;
    }
    char c = text[*at + 1];
    *at += 2;
    switch (c) {
    case '"':
    case '$':
    case '\\': return c;
    case 'n': return '\n';
    case 't': return '\t';
    default: return -2;
    }
}

/* $name or ${name} at 'at': its length, with where the name lies; 0 where there is none. */
static uint32_t
parameter_at(const char *text, uint32_t at, uint32_t end, struct span *name)
{
    if (text[at] != '$') {
        return 0;
    }
    bool braces = at + 1 < end && text[at + 1] == '{';
    uint32_t start = at + 1 + braces, stop = start;
    while (stop < end && (stop == start ? is_name_start(text[stop]) : is_name(text[stop]))) {
        stop++;
    }
    *name = (struct span) { start, stop - start };
    bool good = stop > start && (!braces || (stop < end && text[stop] == '}'));
    return good ? stop + braces - at : 0;
}

char *
lexer_decode_string(struct arena *arena, const char *text, struct span span, struct fs_diagnostics *diagnostics,
                    bool *variable)
{
    char *decoded = arena_alloc(arena, span.length), *to = decoded;
    uint32_t end = span.offset + span.length - 1;
    *variable = false;
    for (uint32_t at = span.offset + 1; at < end;) {
        uint32_t start = at;
        struct span name;
        *variable |= parameter_at(text, at, end, &name) > 0;
        int c = decode_one(text, &at, end);
        if (c >= 0) {
            *to++ = (char) c;
        } else if (c == -2) {
            struct span escape = { start, 1 + (uint32_t) utf8_length(text + start + 1, end - start - 1) };
            struct fs_diagnostic *error = diagnostics_error(diagnostics, escape, "unknown escape '%.*s' in a string",
                                                            (int) escape.length, text + start);
            diagnostics_note(diagnostics, error, NULL,
                             "the escapes are \\\" \\\\ \\$ \\n \\t and a backslash at the end of a line");
        }
    }
    *to = '\0';
    return decoded;
}

char *
lexer_substitute(struct arena *arena, const char *text, struct span span, const struct lexer_parameters *parameters)
{
    bool quoted = text[span.offset] == '"';
    uint32_t at = span.offset + quoted, end = span.offset + span.length - quoted;
    char *done = NULL;
    size_t length = 0, capacity = 0;
    while (at < end) {
        struct span name = { 0, 0 };
        char one[2] = { 0, 0 };
        const char *more = one;
        uint32_t skipped = parameter_at(text, at, end, &name);
        if (skipped) {
            struct span whole = { at, skipped };
            more = parameters->find(parameters->aux, arena_copy(arena, text + name.offset, name.length), whole);
            at += skipped;
        } else {
            int c = quoted ? decode_one(text, &at, end) : (unsigned char) text[at++];
            one[0] = c > 0 ? (char) c : '\0';
        }
        for (; more && *more; more++) {
            done = arena_grow(arena, done, length, &capacity, 1);
            done[length++] = *more;
        }
    }
    return arena_copy(arena, done ? done : "", length);
}

uint32_t
lexer_locate_in_string(const char *text, struct span span, size_t index)
{
    uint32_t end = span.offset + span.length - 1, at = span.offset + 1, start = at;
    while (at < end) {
        start = at;
        if (decode_one(text, &at, end) >= 0 && index-- == 0) {
            return start;
        }
    }
    return end;
}

/* From text to tokens.  Comments and line ends are tokens as well, because the formatter keeps them; the parser steps
 * over them. */
#ifndef LANG_LEXER_H
#define LANG_LEXER_H 1

#include <stdbool.h>
#include <stddef.h>

#include "lang/arena.h"
#include "lang/diagnostics.h"

enum token_kind {
    TOKEN_END_OF_TEXT,
    TOKEN_STATEMENT_END, /* a ';', or a line end that ends a statement */
    TOKEN_LINE_END,      /* any other line end */
    TOKEN_COMMENT,
    TOKEN_NAME,
    TOKEN_NUMBER,        /* begins like a number; may be a bad one */
    TOKEN_STRING,        /* with its quotes */
    TOKEN_BROKEN_STRING, /* ended by the end of the line; reported */
    TOKEN_ARROW,         /* -> */
    TOKEN_COLONS,        /* :: */
    TOKEN_COMMA,
    TOKEN_OPEN, /* ( */
    TOKEN_CLOSE,
    TOKEN_OPEN_PORT, /* [ */
    TOKEN_CLOSE_PORT,
    TOKEN_OPEN_PROPERTIES, /* { of properties */
    TOKEN_CLOSE_PROPERTIES,
    TOKEN_OPEN_BLOCK, /* { of a request or a part */
    TOKEN_CLOSE_BLOCK,
    TOKEN_PARAMETER, /* $name */
    TOKEN_LESS,
    TOKEN_EQUALS,
    TOKEN_VALUE, /* behind '=', without quotes */
    TOKEN_BAD    /* nothing that the language knows; reported */
};

struct token {
    enum token_kind kind;
    struct span span;
};

struct tokens {
    struct token *array; /* ends with TOKEN_END_OF_TEXT */
    size_t n;
};

/* Cut the bytes 'start' to 'end' of 'text', which are valid UTF-8 without NUL, into tokens that live in the arena. */
struct tokens lexer_run(struct arena *, const char *text, size_t start, size_t end, struct fs_diagnostics *);

/* What a parameter stands for; NULL where there is none of that name, which the function reports. */
struct lexer_parameters {
    const char *(*find)(void *aux, const char *name, struct span span);
    void *aux;
};

/* What the string token at 'span' stands for, in the arena.  Unknown escapes are reported.  '*variable' tells whether it
 * speaks of parameters; they are left as they are. */
char *lexer_decode_string(struct arena *, const char *text, struct span, struct fs_diagnostics *, bool *variable);

/* The same with the values of the parameters; for a string that has been decoded before, and also for a value or a
 * parameter without quotes. */
char *lexer_substitute(struct arena *, const char *text, struct span, const struct lexer_parameters *);

/* Where in the text the byte number 'index' of the decoded string at 'span', which has no parameters, was written. */
uint32_t lexer_locate_in_string(const char *text, struct span, size_t index);

#endif

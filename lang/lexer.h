/* From text to tokens.  Comments and line ends are tokens as well, because the formatter keeps them; the parser steps
 * over them. */
#ifndef LANG_LEXER_H
#define LANG_LEXER_H 1

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
    TOKEN_EQUALS, /* of a header */
    TOKEN_VALUE,  /* of a header, without quotes */
    TOKEN_BAD     /* nothing that the language knows; reported */
};

struct token {
    enum token_kind kind;
    struct span span;
};

struct tokens {
    struct token *array; /* ends with TOKEN_END_OF_TEXT */
    size_t n;
};

/* Cut 'text' of 'size' bytes, which is valid UTF-8 without NUL, into tokens that live in the arena. */
struct tokens lexer_run(struct arena *, const char *text, size_t size, struct fs_diagnostics *);

/* What the string token at 'span' stands for, in the arena.  Unknown escapes are reported. */
char *lexer_decode_string(struct arena *, const char *text, struct span, struct fs_diagnostics *);

/* Where in the text the byte number 'index' of the decoded string at 'span' was written. */
uint32_t lexer_locate_in_string(const char *text, struct span, size_t index);

#endif

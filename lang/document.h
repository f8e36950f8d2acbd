/* What a request keeps of its text, so that it can be formatted. */
#ifndef LANG_DOCUMENT_H
#define LANG_DOCUMENT_H 1

#include "lang/arena.h"
#include "lang/lexer.h"

struct fs_request_document {
    struct arena arena; /* of the whole request */
    const char *text;   /* of all files */
    size_t size;
    size_t first_size; /* of the first */
};

/* format.c: the canonical form of 'text', malloc()ed; NULL: out of memory.  The tokens must make sense to the parser.
 */
char *format_tokens(const char *text, struct tokens);

#endif

/* A text that grows, for what leaves the library (JSON, formatted requests, messages).
 *
 * Running out of memory is remembered, further additions do nothing, and text_take() then returns NULL: so writers add
 * without testing. */
#ifndef LANG_TEXT_H
#define LANG_TEXT_H 1

#include <stdbool.h>
#include <stddef.h>

struct text {
    char *bytes;
    size_t length, capacity;
    bool failed;
};

#define TEXT_INITIALIZER                                                                                               \
    {                                                                                                                  \
        NULL, 0, 0, false                                                                                              \
    }

void text_add(struct text *, const char *bytes, size_t length);
void text_puts(struct text *, const char *string);
void text_repeat(struct text *, char c, size_t n);
void text_printf(struct text *, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* 'string' in double quotes as JSON wants it.  What is not UTF-8 becomes U+FFFD. */
void text_json_string(struct text *, const char *string);

/* Hand the text over to the caller, who frees it; NULL if there was not enough memory.  The text is empty afterwards.
 */
char *text_take(struct text *);

#endif

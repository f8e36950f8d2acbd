/* The growing text (text.h), and the one place that knows how JSON quotes strings. */
#include "config.h"

#include "lang/text.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lang/utf8.h"

static bool
make_room(struct text *text, size_t length)
{
    if (text->failed || length >= SIZE_MAX / 4) {
        text->failed = true;
        return false;
    }
    if (text->capacity - text->length > length) {
        return true;
    }
    size_t capacity = (text->length + length) * 2 + 64;
    char *bytes = realloc(text->bytes, capacity);
    if (!bytes) {
        text->failed = true;
        return false;
    }
    text->bytes = bytes;
    text->capacity = capacity;
    return true;
}

void
text_add(struct text *text, const char *bytes, size_t length)
{
    if (length && make_room(text, length)) {
        memcpy(text->bytes + text->length, bytes, length);
        text->length += length;
    }
}

void
text_puts(struct text *text, const char *string)
{
    text_add(text, string, strlen(string));
}

void
text_repeat(struct text *text, char c, size_t n)
{
    if (n && make_room(text, n)) {
        memset(text->bytes + text->length, c, n);
        text->length += n;
    }
}

void
text_printf(struct text *text, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (length < 0 || !make_room(text, (size_t) length)) {
        text->failed = true;
        return;
    }
    va_start(arguments, format);
    vsnprintf(text->bytes + text->length, (size_t) length + 1, format, arguments);
    va_end(arguments);
    text->length += (size_t) length;
}

static void
add_escaped(struct text *text, unsigned char c)
{
    switch (c) {
    case '"': text_puts(text, "\\\""); break;
    case '\\': text_puts(text, "\\\\"); break;
    case '\n': text_puts(text, "\\n"); break;
    case '\t': text_puts(text, "\\t"); break;
    default: text_printf(text, "\\u%04x", c); break;
    }
}

void
text_json_string(struct text *text, const char *string)
{
    text_puts(text, "\"");
    for (size_t left = strlen(string); left > 0;) {
        size_t length = utf8_length(string, left);
        unsigned char c = (unsigned char) *string;
        if (length == 0) {
            text_puts(text, "\\ufffd");
            length = 1;
        } else if (c < 0x20 || c == '"' || c == '\\' || c == 0x7f) {
            add_escaped(text, c);
        } else {
            text_add(text, string, length);
        }
        string += length;
        left -= length;
    }
    text_puts(text, "\"");
}

char *
text_take(struct text *text)
{
    char *result = NULL;
    if (make_room(text, 1)) {
        text->bytes[text->length] = '\0';
        result = text->bytes;
    } else {
        free(text->bytes);
    }
    *text = (struct text) TEXT_INITIALIZER;
    return result;
}

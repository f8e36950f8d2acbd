/* What the language asks of UTF-8: how long is the character here, and which is it? */
#ifndef LANG_UTF8_H
#define LANG_UTF8_H 1

#include <stddef.h>
#include <stdint.h>

/* The bytes of the character at 'bytes', of which 'left' (at least 1) may be read; 0 where it is not UTF-8: overlong
 * forms, surrogates and what lies beyond U+10FFFF are not. */
static inline size_t
utf8_length(const char *bytes, size_t left)
{
    const unsigned char *b = (const unsigned char *) bytes;
    if (b[0] < 0x80) {
        return 1;
    }
    size_t length = b[0] >= 0xc2 && b[0] <= 0xdf   ? 2
                    : b[0] >= 0xe0 && b[0] <= 0xef ? 3
                    : b[0] >= 0xf0 && b[0] <= 0xf4 ? 4
                                                   : 0;
    if (length == 0 || length > left) {
        return 0;
    }
    for (size_t i = 1; i < length; i++) {
        if ((b[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    if ((b[0] == 0xe0 && b[1] < 0xa0) || (b[0] == 0xed && b[1] > 0x9f) || (b[0] == 0xf0 && b[1] < 0x90) ||
        (b[0] == 0xf4 && b[1] > 0x8f)) {
        return 0;
    }
    return length;
}

/* The number of the character of 'length' bytes, as utf8_length() says. */
static inline uint32_t
utf8_code_point(const char *bytes, size_t length)
{
    const unsigned char *b = (const unsigned char *) bytes;
    uint32_t point = length > 1 ? b[0] & (0x7fu >> length) : b[0];
    for (size_t i = 1; i < length; i++) {
        point = point << 6 | (b[i] & 0x3fu);
    }
    return point;
}

/* The bytes of as many whole characters of 'bytes' as fit into 'most'. */
static inline size_t
utf8_cut(const char *bytes, size_t length, size_t most)
{
    if (length > most) {
        for (length = most; length > 0 && ((unsigned char) bytes[length] & 0xc0) == 0x80; length--) {
        }
    }
    return length;
}

#endif

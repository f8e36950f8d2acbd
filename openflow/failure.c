/* Error messages of this folder. */

#include "openflow/failure.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

int
openflow_fail(char **error, int code, const char *format, ...)
{
    if (!error) {
        return code;
    }

    va_list args;
    va_start(args, format);
    char *message;
    if (vasprintf(&message, format, args) < 0) {
        message = NULL;
    }
    va_end(args);

    free(*error);
    *error = message;
    return code;
}

void
openflow_make_printable(char *s)
{
    for (; *s; s++) {
        if (!isprint((unsigned char) *s)) {
            *s = '?';
        }
    }
}

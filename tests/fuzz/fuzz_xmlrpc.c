/* Fuzz target of the XML-RPC decoder: any bytes, as a call, as an answer and as a value.
 *
 * What decodes must encode, and what was encoded must decode again and encode to the same bytes. */
#include "config.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/xmlrpc.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void
check(bool good, const char *what, const char *detail)
{
    if (!good) {
        fprintf(stderr, "%s: %s\n", what, detail ? detail : "");
        abort();
    }
}

/* 'v' is taken. */
static void
round_trip(xmlrpc_value *v)
{
    size_t n, again_n;
    char *text = fs_xmlrpc_encode_value(v, &n), *error = NULL;
    xmlrpc_value *again = NULL, *copy = fs_copy(v);
    check(!fs_xmlrpc_decode_value(text, n, &again, &error), "own encoding is refused", error);
    char *again_text = fs_xmlrpc_encode_value(again, &again_n);
    check(n == again_n && !memcmp(text, again_text, n), "encodings differ", text);
    char *copy_text = fs_xmlrpc_encode_value(copy, &again_n);
    check(n == again_n && !memcmp(text, copy_text, n), "the copy differs", text);
    free(text);
    free(again_text);
    free(copy_text);
    fs_free(again);
    fs_free(copy);
    fs_free(v);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    const char *text = (const char *) bytes;
    char *method, *error;
    xmlrpc_value *v;
    int fault;
    if (fs_xmlrpc_decode_call(text, size, &method, &v, &error)) {
        free(error);
    } else {
        round_trip(v);
        free(method);
    }
    if (fs_xmlrpc_decode_response(text, size, &v, &fault, &error)) {
        free(error);
    } else {
        round_trip(v);
    }
    if (fs_xmlrpc_decode_value(text, size, &v, &error)) {
        free(error);
    } else {
        round_trip(v);
    }
    return 0;
}

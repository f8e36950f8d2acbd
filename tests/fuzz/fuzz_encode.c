/* Fuzz target of the XML-RPC encoder: a value made from the bytes, encoded and decoded, is the same value.
 *
 * Each byte says what comes: a scalar made from the bytes behind it, the begin of an array or a struct, or the end of one. */
#include "config.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/xmlrpc.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

struct input {
    const uint8_t *bytes;
    size_t left;
};

static void
check(bool good, const char *what, const char *detail)
{
    if (!good) {
        fprintf(stderr, "%s: %s\n", what, detail ? detail : "");
        abort();
    }
}

static void
take(struct input *in, void *to, size_t n)
{
    size_t got = n < in->left ? n : in->left;
    memset(to, 0, n);
    memcpy(to, in->bytes, got);
    in->bytes += got;
    in->left -= got;
}

/* Any bytes but NUL: fs_string() must make them fit for XML. */
static xmlrpc_value *
make_string(struct input *in)
{
    uint8_t n;
    char text[256];
    take(in, &n, 1);
    take(in, text, n);
    text[n] = '\0';
    return fs_string(text);
}

static xmlrpc_value *
make_base64(struct input *in)
{
    uint8_t n;
    unsigned char text[256];
    xmlrpc_env env;
    take(in, &n, 1);
    take(in, text, n);
    xmlrpc_env_init(&env);
    return xmlrpc_base64_new(&env, n, text);
}

static xmlrpc_value *
make_number(struct input *in, uint8_t kind)
{
    int64_t whole;
    double d;
    xmlrpc_env env;
    take(in, &whole, sizeof whole);
    memcpy(&d, &whole, sizeof d);
    xmlrpc_env_init(&env);
    return kind == 2 ? fs_int((int) whole) : kind == 3 ? fs_double(d) : kind == 4 ? fs_bool(whole & 1) : xmlrpc_i8_new(&env, whole);
}

static xmlrpc_value *
make(struct input *in, int depth)
{
    uint8_t kind;
    take(in, &kind, 1);
    kind %= 8;
    if (kind == 0) {
        return make_string(in);
    }
    if (kind == 1) {
        return make_base64(in);
    }
    if (kind < 6) {
        return make_number(in, kind);
    }
    if (depth > 20) {
        return fs_nil();
    }
    xmlrpc_value *all = kind == 6 ? fs_array() : fs_struct();
    for (int i = 0; in->left && i < 100; i++) {
        uint8_t end;
        take(in, &end, 1);
        if (end & 1) {
            break;
        }
        char key[4] = { (char) ('a' + i % 26), (char) ('a' + i / 26), (char) ('a' + (end >> 1) % 26), 0 };
        if (kind == 6) {
            fs_append(all, make(in, depth + 1));
        } else {
            fs_set(all, key, make(in, depth + 1));
        }
    }
    return all;
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct input in = { bytes, size };
    xmlrpc_value *v = make(&in, 0), *again = NULL;
    size_t n, again_n;
    char *error = NULL, *text = fs_xmlrpc_encode_value(v, &n);
    check(!fs_xmlrpc_decode_value(text, n, &again, &error), "own encoding is refused", error);
    char *again_text = fs_xmlrpc_encode_value(again, &again_n);
    check(n == again_n && !memcmp(text, again_text, n), "encodings differ", text);
    check(fs_weight(v) == fs_weight(again), "weights differ", text);
    free(text);
    free(again_text);
    fs_free(again);
    fs_free(v);
    return 0;
}

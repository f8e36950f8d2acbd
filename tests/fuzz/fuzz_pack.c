/* Fuzz target of packed values: any bytes are refused or are a value; what is read in place is what the tree says; packed again it is the same value. */
#include "config.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/pack.h"
#include "core/xmlrpc.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void
check(bool good, const char *what)
{
    if (!good) {
        fprintf(stderr, "%s\n", what);
        abort();
    }
}

/* Names in a damaged block may come twice: then the tree has the last, in place the first is found; such structs are only walked. */
static void
compare(struct fs_packed p, const xmlrpc_value *v)
{
    struct fs_packed item = { 0 };
    size_t n = 0;
    for (struct fs_packed_items i = fs_packed_items(p); fs_packed_next(&i, &item); n++) {
        compare(item, fs_item(v, n));
    }
    check(!fs_is(v, XMLRPC_TYPE_ARRAY) || n == fs_size(v), "items");
    for (size_t i = 0; fs_is(v, XMLRPC_TYPE_STRUCT) && fs_packed_count(p) == fs_size(v) && i < fs_size(v); i++) {
        xmlrpc_value *member;
        const char *name = fs_member(v, i, &member);
        struct fs_packed own = fs_packed_get(p, name);
        if (own.block) { /* bytes that are no text became '?' in the tree */
            compare(own, member);
        }
    }
    check(fs_packed_number(p, 7) == fs_number(v, 7), "numbers");
    check((fs_packed_text(p, NULL) == NULL) == (fs_text(v, NULL) == NULL), "texts");
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    xmlrpc_value *v, *again;
    size_t n, sizes[2];
    int e = fs_unpack(bytes, size, &v);
    check(e == fs_pack_check(bytes, size), "a check and a reading disagree");
    if (!e) {
        compare(fs_packed(bytes, size), v);
        unsigned char *block = fs_pack(v, &n);
        check(!fs_unpack(block, n, &again), "what was packed cannot be read");
        char *a = fs_xmlrpc_encode_value(v, &sizes[0]), *b = fs_xmlrpc_encode_value(again, &sizes[1]);
        check(sizes[0] == sizes[1] && !memcmp(a, b, sizes[0]), "what was packed is another value");
        free(a);
        free(b);
        free(block);
        fs_free(again);
        fs_free(v);
    }
    return 0;
}

/* XML-RPC documents to values and back.
 *
 * Decoding is libexpat's under strict limits, never xmlrpc-c's own parser (reliability.md 0.1): any DOCTYPE, any encoding but UTF-8,
 * NUL, malformed number, NaN or infinity, duplicate member and everything too deep or too large is refused.
 * Thread-safe. */
#ifndef CORE_XMLRPC_H
#define CORE_XMLRPC_H 1

#include <stddef.h>

#include <flowstream/value.h>

enum {
    FS_XML_MAX_DEPTH = 32,       /* arrays and structs inside each other */
    FS_XML_MAX_VALUES = 1000000, /* values in one document */
    FS_XML_MAX_MEMBERS = 4096,   /* members of one struct: each look-up goes through all */
    FS_XML_MAX_NAME = 256,       /* bytes of a member's name */
};

/* A call: returns 0 with *method (owned) and *params (an array, owned), or EINVAL with *error (owned). */
FS_API int fs_xmlrpc_decode_call(const char *bytes, size_t size, char **method, xmlrpc_value **params, char **error);
/* An answer: returns 0 with *value (owned) and *fault 0, or, for a fault, *fault its number and *value its text; else EINVAL
 * with *error. */
FS_API int fs_xmlrpc_decode_response(const char *bytes, size_t size, xmlrpc_value **value, int *fault, char **error);
/* One <value>...</value>, as the store keeps it. */
FS_API int fs_xmlrpc_decode_value(const char *bytes, size_t size, xmlrpc_value **value, char **error);

/* Encoders: the text is owned by the caller. */
FS_API char *fs_xmlrpc_encode_call(const char *method, const xmlrpc_value *params, size_t *size);
FS_API char *fs_xmlrpc_encode_response(const xmlrpc_value *value, size_t *size);
FS_API char *fs_xmlrpc_encode_fault(int fault, const char *text, size_t *size);
FS_API char *fs_xmlrpc_encode_value(const xmlrpc_value *value, size_t *size);

#endif

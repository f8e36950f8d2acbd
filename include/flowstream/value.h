/* Values: what travels in XML-RPC calls and answers, what tasks get and give, what the store keeps.
 *
 * They are xmlrpc-c's values; these functions only make them pleasant.  Whatever says "taken" takes over the caller's
 * reference; what is returned by fs_get*() is borrowed and lives as long as the value it came from.  Running out of memory ends the
 * process.  A value belongs to one thread at a time: hand it over, or fs_copy() it. */
#ifndef FLOWSTREAM_VALUE_H
#define FLOWSTREAM_VALUE_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <xmlrpc-c/base.h>

#include <flowstream/api.h>

/* Makers: each returns a new reference that the caller owns. */
FS_API xmlrpc_value *fs_nil(void);
FS_API xmlrpc_value *fs_int(int);
FS_API xmlrpc_value *fs_bool(bool);
/* NaN and infinity have no XML-RPC form and become 0. */
FS_API xmlrpc_value *fs_double(double);
/* NULL is "".  Bytes that are no UTF-8, and control characters that XML cannot carry, become '?';
 * characters beyond U+FFFF, which xmlrpc-c does not know, become U+FFFD. */
FS_API xmlrpc_value *fs_string(const char *);
FS_API xmlrpc_value *fs_stringf(const char *format, ...) __attribute__((format(printf, 1, 2)));
FS_API xmlrpc_value *fs_struct(void);
FS_API xmlrpc_value *fs_array(void);
FS_API xmlrpc_value *fs_copy(const xmlrpc_value *);

/* Puts 'member' (taken) under 'key'; returns the struct, so that calls can be nested. */
FS_API xmlrpc_value *fs_set(xmlrpc_value *strct, const char *key, xmlrpc_value *member);
/* Appends 'item' (taken); returns the array. */
FS_API xmlrpc_value *fs_append(xmlrpc_value *array, xmlrpc_value *item);
/* Drops a reference; accepts NULL. */
FS_API void fs_free(xmlrpc_value *);

/* Readers.  'value' may be NULL or of another type: then there is no such member. */
FS_API xmlrpc_value *fs_get(const xmlrpc_value *value, const char *key);
FS_API const char *fs_get_string(const xmlrpc_value *value, const char *key, const char *otherwise);
FS_API int fs_get_int(const xmlrpc_value *value, const char *key, int otherwise);
FS_API double fs_get_double(const xmlrpc_value *value, const char *key, double otherwise);
FS_API bool fs_get_bool(const xmlrpc_value *value, const char *key, bool otherwise);

FS_API bool fs_is(const xmlrpc_value *, xmlrpc_type);
/* The text of a string value (borrowed), or 'otherwise'. */
FS_API const char *fs_text(const xmlrpc_value *, const char *otherwise);
/* A number given as int, i8, double or decimal string (Python's client cannot send more than 32 bits), or 'otherwise'. */
FS_API double fs_number(const xmlrpc_value *, double otherwise);
/* Items of an array, or members of a struct; 0 for everything else. */
FS_API size_t fs_size(const xmlrpc_value *);
FS_API xmlrpc_value *fs_item(const xmlrpc_value *array, size_t i);
FS_API const char *fs_member(const xmlrpc_value *strct, size_t i, xmlrpc_value **member);
/* How many bytes of memory a value takes, with what the library and malloc need for it; NULL takes none. */
FS_API size_t fs_weight(const xmlrpc_value *);
/* "string", "int", ...: the name of a value's type as in an XML-RPC signature. */
FS_API const char *fs_type_name(const xmlrpc_value *);

/* What a method answers (section 2.1.3 of D3.2): code, message and value. */
enum { FS_NOT_READY = -1, FS_SUCCESS = 0, FS_FAILURE = 1 };

struct fs_reply {
    int code;
    int fault;           /* not 0: an XML-RPC fault with this number instead of a ReturnValue */
    char *message;       /* owned, NULL is "" */
    xmlrpc_value *value; /* owned, NULL is nil */
};

FS_API void fs_reply_clear(struct fs_reply *);
FS_API void fs_reply_fail(struct fs_reply *, const char *format, ...) __attribute__((format(printf, 2, 3)));
FS_API void fs_reply_fault(struct fs_reply *, int fault, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* The struct ReturnValue of a reply (a new reference; the reply keeps its own). */
FS_API xmlrpc_value *fs_reply_value(const struct fs_reply *);

#endif

/* Pleasant handling of xmlrpc-c's values: see include/flowstream/value.h.
 *
 * xmlrpc-c reports through an environment; all that can go wrong here is lack of memory or a mistake of ours, so a fault in the
 * environment ends the process. */
#include "config.h"

#include <flowstream/value.h>

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/util.h"

/* The library counts references without a lock, also where a value is only read: what two threads look at goes wrong.  ThreadSanitizer does not see into the library, so
 * it is told here what the library does to a value. */
#ifdef __SANITIZE_THREAD__
void __tsan_read1(void *);
void __tsan_write1(void *);
#define READS(V) __tsan_read1((void *) (uintptr_t) (V))
#define COUNTS(V) __tsan_write1((void *) (uintptr_t) (V))
#else
#define READS(V) ((void) 0)
#define COUNTS(V) ((void) 0)
#endif

static void
must(xmlrpc_env *env)
{
    if (env->fault_occurred) {
        fprintf(stderr, "flowstream: value: %s\n", env->fault_string);
        abort();
    }
    xmlrpc_env_clean(env);
}

#define MAKE(EXPRESSION) \
    xmlrpc_env env; \
    xmlrpc_env_init(&env); \
    xmlrpc_value *v = (EXPRESSION); \
    must(&env); \
    return v

xmlrpc_value *
fs_nil(void)
{
    MAKE(xmlrpc_nil_new(&env));
}

xmlrpc_value *
fs_int(int i)
{
    MAKE(xmlrpc_int_new(&env, i));
}

xmlrpc_value *
fs_bool(bool b)
{
    MAKE(xmlrpc_bool_new(&env, b));
}

xmlrpc_value *
fs_double(double d)
{
    MAKE(xmlrpc_double_new(&env, isfinite(d) ? d : 0.0));
}

xmlrpc_value *
fs_struct(void)
{
    MAKE(xmlrpc_struct_new(&env));
}

xmlrpc_value *
fs_array(void)
{
    MAKE(xmlrpc_array_new(&env));
}

/* Length of the well-formed UTF-8 sequence at p that XML 1.0 can carry, or 0. */
static size_t
utf8_length(const unsigned char *p)
{
    if (p[0] < 0x80) {
        return p[0] >= 0x20 || p[0] == '\t' || p[0] == '\n' || p[0] == '\r';
    }
    size_t n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc2 || p[0] > 0xf4) {
        return 0;
    }
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    bool bad = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90)
               || (p[0] == 0xf4 && p[1] > 0x8f) || (p[0] == 0xef && p[1] == 0xbf && p[2] > 0xbd);
    return bad ? 0 : n;
}

xmlrpc_value *
fs_string(const char *s)
{
    char *copy = fs_xstrdup(s ? s : "");
    unsigned char *to = (unsigned char *) copy;
    for (const unsigned char *p = to; *p;) {
        size_t n = utf8_length(p);
        if (n == 4) { /* the library knows no character beyond the first 65,536 and would end the process */
            memcpy(to, "\xef\xbf\xbd", 3);
            to += 3;
        } else if (n) {
            memmove(to, p, n);
            to += n;
        } else {
            *to++ = '?';
        }
        p += n ? n : 1;
    }
    *to = '\0';
    xmlrpc_env env;
    xmlrpc_env_init(&env);
    xmlrpc_value *v = xmlrpc_string_new_cr(&env, copy); /* without _cr it would drop carriage returns */
    must(&env);
    free(copy);
    return v;
}

xmlrpc_value *
fs_stringf(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *s = fs_xvasprintf(format, args);
    va_end(args);
    xmlrpc_value *v = fs_string(s);
    free(s);
    return v;
}

xmlrpc_value *
fs_set(xmlrpc_value *strct, const char *key, xmlrpc_value *member)
{
    xmlrpc_env env;
    xmlrpc_env_init(&env);
    xmlrpc_value *name = fs_string(key); /* a key is text as any other */
    COUNTS(strct);
    COUNTS(member);
    xmlrpc_struct_set_value_v(&env, strct, name, member);
    must(&env);
    xmlrpc_DECREF(name);
    xmlrpc_DECREF(member);
    return strct;
}

xmlrpc_value *
fs_append(xmlrpc_value *array, xmlrpc_value *item)
{
    xmlrpc_env env;
    xmlrpc_env_init(&env);
    COUNTS(array);
    COUNTS(item);
    xmlrpc_array_append_item(&env, array, item);
    must(&env);
    xmlrpc_DECREF(item);
    return array;
}

void
fs_free(xmlrpc_value *v)
{
    if (v) {
        COUNTS(v);
        xmlrpc_DECREF(v);
    }
}

bool
fs_is(const xmlrpc_value *v, xmlrpc_type type)
{
    if (v) {
        READS(v);
    }
    return v && xmlrpc_value_type((xmlrpc_value *) (uintptr_t) v) == type;
}

/* The library takes values as not const even where it only reads them. */
static xmlrpc_value *
unconst(const xmlrpc_value *v)
{
    return (xmlrpc_value *) (uintptr_t) v;
}

size_t
fs_size(const xmlrpc_value *v)
{
    xmlrpc_env env;
    xmlrpc_env_init(&env);
    int n = fs_is(v, XMLRPC_TYPE_ARRAY) ? xmlrpc_array_size(&env, v)
            : fs_is(v, XMLRPC_TYPE_STRUCT) ? xmlrpc_struct_size(&env, unconst(v))
                                           : 0;
    must(&env);
    return n > 0 ? (size_t) n : 0;
}

xmlrpc_value *
fs_item(const xmlrpc_value *array, size_t i)
{
    if (!fs_is(array, XMLRPC_TYPE_ARRAY) || i >= fs_size(array)) {
        return NULL;
    }
    xmlrpc_env env;
    xmlrpc_env_init(&env);
    xmlrpc_value *item = NULL;
    xmlrpc_array_read_item(&env, array, (unsigned) i, &item);
    must(&env);
    COUNTS(item);
    xmlrpc_DECREF(item); /* the array keeps it alive */
    return item;
}

const char *
fs_text(const xmlrpc_value *v, const char *otherwise)
{
    if (!fs_is(v, XMLRPC_TYPE_STRING)) {
        return otherwise;
    }
    xmlrpc_env env;
    xmlrpc_env_init(&env);
    const char *s = NULL;
    xmlrpc_parse_value(&env, unconst(v), "s", &s); /* unlike xmlrpc_decompose_value: does not copy */
    must(&env);
    return s;
}

const char *
fs_member(const xmlrpc_value *strct, size_t i, xmlrpc_value **member)
{
    if (!fs_is(strct, XMLRPC_TYPE_STRUCT) || i >= fs_size(strct)) {
        *member = NULL;
        return NULL;
    }
    xmlrpc_env env;
    xmlrpc_env_init(&env);
    xmlrpc_value *key = NULL;
    xmlrpc_struct_get_key_and_value(&env, unconst(strct), (int) i, &key, member); /* borrowed both */
    must(&env);
    return fs_text(key, "");
}

xmlrpc_value *
fs_get(const xmlrpc_value *v, const char *key)
{
    if (!fs_is(v, XMLRPC_TYPE_STRUCT)) {
        return NULL;
    }
    xmlrpc_env env;
    xmlrpc_env_init(&env);
    xmlrpc_value *member = NULL;
    xmlrpc_struct_find_value(&env, unconst(v), key, &member);
    must(&env);
    if (member) {
        COUNTS(member);
        xmlrpc_DECREF(member); /* the struct keeps it alive */
    }
    return member;
}

const char *
fs_get_string(const xmlrpc_value *v, const char *key, const char *otherwise)
{
    return fs_text(fs_get(v, key), otherwise);
}

double
fs_number(const xmlrpc_value *v, double otherwise)
{
    if (!v) {
        return otherwise;
    }
    xmlrpc_env env;
    xmlrpc_env_init(&env);
    double d = otherwise;
    int i;
    xmlrpc_int64 l;
    char *end;
    switch (xmlrpc_value_type(unconst(v))) {
    case XMLRPC_TYPE_INT:
        xmlrpc_read_int(&env, v, &i);
        d = i;
        break;
    case XMLRPC_TYPE_I8:
        xmlrpc_read_i8(&env, v, &l);
        d = (double) l;
        break;
    case XMLRPC_TYPE_DOUBLE:
        xmlrpc_read_double(&env, v, &d);
        break;
    case XMLRPC_TYPE_STRING:
        d = strtod(fs_text(v, ""), &end);
        if (*end || end == fs_text(v, "") || !isfinite(d)) {
            d = otherwise;
        }
        break;
    default:
        break;
    }
    must(&env);
    return d;
}

double
fs_get_double(const xmlrpc_value *v, const char *key, double otherwise)
{
    return fs_number(fs_get(v, key), otherwise);
}

int
fs_get_int(const xmlrpc_value *v, const char *key, int otherwise)
{
    double d = fs_get_double(v, key, otherwise);
    return d >= -2147483648.0 && d <= 2147483647.0 && d == floor(d) ? (int) d : otherwise;
}

bool
fs_get_bool(const xmlrpc_value *v, const char *key, bool otherwise)
{
    const xmlrpc_value *member = fs_get(v, key);
    if (!fs_is(member, XMLRPC_TYPE_BOOL)) {
        return otherwise;
    }
    xmlrpc_env env;
    xmlrpc_env_init(&env);
    xmlrpc_bool b = 0;
    xmlrpc_read_bool(&env, member, &b);
    must(&env);
    return b;
}

size_t
fs_weight(const xmlrpc_value *v)
{
    enum { NODE = 96 /* bytes of a value and its place in what holds it */ };
    size_t n = fs_size(v), bytes = v ? NODE : 0;
    if (fs_is(v, XMLRPC_TYPE_STRING)) {
        return bytes + strlen(fs_text(v, ""));
    }
    if (fs_is(v, XMLRPC_TYPE_BASE64)) {
        xmlrpc_env env;
        xmlrpc_env_init(&env);
        xmlrpc_read_base64_size(&env, v, &n);
        must(&env);
        return bytes + n;
    }
    for (size_t i = 0; i < n; i++) {
        xmlrpc_value *member = NULL;
        const char *key = fs_is(v, XMLRPC_TYPE_STRUCT) ? fs_member(v, i, &member) : NULL;
        bytes += fs_weight(key ? member : fs_item(v, i)) + (key ? NODE + strlen(key) : 0);
    }
    return bytes;
}

const char *
fs_type_name(const xmlrpc_value *v)
{
    switch (v ? xmlrpc_value_type(unconst(v)) : XMLRPC_TYPE_NIL) {
    case XMLRPC_TYPE_INT:
    case XMLRPC_TYPE_I8:
        return "int";
    case XMLRPC_TYPE_BOOL:
        return "boolean";
    case XMLRPC_TYPE_DOUBLE:
        return "double";
    case XMLRPC_TYPE_DATETIME:
        return "dateTime.iso8601";
    case XMLRPC_TYPE_STRING:
        return "string";
    case XMLRPC_TYPE_BASE64:
        return "base64";
    case XMLRPC_TYPE_ARRAY:
        return "array";
    case XMLRPC_TYPE_STRUCT:
        return "struct";
    default:
        return "nil";
    }
}

static xmlrpc_value *
copy_scalar(const xmlrpc_value *v)
{
    xmlrpc_env env;
    xmlrpc_env_init(&env);
    xmlrpc_value *copy;
    xmlrpc_int64 l;
    xmlrpc_datetime when;
    const unsigned char *bytes;
    size_t size;
    switch (xmlrpc_value_type(unconst(v))) {
    case XMLRPC_TYPE_INT:
        return fs_int((int) fs_number(v, 0));
    case XMLRPC_TYPE_I8:
        xmlrpc_read_i8(&env, v, &l);
        copy = xmlrpc_i8_new(&env, l);
        break;
    case XMLRPC_TYPE_BOOL: {
        xmlrpc_bool b = 0;
        xmlrpc_read_bool(&env, v, &b);
        copy = xmlrpc_bool_new(&env, b);
        break;
    }
    case XMLRPC_TYPE_DOUBLE:
        return fs_double(fs_number(v, 0));
    case XMLRPC_TYPE_STRING:
        return fs_string(fs_text(v, ""));
    case XMLRPC_TYPE_DATETIME:
        xmlrpc_read_datetime(&env, v, &when); /* by its text a copy of the year 3998 is another one */
        copy = xmlrpc_datetime_new(&env, when);
        break;
    case XMLRPC_TYPE_BASE64:
        xmlrpc_read_base64(&env, v, &size, &bytes);
        copy = xmlrpc_base64_new(&env, size, bytes);
        free((void *) (uintptr_t) bytes);
        break;
    default:
        return fs_nil();
    }
    must(&env);
    return copy;
}

xmlrpc_value *
fs_copy(const xmlrpc_value *v)
{
    if (fs_is(v, XMLRPC_TYPE_ARRAY)) {
        xmlrpc_value *array = fs_array();
        for (size_t i = 0, n = fs_size(v); i < n; i++) {
            fs_append(array, fs_copy(fs_item(v, i)));
        }
        return array;
    }
    if (fs_is(v, XMLRPC_TYPE_STRUCT)) {
        xmlrpc_value *strct = fs_struct();
        for (size_t i = 0, n = fs_size(v); i < n; i++) {
            xmlrpc_value *member;
            const char *key = fs_member(v, i, &member);
            fs_set(strct, key, fs_copy(member));
        }
        return strct;
    }
    return v ? copy_scalar(v) : fs_nil();
}

void
fs_reply_clear(struct fs_reply *r)
{
    free(r->message);
    fs_free(r->value);
    *r = (struct fs_reply) { 0 };
}

static void
reply_message(struct fs_reply *r, int code, int fault, const char *format, va_list args)
{
    char *message = fs_xvasprintf(format, args); /* may quote the message that it replaces */
    fs_reply_clear(r);
    r->code = code;
    r->fault = fault;
    r->message = message;
}

void
fs_reply_fail(struct fs_reply *r, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    reply_message(r, FS_FAILURE, 0, format, args);
    va_end(args);
}

void
fs_reply_fault(struct fs_reply *r, int fault, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    reply_message(r, FS_FAILURE, fault, format, args);
    va_end(args);
}

xmlrpc_value *
fs_reply_value(const struct fs_reply *r)
{
    xmlrpc_value *v = fs_struct();
    fs_set(v, "code", fs_int(r->code));
    fs_set(v, "message", fs_string(r->message));
    if (r->value) {
        xmlrpc_INCREF(r->value);
    }
    return fs_set(v, "value", r->value ? r->value : fs_nil());
}

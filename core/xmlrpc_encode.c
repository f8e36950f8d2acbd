/* Values to XML-RPC documents, laid out as xmlrpc-c does it.
 *
 * Not xmlrpc-c's own encoder: that writes 15 digits of a double, so a counter above 10^15, or the result of any division, comes out as another
 * number.  Here a double is written with as many digits as bring it back, without an exponent, as the specification has it. */
#include "config.h"

#include "core/xmlrpc.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/util.h"

#define PROLOGUE "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n"

static void
add(struct fs_text *t, const char *text)
{
    fs_text_add(t, text, strlen(text));
}

static void
add_escaped(struct fs_text *t, const char *text)
{
    for (size_t n; *text; text++) {
        n = strcspn(text, "<>&\r");
        fs_text_add(t, text, n);
        text += n;
        if (!*text) {
            break;
        }
        add(t, *text == '<' ? "&lt;" : *text == '>' ? "&gt;" : *text == '&' ? "&amp;" : "&#x0d;");
    }
}

/* The digits of "D.DDDe+XX" with the point where the exponent says. */
static void
add_without_exponent(struct fs_text *t, const char *scientific)
{
    char digits[32];
    size_t n = 0;
    const char *e = strchr(scientific, 'e');
    int point = atoi(e + 1) + 1; /* digits before the point; zero or less: zeroes behind it */
    for (const char *p = scientific; p < e; p++) {
        if (*p >= '0' && *p <= '9') {
            digits[n++] = *p;
        }
    }
    while (n > 1 && digits[n - 1] == '0') {
        n--;
    }
    if (*scientific == '-') {
        add(t, "-");
    }
    for (int i = 0; i < point; i++) {
        fs_text_add(t, i < (int) n ? &digits[i] : "0", 1);
    }
    if (point <= 0) {
        add(t, "0");
    }
    if (point < (int) n) {
        add(t, ".");
        for (int i = point; i < (int) n; i++) {
            fs_text_add(t, i < 0 ? "0" : &digits[i], 1);
        }
    }
}

static void
add_double(struct fs_text *t, double d)
{
    char text[40];
    if (fabs(d) < 1e15 && d == floor(d) && !(d == 0 && signbit(d))) {
        snprintf(text, sizeof text, "%.0f", d);
        add(t, text);
        return;
    }
    for (int digits = 14; digits <= 16; digits++) { /* behind the first one */
        snprintf(text, sizeof text, "%.*e", digits, d);
        if (strtod(text, NULL) == d) {
            break;
        }
    }
    add_without_exponent(t, text);
}

/* What is rare: dates and bytes. */
static void
add_other(struct fs_text *t, const xmlrpc_value *v)
{
    xmlrpc_env env;
    xmlrpc_env_init(&env);
    xmlrpc_mem_block *block = XMLRPC_MEMBLOCK_NEW(char, &env, 0);
    xmlrpc_serialize_value2(&env, block, (xmlrpc_value *) (uintptr_t) v, xmlrpc_dialect_i8);
    if (env.fault_occurred) {
        fprintf(stderr, "flowstream: xmlrpc: %s\n", env.fault_string);
        abort(); /* only lack of memory or a value of no known type leads here */
    }
    fs_text_add(t, XMLRPC_MEMBLOCK_CONTENTS(char, block), XMLRPC_MEMBLOCK_SIZE(char, block));
    XMLRPC_MEMBLOCK_FREE(char, block);
    xmlrpc_env_clean(&env);
}

static void add_value(struct fs_text *, const xmlrpc_value *);

static void
add_struct(struct fs_text *t, const xmlrpc_value *v)
{
    add(t, "<value><struct>\r\n");
    for (size_t i = 0, n = fs_size(v); i < n; i++) {
        xmlrpc_value *member;
        const char *key = fs_member(v, i, &member);
        add(t, "<member><name>");
        add_escaped(t, key);
        add(t, "</name>\r\n");
        add_value(t, member);
        add(t, "</member>\r\n");
    }
    add(t, "</struct></value>");
}

static void
add_array(struct fs_text *t, const xmlrpc_value *v)
{
    add(t, "<value><array><data>\r\n");
    for (size_t i = 0, n = fs_size(v); i < n; i++) {
        add_value(t, fs_item(v, i));
        add(t, "\r\n");
    }
    add(t, "</data></array></value>");
}

static void
add_scalar(struct fs_text *t, const xmlrpc_value *v)
{
    if (fs_is(v, XMLRPC_TYPE_STRING)) {
        add(t, "<value><string>");
        add_escaped(t, fs_text(v, ""));
        add(t, "</string></value>");
    } else if (fs_is(v, XMLRPC_TYPE_INT)) {
        fs_text_addf(t, "<value><i4>%d</i4></value>", (int) fs_number(v, 0));
    } else if (fs_is(v, XMLRPC_TYPE_DOUBLE)) {
        add(t, "<value><double>");
        add_double(t, fs_number(v, 0));
        add(t, "</double></value>");
    } else {
        add_other(t, v);
    }
}

/* As deep as the value, which FS_XML_MAX_DEPTH bounds for what came from a peer. */
static void
add_value(struct fs_text *t, const xmlrpc_value *v)
{
    if (fs_is(v, XMLRPC_TYPE_STRUCT)) {
        add_struct(t, v);
    } else if (fs_is(v, XMLRPC_TYPE_ARRAY)) {
        add_array(t, v);
    } else {
        add_scalar(t, v);
    }
}

char *
fs_xmlrpc_encode_value(const xmlrpc_value *value, size_t *size)
{
    struct fs_text t = { 0 };
    add_value(&t, value);
    *size = t.length;
    return t.text;
}

char *
fs_xmlrpc_encode_call(const char *method, const xmlrpc_value *params, size_t *size)
{
    struct fs_text t = { 0 };
    add(&t, PROLOGUE "<methodCall>\r\n<methodName>");
    add_escaped(&t, method);
    add(&t, "</methodName>\r\n<params>\r\n");
    for (size_t i = 0, n = fs_size(params); i < n; i++) {
        add(&t, "<param>");
        add_value(&t, fs_item(params, i));
        add(&t, "</param>\r\n");
    }
    add(&t, "</params>\r\n</methodCall>\r\n");
    *size = t.length;
    return t.text;
}

char *
fs_xmlrpc_encode_response(const xmlrpc_value *value, size_t *size)
{
    struct fs_text t = { 0 };
    add(&t, PROLOGUE "<methodResponse>\r\n<params>\r\n<param>");
    add_value(&t, value);
    add(&t, "</param>\r\n</params>\r\n</methodResponse>\r\n");
    *size = t.length;
    return t.text;
}

char *
fs_xmlrpc_encode_fault(int fault, const char *text, size_t *size)
{
    struct fs_text t = { 0 };
    xmlrpc_value *v = fs_set(fs_struct(), "faultCode", fs_int(fault));
    fs_set(v, "faultString", fs_string(text)); /* which takes out what no XML parser takes */
    add(&t, PROLOGUE "<methodResponse>\r\n<fault>\r\n");
    add_value(&t, v);
    add(&t, "\r\n</fault>\r\n</methodResponse>\r\n");
    fs_free(v);
    *size = t.length;
    return t.text;
}

/* XML-RPC documents to values and back; see the header for what is refused.
 *
 * The decoder is a machine over a stack of frames, one an open element.  expat gives elements and text; start() says whether an
 * element may stand where it stands, end() turns the text of a scalar into a value and hands it to the frame around it.  No recursion:
 * the depth is the size of the stack. */
#include "config.h"

#include "core/xmlrpc.h"

#include <ctype.h>
#include <errno.h>
#include <expat.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#include "core/util.h"

enum element {
    E_NONE, E_METHOD_CALL, E_METHOD_RESPONSE, E_METHOD_NAME, E_PARAMS, E_PARAM, E_FAULT, E_VALUE, E_ARRAY, E_DATA, E_STRUCT,
    E_MEMBER, E_NAME, E_INT, E_I8, E_BOOLEAN, E_DOUBLE, E_STRING, E_DATETIME, E_BASE64, E_NIL,
};

static const struct {
    const char *name;
    enum element element;
} element_names[] = {
    { "methodCall", E_METHOD_CALL }, { "methodResponse", E_METHOD_RESPONSE }, { "methodName", E_METHOD_NAME },
    { "params", E_PARAMS }, { "param", E_PARAM }, { "fault", E_FAULT }, { "value", E_VALUE }, { "array", E_ARRAY },
    { "data", E_DATA }, { "struct", E_STRUCT }, { "member", E_MEMBER }, { "name", E_NAME }, { "int", E_INT }, { "i4", E_INT },
    { "i8", E_I8 }, { "boolean", E_BOOLEAN }, { "double", E_DOUBLE }, { "string", E_STRING },
    { "dateTime.iso8601", E_DATETIME }, { "base64", E_BASE64 }, { "nil", E_NIL }, { "ex:nil", E_NIL },
};

struct frame {
    enum element element;
    unsigned children;      /* elements seen inside */
    xmlrpc_value *value;    /* the container, or what the element came to */
    char *name;             /* of a member */
};

enum { MAX_FRAMES = FS_XML_MAX_DEPTH * 4 + 8 };

struct decoder {
    XML_Parser parser;
    struct frame frames[MAX_FRAMES];
    size_t depth;
    size_t nesting;         /* arrays and structs open */
    size_t values;
    struct fs_text text;    /* of the innermost element */
    enum element root;      /* that the document must have */
    char *method;
    xmlrpc_value *params;
    xmlrpc_value *result;
    bool is_fault;
    char *error;
};

static void
refuse(struct decoder *d, const char *format, ...)
{
    if (d->error) {
        return;
    }
    va_list args;
    va_start(args, format);
    char *what = fs_xvasprintf(format, args);
    va_end(args);
    d->error = fs_xasprintf("line %lu: %s", (unsigned long) XML_GetCurrentLineNumber(d->parser), what);
    free(what);
    XML_StopParser(d->parser, XML_FALSE);
}

static struct frame *
top(struct decoder *d)
{
    return d->depth ? &d->frames[d->depth - 1] : NULL;
}

static bool
is_scalar(enum element e)
{
    return e >= E_INT;
}

/* May 'e' open inside 'f' (NULL: the document)? */
static bool
may_open(const struct decoder *d, const struct frame *f, enum element e)
{
    unsigned nth = f ? f->children : 0;
    switch (f ? f->element : E_NONE) {
    case E_NONE:
        return e == d->root && !d->result && !d->method;
    case E_METHOD_CALL:
        return (nth == 0 && e == E_METHOD_NAME) || (nth == 1 && e == E_PARAMS);
    case E_METHOD_RESPONSE:
        return nth == 0 && (e == E_PARAMS || e == E_FAULT);
    case E_PARAMS:
        return e == E_PARAM && (d->root == E_METHOD_CALL || nth == 0);
    case E_PARAM:
    case E_FAULT:
        return nth == 0 && e == E_VALUE;
    case E_VALUE:
        return nth == 0 && (is_scalar(e) || e == E_ARRAY || e == E_STRUCT);
    case E_ARRAY:
        return nth == 0 && e == E_DATA;
    case E_DATA:
        return e == E_VALUE;
    case E_STRUCT:
        return e == E_MEMBER;
    case E_MEMBER:
        return (nth == 0 && e == E_NAME) || (nth == 1 && e == E_VALUE);
    default:
        return false;
    }
}

static void XMLCALL
start(void *data, const XML_Char *name, const XML_Char **attributes)
{
    struct decoder *d = data;
    enum element e = E_NONE;
    for (size_t i = 0; i < sizeof element_names / sizeof *element_names; i++) {
        if (!strcmp(name, element_names[i].name)) {
            e = element_names[i].element;
        }
    }
    if (!e || !may_open(d, top(d), e)) {
        refuse(d, "element <%.40s> may not stand here", name);
        return;
    }
    /* XML-RPC has no attributes; only the name space of ex:nil, which some clients declare, is let through. */
    for (size_t i = 0; attributes[i]; i += 2) {
        if (strncmp(attributes[i], "xmlns", 5)) {
            refuse(d, "attribute %.40s is not part of XML-RPC", attributes[i]);
            return;
        }
    }
    if (e == E_ARRAY || e == E_STRUCT) {
        if (++d->nesting > FS_XML_MAX_DEPTH) {
            refuse(d, "more than %d arrays and structs inside each other", FS_XML_MAX_DEPTH);
            return;
        }
    }
    if (e == E_VALUE && ++d->values > FS_XML_MAX_VALUES) {
        refuse(d, "more than %d values", FS_XML_MAX_VALUES);
        return;
    }
    /* Text between elements is white space only; end() has checked what stands before this one. */
    for (size_t i = 0; i < d->text.length; i++) {
        if (!isspace((unsigned char) d->text.text[i])) {
            refuse(d, "text before <%s>", name);
            return;
        }
    }
    d->text.length = 0;
    if (top(d)) {
        top(d)->children++;
    }
    d->frames[d->depth++] = (struct frame) {
        .element = e,
        .value = e == E_STRUCT ? fs_struct() : e == E_DATA || e == E_PARAMS ? fs_array() : NULL,
    };
}

static void XMLCALL
characters(void *data, const XML_Char *s, int n)
{
    struct decoder *d = data;
    fs_text_add(&d->text, s, (size_t) n);
}

/* Strict decimal integer in [low, high]. */
static bool
integer(const char *s, long long low, long long high, long long *out)
{
    const char *p = s + (*s == '-' || *s == '+');
    if (!isdigit((unsigned char) *p) || strspn(p, "0123456789") != strlen(p)) {
        return false;
    }
    errno = 0;
    *out = strtoll(s, NULL, 10);
    return !errno && *out >= low && *out <= high;
}

/* Decimal floating point as the specification has it, and the exponent that most encoders write. */
static bool
real(const char *s, double *out)
{
    const char *p = s + (*s == '-' || *s == '+');
    size_t whole = strspn(p, "0123456789");
    p += whole;
    size_t fraction = *p == '.' ? strspn(++p, "0123456789") : 0;
    p += fraction;
    if (!(whole + fraction)) {
        return false;
    }
    if (*p == 'e' || *p == 'E') {
        p++;
        p += *p == '-' || *p == '+';
        size_t exponent = strspn(p, "0123456789");
        if (!exponent) {
            return false;
        }
        p += exponent;
    }
    *out = strtod(s, NULL);
    return !*p && isfinite(*out);
}

static xmlrpc_value *
base64(struct decoder *d)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned char *bytes = fs_xmalloc(d->text.length);
    size_t n = 0, n_digits = 0, n_pads = 0;
    unsigned long bits = 0;
    for (size_t i = 0; i < d->text.length; i++) {
        char c = d->text.text[i];
        if (isspace((unsigned char) c)) {
            continue;
        }
        if (c == '=') {
            n_pads++;
            continue;
        }
        const char *at = c ? strchr(digits, c) : NULL;
        if (!at || n_pads) {
            refuse(d, "not base64");
            break;
        }
        bits = bits << 6 | (unsigned long) (at - digits);
        if (++n_digits % 4 == 0) {
            bytes[n++] = (unsigned char) (bits >> 16);
            bytes[n++] = (unsigned char) (bits >> 8);
            bytes[n++] = (unsigned char) bits;
        }
    }
    size_t rest = n_digits % 4;
    if (rest == 1 || n_pads > 2 || (n_digits + n_pads) % 4) {
        refuse(d, "base64 of %zu digits and %zu '=' is cut short", n_digits, n_pads);
    } else if (rest) {
        bits <<= 6 * (4 - rest);
        bytes[n++] = (unsigned char) (bits >> 16);
        if (rest == 3) {
            bytes[n++] = (unsigned char) (bits >> 8);
        }
    }
    xmlrpc_value *v = NULL;
    if (!d->error) {
        xmlrpc_env env;
        xmlrpc_env_init(&env);
        v = xmlrpc_base64_new(&env, n, bytes);
        xmlrpc_env_clean(&env);
    }
    free(bytes);
    return v;
}

/* Are the two digits at 's' a number in [low, high]? */
static bool
in_range(const char *s, int low, int high)
{
    int n = (s[0] - '0') * 10 + s[1] - '0';
    return n >= low && n <= high;
}

static xmlrpc_value *
date_time(struct decoder *d)
{
    const char *s = d->text.text ? d->text.text : "";
    static const char shape[] = "ddddddddTdd:dd:dd";
    bool good = strlen(s) == sizeof shape - 1;
    for (size_t i = 0; good && i < sizeof shape - 1; i++) {
        good = shape[i] == 'd' ? isdigit((unsigned char) s[i]) != 0 : s[i] == shape[i];
    }
    good = good && in_range(s + 4, 1, 12) && in_range(s + 6, 1, 31) && in_range(s + 9, 0, 23) && in_range(s + 12, 0, 59)
           && in_range(s + 15, 0, 60);
    xmlrpc_value *v = NULL;
    if (good) {
        xmlrpc_env env;
        xmlrpc_env_init(&env);
        v = xmlrpc_datetime_new_str(&env, s);
        if (env.fault_occurred) {
            v = NULL;
        }
        xmlrpc_env_clean(&env);
    }
    if (!v) {
        refuse(d, "'%.40s' is no date and time of the form 19980717T14:08:55", s);
    }
    return v;
}

static xmlrpc_value *
scalar(struct decoder *d, enum element e)
{
    const char *s = d->text.text && d->text.length ? d->text.text : "";
    long long i = 0;
    double f = 0;
    switch (e) {
    case E_STRING:
        return fs_string(s);
    case E_INT:
        if (!integer(s, -2147483648LL, 2147483647LL, &i)) {
            refuse(d, "'%.40s' is no 32-bit integer", s);
        }
        return fs_int((int) i);
    case E_I8:
        if (!integer(s, -9223372036854775807LL - 1, 9223372036854775807LL, &i)) {
            refuse(d, "'%.40s' is no 64-bit integer", s);
        }
        xmlrpc_env env;
        xmlrpc_env_init(&env);
        xmlrpc_value *v = xmlrpc_i8_new(&env, i);
        xmlrpc_env_clean(&env);
        return v;
    case E_BOOLEAN:
        if (strcmp(s, "0") && strcmp(s, "1")) {
            refuse(d, "'%.40s' is no boolean: 0 or 1", s);
        }
        return fs_bool(*s == '1');
    case E_DOUBLE:
        if (!real(s, &f)) {
            refuse(d, "'%.40s' is no finite decimal number", s);
        }
        return fs_double(f);
    case E_DATETIME:
        return date_time(d);
    case E_BASE64:
        return base64(d);
    default:
        if (*s) {
            refuse(d, "text inside <nil/>");
        }
        return fs_nil();
    }
}

static void
add_member(struct decoder *d, struct frame *strct, struct frame *member)
{
    if (!member->name || !member->value) {
        refuse(d, "a member needs a name and a value");
    } else if (strct->children > FS_XML_MAX_MEMBERS) {
        refuse(d, "a struct of more than %d members", FS_XML_MAX_MEMBERS);
    } else if (fs_get(strct->value, member->name)) {
        refuse(d, "member '%.40s' stands twice in a struct", member->name);
    } else {
        fs_set(strct->value, member->name, member->value);
        member->value = NULL;
    }
}

/* The element of 'f' has ended; give what it came to to the frame around it (NULL: none). */
static void
hand_up(struct decoder *d, struct frame *f, struct frame *around)
{
    switch (f->element) {
    case E_METHOD_NAME:
        d->method = fs_xstrdup(d->text.length ? d->text.text : "");
        if (!*d->method) {
            refuse(d, "empty <methodName>");
        }
        break;
    case E_PARAMS:
        d->params = f->value;
        f->value = NULL;
        break;
    case E_NAME:
        if (d->text.length > FS_XML_MAX_NAME) {
            refuse(d, "a member's name of %zu bytes; %d are allowed", d->text.length, FS_XML_MAX_NAME);
        }
        around->name = fs_xstrdup(d->text.length ? d->text.text : "");
        break;
    case E_MEMBER:
        add_member(d, around, f);
        break;
    case E_VALUE:
        if (!f->value) { /* no type stated: a string */
            f->value = f->children ? NULL : fs_string(d->text.length ? d->text.text : "");
        }
        if (!f->value) {
            refuse(d, "empty value");
        } else if (!around) {
            d->result = f->value;
            f->value = NULL;
        } else if (around->element == E_DATA) {
            fs_append(around->value, f->value);
            f->value = NULL;
        } else {
            around->value = f->value;
            f->value = NULL;
        }
        break;
    case E_PARAM:
        if (!f->value) {
            refuse(d, "<param> without a value");
        } else {
            fs_append(around->value, f->value);
            f->value = NULL;
        }
        break;
    case E_FAULT:
        d->is_fault = true;
        d->result = f->value;
        f->value = NULL;
        break;
    case E_DATA:
    case E_ARRAY:
    case E_STRUCT:
        if (f->element == E_ARRAY && !f->value) {
            refuse(d, "<array> without <data>");
        }
        around->value = f->value;
        f->value = NULL;
        break;
    case E_METHOD_CALL:
    case E_METHOD_RESPONSE:
        if (!f->children) {
            refuse(d, "empty document");
        }
        break;
    default:
        around->value = scalar(d, f->element);
    }
}

static void XMLCALL
end(void *data, const XML_Char *name)
{
    struct decoder *d = data;
    if (d->error || !d->depth) {
        return;
    }
    struct frame *f = top(d);
    if (memchr(d->text.text ? d->text.text : "", '\0', d->text.length)) {
        refuse(d, "NUL in text");
    }
    bool takes_text = is_scalar(f->element) || f->element == E_METHOD_NAME || f->element == E_NAME
                      || (f->element == E_VALUE && !f->children);
    if (!takes_text) {
        for (size_t i = 0; i < d->text.length; i++) {
            if (!isspace((unsigned char) d->text.text[i])) {
                refuse(d, "text before </%s>", name);
                return;
            }
        }
    }
    if (f->element == E_ARRAY || f->element == E_STRUCT) {
        d->nesting--;
    }
    d->depth--;
    hand_up(d, f, top(d));
    d->text.length = 0;
    free(f->name);
    fs_free(f->value);
    *f = (struct frame) { 0 };
}

static void XMLCALL
doctype(void *data, const XML_Char *name, const XML_Char *system, const XML_Char *public, int internal)
{
    (void) name;
    (void) system;
    (void) public;
    (void) internal;
    refuse(data, "a document type is not allowed");
}

static void XMLCALL
declaration(void *data, const XML_Char *version, const XML_Char *encoding, int standalone)
{
    (void) version;
    (void) standalone;
    if (encoding && strcasecmp(encoding, "UTF-8") && strcasecmp(encoding, "US-ASCII")) {
        refuse(data, "encoding %.40s is not taken, only UTF-8", encoding);
    }
}

static void XMLCALL
instruction(void *data, const XML_Char *target, const XML_Char *text)
{
    (void) text;
    refuse(data, "processing instruction %.40s is not allowed", target);
}

static unsigned long process_salt;

static void
draw_salt(void)
{
    (void) !getrandom(&process_salt, sizeof process_salt, 0);
    process_salt += !process_salt; /* 0 tells expat to draw its own */
}

/* What makes collisions of names unforeseeable: secret, and the same for the life of the process. */
static unsigned long
salt(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, draw_salt);
    return process_salt;
}

static int
decode(struct decoder *d, const char *bytes, size_t size, char **error)
{
    d->parser = XML_ParserCreate("UTF-8"); /* overrides what the document says */
    XML_SetHashSalt(d->parser, salt()); /* else expat asks the system for one each time */
    if (!d->parser || size > 1u << 30) {
        XML_ParserFree(d->parser);
        *error = fs_xasprintf("a document of %zu bytes is not taken", size);
        return EINVAL;
    }
    if (size && memchr(bytes, '\0', size)) { /* UTF-16, which expat believes whatever it was told, or no XML at all */
        XML_ParserFree(d->parser);
        *error = fs_xasprintf("line 1: a NUL byte: only UTF-8 is taken");
        return EINVAL;
    }
    XML_SetUserData(d->parser, d);
    XML_SetElementHandler(d->parser, start, end);
    XML_SetCharacterDataHandler(d->parser, characters);
    XML_SetStartDoctypeDeclHandler(d->parser, doctype);
    XML_SetXmlDeclHandler(d->parser, declaration);
    XML_SetProcessingInstructionHandler(d->parser, instruction);
    if (XML_Parse(d->parser, bytes, (int) size, 1) != XML_STATUS_OK && !d->error) {
        d->error = fs_xasprintf("line %lu column %lu: %s", (unsigned long) XML_GetCurrentLineNumber(d->parser),
                                (unsigned long) XML_GetCurrentColumnNumber(d->parser) + 1,
                                XML_ErrorString(XML_GetErrorCode(d->parser)));
    }
    XML_ParserFree(d->parser);
    while (d->depth) {
        struct frame *f = &d->frames[--d->depth];
        free(f->name);
        fs_free(f->value);
    }
    free(d->text.text);
    if (d->error) {
        *error = d->error;
        free(d->method);
        fs_free(d->params);
        fs_free(d->result);
        return EINVAL;
    }
    return 0;
}

int
fs_xmlrpc_decode_call(const char *bytes, size_t size, char **method, xmlrpc_value **params, char **error)
{
    struct decoder d = { .root = E_METHOD_CALL };
    int e = decode(&d, bytes, size, error);
    if (!e) {
        *method = d.method;
        *params = d.params ? d.params : fs_array();
    }
    return e;
}

int
fs_xmlrpc_decode_response(const char *bytes, size_t size, xmlrpc_value **value, int *fault, char **error)
{
    struct decoder d = { .root = E_METHOD_RESPONSE };
    int e = decode(&d, bytes, size, error);
    if (e) {
        return e;
    }
    *fault = 0;
    if (d.is_fault) {
        *fault = fs_get_int(d.result, "faultCode", XMLRPC_INTERNAL_ERROR);
        *fault = *fault ? *fault : XMLRPC_INTERNAL_ERROR;
        *value = fs_string(fs_get_string(d.result, "faultString", ""));
    } else {
        *value = d.params && fs_size(d.params) ? fs_copy(fs_item(d.params, 0)) : fs_nil();
    }
    fs_free(d.params);
    fs_free(d.result);
    return 0;
}

int
fs_xmlrpc_decode_value(const char *bytes, size_t size, xmlrpc_value **value, char **error)
{
    struct decoder d = { .root = E_VALUE };
    int e = decode(&d, bytes, size, error);
    if (!e) {
        *value = d.result;
    }
    return e;
}

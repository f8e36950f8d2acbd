/* Packed values; see pack.h.
 *
 * A block begins with MAGIC and holds one value.  A value begins with a tag; what follows is told at the tags.  Numbers are varints: seven bits a byte, the lowest first.  A text
 * has a zero behind it, so that it can be used in place, and one that was there before is a reference to it: plans say the same names again and again.  A container tells its
 * length in bytes, so that one can step over it.  Names of members are a byte of pack_names.def, or 0 and a text. */
#include "config.h"

#include "core/pack.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/util.h"
#include "core/xmlrpc.h"

enum {
    MAGIC = 0xf5,
    NIL = 0,
    FALSE = 1,
    TRUE = 2,
    INT = 3,      /* zigzag varint */
    WHOLE = 4,    /* a double without fraction: zigzag varint */
    DOUBLE = 5,   /* eight bytes, the lowest first */
    TEXT = 6,     /* varint length, bytes, zero */
    AGAIN = 7,    /* varint: where in the block the text's tag is */
    ARRAY = 8,    /* four bytes: the length of what follows them; varint count; the items */
    STRUCT = 9,   /* likewise; the members, each a name and a value */
    NO_ITEMS = 10,
    NO_MEMBERS = 11,
    XML = 12,     /* varint length, a <value>: the types that nobody keeps by the thousand */
    SMALL_INT = 0x40, /* and the number, 63 at most */
    SHORT_TEXT = 0x80, /* and the length, 127 at most; bytes, zero */
    LAST_SMALL = 63,
    LAST_SHORT = 127,
    DEEPEST = FS_XML_MAX_DEPTH + 4,
    SEEN = 512,        /* slots for texts that may come again, three quarters of them used */
    WORTH = 3          /* bytes from which on a text is referred to */
};

static const char *const names[] = { NULL,
#define NAME(TEXT) TEXT,
#include "core/pack_names.def"
#undef NAME
};
enum { N_NAMES = sizeof names / sizeof *names };

/* --- Writing --- */

struct writer {
    unsigned char *bytes;
    size_t size, room;
    uint32_t seen[SEEN]; /* where a text is; 0: none */
    unsigned n_seen;
};

static void
put(struct writer *w, const void *bytes, size_t n)
{
    if (w->size + n > w->room) {
        w->room = (w->size + n) * 2 + 256;
        w->bytes = fs_xrealloc(w->bytes, w->room);
    }
    if (n) {
        memcpy(w->bytes + w->size, bytes, n);
    }
    w->size += n;
}

static void
put_byte(struct writer *w, unsigned byte)
{
    unsigned char b = (unsigned char) byte;
    put(w, &b, 1);
}

static void
put_number(struct writer *w, uint64_t n)
{
    for (; n > 127; n >>= 7) {
        put_byte(w, (unsigned) (n & 127) | 128);
    }
    put_byte(w, (unsigned) n);
}

static uint64_t
zigzag(int64_t n)
{
    return (uint64_t) n << 1 ^ (n < 0 ? UINT64_MAX : 0);
}

static size_t
slot_of(const char *text, size_t length)
{
    uint32_t h = 2166136261u; /* FNV-1a */
    for (size_t i = 0; i < length; i++) {
        h = (h ^ (unsigned char) text[i]) * 16777619u;
    }
    return (h ^ h >> 15) % SEEN;
}

static const char *
text_at(const unsigned char *block, size_t at)
{
    at++;
    if (block[at - 1] == TEXT) {
        while (block[at++] & 128) {
        }
    }
    return (const char *) block + at;
}

static void
put_text(struct writer *w, const char *text)
{
    size_t length = strlen(text), slot = slot_of(text, length);
    bool worth = length >= WORTH && w->size < UINT32_MAX;
    while (worth && w->seen[slot]) {
        if (!strcmp(text_at(w->bytes, w->seen[slot]), text)) {
            put_byte(w, AGAIN);
            put_number(w, w->seen[slot]);
            return;
        }
        slot = (slot + 1) % SEEN;
    }
    if (worth && w->n_seen < SEEN / 4 * 3) {
        w->seen[slot] = (uint32_t) w->size;
        w->n_seen++;
    }
    if (length <= LAST_SHORT) {
        put_byte(w, SHORT_TEXT + (unsigned) length);
    } else {
        put_byte(w, TEXT);
        put_number(w, length);
    }
    put(w, text, length + 1);
}

static void
put_name(struct writer *w, const char *name)
{
    for (unsigned i = 1; i < N_NAMES; i++) {
        if (!strcmp(names[i], name)) {
            put_byte(w, i);
            return;
        }
    }
    put_byte(w, 0);
    put_text(w, name);
}

static void
put_double(struct writer *w, double d)
{
    if (d == floor(d) && fabs(d) < 9e15 && !(d == 0 && signbit(d))) {
        put_byte(w, WHOLE);
        put_number(w, zigzag((int64_t) d));
        return;
    }
    uint64_t bits;
    memcpy(&bits, &d, sizeof bits);
    put_byte(w, DOUBLE);
    for (unsigned i = 0; i < 64; i += 8) {
        put_byte(w, (unsigned) (bits >> i) & 255);
    }
}

static void
put_int(struct writer *w, int n)
{
    if (n >= 0 && n <= LAST_SMALL) {
        put_byte(w, SMALL_INT + (unsigned) n);
    } else {
        put_byte(w, INT);
        put_number(w, zigzag(n));
    }
}

static void
put_value(struct writer *w, const xmlrpc_value *v)
{
    size_t n = fs_size(v), size;
    bool strct = fs_is(v, XMLRPC_TYPE_STRUCT);
    if (strct || fs_is(v, XMLRPC_TYPE_ARRAY)) {
        put_byte(w, n ? strct ? STRUCT : ARRAY : strct ? NO_MEMBERS : NO_ITEMS);
        size_t begin = w->size;
        if (n) {
            put(w, "\0\0\0\0", 4);
            put_number(w, n);
        }
        for (size_t i = 0; i < n; i++) {
            xmlrpc_value *member = NULL;
            if (strct) {
                put_name(w, fs_member(v, i, &member));
            }
            put_value(w, strct ? member : fs_item(v, i));
        }
        for (unsigned i = 0; n && i < 4; i++) {
            w->bytes[begin + i] = (unsigned char) ((w->size - begin - 4) >> i * 8);
        }
    } else if (fs_is(v, XMLRPC_TYPE_STRING) && strlen(fs_text(v, "")) <= UINT32_MAX) {
        put_text(w, fs_text(v, ""));
    } else if (fs_is(v, XMLRPC_TYPE_INT)) {
        put_int(w, (int) fs_number(v, 0));
    } else if (fs_is(v, XMLRPC_TYPE_DOUBLE)) {
        put_double(w, fs_number(v, 0));
    } else if (fs_is(v, XMLRPC_TYPE_BOOL)) {
        xmlrpc_bool b = 0;
        xmlrpc_env env;
        xmlrpc_env_init(&env);
        xmlrpc_read_bool(&env, v, &b);
        xmlrpc_env_clean(&env);
        put_byte(w, b ? TRUE : FALSE);
    } else if (!v || fs_is(v, XMLRPC_TYPE_NIL)) {
        put_byte(w, NIL);
    } else {
        char *xml = fs_xmlrpc_encode_value(v, &size);
        put_byte(w, XML);
        put_number(w, size);
        put(w, xml, size);
        free(xml);
    }
}

unsigned char *
fs_pack(const xmlrpc_value *v, size_t *size)
{
    struct writer w = { 0 };
    put_byte(&w, MAGIC);
    put_value(&w, v);
    *size = w.size;
    return fs_xrealloc(w.bytes, w.size);
}

/* --- Checking, and making trees --- */

/* 'build' makes the value on the way; where nothing is built, a good value is told by a pointer that is not NULL and not to be used. */
struct reader {
    const unsigned char *block;
    size_t at, end;
    bool build;
};

static xmlrpc_value *const good = (xmlrpc_value *) &names;

static bool
take_number(struct reader *r, uint64_t *n)
{
    *n = 0;
    for (unsigned shift = 0; shift < 64 && r->at < r->end; shift += 7) {
        unsigned char b = r->block[r->at++];
        *n |= (uint64_t) (b & 127) << shift;
        if (!(b & 128)) {
            return true;
        }
    }
    return false;
}

static int64_t
unzigzag(uint64_t n)
{
    return (int64_t) (n >> 1) ^ -(int64_t) (n & 1);
}

/* The text at r->at, referred to or not; steps over it.  NULL: it is none. */
static const char *
take_text(struct reader *r, bool may_refer)
{
    uint64_t n = 0;
    unsigned tag = r->at < r->end ? r->block[r->at++] : NIL;
    if (tag == AGAIN && may_refer) {
        size_t here = r->at - 1;
        struct reader there = { .block = r->block, .end = here };
        if (!take_number(r, &n) || n >= here) {
            return NULL;
        }
        there.at = (size_t) n;
        return take_text(&there, false);
    }
    if (tag >= SHORT_TEXT) {
        n = tag - SHORT_TEXT;
    } else if (tag != TEXT || !take_number(r, &n)) {
        return NULL;
    }
    const char *text = (const char *) r->block + r->at;
    if (r->end - r->at <= n || memchr(text, '\0', (size_t) n + 1) != text + n) {
        return NULL;
    }
    r->at += (size_t) n + 1;
    return text;
}

static const char *
take_name(struct reader *r)
{
    unsigned code = r->at < r->end ? r->block[r->at++] : N_NAMES;
    return code >= N_NAMES ? NULL : code ? names[code] : take_text(r, true);
}

static xmlrpc_value *
number(struct reader *r, unsigned tag)
{
    uint64_t n = 0;
    double d;
    if (tag == DOUBLE) {
        if (r->end - r->at < 8) {
            return NULL;
        }
        for (unsigned i = 0; i < 64; i += 8) {
            n |= (uint64_t) r->block[r->at++] << i;
        }
        memcpy(&d, &n, sizeof d);
        return !isfinite(d) ? NULL : r->build ? fs_double(d) : good;
    }
    if (!take_number(r, &n) || (tag == INT && (unzigzag(n) < INT32_MIN || unzigzag(n) > INT32_MAX))) {
        return NULL;
    }
    return !r->build ? good : tag == INT ? fs_int((int) unzigzag(n)) : fs_double((double) unzigzag(n));
}

static xmlrpc_value *
xml(struct reader *r)
{
    uint64_t n;
    xmlrpc_value *v = NULL;
    char *error = NULL;
    if (!take_number(r, &n) || n > r->end - r->at || fs_xmlrpc_decode_value((const char *) r->block + r->at, (size_t) n, &v, &error)) {
        free(error);
        return NULL;
    }
    r->at += (size_t) n;
    if (!r->build) {
        fs_free(v);
        v = good;
    }
    return v;
}

static xmlrpc_value *take(struct reader *, unsigned depth);

static uint32_t
length_at(const unsigned char *p)
{
    return (uint32_t) p[0] | (uint32_t) p[1] << 8 | (uint32_t) p[2] << 16 | (uint32_t) p[3] << 24;
}

static xmlrpc_value *
container(struct reader *r, bool strct, unsigned depth)
{
    uint64_t n = 0;
    if (r->end - r->at < 4 || length_at(r->block + r->at) > r->end - r->at - 4) {
        return NULL;
    }
    size_t end = r->at + 4 + length_at(r->block + r->at);
    r->at += 4;
    bool fine = take_number(r, &n);
    xmlrpc_value *v = !r->build ? NULL : strct ? fs_struct() : fs_array();
    for (; fine && n; n--) {
        const char *name = strct ? take_name(r) : "";
        xmlrpc_value *item = name ? take(r, depth + 1) : NULL;
        fine = item;
        if (item && r->build && strct) {
            fs_set(v, name, item);
        } else if (item && r->build) {
            fs_append(v, item);
        }
    }
    if (!fine || r->at != end) {
        fs_free(v);
        return NULL;
    }
    return r->build ? v : good;
}

/* The value at r->at; steps over it.  NULL: it is none. */
static xmlrpc_value *
take(struct reader *r, unsigned depth)
{
    unsigned tag = r->at < r->end && depth < DEEPEST ? r->block[r->at] : XML + 1;
    if (tag >= SHORT_TEXT || tag == TEXT || tag == AGAIN) {
        const char *text = take_text(r, true);
        return !text ? NULL : r->build ? fs_string(text) : good;
    }
    r->at++;
    if (tag >= SMALL_INT) {
        return r->build ? fs_int((int) tag - SMALL_INT) : good;
    }
    switch (tag) {
    case NIL:
        return r->build ? fs_nil() : good;
    case FALSE:
    case TRUE:
        return r->build ? fs_bool(tag == TRUE) : good;
    case INT:
    case WHOLE:
    case DOUBLE:
        return number(r, tag);
    case ARRAY:
    case STRUCT:
        return container(r, tag == STRUCT, depth);
    case NO_ITEMS:
        return r->build ? fs_array() : good;
    case NO_MEMBERS:
        return r->build ? fs_struct() : good;
    case XML:
        return xml(r);
    default:
        return NULL;
    }
}

static int
read_block(const void *block, size_t size, bool build, xmlrpc_value **value)
{
    struct reader r = { .block = block, .at = 1, .end = size, .build = build };
    *value = size && r.block[0] == MAGIC ? take(&r, 0) : NULL;
    if (*value && r.at != size) {
        if (build) {
            fs_free(*value);
        }
        *value = NULL;
    }
    return *value ? 0 : EINVAL;
}

int
fs_pack_check(const void *block, size_t size)
{
    xmlrpc_value *value;
    return read_block(block, size, false, &value);
}

int
fs_unpack(const void *block, size_t size, xmlrpc_value **value)
{
    return read_block(block, size, true, value);
}

/* --- Reading in place: of blocks that are known to be good --- */

struct fs_packed
fs_packed(const void *block, size_t size)
{
    return (struct fs_packed) { block, 1, size };
}

static uint64_t
number_at(const unsigned char *block, size_t *at)
{
    uint64_t n = 0;
    for (unsigned shift = 0;; shift += 7) {
        unsigned char b = block[(*at)++];
        n |= (uint64_t) (b & 127) << shift;
        if (!(b & 128)) {
            return n;
        }
    }
}

static size_t
after(const unsigned char *block, size_t at)
{
    unsigned tag = block[at++];
    uint64_t n;
    if (tag >= SHORT_TEXT) {
        return at + (tag - SHORT_TEXT) + 1;
    }
    switch (tag) {
    case INT:
    case WHOLE:
    case AGAIN:
        number_at(block, &at);
        return at;
    case DOUBLE:
        return at + 8;
    case TEXT:
        n = number_at(block, &at);
        return at + (size_t) n + 1;
    case XML:
        n = number_at(block, &at);
        return at + (size_t) n;
    case ARRAY:
    case STRUCT:
        return at + 4 + length_at(block + at);
    default:
        return at;
    }
}

static unsigned
tag_of(struct fs_packed p)
{
    return p.block ? p.block[p.at] : NIL;
}

/* How many there are, and where the first is. */
static size_t
open(struct fs_packed p, unsigned tag, size_t *at)
{
    *at = p.at + 5;
    return tag_of(p) == tag ? (size_t) number_at(p.block, at) : 0;
}

size_t
fs_packed_count(struct fs_packed p)
{
    size_t at;
    return tag_of(p) == ARRAY || tag_of(p) == STRUCT ? open(p, tag_of(p), &at) : 0;
}

struct fs_packed
fs_packed_get(struct fs_packed p, const char *key)
{
    size_t at;
    for (size_t left = open(p, STRUCT, &at); left; left--) {
        unsigned code = p.block[at++];
        const char *name = names[code];
        if (!code) {
            name = fs_packed_text((struct fs_packed) { p.block, at, p.size }, "");
            at = after(p.block, at);
        }
        if (!strcmp(name, key)) {
            return (struct fs_packed) { p.block, at, p.size };
        }
        at = after(p.block, at);
    }
    return (struct fs_packed) { 0 };
}

const char *
fs_packed_text(struct fs_packed p, const char *otherwise)
{
    unsigned tag = tag_of(p);
    if (tag == AGAIN) {
        size_t at = p.at + 1;
        return text_at(p.block, (size_t) number_at(p.block, &at));
    }
    return tag >= SHORT_TEXT || tag == TEXT ? text_at(p.block, p.at) : otherwise;
}

double
fs_packed_number(struct fs_packed p, double otherwise)
{
    unsigned tag = tag_of(p);
    if (tag >= SMALL_INT && tag < SHORT_TEXT) {
        return tag - SMALL_INT;
    }
    if (tag == INT || tag == WHOLE) {
        size_t at = p.at + 1;
        return (double) unzigzag(number_at(p.block, &at));
    }
    if (!p.block || tag < INT || tag == ARRAY || tag == STRUCT) {
        return otherwise;
    }
    xmlrpc_value *v = fs_packed_value(p); /* a text may be a number too */
    double d = fs_number(v, otherwise);
    fs_free(v);
    return d;
}

const char *
fs_packed_get_string(struct fs_packed p, const char *key, const char *otherwise)
{
    return fs_packed_text(fs_packed_get(p, key), otherwise);
}

double
fs_packed_get_double(struct fs_packed p, const char *key, double otherwise)
{
    return fs_packed_number(fs_packed_get(p, key), otherwise);
}

int
fs_packed_get_int(struct fs_packed p, const char *key, int otherwise)
{
    double d = fs_packed_get_double(p, key, otherwise);
    return d >= INT32_MIN && d <= INT32_MAX && d == floor(d) ? (int) d : otherwise;
}

bool
fs_packed_get_bool(struct fs_packed p, const char *key, bool otherwise)
{
    unsigned tag = tag_of(fs_packed_get(p, key));
    return tag == TRUE || (tag != FALSE && otherwise);
}

xmlrpc_value *
fs_packed_value(struct fs_packed p)
{
    struct reader r = { .block = p.block, .at = p.at, .end = p.size, .build = true };
    return p.block ? take(&r, 0) : fs_nil();
}

struct fs_packed_items
fs_packed_items(struct fs_packed p)
{
    struct fs_packed_items i = { .next = p };
    i.left = open(p, ARRAY, &i.next.at);
    return i;
}

bool
fs_packed_next(struct fs_packed_items *i, struct fs_packed *item)
{
    if (!i->left) {
        return false;
    }
    *item = i->next;
    i->next.at = --i->left ? after(i->next.block, i->next.at) : 0;
    return true;
}

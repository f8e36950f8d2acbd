/* Unit tests of the parts of the core that need no daemon: values, the XML-RPC decoder and encoder, the store, the gate for loadable
 * objects, metrics and the log's levels. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <flowstream/log.h>

#include "core/elf.h"
#include "core/metrics.h"
#include "core/pack.h"
#include "core/store.h"
#include "core/util.h"
#include "core/xmlrpc.h"

static int n_tests, n_failed;
static char folder[] = "/tmp/flowstream-core-XXXXXX";

static void
ok(bool good, const char *name, const char *detail)
{
    n_failed += !good;
    printf("%s %d - %s\n", good ? "ok" : "not ok", ++n_tests, name);
    if (!good && detail) {
        printf("# %s\n", detail);
    }
}

/* --- Decoder --- */

/* 'refused': part of the message, or NULL: the value encodes to 'becomes' (NULL: to what it was). */
struct example {
    const char *name, *text, *becomes, *refused;
};

static const struct example values[] = {
    { "int", "<value><int>-2147483648</int></value>", "<value><i4>-2147483648</i4></value>", NULL },
    { "i4 of one too many", "<value><i4>2147483648</i4></value>", NULL, "no 32-bit integer" },
    { "int with letters", "<value><i4>12a</i4></value>", NULL, "'12a' is no 32-bit integer" },
    { "empty int", "<value><i4></i4></value>", NULL, "no 32-bit integer" },
    { "int with blanks", "<value><i4> 1</i4></value>", NULL, "no 32-bit integer" },
    { "least i8", "<value><i8>-9223372036854775808</i8></value>", NULL, NULL },
    { "greatest i8", "<value><i8>9223372036854775807</i8></value>", NULL, NULL },
    { "i8 of one too many", "<value><i8>9223372036854775808</i8></value>", NULL, "no 64-bit integer" },
    { "i8 that is no number", "<value><i8>abc</i8></value>", NULL, "no 64-bit integer" },
    { "double of 16 digits", "<value><double>4090432002557662</double></value>", NULL, NULL },
    { "double of 17 digits", "<value><double>0.10000000000000002</double></value>", NULL, NULL },
    { "small double", "<value><double>1.5e-9</double></value>", "<value><double>0.0000000015</double></value>", NULL },
    { "large double", "<value><double>-1e21</double></value>", "<value><double>-1000000000000000000000</double></value>", NULL },
    { "nan", "<value><double>nan</double></value>", NULL, "no finite decimal number" },
    { "inf", "<value><double>-inf</double></value>", NULL, "no finite decimal number" },
    { "1e999", "<value><double>1e999</double></value>", NULL, "no finite decimal number" },
    { "hexadecimal double", "<value><double>0x1p3</double></value>", NULL, "no finite decimal number" },
    { "lone point", "<value><double>.</double></value>", NULL, "no finite decimal number" },
    { "exponent without digits", "<value><double>1e</double></value>", NULL, "no finite decimal number" },
    { "double", "<value><double>-.5e1</double></value>", "<value><double>-5", NULL },
    { "boolean", "<value><boolean>1</boolean></value>", NULL, NULL },
    { "boolean of a word", "<value><boolean>true</boolean></value>", NULL, "no boolean" },
    { "string without type", "<value>a &amp; b</value>", "<value><string>a &amp; b</string></value>", NULL },
    { "empty value", "<value/>", "<value><string></string></value>", NULL },
    { "CDATA", "<value><string><![CDATA[<x>]]></string></value>", "<value><string>&lt;x&gt;</string></value>", NULL },
    { "carriage return", "<value><string>a&#13;&#10;b</string></value>", "<value><string>a&#x0d;\nb</string></value>", NULL },
    { "beyond the first plane", "<value><string>&#x1f600;</string></value>", "<value><string>\xef\xbf\xbd</string></value>", NULL },
    { "NUL by reference", "<value><string>&#0;</string></value>", NULL, "reference to invalid character" },
    { "control character", "<value><string>&#1;</string></value>", NULL, "reference to invalid character" },
    { "no UTF-8", "<value>\xff</value>", NULL, "invalid token" },
    { "surrogate in UTF-8", "<value>\xed\xa0\x80</value>", NULL, "invalid token" },
    { "unknown entity", "<value>&x;</value>", NULL, "undefined entity" },
    { "DOCTYPE", "<!DOCTYPE value><value/>", NULL, "document type is not allowed" },
    { "entities", "<!DOCTYPE value [<!ENTITY x \"y\">]><value>&x;</value>", NULL, "document type is not allowed" },
    { "external entity", "<!DOCTYPE value SYSTEM \"file:///etc/passwd\"><value/>", NULL, "document type is not allowed" },
    { "processing instruction", "<?x y?><value/>", NULL, "processing instruction" },
    { "declared UTF-8", "<?xml version=\"1.0\" encoding=\"utf-8\"?><value>x</value>", "<value><string>x</string></value>", NULL },
    { "declared Latin-1", "<?xml version=\"1.0\" encoding=\"iso-8859-1\"?><value/>", NULL, "only UTF-8" },
    { "nil", "<value><nil/></value>", "<value><nil/></value>", NULL },
    { "ex:nil", "<value><ex:nil xmlns:ex=\"http://x\"/></value>", "<value><nil/></value>", NULL },
    { "nil with text", "<value><nil>x</nil></value>", NULL, "text inside <nil/>" },
    { "attribute", "<value a=\"b\"/>", NULL, "attribute a" },
    { "unknown type", "<value><float>1</float></value>", NULL, "<float> may not stand here" },
    { "two types", "<value><i4>1</i4><i4>2</i4></value>", NULL, "<i4> may not stand here" },
    { "text beside a type", "<value>x<i4>1</i4></value>", NULL, "text before <i4>" },
    { "text behind a type", "<value><i4>1</i4>x</value>", NULL, "text before </value>" },
    { "base64", "<value><base64>AP8=\n</base64></value>", "<value><base64>\r\nAP8=\r\n</base64></value>", NULL },
    { "empty base64", "<value><base64></base64></value>", NULL, NULL },
    { "base64 cut short", "<value><base64>AP8</base64></value>", NULL, "is cut short" },
    { "base64 of one digit", "<value><base64>A===</base64></value>", NULL, "is cut short" },
    { "base64 behind the pad", "<value><base64>AA==AAAA</base64></value>", NULL, "not base64" },
    { "base64 of other letters", "<value><base64>A-_A</base64></value>", NULL, "not base64" },
    { "date", "<value><dateTime.iso8601>19980717T14:08:55</dateTime.iso8601></value>", NULL, NULL },
    { "date of 13 months", "<value><dateTime.iso8601>19981317T14:08:55</dateTime.iso8601></value>", NULL, "no date and time" },
    { "date in words", "<value><dateTime.iso8601>yesterday</dateTime.iso8601></value>", NULL, "no date and time" },
    { "array without data", "<value><array></array></value>", NULL, "without <data>" },
    { "empty array", "<value><array><data/></array></value>", NULL, NULL },
    { "duplicate member",
      "<value><struct><member><name>a</name><value/></member><member><name>a</name><value/></member></struct></value>", NULL,
      "'a' stands twice" },
    { "member without value", "<value><struct><member><name>a</name></member></struct></value>", NULL, "needs a name and a value" },
    { "member without name", "<value><struct><member><value/></member></struct></value>", NULL, "<value> may not stand here" },
    { "value before name", "<value><struct><member><value/><name>a</name></member></struct></value>", NULL, "may not stand here" },
    { "cut short", "<value><struct><member><name>a</name>", NULL, "no element found" },
    { "nothing", "", NULL, "no element found" },
    { "two documents", "<value/><value/>", NULL, "junk after document element" },
    { "another document", "<methodCall/>", NULL, "<methodCall> may not stand here" },
};

static void
check_value(const struct example *x)
{
    xmlrpc_value *v = NULL;
    char *error = NULL, *text = NULL;
    size_t n;
    int e = fs_xmlrpc_decode_value(x->text, strlen(x->text), &v, &error);
    char *name = fs_xasprintf("value: %s", x->name);
    if (x->refused) {
        ok(e == EINVAL && strstr(error, x->refused), name, error);
    } else if (e) {
        ok(false, name, error);
    } else {
        text = fs_xmlrpc_encode_value(v, &n);
        xmlrpc_value *again = NULL;
        char *again_text = NULL;
        bool good = !x->becomes || !strncmp(text, x->becomes, strlen(x->becomes));
        good = good && !fs_xmlrpc_decode_value(text, n, &again, &error);
        again_text = good ? fs_xmlrpc_encode_value(again, &n) : NULL;
        ok(good && !strcmp(text, again_text), name, text);
        fs_free(again);
        free(again_text);
    }
    free(name);
    free(text);
    free(error);
    fs_free(v);
}

/* The document of 'depth' arrays in each other. */
static char *
nested(unsigned depth)
{
    struct fs_text t = { 0 };
    for (unsigned i = 0; i < depth; i++) {
        fs_text_addf(&t, "<value><array><data>");
    }
    for (unsigned i = 0; i < depth; i++) {
        fs_text_addf(&t, "</data></array></value>");
    }
    return t.text;
}

static char *
wide_struct(unsigned members)
{
    struct fs_text t = { 0 };
    fs_text_addf(&t, "<value><struct>");
    for (unsigned i = 0; i < members; i++) {
        fs_text_addf(&t, "<member><name>%u</name><value/></member>", i);
    }
    fs_text_addf(&t, "</struct></value>");
    return t.text;
}

static void
check_made(const char *name, char *text /* taken */, const char *refused)
{
    check_value(&(struct example) { .name = name, .text = text, .refused = refused });
    free(text);
}

static void
test_limits(void)
{
    check_made("32 arrays inside each other", nested(FS_XML_MAX_DEPTH), NULL);
    check_made("33 arrays inside each other", nested(FS_XML_MAX_DEPTH + 1), "more than 32 arrays");
    check_made("4,096 members", wide_struct(FS_XML_MAX_MEMBERS), NULL);
    check_made("4,097 members", wide_struct(FS_XML_MAX_MEMBERS + 1), "more than 4096 members");
    char name[FS_XML_MAX_NAME + 2];
    memset(name, 'n', sizeof name);
    check_made("member name of 257 bytes",
               fs_xasprintf("<value><struct><member><name>%.257s</name><value/></member></struct></value>", name), "name of 257 bytes");
    static const char utf16[] = "\xff\xfe<\0v\0a\0l\0u\0e\0/\0>\0";
    char *error = NULL;
    xmlrpc_value *v;
    ok(fs_xmlrpc_decode_value(utf16, sizeof utf16 - 1, &v, &error) == EINVAL, "value: UTF-16", error);
    free(error);
    ok(fs_xmlrpc_decode_value("<value>a\0b</value>", 18, &v, &error) == EINVAL, "value: NUL byte", error);
    free(error);
}

static void
test_documents(void)
{
    static const char good[] = "<?xml version='1.0'?>\n<methodCall> <methodName>a.b</methodName>\n<params><param><value>x</value></param>"
                               "</params></methodCall>\n";
    char *method = NULL, *error = NULL;
    xmlrpc_value *v = NULL;
    int fault = -1;
    bool same = !fs_xmlrpc_decode_call(good, strlen(good), &method, &v, &error) && !strcmp(method, "a.b") && fs_size(v) == 1
                && !strcmp(fs_text(fs_item(v, 0), ""), "x");
    ok(same, "a call", error);
    free(method);
    fs_free(v);
    static const char *const bad_calls[] = {
        "<methodCall/>", "<methodCall><params/></methodCall>", "<methodCall><methodName/></methodCall>",
        "<methodCall><methodName>a</methodName><methodName>b</methodName></methodCall>", "<methodResponse/>", "GET / HTTP/1.0",
        "<methodCall><methodName>a</methodName><params><param></param></params></methodCall>",
    };
    for (size_t i = 0; i < sizeof bad_calls / sizeof *bad_calls; i++) {
        int e = fs_xmlrpc_decode_call(bad_calls[i], strlen(bad_calls[i]), &method, &v, &error);
        ok(e == EINVAL, "a call that is none", bad_calls[i]);
        free(error);
    }
    size_t n;
    char *text = fs_xmlrpc_encode_fault(-7, "bad \x01\xff", &n);
    ok(!fs_xmlrpc_decode_response(text, n, &v, &fault, &error) && fault == -7 && !strcmp(fs_text(v, ""), "bad ??"),
       "a fault goes there and back", text);
    fs_free(v);
    free(text);
    xmlrpc_value *answer = fs_set(fs_struct(), "k\x80", fs_double(NAN));
    text = fs_xmlrpc_encode_response(answer, &n);
    ok(!fs_xmlrpc_decode_response(text, n, &v, &fault, &error) && !fault && fs_get_double(v, "k?", 9) == 0,
       "a key that is no text and nan can be encoded", text);
    fs_free(v);
    fs_free(answer);
    free(text);
    static const char two[] = "<methodResponse><params><param><value/></param><param><value/></param></params></methodResponse>";
    ok(fs_xmlrpc_decode_response(two, strlen(two), &v, &fault, &error) == EINVAL, "an answer of two values", NULL);
    free(error);
}

/* --- Values --- */

static void
test_values(void)
{
    xmlrpc_value *v = fs_set(fs_set(fs_set(fs_struct(), "i", fs_int(5)), "s", fs_string("12")), "b", fs_bool(true));
    ok(fs_get_int(v, "i", 0) == 5 && fs_get_int(v, "s", 0) == 12 && fs_get_int(v, "none", 7) == 7 && fs_get_bool(v, "b", false),
       "members by name", NULL);
    ok(!fs_get(NULL, "i") && !fs_get(fs_get(v, "i"), "i") && fs_size(NULL) == 0 && !fs_item(v, 0), "readers take NULL and other types",
       NULL);
    fs_set(v, "i", fs_double(1e10));
    ok(fs_get_int(v, "i", 3) == 3 && fs_size(v) == 3, "a number that is too large for an int", NULL);
    xmlrpc_value *copy = fs_copy(v);
    fs_free(v);
    ok(fs_get_double(copy, "i", 0) == 1e10, "a copy lives longer than the original", NULL);
    fs_free(copy);
    v = fs_string("a\x01 \xc0\xaf \xf5 \xe2\x82");
    ok(!strcmp(fs_text(v, ""), "a? ?? ? ??"), "text that XML cannot carry", fs_text(v, ""));
    fs_free(v);
    struct fs_reply r = { 0 };
    fs_reply_fail(&r, "first");
    fs_reply_fail(&r, "%s, second", r.message);
    v = fs_reply_value(&r);
    ok(fs_get_int(v, "code", 0) == 1 && !strcmp(fs_get_string(v, "message", ""), "first, second") && !fs_size(fs_get(v, "value")),
       "a ReturnValue", NULL);
    fs_free(v);
    fs_reply_clear(&r);
}

/* --- Store --- */

static void
count(void *aux, const char *name, xmlrpc_value *v)
{
    struct fs_text *t = aux;
    fs_text_addf(t, "%s=%d ", name, fs_get_int(v, "n", -1));
    fs_free(v);
}

static char *
listing(struct fs_store *s, const char *kind)
{
    struct fs_text t = { 0 };
    char *error = NULL;
    fs_text_addf(&t, "%s", "");
    if (fs_store_read(s, kind, count, &t, &error)) {
        fs_text_addf(&t, "%s", error);
        free(error);
    }
    return t.text;
}

static void
ok_listing(struct fs_store *s, const char *expected, const char *name)
{
    char *got = listing(s, "k");
    ok(!strcmp(got, expected), name, got);
    free(got);
}

/* Opens, which must fail with a message that has 'words' in it. */
static void
ok_refused(const char *path, const char *words, const char *name)
{
    struct fs_store *s = NULL;
    char *error = NULL;
    int e = fs_store_open(path, &s, &error);
    ok(e && strstr(error, path) && strstr(error, words), name, error ? error : "it was opened");
    free(error);
    if (!e) {
        fs_store_close(s);
    }
}

static void
put(const char *path, const void *bytes, size_t n)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, bytes, n) != (ssize_t) n) {
        perror(path);
        exit(1);
    }
    close(fd);
}

static void
test_store(void)
{
    char *path = fs_xasprintf("%s/store", folder), *error = NULL;
    struct fs_store *s = NULL;
    ok(!fs_store_open(path, &s, &error), "open a new store", error);
    xmlrpc_value *one = fs_set(fs_struct(), "n", fs_int(1)), *two = fs_set(fs_struct(), "n", fs_int(2));
    struct fs_record changes[] = { { "k", "b", two }, { "k", "a", one }, { "other", "a", two }, { "k", "gone", NULL } };
    ok(!fs_store_write(s, changes, 4, &error), "write several", error);
    ok_listing(s, "a=1 b=2 ", "they are read back in order of their names");
    fs_store_close(s);
    ok(!fs_store_open(path, &s, &error), "open it again", error);
    struct fs_record more[] = { { "k", "a", NULL }, { "k", "b", one } };
    ok(!fs_store_write(s, more, 2, &error), "delete one, replace one", error);
    ok_listing(s, "b=1 ", "what is left");
    fs_store_close(s);
    fs_free(one);
    fs_free(two);
    char *damaged = fs_xasprintf("%s/damaged", folder), *nowhere = fs_xasprintf("%s/no/such/store", folder);
    char junk[8192];
    memset(junk, 'x', sizeof junk);
    put(damaged, junk, sizeof junk);
    ok_refused(damaged, "damaged: restore a copy", "a file that is no store");
    ok_refused(nowhere, "does the folder exist", "a folder that is not there");
    free(path);
    free(damaged);
    free(nowhere);
}

/* In a child with a mount name space of its own: a file system of 256 kB that fills, then one that is read-only.  The exit status tells. */
static int
full_disk(void)
{
    char *path = fs_xasprintf("%s/store", folder), *error = NULL, big[60000];
    struct fs_store *s = NULL;
    if (unshare(CLONE_NEWNS) || mount("none", "/", "", MS_REC | MS_PRIVATE, "") || mount("none", folder, "tmpfs", 0, "size=256k")) {
        return 77;
    }
    if (fs_store_open(path, &s, &error)) {
        return 1;
    }
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    int e = 0, written = 0;
    for (; !e && written < 10; written++) {
        char name[8];
        snprintf(name, sizeof name, "%d", written);
        xmlrpc_value *v = fs_set(fs_set(fs_struct(), "n", fs_int(written)), "big", fs_string(big));
        e = fs_store_write(s, &(struct fs_record) { "k", name, v }, 1, &error);
        fs_free(v);
    }
    if (!e || !strstr(error, "disk full?")) {
        printf("# %s\n", error ? error : "the disk was never full");
        return 2;
    }
    free(error);
    char *got = listing(s, "k");
    size_t n = 0;
    for (char *p = got; *p; p++) {
        n += *p == '=';
    }
    if (n != (size_t) written - 1) {
        printf("# %s\n", got);
        return 3;
    }
    free(got);
    error = NULL;
    if (fs_store_write(s, &(struct fs_record) { "k", "0", NULL }, 1, &error)) {
        free(error);
    }
    fs_store_close(s);
    if (mount("none", folder, "tmpfs", MS_REMOUNT | MS_RDONLY, "")) {
        return 77;
    }
    error = NULL;
    e = fs_store_open(path, &s, &error);
    if (!e || !strstr(error, "may this user write")) {
        printf("# %s\n", error ? error : "opened a store that is read-only");
        return 4;
    }
    free(error);
    free(path);
    return 0;
}

static void
test_full_disk(void)
{
    fflush(stdout);
    pid_t pid = fork();
    if (!pid) {
        int status = full_disk();
        fflush(stdout);
        _exit(status);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
        printf("ok %d - full and read-only disk # SKIP no mount name space\n", ++n_tests);
        return;
    }
    ok(status == 0, "full disk: an error, nothing half written; read-only disk: an error", "the number of the step is the exit status");
}

/* --- Gate for loadable objects --- */

static void
test_elf(const char *library)
{
    char *bytes = NULL;
    size_t size;
    if (fs_read_file(AT_FDCWD, library, 64 << 20, false, &bytes, &size)) {
        ok(false, "the object to try", library);
        return;
    }
    char *why = fs_elf_check(bytes, size);
    ok(!why || strstr(why, "search path"), "a shared object passes", why);
    free(why);
    size_t passed = 0;
    for (size_t n = 0; n < size; n += 64) {
        char *part = fs_xmalloc(n); /* exactly as long, so that reading past its end is seen */
        memcpy(part, bytes, n);
        why = fs_elf_check(part, n);
        passed += !why;
        free(why);
        free(part);
    }
    ok(passed == 0, "cut short at each 64th byte it is refused", NULL);
    static const struct {
        size_t offset;
        char byte;
        const char *says;
    } changes[] = { { 0, 0, "no ELF file" }, { 4, 1, "64-bit" }, { 16, 2, "no shared object" }, { 18, 3, "another machine" },
                    { 54, 1, "program headers" }, { 39, 0x7f, "program headers" } };
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        char before = bytes[changes[i].offset];
        bytes[changes[i].offset] = changes[i].byte;
        why = fs_elf_check(bytes, size);
        ok(why && strstr(why, changes[i].says), changes[i].says, why);
        free(why);
        bytes[changes[i].offset] = before;
    }
    free(bytes);
}

/* --- Metrics and log --- */

static void
test_metrics(void)
{
    xmlrpc_value *list = fs_append(fs_append(fs_array(), fs_int(1)), fs_int(2));
    xmlrpc_value *item = fs_set(fs_set(fs_struct(), "daemon", fs_string("a\"b\n")), "n-1", fs_int(3));
    xmlrpc_value *v = fs_set(fs_set(fs_struct(), "list", list), "items", fs_append(fs_array(), item));
    char *text = fs_metrics_text("pm", v);
    ok(strstr(text, "flowstream_list{daemon=\"pm\",item=\"1\"} 2\n") != NULL, "items of an array differ by a label", text);
    ok(strstr(text, "flowstream_items_n_1{daemon=\"pm\",_daemon=\"a\\\"b\\n\"} 3\n") != NULL, "names and labels that are allowed", text);
    free(text);
    fs_free(v);
}

/* What the packed form must hold exactly, seen through the XML of it. */
static bool
is_packed_same(const xmlrpc_value *v)
{
    size_t size, sizes[2];
    xmlrpc_value *back = NULL, *in_place;
    unsigned char *block = fs_pack(v, &size);
    bool same = !fs_pack_check(block, size) && !fs_unpack(block, size, &back);
    if (same) {
        in_place = fs_packed_value(fs_packed(block, size));
        char *a = fs_xmlrpc_encode_value(v, &sizes[0]), *b = fs_xmlrpc_encode_value(back, &sizes[1]), *c = fs_xmlrpc_encode_value(in_place, &sizes[1]);
        same = !strcmp(a, b) && !strcmp(a, c);
        free(a);
        free(b);
        free(c);
        fs_free(in_place);
    }
    fs_free(back);
    free(block);
    return same;
}

static xmlrpc_value *
something_of_all(void)
{
    static const double numbers[] = { 0, -0.0, 1, -1, 0.1, 1e300, -9e15, 9007199254740993.0, 4e-320 };
    static const int ints[] = { 0, 1, 63, 64, -1, INT32_MIN, INT32_MAX };
    xmlrpc_value *list = fs_array(), *v = fs_struct();
    char big[300];
    memset(big, 'b', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        fs_append(list, fs_double(numbers[i]));
    }
    for (size_t i = 0; i < sizeof ints / sizeof *ints; i++) {
        fs_append(list, fs_int(ints[i]));
    }
    fs_append(fs_append(fs_append(list, fs_nil()), fs_bool(true)), fs_bool(false));
    for (int i = 0; i < 600; i++) { /* more texts than are remembered */
        fs_append(fs_append(list, fs_stringf("text %d", i)), fs_stringf("text %d", i / 2));
    }
    for (size_t i = 126; i < 130; i++) {
        fs_append(list, fs_string(big + sizeof big - 1 - i));
    }
    fs_append(fs_append(list, fs_string("")), fs_string("\xc3\xa4<>&\r\n"));
    xmlrpc_env env;
    xmlrpc_env_init(&env);
    fs_append(list, xmlrpc_base64_new(&env, 4, (const unsigned char *) "\0abc"));
    fs_append(list, xmlrpc_i8_new(&env, 1LL << 60));
    xmlrpc_env_clean(&env);
    fs_set(fs_set(fs_set(v, "name", fs_string("text 7")), "text 7", fs_array()), "", fs_struct());
    return fs_set(fs_set(v, "nodes", list), "cpu", fs_double(0.25));
}

/* Every prefix and every changed byte is refused or is a value; nothing outside is read, which the sanitizers see. */
static bool
damage_is_harmless(const xmlrpc_value *v, size_t *refused)
{
    size_t size;
    unsigned char *block = fs_pack(v, &size);
    bool good = true;
    *refused = 0;
    for (size_t n = 0; n < size; n++) {
        unsigned char *cut = fs_xmalloc(n + 1);
        memcpy(cut, block, n);
        good = good && fs_pack_check(cut, n);
        free(cut);
        for (unsigned change = 1; change < 256; change = change * 2 + 1) {
            xmlrpc_value *other = NULL;
            block[n] ^= (unsigned char) change;
            bool fine = !fs_unpack(block, size, &other);
            good = good && fine == !fs_pack_check(block, size);
            *refused += !fine;
            fs_free(other);
            block[n] ^= (unsigned char) change;
        }
    }
    free(block);
    return good;
}

static void
test_packed(void)
{
    xmlrpc_value *all = something_of_all(), *one = fs_set(fs_set(fs_struct(), "rules", fs_append(fs_array(), fs_string("actions=drop"))), "other", fs_string("actions=drop"));
    size_t size, refused;
    ok(is_packed_same(all) && is_packed_same(one), "a packed value is the same value", NULL);
    unsigned char *block = fs_pack(all, &size);
    struct fs_packed doc = fs_packed(block, size), item = { 0 };
    struct fs_packed_items items = fs_packed_items(fs_packed_get(doc, "nodes"));
    double sum = 0, wanted = 0;
    size_t n = 0;
    for (; fs_packed_next(&items, &item); n++) {
        const xmlrpc_value *v = fs_item(fs_get(all, "nodes"), n);
        sum += fs_packed_number(item, -7) != fs_number(v, -7) || strcmp(fs_packed_text(item, "none"), fs_text(v, "none"));
    }
    ok(sum == wanted && n == fs_size(fs_get(all, "nodes")) && n == fs_packed_count(fs_packed_get(doc, "nodes")), "each item is read in place as from the tree", NULL);
    ok(!strcmp(fs_packed_get_string(doc, "name", ""), "text 7") && fs_packed_get_double(doc, "cpu", 0) == 0.25 && fs_packed_get_int(doc, "cpu", -1) == -1
           && !fs_packed_get(doc, "none").block && !fs_packed_count(fs_packed_get(doc, "name")) && !fs_packed_get(fs_packed_get(doc, "name"), "x").block, "members, and what there is not", NULL);
    free(block);
    ok(damage_is_harmless(one, &refused) && refused > 100, "a damaged block is refused, or is another value", NULL);
    fs_free(one);
    fs_free(all);
}

static size_t
in_use(void)
{
    struct mallinfo2 m = mallinfo2();
    return m.uordblks + m.hblkhd;
}

/* Some thousand copies of a value: what malloc says that they take, and what fs_weight() does. */
static void
check_weight(const char *name, xmlrpc_value *one)
{
    enum { COPIES = 2000 };
    static xmlrpc_value *copies[COPIES];
    size_t before = in_use(), weight = fs_weight(one) * COPIES;
    for (size_t i = 0; i < COPIES; i++) {
        copies[i] = fs_copy(one);
    }
    size_t real = in_use() - before;
    char *detail = fs_xasprintf("it takes %zu and weighs %zu", real / COPIES, weight / COPIES);
    ok(real < weight + weight / 32 && real > weight - weight / 32, name, detail);
    free(detail);
    for (size_t i = 0; i < COPIES; i++) {
        fs_free(copies[i]);
    }
    fs_free(one);
}

static void
test_weight(void)
{
    if (!in_use()) {
        printf("ok %d - the weight of values # SKIP another malloc, that of a sanitizer\n", ++n_tests);
        return;
    }
    xmlrpc_value *numbers = fs_array(), *members = fs_struct();
    for (int i = 0; i < 37; i++) {
        char name[16];
        snprintf(name, sizeof name, "member%d", i);
        fs_append(numbers, fs_int(i));
        fs_set(members, name, fs_double(i));
    }
    char *text = fs_xcalloc(1, 1000);
    memset(text, 'x', 999);
    check_weight("the weight of a number", fs_int(1));
    check_weight("of a short text", fs_string("short"));
    check_weight("of a long text", fs_string(text));
    check_weight("of nothing", fs_array());
    check_weight("of 37 numbers", numbers);
    check_weight("of 37 members", members);
    check_weight("of something of all", something_of_all());
    free(text);
}

static void
test_log(void)
{
    ok(!fs_log_set_level("", "loud") && fs_log_set_level("rpc", "debug") && fs_log_set_level("", "error"), "levels", NULL);
    ok(!fs_log_set_level("a-name-of-more-than-thirty-one-bytes", "info") && !fs_log_set_level("\xc3\xa4", "info"), "names of modules", NULL);
    xmlrpc_value *v = fs_log_levels();
    ok(!strcmp(fs_get_string(v, "rpc", ""), "debug") && !strcmp(fs_get_string(v, "", ""), "error"), "all levels", NULL);
    fs_free(v);
}

int
main(void)
{
    if (!mkdtemp(folder)) {
        perror(folder);
        return 1;
    }
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        check_value(&values[i]);
    }
    test_limits();
    test_documents();
    test_values();
    test_store();
    test_full_disk();
    test_elf("lib/libflowstream-core.so");
    test_metrics();
    test_packed();
    test_weight();
    test_log();
    char *command = fs_xasprintf("rm -rf '%s'", folder);
    n_failed += system(command) != 0;
    free(command);
    printf("1..%d\n", n_tests);
    return n_failed ? 1 : 0;
}

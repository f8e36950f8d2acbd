/* Unit tests of libflowstream-lang beyond what the cases in tests/lang show: the model, the callbacks, the limits,
 * speed, and what happens when memory runs out at each allocation.  For the last, this program puts its own calloc()
 * and realloc() before the C library's. */
#include "config.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "flowstream/lang.h"

static int n_tests, n_failed;
static volatile long allocations_left = -1; /* -1: as many as the machine has; volatile: a compiler knows that calloc() reads no globals */

static bool
allocation_fails(void)
{
    if (allocations_left < 0) {
        return false;
    }
    if (allocations_left > 0) {
        allocations_left = allocations_left - 1;
        return false;
    }
    return true;
}

__attribute__((visibility("default"))) void *
calloc(size_t n, size_t size)
{
    static void *(*real)(size_t, size_t);
    if (!real) {
        void *symbol = dlsym(RTLD_NEXT, "calloc");
        memcpy(&real, &symbol, sizeof real);
    }
    return allocation_fails() ? NULL : real(n, size);
}

__attribute__((visibility("default"))) void *
realloc(void *old, size_t size)
{
    static void *(*real)(void *, size_t);
    if (!real) {
        void *symbol = dlsym(RTLD_NEXT, "realloc");
        memcpy(&real, &symbol, sizeof real);
    }
    return allocation_fails() ? NULL : real(old, size);
}

static void
ok(bool good, const char *name)
{
    n_failed += !good;
    printf("%s %d - %s\n", good ? "ok" : "not ok", ++n_tests, name);
}

static const struct fs_lang_type types[] = {
    { "Counter", 1, 1, 1, 1, NULL, 0 },
    { "Mirror", 1, 1, 1, UINT32_MAX, NULL, 0 },
    { "Sink", 1, 1, 0, 0, NULL, 0 },
};
static const char *const ports[] = { "net0", "net1", "tun1" };

/* Refuse a match at its first '!'. */
static char *
check_match(void *aux, const char *match, size_t *offset)
{
    *(int *) aux += 1;
    const char *bad = strchr(match, '!');
    *offset = bad ? (size_t) (bad - match) : 0;
    return bad ? strdup("no '!' here") : NULL;
}

static char *
check_args(void *aux, const char *type, const char *args, uint32_t n_outputs)
{
    *(int *) aux += 1;
    return !strcmp(type, "Mirror") && n_outputs != 2 ? strdup(args) : NULL;
}

static int calls;
static const struct fs_lang_env environment = { .types = types,
                                                .n_types = 3,
                                                .check_match = check_match,
                                                .check_args = check_args,
                                                .aux = &calls,
                                                .ports = ports,
                                                .n_ports = 3 };

static const char good_text[] = "NAME=x\n"
                                "f :: FromNet(\"ip,in_port=net0\")\n"
                                "m :: Mirror\n"
                                "f -> m -> ToNet(\"net1|tun1\"); m[1] -> Counter(\"a\\\"\") -> Sink() // end\n";

static void
test_model(void)
{
    struct fs_request *request;
    struct fs_diagnostics *diagnostics;
    calls = 0;
    int error = fs_lang_check(good_text, strlen(good_text), "good", &environment, &request, &diagnostics);
    ok(!error && request && fs_diagnostics_count(diagnostics) == 0, "a good request has no diagnostics");
    ok(calls == 4, "each match and argument is checked once");
    const struct fs_request_node *from = fs_request_node(request, "f"), *to = fs_request_node(request, "ToNet@1");
    const struct fs_request_node *counter = fs_request_node(request, "Counter@1");
    ok(from && from->kind == FS_NODE_FROM_NET && !strcmp(from->in_port, "net0") &&
           !strcmp(from->match, "ip,in_port=net0"),
       "a FromNet");
    ok(to && to->kind == FS_NODE_TO_NET && to->n_ports == 2 && !strcmp(to->ports[1], "tun1") && to->line == 4 &&
           to->column == 11,
       "a ToNet");
    ok(counter && !strcmp(counter->args, "a\"") && counter->n_inputs == 1 && counter->n_outputs == 1,
       "an unnamed module");
    ok(!fs_request_node(request, "g") && !fs_request_header(request, "BASESYS") &&
           !strcmp(fs_request_header(request, "NAME"), "x"),
       "looking things up");
    ok(request->n_links == 4 && request->links[2].from_port == 1 && request->links[2].line == 4, "links");
    fs_request_destroy(request);
    fs_diagnostics_destroy(diagnostics);
    fs_request_destroy(NULL);
    fs_diagnostics_destroy(NULL);
}

/* What is said first of 'text' in the surroundings above with 'limits'. */
static void
expect(const char *name, const char *text, struct fs_lang_limits limits, uint32_t line, uint32_t column,
       uint32_t length, const char *message, const char *suggestion)
{
    struct fs_lang_env env = environment;
    struct fs_request *request;
    struct fs_diagnostics *diagnostics;
    env.limits = limits;
    int error = fs_lang_check(text, strlen(text), "bad", &env, &request, &diagnostics);
    const struct fs_diagnostic *first = error == EINVAL && !request ? fs_diagnostics_get(diagnostics, 0) : NULL;
    bool good = first && first->line == line && first->column == column && first->length == length &&
                strstr(first->message, message) &&
                (suggestion ? first->suggestion && !strcmp(first->suggestion, suggestion) : !first->suggestion);
    ok(good, name);
    if (!good && first) {
        printf("# %u:%u+%u %s\n", first->line, first->column, first->length, first->message);
    }
    fs_diagnostics_destroy(diagnostics);
    fs_request_destroy(request);
}

static void
test_errors(void)
{
    const struct fs_lang_limits none = { .text = 0 };
    expect("the place of a bad match, over escapes and continued lines",
           "f :: FromNet(\"i\\\\p,\\\n  x!y,z\") -> Sink()", none, 2, 4, 2, "bad match of 'f': no '!' here", NULL);
    expect("a port that the network has not", "f :: FromNet(\"in_port=nett0\") -> Sink()", none, 1, 23, 5,
           "the network has no port 'nett0'", "net0");
    expect("the same in a ToNet", "FromNet(\"x\") -> ToNet(\"net1| nit1 \")", none, 1, 30, 4,
           "the network has no port 'nit1'", "net1");
    expect("a bad argument", "FromNet(\"x\") -> Mirror(\"huh\") -> Sink()", none, 1, 24, 5,
           "bad argument of 'Mirror@1': huh", NULL);
    expect("too many modules", good_text, (struct fs_lang_limits) { .modules = 4 }, 4, 57, 4, "more than 4 modules",
           NULL);
    expect("too many links", good_text, (struct fs_lang_limits) { .links = 3 }, 4, 57, 4, "more than 3 connections",
           NULL);
    expect("too long a text", good_text, (struct fs_lang_limits) { .text = 20 }, 1, 1, 0, "more than 20", NULL);
    expect("too high a port", "FromNet(\"x\") -> m :: Mirror; m[2] -> Sink()", (struct fs_lang_limits) { .ports = 2 },
           1, 31, 3, "output 2 of 'm' is beyond the limit of 2 ports", NULL);
}

/* Check, format and write the good text with ever more memory, until there is enough. */
static void
test_out_of_memory(void)
{
    bool good = true;
    long enough = -1;
    allocations_left = 0;
    void *volatile probe = calloc(1, 1);
    allocations_left = -1;
    if (probe) {
        free(probe);
        printf("ok %d - memory runs out # SKIP something else, such as valgrind, has put its own calloc() first\n",
               ++n_tests);
        return;
    }
    for (long n = 0; enough < 0 && n < 10000; n++) {
        struct fs_request *request;
        struct fs_diagnostics *diagnostics;
        char *text = NULL;
        allocations_left = n;
        int error = fs_lang_check(good_text, strlen(good_text), "good", &environment, &request, &diagnostics);
        good &= error == 0 || (error == ENOMEM && !request && !diagnostics);
        if (!error) {
            text = fs_request_json(request);
        }
        if (text) {
            free(text);
            text = fs_request_format(request);
        }
        allocations_left = -1;
        enough = text ? n : -1;
        free(text);
        fs_request_destroy(request);
        fs_diagnostics_destroy(diagnostics);
    }
    ok(good && enough > 3, "memory runs out at each allocation");
}

/* 'n' counters in chains of 100, each chain on its own FromNet. */
static char *
large_text(size_t n)
{
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);
    for (size_t i = 0; i < n; i++) {
        fputs(i % 100 ? "->Counter()"
              : i     ? "->Sink()\nFromNet(\"x\")->Counter()"
                      : "FromNet(\"x\")->Counter()",
              stream);
    }
    fputs("->Sink()\n", stream);
    fclose(stream);
    return text;
}

static void
test_speed(void)
{
    char *text = large_text(90000);
    struct fs_lang_env env = environment;
    env.limits.text = (size_t) 4 << 20;
    struct fs_request *request;
    struct fs_diagnostics *diagnostics;
    struct timespec start, end;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &start);
    int error = fs_lang_check(text, strlen(text), "large", &env, &request, &diagnostics);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
    double seconds = (double) (end.tv_sec - start.tv_sec) + (double) (end.tv_nsec - start.tv_nsec) / 1e9;
    printf("# %.3f s for %zu modules\n", seconds, request ? request->n_nodes : 0);
#ifdef FS_SANITIZED
    ok(!error && seconds < 20, "90,000 modules in little time");
#else
    ok(!error && seconds < 5, "90,000 modules in little time"); /* 0.1 s measured; the room is for valgrind */
#endif
    fs_request_destroy(request);
    fs_diagnostics_destroy(diagnostics);
    free(text);
}

int
main(void)
{
    test_model();
    test_errors();
    test_out_of_memory();
    test_speed();
    printf("1..%d\n", n_tests);
    return n_failed > 0;
}

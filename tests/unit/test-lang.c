/* Unit tests of libflowstream-lang beyond what the cases in tests/lang show: the model, the callbacks, the limits,
 * speed, and what happens when memory runs out at each allocation.  For the last, this program puts its own calloc()
 * and realloc() before the C library's. */
#include "config.h"

#include <dlfcn.h>
#include <errno.h>
#include <glob.h>
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

/* Everything that the language has, with a file to include. */
static const char whole_text[] = "$port=net0\n"
                                 "CPU=0.25; RATE=2Mbps\n"
                                 "include \"lib/parts\"\n"
                                 "request a {\n"
                                 "    DELAY=1s\n"
                                 "    HOSTS=h1|h2\n"
                                 "    f :: FromNet(\"ip\"); t :: ToNet($port)\n"
                                 "    f -> {rate=10Mbps} g :: Guard(\"x$port\") -> Guard(\"y\", \"0.5\") -> t\n"
                                 "    delay f -> t < 1.5ms\n"
                                 "}\n"
                                 "request b { FromNet(\"arp\") -> Counter() {mem=1.5GB, instances=3, isolate=yes, avoid=h1} -> Sink() }\n";

static int
read_include(void *aux, const char *name, char **text, size_t *size)
{
    (void) aux;
    if (strcmp(name, "lib/parts")) {
        return ENOENT;
    }
    *text = strdup("part Wire { input -> {rate=5Mbps} output }\n"
                   "part Guard($rules, $cpu=0.125) { input -> Wire() -> c :: Counter($rules) {cpu=$cpu} -> output }\n");
    *size = *text ? strlen(*text) : 0;
    return *text ? 0 : ENOMEM;
}

static const char *const hosts[] = { "h1", "h2" };
static const struct fs_lang_parameter parameters[] = { { "port", "tun1" } };

static struct fs_lang_env
whole_environment(void)
{
    struct fs_lang_env env = environment;
    env.read_include = read_include;
    env.hosts = hosts;
    env.n_hosts = 2;
    env.parameters = parameters;
    env.n_parameters = 1;
    return env;
}

static void
test_needs(void)
{
    struct fs_lang_env env = whole_environment();
    struct fs_request *request;
    struct fs_diagnostics *diagnostics;
    int error = fs_lang_check(whole_text, strlen(whole_text), "dir/whole", &env, &request, &diagnostics);
    char *said = diagnostics ? fs_diagnostics_text(diagnostics, false) : NULL;
    ok(!error && said && !*said, "a request with all that the language has");
    if (error) {
        printf("# %s\n", said ? said : "no memory");
        exit(1);
    }
    free(said);
    const struct fs_request_node *first = fs_request_node(request, "g.c"), *second = fs_request_node(request, "Guard@1.c");
    ok(request->n_nodes == 4 && request->n_links == 3, "parts are dissolved");
    ok(first && second && !strcmp(first->args, "xtun1") && first->needs.cpu == 125 && second->needs.cpu == 500, "the parameters of each use of a part");
    ok(first && !strcmp(first->file, "dir/lib/parts") && first->line == 2 && first->needs.n_hosts == 2 && first->n_inputs == 1, "a node of an included file");
    bool rates = true;
    for (size_t i = 0; i < request->n_links; i++) {
        bool entry = request->nodes[request->links[i].from].kind == FS_NODE_FROM_NET;
        bool exit = request->nodes[request->links[i].to].kind == FS_NODE_TO_NET;
        rates &= request->links[i].rate == (entry ? 10000000 : exit ? 2000000 : 5000000);
    }
    ok(rates, "a connection through parts has the largest of the rates on its way, else that of the header");
    ok(request->delay == 1000000 && request->n_delays == 1 && request->delays[0].bound == 1500 &&
           !strcmp(request->nodes[request->delays[0].to].name, "t") && !strcmp(request->nodes[request->delays[0].from].name, "f"),
       "bounds on delays");
    const struct fs_request *b = fs_request_find(request, "b");
    const struct fs_request_node *counter = b ? fs_request_node(b, "Counter@1") : NULL;
    ok(b && b == request->next && !b->next && b->delay == 0 && b->priority == -1 && !fs_request_find(request, "c"), "the second request of a text");
    ok(counter && counter->needs.cpu == 250 && counter->needs.mem == UINT64_C(1610612736) && counter->needs.instances == 3 &&
           counter->needs.isolate == FS_ISOLATE_YES && counter->needs.n_avoid == 1 && counter->needs.n_hosts == 0,
       "needs of a module, and the headers of the text");
    fs_request_destroy(request);
    fs_diagnostics_destroy(diagnostics);
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

/* Check, format and write a text with ever more memory, until there is enough. */
static void
test_out_of_memory(const char *tried, const struct fs_lang_env *env, const char *name)
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
        int error = fs_lang_check(tried, strlen(tried), "tried", env, &request, &diagnostics);
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
    ok(good && enough > 3, name);
}

/* A text is good or it is not, and what is said of it lies within it. */
static bool
is_judged(const char *text, size_t size, const struct fs_lang_env *env)
{
    struct fs_request *request;
    struct fs_diagnostics *diagnostics;
    int error = fs_lang_check(text, size, "changed", env, &request, &diagnostics);
    size_t n_lines = 1;
    for (size_t i = 0; i < size; i++) {
        n_lines += text[i] == '\n';
    }
    bool good = diagnostics && (error == 0) == (request != NULL) && (error == 0) == (fs_diagnostics_errors(diagnostics) == 0);
    for (size_t i = 0; good && i < fs_diagnostics_count(diagnostics); i++) {
        const struct fs_diagnostic *entry = fs_diagnostics_get(diagnostics, i);
        bool own = !strcmp(entry->file, "changed");
        good = entry->line >= 1 && entry->column >= 1 && (!own || (entry->line <= n_lines && entry->column + entry->length <= size + 1));
    }
    fs_request_destroy(request);
    fs_diagnostics_destroy(diagnostics);
    return good;
}

/* All values that a byte can be changed into are tried with FLOWSTREAM_TEST_ALL in the environment, which takes a quarter
 * of a minute; else those that mean something, and one other for each byte, by this seed. */
static bool all_values;
static unsigned int seed;
#ifdef __SANITIZE_ADDRESS__
enum { EXAMPLE_STEP = 4 }; /* ten times as slow: every fourth byte of the examples, from one by chance on */
#else
enum { EXAMPLE_STEP = 1 };
#endif

/* Every prefix, and every byte left out or changed. */
static bool
test_changes_of(const char *text, size_t size, const struct fs_lang_env *env, size_t step)
{
    static const char bytes[] = "\0\n\"\\${}()[]->:,;=<#/*|a0 \xff\xc3";
    char *changed = malloc(size + 1);
    bool good = true;
    for (size_t i = (size_t) rand_r(&seed) % step; i < size && good; i += step) {
        memcpy(changed, text, i);
        good = is_judged(changed, i, env);
        memcpy(changed + i, text + i + 1, size - i - 1);
        good &= is_judged(changed, size - 1, env);
        memcpy(changed, text, size);
        for (size_t b = 0; b + 1 < sizeof bytes; b++) {
            changed[i] = bytes[b];
            good &= is_judged(changed, size, env);
        }
        for (int value = all_values ? 0 : rand_r(&seed) & 0xff, last = all_values ? 0xff : value; value <= last; value++) {
            changed[i] = (char) value;
            good &= is_judged(changed, size, env);
        }
    }
    free(changed);
    return good;
}

static void
test_changes(int n, char **files)
{
    struct fs_lang_env env = whole_environment();
    all_values = getenv("FLOWSTREAM_TEST_ALL") != NULL;
    seed = getenv("FLOWSTREAM_TEST_SEED") ? (unsigned int) strtoul(getenv("FLOWSTREAM_TEST_SEED"), NULL, 10) : (unsigned int) time(NULL);
    printf("# FLOWSTREAM_TEST_SEED=%u\n", seed);
    ok(test_changes_of(good_text, strlen(good_text), &env, 1), "every prefix and every change of one byte of a good text");
    ok(test_changes_of(whole_text, strlen(whole_text), &env, 1), "the same of a text with all that the language has");
    for (int i = 0; i < n; i++) {
        char text[8192];
        FILE *stream = fopen(files[i], "rb");
        size_t size = stream ? fread(text, 1, sizeof text, stream) : 0;
        ok(size > 0 && size < sizeof text && test_changes_of(text, size, &env, EXAMPLE_STEP), files[i]);
        if (stream) {
            fclose(stream);
        }
    }
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

/* The arguments are patterns of examples to be changed. */
int
main(int argc, char **argv)
{
    test_model();
    test_needs();
    test_errors();
    struct fs_lang_env whole = whole_environment();
    test_out_of_memory(good_text, &environment, "memory runs out at each allocation");
    test_out_of_memory(whole_text, &whole, "the same for a text with all that the language has");
    test_speed();
    glob_t files = { .gl_pathc = 0 };
    for (int i = 1; i < argc; i++) {
        if (glob(argv[i], i > 1 ? GLOB_APPEND : 0, NULL, &files)) {
            ok(false, argv[i]);
        }
    }
    test_changes((int) files.gl_pathc, files.gl_pathv);
    globfree(&files);
    printf("1..%d\n", n_tests);
    return n_failed > 0;
}

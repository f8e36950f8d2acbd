/* libFuzzer target of the allocation language.  Beside not crashing, it demands of any text:
 *
 *   - a request comes with no error, no request with at least one, and the diagnostics can be written in both forms;
 *   - the links of a request lead to nodes and ports that exist;
 *   - what parses can be formatted; the result means the same (equal JSON), and formatting it again changes nothing. */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flowstream/lang.h"

static const struct fs_lang_type types[] = {
    { "Counter", 1, 1, 1, 1, NULL, 0 },
    { "Mirror", 1, 1, 1, UINT32_MAX, NULL, 0 },
    { "Classifier", 1, 1, 1, UINT32_MAX, NULL, 0 },
    { "Firewall", 1, 1, 1, 1, NULL, 0 },
    { "Sink", 1, 1, 0, 0, NULL, 0 },
    { "Join", 2, UINT32_MAX, 1, 1, NULL, 0 },
};
#define N_TYPES (sizeof types / sizeof types[0])
#define N_MORE_TYPES 2 /* which say what arguments they take */
static const char *const hosts[] = { "h1", "h2" };
static const char *const ports[] = { "net0", "net1", "tun1", "mon0" };

/* Refuse every match with a 'z', at its place. */
static char *
check_match(void *aux, const char *match, size_t *offset)
{
    (void) aux;
    const char *z = strchr(match, 'z');
    *offset = z ? (size_t) (z - match) : 0;
    return z ? strdup("z") : NULL;
}

static char *
check_args(void *aux, const char *type, const char *args, uint32_t n_outputs)
{
    (void) aux;
    (void) type;
    char *why = NULL;
    if (strstr(args, "quo") && asprintf(&why, "the filter \"%s\": 'quo' is no \"word\", isn't it", args) < 0) {
        abort();
    }
    return why ? why : strlen(args) % 7 == 6 || n_outputs == 5 ? strdup("unlucky") : NULL;
}

/* Files: one with parts, one that includes the first and has connections, one with what has no place there, and bad ones. */
static int
read_include(void *aux, const char *name, char **text, size_t *size)
{
    (void) aux;
    const char *found = !strcmp(name, "a") ? "part Inc($x, $y=1) { input -> Firewall($x) {cpu=$y} -> output }\n"
                        : !strcmp(name, "b") ? "include \"a\"\nFromNet(\"ip\") -> Inc(\"all\") -> ToNet(\"net1\")"
                        : !strcmp(name, "c") ? "NAME=c\n$r=1\nrequest r { CPU=1\nFromNet(\"ip\") -> Sink() }\npart Open { input -> output"
                        : !strcmp(name, "odd") ? "\x1b[31m"
                                             : NULL;
    *text = found ? strdup(found) : NULL;
    *size = found ? strlen(found) : 0;
    return found ? 0 : !strcmp(name, "denied") ? EACCES : ENOENT;
}

static struct fs_request *
check(const char *text, size_t size)
{
    static const struct fs_lang_argument arguments[] = { { "rate", "bps", 1e3, 1e10, true }, { "n", "", 0, 9, false } };
    static const struct fs_lang_parameter parameters[] = { { "p", "net1" }, { "q", "a\"b$p" } };
    struct fs_lang_type all[N_TYPES + N_MORE_TYPES];
    memcpy(all, types, sizeof types);
    all[N_TYPES] = (struct fs_lang_type) { "Shaper", 1, 1, 1, 1, arguments, 2 };
    all[N_TYPES + 1] = (struct fs_lang_type) { "None", 1, 1, 1, 1, arguments, 0 };
    const struct fs_lang_env env = { .types = all,
                                     .n_types = N_TYPES + N_MORE_TYPES,
                                     .check_match = check_match,
                                     .check_args = check_args,
                                     .ports = (size & 1) ? ports : NULL,
                                     .n_ports = 4,
                                     .hosts = (size & 1) ? hosts : NULL,
                                     .n_hosts = 2,
                                     .parameters = parameters,
                                     .n_parameters = memmem(text, size, "$q", 2) ? 2 : memmem(text, size, "$p", 2) ? 1 : 0,
                                     .read_include = read_include,
                                     .limits = { .modules = 2000, .links = 8000 } };
    struct fs_request *request;
    struct fs_diagnostics *diagnostics;
    int error = fs_lang_check(text, size, "fuzz", &env, &request, &diagnostics);
    if (!diagnostics || (error == 0) != (request != NULL) ||
        (error == 0) != (fs_diagnostics_errors(diagnostics) == 0)) {
        abort();
    }
    char *shown = fs_diagnostics_text(diagnostics, true), *json = fs_diagnostics_json(diagnostics);
    if (!shown || !json) {
        abort();
    }
    free(shown);
    free(json);
    fs_diagnostics_destroy(diagnostics);
    return request;
}

static char *
format(const char *text, size_t size)
{
    char *formatted;
    struct fs_diagnostics *diagnostics;
    int error = fs_lang_format(text, size, "fuzz", NULL, &formatted, &diagnostics);
    if ((error == 0) != (formatted != NULL)) {
        abort();
    }
    fs_diagnostics_destroy(diagnostics);
    return formatted;
}

static void
check_links(const struct fs_request *request)
{
    for (size_t i = 0; i < request->n_delays; i++) {
        if (request->nodes[request->delays[i].from].kind != FS_NODE_FROM_NET || request->nodes[request->delays[i].to].kind != FS_NODE_TO_NET ||
            request->delays[i].bound == 0) {
            abort();
        }
    }
    for (size_t i = 0; i < request->n_links; i++) {
        const struct fs_request_link *link = &request->links[i];
        if (link->from >= request->n_nodes || link->to >= request->n_nodes ||
            link->from_port >= request->nodes[link->from].n_outputs ||
            link->to_port >= request->nodes[link->to].n_inputs) {
            abort();
        }
    }
}

static void
demand_equal(const char *a, const char *b, const char *what)
{
    if (!a || !b || strcmp(a, b)) {
        fprintf(stderr, "%s differ:\n%s\n---\n%s\n", what, a ? a : "(none)", b ? b : "(none)");
        abort();
    }
}

/* 'text' is checked and formatted in one environment: the parity of its size chooses it, so the formatted text gets a
 * space if need be. */
static void
demand_same_meaning(const struct fs_request *request, size_t parity)
{
    char *formatted = fs_request_format(request), *dot = fs_request_dot(request);
    size_t length = strlen(formatted);
    char *padded = malloc(length + 2);
    memcpy(padded, formatted, length);
    padded[length] = ' ';
    struct fs_request *again = check(padded, length + ((length ^ parity) & 1));
    if (!again) {
        fprintf(stderr, "no longer a request:\n%s\n", formatted);
        abort();
    }
    const struct fs_request *second = again;
    for (const struct fs_request *first = request; first; first = first->next, second = second->next) {
        char *json = fs_request_json(first), *json_again = second ? fs_request_json(second) : NULL;
        demand_equal(json, json_again, "meanings");
        free(json);
        free(json_again);
    }
    free(padded);
    free(dot);
    free(formatted);
    fs_request_destroy(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fs_request *request = check((const char *) data, size);
    if (request) {
        for (const struct fs_request *one = request; one; one = one->next) {
            check_links(one);
        }
        demand_same_meaning(request, size);
        fs_request_destroy(request);
    }
    char *formatted = format((const char *) data, size);
    if (formatted) {
        char *again = format(formatted, strlen(formatted));
        demand_equal(formatted, again, "formatted texts");
        free(again);
        free(formatted);
    }
    return 0;
}

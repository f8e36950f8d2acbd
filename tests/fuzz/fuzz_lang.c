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
    return strlen(args) % 7 == 6 || n_outputs == 5 ? strdup("unlucky") : NULL;
}

static struct fs_request *
check(const char *text, size_t size)
{
    const struct fs_lang_env env = { types,        6, check_match, check_args, NULL, (size & 1) ? ports : NULL, 4,
                                     { .text = 0 } };
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
    char *formatted = fs_request_format(request), *json = fs_request_json(request), *dot = fs_request_dot(request);
    size_t length = strlen(formatted);
    char *padded = malloc(length + 2);
    memcpy(padded, formatted, length);
    padded[length] = ' ';
    struct fs_request *again = check(padded, length + ((length ^ parity) & 1));
    if (!again) {
        fprintf(stderr, "no longer a request:\n%s\n", formatted);
        abort();
    }
    char *json_again = fs_request_json(again);
    demand_equal(json, json_again, "meanings");
    free(json_again);
    free(padded);
    free(dot);
    free(json);
    free(formatted);
    fs_request_destroy(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fs_request *request = check((const char *) data, size);
    if (request) {
        check_links(request);
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

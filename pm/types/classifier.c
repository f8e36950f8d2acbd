/* Classifier: one expression of pcap-filter(7) an output; a packet goes to the first whose expression matches, and what none matches is
 * dropped. */
#include "config.h"

#include <flowstream/filter.h>
#include <flowstream/module.h>

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct class {
    struct fs_filter *filter;
    char *text;
    uint64_t hits;
};

struct classifier {
    uint64_t unmatched;
    uint32_t n;
    struct class classes[];
};

static void
destroy(void *state)
{
    struct classifier *c = state;
    for (uint32_t i = 0; c && i < c->n; i++) {
        fs_filter_free(c->classes[i].filter);
        free(c->classes[i].text);
    }
    free(c);
}

static struct classifier *
compile(char **pieces, size_t n, char **error)
{
    struct classifier *c = calloc(1, sizeof *c + n * sizeof c->classes[0]);
    for (size_t i = 0; c && i < n; i++) {
        c->n++;
        c->classes[i].text = strdup(pieces[i]);
        c->classes[i].filter = fs_filter_compile(pieces[i], error);
        if (!c->classes[i].text || !c->classes[i].filter) {
            destroy(c);
            return NULL;
        }
    }
    return c;
}

static void *
configure(const char *args, uint32_t n_outputs, char **error)
{
    char **pieces;
    size_t n;
    struct classifier *c = NULL;
    if (fs_filter_split(args, &pieces, &n, error)) {
        return NULL;
    }
    if (n == 0 || n != n_outputs) {
        if (asprintf(error, "a Classifier needs one expression for each connected output: %zu expressions, %u outputs in \"%s\"", n,
                     n_outputs, args) < 0) {
            *error = NULL;
        }
    } else {
        c = compile(pieces, n, error);
    }
    free(pieces);
    return c;
}

static void
process(void *state, struct fs_packet *packets, size_t n, struct fs_emitter *out)
{
    struct classifier *c = state;
    for (size_t i = 0; i < n; i++) {
        uint32_t port = 0;
        while (port < c->n && !fs_filter_matches(c->classes[port].filter, packets[i].data, packets[i].length)) {
            port++;
        }
        if (port < c->n) {
            c->classes[port].hits++;
            out->pass(out, port, &packets[i]);
        } else {
            c->unmatched++;
        }
    }
}

/* "classes": one line an output, its hits and its expression; what matched none comes last. */
static char *
read_value(void *state, const char *name)
{
    const struct classifier *c = state;
    char *text = NULL;
    size_t length;
    FILE *stream = strcmp(name, "classes") ? NULL : open_memstream(&text, &length);
    if (!stream) {
        return NULL;
    }
    for (uint32_t i = 0; i < c->n; i++) {
        fprintf(stream, "%" PRIu64 " %s\n", c->classes[i].hits, c->classes[i].text);
    }
    fprintf(stream, "%" PRIu64 " (no class)\n", c->unmatched);
    if (fclose(stream)) {
        free(text);
        return NULL;
    }
    return text;
}

static const struct fs_module_primitive primitives[] = {
    { "read classes", "one line an output: packets sent there, and its expression; the last line: packets that none matched" },
    { NULL, NULL },
};

FS_MODULE_TYPE = {
    .magic = FS_MODULE_MAGIC,
    .abi = FS_MODULE_ABI,
    .name = "Classifier",
    .description = "Sends each packet to the first output whose expression matches it.",
    .arguments = "expressions of pcap-filter(7) separated by commas, one for each connected output; what none matches is dropped; e.g. "
                 "\"tcp port 80, udp, all\"",
    .min_inputs = 1,
    .max_inputs = 1,
    .min_outputs = 1,
    .max_outputs = FS_PORTS_ANY,
    .primitives = primitives,
    .configure = configure,
    .destroy = destroy,
    .process = process,
    .read = read_value,
};

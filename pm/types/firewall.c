/* Firewall: rules in order, "allow EXPR" or "deny EXPR" in the syntax of pcap-filter(7); the first that matches decides, and what no rule matches
 * is dropped.  Works on IPv4 and IPv6, as the expressions say. */
#include "config.h"

#include <flowstream/filter.h>
#include <flowstream/module.h>

#include <ctype.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct rule {
    bool allow;
    struct fs_filter *filter;
    char *text;
    uint64_t hits;
};

struct firewall {
    uint64_t unmatched;
    size_t n;
    struct rule rules[];
};

static void
destroy(void *state)
{
    struct firewall *f = state;
    for (size_t i = 0; f && i < f->n; i++) {
        fs_filter_free(f->rules[i].filter);
        free(f->rules[i].text);
    }
    free(f);
}

static bool
fail(char **error, const char *why, const char *text)
{
    if (asprintf(error, "%s \"%s\"", why, text) < 0) {
        *error = NULL;
    }
    return false;
}

/* The rest of 'text' after 'word' and blanks, or NULL. */
static const char *
after_word(const char *text, const char *word)
{
    size_t n = strlen(word);
    return !strncmp(text, word, n) && isspace((unsigned char) text[n]) ? text + n + strspn(text + n, " \t\r\n") : NULL;
}

static bool
parse_rule(struct rule *r, const char *text, char **error)
{
    const char *expression = after_word(text, "allow");
    r->allow = expression != NULL;
    if (!expression && !(expression = after_word(text, "deny"))) {
        return fail(error, "a rule is \"allow EXPR\" or \"deny EXPR\", not", text);
    }
    r->text = strdup(text);
    r->filter = fs_filter_compile(expression, error);
    return r->text && r->filter;
}

static void *
configure(const char *args, uint32_t n_outputs, char **error)
{
    char **pieces;
    size_t n;
    (void) n_outputs;
    if (fs_filter_split(args, &pieces, &n, error)) {
        return NULL;
    }
    struct firewall *f = n ? calloc(1, sizeof *f + n * sizeof f->rules[0]) : NULL;
    bool good = f != NULL;
    if (n == 0) {
        fail(error, "a Firewall needs at least one rule, e.g. \"allow tcp port 80, deny all\", but got", args);
    }
    for (size_t i = 0; good && i < n; i++) {
        f->n++;
        good = parse_rule(&f->rules[i], pieces[i], error);
    }
    free(pieces);
    if (!good) {
        destroy(f);
        return NULL;
    }
    return f;
}

static bool
allowed(struct firewall *f, const struct fs_packet *packet)
{
    for (size_t i = 0; i < f->n; i++) {
        struct rule *r = &f->rules[i];
        if (fs_filter_matches(r->filter, packet->data, packet->length)) {
            r->hits++;
            return r->allow;
        }
    }
    f->unmatched++;
    return false;
}

static void
process(void *state, struct fs_packet *packets, size_t n, struct fs_emitter *out)
{
    for (size_t i = 0; i < n; i++) {
        if (allowed(state, &packets[i])) {
            out->pass(out, 0, &packets[i]);
        }
    }
}

/* "rules": one line a rule, its hits and its text; what matched none comes last. */
static char *
read_value(void *state, const char *name)
{
    const struct firewall *f = state;
    char *text = NULL;
    size_t length;
    FILE *stream = strcmp(name, "rules") ? NULL : open_memstream(&text, &length);
    if (!stream) {
        return NULL;
    }
    for (size_t i = 0; i < f->n; i++) {
        fprintf(stream, "%" PRIu64 " %s\n", f->rules[i].hits, f->rules[i].text);
    }
    fprintf(stream, "%" PRIu64 " (no rule)\n", f->unmatched);
    if (fclose(stream)) {
        free(text);
        return NULL;
    }
    return text;
}

static const struct fs_module_primitive primitives[] = {
    { "read rules", "one line a rule: how many packets it decided, and its text; the last line: packets that no rule matched" },
    { NULL, NULL },
};

FS_MODULE_TYPE = {
    .magic = FS_MODULE_MAGIC,
    .abi = FS_MODULE_ABI,
    .name = "Firewall",
    .description = "Passes or drops packets by the first rule that matches.",
    .arguments = "rules separated by commas, \"allow EXPR\" or \"deny EXPR\" with EXPR as in pcap-filter(7) or \"all\"; what no rule "
                 "matches is dropped; e.g. \"deny host 10.0.0.9, allow tcp port 80 or icmp6\"",
    .min_inputs = 1,
    .max_inputs = 1,
    .min_outputs = 0,
    .max_outputs = 1,
    .primitives = primitives,
    .configure = configure,
    .destroy = destroy,
    .process = process,
    .read = read_value,
};

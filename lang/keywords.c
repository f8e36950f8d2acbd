/* The headers: a table with one row each (keywords.def), and the function that checks the value of each row.  A row
 * without its function does not compile. */
#include "config.h"

#include "lang/keywords.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "lang/suggest.h"

#define NAME_CHARACTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"
#define LONGEST_VALUE 64u /* bytes */
#define HIGHEST_PRIORITY 65535

#define KEYWORD(KEY, FUNCTION, HELP) static char *parse_##FUNCTION(struct arena *, const char *value);
#include "lang/keywords.def"
#undef KEYWORD

struct keyword {
    const char *key;
    char *(*parse)(struct arena *, const char *value);
};

static const struct keyword keywords[] = {
#define KEYWORD(KEY, FUNCTION, HELP) { #KEY, parse_##FUNCTION },
#include "lang/keywords.def"
#undef KEYWORD
};
#define N_KEYWORDS (sizeof keywords / sizeof keywords[0])

static size_t find_keyword(const char *key);
static void report_unknown(const struct syntax_header *, struct fs_diagnostics *);

struct fs_header *
keywords_check(struct arena *arena, const struct syntax_tree *tree, struct fs_diagnostics *diagnostics)
{
    const struct syntax_header *first[N_KEYWORDS] = { NULL };
    struct fs_header *headers = arena_array(arena, tree->n_headers, sizeof *headers);
    for (size_t i = 0; i < tree->n_headers; i++) {
        const struct syntax_header *header = &tree->headers[i];
        headers[i] = (struct fs_header) { .key = header->key, .value = header->value };
        diagnostics_locate(diagnostics, header->key_span.offset, &headers[i].line, &headers[i].column);

        size_t k = find_keyword(header->key);
        if (k == N_KEYWORDS) {
            report_unknown(header, diagnostics);
            continue;
        }
        if (first[k]) {
            struct fs_diagnostic *error =
                diagnostics_error(diagnostics, header->key_span, "header '%s' is given twice", header->key);
            diagnostics_note(diagnostics, error, &first[k]->key_span, "it is first given here");
        } else {
            first[k] = header;
        }
        char *wrong = header->broken ? NULL : keywords[k].parse(arena, header->value);
        if (wrong) {
            diagnostics_error(diagnostics, header->value_span, "%s: %s", header->key, wrong);
        }
    }
    return headers;
}

static size_t
find_keyword(const char *key)
{
    size_t k = 0;
    while (k < N_KEYWORDS && strcmp(keywords[k].key, key)) {
        k++;
    }
    return k;
}

static void
report_unknown(const struct syntax_header *header, struct fs_diagnostics *diagnostics)
{
    static const char list[] = ""
#define KEYWORD(KEY, FUNCTION, HELP) " " #KEY
#include "lang/keywords.def"
#undef KEYWORD
        ;
    struct suggestion suggestion;
    suggest_begin(&suggestion, header->key);
    for (size_t k = 0; k < N_KEYWORDS; k++) {
        suggest_offer(&suggestion, keywords[k].key);
    }
    struct fs_diagnostic *error =
        diagnostics_error(diagnostics, header->key_span, "unknown header '%.64s'", header->key);
    diagnostics_suggest(diagnostics, error, suggestion.best);
    diagnostics_note(diagnostics, error, NULL, "the headers are:%s", list);
}

/* A short word of harmless characters. */
static char *
check_word(struct arena *arena, const char *value, const char *what)
{
    size_t good = strspn(value, NAME_CHARACTERS);
    if (!*value) {
        return arena_printf(arena, "%s is missing behind '='", what);
    }
    if (value[good]) {
        return arena_printf(arena, "%s consists of letters, digits, '_', '.' and '-', not of '%.40s'", what, value);
    }
    if (good > LONGEST_VALUE) {
        return arena_printf(arena, "%s is %zu bytes long, more than %u", what, good, LONGEST_VALUE);
    }
    return NULL;
}

static char *
parse_basesys(struct arena *arena, const char *value)
{
    return check_word(arena, value, "the name of a base system");
}

static char *
parse_name(struct arena *arena, const char *value)
{
    return check_word(arena, value, "the name of a request");
}

static char *
parse_isolate(struct arena *arena, const char *value)
{
    bool good = !strcmp(value, "yes") || !strcmp(value, "no");
    return good ? NULL : arena_printf(arena, "expected yes or no, but found '%.40s'", value);
}

static char *
parse_priority(struct arena *arena, const char *value)
{
    size_t digits = strspn(value, "0123456789");
    bool good = digits > 0 && digits < 10 && !value[digits] && strtol(value, NULL, 10) <= HIGHEST_PRIORITY;
    return good ? NULL
                : arena_printf(arena, "expected a whole number from 0 to %d, but found '%.40s'", HIGHEST_PRIORITY,
                               value);
}

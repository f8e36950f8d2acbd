/* The headers and the properties: tables with one row each (keywords.def), and the function that reads the value of each
 * row.  A row without its function does not compile. */
#include "config.h"

#include "lang/keywords.h"

#include <stdlib.h>
#include <string.h>

#include "core/suggest.h"
#include "lang/units.h"

#define NAME_CHARACTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"
#define LONGEST_VALUE 64u /* bytes */
#define HIGHEST_PRIORITY 30000

#define MOST_INSTANCES 1000
#define MOST_CORES 1024000u /* thousandths */
#define MOST_HOSTS 256u

#define KEYWORD(KEY, FUNCTION, HELP)                                                                                   \
    static char *parse_##FUNCTION(struct arena *, const char *value, struct settings *);
#include "lang/keywords.def"
#undef KEYWORD

typedef char *parser_fn(struct arena *, const char *value, struct settings *);

struct keyword {
    const char *key;
    parser_fn *parse;
};

static const struct keyword keywords[] = {
#define KEYWORD(KEY, FUNCTION, HELP) { #KEY, parse_##FUNCTION },
#include "lang/keywords.def"
#undef KEYWORD
};
#define N_KEYWORDS (sizeof keywords / sizeof keywords[0])

enum property_of { MODULE, CONNECTION };

static const struct property {
    const char *key, *header;
    enum property_of of;
} properties[] = {
#define PROPERTY(KEY, HEADER, OF, HELP) { #KEY, #HEADER, OF },
#include "lang/keywords.def"
#undef PROPERTY
};
#define N_PROPERTIES (sizeof properties / sizeof properties[0])

static size_t find_keyword(const char *key);
static size_t find_property(const char *key);
static void report_unknown(struct check *, const struct syntax_pair *);
static void report_unknown_property(struct check *, const struct syntax_pair *, bool module);
static void check_hosts(struct check *, const struct syntax_pair *, const char *const *hosts, uint32_t n);
static void check_avoided(struct check *, const struct syntax_pair *, const struct fs_request_needs *);

/* Read the value of a pair into 'settings' and report what is wrong with it. */
static const char *
read_value(struct check *check, const struct check_instance *instance, const struct syntax_pair *pair, parser_fn *parse,
           struct settings *settings)
{
    if (pair->broken) {
        return "";
    }
    size_t n_missing = check->file->n_missing;
    const char *value = parameters_value(check, instance, pair->value, pair->variable, pair->value_span);
    if (n_missing != check->file->n_missing) {
        return "";
    }
    char *wrong = parse(check->arena, value, settings);
    if (wrong) {
        diagnostics_error(check->diagnostics, pair->value_span, "%s: %s", pair->key, wrong);
    } else if (parse == parse_hosts) {
        check_hosts(check, pair, settings->needs.hosts, settings->needs.n_hosts);
    } else if (parse == parse_avoid) {
        check_hosts(check, pair, settings->needs.avoid, settings->needs.n_avoid);
    }
    return value;
}

/* The headers of one scope.  'first' has those that it gives. */
static void
read_headers(struct check *check, const struct syntax_scope *scope, const struct syntax_pair *first[static N_KEYWORDS],
             struct fs_header *headers, size_t *n)
{
    const struct check_instance request = { .scope = scope, .prefix = "" };
    for (size_t i = 0; i < scope->n_headers; i++) {
        const struct syntax_pair *header = &scope->headers[i];
        struct fs_header *place = &headers[(*n)++];
        *place = (struct fs_header) { .key = header->key, .value = header->value };
        diagnostics_locate(check->diagnostics, header->key_span.offset, &place->line, &place->column);

        size_t k = find_keyword(header->key);
        if (k == N_KEYWORDS) {
            report_unknown(check, header);
            continue;
        }
        if (first[k]) {
            struct fs_diagnostic *error =
                diagnostics_error(check->diagnostics, header->key_span, "header '%s' is given twice", header->key);
            diagnostics_note(check->diagnostics, error, &first[k]->key_span, "it is first given here");
        } else {
            first[k] = header;
        }
        place->value = read_value(check, &request, header, keywords[k].parse, &check->settings);
    }
}

/* Take out of 'headers' the first 'n_outer' ones that are given again behind them. */
static size_t
drop_overruled(struct fs_header *headers, size_t n_outer, size_t n, const struct syntax_pair *inner[static N_KEYWORDS])
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        size_t k = find_keyword(headers[i].key);
        if (i >= n_outer || k == N_KEYWORDS || !inner[k]) {
            headers[kept++] = headers[i];
        }
    }
    return kept;
}

void
keywords_check(struct check *check, struct fs_request *request)
{
    const struct syntax_scope *top = &check->file->tree->top, *scope = check->scope;
    const struct syntax_pair *outer[N_KEYWORDS] = { NULL }, *inner[N_KEYWORDS] = { NULL };
    size_t n = 0, n_outer = 0;
    struct fs_header *headers = arena_array(check->arena, top->n_headers + scope->n_headers, sizeof *headers);
    check->settings = (struct settings) { .priority = -1 };
    if (scope != top) {
        read_headers(check, top, outer, headers, &n);
        n_outer = n;
    }
    read_headers(check, scope, inner, headers, &n);
    request->n_headers = drop_overruled(headers, n_outer, n, inner);
    request->headers = headers;
    request->delay = check->settings.delay;
    request->priority = check->settings.priority;
    request->name = scope->name ? scope->name : fs_request_header(request, "NAME");
    size_t h = find_keyword("HOSTS"), a = find_keyword("AVOID");
    const struct syntax_pair *hosts = inner[h] ? inner[h] : outer[h];
    check_avoided(check, inner[a] ? inner[a] : outer[a] ? outer[a] : hosts, &check->settings.needs);
}

void
keywords_read_properties(struct check *check, const struct check_instance *instance,
                         const struct syntax_properties *list, bool module, struct settings *settings)
{
    const struct syntax_pair *first[N_PROPERTIES] = { NULL }, *about_hosts = NULL;
    if (list->n == 0) {
        return;
    }
    if (check->last_properties.pairs == list->pairs && check->last_properties.instance == instance) {
        *settings = check->last_properties.settings;
        return;
    }
    for (uint32_t i = 0; i < list->n; i++) {
        const struct syntax_pair *pair = &list->pairs[i];
        size_t p = find_property(pair->key);
        if (p == N_PROPERTIES || properties[p].of != (module ? MODULE : CONNECTION)) {
            report_unknown_property(check, pair, module);
            continue;
        }
        if (first[p]) {
            struct fs_diagnostic *error =
                diagnostics_error(check->diagnostics, pair->key_span, "property '%s' is given twice", pair->key);
            diagnostics_note(check->diagnostics, error, &first[p]->key_span, "it is first given here");
        }
        first[p] = pair;
        parser_fn *parse = keywords[find_keyword(properties[p].header)].parse;
        about_hosts = parse == parse_hosts || parse == parse_avoid ? pair : about_hosts;
        read_value(check, instance, pair, parse, settings);
    }
    check_avoided(check, about_hosts, &settings->needs);
    check->last_properties.pairs = list->pairs;
    check->last_properties.instance = instance;
    check->last_properties.settings = *settings;
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

static size_t
find_property(const char *key)
{
    size_t p = 0;
    while (p < N_PROPERTIES && strcmp(properties[p].key, key)) {
        p++;
    }
    return p;
}

static void
report_unknown(struct check *check, const struct syntax_pair *header)
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
        diagnostics_error(check->diagnostics, header->key_span, "unknown header '%.64s'", header->key);
    diagnostics_suggest(check->diagnostics, error, suggestion.best);
    diagnostics_note(check->diagnostics, error, NULL, "the headers are:%s", list);
}

static void
report_unknown_property(struct check *check, const struct syntax_pair *pair, bool module)
{
    struct suggestion suggestion;
    char *list = arena_copy(check->work, "", 0);
    const char *owner = module ? "module" : "connection";
    suggest_begin(&suggestion, pair->key);
    for (size_t p = 0; p < N_PROPERTIES; p++) {
        if (properties[p].of == (module ? MODULE : CONNECTION)) {
            suggest_offer(&suggestion, properties[p].key);
            list = arena_printf(check->work, "%s %s", list, properties[p].key);
        }
    }
    struct fs_diagnostic *error =
        diagnostics_error(check->diagnostics, pair->key_span, "a %s has no property '%.64s'", owner, pair->key);
    diagnostics_suggest(check->diagnostics, error, suggestion.best);
    diagnostics_note(check->diagnostics, error, NULL, "the properties of a %s are:%s", owner, list);
}

/* Is each of the hosts one of the platform? */
static void
check_hosts(struct check *check, const struct syntax_pair *pair, const char *const *hosts, uint32_t n)
{
    for (uint32_t i = 0; i < n && check->env->hosts; i++) {
        struct suggestion suggestion;
        bool found = false;
        suggest_begin(&suggestion, hosts[i]);
        for (size_t h = 0; h < check->env->n_hosts && !found; h++) {
            found = !strcmp(check->env->hosts[h], hosts[i]);
            suggest_offer(&suggestion, check->env->hosts[h]);
        }
        if (!found) {
            struct fs_diagnostic *error =
                diagnostics_error(check->diagnostics, pair->value_span, "the platform has no host '%.64s'", hosts[i]);
            diagnostics_suggest(check->diagnostics, error, suggestion.best);
        }
    }
}

static bool
contains(const char *const *list, uint32_t n, const char *name)
{
    for (uint32_t i = 0; i < n; i++) {
        if (!strcmp(list[i], name)) {
            return true;
        }
    }
    return false;
}

/* Some host must be left. */
static void
check_avoided(struct check *check, const struct syntax_pair *pair, const struct fs_request_needs *needs)
{
    uint32_t left = 0;
    for (uint32_t i = 0; i < needs->n_hosts; i++) {
        left += !contains(needs->avoid, needs->n_avoid, needs->hosts[i]);
    }
    if (pair && needs->n_hosts && !left) {
        diagnostics_error(check->diagnostics, pair->value_span,
                          "%s: no host is left: all that are allowed are to be avoided", pair->key);
    }
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
parse_basesys(struct arena *arena, const char *value, struct settings *settings)
{
    (void) settings;
    return check_word(arena, value, "the name of a base system");
}

static char *
parse_name(struct arena *arena, const char *value, struct settings *settings)
{
    (void) settings;
    return check_word(arena, value, "the name of a request");
}

static char *
parse_isolate(struct arena *arena, const char *value, struct settings *settings)
{
    bool yes = !strcmp(value, "yes"), good = yes || !strcmp(value, "no");
    settings->needs.isolate = yes ? FS_ISOLATE_YES : FS_ISOLATE_NO;
    return good ? NULL : arena_printf(arena, "expected yes or no, but found '%.40s'", value);
}

static char *
read_whole(struct arena *arena, const char *value, long least, long most, long *number)
{
    size_t digits = strspn(value, "0123456789");
    bool good = digits > 0 && digits < 10 && !value[digits];
    *number = good ? strtol(value, NULL, 10) : -1;
    return good && *number >= least && *number <= most
               ? NULL
               : arena_printf(arena, "expected a whole number from %ld to %ld, but found '%.40s'", least, most, value);
}

static char *
parse_priority(struct arena *arena, const char *value, struct settings *settings)
{
    long number;
    char *wrong = read_whole(arena, value, 0, HIGHEST_PRIORITY, &number);
    settings->priority = (int32_t) number;
    return wrong;
}

static char *
parse_instances(struct arena *arena, const char *value, struct settings *settings)
{
    long number;
    char *wrong = read_whole(arena, value, 1, MOST_INSTANCES, &number);
    settings->needs.instances = (uint32_t) number;
    return wrong;
}

static char *
parse_cpu(struct arena *arena, const char *value, struct settings *settings)
{
    uint64_t cores = 0;
    char *wrong = units_read(arena, value, UNIT_CORES, &cores);
    if (!wrong && cores > MOST_CORES) {
        wrong = arena_printf(arena, "'%.40s' is more than %u cores", value, MOST_CORES / 1000);
    }
    settings->needs.cpu = (uint32_t) cores;
    return wrong;
}

static char *
parse_mem(struct arena *arena, const char *value, struct settings *settings)
{
    return units_read(arena, value, UNIT_BYTES, &settings->needs.mem);
}

static char *
parse_rate(struct arena *arena, const char *value, struct settings *settings)
{
    return units_read(arena, value, UNIT_RATE, &settings->rate);
}

static char *
parse_delay(struct arena *arena, const char *value, struct settings *settings)
{
    return units_read(arena, value, UNIT_TIME, &settings->delay);
}

/* Names with '|' between them. */
static char *
read_list(struct arena *arena, const char *value, const char *const **list, uint32_t *n)
{
    size_t most = 1;
    for (const char *p = value; *p; p++) {
        most += *p == '|';
    }
    if (most > MOST_HOSTS) {
        return arena_printf(arena, "there are %zu names, more than %u", most, MOST_HOSTS);
    }
    const char **names = arena_array(arena, most, sizeof *names);
    uint32_t found = 0;
    for (const char *p = value;; p++) {
        p += strspn(p, " \t");
        size_t length = strcspn(p, "|"), trimmed = length;
        while (trimmed && strchr(" \t", p[trimmed - 1])) {
            trimmed--;
        }
        char *name = arena_copy(arena, p, trimmed), *wrong = check_word(arena, name, "the name of a host");
        if (!*name) {
            return arena_printf(arena, "the name of a host is missing: names stand with '|' between them");
        }
        if (wrong) {
            return wrong;
        }
        if (contains(names, found, name)) {
            return arena_printf(arena, "host '%s' is named twice", name);
        }
        names[found++] = name;
        p += length;
        if (!*p) {
            break;
        }
    }
    *list = names;
    *n = found;
    return NULL;
}

static char *
parse_hosts(struct arena *arena, const char *value, struct settings *settings)
{
    return read_list(arena, value, &settings->needs.hosts, &settings->needs.n_hosts);
}

static char *
parse_avoid(struct arena *arena, const char *value, struct settings *settings)
{
    return read_list(arena, value, &settings->needs.avoid, &settings->needs.n_avoid);
}

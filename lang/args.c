/* The checker, about the strings in parentheses: the match of a FromNet, the ports of a ToNet, and, through the
 * surroundings that the caller gave, the arguments of the module types. */
#include "config.h"

#include "lang/check.h"

#include <stdlib.h>
#include <string.h>

#include "core/suggest.h"
#include "lang/units.h"

#define LONGEST_MESSAGE 400u /* bytes, of a callback's message */

static void check_from_net(struct check *, uint32_t node);
static void check_to_net(struct check *, uint32_t node);
static void check_module(struct check *, uint32_t node);

void
check_args(struct check *check)
{
    const struct syntax_args *refused = NULL; /* several names with one string: one mistake */
    for (size_t i = 0; i < check->n_nodes; i++) {
        const struct node_facts *facts = &check->facts[i];
        bool again = refused && facts->args && refused->span.offset == facts->args->span.offset && facts->args->n;
        if (!facts->type || facts->stand != STAND_NONE || facts->args->broken || facts->vague || again) {
            continue;
        }
        size_t errors = fs_diagnostics_errors(check->diagnostics);
        switch (check->nodes[i].kind) {
        case FS_NODE_FROM_NET: check_from_net(check, (uint32_t) i); break;
        case FS_NODE_TO_NET: check_to_net(check, (uint32_t) i); break;
        case FS_NODE_MODULE: check_module(check, (uint32_t) i); break;
        }
        refused = fs_diagnostics_errors(check->diagnostics) > errors ? facts->args : refused;
    }
}

struct span
check_span_in_args(const struct check *check, const struct syntax_args *args, size_t start, size_t length)
{
    const struct syntax_string *string = args->strings;
    for (uint32_t i = 0; i < args->n; i++) {
        if (args->strings[i].variable) {
            return args->span; /* what a parameter stands for is not in the text */
        }
    }
    for (uint32_t i = 0; i + 1 < args->n && start >= strlen(string->value) + strlen(", "); i++) {
        start -= strlen(string->value) + strlen(", ");
        string++;
    }
    if (!string) {
        return args->span;
    }
    uint32_t from = lexer_locate_in_string(check->text, string->span, start);
    uint32_t to = length ? lexer_locate_in_string(check->text, string->span, start + length - 1) + 1 : from + 1;
    return (struct span) { from, to - from };
}

/* Report a port that the network does not have.  'name' lies at 'start' in the argument string. */
static void
check_port_name(struct check *check, const struct syntax_args *args, const char *name, size_t start)
{
    if (!check->env->ports) {
        return;
    }
    struct suggestion suggestion;
    suggest_begin(&suggestion, name);
    for (size_t i = 0; i < check->env->n_ports; i++) {
        if (!strcmp(check->env->ports[i], name)) {
            return;
        }
        suggest_offer(&suggestion, check->env->ports[i]);
    }
    struct fs_diagnostic *error =
        diagnostics_error(check->diagnostics, check_span_in_args(check, args, start, strlen(name)),
                          "the network has no port '%.64s'", name);
    diagnostics_suggest(check->diagnostics, error, suggestion.best);
}

/* Move a callback's message into 'copy', since what follows may leave its function by a jump, and nobody would free it
 * then. */
static void
take_message(char *message, char copy[static LONGEST_MESSAGE])
{
    size_t length = strnlen(message, LONGEST_MESSAGE - 1);
    memcpy(copy, message, length);
    copy[length] = '\0';
    free(message);
}

/* The part of 'string' from '*at' up to 'separator' without spaces around it; '*at' moves behind the separator. */
static struct span
next_part(const char *string, size_t *at, char separator)
{
    const char *end = strchrnul(string + *at, separator);
    size_t start = *at, stop = (size_t) (end - string);
    *at = stop + (*end != '\0');
    while (start < stop && strchr(" \t\n", string[start])) {
        start++;
    }
    while (stop > start && strchr(" \t\n", string[stop - 1])) {
        stop--;
    }
    return (struct span) { (uint32_t) start, (uint32_t) (stop - start) };
}

/* The network port that a match names.  False after an error. */
static bool
extract_in_port(struct check *check, uint32_t node)
{
    static const char key[] = "in_port=";
    const char *match = check->nodes[node].match;
    bool good = true;
    for (size_t at = 0; match[at];) {
        struct span part = next_part(match, &at, ',');
        if (part.length < strlen(key) || strncmp(match + part.offset, key, strlen(key))) {
            continue;
        }
        size_t start = part.offset + strlen(key), length = part.length - strlen(key);
        struct span span = check_span_in_args(check, check->facts[node].args, part.offset, part.length);
        if (length == 0 || check->nodes[node].in_port) {
            diagnostics_error(check->diagnostics, span,
                              length ? "the match of '%s' names a second in_port"
                                     : "the match of '%s' has an empty in_port",
                              check->nodes[node].name);
            good = false;
            continue;
        }
        check->nodes[node].in_port = arena_copy(check->arena, match + start, length);
        check_port_name(check, check->facts[node].args, check->nodes[node].in_port, start);
    }
    return good;
}

/* Words that filters have and matches have not. */
static bool
is_filter_word(const char *word, size_t length)
{
    static const char *const words[] = { "port", "host", "net", "src", "dst", "and", "or", "not", "portrange" };
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strlen(words[i]) == length && !strncmp(words[i], word, length)) {
            return true;
        }
    }
    return false;
}

static void
check_from_net(struct check *check, uint32_t node)
{
    const struct syntax_args *args = check->facts[node].args;
    const char *value = check->nodes[node].args;
    check->nodes[node].match = value;
    if (value[strspn(value, " \t\n")] == '\0') {
        struct fs_diagnostic *error =
            diagnostics_error(check->diagnostics, args->span, "'%s' needs a match that says which traffic comes in",
                              check->nodes[node].name);
        diagnostics_note(check->diagnostics, error, NULL, "for example FromNet(\"in_port=net0,ip,nw_src=10.0.0.0/8\")");
        return;
    }
    size_t offset = 0;
    char *wrong = extract_in_port(check, node) && check->env->check_match
                      ? check->env->check_match(check->env->aux, value, &offset)
                      : NULL;
    if (wrong) {
        size_t length = strlen(value);
        offset = offset < length ? offset : length;
        size_t part = strcspn(value + offset, ", \t\n");
        char message[LONGEST_MESSAGE];
        take_message(wrong, message);
        struct fs_diagnostic *error =
            diagnostics_error(check->diagnostics, check_span_in_args(check, args, offset, part), "bad match of '%s': %s",
                              check->nodes[node].name, message);
        if (is_filter_word(value + offset, part)) {
            diagnostics_note(check->diagnostics, error, NULL,
                             "a match is one of OpenFlow, such as tcp,nw_dst=10.0.0.1,tp_dst=80; filters as in "
                             "pcap-filter(7) are for Firewall and Classifier");
        }
    }
}

/* Take one port name of a ToNet into its list. */
static void
add_to_net_port(struct check *check, uint32_t node, struct span part, const char **ports, uint32_t *n)
{
    const struct syntax_args *args = check->facts[node].args;
    const char *value = check->nodes[node].args;
    const char *name = arena_copy(check->arena, value + part.offset, part.length);
    if (part.length == 0) {
        diagnostics_error(check->diagnostics, args->span, "'%s' has an empty name between its network ports",
                          check->nodes[node].name);
        return;
    }
    for (uint32_t i = 0; i < *n; i++) {
        if (!strcmp(ports[i], name)) {
            diagnostics_error(check->diagnostics, check_span_in_args(check, args, part.offset, part.length),
                              "'%s' names the network port '%.64s' twice", check->nodes[node].name, name);
            return;
        }
    }
    check_port_name(check, args, name, part.offset);
    ports[(*n)++] = name;
}

static void
check_to_net(struct check *check, uint32_t node)
{
    const struct syntax_args *args = check->facts[node].args;
    const char *value = check->nodes[node].args;
    if (value[0] == '\0') {
        struct fs_diagnostic *error =
            diagnostics_error(check->diagnostics, args->span, "'%s' needs the network port that traffic leaves by",
                              check->nodes[node].name);
        diagnostics_note(check->diagnostics, error, NULL,
                         "for example ToNet(\"net1\"), or ToNet(\"net1|tun1\") to let the platform choose");
        return;
    }
    uint32_t n_parts = 1, n = 0;
    for (const char *p = value; *p; p++) {
        n_parts += *p == '|';
    }
    if (n_parts > check->limits.ports) {
        diagnostics_error(check->diagnostics, args->span, "'%s' names %u network ports, more than %u",
                          check->nodes[node].name, n_parts, check->limits.ports);
        return;
    }
    const char **ports = arena_array(check->arena, n_parts, sizeof *ports);
    for (size_t at = 0, i = 0; i < n_parts; i++) {
        add_to_net_port(check, node, next_part(value, &at, '|'), ports, &n);
    }
    check->nodes[node].ports = ports;
    check->nodes[node].n_ports = n;
}

/* The first 'part' or "part" that a message quotes from '*at' on, which moves behind it.  Length 0: there is none. */
static struct span
next_quoted(const char *message, size_t *at)
{
    for (size_t open = *at; message[open]; open++) {
        bool quote = message[open] == '"' || (message[open] == '\'' && (open == 0 || message[open - 1] == ' '));
        size_t length = quote ? strcspn(message + open + 1, message[open] == '"' ? "\"" : "'") : 0;
        if (quote && message[open + 1 + length]) {
            *at = open + length + 2;
            return (struct span) { (uint32_t) open + 1, (uint32_t) length };
        }
    }
    *at = strlen(message);
    return (struct span) { (uint32_t) *at, 0 };
}

/* Where a message quotes parts of the arguments: the part that is there once, and the last part of that part that is
 * quoted again, as in 'filter "tcp prot 80": "prot" is no word'.  Else all of them. */
static struct span
span_of_quoted(const struct check *check, uint32_t node, const char *message)
{
    const struct syntax_args *args = check->facts[node].args;
    const char *value = arena_copy(check->work, check->nodes[node].args, strlen(check->nodes[node].args));
    size_t start = 0, length = 0; /* 0: all */
    for (size_t at = 0; message[at];) {
        struct span quoted = next_quoted(message, &at);
        const char *part = arena_copy(check->work, message + quoted.offset, quoted.length);
        const char *found = quoted.length ? strstr(value, part) : NULL;
        if (found && !strstr(found + 1, part)) {
            start += (size_t) (found - value);
            length = quoted.length;
            value = part;
        }
    }
    return length ? check_span_in_args(check, args, start, length) : args->span;
}

/* In an instance of a part, say which. */
static void
note_instance(struct check *check, uint32_t node, struct fs_diagnostic *error)
{
    const struct check_instance *instance = check->facts[node].instance;
    if (instance->part) {
        diagnostics_note(check->diagnostics, error, &instance->span, "it is in this '%s'", instance->part->type.name);
    }
}

static void check_named_args(struct check *, uint32_t node);

/* Ask the type, if it is known how many outputs there are. */
static void
check_module(struct check *check, uint32_t node)
{
    const struct node_facts *facts = &check->facts[node];
    const struct fs_lang_type *type = facts->type;
    bool fixed = type->min_outputs == type->max_outputs;
    size_t errors = fs_diagnostics_errors(check->diagnostics);
    if (type->arguments) {
        check_named_args(check, node);
    }
    bool settled = type->arguments && type->n_arguments == 0; /* none is what the type wants, and none is what it gets */
    if (!check->env->check_args || settled || (!fixed && (!facts->outputs_sound || check->incomplete)) ||
        errors != fs_diagnostics_errors(check->diagnostics)) {
        return;
    }
    uint32_t n_outputs = fixed ? type->max_outputs : check->nodes[node].n_outputs;
    char *wrong = check->env->check_args(check->env->aux, type->name, check->nodes[node].args, n_outputs);
    if (wrong) {
        char message[LONGEST_MESSAGE];
        take_message(wrong, message);
        struct fs_diagnostic *error = diagnostics_error(check->diagnostics, span_of_quoted(check, node, message),
                                                        "bad argument of '%s': %s", check->nodes[node].name, message);
        note_instance(check, node, error);
    }
}

/* ---- Arguments KEY=value of types that say which they take. ---- */

static const struct fs_lang_argument *
find_argument(const struct fs_lang_type *type, const char *name, struct suggestion *suggestion)
{
    suggest_begin(suggestion, name);
    for (size_t i = 0; i < type->n_arguments; i++) {
        if (!strcmp(type->arguments[i].name, name)) {
            return &type->arguments[i];
        }
        suggest_offer(suggestion, type->arguments[i].name);
    }
    return NULL;
}

/* What is wrong with a value, or NULL. */
static char *
check_argument_value(struct check *check, const struct fs_lang_argument *argument, const char *value)
{
    double number;
    if (!argument->unit) {
        return *value ? NULL : arena_printf(check->arena, "its value is missing");
    }
    if (!*argument->unit) {
        char *end;
        number = strtod(value, &end);
        if (strspn(value, "0123456789") != strlen(value) || end == value) {
            return arena_printf(check->arena, "expected a whole number, but found '%.40s'", value);
        }
    } else {
        enum unit unit = *argument->unit == 'B' ? UNIT_BYTES : *argument->unit == 's' ? UNIT_TIME : UNIT_RATE;
        uint64_t amount;
        char *wrong = units_read(check->arena, value, unit, &amount);
        if (wrong) {
            return wrong;
        }
        number = unit == UNIT_TIME ? (double) amount / 1e6 : (double) amount;
    }
    bool bounded = argument->minimum != 0 || argument->maximum != 0;
    return bounded && (number < argument->minimum || number > argument->maximum)
               ? arena_printf(check->arena, "'%.40s' is not between %.9g and %.9g%s", value, argument->minimum,
                              argument->maximum, argument->unit)
               : NULL;
}

/* One "key=value" at 'part' of the arguments. */
static void
check_named_arg(struct check *check, uint32_t node, struct span part, bool *given)
{
    const struct fs_lang_type *type = check->facts[node].type;
    const char *text = arena_copy(check->work, check->nodes[node].args + part.offset, part.length),
               *equals = strchr(text, '=');
    struct span span = check_span_in_args(check, check->facts[node].args, part.offset, part.length);
    struct suggestion suggestion;
    if (!equals) {
        diagnostics_error(check->diagnostics, span, "arguments of a %s are written name=value, not '%.40s'", type->name,
                          text);
        return;
    }
    const char *name = arena_copy(check->work, text, (size_t) (equals - text));
    const struct fs_lang_argument *argument = find_argument(type, name, &suggestion);
    if (!argument) {
        struct fs_diagnostic *error =
            diagnostics_error(check->diagnostics, span, "a %s has no argument '%.40s'", type->name, name);
        diagnostics_suggest(check->diagnostics, error, suggestion.best);
        return;
    }
    char *wrong = check_argument_value(check, argument, equals + 1);
    if (given[argument - type->arguments]) {
        diagnostics_error(check->diagnostics, span, "argument '%s' is given twice", name);
    } else if (wrong) {
        diagnostics_error(check->diagnostics, span, "argument '%s': %s", name, wrong);
    }
    given[argument - type->arguments] = true;
}

/* The type says that it takes none. */
static void
check_no_args(struct check *check, uint32_t node)
{
    const char *args = check->nodes[node].args;
    size_t at = 0;
    if (args[strspn(args, " \t\n")]) {
        struct span all = next_part(args, &at, '\0');
        struct fs_diagnostic *error = diagnostics_error(
            check->diagnostics, check_span_in_args(check, check->facts[node].args, all.offset, all.length),
            "'%s' is given '%.40s', but a %s takes no arguments", check->nodes[node].name, args + all.offset,
            check->facts[node].type->name);
        note_instance(check, node, error);
    }
}

static void
check_named_args(struct check *check, uint32_t node)
{
    const struct fs_lang_type *type = check->facts[node].type;
    const char *args = check->nodes[node].args;
    if (type->n_arguments == 0) {
        check_no_args(check, node);
        return;
    }
    bool *given = arena_array(check->work, type->n_arguments, sizeof *given);
    for (size_t at = 0; args[at];) {
        struct span part = next_part(args, &at, ',');
        check_named_arg(check, node, part, given);
    }
    for (size_t i = 0; i < type->n_arguments; i++) {
        if (type->arguments[i].required && !given[i]) {
            diagnostics_error(check->diagnostics, check->facts[node].args->span, "a %s needs the argument '%s'",
                              type->name, type->arguments[i].name);
        }
    }
}

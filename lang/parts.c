/* The checker, about parts: compound modules that are declared once and used like a type.
 *
 * Each use is an instance with nodes of its own, whose names begin with the instance's.  While the request is checked,
 * two more nodes stand for the instance's inputs and outputs; what is outside is connected to their one side, what is
 * inside to the other, so the same checks serve both.  At the end they are dissolved. */
#include "config.h"

#include "lang/check.h"

#include <string.h>

#define DEEPEST 16u
#define MOST_PARAMETERS 64u

static void check_formals(struct check *, const struct syntax_scope *);
static void count_ports(const struct check *, struct part *);

void
parts_declare(struct check *check)
{
    struct check_file *file = check->file;
    const struct syntax_tree *tree = file->tree;
    struct table requests;
    file->parts = arena_array(check->work, tree->n_scopes, sizeof *file->parts);
    table_init_like(&requests, &file->types);
    for (size_t i = 0; i < tree->n_scopes; i++) {
        const struct syntax_scope *scope = tree->scopes[i];
        struct table *names = scope->part ? &file->part_names : &requests;
        uint32_t first = table_find(names, scope->name);
        if (first != TABLE_NONE) {
            struct fs_diagnostic *error =
                diagnostics_error(check->diagnostics, scope->span, "%s '%.64s' is declared twice",
                                  scope->part ? "part" : "request", scope->name);
            diagnostics_note(check->diagnostics, error, &tree->scopes[first]->span, "'%.64s' is first declared here",
                             scope->name);
            continue;
        }
        if (scope->part && check_find_type(check, scope->name)) {
            diagnostics_error(check->diagnostics, scope->span, "part '%.64s' has the name of a module type",
                              scope->name);
        }
        table_add(names, scope->name, (uint32_t) i);
        if (scope->part) {
            check_formals(check, scope);
            file->parts[i].scope = scope;
            count_ports(check, &file->parts[i]);
        }
    }
}

/* The parameters in the parentheses of a part. */
static void
check_formals(struct check *check, const struct syntax_scope *scope)
{
    if (scope->n_parameters > MOST_PARAMETERS) {
        diagnostics_error(check->diagnostics, scope->parameters[MOST_PARAMETERS].key_span,
                          "part '%.64s' has more than %u parameters", scope->name, MOST_PARAMETERS);
        return;
    }
    for (size_t i = 0; i < scope->n_parameters; i++) {
        const struct syntax_pair *formal = &scope->parameters[i];
        if (formal->value && formal->variable) {
            diagnostics_error(check->diagnostics, formal->value_span,
                              "the default of '$%.64s' cannot speak of parameters", formal->key);
        } else if (i > 0 && !formal->value && scope->parameters[i - 1].value) {
            diagnostics_error(check->diagnostics, formal->key_span,
                              "'$%.64s' needs a default, as the parameter before it has one", formal->key);
        }
        for (size_t k = 0; k < i; k++) {
            if (!strcmp(scope->parameters[k].key, formal->key)) {
                diagnostics_error(check->diagnostics, formal->key_span, "part '%.64s' has two parameters '$%.64s'",
                                  scope->name, formal->key);
                break;
            }
        }
    }
}

/* A part has the ports of 'input' and 'output' that its connections speak of. */
static void
count_ports(const struct check *check, struct part *part)
{
    const struct syntax_scope *scope = part->scope;
    uint32_t n[2] = { 0, 0 };
    for (size_t s = 0; s < scope->n_statements; s++) {
        const struct syntax_statement *statement = &scope->statements[s];
        for (size_t i = 0; statement->chain && i < statement->n; i++) {
            const struct syntax_element *element = &scope->elements[statement->first + i];
            bool input = i + 1 < statement->n && element->name && !strcmp(element->name, "input");
            bool output = i > 0 && element->name && !strcmp(element->name, "output");
            uint32_t port = input ? element->output.number : element->input.number;
            if ((input || output) && port < check->limits.ports && port >= n[output]) {
                n[output] = port + 1;
            }
        }
    }
    part->type = (struct fs_lang_type) { scope->name, n[0], n[0], n[1], n[1], NULL, 0 };
}

struct part *
parts_find(const struct check *check, const char *name)
{
    uint32_t i = table_find(&check->file->part_names, name);
    return i == TABLE_NONE ? NULL : &check->file->parts[i];
}

/* Nothing can be a part of itself. */
static bool
check_depth(struct check *check, const struct part *part, const struct syntax_element *element,
            const struct check_instance *parent)
{
    for (const struct check_instance *i = parent; i; i = i->parent) {
        if (i->part == part) {
            struct fs_diagnostic *error = diagnostics_error(check->diagnostics, element->type_span,
                                                            "part '%.64s' would contain itself", part->type.name);
            diagnostics_note(check->diagnostics, error, &part->scope->span, "it is declared here");
            return false;
        }
    }
    if (parent->depth >= DEEPEST) {
        diagnostics_error(check->diagnostics, element->type_span, "parts are used within parts more than %u deep",
                          DEEPEST);
        return false;
    }
    return true;
}

static bool
read_values(struct check *check, const struct syntax_element *element, const struct check_instance *parent,
            struct check_instance *instance)
{
    const struct syntax_scope *scope = instance->scope;
    const struct syntax_args *args = &element->args;
    size_t required = 0;
    while (required < scope->n_parameters && !scope->parameters[required].value) {
        required++;
    }
    if (args->broken || scope->n_parameters > MOST_PARAMETERS) {
        return false;
    }
    if (args->n < required || args->n > scope->n_parameters) {
        struct fs_diagnostic *error =
            diagnostics_error(check->diagnostics, args->span, "part '%.64s' takes %s%zu argument%s, but %u %s given",
                              scope->name, required < scope->n_parameters ? "at most " : "", scope->n_parameters,
                              scope->n_parameters == 1 ? "" : "s", args->n, args->n == 1 ? "is" : "are");
        diagnostics_note(check->diagnostics, error, &scope->span, "it is declared here");
        return false;
    }
    instance->values = arena_array(check->work, scope->n_parameters, sizeof *instance->values);
    for (size_t i = 0; i < scope->n_parameters; i++) {
        const struct syntax_string *string = i < args->n ? &args->strings[i] : NULL;
        const char *value = string ? parameters_value(check, parent, string->value, string->variable, string->span)
                                   : scope->parameters[i].value;
        instance->values[i] = value ? value : "";
    }
    return true;
}

bool
parts_instantiate(struct check *check, struct part *part, const struct syntax_element *element, const char *name,
                  const struct check_instance *parent, uint32_t input)
{
    part->used = true;
    if (!check_depth(check, part, element, parent)) {
        return false;
    }
    struct check_instance *instance = arena_alloc(check->work, sizeof *instance);
    *instance = (struct check_instance) { .scope = part->scope,
                                         .part = part,
                                         .prefix = arena_printf(check->work, "%s.", name),
                                         .input = input,
                                         .depth = parent->depth + 1,
                                         .span = element->type_span,
                                         .parent = parent };
    if (!read_values(check, element, parent, instance)) {
        check->incomplete = true; /* what the part would have connected is not there */
        return false;
    }
    *check->last_waiting = instance;
    check->last_waiting = &instance->next;
    return true;
}

void
parts_report_unused(struct check *check)
{
    const struct syntax_tree *tree = check->file->tree;
    for (size_t i = 0; i < tree->n_scopes; i++) {
        const struct part *part = &check->file->parts[i];
        if (part->scope && !part->used && !part->scope->library) {
            diagnostics_warning(check->diagnostics, part->scope->span, "part '%.64s' is not used, and not checked",
                                part->type.name);
        }
    }
}

/* Where 'link' leads when it goes past the nodes that stand for ports: '*final', with the largest of the rates, of each
 * link is kept, so that the way is gone once only. */
static void
follow(struct check *check, uint32_t link, uint32_t *final, uint32_t *stack)
{
    size_t depth = 0;
    while (final[link] == UINT32_MAX) {
        const struct fs_request_link *here = &check->links[link];
        stack[depth++] = link;
        if (check->facts[here->to].stand == STAND_NONE) {
            final[link] = link;
            break;
        }
        uint32_t next = check->outgoing.first[here->to];
        while (check->links[check->outgoing.by_node[next]].from_port != here->to_port) {
            next++; /* each port that leads in leads on: ports.c */
        }
        link = check->outgoing.by_node[next];
    }
    for (uint32_t after = link; depth > 0; after = stack[depth]) {
        uint32_t before = stack[--depth];
        uint64_t *rate = &check->links[before].rate, further = check->links[after].rate;
        final[before] = final[after];
        *rate = *rate > further ? *rate : further;
    }
}

static void
dissolve_links(struct check *check, const uint32_t *new_index)
{
    uint32_t *final = arena_array(check->work, check->n_links, sizeof *final);
    uint32_t *stack = arena_array(check->work, check->n_links, sizeof *stack);
    memset(final, 0xff, check->n_links * sizeof *final);
    for (size_t i = 0; i < check->n_links; i++) {
        follow(check, (uint32_t) i, final, stack);
    }
    struct fs_request_link *links = arena_array(check->work, check->n_links, sizeof *links);
    size_t n = 0;
    for (size_t i = 0; i < check->n_links; i++) {
        const struct fs_request_link *first = &check->links[i], *last = &check->links[final[i]];
        if (check->facts[first->from].stand == STAND_NONE) {
            links[n] = *first;
            links[n].from = new_index[first->from];
            links[n].to = new_index[last->to];
            links[n++].to_port = last->to_port;
        }
    }
    if (n) {
        memcpy(check->links, links, n * sizeof *links);
    }
    check->n_links = n;
}

void
parts_dissolve(struct check *check)
{
    uint32_t n = 0, *new_index = arena_array(check->work, check->n_nodes, sizeof *new_index);
    for (size_t i = 0; i < check->n_nodes; i++) {
        new_index[i] = check->facts[i].stand == STAND_NONE ? n++ : UINT32_MAX;
    }
    check->new_index = new_index;
    if (n < check->n_nodes) {
        dissolve_links(check, new_index);
    }
    for (size_t i = 0; i < check->n_links; i++) {
        check->links[i].rate = check->links[i].rate ? check->links[i].rate : check->settings.rate;
    }
    for (size_t i = 0; i < check->n_nodes; i++) {
        if (new_index[i] != UINT32_MAX) {
            check->nodes[new_index[i]] = check->nodes[i];
        }
    }
    check->n_nodes = n;
}

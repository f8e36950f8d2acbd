/* The checker, about parameters: "$name" in strings and values.  Within a part those in its parentheses come first, then
 * those of the request: what the installer gave, else the default that the text gives.
 *
 * A value stands for itself; a '$' in it means nothing. */
#include "config.h"

#include "lang/check.h"

#include <string.h>

#include "core/suggest.h"

/* Who asks for a value. */
struct asker {
    struct check *check;
    const struct check_instance *instance;
};

static struct variable *
add_variable(struct check *check, const char *name, const char *value)
{
    struct check_file *file = check->file;
    file->variables = arena_grow(check->work, file->variables, file->n_variables, &file->variables_capacity,
                                 sizeof *file->variables);
    table_add(&file->variable_names, name, (uint32_t) file->n_variables);
    struct variable *variable = &file->variables[file->n_variables++];
    *variable = (struct variable) { .name = name, .value = value };
    return variable;
}

static const char *
given_value(const struct check *check, const char *name)
{
    for (size_t i = 0; i < check->env->n_parameters; i++) {
        if (!strcmp(check->env->parameters[i].name, name)) {
            return check->env->parameters[i].value;
        }
    }
    return NULL;
}

/* Enter the lines $name=value of one scope. */
void
parameters_declare(struct check *check, const struct syntax_scope *scope)
{
    struct table here;
    table_init_like(&here, &check->file->types);
    for (size_t i = 0; i < scope->n_parameters; i++) {
        const struct syntax_pair *pair = &scope->parameters[i];
        uint32_t first = table_find(&here, pair->key);
        if (first != TABLE_NONE) {
            struct fs_diagnostic *error =
                diagnostics_error(check->diagnostics, pair->key_span, "parameter '$%.64s' is given twice", pair->key);
            diagnostics_note(check->diagnostics, error, &scope->parameters[first].key_span, "it is first given here");
            continue;
        }
        table_add(&here, pair->key, (uint32_t) i);
        if (pair->variable) {
            diagnostics_error(check->diagnostics, pair->value_span,
                              "the default of '$%.64s' cannot speak of parameters", pair->key);
        }
        const char *given = given_value(check, pair->key);
        uint32_t known = table_find(&check->file->variable_names, pair->key);
        struct variable *variable =
            known == TABLE_NONE ? add_variable(check, pair->key, NULL) : &check->file->variables[known];
        variable->value = given ? given : pair->broken ? "" : pair->value;
    }
}

static void
report_without_value(struct check *check, const char *name, struct span span)
{
    struct suggestion suggestion;
    suggest_begin(&suggestion, name);
    for (size_t i = 0; i < check->file->n_variables; i++) {
        if (check->file->variables[i].value) {
            suggest_offer(&suggestion, check->file->variables[i].name);
        }
    }
    struct fs_diagnostic *error = diagnostics_error(check->diagnostics, span, "parameter '$%.64s' has no value", name);
    diagnostics_suggest(check->diagnostics, error, suggestion.best);
    diagnostics_note(check->diagnostics, error, NULL,
                     "give it when the request is installed (-D %.64s=VALUE), or its default in a line $%.64s=VALUE",
                     name, name);
}

/* The parameter of the part that 'instance' is in; NULL: it has none of that name. */
static const char *
find_formal(const struct check_instance *instance, const char *name)
{
    const struct syntax_scope *scope = instance->scope;
    for (size_t i = 0; instance->part && i < scope->n_parameters; i++) {
        if (!strcmp(scope->parameters[i].key, name)) {
            return instance->values[i];
        }
    }
    return NULL;
}

static const char *
find_variable(struct check *check, const char *name, struct span span)
{
    uint32_t known = table_find(&check->file->variable_names, name);
    struct variable *variable =
        known == TABLE_NONE ? add_variable(check, name, given_value(check, name)) : &check->file->variables[known];
    variable->used = true;
    if (!variable->value) {
        report_without_value(check, name, span);
    }
    return variable->value;
}

static const char *
find(void *asker_, const char *name, struct span span)
{
    const struct asker *asker = asker_;
    struct check *check = asker->check;
    const char *value = find_formal(asker->instance, name);
    value = value ? value : find_variable(check, name, span);
    size_t length = value ? strlen(value) : 0;
    check->file->n_missing += !value;
    if (length > check->file->substitutes_left) {
        diagnostics_error(check->diagnostics, span, "the values of parameters add up to too much text");
        check->file->substitutes_left = 0;
        return NULL;
    }
    check->file->substitutes_left -= length;
    return value;
}

const char *
parameters_value(struct check *check, const struct check_instance *instance, const char *value, bool variable,
                 struct span span)
{
    struct asker asker = { check, instance };
    struct lexer_parameters parameters = { find, &asker };
    return variable ? lexer_substitute(check->arena, check->text, span, &parameters) : value;
}

void
parameters_report_unknown(struct check *check)
{
    for (size_t i = 0; i < check->env->n_parameters; i++) {
        const char *name = check->env->parameters[i].name;
        if (table_find(&check->file->variable_names, name) != TABLE_NONE) {
            continue;
        }
        struct suggestion suggestion;
        suggest_begin(&suggestion, name);
        for (size_t k = 0; k < check->file->n_variables; k++) {
            suggest_offer(&suggestion, check->file->variables[k].name);
        }
        struct span start = { 0, 0 };
        struct fs_diagnostic *error = diagnostics_error(
            check->diagnostics, start, "parameter '%.64s' is given a value, but the text does not speak of it", name);
        diagnostics_suggest(check->diagnostics, error, suggestion.best);
    }
}

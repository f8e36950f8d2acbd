/* list_types: the types of processing modules that are installed. */
#include <stdlib.h>
#include <string.h>

#include <flowstream/log.h>
#include <flowstream/method.h>

#include "daemons/pm/pm.h"

FS_LOG_MODULE("types");

static xmlrpc_value *
ports(uint32_t n)
{
    return fs_int(n == FS_PORTS_ANY ? -1 : (int) n);
}

/* The table of a type whose arguments have names. */
static xmlrpc_value *
named_arguments(const struct fs_lang_argument *rows)
{
    xmlrpc_value *list = fs_array();
    for (const struct fs_lang_argument *a = rows; a->name; a++) {
        xmlrpc_value *v = fs_set(fs_struct(), "name", fs_string(a->name));
        if (a->unit) {
            fs_set(v, "unit", fs_string(a->unit));
        }
        fs_set(v, "minimum", fs_double(a->minimum));
        fs_set(v, "maximum", fs_double(a->maximum));
        fs_append(list, fs_set(v, "required", fs_bool(a->required)));
    }
    return list;
}

static xmlrpc_value *
describe(const struct fs_type *type)
{
    const struct fs_module_type *t = type->type;
    xmlrpc_value *v = fs_struct(), *primitives = fs_struct();
    for (const struct fs_module_primitive *p = t->primitives; p && p->name; p++) {
        fs_set(primitives, p->name, fs_string(p->parameters));
    }
    fs_set(v, "name", fs_string(t->name));
    fs_set(v, "description", fs_string(t->description));
    fs_set(v, "arguments", fs_string(t->arguments));
    if (type->arguments) {
        fs_set(v, "named_arguments", named_arguments(type->arguments));
    }
    fs_set(v, "min_inputs", ports(t->min_inputs));
    fs_set(v, "max_inputs", ports(t->max_inputs));
    fs_set(v, "min_outputs", ports(t->min_outputs));
    fs_set(v, "max_outputs", ports(t->max_outputs));
    return fs_set(v, "primitives", primitives);
}

static void
run(struct fs_call *call)
{
    const char *folder = pm_types(fs_call_state(call));
    char **names = NULL;
    int e = fs_type_list(folder, &names);
    if (e) {
        fs_call_fail(call, "%s: %s", folder, strerror(e));
        return;
    }
    xmlrpc_value *all = fs_array();
    for (size_t i = 0; names[i]; i++) {
        struct fs_type type;
        char *error = NULL;
        if (fs_type_load(folder, names[i], &type, &error)) {
            fs_log_limited(FS_LOG_WARNING, "type %s: %s", names[i], error);
        } else {
            fs_append(all, describe(&type));
            fs_type_unload(&type);
        }
        free(error);
    }
    fs_type_list_free(names);
    fs_call_return(call, all);
}

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "list_types",
    .help = "Lists the installed types of processing modules: name, description, arguments, smallest and largest number of inputs and outputs (-1: any), "
            "primitives (name and parameters) and, of a type that says which arguments it takes, named_arguments: structs with name, unit (\"bps\", \"B\" or \"s\"; \"\": a "
            "whole number; absent: any text), minimum and maximum (in the unit; both 0: any) and required. An empty list says that it takes none.",
    .returns = "array",
    .idempotent = true,
    .run = run,
};

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

static xmlrpc_value *
describe(const struct fs_module_type *t)
{
    xmlrpc_value *v = fs_struct(), *primitives = fs_struct();
    for (const struct fs_module_primitive *p = t->primitives; p && p->name; p++) {
        fs_set(primitives, p->name, fs_string(p->parameters));
    }
    fs_set(v, "name", fs_string(t->name));
    fs_set(v, "description", fs_string(t->description));
    fs_set(v, "arguments", fs_string(t->arguments));
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
            fs_append(all, describe(type.type));
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
    .help = "Lists the installed types of processing modules: name, description, arguments, smallest and largest number of inputs and outputs (-1: any), and "
            "primitives (name and parameters).",
    .returns = "array",
    .idempotent = true,
    .run = run,
};

/* check_pms: would these modules take these arguments?  Asked before anything is started. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <flowstream/method.h>

#include "core/util.h"
#include "daemons/pm/pm.h"

/* "" or why the type does not take the arguments. */
static char *
check(const char *folder, const xmlrpc_value *pm)
{
    struct fs_type type;
    char *error = NULL;
    int e = fs_type_load(folder, fs_get_string(pm, "type", ""), &type, &error);
    if (e) {
        return error ? error : fs_xstrdup(strerror(e));
    }
    void *state = type.type->configure(fs_get_string(pm, "args", ""), (uint32_t) fs_get_int(pm, "outputs", 0), &error);
    if (state) {
        type.type->destroy(state);
    }
    char *why = fs_xstrdup(state ? "" : error ? error : "its arguments are refused");
    free(error);
    fs_type_unload(&type);
    return why;
}

static void
run(struct fs_call *call)
{
    const xmlrpc_value *list = fs_call_param(call, 0);
    xmlrpc_value *all = fs_array();
    for (size_t i = 0; i < fs_size(list); i++) {
        char *why = check(pm_types(fs_call_state(call)), fs_item(list, i));
        fs_append(all, fs_string(why));
        free(why);
    }
    fs_call_return(call, all);
}

static const struct fs_member members[] = {
    { "type", "string", 0, 0, "of the module" },
    { "args", "string?", 0, 0, "of the module" },
    { "outputs", "int?", 0, 0, "number of connected outputs" },
    { 0 },
};

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "check_pms",
    .help = "Checks arguments of modules without starting any: answers for each \"\", or what is wrong.",
    .params = { { "pms", "array", "structs" } },
    .members = { members },
    .returns = "array",
    .idempotent = true,
    .run = run,
};

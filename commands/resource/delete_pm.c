/* delete_pm: end a module that create_pm has started (section 2.1.2, low-level API). */
#include <stdlib.h>

#include <flowstream/method.h>

#include "core/util.h"
#include "daemons/resource/byhand.h"

static void
run(struct fs_call *call)
{
    struct resource *r = fs_call_state(call);
    const char *name = fs_get_string(fs_call_param(call, 0), "name", "");
    xmlrpc_value *doc = resource_module_by_hand(r, name);
    if (doc) {
        resource_begin_delete(call, fs_get_int(doc, "id", 0), false);
    } else {
        char *names = resource_modules_by_hand(r);
        fs_call_fail(call, "delete_pm: parameter 1 (pm): there is no module '%.64s' made by create_pm%s%s", name, *names ? "; there are " : "", names);
        free(names);
    }
    fs_free(doc);
}

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "delete_pm",
    .help = "Ends a module that create_pm has started. Refused while connections lead through it.",
    .params = { { "pm", "struct", "as given to create_pm; the name alone says which" } },
    .members = { resource_pm_members },
    .returns = "nil",
    .run = run,
};

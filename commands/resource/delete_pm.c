/* delete_pm: end a module that create_pm has started (section 2.1.2, low-level API). */
#include <stdlib.h>

#include <flowstream/method.h>

#include "core/util.h"
#include "daemons/resource/byhand.h"
#include "daemons/resource/options.h"

/* The module that has the name now, where this call was not said before.  Asked again where there is none: it may be deleted just now, by the same call. */
static void
delete(struct fs_call *call, const char *name, const char *key, const char *what)
{
    struct resource *r = fs_call_state(call);
    xmlrpc_value *doc = resource_module_by_hand(r, name);
    if (doc) {
        resource_begin_delete(call, fs_get_int(doc, "id", 0), false, key, what);
    } else if (!resource_delete_again(call, key, what)) {
        char *names = resource_modules_by_hand(r);
        fs_call_fail(call, "delete_pm: parameter 1 (pm): there is no module '%.64s' made by create_pm%s%s", name, *names ? "; there are " : "", names);
        free(names);
    }
    fs_free(doc);
}

static void
run(struct fs_call *call)
{
    const char *name = fs_get_string(fs_call_param(call, 0), "name", ""), *key = fs_get_string(fs_call_param(call, 1), "key", "");
    char *what = fs_xasprintf("delete_pm of %s", name);
    if (!resource_delete_again(call, key, what)) {
        delete(call, name, key, what);
    }
    free(what);
}

static const struct fs_member options[] = {
    RESOURCE_KEY_OPTION("the same key and name again answer what became of the first call, for a day, and leave alone what has the name by then"),
    { 0 },
};

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "delete_pm",
    .help = "Ends a module that create_pm has started. Refused while connections lead through it.",
    .params = { { "pm", "struct", "as given to create_pm; the name alone says which" }, { "options", "struct?", NULL } },
    .members = { resource_pm_members, options },
    .returns = "nil",
    .run = run,
};

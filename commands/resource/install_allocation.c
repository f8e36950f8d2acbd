/* install_allocation: the way of a request.  Checked first; then its intent is in the store; then the task 'install' carries it out. */
#include <stdlib.h>
#include <string.h>

#include <flowstream/method.h>

#include "core/util.h"
#include "daemons/resource/byhand.h"
#include "daemons/resource/options.h"

enum { DEFAULT_WAIT_SECONDS = 30, MAX_WAIT_SECONDS = 50, MAX_NAME = 64 };

static void
run(struct fs_call *call)
{
    struct resource *r = fs_call_state(call);
    const char *text = fs_call_string(call, 0, "");
    const xmlrpc_value *options = fs_call_param(call, 1);
    const char *name = fs_get_string(options, "name", ""), *key = fs_get_string(options, "key", "");
    xmlrpc_value *request = resource_compile(call, text, options);
    if (!request) {
        return;
    }
    char *error = NULL;
    bool again = false;
    name = *name ? name : fs_get_string(fs_get(request, "headers"), "NAME", "");
    const char *warnings = fs_get_string(request, "warnings", "");
    int id = resource_new_allocation(r, text, name, key, "operator", request, &again, &error);
    if (!id) {
        fs_call_fail(call, "%s", error);
    } else if (again) {
        resource_answer_again(call, id, warnings, true);
    } else {
        resource_begin_install(call, id, fs_get_double(options, "wait", DEFAULT_WAIT_SECONDS), true);
    }
    fs_free(request);
    free(error);
}

static const struct fs_member options_have[] = {
    { "wait", "double?", 0, MAX_WAIT_SECONDS, "seconds (default 30, 50 at most)" },
    { "name", "string?", 0, MAX_NAME, "what people call it" },
    RESOURCE_KEY_OPTION("the same key and text again answer the same allocation"),
    RESOURCE_TEXT_OPTIONS,
    { 0 },
};

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "install_allocation",
    .help = "Installs an allocation request: starts its modules on hosts and steers its traffic through them. Answers the id of the allocation, in the message what the language warns of; with code -1 the id of one that "
            "is still being installed when the wait is over. A request with mistakes is refused with all of them, and nothing is changed. When a step fails, all is undone.",
    .params = { { "alloc", "string", "the request, in the allocation language" },
                { "options", "struct?", NULL } },
    .members = { [1] = options_have },
    .returns = "int",
    .run = run,
};

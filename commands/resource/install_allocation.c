/* install_allocation: the way of a request.  Checked first; then its intent is in the store; then the task 'install' carries it out. */
#include <stdlib.h>
#include <string.h>

#include <flowstream/method.h>

#include "core/util.h"
#include "daemons/resource/byhand.h"

enum { MAX_WAIT_SECONDS = 50, MAX_NAME = 64, MAX_KEY = 128 };

/* The checked request, or NULL after the call has been answered. */
static xmlrpc_value *
check(struct fs_call *call, const char *text, const char *name, const xmlrpc_value *options)
{
    static const char *const passed_on[] = { "parameters", "files", "request" };
    xmlrpc_value *param = fs_set(fs_struct(), "text", fs_string(text));
    fs_set(param, "file", fs_string(fs_get_string(options, "file", *name ? name : "request")));
    for (size_t i = 0; i < sizeof passed_on / sizeof passed_on[0]; i++) {
        if (fs_get(options, passed_on[i])) {
            fs_set(param, passed_on[i], fs_copy(fs_get(options, passed_on[i])));
        }
    }
    struct fs_reply reply;
    xmlrpc_value *request = NULL;
    if (fs_call_task(call, "compile_request", param, &reply)) {
        fs_call_fail(call, "%s", reply.message);
    } else {
        request = reply.value;
        reply.value = NULL;
    }
    fs_reply_clear(&reply);
    return request;
}

/* Done; the message is for what the language warns of. */
static void
answer_installed(struct fs_call *call, int id, const char *warnings)
{
    struct fs_reply reply = { .message = *warnings ? fs_xstrdup(warnings) : NULL, .value = fs_int(id) };
    fs_call_reply(call, &reply);
}

static void
answer_for(struct fs_call *call, int id, const char *state, const char *message, const char *warnings)
{
    if (!strcmp(state, "installed")) {
        answer_installed(call, id, warnings);
    } else {
        fs_call_not_ready(call, fs_int(id), "allocation %d is %s%s%s", id, state, *message ? ": " : "", message);
    }
}

/* NULL, or what is wrong with an option's name or type. */
static char *
check_option(const char *key, const xmlrpc_value *v)
{
    static const struct {
        const char *key, *type;
    } known[] = {
        { "wait", "double" }, { "name", "string" }, { "key", "string" }, { "file", "string" }, { "request", "string" }, { "parameters", "struct" },
        { "files", "struct" },
    };
    const char *type = fs_type_name(v);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (!strcmp(key, known[i].key)) {
            bool fits = !strcmp(type, known[i].type) || (!strcmp(known[i].type, "double") && !strcmp(type, "int"));
            return fits ? NULL : fs_xasprintf("option %s must be of type %s, not %s", key, *key == 'w' ? "int or double" : known[i].type, type);
        }
    }
    return fs_xasprintf("there is no option '%.64s'; wait, name, key, file, request, parameters and files are possible", key);
}

/* NULL, or what is wrong with the options: their types first, then their values. */
static char *
check_options(const xmlrpc_value *options)
{
    for (size_t i = 0; i < fs_size(options); i++) {
        xmlrpc_value *v;
        const char *key = fs_member(options, i, &v);
        char *wrong = check_option(key, v);
        if (wrong) {
            return wrong;
        }
    }
    double wait = fs_get_double(options, "wait", 0);
    if (!(wait >= 0 && wait <= MAX_WAIT_SECONDS)) {
        return fs_xasprintf("option wait is %g; 0 to %d seconds are possible", wait, MAX_WAIT_SECONDS);
    }
    bool long_name = strlen(fs_get_string(options, "name", "")) > MAX_NAME;
    if (long_name || strlen(fs_get_string(options, "key", "")) > MAX_KEY) {
        return fs_xasprintf("option %s is longer than %d bytes", long_name ? "name" : "key", long_name ? MAX_NAME : MAX_KEY);
    }
    return NULL;
}

static void
run(struct fs_call *call)
{
    struct resource *r = fs_call_state(call);
    const char *text = fs_call_string(call, 0, "");
    const xmlrpc_value *options = fs_call_param(call, 1);
    const char *name = fs_get_string(options, "name", ""), *key = fs_get_string(options, "key", "");
    double wait = fs_get_double(options, "wait", 30);
    char *wrong = check_options(options);
    if (wrong) {
        fs_call_fail(call, "install_allocation: parameter 2 (options): %s", wrong);
        free(wrong);
        return;
    }
    xmlrpc_value *request = check(call, text, name, options);
    if (!request) {
        return;
    }
    const char *own_name = fs_get_string(fs_get(request, "headers"), "NAME", name);
    char *error = NULL, *shown = fs_xstrdup(*name ? name : own_name);
    bool again = false;
    xmlrpc_value *kept = fs_copy(request);
    const char *warnings = fs_get_string(kept, "warnings", "");
    int id = resource_new_allocation(r, text, shown, key, "operator", request, &again, &error);
    if (!id) {
        fs_call_fail(call, "%s", error);
    } else if (again) {
        xmlrpc_value *doc = resource_allocation(r, id);
        answer_for(call, id, fs_get_string(doc, "state", "gone"), fs_get_string(doc, "message", ""), warnings);
        fs_free(doc);
    } else if (resource_conflict(r, id, kept, &error)) {
        char *ignored = NULL;
        resource_forget(r, id, &ignored);
        free(ignored);
        fs_call_fail(call, "%s", error);
    } else {
        resource_begin_install(call, id, wait, true);
    }
    fs_free(kept);
    free(shown);
    free(error);
}

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "install_allocation",
    .help = "Installs an allocation request: starts its modules on hosts and steers its traffic through them. Answers the id of the allocation, in the message what the language warns of; with code -1 the id of one that "
            "is still being installed when the wait is over. A request with mistakes is refused with all of them, and nothing is changed. When a step fails, all is undone.",
    .params = { { "alloc", "string", "the request, in the allocation language" },
                { "options", "struct?", "wait: seconds (default 30, 50 at most); name: what people call it; file: the name for messages about the text; key: the same key again answers the same allocation; "
                                     "parameters: struct of strings, what $NAME stands for; files: struct of texts that the request includes; request: which of several in the text" } },
    .returns = "int",
    .run = run,
};

/* What may be said beside the text of a request: one table for all methods that take one. */
#include "config.h"

#include "daemons/resource/options.h"

#include <stdlib.h>
#include <string.h>

#include "core/util.h"

enum { MAX_WAIT_SECONDS = 50, MAX_NAME = 64, MAX_KEY = 128 };

static const struct option {
    const char *key, *type;
    bool installs;   /* only where something is installed */
    bool is_for_text; /* handed to compile_request */
} known[] = {
    { "wait", "double", true, false },      { "name", "string", true, false },       { "key", "string", true, false },
    { "file", "string", false, true },      { "request", "string", false, true },    { "parameters", "struct", false, true },
    { "files", "struct", false, true },
};
enum { N_KNOWN = sizeof known / sizeof *known };

static const struct option *
find(const char *key, bool installs)
{
    for (size_t i = 0; i < N_KNOWN; i++) {
        if (!strcmp(key, known[i].key) && (installs || !known[i].installs)) {
            return &known[i];
        }
    }
    return NULL;
}

static char *
list_known(bool installs)
{
    struct fs_text t = { 0 };
    for (size_t i = 0; i < N_KNOWN; i++) {
        if (installs || !known[i].installs) {
            fs_text_addf(&t, "%s%s", !t.length ? "" : i + 1 == N_KNOWN ? " and " : ", ", known[i].key);
        }
    }
    return t.text;
}

/* NULL, or what is wrong with an option's name or type. */
static char *
check_one(const char *key, const xmlrpc_value *v, bool installs)
{
    const struct option *o = find(key, installs);
    const char *type = fs_type_name(v);
    if (!o) {
        char *all = list_known(installs), *why = fs_xasprintf("there is no option '%.64s'; %s are possible", key, all);
        free(all);
        return why;
    }
    bool number = !strcmp(o->type, "double"), fits = !strcmp(type, o->type) || (number && !strcmp(type, "int"));
    return fits ? NULL : fs_xasprintf("option %s must be of type %s, not %s", key, number ? "int or double" : o->type, type);
}

/* NULL, or what is wrong with the options: their types first, then their values. */
static char *
check(const xmlrpc_value *options, bool installs)
{
    for (size_t i = 0; i < fs_size(options); i++) {
        xmlrpc_value *v;
        const char *key = fs_member(options, i, &v);
        char *wrong = check_one(key, v, installs);
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

xmlrpc_value *
resource_compile(struct fs_call *call, const char *text, const xmlrpc_value *options, bool installs)
{
    char *wrong = check(options, installs);
    if (wrong) {
        fs_call_fail(call, "%s: parameter 2 (options): %s", installs ? "install_allocation" : "plan_allocation", wrong);
        free(wrong);
        return NULL;
    }
    const char *name = fs_get_string(options, "name", "");
    xmlrpc_value *param = fs_set(fs_struct(), "text", fs_string(text));
    fs_set(param, "file", fs_string(*name ? name : "request"));
    for (size_t i = 0; i < N_KNOWN; i++) {
        if (known[i].is_for_text && fs_get(options, known[i].key)) {
            fs_set(param, known[i].key, fs_copy(fs_get(options, known[i].key)));
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

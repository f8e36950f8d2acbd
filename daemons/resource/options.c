/* The text of a request with its options, for all methods that take one. */
#include "config.h"

#include "daemons/resource/options.h"

static const struct fs_member for_text[] = { RESOURCE_TEXT_OPTIONS, { 0 } };

xmlrpc_value *
resource_compile(struct fs_call *call, const char *text, const xmlrpc_value *options)
{
    const char *name = fs_get_string(options, "name", "");
    xmlrpc_value *param = fs_set(fs_struct(), "text", fs_string(text));
    fs_set(param, "file", fs_string(*name ? name : "request"));
    for (const struct fs_member *o = for_text; o->name; o++) {
        if (fs_get(options, o->name)) {
            fs_set(param, o->name, fs_copy(fs_get(options, o->name)));
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

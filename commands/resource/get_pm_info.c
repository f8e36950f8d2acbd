/* get_pm_info: the types of processing modules, as section 2.1.1 of D3.2 has it: pairs of a description and the primitives. */
#include <flowstream/method.h>

#include "core/daemon.h"
#include "core/util.h"

static void
run(struct fs_call *call)
{
    struct fs_reply reply;
    if (fs_call_peer(call, fs_daemon_peer(fs_call_daemon(call), "pm"), "list_types", fs_array(), &reply)) {
        fs_call_reply(call, &reply);
        return;
    }
    xmlrpc_value *all = fs_array();
    for (size_t i = 0; i < fs_size(reply.value); i++) {
        const xmlrpc_value *t = fs_item(reply.value, i);
        xmlrpc_value *pair = fs_append(fs_array(), fs_stringf("%s: %s Arguments: %s", fs_get_string(t, "name", ""), fs_get_string(t, "description", ""),
                                                              fs_get_string(t, "arguments", "")));
        fs_append(all, fs_append(pair, fs_copy(fs_get(t, "primitives"))));
    }
    fs_reply_clear(&reply);
    fs_call_return(call, all);
}

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "get_pm_info",
    .help = "Lists the types of processing modules that the platform has: pairs of a description (it begins with the type's name and a colon) and a struct from the name of each primitive "
            "to its parameters.",
    .returns = "array",
    .idempotent = true,
    .run = run,
};

/* delete_connections: take connections away that create_connections has made (section 2.1.2, low-level API).  The modules stay. */
#include <stdlib.h>

#include <flowstream/method.h>

#include "daemons/resource/byhand.h"

static void
run(struct fs_call *call)
{
    struct resource *r = fs_call_state(call);
    const char *name = fs_call_string(call, 0, "");
    int table = fs_call_int(call, 1, 0);
    char *node = resource_switch_node(r, name);
    if (!node) {
        char *names = resource_switch_names(fs_call_state(call));
        fs_call_fail(call, "delete_connections: parameter 1 (switch_name): the platform has no switch '%.64s'; it has %s", name, names);
        free(names);
        return;
    }
    struct fs_reply reply;
    xmlrpc_value *param = fs_set(fs_set(fs_struct(), "text", fs_string(fs_call_string(call, 2, ""))), "file", fs_string("connections"));
    if (fs_call_task(call, "compile_request", fs_set(param, "partial", fs_bool(true)), &reply)) {
        fs_call_reply(call, &reply);
    } else {
        int id = resource_connections(r, node, table, reply.value);
        fs_reply_clear(&reply);
        if (id) {
            resource_begin_delete(call, id, false);
        } else {
            fs_call_fail(call, "delete_connections: there are no connections that say this at switch %s, table %d (list_allocations lists those of kind "
                               "\"connections\"; delete_allocation deletes by id)", name, table);
        }
    }
    free(node);
}

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "delete_connections",
    .help = "Takes connections away that create_connections has made: traffic goes its old way again, the modules go on without it.",
    .params = { { "switch_name", "string", "as given to create_connections" },
                { "switch_table_id", "int", "as given to create_connections" },
                { "alloc", "string", "what was given to create_connections; blanks and comments do not count" } },
    .returns = "nil",
    .run = run,
};

/* delete_connections: take connections away that create_connections has made (section 2.1.2, low-level API).  The modules stay. */
#include <stdlib.h>
#include <string.h>

#include <flowstream/method.h>

#include "core/images.h"
#include "core/util.h"
#include "daemons/resource/byhand.h"
#include "daemons/resource/options.h"

/* The connections at that node and table that say the same as the text; 0: there are none, or -1 after the call has been answered. */
static int
find(struct fs_call *call, const char *node, int table, const char *text)
{
    struct fs_reply reply;
    xmlrpc_value *param = fs_set(fs_set(fs_struct(), "text", fs_string(text)), "file", fs_string("connections"));
    if (fs_call_task(call, "compile_request", fs_set(param, "partial", fs_bool(true)), &reply)) {
        fs_call_reply(call, &reply);
        return -1;
    }
    int id = resource_connections(fs_call_state(call), node, table, reply.value);
    fs_reply_clear(&reply);
    return id;
}

/* Those that there are now, where this call was not said before.  Asked again where there are none: they may be deleted just now, by the same call. */
static void
delete(struct fs_call *call, const char *node, const char *key, const char *what)
{
    const char *name = fs_call_string(call, 0, "");
    int table = fs_call_int(call, 1, 0), id = find(call, node, table, fs_call_string(call, 2, ""));
    if (id > 0) {
        resource_begin_delete(call, id, false, key, what);
    } else if (!id && !resource_delete_again(call, key, what)) {
        fs_call_fail(call, "delete_connections: there are no connections that say this at switch %s, table %d (list_allocations lists those of kind \"connections\"; "
                           "delete_allocation deletes by id)", name, table);
    }
}

static void
run(struct fs_call *call)
{
    const char *name = fs_call_string(call, 0, ""), *text = fs_call_string(call, 2, ""), *key = fs_get_string(fs_call_param(call, 3), "key", "");
    char hash[FS_HASH_SIZE], *node = resource_switch_node(fs_call_state(call), name);
    fs_image_hash(text, strlen(text), hash);
    char *what = fs_xasprintf("delete_connections of %s, table %d, and a text whose SHA-256 is %s", name, fs_call_int(call, 1, 0), hash);
    if (!resource_delete_again(call, key, what)) {
        if (node) {
            delete(call, node, key, what);
        } else {
            char *names = resource_switch_names(fs_call_state(call));
            fs_call_fail(call, "delete_connections: parameter 1 (switch_name): the platform has no switch '%.64s'; it has %s", name, names);
            free(names);
        }
    }
    free(what);
    free(node);
}

static const struct fs_member options[] = {
    RESOURCE_KEY_OPTION("the same key, switch, table and text again answer what became of the first call, for a day, and leave alone what was made since"),
    { 0 },
};

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "delete_connections",
    .help = "Takes connections away that create_connections has made: traffic goes its old way again, the modules go on without it.",
    .params = { { "switch_name", "string", "as given to create_connections" },
                { "switch_table_id", "int", "as given to create_connections" },
                { "alloc", "string", "what was given to create_connections; blanks and comments do not count" },
                { "options", "struct?", NULL } },
    .members = { [3] = options },
    .returns = "nil",
    .run = run,
};

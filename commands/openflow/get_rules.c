/* get_rules: the rules of a switch with their counts. */
#include <stdlib.h>

#include <flowstream/method.h>
#include <flowstream/openflow.h>

#include "daemons/openflow/describe.h"
#include "daemons/openflow/switches.h"

enum { SWITCH_MS = 8000 };

static void
run(struct fs_call *call)
{
    const xmlrpc_value *param = fs_call_param(call, 0);
    char *error = NULL;
    struct fs_switch *sw = switches_get(fs_call_state(call), fs_get_string(param, "switch", ""), fs_get_string(param, "target", ""), &error);
    int id = fs_get_int(param, "allocation", -1), index = fs_get_int(param, "index", -1);
    uint64_t mask = id < 0 ? FS_COOKIE_SPACE_MASK : index < 0 ? FS_COOKIE_ALLOCATION_MASK : FS_COOKIE_EXACT_MASK;
    uint64_t cookie = fs_cookie(id >= 0 ? (uint32_t) id : 0, index >= 0 ? (uint16_t) index : 0);
    xmlrpc_value *rules = sw ? openflow_rules(sw, cookie, mask, SWITCH_MS, &error) : NULL;
    if (rules) {
        fs_call_return(call, rules);
    } else {
        fs_call_fail(call, "%s", error);
    }
    free(error);
}

static const struct fs_member members[] = {
    OPENFLOW_WHICH,
    { "allocation", "int?", 0, 0, "only its rules" },
    { "index", "int?", 0, 0, "with allocation: only this one of them, which a switch finds without looking at all" },
    { 0 },
};

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "get_rules",
    .help = "Lists Flowstream's rules in a switch: table, priority, match, actions, allocation, packets, bytes, seconds.",
    .params = { { "which", "struct", NULL } },
    .members = { members },
    .returns = "array",
    .idempotent = true,
    .run = run,
};

/* remove_rules: the rules of one allocation out of switches, and behind the last of them its meters.  All switches are tried; what could not be reached is told. */
#include <stdlib.h>

#include <flowstream/log.h>
#include <flowstream/method.h>
#include <flowstream/openflow.h>

#include "core/util.h"
#include "daemons/openflow/switches.h"

FS_LOG_MODULE("rules");

enum { SWITCH_DEADLINE_MS = 5000 };

/* Has the allocation no meters there?  Known only of one that is given with its rules. */
static bool
has_no_meters(const xmlrpc_value *item)
{
    return fs_get(item, "rules") && !fs_size(fs_get(item, "meters"));
}

static void
run(struct fs_call *call)
{
    const xmlrpc_value *param = fs_call_param(call, 0), *list = fs_get(param, "switches");
    int id = fs_get_int(param, "allocation", -1), table = fs_get_int(param, "table", -1);
    if (id < 0 || !fs_is(list, XMLRPC_TYPE_ARRAY)) {
        fs_call_fail(call, "remove_rules: parameter needs 'allocation' (int) and 'switches' (array)");
        return;
    }
    struct fs_text failed = { 0 };
    char *narrow = table >= 0 ? fs_xasprintf("table=%d", table) : NULL;
    for (size_t i = fs_size(list); i--;) { /* the other way round than they were put in: traffic out first */
        const xmlrpc_value *item = fs_item(list, i);
        char *error = NULL;
        struct fs_switch *sw = switches_get(fs_call_state(call), fs_get_string(item, "switch", ""), fs_get_string(item, "target", ""), &error);
        struct fs_change change = { FS_CHANGE_DELETE_COOKIE, narrow, fs_cookie((uint32_t) id, 0), FS_COOKIE_ALLOCATION_MASK };
        if (sw) {
            int e = fs_switch_apply(sw, &change, 1, SWITCH_DEADLINE_MS, &error);
            if (!e && !narrow && !has_no_meters(item)) {
                fs_switch_remove_meters(sw, (uint32_t) id, SWITCH_DEADLINE_MS, &error);
            }
        }
        if (error) {
            fs_text_addf(&failed, "%s%s", failed.length ? "; " : "", error);
        }
        free(error);
    }
    fs_log_info("rules of allocation %d%s are out of %zu switches%s%s", id, table >= 0 ? " that let traffic in" : "", fs_size(list),
                failed.length ? ", but " : "", failed.length ? failed.text : "");
    if (failed.length) {
        fs_call_fail(call, "%s", failed.text);
    }
    free(failed.text);
    free(narrow);
}

FS_TASK = {
    FS_IS_TASK,
    .name = "remove_rules",
    .help = "Removes the rules and meters of an allocation from switches, the last one in the list first. What belongs to others is never touched.",
    .params = { { "parameter", "struct",
                  "allocation: id; switches: array of {switch, target, and optionally rules and meters as of install_rules: with rules and no meters none are looked for}; "
                  "table (optional): only the rules of that table, and no meters" } },
    .returns = "nil",
    .idempotent = true,
    .run = run,
};

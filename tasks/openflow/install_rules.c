/* install_rules: the rules of one allocation into switches, one atomic bundle a switch, in the order given.
 *
 * A bundle first removes what the switch has of the allocation, then adds the rules, so that doing it again does no harm and packets see the old rules
 * or the new ones.  When a switch refuses, those done before it are cleared again. */
#include <stdlib.h>
#include <string.h>

#include <flowstream/failpoint.h>
#include <flowstream/log.h>
#include <flowstream/method.h>
#include <flowstream/openflow.h>

#include "core/util.h"
#include "daemons/openflow/switches.h"

FS_LOG_MODULE("rules");

enum { SWITCH_DEADLINE_MS = 8000, MAX_RULES = 65535 };

/* Does the switch have just as many rules of the allocation as are wanted? */
static bool
is_complete(struct fs_switch *sw, uint32_t allocation, size_t wanted)
{
    struct fs_rule *rules = NULL;
    size_t n = 0;
    char *error = NULL;
    int e = fs_switch_rules(sw, fs_cookie(allocation, 0), FS_COOKIE_ALLOCATION_MASK, &rules, &n, SWITCH_DEADLINE_MS, &error);
    fs_rules_free(rules, n);
    free(error);
    return !e && n == wanted;
}

static int
apply(struct fs_switch *sw, uint32_t allocation, const xmlrpc_value *rules, bool clear, char **error)
{
    size_t n = clear ? 0 : fs_size(rules);
    struct fs_change *changes = fs_xcalloc(n + 1, sizeof *changes);
    changes[0] = (struct fs_change) { FS_CHANGE_DELETE_COOKIE, NULL, fs_cookie(allocation, 0), FS_COOKIE_ALLOCATION_MASK };
    for (size_t i = 0; i < n; i++) {
        changes[i + 1] = (struct fs_change) { FS_CHANGE_ADD, fs_text(fs_item(rules, i), ""), fs_cookie(allocation, (uint16_t) i), 0 };
    }
    int e = fs_switch_apply(sw, changes, n + 1, SWITCH_DEADLINE_MS, error);
    free(changes);
    return e;
}

static struct fs_switch *
switch_of(struct fs_call *call, const xmlrpc_value *item, char **error)
{
    return switches_get(fs_call_state(call), fs_get_string(item, "switch", ""), fs_get_string(item, "target", ""), error);
}

static void
run(struct fs_call *call)
{
    const xmlrpc_value *param = fs_call_param(call, 0), *list = fs_get(param, "switches");
    int id = fs_get_int(param, "allocation", -1);
    if (id < 0 || !fs_is(list, XMLRPC_TYPE_ARRAY)) {
        fs_call_fail(call, "install_rules: parameter needs 'allocation' (int) and 'switches' (array)");
        return;
    }
    bool only_missing = fs_get_bool(param, "only_missing", false), other = fs_get_bool(param, "other", false);
    char *error = NULL;
    size_t done = 0, n = fs_size(list);
    xmlrpc_value *changed = fs_array();
    for (; done < n && !error; done++) {
        const xmlrpc_value *item = fs_item(list, done), *rules = fs_get(item, "rules");
        struct fs_switch *sw = switch_of(call, item, &error);
        if (!error && fs_size(rules) > MAX_RULES) {
            error = fs_xasprintf("switch %s: %zu rules for one allocation; %d are possible", fs_get_string(item, "switch", ""), fs_size(rules), MAX_RULES);
        }
        if (!error && (!only_missing || other || !is_complete(sw, (uint32_t) id, fs_size(rules)))) {
            if (FS_FAILPOINT_ERROR("install_rules.one_switch")) {
                error = fs_xasprintf("switch %s: failpoint", fs_get_string(item, "switch", ""));
            } else {
                apply(sw, (uint32_t) id, rules, false, &error);
            }
            if (!error) {
                fs_append(changed, fs_string(fs_get_string(item, "switch", "")));
                fs_log_info("%zu rules of allocation %d in %s", fs_size(rules), id, fs_get_string(item, "switch", ""));
            }
        }
    }
    if (!error) {
        fs_call_return(call, changed);
        return;
    }
    fs_free(changed);
    while (!only_missing && done--) { /* the one that failed too: the outcome of a broken connection is unknown */
        char *ignored = NULL;
        struct fs_switch *sw = switch_of(call, fs_item(list, done), &ignored);
        if (sw) {
            apply(sw, (uint32_t) id, NULL, true, &ignored);
        }
        free(ignored);
    }
    fs_call_fail(call, "%s", error);
    free(error);
}

FS_TASK = {
    FS_IS_TASK,
    .name = "install_rules",
    .help = "Puts the rules of an allocation into switches: one atomic bundle a switch, in the order given, each replacing what the switch has of "
            "the allocation. If one fails, all are cleared again. Answers the names of the switches that were changed.",
    .params = { { "parameter", "struct",
                  "allocation: id; switches: array of {switch, target, rules: array of rules as ovs-ofctl writes them, without cookie}; only_missing "
                  "(boolean): leave a switch alone that has the right number of rules of the allocation, and clear nothing if one fails; other "
                  "(boolean, with only_missing): these are other rules than before, so the right number proves nothing" } },
    .returns = "array",
    .idempotent = true,
    .undo = "remove_rules",
    .run = run,
};

/* list_owners: whose rules are in a switch: for the resource daemon, which looks for rules of allocations that are no more. */
#include <stdlib.h>

#include <flowstream/method.h>
#include <flowstream/openflow.h>

#include "daemons/openflow/switches.h"

enum { SWITCH_MS = 8000 };

static int
by_cookie(const void *a, const void *b)
{
    const struct fs_rule *x = a, *y = b;
    return (x->cookie > y->cookie) - (x->cookie < y->cookie);
}

static xmlrpc_value *
owners(struct fs_rule *rules, size_t n)
{
    xmlrpc_value *all = fs_array();
    if (n) {
        qsort(rules, n, sizeof *rules, by_cookie);
    }
    for (size_t i = 0; i < n; i++) {
        if (!i || fs_cookie_allocation(rules[i].cookie) != fs_cookie_allocation(rules[i - 1].cookie)) {
            fs_append(all, fs_int((int) fs_cookie_allocation(rules[i].cookie)));
        }
    }
    return all;
}

static void
run(struct fs_call *call)
{
    const xmlrpc_value *which = fs_call_param(call, 0);
    struct fs_rule *rules = NULL;
    size_t n = 0;
    char *error = NULL;
    struct fs_switch *sw = switches_reader(fs_call_state(call), fs_get_string(which, "switch", ""), fs_get_string(which, "target", ""), &error);
    if (sw && !fs_switch_rules(sw, fs_cookie(0, 0), FS_COOKIE_SPACE_MASK, &rules, &n, SWITCH_MS, &error)) {
        fs_call_return(call, owners(rules, n));
    } else {
        fs_call_fail(call, "%s", error);
    }
    fs_rules_free(rules, n);
    free(error);
}

static const struct fs_member members[] = {
    OPENFLOW_WHICH,
    { 0 },
};

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "list_owners",
    .help = "Lists the ids of the allocations that have rules in a switch, ascending; 0 stands for the rules of the platform itself.",
    .params = { { "which", "struct", NULL } },
    .members = { members },
    .returns = "array",
    .idempotent = true,
    .run = run,
};

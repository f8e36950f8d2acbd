/* get_rule_changes: whose rules and meters in a switch are others than when they were last looked at, in an answer as long as what has changed. */
#include <inttypes.h>
#include <stdlib.h>

#include <flowstream/method.h>
#include <flowstream/openflow.h>

#include "daemons/openflow/switches.h"

enum { SWITCH_MS = 8000 };

static xmlrpc_value *
owners(const struct fs_digest *d, size_t n)
{
    xmlrpc_value *all = fs_array();
    for (size_t i = 0; i < n; i++) {
        bool gone = !d[i].n && !d[i].n_meters;
        xmlrpc_value *one = fs_append(fs_array(), fs_int((int) d[i].allocation));
        fs_append(one, gone ? fs_string("") : fs_stringf("%u-%016" PRIx64, d[i].n, d[i].digest));
        fs_append(all, fs_append(one, fs_int((int) d[i].n_meters)));
    }
    return all;
}

static void
run(struct fs_call *call)
{
    const xmlrpc_value *which = fs_call_param(call, 0);
    struct switches *all = fs_call_state(call);
    struct fs_changes changes = { 0 };
    char *error = NULL;
    struct fs_follow *follow = switches_follow(all, fs_get_string(which, "switch", ""), fs_get_string(which, "target", ""), &error);
    uint64_t since = switches_read_state(all, fs_get_string(which, "known", ""));
    if (follow && !fs_follow_changes(follow, since, &changes, SWITCH_MS, &error)) {
        xmlrpc_value *v = fs_set(fs_struct(), "state", switches_state(all, changes.state));
        fs_set(fs_set(v, "all", fs_bool(changes.all)), "told", fs_bool(changes.told));
        fs_call_return(call, fs_set(v, "owners", owners(changes.digests, changes.n)));
    } else {
        fs_call_fail(call, "%s", error);
    }
    free(changes.digests);
    free(error);
}

static const struct fs_member members[] = {
    OPENFLOW_WHICH,
    { "known", "string?", 0, 0, "the state since which changes are asked for; without it all are told" },
    { 0 },
};

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "get_rule_changes",
    .help = "Tells whose rules and meters in a switch have changed: state, to be said as known next time; owners, an array of [allocation (0: the platform itself), digest of its rules and meters, \"\" where it "
            "has none any more, number of its meters], ascending; all: these are all that are there, since it is not known any more what has changed; told: the switch tells what changes, so that asking costs little "
            "(else all of its rules are read each time). Digests change with places, actions, cookies and timeouts, not with counters, and are to be compared with earlier ones only; they begin with the number of "
            "rules and a hyphen.",
    .params = { { "which", "struct", NULL } },
    .members = { members },
    .returns = "struct",
    .idempotent = true,
    .run = run,
};

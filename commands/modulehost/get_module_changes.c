/* get_module_changes: whose modules are others than when they were last looked at, in an answer as long as what has changed. */
#include <stdlib.h>

#include <flowstream/method.h>

#include "daemons/modulehost/modulehost.h"

static void
run(struct fs_call *call)
{
    struct modulehost *m = fs_call_state(call);
    xmlrpc_value *changes = modulehost_watch_changes(m, fs_get_string(fs_call_param(call, 0), "known", ""));
    if (changes) {
        fs_call_return(call, changes);
    } else {
        fs_call_fail(call, "host %s: %s/modules cannot be read: see the log of the module host daemon, or make the folder readable for its user", m->name, m->env.dir);
    }
}

static const struct fs_member members[] = {
    { "known", "string?", 0, 0, "the state since which changes are asked for; without it all are told" },
    { 0 },
};

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "get_module_changes",
    .help = "Tells which allocations' modules have changed: state, as register_host tells it; owners, an array of [allocation, digest of its modules on this host], \"\" where it "
            "has none any more; all: these are all that are here, since it is not known any more what has changed. Digests are to be compared with earlier ones only.",
    .params = { { "which", "struct?", NULL } },
    .members = { members },
    .returns = "struct",
    .idempotent = true,
    .run = run,
};

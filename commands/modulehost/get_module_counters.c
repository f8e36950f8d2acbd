/* get_module_counters: what the modules of this host have handled, as its multiplexer has counted. */
#include <stdlib.h>
#include <string.h>

#include <flowstream/method.h>

#include "daemons/modulehost/counters.h"
#include "daemons/modulehost/modulehost.h"

static void
run(struct fs_call *call)
{
    struct modulehost *m = fs_call_state(call);
    char *error = NULL;
    xmlrpc_value *all = modulehost_counters(m, fs_call_n_params(call) ? fs_call_int(call, 0, 0) : -1, &error);
    if (all) {
        fs_call_return(call, all);
    } else {
        fs_call_fail(call, "host %s: %s", m->name, error);
    }
    free(error);
}

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "get_module_counters",
    .help = "Tells for each module of this host: name, type, owner, packets in, out, dropped, dropped at a full ring, dropped above the rate of a link, bytes in and out. A module that does not answer is "
            "listed with its problem.",
    .params = { { "owner", "int?", "only modules of this allocation" } },
    .returns = "array",
    .idempotent = true,
    .run = run,
};

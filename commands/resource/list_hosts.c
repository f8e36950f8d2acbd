/* list_hosts: the module hosts. */
#include <flowstream/method.h>

#include "daemons/resource/resource.h"

static void
run(struct fs_call *call)
{
    struct resource *r = fs_call_state(call);
    resource_placing_begin(r);
    fs_call_return(call, resource_hosts(r));
    resource_placing_end(r);
}

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "list_hosts",
    .help = "Lists the module hosts: as they registered, and state (up; preparing: its bridge has no rules yet; silent: nothing heard for ten seconds), cpu and mem with what of them is taken, number of modules, cpu_idle and mem_available (cores and MB of its computer that nobody uses, as it tells, smoothed; -1: it does not tell).",
    .returns = "array",
    .idempotent = true,
    .run = run,
};

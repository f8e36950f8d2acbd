/* list_switches: the switches that this daemon knows. */
#include <flowstream/method.h>

#include "daemons/openflow/switches.h"

static void
run(struct fs_call *call)
{
    fs_call_return(call, switches_list(fs_call_state(call)));
}

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "list_switches",
    .help = "Lists the switches that this daemon has been told of: name, target, session (counts the connections to it, 0: none "
            "now; within one no rules get lost but by others), ports (a fingerprint of the names and numbers of its ports), down (names of ports that carry nothing), rules (a state "
            "of get_rule_changes, by what the switch has told until now; empty where that is not known).",
    .returns = "array",
    .idempotent = true,
    .run = run,
};

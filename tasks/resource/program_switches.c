/* program_switches: hand the rules of an allocation to the OpenFlow daemon. */
#include <flowstream/method.h>

#include "core/daemon.h"
#include "daemons/resource/resource.h"

static void
run(struct fs_call *call)
{
    xmlrpc_value *options = fs_set(fs_set(fs_struct(), "priority", fs_string("high")), "wait", fs_int(40));
    xmlrpc_value *params = fs_append(fs_append(fs_append(fs_array(), fs_string("install_rules")), resource_order(fs_call_state(call), fs_copy(fs_call_param(call, 0)))), options);
    struct fs_reply reply;
    fs_call_peer(call, fs_daemon_peer(fs_call_daemon(call), "openflow"), "run_task", params, &reply);
    if (reply.code == FS_NOT_READY) {
        fs_reply_fail(&reply, "openflow daemon: the rules were not in the switches in time");
    }
    fs_call_reply(call, &reply);
}

FS_TASK = {
    FS_IS_TASK,
    .name = "program_switches",
    .help = "Puts the rules of an allocation into the switches, through the OpenFlow daemon.",
    .params = { { "parameter", "struct", "allocation: id; switches: as generate_rules answers; entry (optional): the table of the rules that let traffic in, default 10" } },
    .returns = "array",
    .idempotent = true,
    .undo = "clear_switches",
    .run = run,
};

/* create_pm: start one processing module on this host and connect it to the multiplexer. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <flowstream/failpoint.h>
#include <flowstream/log.h>
#include <flowstream/method.h>

#include "core/util.h"
#include "daemons/modulehost/modulehost.h"

FS_LOG_MODULE("modules");

enum { START_MS = 20000 };

static void
run(struct fs_call *call)
{
    struct modulehost *m = fs_call_state(call);
    const xmlrpc_value *pm = fs_call_param(call, 0);
    struct fs_port_spi *in = modulehost_ports(pm, "inputs"), *out = modulehost_ports(pm, "outputs");
    struct fs_module_spec spec = {
        .name = fs_get_string(pm, "name", ""),
        .type = fs_get_string(pm, "type", ""),
        .args = fs_get_string(pm, "args", ""),
        .basesys = fs_get_string(pm, "basesys", ""),
        .owner = (uint64_t) fs_get_int(pm, "owner", 0),
        .cpu = fs_get_double(pm, "cpu", 0),
        .mem = (unsigned) fs_get_double(pm, "mem", 0),
        .inputs = in,
        .n_inputs = fs_size(fs_get(pm, "inputs")),
        .outputs = out,
        .n_outputs = fs_size(fs_get(pm, "outputs")),
    };
    char *error = NULL;
    FS_FAILPOINT("create_pm.begun");
    int e = fs_module_start(&m->env, &spec, START_MS, &error);
    FS_FAILPOINT("create_pm.before_answer");
    if (e) {
        fs_call_fail(call, "host %s: module %s: %s", m->name, spec.name, error ? error : strerror(e));
    } else {
        fs_log_info("module %s (%s) of allocation %llu runs", spec.name, spec.type, (unsigned long long) spec.owner);
    }
    free(error);
    free(in);
    free(out);
}

FS_TASK = {
    FS_IS_TASK,
    .name = "create_pm",
    .help = "Starts a processing module in a process of its own on this host and connects it, or leaves nothing behind.",
    .params = { { "pm", "struct",
                  "name, type, args, basesys, owner (id of the allocation), cpu (cores, 0: no limit), mem (MB, 0: no limit), inputs and outputs (arrays of {port, "
                  "spi}: the service path that leads to the port, or from it; 0: an output that is not connected; where an output has several, each flow takes "
                  "one, by a hash of its addresses and ports modulo their number)" } },
    .returns = "nil",
    .undo = "delete_pm",
    .run = run,
};

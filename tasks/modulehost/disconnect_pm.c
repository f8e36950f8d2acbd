/* disconnect_pm: service paths of a module that runs are taken away again. */
#include <flowstream/method.h>

#include "daemons/modulehost/modulehost.h"

static void
run(struct fs_call *call)
{
    modulehost_change_ports(call, fs_module_disconnect);
}

FS_TASK = {
    FS_IS_TASK,
    .name = "disconnect_pm",
    .help = "Takes service paths away from a running module. Those that it does not have, and a module that is not there, are no mistake.",
    .params = { { "pm", "struct", "name, inputs and outputs (arrays of {port, spi})" } },
    .returns = "nil",
    .idempotent = true,
    .run = run,
};

/* connect_pm: more service paths lead into, or out of, a module that runs. */
#include <flowstream/method.h>

#include "daemons/modulehost/modulehost.h"

static void
run(struct fs_call *call)
{
    modulehost_change_ports(call, fs_module_connect);
}

FS_TASK = {
    FS_IS_TASK,
    .name = "connect_pm",
    .help = "Connects ports of a running module to service paths, beside those that it has. What is so already stays; on an error nothing has changed.",
    .params = { { "pm", "struct", "name, inputs and outputs (arrays of {port, spi})" } },
    .returns = "nil",
    .idempotent = true,
    .undo = "disconnect_pm",
    .run = run,
};

/* disconnect_pm: service paths of a module that runs are taken away again. */
#include <stdlib.h>
#include <string.h>

#include <flowstream/method.h>

#include "daemons/modulehost/modulehost.h"

enum { MULTIPLEXER_MS = 10000 };

static void
run(struct fs_call *call)
{
    struct modulehost *m = fs_call_state(call);
    const xmlrpc_value *pm = fs_call_param(call, 0);
    const char *name = fs_get_string(pm, "name", "");
    struct fs_port_spi *in = modulehost_ports(pm, "inputs"), *out = modulehost_ports(pm, "outputs");
    struct fs_module_ports ports = { in, fs_size(fs_get(pm, "inputs")), out, fs_size(fs_get(pm, "outputs")) };
    char *error = NULL;
    int e = fs_module_disconnect(&m->env, name, &ports, MULTIPLEXER_MS, &error);
    if (e) {
        fs_call_fail(call, "host %s: module %s: %s", m->name, name, error ? error : strerror(e));
    }
    free(error);
    free(in);
    free(out);
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

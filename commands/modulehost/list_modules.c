/* list_modules: what runs on this host. */
#include <stdlib.h>
#include <string.h>

#include <flowstream/method.h>

#include "daemons/modulehost/modulehost.h"

static xmlrpc_value *
ports(const struct fs_port_spi *p, size_t n)
{
    xmlrpc_value *all = fs_array();
    for (size_t i = 0; i < n; i++) {
        fs_append(all, fs_set(fs_set(fs_struct(), "port", fs_int((int) p[i].port)), "spi", fs_int((int) p[i].spi)));
    }
    return all;
}

/* What it was made as, where that can still be read. */
static void
add_spec(const struct modulehost *m, const char *name, xmlrpc_value *v)
{
    struct fs_module_spec *spec = NULL;
    if (!fs_module_read(&m->env, name, &spec)) {
        fs_set(v, "args", fs_string(spec->args));
        fs_set(v, "cpu", fs_double(spec->cpu));
        fs_set(v, "mem", fs_double(spec->mem));
        fs_set(v, "inputs", ports(spec->inputs, spec->n_inputs));
        fs_set(v, "outputs", ports(spec->outputs, spec->n_outputs));
    }
    fs_module_spec_free(spec);
}

static void
run(struct fs_call *call)
{
    struct modulehost *m = fs_call_state(call);
    struct fs_module_info *list = NULL;
    size_t n = 0;
    int e = fs_module_list(&m->env, &list, &n);
    if (e) {
        fs_call_fail(call, "%s/modules: %s", m->env.dir, strerror(e));
        return;
    }
    xmlrpc_value *all = fs_array();
    for (size_t i = 0; i < n; i++) {
        xmlrpc_value *v = fs_struct();
        fs_set(v, "name", fs_string(list[i].name));
        fs_set(v, "process", fs_string(list[i].process));
        fs_set(v, "type", fs_string(list[i].type));
        fs_set(v, "basesys", fs_string(list[i].basesys));
        fs_set(v, "owner", fs_int((int) list[i].owner));
        fs_set(v, "pid", fs_int(list[i].pid));
        fs_set(v, "running", fs_bool(list[i].running));
        fs_set(v, "isolation", fs_string(list[i].isolation));
        add_spec(m, list[i].name, v);
        fs_append(all, fs_set(v, "limits", fs_string(list[i].limits)));
    }
    fs_module_list_free(list, n);
    fs_call_return(call, all);
}

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "list_modules",
    .help = "Lists the modules of this host: name, process (modules that share one end together), type, base system, owner (id of the allocation), process, whether it runs, what isolation and limits it has, and "
            "what it was made as: args, cpu, mem, inputs and outputs (arrays of {port, spi}).",
    .returns = "array",
    .idempotent = true,
    .run = run,
};

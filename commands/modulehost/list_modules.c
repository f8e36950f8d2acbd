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
add_modules(const struct modulehost *m, const struct fs_module_info *list, size_t n, xmlrpc_value *all)
{
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
}

static void
add_name(void *aux, const char *process)
{
    fs_append(aux, fs_string(process));
}

/* Only of some owners; what is there of them is known, how it is is looked at.  An errno where one cannot be read. */
static int
add_owners(struct modulehost *m, const xmlrpc_value *owners, xmlrpc_value *all)
{
    xmlrpc_value *processes = fs_array();
    for (size_t i = 0; i < fs_size(owners); i++) {
        modulehost_watch_processes(m, (uint64_t) fs_number(fs_item(owners, i), 0), add_name, processes);
    }
    int e = 0;
    for (size_t i = 0; i < fs_size(processes) && !e; i++) {
        struct fs_module_info *list = NULL;
        size_t n = 0;
        e = fs_process_modules(&m->env, fs_text(fs_item(processes, i), ""), &list, &n);
        add_modules(m, list, n, all);
        fs_module_list_free(list, n);
    }
    fs_free(processes);
    return e;
}

static int
add_all(struct modulehost *m, xmlrpc_value *all)
{
    struct fs_module_info *list = NULL;
    size_t n = 0;
    int e = fs_module_list(&m->env, &list, &n);
    add_modules(m, list, n, all);
    fs_module_list_free(list, n);
    return e;
}

static void
run(struct fs_call *call)
{
    struct modulehost *m = fs_call_state(call);
    const xmlrpc_value *owners = fs_get(fs_call_param(call, 0), "owners");
    xmlrpc_value *all = fs_array();
    int e = owners ? add_owners(m, owners, all) : add_all(m, all);
    if (e) {
        fs_call_fail(call, "%s/modules: %s", m->env.dir, strerror(e));
        fs_free(all);
    } else {
        fs_call_return(call, all);
    }
}

static const struct fs_member members[] = {
    { "owners", "array?", 0, 0, "only the modules of these allocations (ids)" },
    { 0 },
};

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "list_modules",
    .help = "Lists the modules of this host: name, process (modules that share one end together), type, base system, owner (id of the allocation), process, whether it runs, what isolation and limits it has, and "
            "what it was made as: args, cpu, mem, inputs and outputs (arrays of {port, spi}).",
    .params = { { "which", "struct?", NULL } },
    .members = { members },
    .returns = "array",
    .idempotent = true,
    .run = run,
};

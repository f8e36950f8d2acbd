/* list_modules: what runs on this host. */
#include <stdlib.h>
#include <string.h>

#include <flowstream/method.h>

#include "daemons/modulehost/modulehost.h"

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
        fs_append(all, fs_set(v, "limits", fs_string(list[i].limits)));
    }
    fs_module_list_free(list, n);
    fs_call_return(call, all);
}

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "list_modules",
    .help = "Lists the modules of this host: name, process (modules that share one end together), type, base system, owner (id of the allocation), process, whether it runs, and what isolation and limits it has.",
    .returns = "array",
    .idempotent = true,
    .run = run,
};

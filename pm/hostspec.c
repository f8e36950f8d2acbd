/* What a module of this host was made as, read back from its folder: for who compares it with what it should be. */
#include "config.h"

#include "pm/host.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pm/spec.h"

int
fs_module_read(const struct fs_host_env *env, const char *name, struct fs_module_spec **spec)
{
    struct fs_process_spec *process = NULL;
    char *folder = pm_name_ok(name) ? host_path(env, "modules", name) : NULL, *text = NULL;
    *spec = NULL;
    int err = folder ? pm_process_read(folder, &process, NULL) : EINVAL;
    for (size_t i = 0; !err && i < process->n_modules && !*spec; i++) {
        if (!strcmp(process->modules[i]->name, name)) {
            text = pm_spec_print(process->modules[i], true);
            err = text ? pm_spec_parse(text, spec, NULL) : ENOMEM;
        }
    }
    if (!err && !*spec) {
        err = ENOENT;
    }
    free(text);
    pm_process_free(process);
    free(folder);
    return err;
}

void
fs_module_spec_free(struct fs_module_spec *spec)
{
    pm_spec_free(spec);
}

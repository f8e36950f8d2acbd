/* Short looks at single processes of modules, for who keeps a table of them and is told which one may have changed. */
#include "config.h"

#include "pm/host.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "pm/process.h"
#include "pm/spec.h"

static uint64_t
sum_of(const char *text)
{
    uint64_t sum = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
    for (; *text; text++) {
        sum = (sum ^ (unsigned char) *text) * UINT64_C(0x100000001b3);
    }
    return sum;
}

static bool
is_folder(const char *path)
{
    struct stat st;
    return !lstat(path, &st) && S_ISDIR(st.st_mode);
}

/* Want of descriptors or memory says nothing about the process. */
static bool
is_our_trouble(int err)
{
    return err == EMFILE || err == ENFILE || err == ENOMEM;
}

static int
look_into(const char *folder, struct fs_process_look *look)
{
    char *path = NULL, *text = NULL;
    if (asprintf(&path, "%s/spec", folder) < 0) {
        return ENOMEM;
    }
    int err = pm_read_file(path, PM_SPEC_MAX, &text);
    struct fs_process_spec *spec = NULL;
    if (!err && !pm_process_parse(text, &spec, NULL)) {
        look->owner = spec->modules[0]->owner;
        look->made_as = sum_of(text);
    }
    pm_process_free(spec);
    free(text);
    snprintf(path, strlen(path) + 1, "%s/pid", folder);
    if (!is_our_trouble(err) && pm_pidfile_open(path, &look->pid, &look->pidfd)) {
        look->pid = 0;
        look->pidfd = -1;
    }
    free(path);
    return is_our_trouble(err) ? err : 0;
}

int
fs_process_look(const struct fs_host_env *env, const char *name, struct fs_process_look *look)
{
    *look = (struct fs_process_look){ .pidfd = -1 };
    char *folder = pm_name_ok(name) ? host_path(env, "modules", name) : NULL;
    int err = !folder || !is_folder(folder) ? ENOENT : look_into(folder, look);
    free(folder);
    return err;
}

int
fs_process_names(const struct fs_host_env *env, void (*visit)(void *aux, const char *name), void *aux)
{
    char *modules = host_path(env, "modules", NULL);
    DIR *dir = modules ? opendir(modules) : NULL;
    int err = !modules ? ENOMEM : !dir && errno != ENOENT ? errno : 0;
    for (struct dirent *e; dir && (e = readdir(dir)) != NULL;) {
        if (host_is_process(dir, e)) {
            visit(aux, e->d_name);
        }
    }
    if (dir) {
        closedir(dir);
    }
    free(modules);
    return err;
}

int
fs_process_modules(const struct fs_host_env *env, const char *name, struct fs_module_info **list, size_t *n)
{
    struct host_list found = { NULL, 0 };
    char *folder = pm_name_ok(name) ? host_path(env, "modules", name) : NULL;
    int err = folder && is_folder(folder) ? host_list_process(env, name, &found) : 0;
    if (err) {
        fs_module_list_free(found.modules, found.n);
        found = (struct host_list){ NULL, 0 };
    }
    *list = found.modules;
    *n = found.n;
    free(folder);
    return err;
}

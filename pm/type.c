/* Module types loaded into a daemon or a checker, to describe them and to check arguments before anything is started.  Only objects that the
 * operator trusts belong there; tenants' types are checked where they run, behind the walls of the runner. */
#include "config.h"

#include "pm/private.h"

#include <ctype.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char *
object_path(const char *types, const char *name)
{
    char *path;
    if (asprintf(&path, "%s/%s.so", types, name) < 0) {
        return NULL;
    }
    for (char *p = path + strlen(types); *p; p++) {
        *p = (char) tolower((unsigned char) *p);
    }
    return path;
}

static int
load(const char *path, struct fs_type *t, char **error)
{
    if (access(path, R_OK)) {
        int err = errno;
        return pm_fail(error, err, "%s: %s", path, strerror(err));
    }
    t->handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!t->handle) {
        return pm_fail(error, ENOEXEC, "%s", dlerror());
    }
    t->type = dlsym(t->handle, "fs_module_type_v1");
    if (!t->type || t->type->magic != FS_MODULE_MAGIC || t->type->abi != FS_MODULE_ABI) {
        fs_type_unload(t);
        return pm_fail(error, ENOEXEC, "%s is no module type of this version", path);
    }
    t->arguments = dlsym(t->handle, "fs_module_arguments_v1");
    return 0;
}

int
fs_type_load(const char *types, const char *name, struct fs_type *t, char **error)
{
    *t = (struct fs_type){ 0 };
    if (error) {
        *error = NULL;
    }
    if (!pm_name_ok(name)) {
        return pm_fail(error, EINVAL, "\"%s\" cannot be the name of a type", name ? name : "");
    }
    char *path = object_path(types, name);
    int err = path ? load(path, t, error) : ENOMEM;
    free(path);
    return err;
}

void
fs_type_unload(struct fs_type *t)
{
    if (t->handle) {
        dlclose(t->handle);
    }
    *t = (struct fs_type){ 0 };
}

static int
is_object(const struct dirent *e)
{
    size_t n = strlen(e->d_name);
    return n > 3 && e->d_name[0] != '.' && !strcmp(e->d_name + n - 3, ".so");
}

int
fs_type_list(const char *types, char ***names)
{
    struct dirent **entries = NULL;
    *names = NULL;
    int n = scandir(types, &entries, is_object, alphasort);
    if (n < 0) {
        return errno;
    }
    char **list = calloc((size_t) n + 1, sizeof *list);
    int err = list ? 0 : ENOMEM;
    for (int i = 0; i < n; i++) {
        if (!err && !(list[i] = strndup(entries[i]->d_name, strlen(entries[i]->d_name) - 3))) {
            err = ENOMEM;
        }
        free(entries[i]);
    }
    free(entries);
    if (err) {
        fs_type_list_free(list);
        return err;
    }
    *names = list;
    return 0;
}

void
fs_type_list_free(char **names)
{
    for (char **p = names; p && *p; p++) {
        free(*p);
    }
    free(names);
}

/* What flowstream-lang knows of the world: the descriptors of the module types, loaded from their objects (module.h),
 * and the check of matches from libflowstream-openflow.so, if that is there.  Both are trusted files of the
 * installation, as the program itself is. */
#include "config.h"

#include "lang/types.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "flowstream/module.h"
#include "lang/files.h"

struct installed_types {
    struct fs_lang_type *types;
    const struct fs_module_type **descriptors; /* one for each of 'types' */
    void **objects;                            /* likewise */
    size_t n;
    void *openflow; /* libflowstream-openflow.so, or NULL */
    char *(*check_match)(const char *match, size_t *offset);
    const char *main_file;
};

static char *find_folder(const char *suffix);
static int load_folder(struct installed_types *, const char *path, char **error);
static void load_openflow(struct installed_types *);
static char *check_match(void *aux, const char *match, size_t *offset);
static char *check_args(void *aux, const char *type, const char *args, uint32_t n_outputs);

/* An error message for the caller; without memory there is none. */
static int __attribute__((format(printf, 3, 4))) fail(char **error, int number, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (vasprintf(error, format, arguments) < 0) {
        *error = NULL;
    }
    va_end(arguments);
    return number;
}

int
types_load(const char *path, struct installed_types **result, struct fs_lang_env *env, char **error)
{
    struct installed_types *types = calloc(1, sizeof *types);
    char *folder = path ? strdup(path) : find_folder("lib/flowstream/types");
    int number = !types || !folder ? fail(error, ENOMEM, "cannot find the module types: %s", strerror(errno))
                                   : load_folder(types, folder, error);
    if (!number && types->n == 0) {
        number = fail(error, ENOENT,
                      "no module types in %s: build or install them, or name their folder with --types DIR", folder);
    }
    free(folder);
    if (number) {
        types_destroy(types);
        return number;
    }
    load_openflow(types);
    *env = (struct fs_lang_env) { .types = types->types,
                                 .n_types = types->n,
                                 .check_match = types->check_match ? check_match : NULL,
                                 .check_args = check_args,
                                 .aux = types };
    *result = types;
    return 0;
}

void
types_set_file(struct installed_types *types, const char *main_file)
{
    types->main_file = main_file;
}

int
types_read_include(void *types_, const char *name, char **text, size_t *size)
{
    const struct installed_types *types = types_;
    return files_read_beside(types->main_file, name, text, size);
}

void
types_destroy(struct installed_types *types)
{
    if (types) {
        for (size_t i = 0; i < types->n; i++) {
            dlclose(types->objects[i]);
        }
        /* libflowstream-openflow stays loaded: what libopenvswitch keeps until the end could be freed by nobody afterwards. */
        free(types->objects);
        free(types->descriptors);
        free(types->types);
        free(types);
    }
}

/* The folder 'suffix' beside the folder of this program.  NULL with errno. */
static char *
find_folder(const char *suffix)
{
    char program[PATH_MAX], *path = NULL;
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    if (length < 0) {
        return NULL;
    }
    program[length] = '\0';
    for (int up = 0; up < 2; up++) {
        char *slash = strrchr(program, '/');
        *(slash ? slash : program) = '\0';
    }
    return asprintf(&path, "%s/%s", program, suffix) < 0 ? NULL : path;
}

static int
grow(struct installed_types *types)
{
    struct fs_lang_type *rows = reallocarray(types->types, types->n + 1, sizeof *rows);
    types->types = rows ? rows : types->types;
    const struct fs_module_type **descriptors = reallocarray(types->descriptors, types->n + 1, sizeof *descriptors);
    types->descriptors = descriptors ? descriptors : types->descriptors;
    void **objects = reallocarray(types->objects, types->n + 1, sizeof *objects);
    types->objects = objects ? objects : types->objects;
    return rows && descriptors && objects ? 0 : ENOMEM;
}

static int
load_object(struct installed_types *types, const char *path, char **error)
{
    if (grow(types)) {
        return fail(error, ENOMEM, "%s: %s", path, strerror(ENOMEM));
    }
    void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!object) {
        return fail(error, EINVAL, "cannot load module type: %s", dlerror());
    }
    const struct fs_module_type *type = dlsym(object, "fs_module_type_v1");
    if (!type || type->magic != FS_MODULE_MAGIC || type->abi != FS_MODULE_ABI || !type->name || !type->configure ||
        !type->destroy) {
        dlclose(object);
        return fail(error, EINVAL, "%s is no module type of this version", path);
    }
    struct fs_lang_type *row = &types->types[types->n];
    *row = (struct fs_lang_type) { .name = type->name,
                                  .min_inputs = type->min_inputs,
                                  .max_inputs = type->max_inputs,
                                  .min_outputs = type->min_outputs,
                                  .max_outputs = type->max_outputs,
                                  .arguments = dlsym(object, "fs_module_arguments_v1") };
    while (row->arguments && row->arguments[row->n_arguments].name) {
        row->n_arguments++;
    }
    types->descriptors[types->n] = type;
    types->objects[types->n++] = object;
    return 0;
}

static int
is_object(const struct dirent *entry)
{
    size_t length = strlen(entry->d_name);
    return entry->d_name[0] != '.' && length > 3 && !strcmp(entry->d_name + length - 3, ".so");
}

static int
load_folder(struct installed_types *types, const char *path, char **error)
{
    struct dirent **entries = NULL;
    int n = scandir(path, &entries, is_object, alphasort), number = 0;
    if (n < 0) {
        number = errno;
        return fail(error, number, "cannot read the module types in %s: %s; --types DIR names another folder", path,
                    strerror(number));
    }
    for (int i = 0; i < n; i++) {
        char *file = NULL;
        if (!number && asprintf(&file, "%s/%s", path, entries[i]->d_name) < 0) {
            file = NULL;
            number = fail(error, ENOMEM, "%s: %s", path, strerror(ENOMEM));
        }
        if (!number) {
            number = load_object(types, file, error);
        }
        free(file);
        free(entries[i]);
    }
    free(entries);
    return number;
}

/* Matches are OpenFlow's business; without its library they are only checked not to be empty. */
static void
load_openflow(struct installed_types *types)
{
    char *path = find_folder("lib/libflowstream-openflow.so");
    types->openflow = path ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    free(path);
    void *symbol = types->openflow ? dlsym(types->openflow, "fs_match_check") : NULL;
    memcpy(&types->check_match, &symbol, sizeof symbol); /* a conversion that ISO C has no word for */
}

static char *
check_match(void *types_, const char *match, size_t *offset)
{
    const struct installed_types *types = types_;
    return types->check_match(match, offset);
}

static char *
check_args(void *types_, const char *type, const char *args, uint32_t n_outputs)
{
    const struct installed_types *types = types_;
    for (size_t i = 0; i < types->n; i++) {
        if (!strcmp(types->types[i].name, type)) {
            char *error = NULL;
            void *state = types->descriptors[i]->configure(args, n_outputs, &error);
            types->descriptors[i]->destroy(state);
            return state ? NULL : error ? error : strdup("the type refuses it without a reason");
        }
    }
    return NULL;
}

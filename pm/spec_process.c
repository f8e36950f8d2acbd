/* Specifications of processes: the modules that share one.  One module's is in spec.c. */
#include "config.h"

#include "pm/spec.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The block that pm_process_parse() hands out; 'process' is first so that the caller's pointer frees it all. */
struct parsed {
    struct fs_process_spec process;
    char *name;
    struct fs_module_spec *modules[FS_MEMBERS_MAX];
};

/* Nothing may be in a process twice: a name, or a path that leads in. */
static int
check_pair(const struct fs_process_spec *p, const struct fs_module_spec *a, const struct fs_module_spec *b, char **error)
{
    if (a->owner != b->owner || strcmp(a->basesys ? a->basesys : "", b->basesys ? b->basesys : "")) {
        return pm_fail(error, EINVAL, "process %s: modules %s and %s belong to different allocations or base systems: each needs a process of its own",
                       p->name, a->name, b->name);
    }
    if (!strcmp(a->name, b->name)) {
        return pm_fail(error, EINVAL, "process %s: two modules are called %s", p->name, a->name);
    }
    for (size_t i = 0; i < a->n_inputs; i++) {
        for (size_t k = 0; k < b->n_inputs; k++) {
            if (a->inputs[i].spi == b->inputs[k].spi) {
                return pm_fail(error, EINVAL, "process %s: service path %u leads to both %s and %s", p->name, a->inputs[i].spi, a->name, b->name);
            }
        }
    }
    return 0;
}

int
pm_process_check(const struct fs_process_spec *p, char **error)
{
    if (!pm_name_ok(p->name)) {
        return pm_fail(error, EINVAL, "\"%s\" cannot be the name of a process", p->name ? p->name : "");
    }
    if (p->n_modules < 1 || p->n_modules > FS_MEMBERS_MAX) {
        return pm_fail(error, EINVAL, "process %s: %zu modules: 1 to %u can share a process", p->name, p->n_modules, FS_MEMBERS_MAX);
    }
    int err = 0;
    for (size_t i = 0; i < p->n_modules && !err; i++) {
        err = pm_spec_check(p->modules[i], error);
        for (size_t k = 0; k < i && !err; k++) {
            err = check_pair(p, p->modules[k], p->modules[i], error);
        }
        if (!err && p->n_modules > 1 && !strcmp(p->modules[i]->name, p->name)) {
            err = pm_fail(error, EINVAL, "process %s: one of its modules has its name", p->name);
        }
    }
    return err;
}

char *
pm_process_print(const struct fs_process_spec *p, bool with_args)
{
    struct pm_text t = { 0 };
    pm_text_add(&t, "process %s\n", p->name);
    for (size_t i = 0; i < p->n_modules; i++) {
        char *module = pm_spec_print(p->modules[i], with_args);
        if (!module) {
            free(pm_text_take(&t));
            return NULL;
        }
        pm_text_add(&t, "module %zu\n%s", strlen(module), module);
        free(module);
    }
    return pm_text_take(&t);
}

/* One module of the text; *rest moves on behind it. */
static int
parse_module(struct parsed *p, const char **rest, char **error)
{
    size_t length;
    int used = 0;
    if (p->process.n_modules == FS_MEMBERS_MAX || sscanf(*rest, "module %zu%n", &length, &used) != 1 || (*rest)[used] != '\n' ||
        strlen(*rest + used + 1) < length) {
        return pm_fail(error, EINVAL, "specification of process %s: module %zu: more than %u modules, or less text than was said", p->name,
                       p->process.n_modules, FS_MEMBERS_MAX);
    }
    char *text = strndup(*rest + used + 1, length);
    *rest += (size_t) used + 1 + length;
    int err = text ? pm_spec_parse(text, &p->modules[p->process.n_modules], error) : ENOMEM;
    free(text);
    p->process.n_modules += !err;
    return err;
}

int
pm_process_parse(const char *text, struct fs_process_spec **process, char **error)
{
    struct parsed *p = calloc(1, sizeof *p);
    const char *end = strchr(text, '\n');
    *process = NULL;
    if (!p || !end || strncmp(text, "process ", 8)) {
        free(p);
        return p ? pm_fail(error, EINVAL, "specification: it does not begin with a process") : ENOMEM;
    }
    p->name = strndup(text + 8, (size_t) (end - text) - 8);
    p->process.name = p->name;
    p->process.modules = (const struct fs_module_spec *const *) p->modules;
    int err = p->name ? 0 : ENOMEM;
    for (const char *rest = end + 1; *rest && !err;) {
        err = parse_module(p, &rest, error);
    }
    err = err ? err : pm_process_check(&p->process, error);
    if (err) {
        pm_process_free(&p->process);
        return err;
    }
    *process = &p->process;
    return 0;
}

void
pm_process_free(struct fs_process_spec *process)
{
    if (process) {
        struct parsed *p = (struct parsed *) process;
        for (size_t i = 0; i < p->process.n_modules; i++) {
            pm_spec_free(p->modules[i]);
        }
        free(p->name);
        free(p);
    }
}

int
pm_process_read(const char *folder, struct fs_process_spec **process, char **error)
{
    char *path = NULL, *text = NULL;
    *process = NULL;
    if (asprintf(&path, "%s/spec", folder) < 0) {
        return ENOMEM;
    }
    int err = pm_read_file(path, PM_SPEC_MAX, &text);
    if (err) {
        pm_fail(error, err, "%s: %s", path, strerror(err));
    } else {
        err = pm_process_parse(text, process, error);
    }
    free(text);
    free(path);
    return err;
}

double
pm_process_cpu(const struct fs_process_spec *p)
{
    double sum = 0;
    for (size_t i = 0; i < p->n_modules; i++) {
        if (!(p->modules[i]->cpu > 0)) {
            return 0;
        }
        sum += p->modules[i]->cpu;
    }
    return sum;
}

unsigned
pm_process_mem(const struct fs_process_spec *p)
{
    unsigned sum = 0;
    for (size_t i = 0; i < p->n_modules; i++) {
        if (!p->modules[i]->mem) {
            return 0;
        }
        sum += p->modules[i]->mem;
    }
    return sum;
}

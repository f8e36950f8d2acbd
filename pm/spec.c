/* Specifications of modules: checked, written to disk, read back by the runner, the multiplexer and whichever daemon comes next. */
#include "config.h"

#include "pm/spec.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>


/* The block that pm_spec_parse() hands out; 'spec' is first so that the caller's pointer frees it all. */
struct parsed {
    struct fs_module_spec spec;
    char *text;
    struct fs_port_spi inputs[FS_PATHS_MAX];
    struct fs_port_spi outputs[FS_PATHS_MAX];
};

static bool
type_ok(const char *type)
{
    size_t n = type ? strlen(type) : 0;
    for (size_t i = 0; i < n; i++) {
        if (!isalnum((unsigned char) type[i]) && type[i] != '_') {
            return false;
        }
    }
    return n > 0 && n <= 64;
}

static int
check_inputs(const struct fs_module_spec *s, char **error)
{
    for (size_t i = 0; i < s->n_inputs; i++) {
        const struct fs_port_spi *p = &s->inputs[i];
        if (p->port >= FS_PORTS_MAX || p->spi == 0 || p->spi > FS_SPI_MAX) {
            return pm_fail(error, EINVAL, "module %s: input port %u, service path %u: out of range", s->name, p->port, p->spi);
        }
        for (size_t k = 0; k < i; k++) {
            if (s->inputs[k].spi == p->spi) {
                return pm_fail(error, EINVAL, "module %s: service path %u leads into it twice", s->name, p->spi);
            }
        }
    }
    return 0;
}

/* Every port up to the last has a path, and a path leads from one port. */
static int
check_outputs(const struct fs_module_spec *s, char **error)
{
    bool seen[FS_PORTS_MAX] = { false };
    for (size_t i = 0; i < s->n_outputs; i++) {
        const struct fs_port_spi *p = &s->outputs[i];
        if (p->port >= FS_PORTS_MAX || p->spi > FS_SPI_MAX) {
            return pm_fail(error, EINVAL, "module %s: output port %u, service path %u: out of range", s->name, p->port, p->spi);
        }
        for (size_t k = 0; k < i && p->spi; k++) {
            if (s->outputs[k].spi == p->spi) {
                return pm_fail(error, EINVAL, "module %s: service path %u leads from it twice", s->name, p->spi);
            }
        }
        seen[p->port] = true;
    }
    for (uint32_t port = 0; port < pm_spec_output_ports(s); port++) {
        if (!seen[port]) {
            return pm_fail(error, EINVAL, "module %s: output port %u has no service path, but a later one has", s->name, port);
        }
    }
    return 0;
}

static int
check_paths(const struct fs_module_spec *s, char **error)
{
    if (s->n_inputs > FS_PATHS_MAX || s->n_outputs > FS_PATHS_MAX) {
        return pm_fail(error, EINVAL, "module %s: more than %u service paths on one side", s->name, FS_PATHS_MAX);
    }
    int err = check_inputs(s, error);
    return err ? err : check_outputs(s, error);
}

uint32_t
pm_spec_output_ports(const struct fs_module_spec *s)
{
    uint32_t n = 0;
    for (size_t i = 0; i < s->n_outputs; i++) {
        n = s->outputs[i].port >= n ? s->outputs[i].port + 1 : n;
    }
    return n;
}

int
pm_spec_check(const struct fs_module_spec *s, char **error)
{
    if (!pm_name_ok(s->name)) {
        return pm_fail(error, EINVAL, "\"%s\" cannot be the name of a module", s->name ? s->name : "");
    }
    if (!type_ok(s->type)) {
        return pm_fail(error, EINVAL, "module %s: \"%s\" cannot be the name of a type", s->name, s->type ? s->type : "");
    }
    if (!s->args || strlen(s->args) > FS_MODULE_ARGS_MAX) {
        return pm_fail(error, EINVAL, "module %s: arguments are missing or longer than %u bytes", s->name, FS_MODULE_ARGS_MAX);
    }
    if (!(s->cpu >= 0 && s->cpu <= 4096)) {
        return pm_fail(error, EINVAL, "module %s: %g is no number of cores", s->name, s->cpu);
    }
    if (s->mem > 1u << 24) {
        return pm_fail(error, EINVAL, "module %s: %u MB of memory is out of range", s->name, s->mem);
    }
    return check_paths(s, error);
}

static void
print_paths(struct pm_text *t, const char *key, const struct fs_port_spi *paths, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        pm_text_add(t, "%s %u %u", key, paths[i].port, paths[i].spi);
        if (paths[i].rate) {
            pm_text_add(t, " %" PRIu64, paths[i].rate);
        }
        pm_text_add(t, "\n");
    }
}

char *
pm_spec_print(const struct fs_module_spec *s, bool with_args)
{
    struct pm_text t = { 0 };
    pm_text_add(&t, "name %s\ntype %s\nowner %" PRIu64 "\ncpu %d\nmem %u\n", s->name, s->type, s->owner,
                (int) (s->cpu * 1000 + 0.5), s->mem);
    if (s->basesys && s->basesys[0]) {
        pm_text_add(&t, "basesys %s\n", s->basesys);
    }
    print_paths(&t, "input", s->inputs, s->n_inputs);
    print_paths(&t, "output", s->outputs, s->n_outputs);
    pm_text_add(&t, "args\n%s", with_args ? s->args : "");
    return pm_text_take(&t);
}

static bool
parse_path(const char *value, struct fs_port_spi *array, size_t *n, size_t max)
{
    return *n < max && sscanf(value, "%" SCNu32 " %" SCNu32 " %" SCNu64, &array[*n].port, &array[*n].spi, &array[*n].rate) >= 2 && ++*n;
}

static bool
parse_field(struct parsed *p, const char *key, const char *value)
{
    struct fs_module_spec *s = &p->spec;
    unsigned thousandths;
    if (!strcmp(key, "name")) {
        s->name = value;
    } else if (!strcmp(key, "type")) {
        s->type = value;
    } else if (!strcmp(key, "basesys")) {
        s->basesys = value;
    } else if (!strcmp(key, "owner")) {
        return sscanf(value, "%" SCNu64, &s->owner) == 1;
    } else if (!strcmp(key, "mem")) {
        return sscanf(value, "%u", &s->mem) == 1;
    } else if (!strcmp(key, "cpu")) {
        bool good = sscanf(value, "%u", &thousandths) == 1;
        s->cpu = good ? thousandths / 1000.0 : 0;
        return good;
    } else if (!strcmp(key, "input")) {
        return parse_path(value, p->inputs, &s->n_inputs, FS_PATHS_MAX);
    } else if (!strcmp(key, "output")) {
        return parse_path(value, p->outputs, &s->n_outputs, FS_PATHS_MAX);
    }
    return true; /* a field of a later version */
}

/* Cut the text into lines in place until the arguments begin. */
static int
parse_lines(struct parsed *p, char **error)
{
    char *line = p->text;
    for (unsigned number = 1; line; number++) {
        char *end = strchr(line, '\n');
        if (!end) {
            break;
        }
        *end = '\0';
        if (!strcmp(line, "args")) {
            p->spec.args = end + 1;
            return 0;
        }
        char *space = strchr(line, ' ');
        if (!space) {
            return pm_fail(error, EINVAL, "specification, line %u: \"%s\" has no value", number, line);
        }
        *space = '\0';
        if (!parse_field(p, line, space + 1)) {
            return pm_fail(error, EINVAL, "specification, line %u: bad value \"%s\" of %s", number, space + 1, line);
        }
        line = end + 1;
    }
    return pm_fail(error, EINVAL, "specification: the line \"args\" is missing");
}

int
pm_spec_parse(const char *text, struct fs_module_spec **spec, char **error)
{
    struct parsed *p = calloc(1, sizeof *p);
    *spec = NULL;
    if (!p || !(p->text = strdup(text))) {
        free(p);
        return ENOMEM;
    }
    p->spec.inputs = p->inputs;
    p->spec.outputs = p->outputs;
    p->spec.basesys = "";
    int err = parse_lines(p, error);
    if (!err) {
        err = pm_spec_check(&p->spec, error);
    }
    if (err) {
        pm_spec_free(&p->spec);
        return err;
    }
    *spec = &p->spec;
    return 0;
}

void
pm_spec_free(struct fs_module_spec *spec)
{
    if (spec) {
        struct parsed *p = (struct parsed *) spec;
        free(p->text);
        free(p);
    }
}


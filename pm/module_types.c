/* The types of a process: their objects are opened outside, with the libraries that they need, and loaded inside.
 *
 * Inside the empty root there is no library to be found.  So what a type says it needs (DT_NEEDED) is loaded before the walls go up; these are
 * libraries of the system and of Flowstream.  No instruction of the type itself runs then.  A type that needs none, as most do,
 * costs none: libpcap alone would bring eleven others with it. */
#include "config.h"

#include "pm/module.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pm/isolate.h"
#include "pm/spec.h"

/* An object file in memory; all that is in it is checked before it is used. */
struct image {
    const uint8_t *bytes;
    size_t size;
};

/* 'n' bytes at 'offset', or NULL. */
static const void *
part(const struct image *f, uint64_t offset, uint64_t n)
{
    return offset <= f->size && n <= f->size - offset ? f->bytes + offset : NULL;
}

/* The offset in the file of an address, or of nothing (UINT64_MAX). */
static uint64_t
offset_of(const Elf64_Phdr *headers, unsigned n, uint64_t address)
{
    for (unsigned i = 0; i < n; i++) {
        if (headers[i].p_type == PT_LOAD && address >= headers[i].p_vaddr && address - headers[i].p_vaddr < headers[i].p_filesz) {
            return headers[i].p_offset + (address - headers[i].p_vaddr);
        }
    }
    return UINT64_MAX;
}

/* The dynamic section, and the program headers; NULL: this is no shared object of this machine, dlopen() will say so. */
static const Elf64_Dyn *
find_dynamic(const struct image *f, const Elf64_Phdr **headers, unsigned *n_headers, size_t *n)
{
    const Elf64_Ehdr *elf = part(f, 0, sizeof *elf);
    if (!elf || memcmp(elf->e_ident, ELFMAG, SELFMAG) || elf->e_ident[EI_CLASS] != ELFCLASS64 || elf->e_phentsize != sizeof **headers ||
        elf->e_phoff % 8) {
        return NULL;
    }
    *n_headers = elf->e_phnum;
    *headers = part(f, elf->e_phoff, (uint64_t) elf->e_phnum * sizeof **headers);
    for (unsigned i = 0; *headers && i < *n_headers; i++) {
        const Elf64_Phdr *h = &(*headers)[i];
        if (h->p_type == PT_DYNAMIC && h->p_offset % 8 == 0) {
            *n = h->p_filesz / sizeof(Elf64_Dyn);
            return part(f, h->p_offset, h->p_filesz);
        }
    }
    return NULL;
}

/* Load one library that is needed; it stays. */
static int
load_library(const struct image *f, uint64_t at, const char *type, char **error)
{
    const char *name = part(f, at, 1);
    if (!name || !memchr(name, '\0', f->size - at)) {
        return 0; /* dlopen() will say what is wrong */
    }
    return dlopen(name, RTLD_NOW | RTLD_LOCAL) ? 0 : pm_fail(error, ENOEXEC, "type %s needs a library: %s", type, dlerror());
}

static int
load_needed(const struct image *f, const char *type, char **error)
{
    const Elf64_Phdr *headers;
    unsigned n_headers;
    size_t n = 0;
    uint64_t strings = UINT64_MAX;
    const Elf64_Dyn *dynamic = find_dynamic(f, &headers, &n_headers, &n);
    for (size_t i = 0; dynamic && i < n && dynamic[i].d_tag != DT_NULL; i++) {
        if (dynamic[i].d_tag == DT_STRTAB) {
            strings = offset_of(headers, n_headers, dynamic[i].d_un.d_ptr);
        }
    }
    int err = 0;
    for (size_t i = 0; strings != UINT64_MAX && i < n && dynamic[i].d_tag != DT_NULL && !err; i++) {
        if (dynamic[i].d_tag == DT_NEEDED) {
            err = load_library(f, strings + dynamic[i].d_un.d_val, type, error);
        }
    }
    return err;
}

static int
load_libraries(int fd, const char *type, char **error)
{
    struct stat st;
    if (fstat(fd, &st)) {
        return errno;
    }
    struct image f = { .size = (size_t) st.st_size };
    void *map = f.size ? mmap(NULL, f.size, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
    if (map == MAP_FAILED) {
        return 0; /* an empty file: dlopen() will say so */
    }
    f.bytes = map;
    int err = load_needed(&f, type, error);
    munmap(map, f.size);
    return err;
}

static size_t
find_type(const struct type_files *t, const char *name)
{
    size_t i = 0;
    while (i < t->n && strcasecmp(t->names[i], name)) {
        i++;
    }
    return i;
}

static int
open_type(struct type_files *t, const struct fs_module_spec *spec, const char *types, char **error)
{
    char *lower = strdup(spec->type);
    for (char *p = lower; p && *p; p++) {
        *p = *p >= 'A' && *p <= 'Z' ? (char) (*p - 'A' + 'a') : *p;
    }
    int n = lower ? asprintf(&t->paths[t->n], "%s/%s.so", types, lower) : -1;
    free(lower);
    if (n < 0) {
        return ENOMEM;
    }
    int fd = open(t->paths[t->n], O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        int err = errno;
        return pm_fail(error, err, "module %s: type %s: %s: %s", spec->name, spec->type, t->paths[t->n], strerror(err));
    }
    t->names[t->n] = spec->type;
    t->fds[t->n++] = fd;
    return load_libraries(fd, spec->type, error);
}

int
types_open(struct type_files *t, const struct fs_process_spec *spec, const char *types, char **error)
{
    int err = 0;
    for (size_t i = 0; i < spec->n_modules && !err; i++) {
        if (find_type(t, spec->modules[i]->type) == t->n) {
            err = open_type(t, spec->modules[i], types, error);
        }
    }
    return err;
}

static int
load_type(struct type_files *t, size_t i, const char *module, bool inside, char **error)
{
    char name[PM_TYPE_NAME_ROOM];
    void *handle = dlopen(inside ? pm_isolate_name(name, i) : t->paths[i], RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        return pm_fail(error, ENOEXEC, "module %s: type %s cannot be loaded: %s", module, t->names[i], dlerror());
    }
    const struct fs_module_type *type = dlsym(handle, "fs_module_type_v1");
    if (!type || type->magic != FS_MODULE_MAGIC || type->abi != FS_MODULE_ABI) {
        return pm_fail(error, ENOEXEC, "module %s: %s is no module type of this version", module, t->paths[i]);
    }
    t->loaded[i] = type;
    return 0;
}

/* The checker has counted the ports of a request; a module may also be started without one. */
static int
check_ports(const struct member *m, char **error)
{
    const struct fs_module_spec *s = m->spec;
    uint32_t inputs = 0, outputs = pm_spec_output_ports(s);
    for (size_t i = 0; i < s->n_inputs; i++) {
        inputs = s->inputs[i].port >= inputs ? s->inputs[i].port + 1 : inputs;
    }
    if (inputs > m->type->max_inputs || outputs > m->type->max_outputs || outputs < m->type->min_outputs) {
        return pm_fail(error, EINVAL, "module %s: type %s cannot have %u inputs and %u outputs", s->name, s->type, inputs, outputs);
    }
    return 0;
}

static int
configure(struct member *m, char **error)
{
    char *why = NULL;
    int err = check_ports(m, error);
    if (err) {
        return err;
    }
    m->state = m->type->configure(m->spec->args, m->n_outputs, &why);
    if (!m->state) {
        err = pm_fail(error, EINVAL, "module %s: %s: %s", m->spec->name, m->spec->type, why ? why : "bad arguments");
    }
    free(why);
    return err;
}

int
types_load(struct type_files *t, struct process *p, bool inside, char **error)
{
    int err = 0;
    for (uint32_t i = 0; i < p->n_members && !err; i++) {
        struct member *m = &p->members[i];
        size_t type = find_type(t, m->spec->type);
        p->area->starting = i;
        err = t->loaded[type] ? 0 : load_type(t, type, m->spec->name, inside, error);
        if (!err) {
            m->type = t->loaded[type];
            err = configure(m, error);
        }
    }
    return err;
}

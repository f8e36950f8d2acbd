/* Reads just enough of an ELF file to know that dlopen() will not be hurt by it: a truncated file raises SIGBUS inside dlopen, and flipped
 * header bytes crash it.  Every offset is checked against the size before it is used. */
#include "config.h"

#include "core/elf.h"

#include <elf.h>
#include <string.h>

#include "core/util.h"

static bool
inside(uint64_t offset, uint64_t n, size_t size)
{
    return offset <= size && n <= size - offset;
}

/* Where an address of the loaded object is in the file; SIZE_MAX: nowhere. */
static size_t
offset_of(const char *bytes, size_t size, const Elf64_Ehdr *h, uint64_t address)
{
    for (unsigned i = 0; i < h->e_phnum; i++) {
        Elf64_Phdr p;
        memcpy(&p, bytes + h->e_phoff + i * sizeof p, sizeof p);
        if (p.p_type == PT_LOAD && address >= p.p_vaddr && address - p.p_vaddr < p.p_filesz && inside(p.p_offset, p.p_filesz, size)) {
            return (size_t) (p.p_offset + (address - p.p_vaddr));
        }
    }
    return SIZE_MAX;
}

/* A library by name is looked for where the system has libraries; one by path could be anybody's, and no gate has looked at it. */
static char *
check_needed(const char *bytes, size_t size, const Elf64_Ehdr *h, const Elf64_Phdr *ph)
{
    size_t table = SIZE_MAX;
    for (int pass = 0; pass < 2; pass++) {
        for (uint64_t at = 0; at + sizeof(Elf64_Dyn) <= ph->p_filesz; at += sizeof(Elf64_Dyn)) {
            Elf64_Dyn d;
            memcpy(&d, bytes + ph->p_offset + at, sizeof d);
            if (d.d_tag == DT_NULL) {
                break;
            }
            if (pass == 0 && d.d_tag == DT_STRTAB) {
                table = offset_of(bytes, size, h, d.d_un.d_ptr);
            } else if (pass == 1 && d.d_tag == DT_NEEDED) {
                const char *name = table < size && d.d_un.d_val < size - table ? bytes + table + d.d_un.d_val : NULL;
                size_t room = name ? size - (size_t) (name - bytes) : 0;
                if (!name || !memchr(name, '\0', room)) {
                    return fs_xasprintf("the name of a library that it needs is outside of the file");
                }
                if (strchr(name, '/')) {
                    return fs_xasprintf("it needs a library by its path, %.200s: only libraries by name are loaded", name);
                }
            }
        }
    }
    return NULL;
}

static char *
check_dynamic(const char *bytes, size_t size, const Elf64_Phdr *ph)
{
    if (!inside(ph->p_offset, ph->p_filesz, size)) {
        return fs_xasprintf("its dynamic section reaches past the end of the file");
    }
    for (uint64_t at = 0; at + sizeof(Elf64_Dyn) <= ph->p_filesz; at += sizeof(Elf64_Dyn)) {
        Elf64_Dyn d;
        memcpy(&d, bytes + ph->p_offset + at, sizeof d);
        switch (d.d_tag) {
        case DT_NULL:
            return NULL;
        case DT_TEXTREL:
            return fs_xasprintf("it has text relocations: compile it with -fPIC");
        case DT_FLAGS:
            if (d.d_un.d_val & DF_TEXTREL) {
                return fs_xasprintf("it has text relocations: compile it with -fPIC");
            }
            break;
        case DT_RPATH:
        case DT_RUNPATH:
            return fs_xasprintf("it brings a search path for libraries: link it without -rpath");
        case DT_AUDIT:
        case DT_DEPAUDIT:
        case DT_FILTER:
        case DT_AUXILIARY:
            return fs_xasprintf("it asks for an audit or filter library");
        default:
            break;
        }
    }
    return fs_xasprintf("its dynamic section has no end");
}

char *
fs_elf_check(const void *data, size_t size)
{
    const char *bytes = data;
    Elf64_Ehdr h;
    if (size < sizeof h || memcmp(bytes, ELFMAG, SELFMAG)) {
        return fs_xasprintf("it is no ELF file");
    }
    memcpy(&h, bytes, sizeof h);
    if (h.e_ident[EI_CLASS] != ELFCLASS64 || h.e_ident[EI_DATA] != ELFDATA2LSB || h.e_ident[EI_VERSION] != EV_CURRENT) {
        return fs_xasprintf("it is no 64-bit little-endian ELF file");
    }
#ifdef __x86_64__
    if (h.e_machine != EM_X86_64) {
        return fs_xasprintf("it is for another machine (ELF machine %u)", h.e_machine);
    }
#endif
    if (h.e_type != ET_DYN) {
        return fs_xasprintf("it is no shared object: link it with -shared");
    }
    if (h.e_phentsize != sizeof(Elf64_Phdr) || !h.e_phnum || !inside(h.e_phoff, (uint64_t) h.e_phnum * sizeof(Elf64_Phdr), size)) {
        return fs_xasprintf("its program headers are damaged");
    }
    if (h.e_shnum && (h.e_shentsize != sizeof(Elf64_Shdr) || !inside(h.e_shoff, (uint64_t) h.e_shnum * sizeof(Elf64_Shdr), size))) {
        return fs_xasprintf("it is cut short: its section headers reach past the end of the file");
    }
    bool has_dynamic = false, has_stack = false;
    for (unsigned i = 0; i < h.e_phnum; i++) {
        Elf64_Phdr p;
        memcpy(&p, bytes + h.e_phoff + i * sizeof p, sizeof p);
        if (p.p_type == PT_LOAD && (!inside(p.p_offset, p.p_filesz, size) || p.p_filesz > p.p_memsz)) {
            return fs_xasprintf("it is cut short: a segment reaches past the end of the file");
        }
        if (p.p_type == PT_LOAD && (p.p_flags & PF_W) && (p.p_flags & PF_X)) {
            return fs_xasprintf("it has a segment that is writable and executable");
        }
        if (p.p_type == PT_INTERP) {
            return fs_xasprintf("it is a program, not a loadable object");
        }
        if (p.p_type == PT_GNU_STACK && (p.p_flags & PF_X)) {
            return fs_xasprintf("it asks for an executable stack");
        }
        has_stack |= p.p_type == PT_GNU_STACK;
        if (p.p_type == PT_DYNAMIC) {
            char *why = check_dynamic(bytes, size, &p);
            why = why ? why : check_needed(bytes, size, &h, &p);
            if (why) {
                return why;
            }
            has_dynamic = true;
        }
    }
    if (!has_stack) { /* the loader takes silence for a wish */
        return fs_xasprintf("it does not say that it needs no executable stack: link it with -z noexecstack");
    }
    return has_dynamic ? NULL : fs_xasprintf("it has no dynamic section");
}

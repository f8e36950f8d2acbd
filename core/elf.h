/* The gate that the bytes of a loadable object pass before dlopen() sees them (reliability.md 4.5). */
#ifndef CORE_ELF_H
#define CORE_ELF_H 1

#include <stddef.h>

#include <flowstream/api.h>

/* NULL when 'bytes' are a shared object for this machine, whole, with nothing in it that could make dlopen() itself fail badly (a
 * segment that reaches past the end of the file, an executable stack, text relocations, a search path).  Else the reason, owned. */
FS_API char *fs_elf_check(const void *bytes, size_t size);

#endif

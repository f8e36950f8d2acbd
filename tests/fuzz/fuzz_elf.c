/* Fuzz target of the gate for loadable objects: it must say yes or no to any bytes without reading outside of them. */
#include "config.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/elf.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    char *exact = malloc(size ? size : 1); /* so that the sanitizer knows where it ends */
    if (exact) {
        memcpy(exact, bytes, size);
        free(fs_elf_check(exact, size));
        free(exact);
    }
    return 0;
}

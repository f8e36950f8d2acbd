/* Fuzz target: frames from the trunk.  What is accepted must lie inside the frame and be a frame itself. */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "pm/nsh.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pm_nsh found;
    if (!pm_nsh_decode(data, size, &found)) {
        if (found.offset > size || found.length != size - found.offset || found.length < PM_ETHERNET_HEADER ||
            found.length > PM_FRAME_MAX || found.spi > 0xffffff) {
            abort();
        }
        uint8_t header[PM_NSH_HEADER + PM_ETHERNET_HEADER] = { 0 };
        struct pm_nsh again;
        pm_nsh_encode(header, found.spi);
        if (pm_nsh_decode(header, sizeof header, &again) || again.spi != found.spi) {
            abort();
        }
    }
    return 0;
}

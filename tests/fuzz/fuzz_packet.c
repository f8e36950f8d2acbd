/* Fuzz target: headers of frames.  What is found lies inside the frame; and a frame that is cut off behind them has the same. */
#include "config.h"

#include <flowstream/packet.h>

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
require(bool holds)
{
    if (!holds) {
        abort();
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fs_headers found, again;
    uint8_t *frame = malloc(size + !size); /* of this size, so that a byte behind it is noticed */
    require(frame != NULL);
    memcpy(frame, data, size);
    fs_headers_find(frame, (uint32_t) size, &found);
    uint32_t addresses = found.version == 4 ? 8 : 32;
    require(found.version == 0 || found.version == 4 || found.version == 6);
    require(!found.version == !found.addresses && (!found.version || found.addresses + addresses <= size));
    require(found.transport <= size && (!found.transport || (found.version && !found.cut && found.transport >= found.addresses + addresses)));
    require(found.vlan == FS_NO_VLAN || found.vlan < 4096);
    if (found.transport) {
        fs_headers_find(frame, found.transport, &again);
        require(again.transport == found.transport && again.protocol == found.protocol && again.fragment == found.fragment && again.detour == found.detour);
    }
    free(frame);
    return 0;
}

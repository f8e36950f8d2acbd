/* Service headers on a trunk: Ethernet, then the Network Service Header (RFC 8300), then the tenant's Ethernet frame. */
#ifndef PM_NSH_H
#define PM_NSH_H 1

#include <stddef.h>
#include <stdint.h>

#define PM_ETHERTYPE_NSH 0x894f
#define PM_NSH_HEADER 22u  /* bytes that pm_nsh_encode() writes: Ethernet 14, NSH 8 */
#define PM_ETHERNET_HEADER 14u
#define PM_FRAME_MAX 1600u /* bytes of a tenant's frame; longer ones are dropped */

/* What pm_nsh_decode() finds in a frame of the trunk. */
struct pm_nsh {
    uint32_t spi;
    uint32_t offset; /* where the tenant's frame begins */
    uint32_t length; /* bytes of it */
};

/* Look into 'frame' of 'length' bytes.  Returns NULL and fills *found, or a constant text that says what is wrong with it.
 * Accepts metadata of type 1 and 2 (skipped), next protocol Ethernet only, and no service index of 0. */
const char *pm_nsh_decode(const uint8_t *frame, size_t length, struct pm_nsh *found);

/* Write the header that goes before a frame of path 'spi'. */
void pm_nsh_encode(uint8_t header[PM_NSH_HEADER], uint32_t spi);

#endif

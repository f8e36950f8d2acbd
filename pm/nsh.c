/* The service header of the trunk: decoding frames that anyone may have sent, and writing our own.  No state, no I/O, so that the
 * fuzz target calls exactly what the multiplexer calls.
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     |Ver|O|U|    TTL    |   Length  |U|U|U|U|MD Type| Next Protocol |
 *     |          Service Path Identifier (SPI)        | Service Index |
 *
 * Length counts words of four bytes, with the metadata that follows. */
#include "config.h"

#include "pm/nsh.h"

#include <string.h>

enum {
    NSH_BASE = 8,
    NSH_MD1_WORDS = 6,
    NSH_MD2_WORDS_MIN = 2,
    NSH_NEXT_ETHERNET = 3,
    NSH_TTL = 63,
    NSH_FIRST_INDEX = 255,
};

const char *
pm_nsh_decode(const uint8_t *frame, size_t length, struct pm_nsh *found)
{
    if (length < PM_ETHERNET_HEADER + NSH_BASE) {
        return "shorter than a service header";
    }
    if (frame[12] != PM_ETHERTYPE_NSH >> 8 || frame[13] != (PM_ETHERTYPE_NSH & 0xff)) {
        return "another Ethernet type";
    }
    const uint8_t *nsh = frame + PM_ETHERNET_HEADER;
    if (nsh[0] >> 6 != 0) {
        return "unknown version";
    }
    if (nsh[0] & 0x20) {
        return "a frame for operation and maintenance";
    }
    size_t words = nsh[1] & 0x3f;
    unsigned type = nsh[2] & 0x0f;
    if (type == 1 ? words != NSH_MD1_WORDS : type != 2 || words < NSH_MD2_WORDS_MIN) {
        return "wrong metadata type or length";
    }
    if (nsh[3] != NSH_NEXT_ETHERNET) {
        return "next protocol is not Ethernet";
    }
    if (nsh[7] == 0) {
        return "service index 0";
    }
    size_t offset = PM_ETHERNET_HEADER + words * 4;
    if (length < offset + PM_ETHERNET_HEADER) {
        return "shorter than the frame inside";
    }
    if (length - offset > PM_FRAME_MAX) {
        return "frame inside is too long";
    }
    found->spi = (uint32_t) nsh[4] << 16 | (uint32_t) nsh[5] << 8 | nsh[6];
    found->offset = (uint32_t) offset;
    found->length = (uint32_t) (length - offset);
    return NULL;
}

void
pm_nsh_encode(uint8_t header[PM_NSH_HEADER], uint32_t spi)
{
    static const uint8_t start[PM_NSH_HEADER] = {
        0x02, 0xf5, 0, 0, 0, 0x01, 0x02, 0xf5, 0, 0, 0, 0x02, PM_ETHERTYPE_NSH >> 8, PM_ETHERTYPE_NSH & 0xff,
        NSH_TTL >> 2, (NSH_TTL & 3) << 6 | NSH_MD2_WORDS_MIN, 2, NSH_NEXT_ETHERNET, 0, 0, 0, NSH_FIRST_INDEX,
    };
    memcpy(header, start, sizeof start);
    header[18] = (uint8_t) (spi >> 16);
    header[19] = (uint8_t) (spi >> 8);
    header[20] = (uint8_t) spi;
}

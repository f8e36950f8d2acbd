/* Where the headers of an Ethernet frame are, for module types that look at packets or change them. */
#ifndef FLOWSTREAM_PACKET_H
#define FLOWSTREAM_PACKET_H 1

#include <stdbool.h>
#include <stdint.h>

#include <flowstream/api.h>

#define FS_NO_VLAN UINT16_MAX

/* Offsets are in bytes from the start of the frame. */
struct fs_headers {
    uint16_t ethertype;  /* behind VLAN tags (802.1Q, 802.1ad); 0: the frame is shorter than 14 bytes */
    uint16_t vlan;       /* of the outermost tag, 0 to 4095; FS_NO_VLAN: untagged */
    uint8_t version;     /* 4 or 6; 0: not IP, or cut short */
    uint8_t protocol;    /* what IP carries; of IPv6 behind hop-by-hop, routing, destination and fragment headers (RFC 8200, section 4) */
    bool fragment;       /* of a datagram that was cut into several */
    bool detour;         /* IPv6 with segments left to go: checksums count the destination in the routing header */
    bool cut;            /* shorter than its headers say, or with more than 8 extension headers: what is not known is 0 */
    uint32_t addresses;  /* offset of the source address, 4 or 16 bytes; the destination address follows; 0: not IP */
    uint32_t transport;  /* offset of what IP carries, at most the length of the frame; 0: not IP, cut short, or a fragment but the first, which has no header */
};

/* Finds them.  Reads no byte outside of the 'length' bytes at 'frame', whatever they say, also while somebody else writes there.  Thread-safe. */
FS_API void fs_headers_find(const uint8_t *frame, uint32_t length, struct fs_headers *);

/* 16 bits in network order. */
static inline uint16_t
fs_read16(const uint8_t *p)
{
    return (uint16_t) (p[0] << 8 | p[1]);
}

#endif

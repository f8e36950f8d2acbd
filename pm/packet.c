/* Headers of frames: see <flowstream/packet.h>.  What is read is checked against the length before each step, never against what a header said before. */
#include "config.h"

#include <flowstream/packet.h>

#include <netinet/in.h>

enum { ETHERNET = 14, TAG = 4, IPV4 = 20, IPV6 = 40, EXTENSION = 8, MOST_EXTENSIONS = 8 };
enum { TYPE_IPV4 = 0x0800, TYPE_IPV6 = 0x86dd, TYPE_VLAN = 0x8100, TYPE_SERVICE_VLAN = 0x88a8 };

static void
find_ipv4(const uint8_t *frame, uint32_t length, uint32_t at, struct fs_headers *h)
{
    const uint8_t *p = frame + at;
    uint32_t header = length - at >= IPV4 ? (p[0] & 15u) * 4 : 0;
    if (header < IPV4 || header > length - at || p[0] >> 4 != 4) {
        h->cut = true;
        return;
    }
    uint16_t offset = fs_read16(p + 6);
    h->version = 4;
    h->addresses = at + 12;
    h->protocol = p[9];
    h->fragment = (offset & 0x3fff) != 0; /* more fragments, or an offset */
    h->transport = offset & 0x1fff ? 0 : at + header;
}

static bool
is_extension(uint8_t protocol)
{
    return protocol == IPPROTO_HOPOPTS || protocol == IPPROTO_ROUTING || protocol == IPPROTO_DSTOPTS || protocol == IPPROTO_FRAGMENT;
}

static void
find_ipv6(const uint8_t *frame, uint32_t length, uint32_t at, struct fs_headers *h)
{
    if (length - at < IPV6 || frame[at] >> 4 != 6) {
        h->cut = true;
        return;
    }
    h->version = 6;
    h->addresses = at + 8;
    h->protocol = frame[at + 6];
    at += IPV6;
    for (int i = 0; is_extension(h->protocol); i++) {
        if (i == MOST_EXTENSIONS || length - at < EXTENSION) {
            h->cut = true;
            return;
        }
        const uint8_t *p = frame + at;
        bool fragment = h->protocol == IPPROTO_FRAGMENT;
        uint32_t size = fragment ? EXTENSION : (p[1] + 1u) * 8;
        h->detour = h->detour || (h->protocol == IPPROTO_ROUTING && p[3] != 0);
        h->fragment = h->fragment || (fragment && (fs_read16(p + 2) & 0xfff9)); /* more fragments, or an offset */
        h->protocol = p[0];
        if (fragment && (fs_read16(p + 2) & 0xfff8)) {
            return; /* not the first one: what follows is no header */
        }
        if (size > length - at) {
            h->cut = true;
            return;
        }
        at += size;
    }
    h->transport = at;
}

void
fs_headers_find(const uint8_t *frame, uint32_t length, struct fs_headers *h)
{
    uint32_t at = ETHERNET;
    *h = (struct fs_headers){ .vlan = FS_NO_VLAN };
    if (length < at) {
        h->cut = true;
        return;
    }
    h->ethertype = fs_read16(frame + 12);
    while ((h->ethertype == TYPE_VLAN || h->ethertype == TYPE_SERVICE_VLAN) && length - at >= TAG) {
        h->vlan = h->vlan == FS_NO_VLAN ? fs_read16(frame + at) & 0xfff : h->vlan;
        h->ethertype = fs_read16(frame + at + 2);
        at += TAG;
    }
    if (h->ethertype == TYPE_IPV4) {
        find_ipv4(frame, length, at, h);
    } else if (h->ethertype == TYPE_IPV6) {
        find_ipv6(frame, length, at, h);
    }
}

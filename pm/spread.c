/* The choice among instances of a module, made in the multiplexer as Open vSwitch makes it in a switch (lib/flow.c of its sources: miniflow_extract(),
 * flow_hash_symmetric_l3l4() with ports of UDP, flow_hash_symmetric_l3()).  Its hashes depend on the byte order, and on a processor's checksum instructions where it was
 * built for them; this is the generic form on little-endian machines, which Debian's package for amd64 has.  tests/unit/test_spread.c compares both on frames of every kind.
 *
 * Addresses and ports are combined by exclusive or, so both directions give the same.  A fragment but the first has no ports; so that one datagram stays together, none
 * are looked at in any of them. */
#include "pm/spread.h"

#include <stdbool.h>
#include <string.h>

#include <flowstream/packet.h>

enum { ETH_HEADER = 14, VLAN_TAG = 4, SNAP = 8, IPV4_HEADER = 20, IPV6_HEADER = 40 };
enum { TYPE_IPV4 = 0x0800, TYPE_IPV6 = 0x86dd, TYPE_VLAN = 0x8100, TYPE_SERVICE_VLAN = 0x88a8, TYPE_MIN = 0x600, TYPE_NONE = 0x5ff };
enum { HOP_OPTIONS = 0, TCP = 6, UDP = 17, ROUTING = 43, FRAGMENT = 44, AUTHENTICATION = 51, DESTINATION_OPTIONS = 60, SCTP = 132 };

/* What is left to look at.  Whoever takes bytes checks 'size' first. */
struct cursor {
    const uint8_t *at;
    uint32_t size;
};

/* What the number follows from; the bytes are in the order of the wire. */
struct key {
    uint8_t type[2], vlan[2], ethernet[6];
    uint8_t addresses[16]; /* source and destination combined; of IPv4 the first four */
    uint8_t ports[2];
    uint8_t protocol;
    bool fragment, has_ports;
};

static bool
skip(struct cursor *c, uint32_t n)
{
    if (c->size < n) {
        return false;
    }
    c->at += n;
    c->size -= n;
    return true;
}

static void
combine(uint8_t *to, const uint8_t *a, const uint8_t *b, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        to[i] = a[i] ^ b[i];
    }
}

/* --- Numbers --- */

static uint32_t
word(const uint8_t *p)
{
    uint32_t w;
    memcpy(&w, p, sizeof w);
    return w;
}

static uint32_t
rotate(uint32_t x, int k)
{
    return x << k | x >> (32 - k);
}

/* MurmurHash3 of 32 bits, a step and the end. */
static uint32_t
add(uint32_t hash, uint32_t data)
{
    hash ^= rotate(data * 0xcc9e2d51, 15) * 0x1b873593;
    return rotate(hash, 13) * 5 + 0xe6546b64;
}

static uint32_t
finish(uint32_t hash)
{
    hash = (hash ^ hash >> 16) * 0x85ebca6b;
    hash = (hash ^ hash >> 13) * 0xc2b2ae35;
    return hash ^ hash >> 16;
}

static uint32_t
hash_ethernet(const struct key *k)
{
    uint8_t words[12] = { 0 };
    memcpy(words, k->type, 2);
    memcpy(words + 2, k->vlan, 2);
    memcpy(words + 4, k->ethernet, 6);
    return finish(add(add(add(0, word(words)), word(words + 4)), word(words + 8)));
}

static uint32_t
hash_ip(const struct key *k, unsigned address_bytes)
{
    uint32_t hash = 0;
    for (unsigned i = 0; i < address_bytes; i += 4) {
        hash = add(hash, word(k->addresses + i));
    }
    hash = add(hash, k->protocol);
    if (k->has_ports && !k->fragment) {
        uint16_t ports;
        memcpy(&ports, k->ports, sizeof ports);
        hash = add(hash, ports);
    }
    return finish(hash);
}

/* Bob Jenkins' lookup3 (public domain) of the addresses and the type, 20 bytes. */
static uint32_t
hash_fragment(const struct key *k)
{
    uint32_t a, b, c, last = 0;
    memcpy(&last, k->type, 2);
    a = b = c = 0xdeadbeef + 20;
    a += word(k->addresses);
    b += word(k->addresses + 4);
    c += word(k->addresses + 8);
    a -= c; a ^= rotate(c, 4); c += b;
    b -= a; b ^= rotate(a, 6); a += c;
    c -= b; c ^= rotate(b, 8); b += a;
    a -= c; a ^= rotate(c, 16); c += b;
    b -= a; b ^= rotate(a, 19); a += c;
    c -= b; c ^= rotate(b, 4); b += a;
    a += word(k->addresses + 12);
    b += last;
    c ^= b; c -= rotate(b, 14);
    a ^= c; a -= rotate(c, 11);
    b ^= a; b -= rotate(a, 25);
    c ^= b; c -= rotate(b, 16);
    a ^= c; a -= rotate(c, 4);
    b ^= a; b -= rotate(a, 14);
    c ^= b; c -= rotate(b, 24);
    return c;
}

/* --- Headers --- */

/* Ethernet addresses, one VLAN tag, the type; what a switch with its vlan-limit of 1 sees. */
static uint16_t
read_ethernet(struct cursor *c, struct key *k)
{
    combine(k->ethernet, c->at, c->at + 6, 6);
    skip(c, 12);
    uint16_t type = fs_read16(c->at);
    if ((type == TYPE_VLAN || type == TYPE_SERVICE_VLAN) && c->size >= VLAN_TAG + 2) {
        k->vlan[0] = c->at[2] & 0x0f;
        k->vlan[1] = c->at[3];
        skip(c, VLAN_TAG);
        type = fs_read16(c->at);
    }
    skip(c, 2);
    if (type < TYPE_MIN) { /* a length: the type may be in a SNAP header */
        static const uint8_t snap[6] = { 0xaa, 0xaa, 3, 0, 0, 0 };
        bool has = c->size >= SNAP && !memcmp(c->at, snap, sizeof snap);
        type = has ? fs_read16(c->at + 6) : TYPE_NONE;
        type = type < TYPE_MIN ? TYPE_NONE : type;
        skip(c, has ? SNAP : 0);
    }
    k->type[0] = (uint8_t) (type >> 8);
    k->type[1] = (uint8_t) type;
    return type;
}

/* Of a broken header nothing is believed: all such packets go to one instance. */
static bool
read_ipv4(struct cursor *c, struct key *k)
{
    if (c->size < IPV4_HEADER) {
        return false;
    }
    uint32_t header = (c->at[0] & 15u) * 4, total = fs_read16(c->at + 2);
    if (header < IPV4_HEADER || c->size < header || total > c->size || header > total || c->size - total > UINT16_MAX) {
        return false;
    }
    uint16_t flags = fs_read16(c->at + 6);
    c->size = total; /* the rest is padding */
    k->protocol = c->at[9];
    k->fragment = (flags & 0x3fff) != 0; /* more fragments, or an offset */
    combine(k->addresses, c->at + 12, c->at + 16, 4);
    return skip(c, header);
}

/* Go over extension headers to what is carried.  False: cut short. */
static bool
read_extensions(struct cursor *c, struct key *k, uint8_t next)
{
    while (next == HOP_OPTIONS || next == ROUTING || next == DESTINATION_OPTIONS || next == AUTHENTICATION || next == FRAGMENT) {
        if (c->size < 8) {
            return false;
        }
        uint8_t kind = next;
        uint32_t units = c->at[1];
        uint16_t offset = fs_read16(c->at + 2);
        next = c->at[0];
        if (!skip(c, kind == FRAGMENT ? 8 : kind == AUTHENTICATION ? (units + 2) * 4 : (units + 1) * 8)) {
            return false;
        }
        k->fragment = k->fragment || (kind == FRAGMENT && offset != 0);
        if (kind == FRAGMENT && (offset & 0xfff8)) {
            return true;
        }
    }
    k->protocol = next;
    return true;
}

static bool
read_ipv6(struct cursor *c, struct key *k)
{
    if (c->size < IPV6_HEADER) {
        return false;
    }
    uint32_t payload = fs_read16(c->at + 4);
    uint8_t next = c->at[6];
    if (payload + IPV6_HEADER > c->size || c->size - payload - IPV6_HEADER > UINT16_MAX) {
        return false;
    }
    combine(k->addresses, c->at + 8, c->at + 24, 16);
    skip(c, IPV6_HEADER);
    c->size = payload;
    struct key inner = *k;
    if (!read_extensions(c, &inner, next)) {
        return false; /* the addresses count all the same */
    }
    *k = inner;
    return true;
}

static void
read_ports(struct cursor *c, struct key *k)
{
    uint32_t needed = k->protocol == TCP ? 20 : k->protocol == UDP ? 8 : k->protocol == SCTP ? 12 : 0;
    if (!needed) {
        return;
    }
    k->has_ports = true;
    uint32_t header = k->protocol == TCP && c->size >= needed ? (c->at[12] >> 4) * 4u : needed;
    if (header >= needed && c->size >= header) { /* else the ports count as 0 */
        combine(k->ports, c->at, c->at + 2, 2);
    }
}

uint32_t
pm_spread_hash(const uint8_t *frame, uint32_t length)
{
    struct key k = { 0 };
    struct cursor c = { frame, length };
    if (length < ETH_HEADER) {
        return 0;
    }
    uint16_t type = read_ethernet(&c, &k);
    if (type != TYPE_IPV4 && type != TYPE_IPV6) {
        return hash_ethernet(&k);
    }
    if (type == TYPE_IPV4 ? read_ipv4(&c, &k) : read_ipv6(&c, &k)) {
        read_ports(&c, &k);
    }
    return type == TYPE_IPV6 && k.fragment ? hash_fragment(&k) : hash_ip(&k, type == TYPE_IPV4 ? 4 : 16);
}

/* The multiplexer chooses an instance as a switch does: pm/spread.c against Open vSwitch's own functions, on frames of every kind, cut anywhere, with bytes changed at random;
 * and both directions of a connection, and all fragments of a datagram, have one number. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <dp-packet.h>
#include <flow.h>
#include <openflow/nicira-ext.h>

#include "pm/spread.h"

enum { ROOM = 256, ROUNDS = 200000 };

struct frame {
    uint8_t bytes[ROOM];
    uint32_t length;
};

static unsigned number, failures;
static uint64_t seed = 88172645463325252u;

static void
check(bool good, const char *name)
{
    printf("%sok %u - %s\n", good ? "" : "not ", ++number, name);
    failures += !good;
}

static uint32_t
any(uint32_t below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t) (seed >> 11) % below;
}

/* What a switch computes with the rules of generate_rules. */
static uint32_t
switch_hash(const uint8_t *bytes, uint32_t length)
{
    struct dp_packet packet;
    struct flow flow;
    dp_packet_init(&packet, length);
    dp_packet_put(&packet, bytes, length);
    flow_extract(&packet, &flow);
    dp_packet_uninit(&packet);
    bool fragment = flow.dl_type == htons(ETH_TYPE_IPV6) && flow.nw_frag & FLOW_NW_FRAG_ANY;
    return flow_hash_fields(&flow, fragment ? NX_HASH_FIELDS_SYMMETRIC_L3 : NX_HASH_FIELDS_SYMMETRIC_L3L4_UDP, 0);
}

/* In memory of exactly its size, so that a sanitizer sees a byte too many. */
static uint32_t
our_hash(const struct frame *f)
{
    uint8_t *exact = malloc(f->length);
    memcpy(exact, f->bytes, f->length);
    uint32_t hash = pm_spread_hash(exact, f->length);
    free(exact);
    return hash;
}

/* --- Frames --- */

static void
put(struct frame *f, const void *bytes, uint32_t n)
{
    memcpy(f->bytes + f->length, bytes, n);
    f->length += n;
}

static void
put8(struct frame *f, unsigned value)
{
    f->bytes[f->length++] = (uint8_t) value;
}

static void
put16(struct frame *f, unsigned value)
{
    put8(f, value >> 8);
    put8(f, value & 255);
}

static void
put_random(struct frame *f, uint32_t n)
{
    while (n--) {
        put8(f, any(256));
    }
}

static void
put_transport(struct frame *f, unsigned protocol)
{
    put16(f, 1024 + any(60000));
    put16(f, any(1000));
    if (protocol == 6) {
        put_random(f, 8);
        put8(f, 0x50);
        put_random(f, 7);
    } else {
        put_random(f, 8);
    }
    put_random(f, 1 + any(20));
}

static unsigned
any_protocol(void)
{
    static const unsigned protocols[] = { 6, 17, 132, 1, 58, 2, 47, 253 };
    return protocols[any(sizeof protocols / sizeof *protocols)];
}

static void
put_ipv4(struct frame *f)
{
    uint32_t start = f->length, options = any(4) ? 0 : 4;
    unsigned protocol = any_protocol();
    put8(f, 0x45 + options / 4);
    put8(f, 0);
    put16(f, 0);
    put16(f, 7);
    put16(f, any(3) ? 0x4000 : any(2) ? 0x2000 : 185);
    put8(f, 64);
    put8(f, protocol);
    put_random(f, 2 + 8 + options);
    put_transport(f, protocol);
    f->bytes[start + 2] = (uint8_t) ((f->length - start) >> 8);
    f->bytes[start + 3] = (uint8_t) (f->length - start);
    put_random(f, any(3) * 4); /* padding */
}

static void
put_ipv6(struct frame *f)
{
    static const uint8_t kinds[] = { 0, 43, 60, 51, 44 };
    uint32_t start = f->length, next = start + 6, kind = 255;
    unsigned protocol = any_protocol();
    put8(f, 0x60);
    put_random(f, 39);
    for (unsigned n = any(2) ? 0 : any(4); n > 0; n--) {
        kind = kinds[any(sizeof kinds)];
        f->bytes[next] = (uint8_t) kind;
        next = f->length;
        put8(f, 0);
        put8(f, kind == 44 ? 0 : any(2)); /* length: of a fragment header it is none */
        put16(f, kind != 44 ? any(65536) : any(3) ? any(2) : 1480);
        put_random(f, 4u + f->bytes[next + 1] * (kind == 51 ? 4u : 8u));
    }
    f->bytes[next] = (uint8_t) protocol;
    put_transport(f, protocol);
    f->bytes[start + 4] = (uint8_t) ((f->length - start - 40) >> 8);
    f->bytes[start + 5] = (uint8_t) (f->length - start - 40);
}

static void
put_other(struct frame *f)
{
    static const uint8_t snap[] = { 0, 50, 0xaa, 0xaa, 3, 0, 0, 0, 0x88, 0xb5 };
    static const unsigned types[] = { 0x0806, 0x88b5, 0x8847, 0x894f, 0x8863, 0x0600, 0x05ff };
    if (any(4)) {
        put16(f, types[any(sizeof types / sizeof *types)]);
    } else {
        put(f, snap, sizeof snap);
    }
    put_random(f, 50);
}

static void
make(struct frame *f)
{
    f->length = 0;
    put_random(f, 12);
    for (unsigned tags = any(3) ? 0 : 1 + any(2); tags > 0; tags--) {
        put16(f, any(2) ? 0x8100 : 0x88a8);
        put16(f, any(65536));
    }
    unsigned kind = any(5);
    if (kind < 2) {
        put16(f, 0x0800);
        put_ipv4(f);
    } else if (kind < 4) {
        put16(f, 0x86dd);
        put_ipv6(f);
    } else {
        put_other(f);
    }
}

/* --- Checks --- */

static bool
agree(const struct frame *f)
{
    if (our_hash(f) == switch_hash(f->bytes, f->length)) {
        return true;
    }
    printf("# differ:");
    for (uint32_t i = 0; i < f->length; i++) {
        printf(" %02x", f->bytes[i]);
    }
    printf("\n");
    return false;
}

static void
test_same_as_switch(void)
{
    bool whole = true, cut = true, changed = true;
    for (unsigned i = 0; i < ROUNDS && whole && cut && changed; i++) {
        struct frame f;
        make(&f);
        whole = agree(&f);
        uint32_t length = f.length;
        f.length = 14 + any(length - 14);
        cut = agree(&f);
        f.length = length;
        for (unsigned n = 1 + any(3); n > 0; n--) {
            f.bytes[12 + any(f.length - 12)] = (uint8_t) any(256);
        }
        changed = agree(&f);
    }
    check(whole, "200,000 frames of every kind: the number is that of Open vSwitch");
    check(cut, "the same cut anywhere");
    check(changed, "the same with bytes changed");
}

static void
make_udp(struct frame *f, bool back, bool tagged, unsigned fragment, unsigned source)
{
    static const uint8_t ethernet[] = { 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1 };
    static const uint8_t ip[] = { 0x45, 0, 0, 36, 0, 1, 0, 0, 64, 17, 0, 0 }, addresses[] = { 10, 0, 0, 1, 10, 0, 0, 2, 10, 0, 0, 1 };
    f->length = 0;
    put(f, ethernet + (back ? 6 : 0), 12);
    if (tagged) {
        put16(f, 0x8100);
        put16(f, 5);
    }
    put16(f, 0x0800);
    put(f, ip, sizeof ip);
    f->bytes[f->length - 6] = (uint8_t) (fragment >> 8);
    f->bytes[f->length - 5] = (uint8_t) fragment;
    put(f, addresses + (back ? 4 : 0), 8);
    put16(f, back ? 53 : source);
    put16(f, back ? source : 53);
    put16(f, 16);
    put_random(f, 10);
}

static void
test_connections(void)
{
    bool same = true, together = true;
    unsigned seen[3] = { 0 };
    for (unsigned source = 1024; source < 1324; source++) {
        struct frame there, back, tagged, first, last;
        make_udp(&there, false, false, 0, source);
        make_udp(&back, true, false, 0, source);
        make_udp(&tagged, true, true, 0, source);
        make_udp(&first, false, false, 0x2000, source);
        make_udp(&last, false, false, 185, source + 1);
        same = same && our_hash(&there) == our_hash(&back) && our_hash(&there) == our_hash(&tagged);
        together = together && our_hash(&first) == our_hash(&last);
        seen[our_hash(&there) % 3]++;
    }
    check(same, "both directions of a connection have one number, tagged or not");
    check(together, "all fragments of a datagram have one number, whatever stands where its ports are");
    check(seen[0] > 60 && seen[1] > 60 && seen[2] > 60, "connections between two addresses spread over instances");
}

int
main(void)
{
    flow_limit_vlans(1); /* as a switch does that is told nothing else */
    test_same_as_switch();
    test_connections();
    printf("1..%u\n", number);
    return failures > 0;
}

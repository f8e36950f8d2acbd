/* Rewrite: gives packets other addresses and ports, as a gateway does for its servers, and corrects the checksums that depend on them.
 *
 * Checksums are corrected by what has changed (RFC 1624, equation 3), not computed again: so a packet that came in damaged goes out damaged, a fragment
 * needs nothing of the others, and an UDP datagram over IPv4 that has none keeps none.  Which packets it is about is for a Classifier before it: an IPv4
 * address is put into IPv4 packets, an IPv6 address into IPv6 packets, ports into TCP and UDP; all other packets pass as they are. */
#include "config.h"

#include <flowstream/filter.h>
#include <flowstream/module.h>
#include <flowstream/packet.h>

#include <arpa/inet.h>
#include <inttypes.h>
#include <net/ethernet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ETHERNET = 14 };
enum { SOURCE, DESTINATION };

struct rewrite {
    uint64_t rewritten;
    struct {
        int family; /* 0: leave the address alone */
        uint8_t address[16];
        uint8_t port[2]; /* 0: leave it alone */
        bool has_mac;
        uint8_t mac[6];
    } to[2];
};

/* Where things are in a frame. */
struct frame {
    uint8_t *addresses, *transport, *checksum, *ip_checksum; /* NULL: there is none */
    uint8_t protocol;
    int family; /* 0: neither IPv4 nor IPv6 */
    bool later_destination; /* a routing header has the one that checksums count */
    bool cut;               /* too short for what it should have */
};

static struct frame
find(struct fs_packet *packet)
{
    struct fs_headers h;
    fs_headers_find(packet->data, packet->length, &h);
    struct frame f = { .protocol = h.protocol, .later_destination = h.detour, .family = h.version == 4 ? AF_INET : h.version == 6 ? AF_INET6 : 0 };
    f.cut = h.cut && (h.ethertype == ETHERTYPE_IP || h.ethertype == ETHERTYPE_IPV6);
    f.addresses = h.version ? packet->data + h.addresses : NULL;
    f.ip_checksum = h.version == 4 ? f.addresses - 2 : NULL;
    uint32_t at = h.protocol == IPPROTO_TCP ? 16 : h.protocol == IPPROTO_UDP ? 6 : h.protocol == IPPROTO_ICMPV6 && h.version == 6 ? 2 : 0;
    if (h.transport && at) {
        f.cut = f.cut || packet->length - h.transport < at + 2;
        f.transport = packet->data + h.transport;
        f.checksum = f.transport + at;
    }
    return f;
}

/* Put 'n' bytes 'to' in the place of those at 'p'; what that does to a sum of 16-bit words. */
static uint32_t
replace(uint8_t *p, const uint8_t *to, size_t n)
{
    uint32_t change = 0;
    for (size_t i = 0; i < n; i += 2) {
        change += (uint16_t) ~fs_read16(p + i) + (uint32_t) fs_read16(to + i);
    }
    memcpy(p, to, n);
    return change;
}

static void
correct(uint8_t *checksum, uint32_t change)
{
    uint32_t sum = (uint16_t) ~fs_read16(checksum) + change;
    while (sum >> 16) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    checksum[0] = (uint8_t) (~sum >> 8);
    checksum[1] = (uint8_t) ~sum;
}

static void
correct_transport(const struct frame *f, uint32_t change)
{
    bool udp = f->protocol == IPPROTO_UDP;
    if (udp && f->family == AF_INET && fs_read16(f->checksum) == 0) {
        return; /* it has none */
    }
    correct(f->checksum, change);
    if (udp && fs_read16(f->checksum) == 0) {
        memset(f->checksum, 0xff, 2); /* 0 would say that it has none */
    }
}

/* The new addresses and ports.  True: something was changed. */
static bool
rewrite_headers(const struct rewrite *r, const struct frame *f)
{
    uint32_t ip = 0, transport = 0;
    bool ports = f->transport && (f->protocol == IPPROTO_TCP || f->protocol == IPPROTO_UDP), changed = false;
    for (int i = SOURCE; i <= DESTINATION; i++) {
        size_t length = f->family == AF_INET ? 4 : 16;
        if (f->family && r->to[i].family == f->family) {
            uint32_t change = replace(f->addresses + (size_t) i * length, r->to[i].address, length);
            ip += change;
            transport += i == DESTINATION && f->later_destination ? 0 : change;
            changed = true;
        }
        if (ports && fs_read16(r->to[i].port)) {
            transport += replace(f->transport + i * 2, r->to[i].port, 2);
            changed = true;
        }
    }
    if (changed && f->ip_checksum) {
        correct(f->ip_checksum, ip);
    }
    if (changed && f->checksum) {
        correct_transport(f, transport);
    }
    return changed;
}

static bool
rewrite_macs(const struct rewrite *r, struct fs_packet *packet)
{
    bool changed = false;
    for (int i = SOURCE; i <= DESTINATION && packet->length >= ETHERNET; i++) {
        if (r->to[i].has_mac) {
            memcpy(packet->data + (i == SOURCE ? 6 : 0), r->to[i].mac, 6);
            changed = true;
        }
    }
    return changed;
}

static void
process(void *state, struct fs_packet *packets, size_t n, struct fs_emitter *out)
{
    struct rewrite *r = state;
    for (size_t i = 0; i < n; i++) {
        struct frame f = find(&packets[i]);
        if (f.cut) {
            continue; /* with other addresses and the checksum of the old ones it would be worth nothing */
        }
        bool changed = rewrite_macs(r, &packets[i]);
        changed |= rewrite_headers(r, &f);
        r->rewritten += changed;
        out->emit(out, 0, &packets[i]);
    }
}

/* A sentence that begins with the part that is wrong. */
static int
fail(char **error, const char *what, const char *why)
{
    if (asprintf(error, "\"%s\" %s", what, why) < 0) {
        *error = NULL;
    }
    return -1;
}

static int
read_address(struct rewrite *r, int side, const char *value, char **error)
{
    r->to[side].family = inet_pton(AF_INET, value, r->to[side].address) == 1 ? AF_INET : inet_pton(AF_INET6, value, r->to[side].address) == 1 ? AF_INET6 : 0;
    return r->to[side].family ? 0 : fail(error, value, "is no IPv4 or IPv6 address");
}

static int
read_port(struct rewrite *r, int side, const char *value, char **error)
{
    size_t digits = strspn(value, "0123456789");
    long port = digits > 0 && digits < 6 && !value[digits] ? strtol(value, NULL, 10) : 0;
    if (port < 1 || port > 65535) {
        return fail(error, value, "is no port from 1 to 65535");
    }
    r->to[side].port[0] = (uint8_t) (port >> 8);
    r->to[side].port[1] = (uint8_t) port;
    return 0;
}

static int
read_mac(struct rewrite *r, int side, const char *value, char **error)
{
    uint8_t *m = r->to[side].mac;
    int end = 0;
    r->to[side].has_mac = strspn(value, "0123456789abcdefABCDEF:") == strlen(value) && strlen(value) == 17 &&
                          sscanf(value, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%n", &m[0], &m[1], &m[2], &m[3], &m[4], &m[5], &end) == 6 && end == 17;
    return r->to[side].has_mac ? 0 : fail(error, value, "is no Ethernet address such as 02:00:00:00:00:01");
}

/* One name=value. */
static int
read_piece(struct rewrite *r, const char *piece, unsigned int *given, char **error)
{
    static const struct {
        const char *name;
        int (*read)(struct rewrite *, int side, const char *value, char **error);
        int side;
    } names[] = {
        { "src", read_address, SOURCE },   { "dst", read_address, DESTINATION }, { "src_port", read_port, SOURCE },
        { "dst_port", read_port, DESTINATION }, { "src_mac", read_mac, SOURCE },  { "dst_mac", read_mac, DESTINATION },
    };
    size_t length = strcspn(piece, "=");
    for (unsigned int i = 0; piece[length] && i < sizeof names / sizeof names[0]; i++) {
        if (strlen(names[i].name) == length && !strncmp(names[i].name, piece, length)) {
            if (*given & 1u << i) {
                return fail(error, piece, "is given twice");
            }
            *given |= 1u << i;
            return names[i].read(r, names[i].side, piece + length + 1, error);
        }
    }
    return fail(error, piece, "is none of src=, dst=, src_port=, dst_port=, src_mac=, dst_mac=");
}

static void *
configure(const char *args, uint32_t n_outputs, char **error)
{
    char **pieces;
    size_t n;
    unsigned int given = 0;
    (void) n_outputs;
    if (fs_filter_split(args, &pieces, &n, error)) {
        return NULL;
    }
    struct rewrite *r = n ? calloc(1, sizeof *r) : NULL;
    int wrong = r ? 0 : -1;
    if (n == 0) {
        fail(error, args, "says nothing to change: a Rewrite needs e.g. dst=10.0.0.9, dst_port=8080");
    }
    for (size_t i = 0; !wrong && i < n; i++) {
        wrong = read_piece(r, pieces[i], &given, error);
    }
    free(pieces);
    if (wrong) {
        free(r);
        return NULL;
    }
    return r;
}

static char *
read_value(void *state, const char *name)
{
    const struct rewrite *r = state;
    char *text;
    return !strcmp(name, "rewritten") && asprintf(&text, "%" PRIu64, r->rewritten) >= 0 ? text : NULL;
}

static const struct fs_module_primitive primitives[] = {
    { "read rewritten", "packets in which something was changed" },
    { NULL, NULL },
};

FS_MODULE_ARGUMENTS = {
    { "src", NULL, 0, 0, false },          { "dst", NULL, 0, 0, false },     { "src_port", "", 1, 65535, false }, { "dst_port", "", 1, 65535, false },
    { "src_mac", NULL, 0, 0, false }, { "dst_mac", NULL, 0, 0, false }, { NULL, NULL, 0, 0, false },
};

FS_MODULE_TYPE = {
    .magic = FS_MODULE_MAGIC,
    .abi = FS_MODULE_ABI,
    .name = "Rewrite",
    .description = "Gives packets other addresses and ports, and corrects their checksums.",
    .arguments = "what is to be changed: src=ADDRESS, dst=ADDRESS (IPv4 or IPv6; packets of the other family keep theirs), src_port=N, dst_port=N (TCP and UDP), "
                 "src_mac=MAC, dst_mac=MAC; e.g. \"dst=10.0.0.9, dst_port=8080\"; packets too short for their headers are dropped",
    .min_inputs = 1,
    .max_inputs = 1,
    .min_outputs = 0,
    .max_outputs = 1,
    .primitives = primitives,
    .configure = configure,
    .destroy = free,
    .process = process,
    .read = read_value,
};

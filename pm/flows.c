/* Flows of one module: see flows.h. */
#include "config.h"

#include "pm/flows.h"

#include <flowstream/packet.h>

#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum {
    SETS = 512,
    WAYS = 8,
    LINE_MAX = 256,
    ETHERTYPE_IP = 0x0800,
    ETHERTYPE_IPV6 = 0x86dd,
};

struct key {
    uint8_t source[16], destination[16];
    uint16_t source_port, destination_port, ethertype, vlan; /* vlan: or FS_NO_VLAN */
    uint8_t protocol, zero[7]; /* compared and hashed as bytes */
};

struct flow {
    struct key key;
    uint64_t packets, bytes;
    uint64_t last; /* the number of the packet; 0: an empty place */
};

struct flows {
    struct flow places[SETS][WAYS];
    uint64_t seed, n_packets, other_packets, other_bytes, forgotten;
    int64_t since;
};

struct flows *
flows_create(void)
{
    struct flows *f = calloc(1, sizeof *f);
    if (f) {
        if (getrandom(&f->seed, sizeof f->seed, GRND_NONBLOCK) != sizeof f->seed) {
            f->seed = (uint64_t) pm_now(); /* who sends cannot choose flows of one set but by luck */
        }
        f->since = pm_now();
    }
    return f;
}

void
flows_destroy(struct flows *f)
{
    free(f);
}

static struct key
read_key(const uint8_t *frame, uint32_t length)
{
    struct fs_headers h;
    fs_headers_find(frame, length, &h);
    struct key k = { .vlan = h.vlan, .ethertype = h.ethertype, .protocol = h.protocol };
    if (h.version) {
        size_t size = h.version == 4 ? 4 : 16;
        memcpy(k.source, frame + h.addresses, size);
        memcpy(k.destination, frame + h.addresses + size, size);
    }
    if (h.transport && (h.protocol == IPPROTO_TCP || h.protocol == IPPROTO_UDP || h.protocol == IPPROTO_SCTP) && length - h.transport >= 4) {
        k.source_port = fs_read16(frame + h.transport);
        k.destination_port = fs_read16(frame + h.transport + 2);
    }
    return k;
}

static uint64_t
hash(uint64_t h, const struct key *k)
{
    uint64_t words[sizeof *k / 8];
    memcpy(words, k, sizeof words);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        h = (h ^ words[i]) * UINT64_C(0x9e3779b97f4a7c15);
        h ^= h >> 29;
    }
    return h;
}

_Static_assert(sizeof(struct key) % 8 == 0, "a key is hashed by words of 64 bits");

/* The place of a flow in its set: its own, else an empty one, else that of the flow that was silent longest. */
static struct flow *
place_of(struct flows *f, const struct key *k)
{
    struct flow *set = f->places[hash(f->seed, k) % SETS], *oldest = &set[0];
    for (int i = 0; i < WAYS; i++) {
        if (set[i].last && !memcmp(&set[i].key, k, sizeof *k)) {
            return &set[i];
        }
        oldest = set[i].last < oldest->last ? &set[i] : oldest;
    }
    if (oldest->last) {
        f->other_packets += oldest->packets;
        f->other_bytes += oldest->bytes;
        f->forgotten++;
    }
    *oldest = (struct flow){ .key = *k };
    return oldest;
}

void
flows_count(struct flows *f, const uint8_t *frame, uint32_t length)
{
    struct key k = read_key(frame, length);
    struct flow *flow = place_of(f, &k);
    flow->packets++;
    flow->bytes += length;
    flow->last = ++f->n_packets;
}

static void
print_flow(const struct flow *flow, struct pm_text *t)
{
    char source[INET6_ADDRSTRLEN] = "-", destination[INET6_ADDRSTRLEN] = "-";
    const struct key *k = &flow->key;
    int family = k->ethertype == ETHERTYPE_IP ? AF_INET : k->ethertype == ETHERTYPE_IPV6 ? AF_INET6 : 0;
    if (family) {
        inet_ntop(family, k->source, source, sizeof source);
        inet_ntop(family, k->destination, destination, sizeof destination);
    }
    pm_text_add(t, "%d %u %u %s %u %s %u %" PRIu64 " %" PRIu64 "\n", k->vlan == FS_NO_VLAN ? -1 : k->vlan, k->ethertype, k->protocol, source,
                k->source_port, destination, k->destination_port, flow->packets, flow->bytes);
}

void
flows_print(const struct flows *f, uint32_t position, size_t max, struct pm_text *t)
{
    struct pm_text lines = { 0 };
    uint32_t at = position;
    while (at < SETS * WAYS && lines.length + 2 * LINE_MAX < max) {
        const struct flow *flow = &f->places[at / WAYS][at % WAYS];
        if (flow->last) {
            print_flow(flow, &lines);
        }
        at++;
    }
    char *text = pm_text_take(&lines);
    pm_text_add(t, "%" PRIu32 " %" PRId64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n%s", at < SETS * WAYS ? at : 0, pm_now() - f->since, f->other_packets,
                f->other_bytes, f->forgotten, text ? text : "");
    free(text);
}

/* The parts of pm/ that have no process around them: service headers, rings with a hostile other side, specifications, filters. */
#include "config.h"

#include <flowstream/filter.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pm/bucket.h"
#include "pm/nsh.h"
#include "pm/ring.h"
#include "pm/spec.h"

static unsigned number, failures;

static void
check(bool good, const char *name)
{
    printf("%sok %u - %s\n", good ? "" : "not ", ++number, name);
    failures += !good;
}

static void
test_nsh(void)
{
    uint8_t frame[2000] = { 0 };
    struct pm_nsh found;
    pm_nsh_encode(frame, 0xabcdef);
    check(!pm_nsh_decode(frame, PM_NSH_HEADER + 60, &found) && found.spi == 0xabcdef && found.offset == PM_NSH_HEADER &&
              found.length == 60, "a header that was written can be read");
    static const uint8_t expected[PM_NSH_HEADER] = { 0x02, 0xf5, 0, 0, 0, 1, 0x02, 0xf5, 0, 0, 0, 2, 0x89, 0x4f,
                                                     0x0f, 0xc2, 0x02, 0x03, 0xab, 0xcd, 0xef, 0xff };
    check(!memcmp(frame, expected, sizeof expected), "a header is as RFC 8300 has it, byte for byte");
    bool bounded = true;
    for (size_t n = 0; n < PM_NSH_HEADER + PM_ETHERNET_HEADER; n++) {
        uint8_t *exact = malloc(n ? n : 1); /* so that a sanitizer sees a byte too many */
        memcpy(exact, frame, n);
        bounded &= pm_nsh_decode(exact, n, &found) != NULL;
        free(exact);
    }
    check(bounded, "a frame cut anywhere is refused");
    check(pm_nsh_decode(frame, PM_NSH_HEADER + PM_FRAME_MAX + 1, &found) != NULL, "a frame that is too long is refused");
    frame[16] = 1;
    frame[15] = 0xc6;
    check(!pm_nsh_decode(frame, 200, &found) && found.offset == 14 + 24 && found.length == 200 - 38, "metadata type 1 is skipped");
    frame[16] = 2;
    check(!pm_nsh_decode(frame, 200, &found) && found.offset == 38, "metadata type 2 is skipped");
    frame[16] = 3;
    check(pm_nsh_decode(frame, 200, &found) != NULL, "metadata type 3 is refused");
    pm_nsh_encode(frame, 5);
    frame[21] = 0;
    check(pm_nsh_decode(frame, 200, &found) != NULL, "service index 0 is refused");
    pm_nsh_encode(frame, 5);
    frame[15] = 0xc1;
    check(pm_nsh_decode(frame, 200, &found) != NULL, "a length below the base header is refused");
}

static uint32_t
where_of(const struct pm_consumer *c, uint32_t i)
{
    uint32_t length, where;
    pm_consumer_packet(c, i, &length, &where);
    return where;
}

/* A producer that takes a ring up finds what is under way, and gives no buffer of that away, whatever the descriptors say. */
static void
test_restart(struct pm_area *area)
{
    struct pm_producer p;
    area->tx.head = 110;
    area->tx.tail = 100;
    for (uint32_t i = 100; i < 110; i++) {
        area->tx_descriptors[i].buffer = i & 1 ? 7 : UINT32_MAX;
    }
    pm_producer_init(&p, &area->tx, area->tx_descriptors, area->tx_buffers);
    bool seen[PM_RING_SLOTS] = { false }, twice = false;
    uint32_t n = 0;
    for (; n < p.n_free; n++) {
        twice |= seen[p.free[n]];
        seen[p.free[n]] = true;
    }
    check(n == PM_RING_SLOTS - 10 && !twice && !seen[7] && !seen[PM_RING_SLOTS - 1], "a ring is taken up with what is under way");
    area->tx.tail = 110;
    pm_producer_publish(&p);
    check(p.n_free == PM_RING_SLOTS && !p.fault, "which comes back, and nothing more");
}

/* Tails that cannot be change nothing: neither behind what was given back, nor ahead of what was published. */
static void
test_wild_tail(struct pm_area *area)
{
    struct pm_producer p;
    bool bounded = true;
    unsigned seed = 1;
    area->tx.head = area->tx.tail = 1000;
    pm_producer_init(&p, &area->tx, area->tx_descriptors, area->tx_buffers);
    for (unsigned i = 0; i < 100000; i++) {
        if (pm_producer_buffer(&p)) {
            pm_producer_advance(&p, 60, 0);
        }
        seed = seed * 1103515245u + 12345u;
        area->tx.tail = seed & 0x100 ? p.tail + (seed >> 24) % 4 : seed;
        if (i % 3 == 0) {
            pm_producer_publish(&p);
        }
        bounded &= p.n_free + (p.head - p.tail) == PM_RING_SLOTS;
    }
    check(bounded && p.fault, "a tail written at random never makes more buffers than there are");
}

static void
test_ring(void)
{
    int fd;
    bool fault = false;
    struct pm_producer p;
    struct pm_consumer c;
    check(pm_area_create(&fd) == 0 && ftruncate(fd, 4096) != 0, "an area is made and cannot shrink");
    struct pm_area *area = pm_area_map(fd);
    pm_producer_init(&p, &area->rx, area->rx_descriptors, area->rx_buffers);
    pm_consumer_init(&c, &area->rx, area->rx_descriptors, area->rx_buffers);
    uint32_t n = 0;
    while (pm_producer_buffer(&p)) {
        pm_producer_advance(&p, 60, n++);
    }
    bool taken[PM_RING_SLOTS] = { false }, twice = false;
    for (uint32_t i = 0; i < n; i++) {
        twice |= taken[area->rx_descriptors[i].buffer];
        taken[area->rx_descriptors[i].buffer] = true;
    }
    check(!twice, "no buffer is given twice");
    check(n == PM_RING_SLOTS && pm_consumer_count(&c, &fault) == 0, "a ring takes 512 packets, unseen until they are published");
    check(!pm_producer_publish(&p) && pm_consumer_count(&c, &fault) == n && !fault, "published packets are seen, nobody slept");
    pm_consumer_release(&c, n);
    pm_producer_collect(&p);
    check(pm_consumer_sleep(&c) && pm_producer_buffer(&p) && (pm_producer_advance(&p, 60, 0), pm_producer_publish(&p)),
          "who sleeps is rung for");
    check(!pm_consumer_sleep(&c), "nobody sleeps over a packet");

    area->rx.head = 0x80000000u;
    check(pm_consumer_count(&c, &fault) == 0 && fault && c.tail == 0x80000000u, "a head that cannot be empties the ring");
    area->tx.tail = 12345;
    pm_producer_init(&p, &area->tx, area->tx_descriptors, area->tx_buffers);
    check(p.fault && p.n_free == PM_RING_SLOTS, "a tail that cannot be is a fault when a ring is taken up");
    test_restart(area);
    test_wild_tail(area);
    area->tx.head = area->tx.tail = UINT32_MAX - 5;
    pm_producer_init(&p, &area->tx, area->tx_descriptors, area->tx_buffers);
    pm_consumer_init(&c, &area->tx, area->tx_descriptors, area->tx_buffers);
    for (n = 0; n < 20; n++) {
        pm_producer_buffer(&p);
        pm_producer_advance(&p, 60, n);
    }
    pm_producer_publish(&p);
    fault = false;
    check(pm_consumer_count(&c, &fault) == 20 && !fault && where_of(&c, 19) == 19, "indexes may overflow");
    pm_area_unmap(area);
    close(fd);

    fd = memfd_create("small", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    check(!pm_area_map(fd), "memory without seals is refused");
    close(fd);
    fd = open("/dev/zero", O_RDWR | O_CLOEXEC);
    check(!pm_area_map(fd), "a descriptor that is no memory file is refused");
    close(fd);
}

/* Two threads, one ring, doorbell a flag: no packet is lost, none twice. */
enum { STREAM = 300000 };
struct stream {
    struct pm_area *area;
    _Atomic unsigned bells;
};

static void *
produce(void *arg)
{
    struct stream *s = arg;
    struct pm_producer p;
    pm_producer_init(&p, &s->area->rx, s->area->rx_descriptors, s->area->rx_buffers);
    for (uint32_t i = 0; i < STREAM;) {
        while (i < STREAM && pm_producer_buffer(&p)) {
            pm_producer_advance(&p, 60, i++);
        }
        if (pm_producer_publish(&p)) {
            s->bells++;
        }
    }
    return NULL;
}

static void
test_stream(void)
{
    int fd;
    pthread_t thread;
    struct stream s = { .bells = 0 };
    struct pm_consumer c;
    bool fault = false, order = true;
    uint32_t next = 0;
    pm_area_create(&fd);
    s.area = pm_area_map(fd);
    pm_consumer_init(&c, &s.area->rx, s.area->rx_descriptors, s.area->rx_buffers);
    pthread_create(&thread, NULL, produce, &s);
    while (next < STREAM) {
        uint32_t n = pm_consumer_count(&c, &fault);
        for (uint32_t i = 0; i < n; i++) {
            order &= where_of(&c, i) == next++;
        }
        pm_consumer_release(&c, n);
        if (n == 0 && pm_consumer_sleep(&c)) {
            while (s.bells == 0) {
                sched_yield();
            }
            s.bells = 0;
        }
    }
    pthread_join(thread, NULL);
    check(order && !fault, "300000 packets cross in order between two threads, with sleeps");
    pm_area_unmap(s.area);
    close(fd);
}

static void
test_spec(void)
{
    struct fs_port_spi in[] = { { 0, 17, 0 }, { 0, 18, 5000000000 }, { 1, 19, 0 } }, out[] = { { 1, 21, 0 }, { 0, FS_SPI_MAX, 1 } };
    struct fs_module_spec s = { .name = "fw-1", .type = "Firewall", .args = "allow all,\ndeny \"x\"\n", .owner = UINT64_MAX,
                                .cpu = 0.25, .mem = 64, .inputs = in, .n_inputs = 3, .outputs = out, .n_outputs = 2 };
    struct fs_module_spec *back = NULL;
    char *why = NULL, *text = pm_spec_print(&s, true);
    check(pm_spec_parse(text, &back, &why) == 0 && !strcmp(back->args, s.args) && back->owner == s.owner && back->cpu > 0.249 &&
              back->cpu < 0.251 && back->n_inputs == 3 && back->inputs[2].spi == 19 && back->inputs[1].rate == 5000000000 && back->inputs[2].rate == 0 && back->n_outputs == 2 &&
              back->outputs[1].spi == FS_SPI_MAX, "a specification survives being written and read");
    pm_spec_free(back);
    free(text);
    out[1].port = 1;
    check(pm_spec_check(&s, &why) == EINVAL && strstr(why, "output port 0 has no service path"), "an output port without a path is refused");
    free(why);
    out[0].port = 0;
    check(pm_spec_check(&s, &why) == 0 && pm_spec_output_ports(&s) == 2, "several outputs");
    out[1].port = 0;
    check(pm_spec_check(&s, &why) == 0 && pm_spec_output_ports(&s) == 1, "one output port may have several paths");
    out[1].spi = 21;
    check(pm_spec_check(&s, &why) == EINVAL && strstr(why, "path 21 leads from it twice"), "a path that leads out twice is refused");
    free(why);
    out[1].spi = FS_SPI_MAX;
    in[1].spi = 17;
    check(pm_spec_check(&s, &why) == EINVAL && strstr(why, "17"), "a path that leads in twice is refused");
    free(why);
    s.name = "../x";
    check(pm_spec_check(&s, &why) == EINVAL, "a name that is a path is refused");
    free(why);
    why = NULL;
    check(pm_spec_parse("name a\ninput 1\nargs\n", &back, &why) == EINVAL && strstr(why, "line 2"), "a bad line is named");
    free(why);
}

static void
test_process_spec(void)
{
    struct fs_port_spi in = { 0, 17, 0 }, out = { 0, 18, 0 };
    struct fs_module_spec a = { .name = "a7.x", .type = "Counter", .args = "module 3\nabc", .owner = 7, .cpu = 0.5, .mem = 32, .inputs = &in,
                                .n_inputs = 1, .outputs = &out, .n_outputs = 1 };
    struct fs_module_spec b = { .name = "a7.y", .type = "Counter", .args = "", .owner = 7, .cpu = 1, .mem = 16, .inputs = &out, .n_inputs = 1 };
    const struct fs_module_spec *both[] = { &a, &b };
    struct fs_process_spec p = { .name = "a7.@1", .modules = both, .n_modules = 2 }, *back = NULL;
    char *why = NULL, *text = pm_process_print(&p, true);
    check(pm_process_parse(text, &back, &why) == 0 && back->n_modules == 2 && !strcmp(back->name, "a7.@1") &&
              !strcmp(back->modules[0]->args, a.args) && !strcmp(back->modules[1]->name, "a7.y"), "so does a process of two modules");
    check(pm_process_cpu(back) > 1.49 && pm_process_cpu(back) < 1.51 && pm_process_mem(back) == 48, "its limits are the sum");
    pm_process_free(back);
    bool refused = true;
    for (size_t n = strlen(text); n-- > 0;) {
        text[n] = '\0';
        int err = pm_process_parse(text, &back, &why);
        refused &= err != 0 || back->n_modules == 1; /* whole modules may be missing */
        pm_process_free(back);
        free(why);
        why = NULL;
    }
    free(text);
    check(refused, "a text cut anywhere is refused");
    b.owner = 8;
    check(pm_process_check(&p, &why) == EINVAL && strstr(why, "different allocations"), "modules of two allocations never share a process");
    free(why);
    b.owner = 7;
    b.mem = 0;
    check(pm_process_mem(&p) == 0, "no limit of one is no limit");
    b.inputs = &in;
    check(pm_process_check(&p, &why) == EINVAL && strstr(why, "17"), "nor does a path lead to two of them");
    free(why);
}

static void
test_bucket(void)
{
    struct pm_bucket b = { .rate = 8000000 };
    uint64_t now = 5000000000u, passed = 0, burst = 0;
    while (pm_bucket_pass(&b, 1000, now)) {
        burst += 1000;
    }
    for (unsigned i = 0; i < 100000; i++) { /* a frame of 1,000 bytes every 100 us is ten times the rate, for ten seconds */
        now += 100000;
        passed += pm_bucket_pass(&b, 1000, now) ? 1000 : 0;
    }
    check(burst >= 10000 && burst <= 25600 && passed > 9990000 && passed < 10010000, "a token bucket passes its rate, and once a burst");
    b = (struct pm_bucket){ .rate = 1000 };
    pm_bucket_pass(&b, 1600, now);
    for (passed = 0, burst = now; now < burst + 100000000000u; now += 999983) { /* less than a bit from one packet to the next */
        passed += pm_bucket_pass(&b, 100, now) ? 800 : 0;
    }
    check(passed > 285000 && passed < 300000, "a slow one loses nothing between packets");
}

static void
test_filter(void)
{
    char **pieces, *why = NULL;
    size_t n;
    check(!fs_filter_split(" a , (b,c), ether[6,2] ", &pieces, &n, &why) && n == 3 && !strcmp(pieces[0], "a") &&
              !strcmp(pieces[1], "(b,c)") && !strcmp(pieces[2], "ether[6,2]"), "commas in parentheses do not split");
    free(pieces);
    check(!fs_filter_split("  ", &pieces, &n, &why) && n == 0, "blanks are no piece");
    free(pieces);
    check(fs_filter_split("a,,b", &pieces, &n, &why) == EINVAL, "an empty piece is refused");
    free(why);
    check(fs_filter_split("a)", &pieces, &n, &why) == EINVAL, "unbalanced parentheses are refused");
    free(why);
    why = NULL;
    check(!fs_filter_compile("tcp prt 80", &why) && strstr(why, "tcp prt 80"), "a bad filter is quoted");
    free(why);
    static const char *const good[] = { "host 10.0.0.1 or fe80::1", "ether src aa:bb:cc:dd:ee:ff", "portrange 1000-2000", "net 10.0.0.0/8",
        "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0", "ether[6:2] = 0x0a0b", "ip6[40] == 128", "net 2001:db8::/32", "vlan 7 && len>=60",
        "(udp or tcp) and not port 0x35", "icmp[icmptype] = icmp-echo", "icmp6[icmp6type]=icmp6-echo", "host ::1", "!ip" };
    static const char *const named[] = { "host example.com", "port http", "host fe", "ip proto \\tcp", "host fe:fe", "host 1and1.com",
        "net loopback", "host 1.2.3.4.5", "ether host foo", "portrange ftp-http", "src foo", "host aa:bb:cc:dd:ee:fg", "gateway x" };
    bool all_good = true, all_refused = true;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct fs_filter *g = fs_filter_compile(good[i], &why);
        if (!g) {
            printf("# %s\n", why);
            free(why);
            all_good = false;
        }
        fs_filter_free(g);
    }
    for (size_t i = 0; i < sizeof named / sizeof named[0]; i++) {
        struct fs_filter *g = fs_filter_compile(named[i], &why);
        if (g || !strstr(why, "not looked up")) {
            printf("# %s: %s\n", named[i], g ? "accepted" : why);
            all_refused = false;
        }
        if (!g) {
            free(why);
        }
        fs_filter_free(g);
    }
    char *longest = malloc(5000);
    memset(longest, '(', 4999);
    longest[4999] = '\0';
    check(!fs_filter_compile(longest, &why) && strstr(why, "longer than 4096"), "an endless filter is refused");
    free(longest);
    free(why);
    why = NULL;
    check(all_good, "addresses, numbers and words are taken");
    check(all_refused, "names are refused before anyone is asked");
    uint8_t frame[60] = { [12] = 0x86, [13] = 0xdd, [14] = 0x60, [20] = 58 };
    struct fs_filter *f = fs_filter_compile("icmp6", NULL), *all = fs_filter_compile("all", NULL);
    check(fs_filter_matches(f, frame, 60) && fs_filter_matches(all, frame, 14), "IPv6 matches, and all is everything");
    frame[20] = 6;
    check(!fs_filter_matches(f, frame, 60) && !fs_filter_matches(f, frame, 16), "another protocol and a cut frame do not match");
    fs_filter_free(f);
    fs_filter_free(all);
}

int
main(void)
{
    test_nsh();
    test_ring();
    test_stream();
    test_spec();
    test_process_spec();
    test_bucket();
    test_filter();
    printf("1..%u\n", number);
    return failures ? 1 : 0;
}

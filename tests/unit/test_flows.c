/* Flows of a module: what is read of a header, frames that are cut or random, and sums that stay exact when there is no place any more. */
#include "config.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pm/flows.h"

static unsigned number, failures;

static void
check(bool good, const char *name)
{
    printf("%sok %u - %s\n", good ? "" : "not ", ++number, name);
    failures += !good;
}

/* All pages as one text; the sums of what is listed and of the others. */
static char *
print_all(const struct flows *f, size_t max, uint64_t *packets, uint64_t *bytes, uint64_t *listed)
{
    struct pm_text all = { 0 };
    uint32_t position = 0;
    *packets = *bytes = *listed = 0;
    do {
        struct pm_text page = { 0 };
        flows_print(f, position, max, &page);
        char *text = pm_text_take(&page), *rest = NULL, *line = strtok_r(text, "\n", &rest);
        uint64_t other_packets = 0, other_bytes = 0;
        if (!line || sscanf(line, "%" SCNu32 " %*d %" SCNu64 " %" SCNu64, &position, &other_packets, &other_bytes) != 3) {
            position = 0;
        }
        while ((line = strtok_r(NULL, "\n", &rest)) != NULL) {
            uint64_t p, b;
            if (sscanf(line, "%*d %*u %*u %*s %*u %*s %*u %" SCNu64 " %" SCNu64, &p, &b) == 2) {
                *packets += p;
                *bytes += b;
                ++*listed;
            }
            pm_text_add(&all, "%s\n", line);
        }
        if (!position) {
            *packets += other_packets;
            *bytes += other_bytes;
        }
        free(text);
    } while (position);
    return pm_text_take(&all);
}

/* One frame alone, in memory of just its size, so that a sanitizer sees a byte too many. */
static bool
reads_as(const uint8_t *frame, uint32_t length, const char *wanted)
{
    struct flows *f = flows_create();
    uint64_t packets, bytes, listed;
    uint8_t *exact = malloc(length);
    memcpy(exact, frame, length);
    flows_count(f, exact, length);
    char *text = print_all(f, 65536, &packets, &bytes, &listed);
    bool good = !strcmp(text, wanted) && packets == 1 && bytes == length;
    if (!good) {
        printf("# got %s# wanted %s", text, wanted);
    }
    free(text);
    free(exact);
    flows_destroy(f);
    return good;
}

static void
test_headers(void)
{
    uint8_t v4[64] = { [12] = 8, [14] = 0x45, [23] = 17, [26] = 10, [29] = 1, [30] = 10, [33] = 2, [34] = 0x9c, 0x40, 0, 53 };
    check(reads_as(v4, sizeof v4, "-1 2048 17 10.0.0.1 40000 10.0.0.2 53 1 64\n"), "UDP over IPv4");
    check(reads_as(v4, 36, "-1 2048 17 10.0.0.1 0 10.0.0.2 0 1 36\n"), "cut in the ports: addresses only");
    check(reads_as(v4, 30, "-1 2048 0 0.0.0.0 0 0.0.0.0 0 1 30\n"), "cut in the addresses: nothing of them");
    v4[20] = 0;
    v4[21] = 5;
    check(reads_as(v4, sizeof v4, "-1 2048 17 10.0.0.1 0 10.0.0.2 0 1 64\n"), "a later fragment has no ports");
    v4[21] = 0;
    v4[14] = 0x46;
    memmove(v4 + 38, v4 + 34, 4);
    check(reads_as(v4, sizeof v4, "-1 2048 17 10.0.0.1 40000 10.0.0.2 53 1 64\n"), "options are skipped");
    uint8_t v6[90] = { [12] = 0x86, 0xdd, 0x60, [20] = 0, [22] = 0xfd, 9, [37] = 1, [38] = 0xfd, 9, [53] = 2, [54] = 6, 0, [62] = 0x9c, 0x40, 0, 80 };
    check(reads_as(v6, sizeof v6, "-1 34525 6 fd09::1 40000 fd09::2 80 1 90\n"), "TCP over IPv6 behind hop-by-hop options");
    uint8_t tagged[64] = { [12] = 0x88, 0xa8, 0, 7, 0x81, 0, 0, 9, 8, 6 };
    check(reads_as(tagged, sizeof tagged, "7 2054 0 - 0 - 0 1 64\n"), "ARP in two tags: the outer one counts");
    check(reads_as(tagged, 14, "-1 34984 0 - 0 - 0 1 14\n"), "nothing but a header");
}

static void
test_random(void)
{
    struct flows *f = flows_create();
    uint64_t sum = 0, packets, bytes, listed, n = 200000;
    srandom(7);
    for (uint64_t i = 0; i < n; i++) {
        uint32_t length = 14 + (uint32_t) random() % 90;
        uint8_t *frame = malloc(length);
        for (uint32_t k = 0; k < length; k++) {
            frame[k] = (uint8_t) random();
        }
        if (random() % 4) { /* get beyond the first header */
            bool six = random() % 2;
            frame[12] = six ? 0x86 : 8;
            frame[13] = six ? 0xdd : 0;
            if (length > 20) {
                static const uint8_t extensions[] = { 0, 43, 44, 60 };
                frame[six ? 20 : 14] = (uint8_t) (six ? extensions[random() % 4] : 0x40 | random() % 16);
            }
        }
        flows_count(f, frame, length);
        sum += length;
        free(frame);
    }
    free(print_all(f, 65536, &packets, &bytes, &listed));
    check(packets == n && bytes == sum, "of random frames none is lost from the sum");
    check(listed == 4096, "and the table is full");
    free(print_all(f, 1024, &packets, &bytes, &listed));
    check(packets == n && bytes == sum && listed == 4096, "small pages say the same");
    flows_destroy(f);
}

int
main(void)
{
    test_headers();
    test_random();
    printf("1..%u\n", number);
    return failures ? 1 : 0;
}

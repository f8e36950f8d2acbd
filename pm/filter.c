/* Filters over libpcap, for the types Firewall and Classifier and for whatever type comes next.  The library's compiler keeps state while it
 * works in some versions: one compilation at a time.  Matching runs the compiled program and shares nothing.
 *
 * Names of hosts, networks, services and protocols are refused: the library would ask the name service for them, which blocks a daemon for
 * as long as a tenant's name server likes, and which a module behind its walls cannot do at all.  Only the words of the language
 * itself, numbers and addresses pass. */
#include "config.h"

#include <flowstream/filter.h>

#include <arpa/inet.h>
#include <errno.h>
#include <pcap/pcap.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pm/private.h"

/* The compiler's time grows with the square of the length: 4 KiB take a quarter of a second, 16 KiB nine. */
enum { SNAPLEN = 65535, EXPRESSION_MAX = 4096 };

struct fs_filter {
    bool all;
    struct bpf_program program;
};

/* The words of pcap-filter(7) that mean something on Ethernet, in the order of strcmp(). */
static const char *const words[] = {
    "aarp", "ah", "and", "arp", "atalk", "broadcast", "byte", "carp", "clnp", "csnp", "decnet", "dst", "es-is", "esis", "esp", "ether",
    "geneve", "greater", "host", "icmp", "icmp-echo", "icmp-echoreply", "icmp-ireq", "icmp-ireqreply", "icmp-maskreply",
    "icmp-maskreq", "icmp-paramprob", "icmp-redirect", "icmp-routeradvert", "icmp-routersolicit", "icmp-sourcequench",
    "icmp-timxceed", "icmp-tstamp", "icmp-tstampreply", "icmp-unreach", "icmp6", "icmp6-destinationunreach", "icmp6-echo",
    "icmp6-echoreply", "icmp6-multicastlistenerdone", "icmp6-multicastlistenerquery", "icmp6-multicastlistenerreportv1",
    "icmp6-neighboradvert", "icmp6-neighborsolicit", "icmp6-packettoobig", "icmp6-parameterproblem", "icmp6-redirect",
    "icmp6-routeradvert", "icmp6-routersolicit", "icmp6-timeexceeded", "icmp6code", "icmp6type", "icmpcode", "icmptype", "igmp", "igrp",
    "iih", "ip", "ip6", "ipx", "is-is", "isis", "iso", "l1", "l2", "lat", "len", "length", "less", "link", "llc", "lsp", "mask", "mopdl",
    "moprc", "mpls", "multicast", "net", "netbeui", "not", "or", "pim", "port", "portrange", "pppoed", "pppoes", "proto",
    "protochain", "psnp", "rarp", "sca", "sctp", "snp", "src", "stp", "tcp", "tcp-ack", "tcp-cwr", "tcp-ece", "tcp-fin", "tcp-push",
    "tcp-rst", "tcp-syn", "tcp-urg", "tcpflags", "udp", "vlan", "vrrp",
};

static pthread_mutex_t compiler = PTHREAD_MUTEX_INITIALIZER;

static int
compare_words(const void *key, const void *row)
{
    return strcmp(key, *(const char *const *) row);
}

/* A decimal or hexadecimal number of 'n' characters. */
static bool
is_number(const char *s, size_t n)
{
    bool hex = n > 2 && s[0] == '0' && (s[1] == 'x' || s[1] == 'X');
    size_t digits = hex ? 2 + strspn(s + 2, "0123456789abcdefABCDEF") : strspn(s, "0123456789");
    return n > 0 && digits >= n;
}

/* A number, a range "1000-2000", or one to four numbers with dots between. */
static bool
is_numeric(const char *s)
{
    const char *dash = strchr(s, '-');
    if (dash) {
        return is_number(s, (size_t) (dash - s)) && is_number(dash + 1, strlen(dash + 1));
    }
    for (int parts = 1;; parts++) {
        size_t n = strcspn(s, ".");
        if (!is_number(s, n) || parts > 4) {
            return false;
        }
        if (!s[n]) {
            return true;
        }
        s += n + 1;
    }
}

/* An IPv6 or Ethernet address. */
static bool
is_address(const char *s)
{
    struct in6_addr ip;
    unsigned byte;
    int used = 0, end = (int) strlen(s);
    if (inet_pton(AF_INET6, s, &ip) == 1) {
        return true;
    }
    return sscanf(s, "%2x:%2x:%2x:%2x:%2x:%2x%n", &byte, &byte, &byte, &byte, &byte, &byte, &used) == 6 && used == end;
}

/* Refuse every word that the library would look up. */
static int
check_words(const char *expression, char **error)
{
    static const char inside[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-\\";
    if (strlen(expression) > EXPRESSION_MAX) {
        return pm_fail(error, EINVAL, "filter \"%.60s...\" is longer than %d bytes: use several rules", expression, EXPRESSION_MAX);
    }
    for (const char *p = expression; *p;) {
        size_t n = strspn(p, inside);
        /* A colon belongs to an address outside brackets, to "ether[6:2]" inside. */
        if (n == 0) {
            p += *p == '[' ? strcspn(p, "]") : 1;
            continue;
        }
        n = strspn(p, "0123456789abcdefABCDEF:.") > n ? strspn(p, "0123456789abcdefABCDEF:.") : n;
        char word[64];
        bool fits = n < sizeof word;
        snprintf(word, sizeof word, "%.*s", (int) (fits ? n : sizeof word - 1), p);
        if (!fits || !(is_numeric(word) || is_address(word) ||
                       bsearch(word, words, sizeof words / sizeof words[0], sizeof words[0], compare_words))) {
            return pm_fail(error, EINVAL, "filter \"%s\": \"%s\" is no word of pcap-filter(7), number or address (names are not looked up)",
                           expression, word);
        }
        p += n;
    }
    return 0;
}

static int
compile(const char *expression, struct bpf_program *program, char **error)
{
    int err = 0;
    pthread_mutex_lock(&compiler);
    pcap_t *p = pcap_open_dead(DLT_EN10MB, SNAPLEN);
    if (!p) {
        err = pm_fail(error, ENOMEM, "out of memory");
    } else if (pcap_compile(p, program, expression, 1, PCAP_NETMASK_UNKNOWN)) {
        err = pm_fail(error, EINVAL, "filter \"%s\": %s", expression, pcap_geterr(p));
    }
    if (p) {
        pcap_close(p);
    }
    pthread_mutex_unlock(&compiler);
    return err;
}

struct fs_filter *
fs_filter_compile(const char *expression, char **error)
{
    struct fs_filter *f = calloc(1, sizeof *f);
    if (!f) {
        pm_fail(error, ENOMEM, "out of memory");
        return NULL;
    }
    f->all = !strcmp(expression, "all");
    /* libpcap takes an empty expression for everything; here it is a rule that someone forgot to write. */
    if (!f->all && !expression[strspn(expression, " \t\r\n")]) {
        pm_fail(error, EINVAL, "the filter is empty: write \"all\" for everything");
        free(f);
        return NULL;
    }
    if (!f->all && (check_words(expression, error) || compile(expression, &f->program, error))) {
        free(f);
        return NULL;
    }
    return f;
}

void
fs_filter_free(struct fs_filter *f)
{
    if (f) {
        if (!f->all) {
            pcap_freecode(&f->program);
        }
        free(f);
    }
}

bool
fs_filter_matches(const struct fs_filter *f, const uint8_t *frame, uint32_t length)
{
    return f->all || bpf_filter(f->program.bf_insns, frame, length, length) != 0;
}

/* One piece: blanks at both ends cut off. */
static char *
trim(char *begin, char *end)
{
    begin += strspn(begin, " \t\r\n");
    while (end > begin && strchr(" \t\r\n", end[-1])) {
        end--;
    }
    *end = '\0';
    return begin;
}

/* The next comma outside parentheses, or the end of the text; NULL: unbalanced. */
static char *
piece_end(char *p)
{
    int depth = 0;
    for (; *p && (*p != ',' || depth); p++) {
        depth += *p == '(' || *p == '[';
        depth -= *p == ')' || *p == ']';
        if (depth < 0) {
            return NULL;
        }
    }
    return depth ? NULL : p;
}

int
fs_filter_split(const char *text, char ***pieces, size_t *n, char **error)
{
    size_t length = strlen(text), max = 2;
    *pieces = NULL;
    *n = 0;
    for (const char *p = text; *p; p++) {
        max += *p == ',';
    }
    char **list = malloc(max * sizeof *list + length + 1);
    if (!list) {
        return pm_fail(error, ENOMEM, "out of memory");
    }
    char *p = memcpy(list + max, text, length + 1);
    bool more = p[strspn(p, " \t\r\n")] != '\0';
    while (more) {
        char *end = piece_end(p);
        if (!end) {
            free(list);
            return pm_fail(error, EINVAL, "unbalanced parentheses in \"%s\"", text);
        }
        more = *end == ',';
        list[*n] = trim(p, end);
        if (!*list[*n]) {
            free(list);
            return pm_fail(error, EINVAL, "between two commas, or after the last, there is nothing: \"%s\"", text);
        }
        (*n)++;
        p = end + 1;
    }
    list[*n] = NULL;
    *pieces = list;
    return 0;
}

/* Matches as text: are they good, which port do they name, can two of them take the same packet.
 *
 * Open vSwitch's parser is the judge.  It knows whole rules only, so a match is given to it with "actions=drop" behind; and
 * it must know the ports, so in_port=NAME is taken out before and looked at here.  No state is kept: any thread may call. */

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openvswitch/dynamic-string.h>
#include <openvswitch/match.h>
#include <openvswitch/ofp-errors.h>
#include <openvswitch/ofp-flow.h>
#include <openvswitch/ofp-msgs.h>
#include <openvswitch/ofpbuf.h>
#include <packets.h>
#include <util.h>

#include <flowstream/openflow.h>

#include "openflow/failure.h"
#include "openflow/match.h"

#define MAX_MATCH 4096
#define MAX_PORT_NAME 15
#define DELIMITERS ", \t\r\n"

/* One word of a match, "key", "key=value", "key:value" or "key(value)". */
struct word {
    const char *start;
    size_t length, key_length;
};

static char *check_words(const char *match, size_t *offset);
static char *check_port(const struct word *);
static void locate_error(const char *match, char **error, size_t *offset);
static char *parse(const char *match, const struct word *last, const struct word *without, struct match *);
static char *check_addresses(const char *match, size_t *offset);
static char *check_ranges(const char *match, size_t *offset);
static char *check_contradictions(const char *match, const struct match *parsed, size_t *offset);
static char *check_lost(const char *match, const struct match *parsed, size_t *offset);
static bool flows_differ(const struct match *, const struct match *);
static bool next_word(const char **cursor, struct word *);
static bool key_is(const struct word *, const char *key);
static bool find_key(const char *match, const char *key, struct word *);
static char *value_of(const struct word *);

char *
fs_match_check(const char *match, size_t *offset)
{
    struct match parsed;

    *offset = 0;
    if (strlen(match) > MAX_MATCH) {
        return xasprintf("a match has at most %d characters", MAX_MATCH);
    }
    char *error = check_words(match, offset);
    if (!error) {
        error = parse(match, NULL, NULL, &parsed);
        if (error) {
            locate_error(match, &error, offset);
        } else {
            error = check_addresses(match, offset);
            error = error ? error : check_ranges(match, offset);
            error = error ? error : check_contradictions(match, &parsed, offset);
            error = error ? error : check_lost(match, &parsed, offset);
        }
    }
    return error;
}

/* The word that is wrong is the first with which the match becomes wrong. */
static void
locate_error(const char *match, char **error, size_t *offset)
{
    const char *cursor = match;
    struct word word;
    struct match parsed;

    while (next_word(&cursor, &word)) {
        char *early = parse(match, &word, NULL, &parsed);
        if (early) {
            free(*error);
            *error = early;
            *offset = (size_t) (word.start - match);
            return;
        }
    }
}

/* What Open vSwitch would let pass: words of a rule that are not of its match, and doubled ones. */
static char *
check_words(const char *match, size_t *offset)
{
    static const char *const strangers[] = {
        "action", "actions", "allow_hidden_fields", "check_overlap", "cookie", "duration", "hard_age", "hard_timeout",
        "idle_age", "idle_timeout", "importance", "n_bytes", "n_packets", "no_byte_counts", "no_packet_counts",
        "no_readonly_table", "out_group", "out_port", "priority", "reset_counts", "send_flow_rem", "table",
    };
    const char *cursor = match;
    struct word word, other;

    while (next_word(&cursor, &word)) {
        *offset = (size_t) (word.start - match);
        for (size_t i = 0; i < ARRAY_SIZE(strangers); i++) {
            if (key_is(&word, strangers[i])) {
                return xasprintf("%s is not part of a match", strangers[i]);
            }
        }
        char *key = xmemdup0(word.start, word.key_length);
        bool doubled = find_key(match, key, &other) && other.start < word.start;
        char *error = doubled ? xasprintf("%s is given twice", key) : NULL;
        free(key);
        if (!error && key_is(&word, "in_port")) {
            error = check_port(&word);
        }
        if (error) {
            return error;
        }
    }
    *offset = 0;
    return NULL;
}

/* A port is a number of OpenFlow or a name that a network interface may have.  Open vSwitch looks for "action" in the whole
 * text of a rule to find its end, so that no port may have that in its name. */
static char *
check_port(const struct word *word)
{
    char *name = value_of(word);
    size_t length = strlen(name);
    char *error = NULL;

    if (!length) {
        error = xstrdup("in_port needs the name or number of a port");
    } else if (length > MAX_PORT_NAME) {
        error = xasprintf("in_port: a port's name has at most %d characters", MAX_PORT_NAME);
    } else if (strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") != length) {
        error = xasprintf("in_port: '%s' cannot be the name of a port", name);
    } else if (strstr(name, "action")) {
        error = xasprintf("in_port: '%s' has 'action' in it, which Open vSwitch cannot read", name);
    }
    free(name);
    return error;
}

/* Open vSwitch reads 300.0.0.1 as 44.0.0.1. */
static char *
check_addresses(const char *match, size_t *offset)
{
    static const char *const keys[] = { "nw_src", "nw_dst", "ip_src", "ip_dst", "arp_spa", "arp_tpa", "tun_src", "tun_dst",
                                        "ct_nw_src", "ct_nw_dst" };
    struct word word;

    for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
        if (!find_key(match, keys[i], &word)) {
            continue;
        }
        char *value = value_of(&word);
        char *mask = strchr(value, '/');
        struct in_addr a;
        if (mask) {
            *mask++ = '\0';
        }
        bool good = inet_pton(AF_INET, value, &a) == 1 && (!mask || !strchr(mask, '.') || inet_pton(AF_INET, mask, &a) == 1);
        free(value);
        if (!good) {
            *offset = (size_t) (word.start - match);
            return xasprintf("%s: not an IPv4 address", keys[i]);
        }
    }
    return NULL;
}

/* Open vSwitch cuts the bits off that a field does not have: dl_vlan=4096 would match VLAN 0. */
static char *
check_ranges(const char *match, size_t *offset)
{
    static const struct {
        const char *key;
        unsigned long most, other; /* 'other' has a meaning of its own; 0: there is none */
        unsigned long step;
    } fields[] = {
        { "dl_vlan", 4095, 0xffff, 1 }, { "vlan_vid", 0x1fff, 0, 1 }, { "dl_vlan_pcp", 7, 0, 1 }, { "vlan_pcp", 7, 0, 1 },
        { "nw_tos", 252, 0, 4 },        { "ip_dscp", 63, 0, 1 },      { "nw_ecn", 3, 0, 1 },      { "ip_ecn", 3, 0, 1 },
        { "mpls_label", 0xfffff, 0, 1 }, { "mpls_tc", 7, 0, 1 },      { "mpls_bos", 1, 0, 1 },    { "ipv6_label", 0xfffff, 0, 1 },
    };
    struct word word;

    for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
        if (!find_key(match, fields[i].key, &word)) {
            continue;
        }
        char *value = value_of(&word);
        unsigned long number = strtoul(value, NULL, 0);
        free(value);
        if ((number > fields[i].most && number != fields[i].other) || number % fields[i].step) {
            *offset = (size_t) (word.start - match);
            return fields[i].step > 1 ? xasprintf("%s is a multiple of %lu up to %lu, not %lu", fields[i].key, fields[i].step, fields[i].most, number)
                                      : xasprintf("%s is a number from 0 to %lu, not %lu", fields[i].key, fields[i].most, number);
        }
    }
    return NULL;
}

/* Of words that exclude each other (tcp and udp) Open vSwitch takes the last.  What a word says alone must hold in the whole. */
static char *
check_contradictions(const char *match, const struct match *parsed, size_t *offset)
{
    const char *cursor = match;
    struct word word;

    while (next_word(&cursor, &word)) {
        char *text = xmemdup0(word.start, word.length);
        struct match alone;
        char *error = parse(text, NULL, NULL, &alone);
        bool holds = error || !flows_differ(parsed, &alone);
        free(error);
        free(text);
        if (!holds) {
            *offset = (size_t) (word.start - match);
            return xasprintf("%.*s contradicts another word of the match", (int) word.length, word.start);
        }
    }
    return NULL;
}

/* Whether two matches exclude each other: where both look at a bit and want it different. */
static bool
flows_differ(const struct match *a, const struct match *b)
{
    const uint64_t *values[2] = { (const uint64_t *) &a->flow, (const uint64_t *) &b->flow };
    const uint64_t *masks[2] = { (const uint64_t *) &a->wc.masks, (const uint64_t *) &b->wc.masks };

    for (size_t i = 0; i < FLOW_U64S; i++) {
        if ((values[0][i] ^ values[1][i]) & masks[0][i] & masks[1][i]) {
            return true;
        }
    }
    return false;
}

/* Open vSwitch drops a field whose protocol is not given, and so makes the match wider.  Such a word changes what is parsed
 * but not what is sent. */
static char *
check_lost(const char *match, const struct match *parsed, size_t *offset)
{
    const char *cursor = match;
    struct match sent, other, other_sent;
    struct word word;

    if (match_as_sent(parsed, &sent)) {
        return NULL;
    }
    *offset = 0;
    while (next_word(&cursor, &word)) {
        char *error = parse(match, NULL, &word, &other);
        if (!error && !match_equal(&other, parsed)) {
            match_as_sent(&other, &other_sent);
            if (match_equal(&other_sent, &sent)) {
                *offset = (size_t) (word.start - match);
                return xasprintf("%.*s needs its protocol beside it, such as tcp or arp", (int) word.length, word.start);
            }
        }
        free(error);
    }
    return xstrdup("Open vSwitch would ignore a part of this match");
}

/* Packs a match for the switch and unpacks it again, as the switch will. */
bool
match_as_sent(const struct match *match, struct match *sent)
{
    enum ofputil_protocol protocol = OFPUTIL_P_OF15_OXM;
    struct ofputil_flow_mod fm = { .command = OFPFC_ADD, .buffer_id = UINT32_MAX, .out_port = OFPP_ANY, .out_group = OFPG_ANY };
    struct ofpbuf actions;

    minimatch_init(&fm.match, match);
    struct ofpbuf *message = ofputil_encode_flow_mod(&fm, protocol);
    minimatch_destroy(&fm.match);
    ofpmsg_update_length(message);

    ofpbuf_init(&actions, 0);
    enum ofperr wrong = ofputil_decode_flow_mod(&fm, message->data, protocol, NULL, NULL, &actions, OFPP_MAX, 255);
    if (wrong) {
        match_init_catchall(sent);
    } else {
        minimatch_expand(&fm.match, sent);
        minimatch_destroy(&fm.match);
    }
    ofpbuf_uninit(&actions);
    ofpbuf_delete(message);

    /* That a packet is of Ethernet is said on the wire and left out in the text, or the other way round. */
    struct match said = *match, read = *sent;
    match_set_default_packet_type(&said);
    match_set_default_packet_type(&read);

    /* Of fragments (ip_frag=yes, not_later) the parser sets bits that no packet has. */
    said.wc.masks.nw_frag &= FLOW_NW_FRAG_MASK;
    read.wc.masks.nw_frag &= FLOW_NW_FRAG_MASK;

    /* That there is no VLAN tag is said on the wire without the bits that a tag would have. */
    ovs_be16 tagged = htons(VLAN_CFI);
    if (said.wc.masks.vlans[0].tci & tagged && !(said.flow.vlans[0].tci & tagged)
        && read.wc.masks.vlans[0].tci & tagged && !(read.flow.vlans[0].tci & tagged)) {
        said.wc.masks.vlans[0] = read.wc.masks.vlans[0];
        said.flow.vlans[0] = read.flow.vlans[0];
    }
    return !wrong && match_equal(&said, &read);
}

char *
fs_match_in_port(const char *match)
{
    struct word word;

    return find_key(match, "in_port", &word) ? value_of(&word) : NULL;
}

/* The owned value of a word KEY=VALUE, without quotes. */
static char *
value_of(const struct word *word)
{
    const char *value = word->start + word->key_length;
    size_t length = word->length - word->key_length;

    if (length) {
        value++;
        length--;
    }
    if (length >= 2 && value[0] == '"' && value[length - 1] == '"') {
        value++;
        length -= 2;
    }
    return xmemdup0(value, length);
}

/* Parses 'match' but its in_port, up to the word 'last' (NULL: all) and without the word 'without'. */
static char *
parse(const char *match, const struct word *last, const struct word *without, struct match *parsed)
{
    struct ds rule = DS_EMPTY_INITIALIZER;
    struct ofputil_flow_mod fm;
    enum ofputil_protocol usable;
    const char *cursor = match;
    struct word word;

    while (next_word(&cursor, &word) && (!last || word.start <= last->start)) {
        if (!key_is(&word, "in_port") && !(without && word.start == without->start)) {
            ds_put_buffer(&rule, word.start, word.length);
            ds_put_char(&rule, ',');
        }
    }
    ds_put_cstr(&rule, "actions=drop");

    char *error = parse_ofp_flow_mod_str(&fm, ds_cstr(&rule), NULL, NULL, OFPFC_ADD, &usable);
    ds_destroy(&rule);
    if (!error) {
        minimatch_expand(&fm.match, parsed);
        minimatch_destroy(&fm.match);
        free(fm.ofpacts);
        if (!(usable & OFPUTIL_P_OF14_UP)) {
            error = xstrdup("this cannot be matched with OpenFlow 1.4 or later");
        }
    }
    return error;
}

char *
match_parse(const char *text, struct match *match)
{
    return parse(text, NULL, NULL, match);
}

int
fs_match_overlap(const char *a, const char *b, bool *overlap, char **error)
{
    const char *texts[2] = { a, b };
    struct match matches[2];

    *overlap = false;
    if (error) {
        *error = NULL;
    }
    for (int i = 0; i < 2; i++) {
        size_t offset;
        char *reason = fs_match_check(texts[i], &offset);
        if (!reason) {
            reason = parse(texts[i], NULL, NULL, &matches[i]);
        }
        if (reason) {
            openflow_fail(error, EINVAL, "match '%s', at character %zu: %s", texts[i], offset + 1, reason);
            free(reason);
            return EINVAL;
        }
    }

    if (flows_differ(&matches[0], &matches[1])) {
        return 0;
    }
    char *ports[2] = { fs_match_in_port(a), fs_match_in_port(b) };
    bool comparable = ports[0] && ports[1] && !isdigit((unsigned char) *ports[0]) == !isdigit((unsigned char) *ports[1]);
    *overlap = !comparable || !strcmp(ports[0], ports[1]);
    free(ports[0]);
    free(ports[1]);
    return 0;
}

/* Words. */

/* Takes the next word from '*cursor', by the rules of Open vSwitch: a value in parentheses ends with the last of them. */
static bool
next_word(const char **cursor, struct word *word)
{
    const char *p = *cursor + strspn(*cursor, DELIMITERS);
    int depth = 0;

    word->start = p;
    word->key_length = strcspn(p, ":=(" DELIMITERS);
    for (p += word->key_length; *p && (depth || !strchr(DELIMITERS, *p)); p++) {
        depth += *p == '(' ? 1 : *p == ')' && depth ? -1 : 0;
    }
    word->length = (size_t) (p - word->start);
    *cursor = p;
    return word->length > 0;
}

static bool
key_is(const struct word *word, const char *key)
{
    return word->key_length == strlen(key) && !memcmp(word->start, key, word->key_length);
}

static bool
find_key(const char *match, const char *key, struct word *word)
{
    while (next_word(&match, word)) {
        if (key_is(word, key)) {
            return true;
        }
    }
    return false;
}

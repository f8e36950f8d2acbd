/* What a switch has against what it should have: digests that are cheap to compare, and the exact difference.
 *
 * Rules are compared in the form in which a switch reports them: a rule that is wanted is encoded as it would be sent, decoded again, and then held against what the
 * switch says.  So a text may be written in any way that Open vSwitch takes. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <byte-order.h>
#include <hash.h>
#include <openvswitch/dynamic-string.h>
#include <openvswitch/hmap.h>
#include <openvswitch/ofp-actions.h>
#include <openvswitch/ofp-errors.h>
#include <openvswitch/ofp-flow.h>
#include <openvswitch/ofp-util.h>
#include <util.h>

#include <flowstream/openflow.h>

#include "openflow/compare.h"
#include "openflow/failure.h"
#include "openflow/match.h"
#include "openflow/meters.h"
#include "openflow/switch.h"

/* Actions in the form that goes over the wire: decoded ones have padding of any content between their fields. */
static void
encode_actions(struct ofpbuf *wire, const struct ofpact *actions, size_t length)
{
    ofpbuf_clear(wire);
    ofpacts_put_openflow_instructions(actions, length, wire, OFP14_VERSION);
}

/* Questions. */

int
compare_ask_ours(struct fs_switch *sw, struct ofputil_port_map *ports, int (*take)(void *, struct ofpbuf *, char **), void *aux, uint64_t cookie, uint64_t mask, int64_t deadline,
         char **error)
{
    struct ofputil_flow_stats_request request = {
        .match = MATCH_CATCHALL_INITIALIZER, .cookie = htonll(cookie), .cookie_mask = htonll(mask), .out_port = OFPP_ANY, .out_group = OFPG_ANY, .table_id = 0xff,
    };
    enum ofputil_protocol protocol = ofputil_protocol_from_ofp_version(sw->connection.version);
    struct switch_question questions[] = {
        { .request = ofputil_encode_flow_stats_request(&request, protocol), .answer = OFPTYPE_FLOW_STATS_REPLY, .reply = take, .aux = aux },
        ports ? switch_ask_ports(sw, ports) : (struct switch_question) { 0 },
    };
    return switch_ask(sw, questions, ports ? 2 : 1, deadline, error);
}

/* Digests. */

static uint64_t
digest_of(const struct compare_rule *r, const struct ofpbuf *wire)
{
    uint32_t place = hash_2words((uint32_t) r->table << 16 | r->priority, (uint32_t) r->cookie);
    uint32_t life = hash_2words((uint32_t) r->idle << 16 | r->hard, place);
    uint32_t low = hash_bytes(wire->data, wire->size, match_hash(r->match, life));
    uint32_t high = hash_bytes(wire->data, wire->size, match_hash(r->match, ~life));
    return (uint64_t) high << 32 | low;
}

uint64_t
compare_digest(const struct compare_rule *r, struct ofpbuf *wire)
{
    encode_actions(wire, r->actions, r->actions_length);
    return digest_of(r, wire);
}

uint64_t
compare_meter_digest(const struct fs_meter *m)
{
    uint32_t sum = hash_3words(m->id, m->kbps, m->burst);
    return (uint64_t) hash_int(sum, m->id) << 32 | sum;
}

/* Differences. */

struct place {
    struct hmap_node node;
    uint8_t table;
    uint16_t priority;
    uint16_t idle, hard;
    uint64_t cookie;
    struct match match;
    struct ofpbuf actions; /* as they go over the wire */
    const char *text; /* as it is wanted */
    bool found;
};

struct compare {
    const struct fs_change *wanted;
    size_t n;
    const uint32_t *ids;    /* whose rules are looked at */
    size_t n_ids;
    struct ofputil_port_map ports;
    struct hmap actual, desired;
    struct hmap owners;     /* of 'ids', as struct owner */
    struct fs_difference *differences;
    size_t n_differences, allocated;
};

struct owner {
    struct hmap_node node;
    uint32_t id;
    size_t at; /* in 'ids' */
};

static const struct owner *
find_owner(const struct compare *c, uint32_t id)
{
    const struct owner *o;
    HMAP_FOR_EACH_WITH_HASH (o, node, hash_int(id, 0), &c->owners) {
        if (o->id == id) {
            return o;
        }
    }
    return NULL;
}

static uint32_t
hash_place(const struct match *match, uint8_t table, uint16_t priority)
{
    return match_hash(match, (uint32_t) table << 16 | priority);
}

static struct place *
find_place(const struct hmap *places, const struct place *like)
{
    struct place *p;
    HMAP_FOR_EACH_WITH_HASH (p, node, like->node.hash, places) {
        if (p->table == like->table && p->priority == like->priority && match_equal(&p->match, &like->match)) {
            return p;
        }
    }
    return NULL;
}

static void
free_places(struct hmap *places)
{
    struct place *p;
    HMAP_FOR_EACH_POP (p, node, places) {
        ofpbuf_uninit(&p->actions);
        free(p);
    }
}

static int
take_actual(void *aux, struct ofpbuf *part, char **error)
{
    struct compare *c = aux;
    struct ofputil_flow_stats stats;
    struct ofpbuf actions;
    int status;

    ofpbuf_init(&actions, 64);
    while (!(status = ofputil_decode_flow_stats_reply(&stats, part, false, &actions))) {
        struct place *p = xmalloc(sizeof *p);
        *p = (struct place) { .table = stats.table_id, .priority = stats.priority, .idle = stats.idle_timeout, .hard = stats.hard_timeout,
                              .cookie = ntohll(stats.cookie), .match = stats.match };
        ofpbuf_init(&p->actions, 64);
        encode_actions(&p->actions, stats.ofpacts, stats.ofpacts_len);
        hmap_insert(&c->actual, &p->node, hash_place(&p->match, p->table, p->priority));
    }
    ofpbuf_uninit(&actions);
    return status == EOF ? 0 : openflow_fail(error, EPROTO, "its list of rules is malformed");
}

/* The rule as the switch will report it: sent to ourselves. */
static int
as_reported(struct fs_switch *sw, const struct ofputil_flow_mod *fm, const char *text, struct place **place, char **error)
{
    enum ofputil_protocol protocol = ofputil_protocol_from_ofp_version(sw->connection.version);
    struct ofpbuf *message = ofputil_encode_flow_mod(fm, protocol), actions;
    struct ofputil_flow_mod back;
    struct match match, sent;

    ofpmsg_update_length(message);
    ofpbuf_init(&actions, 64);
    enum ofperr wrong = ofputil_decode_flow_mod(&back, message->data, protocol, NULL, NULL, &actions, OFPP_MAX, 255);
    ofpbuf_delete(message);
    if (wrong) {
        ofpbuf_uninit(&actions);
        return openflow_fail(error, EINVAL, "rule '%s': %s", text, ofperr_to_string(wrong));
    }
    minimatch_expand(&back.match, &match);
    minimatch_destroy(&back.match);
    int status = match_as_sent(&match, &sent) ? 0 : openflow_fail(error, EINVAL, "rule '%s': a field of the match needs its protocol beside it", text);
    if (!status) {
        struct place *p = xmalloc(sizeof *p);
        *p = (struct place) { .table = fm->table_id == 0xff ? 0 : fm->table_id, .priority = (uint16_t) back.priority, .idle = back.idle_timeout,
                              .hard = back.hard_timeout, .match = sent, .text = text };
        ofpbuf_init(&p->actions, 64);
        encode_actions(&p->actions, back.ofpacts, back.ofpacts_len);
        *place = p;
    }
    ofpbuf_uninit(&actions);
    return status;
}

/* The place of a rule that is wanted; NULL with *why where the switch cannot have it (a port that is not there). */
static struct place *
place_of(struct fs_switch *sw, struct compare *c, const struct fs_change *change, char **why)
{
    struct ofputil_flow_mod fm;
    enum ofputil_protocol usable;
    struct place *p = NULL;
    *why = parse_ofp_flow_mod_str(&fm, change->text, &c->ports, NULL, OFPFC_ADD, &usable);
    if (*why) {
        return NULL;
    }
    if (!as_reported(sw, &fm, change->text, &p, why)) {
        p->cookie = change->cookie;
        hmap_insert(&c->desired, &p->node, hash_place(&p->match, p->table, p->priority));
    }
    minimatch_destroy(&fm.match);
    free(fm.ofpacts);
    return p;
}

static void
add_difference(struct compare *c, enum fs_difference_kind kind, uint64_t cookie, char *text /* taken */, char *why /* taken */)
{
    if (c->n_differences == c->allocated) {
        c->differences = x2nrealloc(c->differences, &c->allocated, sizeof *c->differences);
    }
    c->differences[c->n_differences++] = (struct fs_difference) { .kind = kind, .cookie = cookie, .text = text, .why = why };
}

static char *
text_of(const struct compare *c, const struct place *p)
{
    char *match = match_to_string(&p->match, &c->ports, OFP_DEFAULT_PRIORITY);
    char *text = xasprintf("table=%u,priority=%u%s%s", p->table, p->priority, *match ? "," : "", match);
    free(match);
    return text;
}

static bool
is_same(const struct place *a, const struct place *b)
{
    return a->cookie == b->cookie && a->idle == b->idle && a->hard == b->hard && a->actions.size == b->actions.size
           && !memcmp(a->actions.data, b->actions.data, a->actions.size);
}

static void
look_for(struct fs_switch *sw, struct compare *c, const struct fs_change *wanted)
{
    char *why = NULL;
    struct place *should = place_of(sw, c, wanted, &why), *is = should ? find_place(&c->actual, should) : NULL;
    if (is) {
        is->found = true;
    }
    if (!is || !is_same(is, should)) {
        add_difference(c, is ? FS_RULE_CHANGED : FS_RULE_MISSING, wanted->cookie, xstrdup(wanted->text), why);
    }
}

/* In the order of 'wanted', so that rules which let traffic in are added last; what is too much comes behind. */
static void
find_differences(struct fs_switch *sw, struct compare *c)
{
    for (size_t i = 0; i < c->n; i++) {
        look_for(sw, c, &c->wanted[i]);
    }
    struct place *p;
    HMAP_FOR_EACH (p, node, &c->actual) {
        if (!p->found && find_owner(c, fs_cookie_allocation(p->cookie))) {
            add_difference(c, FS_RULE_EXTRA, p->cookie, text_of(c, p), NULL);
        }
    }
}

static void
forget(struct compare *c)
{
    free_places(&c->actual);
    free_places(&c->desired);
    fs_differences_free(c->differences, c->n_differences);
    c->differences = NULL;
    c->n_differences = c->allocated = 0;
    ofputil_port_map_destroy(&c->ports);
    ofputil_port_map_init(&c->ports);
}

/* Rules of one owner are asked for by its cookie, those of several all at once. */
static void
narrow(const struct compare *c, uint64_t *cookie, uint64_t *mask)
{
    bool one = c->n_ids == 1;
    *cookie = fs_cookie(one ? c->ids[0] : 0, 0);
    *mask = one ? FS_COOKIE_ALLOCATION_MASK : FS_COOKIE_SPACE_MASK;
}

static int
compare_rules(struct fs_switch *sw, void *aux, int64_t deadline, char **error)
{
    struct compare *c = aux;
    uint64_t cookie, mask;
    forget(c);
    narrow(c, &cookie, &mask);
    int status = compare_ask_ours(sw, &c->ports, take_actual, c, cookie, mask, deadline, error);
    if (!status) {
        find_differences(sw, c);
    }
    return status;
}

static void
note_owners(struct compare *c)
{
    for (size_t i = 0; i < c->n_ids; i++) {
        if (!find_owner(c, c->ids[i])) {
            struct owner *o = xmalloc(sizeof *o);
            o->id = c->ids[i];
            o->at = i;
            hmap_insert(&c->owners, &o->node, hash_int(o->id, 0));
        }
    }
}

static void
begin(struct compare *c)
{
    ofputil_port_map_init(&c->ports);
    hmap_init(&c->actual);
    hmap_init(&c->desired);
    hmap_init(&c->owners);
    note_owners(c);
}

static void
end(struct compare *c)
{
    struct owner *o;

    forget(c);
    ofputil_port_map_destroy(&c->ports);
    HMAP_FOR_EACH_POP (o, node, &c->owners) {
        free(o);
    }
    hmap_destroy(&c->actual);
    hmap_destroy(&c->desired);
    hmap_destroy(&c->owners);
}

int
fs_switch_compare(struct fs_switch *sw, const uint32_t *allocations, size_t n_allocations, const struct fs_change *wanted, size_t n, struct fs_difference **differences,
                  size_t *n_differences, int deadline_ms, char **error)
{
    struct compare c = { .wanted = wanted, .n = n, .ids = allocations, .n_ids = n_allocations };

    begin(&c);
    int status = n_allocations ? switch_run(sw, compare_rules, &c, deadline_ms, error) : 0;
    *differences = status ? NULL : c.differences;
    *n_differences = status ? 0 : c.n_differences;
    if (!status) {
        c.differences = NULL;
        c.n_differences = 0;
    }
    end(&c);
    return status;
}

void
fs_differences_free(struct fs_difference *differences, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(differences[i].text);
        free(differences[i].why);
    }
    free(differences);
}

/* What is expected. */

struct expect {
    struct compare compare;
    const struct fs_meter *meters;
    size_t n_meters;
    struct fs_digest *digests;
};

static void
expect_rules(struct fs_switch *sw, struct expect *e)
{
    for (size_t i = 0; i < e->compare.n; i++) {
        const struct fs_change *wanted = &e->compare.wanted[i];
        const struct owner *o = find_owner(&e->compare, fs_cookie_allocation(wanted->cookie));
        char *why = NULL;
        struct place *p = place_of(sw, &e->compare, wanted, &why);
        if (p && o) {
            e->digests[o->at].digest += digest_of(&(struct compare_rule) { p->cookie, p->table, p->priority, p->idle, p->hard, &p->match, NULL, 0 }, &p->actions);
        }
        if (o) {
            e->digests[o->at].n += p ? 1 : UINT32_MAX / 2; /* One that the switch cannot have is not there. */
        }
        free(why);
    }
}

static int
expect(struct fs_switch *sw, void *aux, int64_t deadline, char **error)
{
    struct expect *e = aux;
    struct compare *c = &e->compare;

    forget(c);
    struct switch_question ports = switch_ask_ports(sw, &c->ports);
    int status = switch_ask(sw, &ports, 1, deadline, error);
    for (size_t i = 0; i < c->n_ids; i++) {
        e->digests[i] = (struct fs_digest) { .allocation = c->ids[i] };
    }
    if (!status) {
        expect_rules(sw, e);
    }
    for (size_t i = 0; i < e->n_meters; i++) {
        const struct owner *o = find_owner(c, e->meters[i].allocation);
        if (o) {
            e->digests[o->at].digest += compare_meter_digest(&e->meters[i]);
            e->digests[o->at].n_meters++;
        }
    }
    return status;
}

int
fs_switch_expect(struct fs_switch *sw, const uint32_t *allocations, size_t n_allocations, const struct fs_change *wanted, size_t n, const struct fs_meter *meters, size_t n_meters,
                 struct fs_digest *digests, int deadline_ms, char **error)
{
    struct expect e = { { .wanted = wanted, .n = n, .ids = allocations, .n_ids = n_allocations }, meters, n_meters, digests };

    begin(&e.compare);
    int status = switch_run(sw, expect, &e, deadline_ms, error);
    end(&e.compare);
    return status;
}

/* What a switch has of ours, kept up to date by the switch itself: it tells what is added, changed and removed in it, whoever does that.
 *
 * The switch is followed over a connection of its own, with a flow monitor (OpenFlow 1.4, "Flow monitoring") for all of its rules, since none can be for cookies, and with its word
 * on changes of meters ("Request forward").  All of ours are read once when the connection begins; after that a barrier is enough to know that all changes until now have been told.  So to
 * ask costs as much as has changed, and not as much as is there.  Once a minute, or more rarely where that takes long, all of ours are read again without a reason.  A switch that
 * tells nothing is read whole each time. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <byte-order.h>
#include <hash.h>
#include <openvswitch/hmap.h>
#include <openvswitch/list.h>
#include <openvswitch/ofp-connection.h>
#include <openvswitch/ofp-errors.h>
#include <openvswitch/ofp-flow.h>
#include <openvswitch/ofp-monitor.h>
#include <openvswitch/ofp-util.h>
#include <util.h>

#include <flowstream/openflow.h>

#include "openflow/compare.h"
#include "openflow/failure.h"
#include "openflow/meters.h"
#include "openflow/switch.h"

enum { ALL_MS = 60000, COST_SHARE = 50, GONE_MOST = 1024 };

/* A rule of ours: 'node' and 'place' are two hashes of its table, priority and match. */
struct rule {
    struct hmap_node node;
    uint32_t place, owner;
    uint64_t digest;
    unsigned round; /* In which it was last seen. */
};

struct owner {
    struct hmap_node node;
    struct ovs_list newer; /* In 'owners', those that changed last at the end. */
    uint64_t changed;      /* The state of the switch with that change. */
    struct fs_digest d;    /* Of its rules alone. */
    uint64_t meters;       /* The same for its meters. */
    uint64_t meters_read;  /* And while they are read. */
    uint32_t n_meters_read;
};

struct fs_follow {
    struct fs_switch *sw;
    struct hmap rules, by_id;
    struct ovs_list owners;
    size_t n_gone;       /* Owners that have nothing any more. */
    uint64_t state;      /* Counts changes. */
    uint64_t forgotten;  /* What had gone by that state is not known any more. */
    unsigned session;    /* Of the connection, in which the switch was asked to tell. */
    unsigned round;      /* Counts how often all rules were read. */
    uint32_t asked;      /* The transaction in which it was asked to tell of meters. */
    bool tells, tells_meters;
    bool paused;         /* It has more to tell than it can send now. */
    bool meters_changed;
    int64_t due;         /* When all rules are read again. */
    struct ofpbuf wire, actions;
};

static connection_tell take_news;

struct fs_follow *
fs_follow_new(const char *name, const char *target)
{
    struct fs_follow *f = xzalloc(sizeof *f);

    f->sw = fs_switch_new(name, target);
    f->sw->connection.tell = take_news;
    f->sw->connection.tell_aux = f;
    f->state = 1;
    hmap_init(&f->rules);
    hmap_init(&f->by_id);
    ovs_list_init(&f->owners);
    ofpbuf_init(&f->wire, 256);
    ofpbuf_init(&f->actions, 64);
    return f;
}

void
fs_follow_destroy(struct fs_follow *f)
{
    struct rule *r;
    struct owner *o;

    if (!f) {
        return;
    }
    HMAP_FOR_EACH_POP (r, node, &f->rules) {
        free(r);
    }
    HMAP_FOR_EACH_POP (o, node, &f->by_id) {
        free(o);
    }
    hmap_destroy(&f->rules);
    hmap_destroy(&f->by_id);
    ofpbuf_uninit(&f->wire);
    ofpbuf_uninit(&f->actions);
    fs_switch_destroy(f->sw);
    free(f);
}

/* Owners. */

static bool
is_gone(const struct owner *o)
{
    return !o->d.n && !o->d.n_meters;
}

static struct fs_digest
digest_now(const struct owner *o)
{
    struct fs_digest d = o->d;
    d.digest += o->meters;
    return d;
}

static struct owner *
find_owner(const struct fs_follow *f, uint32_t id)
{
    struct owner *o;
    HMAP_FOR_EACH_WITH_HASH (o, node, hash_int(id, 0), &f->by_id) {
        if (o->d.allocation == id) {
            return o;
        }
    }
    return NULL;
}

static struct owner *
owner_of(struct fs_follow *f, uint32_t id)
{
    struct owner *o = find_owner(f, id);
    if (!o) {
        o = xzalloc(sizeof *o);
        o->d.allocation = id;
        hmap_insert(&f->by_id, &o->node, hash_int(id, 0));
        ovs_list_push_front(&f->owners, &o->newer); /* It has not changed yet. */
        f->n_gone++;
    }
    return o;
}

/* What has nothing is kept for those who ask later what has changed, up to a measure. */
static void
forget_gone(struct fs_follow *f)
{
    struct owner *o;
    LIST_FOR_EACH_SAFE (o, newer, &f->owners) {
        if (is_gone(o)) {
            ovs_list_remove(&o->newer);
            hmap_remove(&f->by_id, &o->node);
            free(o);
        }
    }
    f->n_gone = 0;
    f->forgotten = f->state;
}

static void
note_change(struct fs_follow *f, struct owner *o, bool was_gone)
{
    f->n_gone = f->n_gone - was_gone + is_gone(o);
    o->changed = ++f->state;
    ovs_list_remove(&o->newer);
    ovs_list_push_back(&f->owners, &o->newer);
}

/* Rules. */

static void
count_rule(struct fs_follow *f, uint32_t id, uint64_t digest, bool more)
{
    struct owner *o = owner_of(f, id);
    bool was_gone = is_gone(o);

    o->d.digest = more ? o->d.digest + digest : o->d.digest - digest; /* A sum: the order in which rules come says nothing. */
    o->d.n = more ? o->d.n + 1 : o->d.n - 1;
    note_change(f, o, was_gone);
}

static void
remove_rule(struct fs_follow *f, struct rule *r)
{
    hmap_remove(&f->rules, &r->node);
    count_rule(f, r->owner, r->digest, false);
    free(r);
}

static struct rule *
find_rule(struct fs_follow *f, uint8_t table, uint16_t priority, const struct match *match, uint32_t *hash, uint32_t *place)
{
    struct rule *r;
    uint32_t basis = (uint32_t) table << 16 | priority;

    *hash = match_hash(match, basis);
    *place = match_hash(match, ~basis);
    HMAP_FOR_EACH_WITH_HASH (r, node, *hash, &f->rules) {
        if (r->place == *place) {
            return r;
        }
    }
    return NULL;
}

/* This is in its place now, whatever was there before. */
static void
put_rule(struct fs_follow *f, const struct compare_rule *rule)
{
    uint32_t hash, place, owner = fs_cookie_allocation(rule->cookie);
    struct rule *r = find_rule(f, rule->table, rule->priority, rule->match, &hash, &place);
    bool ours = fs_cookie_is_ours(rule->cookie);
    uint64_t digest = ours ? compare_digest(rule, &f->wire) : 0;

    if (r && ours && r->owner == owner && r->digest == digest) {
        r->round = f->round;
        return;
    }
    if (r) {
        remove_rule(f, r);
    }
    if (ours) {
        r = xzalloc(sizeof *r);
        *r = (struct rule) { .place = place, .owner = owner, .digest = digest, .round = f->round };
        hmap_insert(&f->rules, &r->node, hash);
        count_rule(f, owner, digest, true);
    }
}

static int
take_rules(void *aux, struct ofpbuf *part, char **error)
{
    struct fs_follow *f = aux;
    struct ofputil_flow_stats s;
    int status;

    while (!(status = ofputil_decode_flow_stats_reply(&s, part, false, &f->actions))) {
        put_rule(f, &(struct compare_rule) { ntohll(s.cookie), s.table_id, s.priority, s.idle_timeout, s.hard_timeout, &s.match, s.ofpacts, s.ofpacts_len });
    }
    return status == EOF ? 0 : openflow_fail(error, EPROTO, "its list of rules is malformed");
}

static int
read_rules(struct fs_follow *f, int64_t deadline, char **error)
{
    struct rule *r;

    f->round++;
    int status = compare_ask_ours(f->sw, NULL, take_rules, f, fs_cookie(0, 0), FS_COOKIE_SPACE_MASK, deadline, error);
    if (!status) {
        HMAP_FOR_EACH_SAFE (r, node, &f->rules) {
            if (r->round != f->round) {
                remove_rule(f, r);
            }
        }
    }
    return status;
}

/* Meters. */

static int
read_meters(struct fs_follow *f, int64_t deadline, char **error)
{
    struct meter_list list = { 0 };
    struct owner *o;

    f->meters_changed = false; /* Before they are read: what changes meanwhile is read again. */
    int status = meters_read(f->sw, &list, deadline, error);
    for (size_t i = 0; i < list.n && !status; i++) {
        const struct fs_meter *m = &list.meters[i];
        if (m->ours) { /* One that has lost its sign is somebody else's here: then the digest is another one too. */
            o = owner_of(f, m->allocation);
            o->meters_read += compare_meter_digest(m);
            o->n_meters_read++;
        }
    }
    free(list.meters);
    HMAP_FOR_EACH (o, node, &f->by_id) {
        if (!status && (o->meters != o->meters_read || o->d.n_meters != o->n_meters_read)) {
            bool was_gone = is_gone(o);
            o->meters = o->meters_read;
            o->d.n_meters = o->n_meters_read;
            note_change(f, o, was_gone);
        }
        o->meters_read = o->n_meters_read = 0;
    }
    return status;
}

/* What the switch tells. */

/* One of what a flow monitor tells. */
static void
take_update(struct fs_follow *f, const struct ofputil_flow_update *u)
{
    uint32_t hash, place;
    struct rule *r;

    switch (u->event) {
    case OFPFME_INITIAL:
    case OFPFME_ADDED:
    case OFPFME_MODIFIED:
        put_rule(f, &(struct compare_rule) { ntohll(u->cookie), u->table_id, u->priority, u->idle_timeout, u->hard_timeout, &u->match, u->ofpacts, u->ofpacts_len });
        break;
    case OFPFME_REMOVED:
        r = find_rule(f, u->table_id, u->priority, &u->match, &hash, &place);
        if (r) {
            remove_rule(f, r);
        }
        break;
    case OFPFME_PAUSED:
    case OFPFME_RESUMED:
        f->paused = u->event == OFPFME_PAUSED;
        break;
    case OFPFME_ABBREV:
        break; /* Of changes over this connection, and there are none. */
    }
}

static bool
take_news(void *aux, const struct ofp_header *oh, enum ofptype type)
{
    struct fs_follow *f = aux;

    if (type == OFPTYPE_REQUESTFORWARD) {
        f->meters_changed = true;
        f->state++;
        return true;
    }
    if (type == OFPTYPE_ERROR && ntohl(oh->xid) == f->asked) {
        f->tells_meters = false;
        return true;
    }
    if (type != OFPTYPE_FLOW_MONITOR_STATS_REPLY || oh->xid) {
        return false; /* An answer. */
    }
    struct ofpbuf part = ofpbuf_const_initializer(oh, ntohs(oh->length));
    struct ofputil_flow_update u;
    int status;
    while (!(status = ofputil_decode_flow_update(&u, &part, &f->actions))) {
        take_update(f, &u);
    }
    if (status != EOF) {
        f->due = 0; /* Who cannot be understood is read whole. */
    }
    return true;
}

/* Asking it to tell. */

struct begin {
    struct fs_follow *follow;
    uint32_t monitor, barrier;
};

static int
take_begin(void *aux, const struct ofp_header *oh, bool *done, char **error OVS_UNUSED)
{
    struct begin *b = aux;
    enum ofptype type;

    if (ntohl(oh->xid) == b->monitor) {
        b->follow->tells = !ofptype_decode(&type, oh) && type == OFPTYPE_FLOW_MONITOR_STATS_REPLY;
    }
    *done = ntohl(oh->xid) == b->barrier;
    return 0;
}

static int
begin_session(struct fs_follow *f, int64_t deadline, char **error)
{
    struct connection *c = &f->sw->connection;
    struct ofputil_async_cfg wanted = OFPUTIL_ASYNC_CFG_INIT;
    struct ofputil_flow_monitor_request request = {
        .id = 1, .command = OFPFMC_ADD, .flags = OFPFMF_ADD | OFPFMF_REMOVED | OFPFMF_MODIFY | OFPFMF_INSTRUCTIONS, .out_port = OFPP_ANY, .out_group = OFPG_ANY, .table_id = 0xff,
        .match = MATCH_CATCHALL_INITIALIZER,
    };
    struct begin b = { .follow = f };
    struct ofpbuf message;

    f->tells = f->paused = false;
    f->tells_meters = f->meters_changed = true;
    f->due = 0;
    wanted.primary[OAM_REQUESTFORWARD] = wanted.secondary[OAM_REQUESTFORWARD] = 1u << OFPRFR_METER_MOD;
    f->asked = connection_queue(c, ofputil_encode_set_async_config(&wanted, 1u << OAM_REQUESTFORWARD, c->version));
    ofpbuf_init(&message, 0);
    ofputil_append_flow_monitor_request(&request, &message, ofputil_protocol_from_ofp_version(c->version));
    b.monitor = connection_queue(c, ofpbuf_clone(&message));
    ofpbuf_uninit(&message);
    b.barrier = connection_queue(c, ofputil_encode_barrier_request(c->version));
    int status = connection_talk(c, deadline, take_begin, &b, error);
    f->session = status ? 0 : c->session;
    return status;
}

static int
take_nothing(void *aux OVS_UNUSED, struct ofpbuf *part OVS_UNUSED, char **error OVS_UNUSED)
{
    return 0;
}

/* All changes until now have been told when this returns. */
static int
hear_all(struct fs_follow *f, int64_t deadline, char **error)
{
    struct switch_question question = { .request = ofputil_encode_barrier_request(f->sw->connection.version), .answer = OFPTYPE_BARRIER_REPLY, .reply = take_nothing };
    return switch_ask(f->sw, &question, 1, deadline, error);
}

static int
bring_up_to_date(struct fs_switch *sw, void *aux, int64_t deadline, char **error)
{
    struct fs_follow *f = aux;
    bool anew = f->session != sw->connection.session;
    int status = anew ? begin_session(f, deadline, error) : f->tells ? hear_all(f, deadline, error) : 0;
    int64_t begin = connection_now();

    if (!status && (!f->tells || f->paused || begin >= f->due)) {
        f->meters_changed = true;
        status = read_rules(f, deadline, error);
        int64_t cost = (connection_now() - begin) * COST_SHARE;
        f->due = status ? 0 : connection_now() + (cost > ALL_MS ? cost : ALL_MS);
    }
    if (!status && (f->meters_changed || !f->tells_meters)) {
        status = read_meters(f, deadline, error);
    }
    return status;
}

/* Asking. */

struct asked {
    struct fs_follow *follow;
    struct fs_changes *changes;
};

static int
by_allocation(const void *a, const void *b)
{
    const struct fs_digest *x = a, *y = b;
    return (x->allocation > y->allocation) - (x->allocation < y->allocation);
}

static int
find_changes(struct fs_switch *sw, void *aux, int64_t deadline, char **error)
{
    struct asked *asked = aux;
    struct fs_follow *f = asked->follow;
    struct fs_changes *c = asked->changes;
    size_t room = 0;
    struct owner *o;

    int status = bring_up_to_date(sw, f, deadline, error);
    if (status) {
        return status;
    }
    if (f->n_gone > GONE_MOST && f->n_gone > hmap_count(&f->by_id) / 2) {
        forget_gone(f);
    }
    c->all = !c->since || c->since < f->forgotten || c->since > f->state;
    LIST_FOR_EACH_REVERSE (o, newer, &f->owners) {
        if (!c->all && o->changed <= c->since) {
            break;
        }
        if (!c->all || !is_gone(o)) {
            if (c->n == room) {
                c->digests = x2nrealloc(c->digests, &room, sizeof *c->digests);
            }
            c->digests[c->n++] = digest_now(o);
        }
    }
    if (c->n) {
        qsort(c->digests, c->n, sizeof *c->digests, by_allocation);
    }
    c->state = f->state;
    c->told = f->tells;
    return 0;
}

int
fs_follow_changes(struct fs_follow *f, uint64_t since, struct fs_changes *changes, int deadline_ms, char **error)
{
    struct asked asked = { f, changes };
    *changes = (struct fs_changes) { .since = since };
    return switch_run(f->sw, find_changes, &asked, deadline_ms, error);
}

struct looked_up {
    struct fs_follow *follow;
    const uint32_t *ids;
    size_t n;
    struct fs_digest *digests;
};

static int
look_up(struct fs_switch *sw, void *aux, int64_t deadline, char **error)
{
    struct looked_up *l = aux;
    int status = bring_up_to_date(sw, l->follow, deadline, error);
    for (size_t i = 0; i < l->n && !status; i++) {
        const struct owner *o = find_owner(l->follow, l->ids[i]);
        l->digests[i] = o ? digest_now(o) : (struct fs_digest) { .allocation = l->ids[i] };
    }
    return status;
}

int
fs_follow_digests(struct fs_follow *f, const uint32_t *allocations, size_t n, struct fs_digest *digests, int deadline_ms, char **error)
{
    struct looked_up l = { f, allocations, n, digests };
    return switch_run(f->sw, look_up, &l, deadline_ms, error);
}

bool
fs_follow_descriptor(struct fs_follow *f, int *fd)
{
    return fs_switch_descriptor(f->sw, fd);
}

uint64_t
fs_follow_state(struct fs_follow *f, bool hear)
{
    uint64_t state = 0;
    if (switch_try_turn(f->sw)) {
        struct connection *c = &f->sw->connection;
        bool lives = hear ? connection_is_alive(c) : c->fd >= 0;
        state = lives && f->session == c->session && f->tells && !f->paused ? f->state : 0;
        switch_end_turn(f->sw);
    }
    return state;
}

/* Changes of rules, as one atomic bundle.
 *
 * fs_switch_apply() goes up to four times to the switch:
 *
 *     1. for its ports, and with their numbers for the rules of other owners that could be in the way of an add;
 *     2. with the bundle: open, all changes, and a barrier, in one go.  An error here comes for one message only and does
 *        not close the bundle, so the commit has to wait until the barrier says that there was none;
 *     3. with the commit, or with a discard.  (What bundle.c keeps prepared is committed later.)
 *
 * Between 1 and 2 the texts become messages; what is wrong with a text is found there, before anything is sent. */

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <byte-order.h>
#include <openvswitch/dynamic-string.h>
#include <openvswitch/hmap.h>
#include <openvswitch/ofp-bundle.h>
#include <openvswitch/ofp-errors.h>
#include <openvswitch/ofp-flow.h>
#include <openvswitch/ofp-util.h>
#include <util.h>

#include <flowstream/failpoint.h>
#include <flowstream/openflow.h>

#include "openflow/apply.h"
#include "openflow/failure.h"
#include "openflow/match.h"
#include "openflow/switch.h"

#define BUNDLE_FLAGS (OFPBF_ATOMIC | OFPBF_ORDERED)
#define SPACE_BITS 16
#define FEW_ADDS 16 /* As many questions as SPACE_BITS. */
#define ALL_TABLES 0xff
#define MAX_MESSAGE (UINT16_MAX - 64) /* Leaves room for the bundle's own header. */

/* A rule of another owner. */
struct foreign {
    struct hmap_node node;
    uint8_t table;
    uint16_t priority;
    uint64_t cookie;
    struct match match;
};

static switch_operation apply_changes;
static int parse_changes(struct fs_switch *, struct apply *, char **error);
static int look_for_foreign(struct fs_switch *, struct apply *, int64_t deadline, char **error);
static int check_places(const struct apply *, char **error);
static int encode_changes(struct fs_switch *, struct apply *, char **error);
static int fill_bundle(struct fs_switch *, struct apply *, int64_t deadline, char **error);
static void forget(struct apply *);
static void free_mod(struct ofputil_flow_mod *);

int
fs_switch_apply(struct fs_switch *sw, const struct fs_change *changes, size_t n, int deadline_ms, char **error)
{
    struct apply apply;

    if (error) {
        *error = NULL;
    }
    int status = apply_check_cookies(sw, changes, n, error);
    if (status || !n) {
        return status;
    }

    apply_init(&apply, changes, n);
    status = switch_run(sw, apply_changes, &apply, deadline_ms, error);
    apply_destroy(&apply);
    return status;
}

void
apply_init(struct apply *apply, const struct fs_change *changes, size_t n)
{
    *apply = (struct apply) { .changes = changes, .n = n };
    ofputil_port_map_init(&apply->ports);
    hmap_init(&apply->foreign);
    apply->mods = xcalloc(n + 1, sizeof *apply->mods);
    apply->messages = xcalloc(n + 1, sizeof *apply->messages);
}

void
apply_destroy(struct apply *apply)
{
    forget(apply);
    hmap_destroy(&apply->foreign);
    ofputil_port_map_destroy(&apply->ports);
    free(apply->messages);
    free(apply->mods);
}

/* Empties what an attempt has learnt and made. */
static void
forget(struct apply *apply)
{
    struct foreign *f;

    HMAP_FOR_EACH_POP (f, node, &apply->foreign) {
        free(f);
    }
    ofputil_port_map_destroy(&apply->ports);
    ofputil_port_map_init(&apply->ports);
    for (size_t i = 0; i < apply->n; i++) {
        ofpbuf_delete(apply->messages[i]);
        apply->messages[i] = NULL;
    }
    while (apply->n_mods) {
        free_mod(&apply->mods[--apply->n_mods]);
    }
}

static void
free_mod(struct ofputil_flow_mod *fm)
{
    minimatch_destroy(&fm->match);
    free(fm->ofpacts);
}

int
apply_check_cookies(const struct fs_switch *sw, const struct fs_change *changes, size_t n, char **error)
{
    for (const struct fs_change *c = changes; c < changes + n; c++) {
        bool ours = fs_cookie_is_ours(c->cookie);
        bool masked = (c->cookie_mask & FS_COOKIE_SPACE_MASK) == FS_COOKIE_SPACE_MASK;

        if (c->op == FS_CHANGE_ADD && !ours) {
            return openflow_fail(error, EPERM, "switch %s: rule '%s' has the cookie 0x%" PRIx64
                                 ", which is not in Flowstream's space 0x%x", sw->name, c->text, c->cookie, FS_COOKIE_SPACE);
        } else if (c->op != FS_CHANGE_ADD && !(ours && masked) && (c->op == FS_CHANGE_DELETE_COOKIE || c->cookie_mask)) {
            return openflow_fail(error, EPERM, "switch %s: a delete of cookie 0x%" PRIx64 "/0x%" PRIx64
                                 " would touch rules that are not Flowstream's", sw->name, c->cookie, c->cookie_mask);
        }
    }
    return 0;
}

static int
apply_changes(struct fs_switch *sw, void *aux, int64_t deadline, char **error)
{
    struct apply *apply = aux;

    apply->id = ++sw->last_bundle ? sw->last_bundle : ++sw->last_bundle;
    int status = apply_prepare(sw, apply, deadline, error);
    return status ? status : apply_commit(sw, apply, deadline, error);
}

int
apply_prepare(struct fs_switch *sw, void *aux, int64_t deadline, char **error)
{
    struct apply *apply = aux;

    forget(apply);
    struct switch_question ports = switch_ask_ports(sw, &apply->ports);
    int status = switch_ask(sw, &ports, 1, deadline, error);
    status = status ? status : parse_changes(sw, apply, error);
    status = status ? status : look_for_foreign(sw, apply, deadline, error);
    status = status ? status : check_places(apply, error);
    status = status ? status : encode_changes(sw, apply, error);
    return status ? status : fill_bundle(sw, apply, deadline, error);
}

/* Foreign rules. */

static void ask_by_place(const struct ofputil_flow_mod *, struct ofputil_flow_stats_request *);
static void ask_by_cookie(unsigned bit, uint8_t table, struct ofputil_flow_stats_request *);
static int take_foreign(void *aux, struct ofpbuf *, char **error);

/* Reads the rules of other owners.  For a few adds it asks for what is in their places, which brings also what lies below
 * them.  For many it asks for everything foreign, in their table if all are in one. */
static int
look_for_foreign(struct fs_switch *sw, struct apply *apply, int64_t deadline, char **error)
{
    struct ofputil_flow_stats_request requests[MAX(FEW_ADDS, SPACE_BITS)];
    struct switch_question questions[ARRAY_SIZE(requests)];
    size_t adds = 0, n = 0;
    uint8_t table = 0;

    for (size_t i = 0; i < apply->n; i++) {
        const struct ofputil_flow_mod *fm = &apply->mods[i];
        if (fm->command == OFPFC_ADD) {
            table = !adds || table == fm->table_id ? fm->table_id : ALL_TABLES;
            if (adds++ < FEW_ADDS) {
                ask_by_place(fm, &requests[n++]);
            }
        }
    }
    if (adds > FEW_ADDS) {
        for (n = 0; n < SPACE_BITS; n++) {
            ask_by_cookie((unsigned) n, table, &requests[n]);
        }
    }
    for (size_t i = 0; i < n; i++) {
        questions[i] = (struct switch_question) {
            .request = ofputil_encode_flow_stats_request(&requests[i], ofputil_protocol_from_ofp_version(sw->connection.version)),
            .answer = OFPTYPE_FLOW_STATS_REPLY, .reply = take_foreign, .aux = &apply->foreign,
        };
    }
    return n ? switch_ask(sw, questions, n, deadline, error) : 0;
}

static void
ask_by_place(const struct ofputil_flow_mod *fm, struct ofputil_flow_stats_request *request)
{
    *request = (struct ofputil_flow_stats_request) { .out_port = OFPP_ANY, .out_group = OFPG_ANY, .table_id = fm->table_id };
    minimatch_expand(&fm->match, &request->match);
}

/* Cookies outside our space cannot be asked for at once, but by the first bit in which they differ from it: that makes
 * SPACE_BITS questions whose answers have no rule in common. */
static void
ask_by_cookie(unsigned bit, uint8_t table, struct ofputil_flow_stats_request *request)
{
    uint64_t mask = ~(UINT64_MAX >> 1 >> bit);
    uint64_t differs = UINT64_C(1) << (63 - bit);

    *request = (struct ofputil_flow_stats_request) {
        .match = MATCH_CATCHALL_INITIALIZER, .cookie = htonll((fs_cookie(0, 0) ^ differs) & mask),
        .cookie_mask = htonll(mask), .out_port = OFPP_ANY, .out_group = OFPG_ANY, .table_id = table,
    };
}

static uint32_t
hash_rule(const struct match *match, uint8_t table, uint16_t priority)
{
    return match_hash(match, (uint32_t) table << 16 | priority);
}

static int
take_foreign(void *aux, struct ofpbuf *part, char **error)
{
    struct hmap *foreign = aux;
    struct ofputil_flow_stats stats;
    struct ofpbuf actions;
    int status;

    ofpbuf_init(&actions, 64);
    while (!(status = ofputil_decode_flow_stats_reply(&stats, part, false, &actions))) {
        if (fs_cookie_is_ours(ntohll(stats.cookie))) {
            continue;
        }
        struct foreign *f = xmalloc(sizeof *f);
        *f = (struct foreign) { .table = stats.table_id, .priority = stats.priority, .cookie = ntohll(stats.cookie),
                                .match = stats.match };
        hmap_insert(foreign, &f->node, hash_rule(&f->match, f->table, f->priority));
    }
    ofpbuf_uninit(&actions);
    return status == EOF ? 0 : openflow_fail(error, EPROTO, "its list of rules is malformed");
}

/* Refuses adds in whose places are rules of other owners. */
static int
check_places(const struct apply *apply, char **error)
{
    for (size_t i = 0; i < apply->n && !hmap_is_empty(&apply->foreign); i++) {
        const struct ofputil_flow_mod *fm = &apply->mods[i];
        uint16_t priority = (uint16_t) fm->priority;
        const struct foreign *f;
        struct match match;

        if (fm->command != OFPFC_ADD) {
            continue;
        }
        minimatch_expand(&fm->match, &match);
        HMAP_FOR_EACH_WITH_HASH (f, node, hash_rule(&match, fm->table_id, priority), &apply->foreign) {
            if (f->table == fm->table_id && f->priority == priority && match_equal(&f->match, &match)) {
                return openflow_fail(error, EEXIST, "rule '%s' would overwrite a rule of another owner (its cookie is 0x%" PRIx64
                                     ", its place table %d, priority %d)", apply->changes[i].text, f->cookie, f->table,
                                     f->priority);
            }
        }
    }
    return 0;
}

/* From texts to messages. */

static int parse_change(struct fs_switch *, const struct apply *, const struct fs_change *, struct ofputil_flow_mod *,
                        char **error);
static int normalize_match(const char *text, struct ofputil_flow_mod *, char **error);
static char *list_ports(const struct ofputil_port_map *);

static int
parse_changes(struct fs_switch *sw, struct apply *apply, char **error)
{
    for (size_t i = 0; i < apply->n; i++) {
        int status = parse_change(sw, apply, &apply->changes[i], &apply->mods[i], error);
        if (status) {
            return status;
        }
        apply->n_mods++;
    }
    return 0;
}

static int
encode_changes(struct fs_switch *sw, struct apply *apply, char **error)
{
    enum ofputil_protocol protocol = ofputil_protocol_from_ofp_version(sw->connection.version);

    for (size_t i = 0; i < apply->n; i++) {
        struct ofpbuf *message = ofputil_encode_flow_mod(&apply->mods[i], protocol);
        apply->messages[i] = message;
        if (message->size > MAX_MESSAGE) {
            return openflow_fail(error, EINVAL, "rule '%s' is too long for a message", apply->changes[i].text);
        }
        ofpmsg_update_length(message);
    }
    return 0;
}

/* Stores in '*fm' what 'change' says; on success the caller frees its match and actions. */
static int
parse_change(struct fs_switch *sw, const struct apply *apply, const struct fs_change *change, struct ofputil_flow_mod *fm,
             char **error)
{
    static const int commands[] = {
        [FS_CHANGE_ADD] = OFPFC_ADD, [FS_CHANGE_DELETE_STRICT] = OFPFC_DELETE_STRICT, [FS_CHANGE_DELETE_COOKIE] = OFPFC_DELETE,
    };
    const char *text = change->text ? change->text : "";
    enum ofputil_protocol usable;

    char *reason = parse_ofp_flow_mod_str(fm, text, &apply->ports, NULL, commands[change->op], &usable);
    if (reason) {
        bool port = strstr(reason, "port") != NULL;
        char *ports = port ? list_ports(&apply->ports) : xstrdup("");
        openflow_fail(error, EINVAL, "rule '%s': %s%s", text, reason, ports);
        free(ports);
        free(reason);
        return port ? ENODEV : EINVAL;
    }

    int status = 0;
    if (!(usable & ofputil_protocol_from_ofp_version(sw->connection.version))) {
        status = openflow_fail(error, EINVAL, "rule '%s' cannot be said in OpenFlow 1.%d", text, sw->connection.version - 1);
    } else if (fm->cookie || fm->cookie_mask || fm->new_cookie) {
        status = openflow_fail(error, EINVAL, "rule '%s' has a cookie in its text", text);
    }
    status = status ? status : normalize_match(text, fm, error);
    if (status) {
        free_mod(fm);
    } else if (change->op == FS_CHANGE_ADD) {
        fm->new_cookie = htonll(change->cookie);
        fm->table_id = fm->table_id == ALL_TABLES ? 0 : fm->table_id;
    } else {
        fm->cookie = htonll(change->cookie_mask ? change->cookie & change->cookie_mask : fs_cookie(0, 0));
        fm->cookie_mask = htonll(change->cookie_mask ? change->cookie_mask : FS_COOKIE_SPACE_MASK);
    }
    return status;
}

/* Gives the match the form that the switch will give it, so that it can be compared with others; refuses it if it becomes
 * wider by that. */
static int
normalize_match(const char *text, struct ofputil_flow_mod *fm, char **error)
{
    struct match said, sent;

    minimatch_expand(&fm->match, &said);
    if (!match_as_sent(&said, &sent)) {
        return openflow_fail(error, EINVAL, "rule '%s': a field of the match needs its protocol beside it, such as tcp or arp",
                             text);
    }
    minimatch_destroy(&fm->match);
    minimatch_init(&fm->match, &sent);
    return 0;
}

/* "; the ports are a, b, c". */
static char *
list_ports(const struct ofputil_port_map *map)
{
    struct ds s = DS_EMPTY_INITIALIZER;
    const struct namemap_node *node;
    const char *separator = "; the switch's ports are ";

    HMAP_FOR_EACH (node, name_node, &map->map.by_name) {
        ds_put_format(&s, "%s%s", separator, node->name);
        separator = ", ";
    }
    if (!s.length) {
        ds_put_cstr(&s, "; the switch has no ports");
    }
    return ds_steal_cstr(&s);
}

/* Steps 2 and 3. */

/* What the switch says to a bundle.  The messages of the bundle have the xids from 'first' on: open, changes, barrier; the
 * commit has the next one behind. */
struct bundle {
    const struct apply *apply;
    uint32_t first, end;          /* The message with xid 'end' is the one whose answer ends the talk. */
    enum ofptype answer;          /* Type of that answer. */
    enum ofperr refusal;          /* The first error, or 0. */
    uint32_t refused;             /* xid of the message refused. */
};

static connection_take take_verdict;
static uint32_t queue_control(struct connection *, uint32_t id, uint16_t type);
static int describe_refusal(const struct bundle *, char **error);

static int
fill_bundle(struct fs_switch *sw, struct apply *apply, int64_t deadline, char **error)
{
    struct connection *c = &sw->connection;
    uint8_t version = c->version;
    struct bundle bundle = { .apply = apply, .answer = OFPTYPE_BARRIER_REPLY };

    bundle.first = apply->first = queue_control(c, apply->id, OFPBCT_OPEN_REQUEST);
    for (size_t i = 0; i < apply->n; i++) {
        /* The message inside must have the transaction number of the one around it. */
        struct ofp_header *inner = apply->messages[i]->data;
        inner->xid = htonl(c->next_xid);
        struct ofputil_bundle_add_msg add = { .bundle_id = apply->id, .flags = BUNDLE_FLAGS, .msg = inner };
        connection_queue(c, ofputil_encode_bundle_add(version, &add));
    }
    bundle.end = connection_queue(c, ofputil_encode_barrier_request(version));

    int status = connection_talk(c, deadline, take_verdict, &bundle, error);
    if (status) {
        return status;
    }
    if (bundle.refusal) {
        /* The switch drops the bundle with the connection, should this get lost. */
        apply_discard(sw, apply);
        return describe_refusal(&bundle, error);
    }
    return 0;
}

void
apply_discard(struct fs_switch *sw, const struct apply *apply)
{
    queue_control(&sw->connection, apply->id, OFPBCT_DISCARD_REQUEST);
}

int
apply_commit(struct fs_switch *sw, struct apply *apply, int64_t deadline, char **error)
{
    struct bundle bundle = { .apply = apply, .first = apply->first, .answer = OFPTYPE_BUNDLE_CONTROL };

    if (FS_FAILPOINT_ERROR("bundle.before_commit")) {
        apply_discard(sw, apply);
        return openflow_fail(error, EREMOTEIO, "failpoint bundle.before_commit");
    }
    bundle.end = queue_control(&sw->connection, apply->id, OFPBCT_COMMIT_REQUEST);
    switch_note_change(sw);
    int status = connection_talk(&sw->connection, deadline, take_verdict, &bundle, error);
    switch_note_change(sw);
    status = !status && FS_FAILPOINT_ERROR("bundle.after_commit") ? ETIMEDOUT : status; /* the answer got lost */
    if (status) {
        return openflow_fail(error, status, "whether the changes are applied is unknown, it did not answer the commit");
    }
    return bundle.refusal ? describe_refusal(&bundle, error) : 0;
}

static uint32_t
queue_control(struct connection *c, uint32_t id, uint16_t type)
{
    struct ofputil_bundle_ctrl_msg control = { .bundle_id = id, .type = type, .flags = BUNDLE_FLAGS };
    return connection_queue(c, ofputil_encode_bundle_ctrl_request(c->version, &control));
}

static int
take_verdict(void *aux, const struct ofp_header *oh, bool *done, char **error)
{
    struct bundle *bundle = aux;
    uint32_t xid = ntohl(oh->xid);
    enum ofptype type;

    if (xid - bundle->first > bundle->end - bundle->first) {
        return 0;
    }
    if (ofptype_decode(&type, oh)) {
        return openflow_fail(error, EPROTO, "its answer is malformed (message of type %d)", oh->type);
    }
    if (type == OFPTYPE_ERROR && (!bundle->refusal || bundle->refusal == OFPERR_OFPBFC_MSG_FAILED)) {
        bundle->refusal = ofperr_decode_msg(oh, NULL);
        bundle->refusal = bundle->refusal ? bundle->refusal : OFPERR_OFPBFC_UNKNOWN;
        bundle->refused = xid;
    }
    *done = xid == bundle->end && (type == OFPTYPE_ERROR || type == bundle->answer);
    return 0;
}

/* Tells which change the switch refused, and how. */
static int
describe_refusal(const struct bundle *bundle, char **error)
{
    const struct apply *apply = bundle->apply;
    uint32_t i = bundle->refused - bundle->first - 1;
    const char *reason = ofperr_to_string(bundle->refusal);

    if (i < apply->n) {
        const char *text = apply->changes[i].text;
        return openflow_fail(error, EREMOTEIO, "it refused rule '%s': %s", text ? text : "", reason);
    }
    return openflow_fail(error, EREMOTEIO, "it refused the bundle: %s", reason);
}

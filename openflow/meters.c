/* The meters of a switch: which there are, whose they are, and changes of them.
 *
 * Open vSwitch takes meters neither into bundles nor with cookies.  So each change is a message of its own, a barrier tells the end, and whose a meter is stands in a
 * second band that no traffic reaches.  Meters are read in the same turn as they are changed, so none of somebody else's is touched by mistake. */

#include "openflow/meters.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <openvswitch/ofp-errors.h>
#include <openvswitch/ofp-meter.h>
#include <openvswitch/ofp-msgs.h>
#include <openvswitch/ofp-util.h>
#include <util.h>

#include <flowstream/failpoint.h>

#include "openflow/failure.h"

#define OUR_FLAGS (OFPMF13_KBPS | OFPMF13_BURST | OFPMF13_STATS)
#define OUR_BANDS 2

/* A talk: what is queued from 'first' on and a barrier, 'last', behind it. */
struct talk {
    uint32_t first, last;
    struct meter_list *list;           /* Of a question; NULL. */
    struct ofputil_meter_features *room;
    enum ofperr refusal;               /* The first error, or 0. */
    uint32_t refused;                  /* Which message that was for, counted from 0. */
};

static switch_operation read_room;
static switch_operation change_meters;
static switch_operation remove_meters;
static connection_take take_answer;

/* "meter 1000000012 (5000 kbit/s, burst 205 kbit)", owned. */
static char *
meter_text(const struct fs_meter *m)
{
    return xasprintf("meter %" PRIu32 " (%" PRIu32 " kbit/s, burst %" PRIu32 " kbit)", m->id, m->kbps, m->burst);
}

/* Whatever is queued since 'first', to its end. */
static int
finish(struct fs_switch *sw, struct talk *talk, int64_t deadline, char **error)
{
    talk->last = connection_queue(&sw->connection, ofputil_encode_barrier_request(sw->connection.version));
    return connection_talk(&sw->connection, deadline, take_answer, talk, error);
}

static uint32_t
ask(struct fs_switch *sw, enum ofputil_meter_request_type what)
{
    return connection_queue(&sw->connection, ofputil_encode_meter_request(sw->connection.version, what, OFPM13_ALL));
}

/* Answers. */

static struct fs_meter
read_config(const struct ofputil_meter_config *config)
{
    struct fs_meter m = { .id = config->meter_id };
    if (config->n_bands) {
        m.kbps = config->bands[0].rate;
        m.burst = config->bands[0].burst_size;
    }
    const struct ofputil_meter_band *sign = config->n_bands == OUR_BANDS ? &config->bands[1] : NULL;
    bool drops = sign && config->bands[0].type == OFPMBT13_DROP && sign->type == OFPMBT13_DROP && config->flags & OFPMF13_KBPS && config->flags & OFPMF13_BURST;
    m.ours = drops && sign->rate == FS_METER_SIGN && sign->burst_size & FS_METER_SIGN_BURST;
    m.allocation = m.ours ? sign->burst_size & ~FS_METER_SIGN_BURST : 0;
    return m;
}

static int
by_id(const void *a, const void *b)
{
    const struct fs_meter *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

struct fs_meter *
meters_find(const struct meter_list *list, uint32_t id)
{
    struct fs_meter like = { .id = id };
    return list->n ? bsearch(&like, list->meters, list->n, sizeof like, by_id) : NULL;
}

static int
take_configs(struct meter_list *list, struct ofpbuf *part)
{
    struct ofputil_meter_config config;
    struct ofpbuf bands;
    int status;

    ofpbuf_init(&bands, 64);
    while (!(status = ofputil_decode_meter_config(part, &config, &bands))) {
        if (list->n == list->allocated) {
            list->meters = x2nrealloc(list->meters, &list->allocated, sizeof *list->meters);
        }
        list->meters[list->n++] = read_config(&config);
    }
    ofpbuf_uninit(&bands);
    return status == EOF ? 0 : EPROTO;
}

/* The first counters come behind the last meter. */
static int
take_counters(struct meter_list *list, struct ofpbuf *part)
{
    struct ofputil_meter_stats stats;
    struct ofpbuf bands;
    int status;

    ofpbuf_init(&bands, 64);
    while (!(status = ofputil_decode_meter_stats(part, &stats, &bands))) {
        struct fs_meter *m = meters_find(list, stats.meter_id);
        if (!m) {
            continue;
        }
        m->rules = stats.flow_count;
        m->packets = stats.packet_in_count;
        m->bytes = stats.byte_in_count;
        for (size_t i = 0; i < stats.n_bands; i++) {
            m->dropped_packets += stats.bands[i].packet_count;
            m->dropped_bytes += stats.bands[i].byte_count;
        }
    }
    ofpbuf_uninit(&bands);
    return status == EOF ? 0 : EPROTO;
}

static void
sort(struct meter_list *list)
{
    if (list->n) {
        qsort(list->meters, list->n, sizeof *list->meters, by_id);
    }
}

static int
take_part(struct talk *talk, enum ofptype type, const struct ofp_header *oh, struct ofpbuf *part)
{
    if (type == OFPTYPE_METER_CONFIG_STATS_REPLY && talk->list) {
        int status = take_configs(talk->list, part);
        if (!ofpmp_more(oh)) {
            sort(talk->list);
        }
        return status;
    }
    if (type == OFPTYPE_METER_STATS_REPLY && talk->list) {
        return take_counters(talk->list, part);
    }
    if (type == OFPTYPE_METER_FEATURES_STATS_REPLY && talk->room) {
        ofputil_decode_meter_features(oh, talk->room);
    }
    return 0;
}

static int
take_answer(void *aux, const struct ofp_header *oh, bool *done, char **error)
{
    struct talk *talk = aux;
    uint32_t xid = ntohl(oh->xid);
    struct ofpbuf part = ofpbuf_const_initializer(oh, ntohs(oh->length));
    enum ofptype type;

    if (xid - talk->first > talk->last - talk->first) {
        return 0;
    }
    if (ofptype_pull(&type, &part)) {
        return openflow_fail(error, EPROTO, "its answer is malformed (message of type %d)", oh->type);
    }
    if (type == OFPTYPE_ERROR && !talk->refusal) {
        talk->refusal = ofperr_decode_msg(oh, NULL);
        talk->refusal = talk->refusal ? talk->refusal : OFPERR_OFPMMFC_UNKNOWN;
        talk->refused = xid - talk->first;
    }
    *done = xid == talk->last;
    return type != OFPTYPE_ERROR && take_part(talk, type, oh, &part) ? openflow_fail(error, EPROTO, "its list of meters is malformed") : 0;
}

/* Questions. */

int
meters_read(struct fs_switch *sw, void *aux, int64_t deadline, char **error)
{
    struct meter_list *list = aux;
    struct talk talk = { .list = list };

    list->n = 0;
    talk.first = ask(sw, OFPUTIL_METER_CONFIG);
    if (list->counters) {
        ask(sw, OFPUTIL_METER_STATS);
    }
    return finish(sw, &talk, deadline, error);
}

int
fs_switch_meters(struct fs_switch *sw, bool counters, struct fs_meter **meters, size_t *n, int deadline_ms, char **error)
{
    struct meter_list list = { .counters = counters };
    int status = switch_run(sw, meters_read, &list, deadline_ms, error);

    if (status) {
        free(list.meters);
        list = (struct meter_list) { 0 };
    }
    *meters = list.meters;
    *n = list.n;
    return status;
}

static int
read_room(struct fs_switch *sw, void *aux, int64_t deadline, char **error)
{
    struct ofputil_meter_features room = { 0 };
    struct talk talk = { .room = &room };
    uint32_t *most = aux;

    talk.first = ask(sw, OFPUTIL_METER_FEATURES);
    int status = finish(sw, &talk, deadline, error);
    bool fit = room.band_types & 1u << OFPMBT13_DROP && (room.capabilities & (OFPMF13_KBPS | OFPMF13_BURST)) == (OFPMF13_KBPS | OFPMF13_BURST) && room.max_bands >= OUR_BANDS;
    *most = !talk.refusal && fit ? room.max_meters : 0;
    return status;
}

int
fs_switch_meter_room(struct fs_switch *sw, uint32_t *most, int deadline_ms, char **error)
{
    *most = 0;
    return switch_run(sw, read_room, most, deadline_ms, error);
}

/* Changes. */

struct changing {
    const struct fs_meter_change *changes;
    size_t n;
};

/* 0, or what is against it in what the switch has; *needless: nothing is to be done. */
static int
check(const struct fs_meter_change *c, const struct fs_meter *there, bool *needless, char **error)
{
    *needless = c->op == FS_METER_DELETE && !there;
    if (c->op == FS_METER_ADD && there) {
        return openflow_fail(error, EEXIST, "meter %" PRIu32 " is there already%s", c->meter.id,
                             there->ours ? "" : ", and is not Flowstream's: remove it, or try again, for another id");
    }
    if (c->op != FS_METER_ADD && there && !there->ours && !c->adopt) {
        return openflow_fail(error, EPERM, "meter %" PRIu32 " is not Flowstream's: it is left alone", c->meter.id);
    }
    return 0;
}

static uint32_t
queue_change(struct fs_switch *sw, const struct fs_meter_change *c)
{
    static const uint16_t commands[] = { [FS_METER_ADD] = OFPMC13_ADD, [FS_METER_MODIFY] = OFPMC13_MODIFY, [FS_METER_DELETE] = OFPMC13_DELETE };
    struct ofputil_meter_band bands[OUR_BANDS] = {
        { .type = OFPMBT13_DROP, .rate = c->meter.kbps, .burst_size = c->meter.burst },
        { .type = OFPMBT13_DROP, .rate = FS_METER_SIGN, .burst_size = FS_METER_SIGN_BURST | c->meter.allocation },
    };
    bool gone = c->op == FS_METER_DELETE;
    struct ofputil_meter_mod mod = {
        .command = commands[c->op],
        .meter = { .meter_id = c->meter.id, .flags = gone ? 0 : OUR_FLAGS, .n_bands = gone ? 0 : OUR_BANDS, .bands = bands },
    };
    return connection_queue(&sw->connection, ofputil_encode_meter_mod(sw->connection.version, &mod));
}

/* Why a switch refuses a meter, in words where there are some. */
static const char *
explain(enum ofperr refusal)
{
    return refusal == OFPERR_OFPMMFC_OUT_OF_METERS ? "its table of meters is full"
           : refusal == OFPERR_OFPMMFC_INVALID_METER ? "it does not take meters of that number"
                                                     : ofperr_to_string(refusal);
}

static int
send_changes(struct fs_switch *sw, const struct fs_meter_change *const *changes, size_t n, int64_t deadline, char **error)
{
    struct talk talk = { 0 };
    for (size_t i = 0; i < n; i++) {
        uint32_t xid = queue_change(sw, changes[i]);
        talk.first = i ? talk.first : xid;
    }
    switch_note_change(sw);
    int status = n ? finish(sw, &talk, deadline, error) : 0;
    switch_note_change(sw);
    FS_FAILPOINT("meters.changed");
    if (!status && talk.refusal) {
        char *text = talk.refused < n ? meter_text(&changes[talk.refused]->meter) : xstrdup("its meters");
        status = openflow_fail(error, EREMOTEIO, "it refused %s: %s", text, explain(talk.refusal));
        free(text);
    }
    return status;
}

static int
change_meters(struct fs_switch *sw, void *aux, int64_t deadline, char **error)
{
    const struct changing *all = aux;
    const struct fs_meter_change **todo = xcalloc(all->n + 1, sizeof *todo);
    struct meter_list list = { 0 };
    size_t n = 0;
    int status = meters_read(sw, &list, deadline, error);
    for (size_t i = 0; i < all->n && !status; i++) {
        bool needless;
        status = check(&all->changes[i], meters_find(&list, all->changes[i].meter.id), &needless, error);
        todo[n] = &all->changes[i];
        n += !needless;
    }
    status = status ? status : send_changes(sw, todo, n, deadline, error);
    free(list.meters);
    free(todo);
    return status;
}

int
fs_switch_change_meters(struct fs_switch *sw, const struct fs_meter_change *changes, size_t n, int deadline_ms, char **error)
{
    struct changing all = { changes, n };
    if (error) {
        *error = NULL;
    }
    return n ? switch_run(sw, change_meters, &all, deadline_ms, error) : 0;
}

static int
remove_meters(struct fs_switch *sw, void *aux, int64_t deadline, char **error)
{
    uint32_t allocation = *(const uint32_t *) aux;
    struct meter_list list = { 0 };
    int status = meters_read(sw, &list, deadline, error);
    struct fs_meter_change *changes = xcalloc(list.n + 1, sizeof *changes);
    const struct fs_meter_change **todo = xcalloc(list.n + 1, sizeof *todo);
    size_t n = 0;
    for (size_t i = 0; i < list.n && !status; i++) {
        if (list.meters[i].ours && list.meters[i].allocation == allocation) {
            changes[n] = (struct fs_meter_change) { FS_METER_DELETE, list.meters[i], false };
            todo[n] = &changes[n];
            n++;
        }
    }
    status = status ? status : send_changes(sw, todo, n, deadline, error);
    free(todo);
    free(changes);
    free(list.meters);
    return status;
}

int
fs_switch_remove_meters(struct fs_switch *sw, uint32_t allocation, int deadline_ms, char **error)
{
    return switch_run(sw, remove_meters, &allocation, deadline_ms, error);
}

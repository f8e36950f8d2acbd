/* A switch: whose turn it is, whether the connection lives, and plain questions to it.
 *
 * fs_switch_apply() is in apply.c, fs_switch_rules() in rules.c and fs_switch_ports() in ports.c; all of them run through
 * switch_run() here, which waits for its turn, opens or revives the connection and completes the error messages. */

#include "openflow/switch.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openvswitch/ofp-errors.h>
#include <openvswitch/ofp-switch.h>
#include <util.h>

#include <flowstream/openflow.h>

#include "openflow/failure.h"

/* An answer larger than this is not of a switch that means well. */
#define MAX_ANSWER ((size_t) 512 * 1024 * 1024)

static int take_turn(struct fs_switch *, int64_t deadline, char **error);
static int run_connected(struct fs_switch *, switch_operation *, void *aux, int64_t deadline, char **error);

struct fs_switch *
fs_switch_new(const char *name, const char *target)
{
    struct fs_switch *sw = xzalloc(sizeof *sw);

    sw->name = xstrdup(name);
    sw->target = xstrdup(target);
    pthread_mutex_init(&sw->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&sw->idle, &monotonic);
    pthread_condattr_destroy(&monotonic);
    connection_init(&sw->connection);
    return sw;
}

void
fs_switch_destroy(struct fs_switch *sw)
{
    if (sw) {
        connection_close(&sw->connection);
        pthread_cond_destroy(&sw->idle);
        pthread_mutex_destroy(&sw->lock);
        free(sw->watch.down);
        free(sw->target);
        free(sw->name);
        free(sw);
    }
}

const char *
fs_switch_name(const struct fs_switch *sw)
{
    return sw->name;
}

int
switch_run(struct fs_switch *sw, switch_operation *operation, void *aux, int deadline_ms, char **error)
{
    int64_t deadline = connection_now() + deadline_ms;
    char *reason = NULL;

    int status = take_turn(sw, deadline, &reason);
    if (!status) {
        status = run_connected(sw, operation, aux, deadline, &reason);
        switch_end_turn(sw);
    }

    if (error) {
        *error = NULL;
    }
    if (status == ETIMEDOUT) {
        openflow_fail(error, status, "switch %s (%s): %s within %d ms", sw->name, sw->target, reason, deadline_ms);
    } else if (status) {
        openflow_fail(error, status, "switch %s (%s): %s", sw->name, sw->target, reason ? reason : strerrordesc_np(status));
    }
    free(reason);
    return status;
}

static int
take_turn(struct fs_switch *sw, int64_t deadline, char **error)
{
    struct timespec t = { .tv_sec = deadline / 1000, .tv_nsec = deadline % 1000 * 1000000 };
    int status = 0;

    pthread_mutex_lock(&sw->lock);
    while (sw->busy && !status) {
        status = pthread_cond_timedwait(&sw->idle, &sw->lock, &t);
    }
    if (!sw->busy) {
        sw->busy = true;
        status = 0;
    }
    pthread_mutex_unlock(&sw->lock);
    return status ? openflow_fail(error, status, "earlier requests to it are not done") : 0;
}

bool
switch_try_turn(struct fs_switch *sw)
{
    return !take_turn(sw, connection_now(), NULL);
}

void
switch_end_turn(struct fs_switch *sw)
{
    pthread_mutex_lock(&sw->lock);
    sw->busy = false;
    pthread_cond_signal(&sw->idle);
    pthread_mutex_unlock(&sw->lock);
}

void
switch_note_change(struct fs_switch *sw)
{
    sw->changed = connection_now();
}

int64_t
fs_switch_quiet(struct fs_switch *sw)
{
    return connection_now() - sw->changed;
}

/* A kept connection may be dead without our knowing: an operation that finds out so is done once more. */
static int
run_connected(struct fs_switch *sw, switch_operation *operation, void *aux, int64_t deadline, char **error)
{
    struct connection *c = &sw->connection;
    int status;

    if (connection_is_alive(c)) {
        status = operation(sw, aux, deadline, error);
        if (!status || c->fd >= 0 || !c->lost) {
            return status;
        }
        free(*error);
        *error = NULL;
    }
    status = connection_open(c, sw->target, deadline, error);
    return status ? status : operation(sw, aux, deadline, error);
}

/* Questions. */

struct asking {
    struct connection *connection;
    struct switch_question *questions;
    size_t n, unanswered, size;
};

static int take_answer(void *aux, const struct ofp_header *, bool *done, char **error);

int
switch_ask(struct fs_switch *sw, struct switch_question *questions, size_t n, int64_t deadline, char **error)
{
    struct asking asking = { .connection = &sw->connection, .questions = questions, .n = n, .unanswered = n };

    for (size_t i = 0; i < n; i++) {
        questions[i].answered = false;
        questions[i].xid = connection_queue(&sw->connection, questions[i].request);
        questions[i].request = NULL;
    }
    return connection_talk(&sw->connection, deadline, take_answer, &asking, error);
}

static int
take_answer(void *aux, const struct ofp_header *oh, bool *done, char **error)
{
    struct asking *asking = aux;
    uint32_t first = asking->questions[0].xid;
    uint32_t which = ntohl(oh->xid) - first;

    if (which >= asking->n || asking->questions[which].answered) {
        return 0;   /* Not ours: something that the switch tells unasked. */
    }

    struct switch_question *q = &asking->questions[which];
    struct ofpbuf part = ofpbuf_const_initializer(oh, ntohs(oh->length));
    enum ofptype type;
    enum ofperr wrong = ofptype_pull(&type, &part);
    if (!wrong && type == OFPTYPE_ERROR) {
        return openflow_fail(error, EREMOTEIO, "it refused a question: %s", ofperr_to_string(ofperr_decode_msg(oh, NULL)));
    }
    asking->size += ntohs(oh->length);
    if (wrong || type != q->answer || asking->size > MAX_ANSWER) {
        return openflow_fail(error, EPROTO, "its answer is malformed (message of type %d, %d bytes)", oh->type,
                             ntohs(oh->length));
    }

    int status = q->reply(q->aux, &part, error);
    if (!status && !(ofpmsg_is_stat_reply(oh) && ofpmp_more(oh))) {
        q->answered = true;
        *done = !--asking->unanswered;
    }
    return status;
}

/* Watching it. */

static int
look_at_ports(struct fs_switch *sw, int deadline_ms, char **error)
{
    struct fs_switch_watch now = { .session = sw->connection.session };
    struct switch_question question = switch_ask_watch(sw, &now);

    sw->connection.ports_changed = false; /* Before it is asked: what changes meanwhile is asked for again. */
    int status = switch_ask(sw, &question, 1, connection_now() + deadline_ms, error);
    if (!status) {
        free(sw->watch.down);
        sw->watch = now;
    } else {
        free(now.down);
    }
    return status;
}

int
fs_switch_watch(struct fs_switch *sw, int deadline_ms, struct fs_switch_watch *watch, char **error)
{
    char *reason = NULL;
    int status = 0;

    if (switch_try_turn(sw)) {
        if (!connection_is_alive(&sw->connection)) {
            sw->watch.session = 0;
        } else if (sw->connection.ports_changed || sw->watch.session != sw->connection.session) {
            status = look_at_ports(sw, deadline_ms, &reason);
        }
        *watch = sw->watch;
        watch->down = xstrdup(sw->watch.down ? sw->watch.down : "");
        switch_end_turn(sw);
    } else {
        *watch = (struct fs_switch_watch) { 0 }; /* Somebody is at work there: what he does may change all. */
    }
    if (status) {
        openflow_fail(error, status, "switch %s (%s): %s", sw->name, sw->target, reason ? reason : strerrordesc_np(status));
    }
    free(reason);
    return status;
}

bool
fs_switch_descriptor(struct fs_switch *sw, int *fd)
{
    bool mine = switch_try_turn(sw);
    *fd = mine ? sw->connection.fd : -1;
    if (mine) {
        switch_end_turn(sw);
    }
    return mine;
}

/* Who it is. */

static switch_operation probe;
static int take_features(void *aux, struct ofpbuf *, char **error);
static int take_description(void *aux, struct ofpbuf *, char **error);

int
fs_switch_probe(struct fs_switch *sw, int deadline_ms, struct fs_switch_info *info, char **error)
{
    *info = (struct fs_switch_info) { 0 };
    return switch_run(sw, probe, info, deadline_ms, error);
}

static int
probe(struct fs_switch *sw, void *aux, int64_t deadline, char **error)
{
    struct fs_switch_info *info = aux;
    uint8_t version = sw->connection.version;
    struct switch_question questions[] = {
        { .request = ofpraw_alloc(OFPRAW_OFPT_FEATURES_REQUEST, version, 0), .answer = OFPTYPE_FEATURES_REPLY,
          .reply = take_features, .aux = info },
        { .request = ofpraw_alloc(OFPRAW_OFPST_DESC_REQUEST, version, 0), .answer = OFPTYPE_DESC_STATS_REPLY,
          .reply = take_description, .aux = info },
    };

    info->version = version;
    return switch_ask(sw, questions, ARRAY_SIZE(questions), deadline, error);
}

static int
take_features(void *aux, struct ofpbuf *part, char **error)
{
    struct fs_switch_info *info = aux;
    struct ofputil_switch_features features;
    struct ofpbuf whole = ofpbuf_const_initializer(part->header, ntohs(((const struct ofp_header *) part->header)->length));

    if (ofputil_pull_switch_features(&whole, &features)) {
        return openflow_fail(error, EPROTO, "its features are malformed");
    }
    info->datapath_id = features.datapath_id;
    info->n_tables = features.n_tables;
    return 0;
}

static int
take_description(void *aux, struct ofpbuf *part, char **error)
{
    struct fs_switch_info *info = aux;
    const struct ofp_desc_stats *d = ofpbuf_try_pull(part, sizeof *d);

    if (!d) {
        return openflow_fail(error, EPROTO, "its description is malformed");
    }
    snprintf(info->description, sizeof info->description, "%.100s %.100s %.100s", d->mfr_desc, d->hw_desc, d->sw_desc);
    openflow_make_printable(info->description);
    return 0;
}

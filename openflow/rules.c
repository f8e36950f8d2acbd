/* The rules of a switch with their counters. */

#include <errno.h>
#include <stdlib.h>

#include <byte-order.h>
#include <openvswitch/dynamic-string.h>
#include <openvswitch/ofp-actions.h>
#include <openvswitch/ofp-flow.h>
#include <util.h>

#include <flowstream/openflow.h>

#include "openflow/failure.h"
#include "openflow/switch.h"

struct rule_list {
    uint64_t cookie, mask;
    struct ofputil_port_map map;
    struct fs_rule *rules;
    size_t n, allocated;
};

static switch_operation read_rules;
static int take_rules(void *aux, struct ofpbuf *, char **error);
static void append_rule(struct rule_list *, const struct ofputil_flow_stats *);

int
fs_switch_rules(struct fs_switch *sw, uint64_t cookie, uint64_t mask, struct fs_rule **rules, size_t *n, int deadline_ms,
                char **error)
{
    struct rule_list list = { .cookie = cookie, .mask = mask };

    ofputil_port_map_init(&list.map);
    int status = switch_run(sw, read_rules, &list, deadline_ms, error);
    ofputil_port_map_destroy(&list.map);
    if (status) {
        fs_rules_free(list.rules, list.n);
        list.rules = NULL;
        list.n = 0;
    }
    *rules = list.rules;
    *n = list.n;
    return status;
}

void
fs_rules_free(struct fs_rule *rules, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(rules[i].match);
        free(rules[i].actions);
    }
    free(rules);
}

/* The ports are asked for first, so that their names are known when the rules come. */
static int
read_rules(struct fs_switch *sw, void *aux, int64_t deadline, char **error)
{
    struct rule_list *list = aux;
    struct ofputil_flow_stats_request request = {
        .match = MATCH_CATCHALL_INITIALIZER, .cookie = htonll(list->cookie & list->mask), .cookie_mask = htonll(list->mask),
        .out_port = OFPP_ANY, .out_group = OFPG_ANY, .table_id = 0xff,
    };
    enum ofputil_protocol protocol = ofputil_protocol_from_ofp_version(sw->connection.version);
    struct switch_question questions[] = {
        switch_ask_ports(sw, &list->map),
        { .request = ofputil_encode_flow_stats_request(&request, protocol), .answer = OFPTYPE_FLOW_STATS_REPLY,
          .reply = take_rules, .aux = list },
    };

    ofputil_port_map_destroy(&list->map);
    ofputil_port_map_init(&list->map);
    fs_rules_free(list->rules, list->n);
    list->rules = NULL;
    list->n = list->allocated = 0;
    return switch_ask(sw, questions, ARRAY_SIZE(questions), deadline, error);
}

static int
take_rules(void *aux, struct ofpbuf *part, char **error)
{
    struct ofputil_flow_stats stats;
    struct ofpbuf actions;
    int status;

    ofpbuf_init(&actions, 64);
    while (!(status = ofputil_decode_flow_stats_reply(&stats, part, false, &actions))) {
        append_rule(aux, &stats);
    }
    ofpbuf_uninit(&actions);
    return status == EOF ? 0 : openflow_fail(error, EPROTO, "its list of rules is malformed");
}

static void
append_rule(struct rule_list *list, const struct ofputil_flow_stats *stats)
{
    struct ds actions = DS_EMPTY_INITIALIZER;
    struct ofpact_format_params params = { .port_map = &list->map, .s = &actions };

    if (list->n == list->allocated) {
        list->rules = x2nrealloc(list->rules, &list->allocated, sizeof *list->rules);
    }
    ofpacts_format(stats->ofpacts, stats->ofpacts_len, &params);
    list->rules[list->n++] = (struct fs_rule) {
        .table = stats->table_id, .priority = stats->priority, .cookie = ntohll(stats->cookie),
        .match = match_to_string(&stats->match, &list->map, OFP_DEFAULT_PRIORITY), .actions = ds_steal_cstr(&actions),
        .packets = stats->packet_count, .bytes = stats->byte_count,
        .duration = stats->duration_sec + stats->duration_nsec / 1e9,
    };
}

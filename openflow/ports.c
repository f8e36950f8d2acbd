/* The ports of a switch: their names for those who write rules, their counters for those who watch. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <flow.h>
#include <hash.h>
#include <openvswitch/ofp-port.h>
#include <util.h>

#include <flowstream/openflow.h>

#include "openflow/failure.h"
#include "openflow/switch.h"

struct port_list {
    struct fs_port *ports;
    size_t n, allocated;
};

static switch_operation read_ports;
static int take_watch(void *aux, struct ofpbuf *, char **error);
static int take_names(void *aux, struct ofpbuf *, char **error);
static int take_descriptions(void *aux, struct ofpbuf *, char **error);
static int take_counters(void *aux, struct ofpbuf *, char **error);
static int compare_numbers(const void *, const void *);

struct switch_question
switch_ask_ports(struct fs_switch *sw, struct ofputil_port_map *map)
{
    return (struct switch_question) {
        .request = ofputil_encode_port_desc_stats_request(sw->connection.version, OFPP_ANY),
        .answer = OFPTYPE_PORT_DESC_STATS_REPLY, .reply = take_names, .aux = map,
    };
}

struct switch_question
switch_ask_watch(struct fs_switch *sw, struct fs_switch_watch *ports)
{
    return (struct switch_question) {
        .request = ofputil_encode_port_desc_stats_request(sw->connection.version, OFPP_ANY),
        .answer = OFPTYPE_PORT_DESC_STATS_REPLY, .reply = take_watch, .aux = ports,
    };
}

static bool
is_up(const struct ofputil_phy_port *port)
{
    return !(port->config & OFPUTIL_PC_PORT_DOWN) && !(port->state & OFPUTIL_PS_LINK_DOWN);
}

/* Ports come in any order, so their fingerprints are added up. */
static int
take_watch(void *aux, struct ofpbuf *part, char **error)
{
    struct fs_switch_watch *watch = aux;
    struct ofputil_phy_port port;
    uint8_t version = ((const struct ofp_header *) part->header)->version;
    int status;

    while (!(status = ofputil_pull_phy_port(version, part, &port))) {
        watch->ports += hash_bytes64((const uint64_t *) &(uint64_t) { ofp_to_u16(port.port_no) }, sizeof(uint64_t), hash_string(port.name, 0)) * UINT64_C(0x9e3779b97f4a7c15);
        openflow_make_printable(port.name);
        if (!is_up(&port)) {
            char *more = xasprintf("%s%s ", watch->down ? watch->down : "", port.name);
            free(watch->down);
            watch->down = more;
        }
    }
    return status == EOF ? 0 : openflow_fail(error, EPROTO, "its list of ports is malformed");
}

static int
take_names(void *aux, struct ofpbuf *part, char **error)
{
    struct ofputil_phy_port port;
    uint8_t version = ((const struct ofp_header *) part->header)->version;
    int status;

    while (!(status = ofputil_pull_phy_port(version, part, &port))) {
        openflow_make_printable(port.name);
        ofputil_port_map_put(aux, port.port_no, port.name);
    }
    return status == EOF ? 0 : openflow_fail(error, EPROTO, "its list of ports is malformed");
}

int
fs_switch_ports(struct fs_switch *sw, struct fs_port **ports, size_t *n, int deadline_ms, char **error)
{
    struct port_list list = { 0 };
    int status = switch_run(sw, read_ports, &list, deadline_ms, error);

    if (status) {
        free(list.ports);
        list = (struct port_list) { 0 };
    }
    *ports = list.ports;
    *n = list.n;
    return status;
}

/* The descriptions are sent before the counters, and answered so. */
static int
read_ports(struct fs_switch *sw, void *aux, int64_t deadline, char **error)
{
    struct port_list *list = aux;
    uint8_t version = sw->connection.version;
    struct switch_question questions[] = {
        { .request = ofputil_encode_port_desc_stats_request(version, OFPP_ANY), .answer = OFPTYPE_PORT_DESC_STATS_REPLY,
          .reply = take_descriptions, .aux = list },
        { .request = ofputil_encode_dump_ports_request(version, OFPP_ANY), .answer = OFPTYPE_PORT_STATS_REPLY,
          .reply = take_counters, .aux = list },
    };

    list->n = 0;
    int status = switch_ask(sw, questions, ARRAY_SIZE(questions), deadline, error);
    if (!status && list->n) {
        qsort(list->ports, list->n, sizeof *list->ports, compare_numbers);
    }
    return status;
}

static int
take_descriptions(void *aux, struct ofpbuf *part, char **error)
{
    struct port_list *list = aux;
    struct ofputil_phy_port port;
    uint8_t version = ((const struct ofp_header *) part->header)->version;
    int status;

    while (!(status = ofputil_pull_phy_port(version, part, &port))) {
        if (list->n == list->allocated) {
            list->ports = x2nrealloc(list->ports, &list->allocated, sizeof *list->ports);
        }
        struct fs_port *p = &list->ports[list->n++];
        *p = (struct fs_port) {
            .number = ofp_to_u16(port.port_no),
            .up = is_up(&port),
            .rx_packets = UINT64_MAX, .tx_packets = UINT64_MAX, .rx_bytes = UINT64_MAX, .tx_bytes = UINT64_MAX,
            .rx_dropped = UINT64_MAX, .tx_dropped = UINT64_MAX,
        };
        snprintf(p->name, sizeof p->name, "%.15s", port.name);
        openflow_make_printable(p->name);
    }
    return status == EOF ? 0 : openflow_fail(error, EPROTO, "its list of ports is malformed");
}

static int
take_counters(void *aux, struct ofpbuf *part, char **error)
{
    struct port_list *list = aux;
    struct ofputil_port_stats s;
    int status;

    while (!(status = ofputil_decode_port_stats(&s, part))) {
        for (struct fs_port *p = list->ports; p < list->ports + list->n; p++) {
            if (p->number == ofp_to_u16(s.port_no)) {
                p->rx_packets = s.stats.rx_packets;
                p->tx_packets = s.stats.tx_packets;
                p->rx_bytes = s.stats.rx_bytes;
                p->tx_bytes = s.stats.tx_bytes;
                p->rx_dropped = s.stats.rx_dropped;
                p->tx_dropped = s.stats.tx_dropped;
            }
        }
        free(s.custom_stats.counters);
    }
    return status == EOF ? 0 : openflow_fail(error, EPROTO, "its counters of ports are malformed");
}

static int
compare_numbers(const void *a_, const void *b_)
{
    const struct fs_port *a = a_, *b = b_;
    return a->number < b->number ? -1 : a->number > b->number;
}

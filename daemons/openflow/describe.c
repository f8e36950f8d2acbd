/* Rules and ports of a switch as values, for get_rules and get_statistics. Counters are doubles. */
#include "config.h"

#include "daemons/openflow/describe.h"

#include <stdlib.h>

xmlrpc_value *
openflow_rules(struct fs_switch *sw, uint64_t cookie, uint64_t mask, int ms, char **error)
{
    struct fs_rule *rules = NULL;
    size_t n = 0;
    if (fs_switch_rules(sw, cookie, mask, &rules, &n, ms, error)) {
        return NULL;
    }
    xmlrpc_value *all = fs_array();
    for (size_t i = 0; i < n; i++) {
        xmlrpc_value *v = fs_struct();
        fs_set(v, "allocation", fs_stringf("%u", fs_cookie_allocation(rules[i].cookie)));
        fs_set(v, "table", fs_stringf("%u", rules[i].table));
        fs_set(v, "priority", fs_stringf("%u", rules[i].priority));
        fs_set(v, "match", fs_string(rules[i].match));
        fs_set(v, "actions", fs_string(rules[i].actions));
        fs_set(v, "packets", fs_double((double) rules[i].packets));
        fs_set(v, "bytes", fs_double((double) rules[i].bytes));
        fs_append(all, fs_set(v, "seconds", fs_double(rules[i].duration)));
    }
    fs_rules_free(rules, n);
    return all;
}

static xmlrpc_value *
counter(uint64_t n)
{
    return fs_double(n == UINT64_MAX ? 0.0 : (double) n);
}

xmlrpc_value *
openflow_ports(struct fs_switch *sw, int ms, char **error)
{
    struct fs_port *ports = NULL;
    size_t n = 0;
    if (fs_switch_ports(sw, &ports, &n, ms, error)) {
        return NULL;
    }
    xmlrpc_value *all = fs_array();
    for (size_t i = 0; i < n; i++) {
        xmlrpc_value *v = fs_struct();
        fs_set(v, "port", fs_string(ports[i].name));
        fs_set(v, "up", fs_int(ports[i].up));
        fs_set(v, "rx_packets", counter(ports[i].rx_packets));
        fs_set(v, "tx_packets", counter(ports[i].tx_packets));
        fs_set(v, "rx_bytes", counter(ports[i].rx_bytes));
        fs_set(v, "tx_bytes", counter(ports[i].tx_bytes));
        fs_set(v, "rx_dropped", counter(ports[i].rx_dropped));
        fs_append(all, fs_set(v, "tx_dropped", counter(ports[i].tx_dropped)));
    }
    free(ports);
    return all;
}

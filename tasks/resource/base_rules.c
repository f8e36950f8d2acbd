/* base_rules: the rules that every switch of the platform has, whatever is installed (allocation 0).
 *
 * Table 0 is left to capture rules and goes on to table 10.  Tagged frames are believed only where they come from a switch or a host, never from the network.
 * What no request claims, and ARP, passes as the platform file says. */
#include <stdlib.h>
#include <string.h>

#include <flowstream/method.h>

#include "daemons/resource/resource.h"

static void
add_tagged(xmlrpc_value *rules, const char *port)
{
    fs_append(rules, fs_stringf("table=10,priority=60000,in_port=%s,dl_type=0x894f,actions=goto_table:20", port));
}

/* One hop of what no request claims, from a port of one switch to a port of another; the headers are those that generate_rules puts on. */
static void
add_carry(xmlrpc_value *rules, const xmlrpc_value *hop)
{
    const char *kind = fs_get_string(hop, "kind", ""), *in = fs_get_string(hop, "in", ""), *out = fs_get_string(hop, "out", "");
    unsigned spi = (unsigned) fs_get_int(hop, "spi", 0);
    if (!strcmp(kind, "entry")) {
        static const char *const whats[] = { "priority=50000,arp,", "priority=1," };
        for (size_t i = 0; i < 2; i++) {
            fs_append(rules, fs_stringf("table=10,%sin_port=%s,actions=encap(nsh(md_type=2)),set_field:0x%x->nsh_spi,set_field:255->nsh_si,"
                                        "encap(ethernet),set_field:02:f5:00:00:00:01->eth_dst,set_field:02:f5:00:00:00:02->eth_src,output:%s",
                                        whats[i], in, spi, out));
        }
    } else {
        fs_append(rules, fs_stringf("table=20,priority=100,in_port=%s,dl_type=0x894f,nsh_spi=0x%x,nsh_si=255,actions=%soutput:%s", in, spi,
                                    strcmp(kind, "exit") ? "" : "decap(),decap(),", out));
    }
}

static xmlrpc_value *
rules_of(const xmlrpc_value *sw)
{
    xmlrpc_value *rules = fs_array();
    fs_append(rules, fs_string("table=0,priority=0,actions=goto_table:10"));
    const xmlrpc_value *inner = fs_get(sw, "inner"), *forward = fs_get(sw, "forward"), *carry = fs_get(sw, "carry");
    for (size_t i = 0; i < fs_size(inner); i++) {
        add_tagged(rules, fs_text(fs_item(inner, i), ""));
    }
    if (*fs_get_string(sw, "trunk", "")) {
        add_tagged(rules, fs_get_string(sw, "trunk", ""));
    }
    for (size_t i = 0; i < fs_size(forward); i++) {
        const char *in = fs_get_string(fs_item(forward, i), "in", ""), *out = fs_get_string(fs_item(forward, i), "out", "");
        fs_append(rules, fs_stringf("table=10,priority=50000,in_port=%s,arp,actions=output:%s", in, out));
        fs_append(rules, fs_stringf("table=10,priority=1,in_port=%s,actions=output:%s", in, out));
    }
    for (size_t i = 0; i < fs_size(carry); i++) {
        add_carry(rules, fs_item(carry, i));
    }
    return rules;
}

static void
run(struct fs_call *call)
{
    xmlrpc_value *switches = resource_switches(fs_call_state(call)), *list = fs_array();
    for (size_t i = 0; i < fs_size(switches); i++) {
        const xmlrpc_value *sw = fs_item(switches, i);
        xmlrpc_value *v = fs_struct();
        fs_set(v, "switch", fs_string(fs_get_string(sw, "name", "")));
        fs_set(v, "target", fs_string(fs_get_string(sw, "target", "")));
        fs_append(list, fs_set(v, "rules", rules_of(sw)));
    }
    fs_free(switches);
    fs_call_return(call, list);
}

FS_TASK = {
    FS_IS_TASK,
    .name = "base_rules",
    .help = "Makes the rules that every switch of the platform has: [{switch, target, rules}]. Changes nothing.",
    .params = { { "parameter", "any?", "not used" } },
    .returns = "array",
    .idempotent = true,
    .run = run,
};

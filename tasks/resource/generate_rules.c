/* generate_rules: the rules of each switch for one plan.
 *
 * Tables: 0 is left to capture rules and goes on to 10; 10 says what traffic is: matches of FromNets, tagged frames, and what nobody claims; 12 and 14: what comes
 * in for a module of several instances is given one by flow, and put on that one's path; 20 forwards tagged frames.  A flow has a service path of its own (RFC 8300):
 * where it enters, its frames get a Network Service Header with the flow's path identifier and an outer Ethernet header; every switch on the path sends
 * them on by it; where it leaves to the network both headers are taken off.  docs/nsh-on-ovs.md has the facts.
 * Rules needed: one a switch that the flow crosses, the bridges of hosts included.  Those that let in a flow for which choose_meters has chosen one use its meter.
 *
 * Switches with rules that let traffic in come last, so that the rest of the path is there when the first packet comes. */
#include <stdlib.h>
#include <string.h>

#include <flowstream/method.h>

#include "core/util.h"
#include "daemons/resource/byhand.h"

enum { ENTRY_PRIORITY = 10000 };

struct maker {
    struct resource *resource;
    const xmlrpc_value *plan, *request;
    xmlrpc_value *switches;                       /* as resource_switches() */
    struct {
        xmlrpc_value *rules;
        bool entry;
    } *out;                                       /* by index in switches */
    char *error;
};

static size_t
index_of(struct maker *m, const char *key, const char *value)
{
    for (size_t i = 0; i < fs_size(m->switches); i++) {
        if (!strcmp(fs_get_string(fs_item(m->switches, i), key, ""), value)) {
            return i;
        }
    }
    if (!m->error) {
        m->error = fs_xasprintf("no switch of %s is known: has its host registered?", value);
    }
    return 0;
}

static void
add(struct maker *m, size_t at, char *rule /* taken */)
{
    if (!m->error) {
        fs_append(m->out[at].rules, fs_string(rule));
    }
    free(rule);
}

static char *
port(struct maker *m, const char *from, const char *to)
{
    char *name = resource_port(m->resource, from, to);
    return name ? name : fs_xstrdup("none");
}

/* The words of a match but in_port, each with a comma before it. */
static char *
rest_of_match(const char *match)
{
    struct fs_text t = { 0 };
    char *copy = fs_xstrdup(match), *rest = NULL;
    for (char *word = strtok_r(copy, ", \t\n", &rest); word; word = strtok_r(NULL, ", \t\n", &rest)) {
        if (strncmp(word, "in_port=", 8)) {
            fs_text_addf(&t, ",%s", word);
        }
    }
    free(copy);
    return t.text ? t.text : fs_xstrdup("");
}

static const xmlrpc_value *
node_named(const xmlrpc_value *request, const char *name)
{
    const xmlrpc_value *nodes = fs_get(request, "nodes");
    for (size_t i = 0; i < fs_size(nodes); i++) {
        if (!strcmp(fs_get_string(fs_item(nodes, i), "name", ""), name)) {
            return fs_item(nodes, i);
        }
    }
    return NULL;
}

/* The rule that puts packets on the flow's path.  'match' is all that stands before the actions, 'meter' the first of them with a comma, or "". */
static void
add_encapsulation(struct maker *m, size_t at, const char *match, const char *meter, const xmlrpc_value *flow, const char *output)
{
    add(m, at, fs_xasprintf("%s,actions=%sencap(nsh(md_type=2)),set_field:0x%x->nsh_spi,set_field:255->nsh_si,encap(ethernet),"
                            "set_field:02:f5:00:00:00:01->eth_dst,set_field:02:f5:00:00:00:02->eth_src,%s", match, meter, (unsigned) fs_get_int(flow, "spi", 0), output));
}

/* The flow to the first instance, of those that packets are spread over where they come in. */
static const xmlrpc_value *
first_choice(const struct maker *m, const xmlrpc_value *flow)
{
    const xmlrpc_value *flows = fs_get(m->plan, "flows");
    for (size_t i = 0; i < fs_size(flows); i++) {
        const xmlrpc_value *f = fs_item(flows, i);
        if (fs_get_int(f, "choice", 0) == 1 && !strcmp(fs_get_string(f, "io", ""), fs_get_string(flow, "io", ""))
            && !strcmp(fs_get_string(f, "from", ""), fs_get_string(flow, "from", ""))) {
            return f;
        }
    }
    return flow;
}

static void
add_hash(struct maker *m, size_t at, int priority, unsigned key, const char *match, const char *fields, int choices)
{
    add(m, at, fs_xasprintf("table=%d,priority=%d,reg0=0x%x%s,actions=multipath(%s,0,modulo_n,%d,0,NXM_NX_REG1[]),goto_table:%d", RESOURCE_TABLE_SPREAD, priority, key,
                            match, fields, choices, RESOURCE_TABLE_CHOOSE));
}

/* Where traffic for several instances comes in: register 0 says whose it is (the first instance's path), register 1 becomes the number of the instance, by flow.  The
 * two hashes are those of pm/spread.h.  A rule for each instance, and four. */
static void
add_spread(struct maker *m, size_t at, const char *match, const char *meter, const xmlrpc_value *flow, const char *output)
{
    const xmlrpc_value *first = first_choice(m, flow);
    unsigned key = (unsigned) fs_get_int(first, "spi", 0);
    int choices = fs_get_int(flow, "choices", 1), choice = fs_get_int(flow, "choice", 1);
    if (strcmp(fs_text(fs_item(fs_get(first, "path"), 1), ""), fs_text(fs_item(fs_get(flow, "path"), 1), ""))) {
        m->error = m->error ? m->error : fs_xasprintf("the placement step lets traffic of '%s' enter by two switches: it is spread at one", fs_get_string(flow, "from", ""));
        return;
    }
    if (choice == 1) {
        add(m, at, fs_xasprintf("%s,actions=%sset_field:0x%x->reg0,goto_table:%d", match, meter, key, RESOURCE_TABLE_SPREAD));
        add_hash(m, at, 200, key, ",ipv6,ip_frag=first", "symmetric_l3", choices);
        add_hash(m, at, 200, key, ",ipv6,ip_frag=later", "symmetric_l3", choices);
        add_hash(m, at, 100, key, "", "symmetric_l3l4+udp", choices);
    }
    char *chosen = fs_xasprintf("table=%d,priority=100,reg0=0x%x,reg1=%d", RESOURCE_TABLE_CHOOSE, key, choice - 1);
    add_encapsulation(m, at, chosen, "", flow, output);
    free(chosen);
}

/* Where traffic comes in from the network. */
static void
add_entry(struct maker *m, size_t at, const xmlrpc_value *flow, const char *in, const char *out, bool leaves_here)
{
    const xmlrpc_value *from = node_named(m->request, fs_get_string(flow, "from", ""));
    int table = resource_entry_table(m->request);
    int priority = ENTRY_PRIORITY + atoi(fs_get_string(fs_get(m->request, "headers"), "PRIORITY", "0"));
    char *match = rest_of_match(fs_get_string(from, "match", ""));
    char *output = strcmp(in, out) ? fs_xasprintf("output:%s", out) : fs_xstrdup("in_port");
    char *meter = fs_get_int(flow, "meter", 0) > 0 ? fs_xasprintf("meter:%d,", fs_get_int(flow, "meter", 0)) : fs_xstrdup("");
    char *head = fs_xasprintf("table=%d,priority=%d,in_port=%s%s", table, priority, in, match);
    if (leaves_here) {
        add(m, at, fs_xasprintf("%s,actions=%s%s", head, meter, output));
    } else if (fs_get_int(flow, "choices", 1) > 1) {
        add_spread(m, at, head, meter, flow, output);
    } else {
        add_encapsulation(m, at, head, meter, flow, output);
    }
    free(head);
    free(meter);
    if (!m->error) {
        m->out[at].entry = true;
    }
    free(match);
    free(output);
}

static void
add_transit(struct maker *m, size_t at, const xmlrpc_value *flow, const char *in, const char *out, bool leaves_here)
{
    char *output = strcmp(in, out) ? fs_xasprintf("output:%s", out) : fs_xstrdup("in_port");
    add(m, at, fs_xasprintf("table=%d,priority=100,in_port=%s,dl_type=0x894f,nsh_spi=0x%x,nsh_si=255,actions=%s%s", RESOURCE_TABLE_FORWARD, in,
                            (unsigned) fs_get_int(flow, "spi", 0), leaves_here ? "decap(),decap()," : "", output));
    free(output);
}

/* The rule of the switch or host bridge at place 'i' of a path.  A host at an end of the path sends and takes through its trunk. */
static void
add_hop(struct maker *m, const xmlrpc_value *flow, const xmlrpc_value *path, size_t i)
{
    size_t n = fs_size(path);
    const char *here = fs_text(fs_item(path, i), ""), *before = i ? fs_text(fs_item(path, i - 1), "") : NULL;
    const char *behind = i + 1 < n ? fs_text(fs_item(path, i + 1), "") : NULL;
    size_t at = index_of(m, resource_node_kind(m->resource, here) == 'h' ? "host" : "name", here);
    const char *trunk = fs_get_string(fs_item(m->switches, at), "trunk", "");
    char *in = before ? port(m, here, before) : fs_xstrdup(trunk), *out = behind ? port(m, here, behind) : fs_xstrdup(trunk);
    bool leaves_here = behind && i + 2 == n && resource_node_kind(m->resource, behind) == 'i';
    if (i == 1 && resource_node_kind(m->resource, before) == 'i') {
        add_entry(m, at, flow, in, out, leaves_here);
    } else {
        add_transit(m, at, flow, in, out, leaves_here);
    }
    free(in);
    free(out);
}

static void
add_flow(struct maker *m, const xmlrpc_value *flow)
{
    const xmlrpc_value *path = fs_get(flow, "path");
    size_t n = fs_size(path);
    for (size_t i = 0; i < n && n > 1; i++) { /* n is 1 from module to module on one host: its multiplexer hands the packets on */
        if (resource_node_kind(m->resource, fs_text(fs_item(path, i), "")) != 'i') {
            add_hop(m, flow, path, i);
        }
    }
}

/* The plan's meters in a switch, as install_rules takes them; NULL for none. */
static xmlrpc_value *
meters_in(const struct maker *m, const char *name)
{
    const xmlrpc_value *all = fs_get(m->plan, "meters");
    xmlrpc_value *here = NULL;
    for (size_t i = 0; i < fs_size(all); i++) {
        const xmlrpc_value *one = fs_item(all, i);
        if (!strcmp(fs_get_string(one, "switch", ""), name)) {
            xmlrpc_value *v = fs_set(fs_struct(), "meter", fs_int(fs_get_int(one, "meter", 0)));
            fs_set(fs_set(v, "kbps", fs_double(fs_get_double(one, "kbps", 0))), "burst", fs_double(fs_get_double(one, "burst", 0)));
            here = fs_append(here ? here : fs_array(), fs_set(v, "from", fs_string(fs_get_string(one, "from", ""))));
        }
    }
    return here;
}

/* Switches with rules, those that let traffic in last. */
static xmlrpc_value *
collect(struct maker *m)
{
    xmlrpc_value *list = fs_array();
    for (int entry = 0; entry < 2; entry++) {
        for (size_t i = 0; i < fs_size(m->switches); i++) {
            const xmlrpc_value *sw = fs_item(m->switches, i);
            if (fs_size(m->out[i].rules) && m->out[i].entry == entry) {
                xmlrpc_value *v = fs_struct();
                fs_set(v, "switch", fs_string(fs_get_string(sw, "name", "")));
                fs_set(v, "target", fs_string(fs_get_string(sw, "target", "")));
                xmlrpc_value *meters = meters_in(m, fs_get_string(sw, "name", ""));
                if (meters) {
                    fs_set(v, "meters", meters);
                }
                fs_append(list, fs_set(v, "rules", fs_copy(m->out[i].rules)));
            }
        }
    }
    return list;
}

static void
run(struct fs_call *call)
{
    const xmlrpc_value *param = fs_call_param(call, 0);
    struct maker m = { .resource = fs_call_state(call), .plan = fs_get(param, "plan"), .request = fs_get(param, "request") };
    m.switches = resource_switches(m.resource);
    m.out = fs_xcalloc(fs_size(m.switches), sizeof *m.out);
    for (size_t i = 0; i < fs_size(m.switches); i++) {
        m.out[i].rules = fs_array();
    }
    const xmlrpc_value *flows = fs_get(m.plan, "flows");
    for (size_t i = 0; i < fs_size(flows) && !m.error; i++) {
        add_flow(&m, fs_item(flows, i));
    }
    if (m.error) {
        fs_call_fail(call, "%s", m.error);
    } else {
        fs_call_return(call, collect(&m));
    }
    for (size_t i = 0; i < fs_size(m.switches); i++) {
        fs_free(m.out[i].rules);
    }
    free(m.out);
    free(m.error);
    fs_free(m.switches);
}

FS_TASK = {
    FS_IS_TASK,
    .name = "generate_rules",
    .help = "Makes the rules of each switch for a plan: [{switch, target, rules, meters (where there are some)}], switches that let traffic in last. Changes nothing.",
    .params = { { "parameter", "struct", "plan, request" } },
    .returns = "array",
    .idempotent = true,
    .run = run,
};

/* choose_meters: which links of a plan are held to their rate by a meter of the switch where they begin.
 *
 * These are the links of FromNets that state a rate.  One FromNet has one meter in a switch, whatever the number of network ports and instances: the rate is what the request
 * states for all of them.  A switch without meters leaves it to the host at the end of the link; where there is none, from port to port, nothing holds it.
 *
 * A meter's id follows from the path identifier of its first flow, which no other allocation has.  Where a switch has a meter of that id, which is somebody else's, the id
 * is the next of its series. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <flowstream/method.h>
#include <flowstream/openflow.h>

#include "core/client.h"
#include "core/daemon.h"
#include "core/util.h"
#include "daemons/resource/resource.h"

/* Ids are FIRST + a multiple of STEP + the path identifier, 24 bits: numbers that people and other controllers seldom choose, and that an int holds. */
enum { FIRST = 1000000000, STEP = 20000000, SERIES = 57, OPENFLOW_MS = 8000, BURST_SHARE = 100, BURST_MIN = 205 /* kbit, as of a host's: pm/bucket.h */ };

struct meter {
    const char *from, *io; /* of its first flow */
    size_t at;             /* index of its switch */
    int spi, series;
    double kbps;
};

struct chooser {
    struct fs_call *call;
    xmlrpc_value *plan, *switches; /* as resource_switches() */
    struct meter *meters;
    size_t n;
    size_t *of;                    /* by flow: its meter + 1, or 0 */
    bool *able;                    /* by switch: it has meters */
    char *error;
};

/* The switch where a flow comes in that states a rate; false for one that does not. */
static bool
entry_of(const struct chooser *c, const xmlrpc_value *flow, size_t *at)
{
    struct resource *r = fs_call_state(c->call);
    const char *node = fs_text(fs_item(fs_get(flow, "path"), 1), "");
    const char *key = resource_node_kind(r, node) == 'h' ? "host" : "name";
    if (!*fs_get_string(flow, "io", "") || !(fs_get_double(flow, "rate", 0) > 0)) {
        return false;
    }
    for (*at = 0; *at < fs_size(c->switches); ++*at) {
        if (!strcmp(fs_get_string(fs_item(c->switches, *at), key, ""), node)) {
            return true;
        }
    }
    return false; /* generate_rules says so */
}

static void
take_flow(struct chooser *c, size_t i)
{
    const xmlrpc_value *flow = fs_item(fs_get(c->plan, "flows"), i);
    const char *from = fs_get_string(flow, "from", ""), *io = fs_get_string(flow, "io", "");
    size_t at, k = 0;
    if (!entry_of(c, flow, &at)) {
        return;
    }
    while (k < c->n && (c->meters[k].at != at || strcmp(c->meters[k].from, from))) {
        k++;
    }
    if (k == c->n) {
        c->meters[c->n++] = (struct meter) { .from = from, .io = io, .at = at, .spi = fs_get_int(flow, "spi", 0) };
    }
    if (!strcmp(c->meters[k].io, io)) { /* a link to several instances is one to each */
        c->meters[k].kbps += fs_get_double(flow, "rate", 0) * 1000;
    }
    c->of[i] = k + 1;
}

/* --- What switches can --- */

static int
id_of(const struct meter *m)
{
    return FIRST + m->series * STEP + m->spi;
}

/* Which of these ids the switch has already, and whether it has meters at all; NULL with c->error. */
static xmlrpc_value *
ask(struct chooser *c, size_t at, xmlrpc_value *ids)
{
    const xmlrpc_value *sw = fs_item(c->switches, at);
    xmlrpc_value *which = fs_set(fs_struct(), "switch", fs_string(fs_get_string(sw, "name", "")));
    fs_set(fs_set(which, "target", fs_string(fs_get_string(sw, "target", ""))), "ids", ids);
    struct fs_peer *openflow = fs_daemon_peer(fs_call_daemon(c->call), "openflow");
    struct fs_reply reply;
    xmlrpc_value *params = fs_append(fs_array(), which), *answer = NULL;
    int code = openflow ? fs_peer_call(openflow, "get_meters", params, OPENFLOW_MS, fs_call_request_id(c->call), &reply)
                        : fs_call_peer(c->call, NULL, "get_meters", params, &reply);
    if (code) {
        c->error = fs_xstrdup(reply.message);
    } else {
        answer = fs_copy(reply.value);
    }
    fs_reply_clear(&reply);
    return answer;
}

static bool
is_in(const xmlrpc_value *ids, int id)
{
    for (size_t i = 0; i < fs_size(ids); i++) {
        if (fs_number(fs_item(ids, i), 0) == id) {
            return true;
        }
    }
    return false;
}

/* Ids that are free for all meters in one switch. */
static void
choose_ids(struct chooser *c, size_t at)
{
    bool again = true;
    for (int series = 0; again && series < SERIES && !c->error; series++) {
        xmlrpc_value *ids = fs_array();
        for (size_t i = 0; i < c->n; i++) {
            if (c->meters[i].at == at) {
                fs_append(ids, fs_int(id_of(&c->meters[i])));
            }
        }
        xmlrpc_value *answer = ask(c, at, ids);
        c->able[at] = fs_get_double(answer, "most", 0) > 0;
        again = false;
        for (size_t i = 0; i < c->n && c->able[at]; i++) {
            if (c->meters[i].at == at && is_in(fs_get(answer, "taken"), id_of(&c->meters[i]))) {
                c->meters[i].series++;
                again = true;
            }
        }
        fs_free(answer);
    }
    if (again && !c->error) {
        c->error = fs_xasprintf("switch %s: all ids that a meter of Flowstream's could have are taken by meters of somebody else: remove some (ovs-ofctl del-meter)",
                                fs_get_string(fs_item(c->switches, at), "name", ""));
    }
}

static void
ask_all(struct chooser *c)
{
    for (size_t i = 0; i < c->n && !c->error; i++) {
        size_t before = 0;
        while (c->meters[before].at != c->meters[i].at) {
            before++;
        }
        if (before == i) {
            choose_ids(c, c->meters[i].at);
        }
    }
}

/* --- The plan --- */

/* The host does not limit what the switch has limited. */
static void
spare_host(struct chooser *c, const xmlrpc_value *flow)
{
    const xmlrpc_value *modules = fs_get(c->plan, "modules");
    for (size_t i = 0; i < fs_size(modules); i++) {
        const xmlrpc_value *inputs = fs_get(fs_item(modules, i), "inputs");
        for (size_t k = 0; k < fs_size(inputs); k++) {
            xmlrpc_value *input = fs_item(inputs, k);
            if (fs_get(input, "rate") && fs_get_int(input, "spi", 0) == fs_get_int(flow, "spi", -1)) {
                fs_set(input, "rate", fs_double(0));
            }
        }
    }
}

static xmlrpc_value *
describe(const struct chooser *c, const struct meter *m)
{
    double kbps = ceil(m->kbps - 1e-6), most = FS_METER_KBPS_MAX;
    kbps = kbps < 1 ? 1 : kbps > most ? most : kbps;
    double burst = ceil(kbps / BURST_SHARE);
    xmlrpc_value *v = fs_set(fs_struct(), "switch", fs_string(fs_get_string(fs_item(c->switches, m->at), "name", "")));
    fs_set(fs_set(v, "from", fs_string(m->from)), "meter", fs_int(id_of(m)));
    return fs_set(fs_set(v, "kbps", fs_double(kbps)), "burst", fs_double(burst < BURST_MIN ? BURST_MIN : burst));
}

/* A switch without meters holds nothing, and where the link ends at a network port there is no host that could. */
static void
note_unmetered(struct chooser *c, const struct meter *m, const xmlrpc_value *flow)
{
    const xmlrpc_value *path = fs_get(flow, "path");
    if (resource_node_kind(fs_call_state(c->call), fs_text(fs_item(path, fs_size(path) - 1), "")) == 'i') {
        xmlrpc_value *notes = fs_get(c->plan, "notes") ? fs_copy(fs_get(c->plan, "notes")) : fs_array();
        const char *name = fs_get_string(fs_item(c->switches, m->at), "name", "");
        fs_append(notes, fs_stringf("switch %s has no meters: the rate of %s -> %s from %s is reserved, and nothing holds it", name, m->from, fs_get_string(flow, "to", ""),
                                    fs_get_string(flow, "io", "")));
        fs_set(c->plan, "notes", notes);
    }
}

static void
write_plan(struct chooser *c)
{
    xmlrpc_value *meters = fs_array();
    const xmlrpc_value *flows = fs_get(c->plan, "flows");
    for (size_t i = 0; i < c->n; i++) {
        if (c->able[c->meters[i].at]) {
            fs_append(meters, describe(c, &c->meters[i]));
        }
    }
    for (size_t i = 0; i < fs_size(flows); i++) {
        const struct meter *m = c->of[i] ? &c->meters[c->of[i] - 1] : NULL;
        if (m && c->able[m->at]) {
            fs_set(fs_item(flows, i), "meter", fs_int(id_of(m)));
            spare_host(c, fs_item(flows, i));
        } else if (m) {
            note_unmetered(c, m, fs_item(flows, i));
        }
    }
    fs_set(c->plan, "meters", meters);
}

static void
run(struct fs_call *call)
{
    const xmlrpc_value *given = fs_get(fs_call_param(call, 0), "plan");
    if (!fs_is(given, XMLRPC_TYPE_STRUCT)) {
        fs_call_fail(call, "choose_meters: parameter needs 'plan' (struct)");
        return;
    }
    struct chooser c = { .call = call, .plan = fs_copy(given), .switches = resource_switches(fs_call_state(call)) };
    size_t n_flows = fs_size(fs_get(c.plan, "flows"));
    c.meters = fs_xcalloc(n_flows + 1, sizeof *c.meters);
    c.of = fs_xcalloc(n_flows + 1, sizeof *c.of);
    c.able = fs_xcalloc(fs_size(c.switches) + 1, sizeof *c.able);
    for (size_t i = 0; i < n_flows; i++) {
        take_flow(&c, i);
    }
    ask_all(&c);
    if (c.error) {
        fs_call_fail(call, "%s", c.error);
        fs_free(c.plan);
    } else {
        if (c.n) {
            write_plan(&c);
        }
        fs_call_return(call, c.plan);
    }
    free(c.meters);
    free(c.of);
    free(c.able);
    free(c.error);
    fs_free(c.switches);
}

FS_TASK = {
    FS_IS_TASK,
    .name = "choose_meters",
    .help = "Gives the links of FromNets that state a rate a meter in the switch where they begin, if that has meters, and takes the limit from the host: the plan with "
            "'meters' [{switch, from, meter (its id), kbps, burst (kbit)}] with 'meter' in the flows that use one, and with 'notes' of what nothing holds. Changes nothing.",
    .params = { { "parameter", "struct", "plan" } },
    .returns = "struct",
    .idempotent = true,
    .run = run,
};

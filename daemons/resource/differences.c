/* How hosts and switches differ from what is wanted of them; see reconcile.h.
 *
 * What is wanted is read before the host is asked, and whose modules are owned by nobody is judged after that; so what is being installed meanwhile is never taken for too much.
 * The other differences are certain only for allocations that the caller has claimed. */
#include "config.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/client.h"
#include "core/daemon.h"
#include "core/util.h"
#include "daemons/resource/reconcile.h"
#include <flowstream/log.h>

FS_LOG_MODULE("reconcile");

enum { HOST_MS = 5000, OPENFLOW_MS = 15000, CHUNK_BYTES = 2 << 20, RULE_BYTES = 60 };

xmlrpc_value *
resource_difference(const char *kind, const char *problem, int allocation, const char *where, const char *name)
{
    xmlrpc_value *v = fs_set(fs_set(fs_struct(), "kind", fs_string(kind)), "problem", fs_string(problem));
    fs_set(fs_set(v, "allocation", fs_int(allocation)), "where", fs_string(where));
    return fs_set(v, "name", fs_string(name));
}

/* --- Modules --- */

/* A list of modules in order of their names, for looking them up. */
struct index {
    const xmlrpc_value **modules;
    size_t n;
};

static int
by_name(const void *a, const void *b)
{
    return strcmp(fs_get_string(*(const xmlrpc_value *const *) a, "name", ""), fs_get_string(*(const xmlrpc_value *const *) b, "name", ""));
}

static struct index
index_of(const xmlrpc_value *list)
{
    struct index x = { fs_xcalloc(fs_size(list) + 1, sizeof *x.modules), fs_size(list) };
    for (size_t i = 0; i < x.n; i++) {
        x.modules[i] = fs_item(list, i);
    }
    qsort(x.modules, x.n, sizeof *x.modules, by_name);
    return x;
}

static const xmlrpc_value *
look_up(const struct index *x, const xmlrpc_value *like)
{
    const xmlrpc_value **found = bsearch(&like, x->modules, x->n, sizeof *x->modules, by_name);
    return found ? *found : NULL;
}

static bool
has_port(const xmlrpc_value *ports, const xmlrpc_value *port)
{
    for (size_t i = 0; i < fs_size(ports); i++) {
        if (fs_get_int(fs_item(ports, i), "port", -1) == fs_get_int(port, "port", -1) && fs_get_int(fs_item(ports, i), "spi", -1) == fs_get_int(port, "spi", -1)) {
            return true;
        }
    }
    return false;
}

static bool
same_ports(const xmlrpc_value *a, const xmlrpc_value *b)
{
    bool same = fs_size(a) == fs_size(b);
    for (size_t i = 0; i < fs_size(a) && same; i++) {
        same = has_port(b, fs_item(a, i));
    }
    return same;
}

static bool
same_text(const xmlrpc_value *a, const xmlrpc_value *b, const char *key)
{
    return !strcmp(fs_get_string(a, key, ""), fs_get_string(b, key, ""));
}

/* What of the module is other than wanted, or NULL. */
static const char *
what_differs(const xmlrpc_value *wanted, const xmlrpc_value *actual)
{
    bool read = fs_get(actual, "inputs");
    return !same_text(wanted, actual, "type") ? "its type"
           : fs_get_int(wanted, "owner", 0) != fs_get_int(actual, "owner", 0) ? "its owner"
           : !same_text(wanted, actual, "basesys") ? "its base system"
           : !read ? NULL
           : !same_text(wanted, actual, "args") ? "its arguments"
           : lround(fs_get_double(wanted, "cpu", 0) * 1000) != lround(fs_get_double(actual, "cpu", 0) * 1000) ? "its cores"
           : (long) fs_get_double(wanted, "mem", 0) != (long) fs_get_double(actual, "mem", 0) ? "its memory"
           : !same_ports(fs_get(wanted, "inputs"), fs_get(actual, "inputs")) ? "its inputs"
           : !same_ports(fs_get(wanted, "outputs"), fs_get(actual, "outputs")) ? "its outputs"
                                                                              : NULL;
}

static void
note_unsure(xmlrpc_value *ids, int id, bool installed)
{
    char name[16];
    snprintf(name, sizeof name, "%d", id);
    if (ids) {
        fs_set(ids, name, fs_bool(installed));
    }
}

static void
find_missing(const char *host, const xmlrpc_value *wanted, const xmlrpc_value *unsure, const struct index *actual, xmlrpc_value *differences, xmlrpc_value *unsure_ids)
{
    for (size_t i = 0; i < fs_size(wanted); i++) {
        const xmlrpc_value *w = fs_item(wanted, i), *a = look_up(actual, w);
        const char *name = fs_get_string(w, "name", ""), *what = NULL;
        if (fs_get(unsure, name)) {
            note_unsure(unsure_ids, fs_get_int(w, "owner", 0), true);
            continue;
        }
        const char *problem = !a ? "missing" : !fs_get_bool(a, "running", false) ? "dead" : (what = what_differs(w, a)) ? "changed" : NULL;
        if (problem) {
            xmlrpc_value *d = resource_difference("module", problem, fs_get_int(w, "owner", 0), host, name);
            fs_append(differences, what ? fs_set(d, "why", fs_stringf("%s", what)) : d);
        }
    }
}

static void
find_extra(struct resource *r, const char *host, const struct index *wanted, const xmlrpc_value *unsure, const struct resource_claims *mine, const xmlrpc_value *actual,
           xmlrpc_value *differences)
{
    for (size_t i = 0; i < fs_size(actual); i++) {
        const xmlrpc_value *a = fs_item(actual, i);
        const char *name = fs_get_string(a, "name", "");
        int owner = fs_get_int(a, "owner", 0);
        /* Owner 0: the record of a module that is being made. */
        if (owner > 0 && !look_up(wanted, a) && !fs_get(unsure, name) && !resource_is_unsure(r, owner, mine)) {
            bool known = resource_knows(r, owner);
            xmlrpc_value *d = resource_difference("module", known ? "extra" : "owned by nobody", owner, host, name);
            fs_append(differences, fs_set(d, "process", fs_string(fs_get_string(a, "process", name))));
        }
    }
}

static char *
list_modules(struct fs_call *call, const char *host, const struct resource_ids *only, struct fs_reply *reply)
{
    struct fs_peer *peer = resource_host_peer(fs_call_state(call), host);
    if (!peer) {
        *reply = (struct fs_reply) { 0 };
        return fs_xasprintf("host %s is not registered", host);
    }
    xmlrpc_value *params = fs_array(), *owners = only ? fs_array() : NULL;
    for (size_t i = 0; only && i < only->n; i++) {
        fs_append(owners, fs_int(only->ids[i]));
    }
    params = only ? fs_append(params, fs_set(fs_struct(), "owners", owners)) : params;
    bool failed = fs_peer_call(peer, "list_modules", params, HOST_MS, fs_call_request_id(call), reply);
    return failed ? fs_xasprintf("host %s: %s", host, reply->message) : NULL;
}

char *
resource_compare_host(struct fs_call *call, const char *host, const struct resource_ids *only, const struct resource_claims *mine, xmlrpc_value *differences,
                      xmlrpc_value *unsure_ids)
{
    struct resource *r = fs_call_state(call);
    xmlrpc_value *unsure = fs_struct(), *wanted = resource_wanted_modules(r, host, only, mine, unsure, unsure_ids);
    struct fs_reply reply;
    char *why = list_modules(call, host, only, &reply);
    if (!why) {
        struct index actual = index_of(reply.value), planned = index_of(wanted);
        find_missing(host, wanted, unsure, &actual, differences, unsure_ids);
        find_extra(r, host, &planned, unsure, mine, reply.value, differences);
        free(actual.modules);
        free(planned.modules);
    }
    fs_reply_clear(&reply);
    fs_free(wanted);
    fs_free(unsure);
    return why;
}

/* --- Rules --- */

struct part {
    struct fs_call *call;
    const xmlrpc_value *where;
    bool dry_run;
    xmlrpc_value *differences;
    xmlrpc_value *rules; /* [{allocation, rules, meters}] not sent yet */
    size_t bytes;
};

static int
ask_openflow(struct fs_call *call, const char *method, xmlrpc_value *params, struct fs_reply *reply)
{
    struct fs_peer *openflow = fs_daemon_peer(fs_call_daemon(call), "openflow");
    return openflow ? fs_peer_call(openflow, method, params, OPENFLOW_MS, fs_call_request_id(call), reply) : fs_call_peer(call, NULL, method, params, reply);
}

static char *
mend(struct part *p, const xmlrpc_value *rules)
{
    xmlrpc_value *param = fs_set(fs_copy(p->where), "rules", fs_copy(rules)), *options = fs_set(fs_struct(), "wait", fs_int(12));
    fs_set(param, "brief", fs_bool(!p->dry_run)); /* who mends them does not need the text of each of ten thousand */
    resource_order(fs_call_state(p->call), fs_set(param, "dry_run", fs_bool(p->dry_run)));
    fs_set(options, "priority", fs_string("high"));
    struct fs_reply reply;
    ask_openflow(p->call, "run_task", fs_append(fs_append(fs_append(fs_array(), fs_string("mend_rules")), param), options), &reply);
    char *why = reply.code ? fs_xstrdup(reply.message) : NULL;
    for (size_t i = 0; i < fs_size(reply.value) && !why; i++) {
        const xmlrpc_value *one = fs_item(reply.value, i);
        const char *kind = fs_get(one, "meter") ? "meter" : "rule";
        xmlrpc_value *d = resource_difference(kind, fs_get_string(one, "problem", ""), fs_get_int(one, "allocation", 0), fs_get_string(p->where, "switch", ""),
                                              fs_get_string(one, kind, ""));
        fs_set(d, "rules", fs_int(fs_get_int(one, "rules", 1)));
        fs_append(p->differences, fs_get(one, "why") ? fs_set(d, "why", fs_copy(fs_get(one, "why"))) : d);
    }
    fs_reply_clear(&reply);
    return why;
}

static bool
is_there(struct part *p)
{
    struct fs_reply reply;
    char *known = resource_memory_right(fs_call_state(p->call), fs_get_string(p->where, "switch", ""));
    xmlrpc_value *which = fs_set(fs_copy(p->where), "known", fs_string(known)); /* so that the answer is short */
    bool there = !ask_openflow(p->call, "get_rule_changes", fs_append(fs_array(), which), &reply);
    free(known);
    fs_reply_clear(&reply);
    return there;
}

/* A bundle is all or nothing: where the switch refuses one allocation, the others get theirs one by one, and that one says why. */
static char *
send_rules(struct part *p)
{
    char *why = fs_size(p->rules) ? mend(p, p->rules) : NULL;
    if (why && is_there(p)) {
        for (size_t i = 0; i < fs_size(p->rules); i++) {
            const xmlrpc_value *one = fs_item(p->rules, i);
            xmlrpc_value *alone = fs_append(fs_array(), fs_copy(one));
            char *its = fs_size(p->rules) > 1 ? mend(p, alone) : fs_xstrdup(why);
            if (its) {
                xmlrpc_value *d = resource_difference("rule", "missing", fs_get_int(one, "allocation", 0), fs_get_string(p->where, "switch", ""), "");
                fs_append(p->differences, fs_set(d, "why", fs_string(its)));
            }
            free(its);
            fs_free(alone);
        }
        free(why);
        why = NULL;
    }
    fs_free(p->rules);
    p->rules = fs_array();
    p->bytes = 0;
    return why;
}

static char *
add_rules(struct part *p, xmlrpc_value *wanted /* taken */)
{
    const xmlrpc_value *rules = fs_get(wanted, "rules");
    for (size_t i = 0; i < fs_size(rules); i++) {
        p->bytes += strlen(fs_text(fs_item(rules, i), "")) + RULE_BYTES;
    }
    fs_append(p->rules, wanted);
    return p->bytes > CHUNK_BYTES ? send_rules(p) : NULL;
}

static xmlrpc_value *
base_rules(struct fs_call *call, const char *name)
{
    struct fs_reply base;
    xmlrpc_value *rules = NULL;
    fs_call_task(call, "base_rules", fs_struct(), &base);
    for (size_t i = 0; i < fs_size(base.value) && !base.code; i++) {
        if (!strcmp(fs_get_string(fs_item(base.value, i), "switch", ""), name)) {
            rules = fs_copy(fs_get(fs_item(base.value, i), "rules"));
        }
    }
    fs_reply_clear(&base);
    return rules;
}

char *
resource_compare_switch(struct fs_call *call, const xmlrpc_value *where, const int *ids, size_t n, bool dry_run, xmlrpc_value *differences)
{
    struct part p = { .call = call, .where = where, .dry_run = dry_run, .differences = differences, .rules = fs_array() };
    const char *name = fs_get_string(where, "switch", "");
    char *why = NULL;
    bool base = false;
    for (size_t i = 0; i < n && !why; i++) {
        xmlrpc_value *wanted = ids[i] ? resource_wanted_rules(fs_call_state(call), ids[i], name) : NULL;
        base = base || !ids[i];
        why = wanted ? add_rules(&p, wanted) : NULL;
    }
    xmlrpc_value *own = base && !why ? base_rules(call, name) : NULL; /* in one bundle with the others or, where these are too many, after them: they send packets to them */
    why = own ? add_rules(&p, fs_set(fs_set(fs_struct(), "allocation", fs_int(0)), "rules", own)) : why;
    why = why ? why : send_rules(&p);
    fs_free(p.rules);
    return why;
}

/* --- Lists of differences --- */

static int
by_id_alone(const void *a, const void *b)
{
    const struct resource_difference_of *x = a, *y = b;
    return resource_by_id(&x->id, &y->id);
}

/* By id, those with a reason first. */
static int
by_id_and_reason(const void *a, const void *b)
{
    const struct resource_difference_of *x = a, *y = b;
    return x->id != y->id ? resource_by_id(&x->id, &y->id) : !x->why - !y->why;
}

struct resource_difference_of *
resource_sort_differences(const xmlrpc_value *differences, size_t *n)
{
    size_t all = fs_size(differences);
    struct resource_difference_of *sorted = fs_xcalloc(all + 1, sizeof *sorted);
    for (size_t i = 0; i < all; i++) {
        const xmlrpc_value *d = fs_item(differences, i);
        sorted[i] = (struct resource_difference_of) { fs_get_int(d, "allocation", 0), fs_get_string(d, "why", NULL) };
    }
    qsort(sorted, all, sizeof *sorted, by_id_and_reason);
    *n = 0;
    for (size_t i = 0; i < all; i++) {
        if (!*n || sorted[*n - 1].id != sorted[i].id) {
            sorted[(*n)++] = sorted[i];
        }
    }
    return sorted;
}

const struct resource_difference_of *
resource_differs(const struct resource_difference_of *sorted, size_t n, int id)
{
    struct resource_difference_of like = { .id = id };
    return bsearch(&like, sorted, n, sizeof *sorted, by_id_alone);
}

void
resource_log_difference(const xmlrpc_value *d)
{
    const char *why = fs_get_string(d, "why", "");
    fs_log_limited(FS_LOG_WARNING, "%s of allocation %d at %s is %s: %s%s%s", fs_get_string(d, "kind", ""), fs_get_int(d, "allocation", 0), fs_get_string(d, "where", ""),
                   fs_get_string(d, "problem", ""), fs_get_string(d, "name", ""), *why ? ": " : "", why);
}

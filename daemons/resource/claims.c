/* Who claims which packets.  The matches of all FromNets are kept in one set (libflowstream-openflow), so that whether a new request takes packets of another
 * costs a few look-ups, however many there are.
 *
 * A claim is one FromNet of one allocation.  One that cannot be read (of a store that an older Flowstream has written, maybe) counts as taking all packets. */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "core/util.h"
#include "daemons/resource/byhand.h"
#include "daemons/resource/state.h"
#include <flowstream/openflow.h>

struct claim {
    struct fs_match_member *member;
    int allocation, priority, table;
    size_t node; /* in the request's nodes */
};

static bool
is_source(const xmlrpc_value *node)
{
    return !strcmp(fs_get_string(node, "kind", ""), "from");
}

static int
priority_of(const xmlrpc_value *request)
{
    return atoi(fs_get_string(fs_get(request, "headers"), "PRIORITY", "0"));
}

static bool
is_packed_source(struct fs_packed node)
{
    return !strcmp(fs_packed_get_string(node, "kind", ""), "from");
}

/* Enter the FromNets of a request into a set; *claims is owned by the caller, who removes their members. */
static size_t
enter(struct fs_match_set *set, int id, struct fs_packed request, struct claim **claims)
{
    struct fs_packed nodes = fs_packed_get(request, "nodes"), node = { 0 };
    int priority = atoi(fs_packed_get_string(fs_packed_get(request, "headers"), "PRIORITY", "0")), table = fs_packed_get_int(request, "table", RESOURCE_TABLE_CLASSIFY);
    size_t n = 0, at = 0;
    for (struct fs_packed_items i = fs_packed_items(nodes); fs_packed_next(&i, &node);) {
        n += is_packed_source(node);
    }
    *claims = n ? fs_xcalloc(n, sizeof **claims) : NULL;
    n = 0;
    for (struct fs_packed_items i = fs_packed_items(nodes); fs_packed_next(&i, &node); at++) {
        if (is_packed_source(node)) {
            struct claim *c = &(*claims)[n++];
            *c = (struct claim) { .allocation = id, .priority = priority, .table = table, .node = at };
            c->member = fs_match_set_add(set, fs_packed_get_string(node, "match", ""), c, NULL);
            c->member = c->member ? c->member : fs_match_set_add(set, "", c, NULL);
        }
    }
    return n;
}

void
resource_claims_add(struct resource *r, struct allocation *a)
{
    a->n_claims = enter(r->claims, a->id, fs_packed_get(resource_doc(a), "request"), &a->claims);
}

void
resource_claims_remove(struct allocation *a)
{
    for (size_t i = 0; i < a->n_claims; i++) {
        fs_match_set_remove(a->claims[i].member);
    }
    free(a->claims);
    a->claims = NULL;
    a->n_claims = 0;
}

/* "FromNet in ("udp,tp_dst=53", line 3)" */
static void
name_source(struct fs_text *t, const xmlrpc_value *request, size_t node)
{
    const xmlrpc_value *source = fs_item(fs_get(request, "nodes"), node);
    int line = fs_get_int(source, "line", 0);
    fs_text_addf(t, "FromNet %s (\"%s\"", fs_get_string(source, "name", ""), fs_get_string(source, "match", ""));
    if (line > 0) {
        fs_text_addf(t, ", line %d", line);
    }
    fs_text_addf(t, ")");
}

/* The oldest claim that meets one of ours. */
struct search {
    int priority, table;
    size_t after; /* within one request: only nodes behind this one; else SIZE_MAX */
    const struct claim *found;
};

static void
look_at(void *aux, void *owner)
{
    struct search *s = aux;
    const struct claim *c = owner;
    bool counts = s->after == SIZE_MAX ? c->priority == s->priority && c->table == s->table : c->node > s->after;
    bool older = !s->found || c->allocation < s->found->allocation || (c->allocation == s->found->allocation && c->node < s->found->node);
    if (counts && older) {
        s->found = c;
    }
}

/* Two FromNets of one request that claim a common packet. */
static char *
conflict_inside(const xmlrpc_value *request)
{
    struct fs_match_set *set = fs_match_set_create();
    struct claim *claims;
    size_t size;
    unsigned char *block = fs_pack(request, &size);
    size_t n = enter(set, 0, fs_packed(block, size), &claims);
    free(block);
    struct fs_text why = { 0 };
    for (size_t i = 0; i < n && !why.length; i++) {
        struct search s = { .after = claims[i].node };
        const xmlrpc_value *node = fs_item(fs_get(request, "nodes"), claims[i].node);
        fs_match_set_overlaps(set, fs_get_string(node, "match", ""), look_at, &s, NULL);
        if (s.found) {
            name_source(&why, request, claims[i].node);
            fs_text_addf(&why, " and ");
            name_source(&why, request, s.found->node);
            fs_text_addf(&why, " of the request can match the same packet: narrow one, or use one FromNet and a Classifier behind it");
        }
    }
    fs_match_set_destroy(set);
    free(claims);
    return why.text;
}

int
resource_conflict_locked(struct resource *r, const xmlrpc_value *request, char **why)
{
    const xmlrpc_value *nodes = fs_get(request, "nodes");
    *why = conflict_inside(request);
    if (*why) {
        return -1;
    }
    for (size_t i = 0, n = fs_size(nodes); i < n; i++) {
        const xmlrpc_value *node = fs_item(nodes, i);
        struct search s = { .priority = priority_of(request), .table = resource_entry_table(request), .after = SIZE_MAX };
        if (is_source(node)) {
            fs_match_set_overlaps(r->claims, fs_get_string(node, "match", ""), look_at, &s, NULL);
        }
        const struct allocation *a = s.found ? resource_find_entering(r, s.found->allocation) : NULL;
        if (a) {
            xmlrpc_value *its = fs_packed_value(fs_packed_get(resource_doc(a), "request"));
            struct fs_text t = { 0 };
            name_source(&t, request, i);
            fs_text_addf(&t, " and ");
            name_source(&t, its, s.found->node);
            fs_text_addf(&t, " of allocation %d (%s) can match the same packet: narrow one, or order the two requests by giving one of them a header "
                         "PRIORITY=NUMBER (the higher goes first)", a->id, fs_packed_get_string(resource_doc(a), "name", ""));
            fs_free(its);
            *why = t.text;
            return a->id;
        }
    }
    return 0;
}

int
resource_conflict(struct resource *r, const xmlrpc_value *request, char **why)
{
    pthread_mutex_lock(&r->lock);
    int with = resource_conflict_locked(r, request, why);
    pthread_mutex_unlock(&r->lock);
    return with;
}

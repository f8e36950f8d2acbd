/* A set of matches that is asked which of its members can take a packet that another match takes too.
 *
 * As in a switch's classifier, matches that look at the same bits share a group, and within a group they are hashed by what they want
 * those bits to be.  A question that fixes all bits of a group, the usual one, costs one look-up there; one that leaves some open costs a walk
 * over the group, a few comparisons of words a member.  So the cost grows with the number of ways to write matches, not with that of matches.
 *
 * The port is compared by its text, as fs_match_overlap() does, and is a part of the group (none, a name, a number) and of the hash. */

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <hash.h>
#include <openvswitch/hmap.h>
#include <openvswitch/list.h>
#include <openvswitch/match.h>
#include <util.h>

#include <flowstream/openflow.h>

#include "openflow/failure.h"
#include "openflow/match.h"

enum port_kind { NO_PORT, PORT_NAME, PORT_NUMBER };

/* Which words of a flow a match looks at, and which of their bits. */
struct group {
    struct ovs_list node; /* in fs_match_set.groups */
    struct hmap members;
    enum port_kind port;
    size_t n_words;
    uint16_t words[FLOW_U64S];
    uint64_t masks[FLOW_U64S];
};

struct fs_match_member {
    struct hmap_node node; /* in group.members */
    struct group *group;
    void *owner;
    char *port;        /* or NULL */
    uint64_t values[]; /* group.n_words */
};

struct fs_match_set {
    struct ovs_list groups;
};

/* A match as it is looked for. */
struct wanted {
    struct match match;
    char *port;
    enum port_kind kind;
};

struct fs_match_set *
fs_match_set_create(void)
{
    struct fs_match_set *set = xmalloc(sizeof *set);
    ovs_list_init(&set->groups);
    return set;
}

void
fs_match_set_destroy(struct fs_match_set *set)
{
    struct group *g;
    struct fs_match_member *m;

    if (set) {
        LIST_FOR_EACH_POP (g, node, &set->groups) {
            HMAP_FOR_EACH_POP (m, node, &g->members) {
                free(m->port);
                free(m);
            }
            hmap_destroy(&g->members);
            free(g);
        }
        free(set);
    }
}

static int
read_match(const char *text, struct wanted *w, char **error)
{
    size_t offset;
    char *reason = fs_match_check(text, &offset);

    reason = reason ? reason : match_parse(text, &w->match);
    if (reason) {
        int status = openflow_fail(error, EINVAL, "match '%s': %s", text, reason);
        free(reason);
        return status;
    }
    w->port = fs_match_in_port(text);
    w->kind = !w->port ? NO_PORT : isdigit((unsigned char) *w->port) ? PORT_NUMBER : PORT_NAME;
    return 0;
}

static uint32_t
hash_values(const uint64_t *values, size_t n, const char *port)
{
    return hash_bytes(values, n * sizeof *values, port ? hash_string(port, 0) : 0);
}

static bool
is_of_group(const struct group *g, const struct group *other)
{
    return g->port == other->port && g->n_words == other->n_words && !memcmp(g->words, other->words, g->n_words * sizeof *g->words)
           && !memcmp(g->masks, other->masks, g->n_words * sizeof *g->masks);
}

/* The group of matches that look at what 'w' looks at. */
static struct group *
group_of(struct fs_match_set *set, const struct wanted *w)
{
    const uint64_t *masks = (const uint64_t *) &w->match.wc.masks;
    struct group *g, *made = xzalloc(sizeof *made);

    made->port = w->kind;
    for (size_t i = 0; i < FLOW_U64S; i++) {
        if (masks[i]) {
            made->words[made->n_words] = (uint16_t) i;
            made->masks[made->n_words++] = masks[i];
        }
    }
    LIST_FOR_EACH (g, node, &set->groups) {
        if (is_of_group(g, made)) {
            free(made);
            return g;
        }
    }
    hmap_init(&made->members);
    ovs_list_push_back(&set->groups, &made->node);
    return made;
}

struct fs_match_member *
fs_match_set_add(struct fs_match_set *set, const char *match, void *owner, char **error)
{
    struct wanted w;

    if (error) {
        *error = NULL;
    }
    if (read_match(match, &w, error)) {
        return NULL;
    }
    struct group *g = group_of(set, &w);
    struct fs_match_member *m = xzalloc(sizeof *m + g->n_words * sizeof *m->values);
    *m = (struct fs_match_member) { .group = g, .owner = owner, .port = w.port };
    for (size_t i = 0; i < g->n_words; i++) {
        m->values[i] = ((const uint64_t *) &w.match.flow)[g->words[i]] & g->masks[i];
    }
    hmap_insert(&g->members, &m->node, hash_values(m->values, g->n_words, m->port));
    return m;
}

void
fs_match_set_remove(struct fs_match_member *m)
{
    if (m) {
        struct group *g = m->group;
        hmap_remove(&g->members, &m->node);
        if (hmap_is_empty(&g->members)) {
            ovs_list_remove(&g->node);
            hmap_destroy(&g->members);
            free(g);
        }
        free(m->port);
        free(m);
    }
}

/* Does the question fix every bit that the group looks at, and the port as it does? */
static bool
is_fixed(const struct group *g, const struct wanted *w)
{
    const uint64_t *masks = (const uint64_t *) &w->match.wc.masks;

    for (size_t i = 0; i < g->n_words; i++) {
        if (g->masks[i] & ~masks[g->words[i]]) {
            return false;
        }
    }
    return g->port == NO_PORT || g->port == w->kind;
}

static bool
can_meet(const struct fs_match_member *m, const struct wanted *w)
{
    const struct group *g = m->group;
    const uint64_t *values = (const uint64_t *) &w->match.flow, *masks = (const uint64_t *) &w->match.wc.masks;

    for (size_t i = 0; i < g->n_words; i++) {
        if ((m->values[i] ^ values[g->words[i]]) & g->masks[i] & masks[g->words[i]]) {
            return false;
        }
    }
    return g->port == NO_PORT || g->port != w->kind || !strcmp(m->port, w->port); /* a name and a number may be the same port */
}

static void
ask_group(const struct group *g, const struct wanted *w, void (*each)(void *aux, void *owner), void *aux)
{
    const struct fs_match_member *m;

    if (is_fixed(g, w)) {
        uint64_t values[FLOW_U64S];
        for (size_t i = 0; i < g->n_words; i++) {
            values[i] = ((const uint64_t *) &w->match.flow)[g->words[i]] & g->masks[i];
        }
        HMAP_FOR_EACH_WITH_HASH (m, node, hash_values(values, g->n_words, g->port == NO_PORT ? NULL : w->port), &g->members) {
            if (can_meet(m, w)) {
                each(aux, m->owner);
            }
        }
    } else {
        HMAP_FOR_EACH (m, node, &g->members) {
            if (can_meet(m, w)) {
                each(aux, m->owner);
            }
        }
    }
}

int
fs_match_set_overlaps(const struct fs_match_set *set, const char *match, void (*each)(void *aux, void *owner), void *aux, char **error)
{
    struct wanted w;
    const struct group *g;

    if (error) {
        *error = NULL;
    }
    int status = read_match(match, &w, error);
    if (!status) {
        LIST_FOR_EACH (g, node, &set->groups) {
            ask_group(g, &w, each, aux);
        }
        free(w.port);
    }
    return status;
}

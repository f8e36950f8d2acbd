/* What is wanted of hosts and switches, out of the plans of installed allocations; see reconcile.h. */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/util.h"
#include "daemons/resource/reconcile.h"
#include "daemons/resource/state.h"

/* --- Claims --- */

int
resource_by_id(const void *a, const void *b)
{
    const int *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

void
resource_claims_take(struct resource *r, const int *ids, size_t n, struct resource_claims *claims)
{
    claims->ids = fs_xcalloc(n + 1, sizeof *claims->ids);
    claims->n = 0;
    for (size_t i = 0; i < n; i++) {
        if (resource_claim(r, ids[i])) { /* one that is there twice is not had twice */
            claims->ids[claims->n++] = ids[i];
        }
    }
    qsort(claims->ids, claims->n, sizeof *claims->ids, resource_by_id);
}

void
resource_claims_give(struct resource *r, struct resource_claims *claims)
{
    for (size_t i = 0; i < claims->n; i++) {
        resource_release_unchanged(r, claims->ids[i]);
    }
    free(claims->ids);
    *claims = (struct resource_claims) { 0 };
}

bool
resource_claims_has(const struct resource_claims *claims, int id)
{
    return claims && claims->n && bsearch(&id, claims->ids, claims->n, sizeof *claims->ids, resource_by_id);
}

/* --- Plans --- */

static bool
is_sure(const struct allocation *a, const struct resource_claims *mine)
{
    return resource_is_installed(a) && !a->entering && (!a->busy || resource_claims_has(mine, a->id));
}

bool
resource_knows(struct resource *r, int id)
{
    pthread_mutex_lock(&r->lock);
    bool known = !id || resource_find(r, id);
    pthread_mutex_unlock(&r->lock);
    return known;
}

bool
resource_wants(struct resource *r, int id)
{
    pthread_mutex_lock(&r->lock);
    const struct allocation *a = resource_find(r, id);
    bool wanted = !id || (a && resource_is_installed(a));
    pthread_mutex_unlock(&r->lock);
    return wanted;
}

bool
resource_is_unsure(struct resource *r, int id, const struct resource_claims *mine)
{
    pthread_mutex_lock(&r->lock);
    const struct allocation *a = resource_find(r, id);
    bool unsure = a && !is_sure(a, mine);
    pthread_mutex_unlock(&r->lock);
    return unsure;
}

xmlrpc_value *
resource_unsure(struct resource *r, const struct resource_claims *mine)
{
    xmlrpc_value *ids = fs_struct();
    pthread_mutex_lock(&r->lock);
    for (struct allocation *a = r->restless; a; a = a->next_restless) {
        if (!is_sure(a, mine)) {
            char name[16];
            snprintf(name, sizeof name, "%d", a->id);
            fs_set(ids, name, fs_nil());
        }
    }
    pthread_mutex_unlock(&r->lock);
    return ids;
}

static void
add_ports(xmlrpc_value *module, const xmlrpc_value *more)
{
    xmlrpc_value *inputs = fs_get(module, "inputs"), *outputs = fs_get(module, "outputs");
    const xmlrpc_value *new_outputs = fs_get(more, "outputs");
    for (size_t i = 0; i < fs_size(fs_get(more, "inputs")); i++) {
        fs_append(inputs, fs_copy(fs_item(fs_get(more, "inputs"), i)));
    }
    for (size_t i = 0; i < fs_size(new_outputs); i++) {
        for (size_t k = 0; k < fs_size(outputs); k++) {
            xmlrpc_value *output = fs_item(outputs, k);
            if (fs_get_int(output, "port", -1) == fs_get_int(fs_item(new_outputs, i), "port", -2)) {
                fs_set(output, "spi", fs_int(fs_get_int(fs_item(new_outputs, i), "spi", 0)));
            }
        }
    }
}

static xmlrpc_value *
named(const xmlrpc_value *modules, const char *name)
{
    for (size_t i = 0; i < fs_size(modules); i++) {
        if (!strcmp(fs_get_string(fs_item(modules, i), "name", ""), name)) {
            return fs_item(modules, i);
        }
    }
    return NULL;
}

struct wanted {
    const char *host;
    const struct resource_claims *mine;
    xmlrpc_value *found, *unsure, *unsure_ids;
};

/* The modules of one plan: those of its own, or what its connections add to those that were found. */
static void
collect(struct wanted *w, const struct allocation *a, bool existing)
{
    struct fs_packed m = { 0 };
    for (struct fs_packed_items i = fs_packed_items(fs_packed_get(fs_packed_get(resource_doc(a), "plan"), "modules")); fs_packed_next(&i, &m);) {
        const char *name = fs_packed_get_string(m, "name", "");
        if (strcmp(fs_packed_get_string(m, "host", ""), w->host) || fs_packed_get_bool(m, "existing", false) != existing) {
            continue;
        }
        if (!is_sure(a, w->mine)) {
            fs_set(w->unsure, name, fs_nil());
        } else if (!existing) {
            fs_append(w->found, fs_packed_value(m));
        } else if (named(w->found, name)) {
            xmlrpc_value *more = fs_packed_value(m);
            add_ports(named(w->found, name), more);
            fs_free(more);
        }
    }
    if (w->unsure_ids && !existing && !is_sure(a, w->mine)) {
        char id[16];
        snprintf(id, sizeof id, "%d", a->id);
        fs_set(w->unsure_ids, id, fs_bool(resource_is_installed(a)));
    }
}

xmlrpc_value *
resource_wanted_modules(struct resource *r, const char *host, const struct resource_ids *only, const struct resource_claims *mine, xmlrpc_value *unsure,
                        xmlrpc_value *unsure_ids)
{
    struct wanted w = { host, mine, fs_array(), unsure, unsure_ids };
    pthread_mutex_lock(&r->lock);
    for (size_t i = 0; only && i < only->n; i++) {
        const struct allocation *a = resource_find(r, only->ids[i]);
        if (a) {
            collect(&w, a, false);
        }
    }
    for (const struct stay *stay = only ? NULL : resource_stays_on(r, host); stay; stay = stay->next) {
        collect(&w, stay->allocation, false);
    }
    for (const struct allocation *a = r->by_hand; a; a = a->next_by_hand) {
        collect(&w, a, true);
    }
    pthread_mutex_unlock(&r->lock);
    return w.found;
}

xmlrpc_value *
resource_wanted_rules(struct resource *r, int id, const char *name)
{
    xmlrpc_value *found = NULL;
    pthread_mutex_lock(&r->lock);
    struct allocation *a = resource_find(r, id);
    if (a && resource_is_installed(a)) {
        struct fs_packed one = { 0 }, here = { 0 };
        for (struct fs_packed_items i = fs_packed_items(fs_packed_get(fs_packed_get(resource_doc(a), "plan"), "rules")); !here.block && fs_packed_next(&i, &one);) {
            here = strcmp(fs_packed_get_string(one, "switch", ""), name) ? here : one;
        }
        struct fs_packed rules = fs_packed_get(here, "rules"), meters = fs_packed_get(here, "meters");
        found = fs_set(fs_set(fs_struct(), "allocation", fs_int(id)), "rules", rules.block ? fs_packed_value(rules) : fs_array());
        if (meters.block) {
            fs_set(found, "meters", fs_packed_value(meters));
        }
    }
    pthread_mutex_unlock(&r->lock);
    return found;
}

/* The ids of those of the stays that may be told, ascending (owned). */
static int *
ids_of(const struct stay *stays, bool installed, size_t *n)
{
    int *ids = NULL;
    size_t room = 0;
    *n = 0;
    for (const struct stay *s = stays; s; s = s->next) {
        if (!installed || resource_is_installed(s->allocation)) {
            if (*n == room) {
                room = room * 2 + 64;
                ids = fs_xrealloc(ids, room * sizeof *ids);
            }
            ids[(*n)++] = s->allocation->id;
        }
    }
    if (*n) {
        qsort(ids, *n, sizeof *ids, resource_by_id);
    }
    return ids ? ids : fs_xcalloc(1, sizeof *ids);
}

int *
resource_ids_in(struct resource *r, const char *name, size_t *n)
{
    pthread_mutex_lock(&r->lock);
    int *ids = ids_of(resource_stays_in(r, name), true, n);
    pthread_mutex_unlock(&r->lock);
    ids = fs_xrealloc(ids, (*n + 1) * sizeof *ids);
    memmove(ids + 1, ids, *n * sizeof *ids);
    ids[0] = 0;
    (*n)++;
    return ids;
}

int *
resource_ids_on(struct resource *r, const char *host, size_t *n)
{
    pthread_mutex_lock(&r->lock);
    int *ids = ids_of(resource_stays_on(r, host), false, n);
    pthread_mutex_unlock(&r->lock);
    return ids;
}

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
        resource_release(r, claims->ids[i]);
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
    return !strcmp(fs_get_string(a->doc, "state", ""), "installed") && (!a->busy || resource_claims_has(mine, a->id));
}

bool
resource_knows(struct resource *r, int id)
{
    pthread_mutex_lock(&r->lock);
    bool known = resource_find(r, id);
    pthread_mutex_unlock(&r->lock);
    return known;
}

xmlrpc_value *
resource_unsure(struct resource *r, const struct resource_claims *mine)
{
    xmlrpc_value *ids = fs_struct();
    pthread_mutex_lock(&r->lock);
    for (struct allocation *a = r->allocations; a; a = a->next) {
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

/* One pass over the plans: modules of their own first, then what connections add to them. */
static void
collect(struct resource *r, const char *host, const struct resource_claims *mine, bool existing, xmlrpc_value *found, xmlrpc_value *unsure)
{
    for (struct allocation *a = r->allocations; a; a = a->next) {
        const xmlrpc_value *modules = fs_get(fs_get(a->doc, "plan"), "modules");
        for (size_t i = 0; i < fs_size(modules); i++) {
            const xmlrpc_value *m = fs_item(modules, i);
            const char *name = fs_get_string(m, "name", "");
            if (strcmp(fs_get_string(m, "host", ""), host) || fs_get_bool(m, "existing", false) != existing) {
                continue;
            }
            if (!is_sure(a, mine)) {
                fs_set(unsure, name, fs_nil());
            } else if (!existing) {
                fs_append(found, fs_copy(m));
            } else if (named(found, name)) {
                add_ports(named(found, name), m);
            }
        }
    }
}

xmlrpc_value *
resource_wanted_modules(struct resource *r, const char *host, const struct resource_claims *mine, xmlrpc_value *unsure)
{
    xmlrpc_value *found = fs_array();
    pthread_mutex_lock(&r->lock);
    collect(r, host, mine, false, found, unsure);
    collect(r, host, mine, true, found, unsure);
    pthread_mutex_unlock(&r->lock);
    return found;
}

xmlrpc_value *
resource_wanted_rules(struct resource *r, int id, const char *name)
{
    xmlrpc_value *found = NULL;
    pthread_mutex_lock(&r->lock);
    struct allocation *a = resource_find(r, id);
    if (a && !strcmp(fs_get_string(a->doc, "state", ""), "installed")) {
        const xmlrpc_value *switches = fs_get(fs_get(a->doc, "plan"), "rules"), *here = NULL;
        for (size_t i = 0; i < fs_size(switches) && !here; i++) {
            here = strcmp(fs_get_string(fs_item(switches, i), "switch", ""), name) ? NULL : fs_item(switches, i);
        }
        found = fs_set(fs_set(fs_struct(), "allocation", fs_int(id)), "rules", fs_get(here, "rules") ? fs_copy(fs_get(here, "rules")) : fs_array());
        if (fs_get(here, "meters")) {
            fs_set(found, "meters", fs_copy(fs_get(here, "meters")));
        }
    }
    pthread_mutex_unlock(&r->lock);
    return found;
}

static bool
has_rules_in(const struct allocation *a, const char *name)
{
    const xmlrpc_value *switches = fs_get(fs_get(a->doc, "plan"), "rules");
    for (size_t i = 0; i < fs_size(switches); i++) {
        if (!strcmp(fs_get_string(fs_item(switches, i), "switch", ""), name)) {
            return true;
        }
    }
    return false;
}

int *
resource_ids_in(struct resource *r, const char *name, size_t *n)
{
    int *ids = NULL;
    size_t room = 0;
    *n = 0;
    pthread_mutex_lock(&r->lock);
    for (struct allocation *a = r->allocations; a; a = a->next) {
        if (!strcmp(fs_get_string(a->doc, "state", ""), "installed") && has_rules_in(a, name)) {
            if (*n == room) {
                room = room * 2 + 64;
                ids = fs_xrealloc(ids, room * sizeof *ids);
            }
            ids[(*n)++] = a->id;
        }
    }
    pthread_mutex_unlock(&r->lock);
    return ids ? ids : fs_xcalloc(1, sizeof *ids);
}

/* What meters a switch has against those that it should have: compare.c does the same for rules. */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <util.h>

#include <flowstream/openflow.h>

#include "openflow/meters.h"
#include "openflow/switch.h"

struct comparing {
    const uint32_t *ids;
    size_t n_ids;
    const struct fs_meter *wanted;
    size_t n;
    struct fs_meter_difference *differences;
    size_t n_differences, allocated;
};

static void
add_difference(struct comparing *c, enum fs_difference_kind kind, const struct fs_meter *m, char *why /* taken */)
{
    if (c->n_differences == c->allocated) {
        c->differences = x2nrealloc(c->differences, &c->allocated, sizeof *c->differences);
    }
    c->differences[c->n_differences++] = (struct fs_meter_difference) { .kind = kind, .meter = *m, .why = why };
}

static void
look_for(struct comparing *c, const struct meter_list *list, const struct fs_meter *m)
{
    const struct fs_meter *is = meters_find(list, m->id);
    if (!is) {
        add_difference(c, FS_RULE_MISSING, m, NULL);
    } else if (!is->ours || is->allocation != m->allocation) {
        add_difference(c, FS_RULE_CHANGED, m, xasprintf("meter %" PRIu32 " belongs to somebody else: remove it there (ovs-ofctl del-meter), or install the request again, for another id", m->id));
    } else if (is->kbps != m->kbps || is->burst != m->burst) {
        add_difference(c, FS_RULE_CHANGED, m, NULL);
    }
}

static bool
is_among(const struct comparing *c, uint32_t allocation)
{
    for (size_t i = 0; i < c->n_ids; i++) {
        if (c->ids[i] == allocation) {
            return true;
        }
    }
    return false;
}

static bool
is_wanted(const struct comparing *c, uint32_t id)
{
    for (size_t i = 0; i < c->n; i++) {
        if (c->wanted[i].id == id) {
            return true;
        }
    }
    return false;
}

static void
forget(struct comparing *c)
{
    fs_meter_differences_free(c->differences, c->n_differences);
    c->differences = NULL;
    c->n_differences = c->allocated = 0;
}

static int
compare_meters(struct fs_switch *sw, void *aux, int64_t deadline, char **error)
{
    struct comparing *c = aux;
    struct meter_list list = { 0 };
    forget(c);
    int status = meters_read(sw, &list, deadline, error);
    for (size_t i = 0; i < c->n && !status; i++) {
        look_for(c, &list, &c->wanted[i]);
    }
    for (size_t i = 0; i < list.n && !status; i++) {
        const struct fs_meter *m = &list.meters[i];
        if (m->ours && is_among(c, m->allocation) && !is_wanted(c, m->id)) {
            add_difference(c, FS_RULE_EXTRA, m, NULL);
        }
    }
    free(list.meters);
    return status;
}

/* Has the allocation a rule in the switch that uses the meter? */
static bool
is_used(struct fs_switch *sw, const struct fs_meter *m, int deadline_ms)
{
    struct fs_rule *rules = NULL;
    size_t n = 0;
    bool used = false;
    fs_switch_rules(sw, fs_cookie(m->allocation, 0), FS_COOKIE_ALLOCATION_MASK, &rules, &n, deadline_ms, NULL);
    for (size_t i = 0; i < n && !used; i++) {
        uint32_t id = 0;
        used = sscanf(rules[i].actions, "meter:%" SCNu32, &id) == 1 && id == m->id; /* it is always the first action */
    }
    fs_rules_free(rules, n);
    return used;
}

int
fs_switch_compare_meters(struct fs_switch *sw, const uint32_t *allocations, size_t n_allocations, const struct fs_meter *wanted, size_t n,
                         struct fs_meter_difference **differences, size_t *n_differences, int deadline_ms, char **error)
{
    struct comparing c = { .ids = allocations, .n_ids = n_allocations, .wanted = wanted, .n = n };
    int status = switch_run(sw, compare_meters, &c, deadline_ms, error);
    if (status) {
        forget(&c);
    }
    for (size_t i = 0; i < c.n_differences; i++) {
        struct fs_meter_difference *d = &c.differences[i];
        d->adopt = d->why && is_used(sw, &d->meter, deadline_ms);
        if (d->adopt) {
            free(d->why);
            d->why = NULL;
        }
    }
    *differences = c.differences;
    *n_differences = c.n_differences;
    return status;
}

void
fs_meter_differences_free(struct fs_meter_difference *differences, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(differences[i].why);
    }
    free(differences);
}

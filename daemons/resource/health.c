/* Which allocations are not as they should be, and when something may be done about them again; see reconcile.h.
 *
 * The first repair is at once.  One that is needed again within a minute waits a second, then two, four and so on up to a minute; so a module that dies as soon as it is started
 * costs little, and the allocation says why it is degraded. */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "core/util.h"
#include "daemons/resource/reconcile.h"
#include "daemons/resource/state.h"

enum { FIRST_WAIT_MS = 1000, LONGEST_WAIT_MS = 60000, HOLDS_MS = 60000 };

struct resource_patient {
    int id, repairs;
    enum resource_part part;
    int64_t repaired, next;
    bool ill;
    char *why;
    struct resource_patient *after;
};

static struct resource_patient *
find(struct resource *r, int id, enum resource_part part)
{
    struct resource_patient *p = r->patients;
    while (p && (p->id != id || p->part != part)) {
        p = p->after;
    }
    return p;
}

bool
resource_may_mend(struct resource *r, int id, enum resource_part part)
{
    pthread_mutex_lock(&r->lock);
    struct resource_patient *p = find(r, id, part);
    bool may = !p || fs_now_ms() >= p->next;
    if (p && !may) {
        p->ill = true; /* it was asked because something is wrong */
    }
    pthread_mutex_unlock(&r->lock);
    return may;
}

void
resource_note_mended(struct resource *r, int id, enum resource_part part, const char *what, const char *failed)
{
    pthread_mutex_lock(&r->lock);
    struct resource_patient *p = find(r, id, part);
    int64_t now = fs_now_ms();
    if (!p) {
        p = fs_xcalloc(1, sizeof *p);
        p->id = id;
        p->part = part;
        p->after = r->patients;
        r->patients = p;
    }
    int64_t wait = p->repairs >= 6 ? LONGEST_WAIT_MS : FIRST_WAIT_MS << p->repairs;
    p->repairs++;
    p->repaired = now;
    p->next = now + wait;
    p->ill = failed || p->repairs > 1;
    free(p->why);
    p->why = failed ? fs_xasprintf("%s: %s (tried %d times, again in %lld s)", what, failed, p->repairs, (long long) wait / 1000)
                    : fs_xasprintf("%s (mended %d times; should it be so again, it is mended in %lld s)", what, p->repairs, (long long) wait / 1000);
    pthread_mutex_unlock(&r->lock);
}

void
resource_note_healthy(struct resource *r, int id, enum resource_part part)
{
    pthread_mutex_lock(&r->lock);
    for (struct resource_patient **p = &r->patients; *p; p = &(*p)->after) {
        if ((*p)->id == id && (*p)->part == part) {
            struct resource_patient *well = *p;
            well->ill = false;
            if (fs_now_ms() - well->repaired > HOLDS_MS) {
                *p = well->after;
                free(well->why);
                free(well);
            }
            break;
        }
    }
    pthread_mutex_unlock(&r->lock);
}

char *
resource_degraded(struct resource *r, int id)
{
    pthread_mutex_lock(&r->lock);
    struct resource_patient *p = find(r, id, RESOURCE_MODULES);
    p = p && p->ill ? p : find(r, id, RESOURCE_RULES);
    char *why = p && p->ill ? fs_xstrdup(p->why) : NULL;
    pthread_mutex_unlock(&r->lock);
    return why;
}

void
resource_note_others_healthy(struct resource *r, enum resource_part part, const xmlrpc_value *differences)
{
    size_t n = 0;
    pthread_mutex_lock(&r->lock);
    for (struct resource_patient *p = r->patients; p; p = p->after) {
        n++;
    }
    int *ids = fs_xcalloc(n + 1, sizeof *ids);
    n = 0;
    for (struct resource_patient *p = r->patients; p; p = p->after) {
        ids[n++] = p->id;
    }
    pthread_mutex_unlock(&r->lock);
    for (size_t i = 0; i < n; i++) {
        if (!resource_differs(differences, ids[i]) && !resource_memory_is_doubted(r, ids[i])) {
            resource_note_healthy(r, ids[i], part);
        }
    }
    free(ids);
}

void
resource_patients_free(struct resource *r)
{
    for (struct resource_patient *p = r->patients, *after; p; p = after) {
        after = p->after;
        free(p->why);
        free(p);
    }
    r->patients = NULL;
}

/* Which allocations are not as they should be, where, and when something may be done about them again; see reconcile.h.
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
    int64_t repaired, next;
    bool ill;
    char *place, *why;
    struct resource_patient *after;
};

static struct resource_patient *
find(struct resource *r, int id, const char *place)
{
    struct resource_patient *p = r->patients;
    while (p && (p->id != id || strcmp(p->place, place))) {
        p = p->after;
    }
    return p;
}

static void
discharge(struct resource_patient **p)
{
    struct resource_patient *gone = *p;
    *p = gone->after;
    free(gone->place);
    free(gone->why);
    free(gone);
}

bool
resource_may_mend(struct resource *r, int id, const char *place)
{
    pthread_mutex_lock(&r->lock);
    struct resource_patient *p = find(r, id, place);
    bool may = !p || fs_now_ms() >= p->next;
    if (p && !may) {
        p->ill = true; /* it was asked because something is wrong */
    }
    pthread_mutex_unlock(&r->lock);
    return may;
}

void
resource_note_mended(struct resource *r, int id, const char *place, const char *what, const char *failed)
{
    pthread_mutex_lock(&r->lock);
    struct resource_patient *p = find(r, id, place);
    int64_t now = fs_now_ms();
    if (!p) {
        p = fs_xcalloc(1, sizeof *p);
        p->id = id;
        p->place = fs_xstrdup(place);
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

/* Found right: what has held for long is forgotten. */
static void
note_healthy(struct resource_patient **p)
{
    (*p)->ill = false;
    if (fs_now_ms() - (*p)->repaired > HOLDS_MS) {
        discharge(p);
    }
}

void
resource_note_healthy(struct resource *r, int id, const char *place)
{
    pthread_mutex_lock(&r->lock);
    for (struct resource_patient **p = &r->patients; *p; p = &(*p)->after) {
        if ((*p)->id == id && !strcmp((*p)->place, place)) {
            note_healthy(p);
            break;
        }
    }
    pthread_mutex_unlock(&r->lock);
}

void
resource_note_others_healthy(struct resource *r, const char *place, const int *wrong, size_t n)
{
    pthread_mutex_lock(&r->lock);
    for (struct resource_patient **p = &r->patients, *one; (one = *p); p = *p == one ? &one->after : p) {
        if (!strcmp(one->place, place) && !(n && bsearch(&one->id, wrong, n, sizeof *wrong, resource_by_id))) {
            note_healthy(p);
        }
    }
    pthread_mutex_unlock(&r->lock);
}

char *
resource_degraded(struct resource *r, int id)
{
    pthread_mutex_lock(&r->lock);
    const struct resource_patient *p = r->patients;
    while (p && !(p->id == id && p->ill)) {
        p = p->after;
    }
    char *why = p ? fs_xstrdup(p->why) : NULL;
    pthread_mutex_unlock(&r->lock);
    return why;
}

void
resource_begin_anew(struct resource *r, int id)
{
    for (struct resource_patient **p = &r->patients, *one; (one = *p); p = *p == one ? &one->after : p) {
        if (one->id == id) {
            discharge(p);
        }
    }
}

void
resource_begin_anew_at(struct resource *r, const char *place)
{
    pthread_mutex_lock(&r->lock);
    for (struct resource_patient **p = &r->patients, *one; (one = *p); p = *p == one ? &one->after : p) {
        if (!strcmp(one->place, place)) {
            discharge(p);
        }
    }
    pthread_mutex_unlock(&r->lock);
    resource_memory_renew(r, place);
}

void
resource_patients_free(struct resource *r)
{
    while (r->patients) {
        discharge(&r->patients);
    }
}

/* Deletions by name that were asked for with a key, so that the same call may be said again.
 *
 * A name may be given anew as soon as what had it is deleted, so who repeats a deletion because he has heard no answer could delete something newer.  Therefore the key is kept, with
 * the call that it was and the allocation that it deleted, in the transaction that marks the allocation as deleted: what is marked is deleted whatever happens then, and
 * ids are not used twice.  Of one that is still on its way to the disk it is not known yet whether it will be there: who comes with its key waits for that. */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/pack.h"
#include "core/util.h"
#include "daemons/resource/answered.h"
#include "daemons/resource/state.h"

enum { DROP_AT_ONCE = RESOURCE_OTHERS - 1 };

struct answered {
    char *key, *what;
    int allocation;
    int64_t since;   /* fs_now_ms(), as if this daemon had run then */
    bool writing;
    struct answered *next;
};

/* --- In memory --- */

static struct answered *
add(struct resource *r, const char *key, const char *what, int allocation, int64_t since)
{
    struct answered *a = fs_xcalloc(1, sizeof *a);
    *a = (struct answered) { fs_xstrdup(key), fs_xstrdup(what), allocation, since, false, r->answered };
    r->answered = a;
    r->n_answered++;
    return a;
}

static void
strike(struct resource *r, struct answered *a)
{
    struct answered **link = &r->answered;
    while (*link != a) {
        link = &(*link)->next;
    }
    *link = a->next;
    r->n_answered--;
    free(a->key);
    free(a->what);
    free(a);
}

static bool
is_old(const struct answered *a)
{
    return fs_now_ms() - a->since > RESOURCE_ANSWERED_SECONDS * INT64_C(1000);
}

static struct answered *
find(struct resource *r, const char *key)
{
    struct answered *a = r->answered;
    while (a && strcmp(a->key, key)) {
        a = a->next;
    }
    return a;
}

/* The deletion with that key, once it is on the disk; NULL: there is none, or not any more. */
static struct answered *
find_quiet(struct resource *r, const char *key)
{
    struct answered *a;
    while ((a = find(r, key)) && a->writing) {
        pthread_cond_wait(&r->written, &r->lock);
    }
    return a && !is_old(a) ? a : NULL;
}

/* The one to go first, of those that are on the disk; NULL: none must go. */
static struct answered *
find_outlived(struct resource *r)
{
    struct answered *oldest = NULL;
    for (struct answered *a = r->answered; a; a = a->next) {
        oldest = !a->writing && (!oldest || a->since < oldest->since) ? a : oldest;
    }
    return oldest && (is_old(oldest) || r->n_answered > RESOURCE_ANSWERED_MOST) ? oldest : NULL;
}

void
resource_answered_free(struct resource *r)
{
    while (r->answered) {
        strike(r, r->answered);
    }
}

/* --- In the store --- */

void
resource_load_answered(void *aux, const char *key, xmlrpc_value *doc)
{
    double age = difftime(time(NULL), (time_t) fs_get_double(doc, "time", 0));
    add(aux, key, fs_get_string(doc, "what", ""), fs_get_int(doc, "allocation", 0), fs_now_ms() - (int64_t) (age > 0 ? age * 1000 : 0));
    fs_free(doc);
}

static unsigned char *
pack(const struct answered *a, size_t *size)
{
    xmlrpc_value *doc = fs_set(fs_set(fs_struct(), "what", fs_string(a->what)), "allocation", fs_int(a->allocation));
    fs_set(doc, "time", fs_double((double) time(NULL)));
    unsigned char *block = fs_pack(doc, size);
    fs_free(doc);
    return block;
}

/* Mark the allocation, keep the new one and drop those that it has outlived: one transaction. */
static int
write_marked(struct resource *r, struct answered *new, char **error)
{
    struct fs_block_record records[RESOURCE_OTHERS];
    char *dropped[DROP_AT_ONCE];
    size_t n = 0, size;
    for (struct answered *a; n < DROP_AT_ONCE && (a = find_outlived(r)); n++) {
        dropped[n] = fs_xstrdup(a->key);
        records[n] = (struct fs_block_record) { .kind = "answered", .name = dropped[n] };
        strike(r, a);
    }
    unsigned char *block = pack(new, &size);
    records[n] = (struct fs_block_record) { .kind = "answered", .name = new->key, .block = block, .size = size };
    xmlrpc_value *members = fs_set(fs_struct(), "state", fs_string("deleting"));
    int e = resource_change(r, new->allocation, members, records, n + 1, error);
    fs_free(members);
    free(block);
    while (n) {
        free(dropped[--n]);
    }
    return e;
}

int
resource_mark_deleted(struct resource *r, int id, const char *key, const char *what, char **error)
{
    pthread_mutex_lock(&r->lock);
    struct answered *a = find_quiet(r, key);
    int e = a && (a->allocation != id || strcmp(a->what, what)) ? EEXIST : 0;
    if (!a) {
        struct answered *old = find(r, key);
        if (old) {
            strike(r, old);
        }
        a = add(r, key, what, id, fs_now_ms());
        a->writing = true;
        e = write_marked(r, a, error);
        a->writing = false;
        if (e) {
            strike(r, a);
        }
        resource_written(r);
    }
    pthread_mutex_unlock(&r->lock);
    return e;
}

enum resource_said
resource_was_deleted(struct resource *r, const char *key, const char *what, int *id, char **error)
{
    pthread_mutex_lock(&r->lock);
    const struct answered *a = *key ? find_quiet(r, key) : NULL;
    const struct allocation *its = a ? resource_find(r, a->allocation) : NULL;
    enum resource_said said = !a                                         ? RESOURCE_NOT_SAID
                              : strcmp(a->what, what)                    ? RESOURCE_SAID_OTHERWISE
                              : its && !strcmp(its->state, "deleting") ? RESOURCE_BEING_DONE
                                                                         : RESOURCE_DONE;
    *id = a ? a->allocation : 0;
    if (said == RESOURCE_SAID_OTHERWISE) {
        *error = fs_xasprintf("key '%s' is that of another call, %s: give this one a key of its own", key, a->what);
    }
    pthread_mutex_unlock(&r->lock);
    return said;
}

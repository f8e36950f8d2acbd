/* The life of allocations in memory and in the store: entered, changed, worked on, forgotten, brought back from a backup.
 *
 * What is in memory is what is on the disk: a change is first written, with the lock given back while the disk is synced, and the allocation stays as it was until that is done.  So
 * nobody is told of what could be lost, and those who change different allocations share a sync.  One that is new is entered before it is written, so that another with
 * the same key, or for the same packets, waits for what becomes of it; nobody else finds it. */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/engine.h"
#include "core/util.h"
#include "core/xmlrpc.h"
#include "daemons/resource/state.h"
#include <flowstream/openflow.h>

/* --- The store --- */

int
resource_write(struct resource *r, const struct fs_block_record *changes, size_t n, char **error)
{
    struct fs_store_promise *promise = fs_store_post(r->store, changes, n);
    pthread_mutex_unlock(&r->lock);
    int e = fs_store_await(promise, error);
    pthread_mutex_lock(&r->lock);
    return e;
}

void
resource_written(struct resource *r)
{
    pthread_cond_broadcast(&r->written);
}

/* A number of the daemon's own as a record; the block is for the caller to free. */
static struct fs_block_record
counter(const char *name, int n)
{
    struct fs_block_record c = { .kind = "counter", .name = name };
    xmlrpc_value *v = fs_int(n);
    c.block = fs_pack(v, &c.size);
    fs_free(v);
    return c;
}

static void
drop(const struct fs_block_record *c)
{
    free((void *) (uintptr_t) c->block);
}

/* Write an allocation's document, or (block NULL) that it is no more, and 'n' other records in the same transaction.  It is marked meanwhile. */
static int
write_doc(struct resource *r, struct allocation *a, const unsigned char *block, size_t size, const struct fs_block_record *others, size_t n, char **error)
{
    char name[16];
    snprintf(name, sizeof name, "%d", a->id);
    struct fs_block_record changes[1 + RESOURCE_OTHERS] = { { .kind = "allocation", .name = name, .block = block, .size = size } };
    assert(n <= RESOURCE_OTHERS);
    if (n) {
        memcpy(&changes[1], others, n * sizeof *others);
    }
    a->writing = true;
    int e = resource_write(r, changes, 1 + n, error);
    a->writing = false;
    resource_written(r);
    return e;
}

/* The allocation, once no change of it is under way; NULL: there is none. */
static struct allocation *
find_quiet(struct resource *r, int id)
{
    struct allocation *a;
    while ((a = resource_find(r, id)) && a->writing) {
        pthread_cond_wait(&r->written, &r->lock);
    }
    return a;
}

/* --- Memory --- */

struct allocation *
resource_load_allocation(struct resource *r, int id, unsigned char *block, size_t size)
{
    struct allocation *a = fs_xcalloc(1, sizeof *a);
    a->id = id;
    a->block = block;
    a->size = size;
    resource_index_add(r, a);
    r->last_id = id > r->last_id ? id : r->last_id;
    return a;
}

/* A new one, which is not on the disk yet. */
static struct allocation *
enter_block(struct resource *r, int id, unsigned char *block, size_t size)
{
    struct allocation *a = resource_load_allocation(r, id, block, size);
    a->entering = true;
    resource_index_rest(r, a);
    resource_claims_add(r, a);
    return a;
}

void
resource_strike(struct resource *r, struct allocation *a)
{
    resource_unaccount(r, a);
    resource_claims_remove(a);
    resource_index_remove(r, a);
    free(a->block);
    free(a);
}

/* Enter what is new in memory and in the store: its id, or 0 with *error.  Who has it entered works on it. */
static int
enter(struct resource *r, int id, const xmlrpc_value *doc, bool busy, char **error)
{
    size_t size;
    unsigned char *block = fs_pack(doc, &size);
    struct allocation *a = enter_block(r, id, block, size);
    struct fs_block_record last = counter("last_id", r->last_id);
    int e = write_doc(r, a, block, size, &last, 1, error);
    drop(&last);
    if (e) {
        resource_strike(r, a);
        return 0;
    }
    a->entering = false;
    a->busy = busy;
    resource_index_rest(r, a);
    return id;
}

/* --- New ones --- */

static xmlrpc_value *
new_doc(int id, const char *text, const char *name, const char *key, const char *owner, const xmlrpc_value *request)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    xmlrpc_value *doc = fs_struct();
    fs_set(doc, "id", fs_int(id));
    fs_set(doc, "name", *name ? fs_string(name) : fs_stringf("request%d", id));
    fs_set(doc, "owner", fs_string(owner));
    fs_set(doc, "key", fs_string(key));
    fs_set(doc, "state", fs_string("installing"));
    fs_set(doc, "message", fs_string(""));
    fs_set(doc, "created", fs_double((double) now.tv_sec));
    fs_set(doc, "text", fs_string(text));
    return fs_set(doc, "request", fs_copy(request));
}

/* A request as text.  What the language warned of is left out: it names the file, which may be another. */
static char *
encode(const xmlrpc_value *request, size_t *size)
{
    xmlrpc_value *copy = fs_set(fs_copy(request), "warnings", fs_string(""));
    char *text = fs_xmlrpc_encode_value(copy, size);
    fs_free(copy);
    return text;
}

/* Was it made from the same text, with the same parameters and included texts? */
static bool
is_same_request(const struct allocation *a, const char *text, const xmlrpc_value *request)
{
    if (strcmp(fs_packed_get_string(resource_doc(a), "text", ""), text)) {
        return false;
    }
    xmlrpc_value *its = fs_packed_value(fs_packed_get(resource_doc(a), "request"));
    bool same = fs_is(its, XMLRPC_TYPE_STRUCT);
    if (same) {
        size_t sizes[2];
        char *ours = encode(its, &sizes[0]), *theirs = encode(request, &sizes[1]);
        same = sizes[0] == sizes[1] && !memcmp(ours, theirs, sizes[0]);
        free(ours);
        free(theirs);
    }
    fs_free(its);
    return same;
}

/* What stands against the request: an allocation with its key, or one that takes its packets, with *error; 0: nothing.  Of one that is being written it is not known yet whether it
 * will be there: then it waits and looks again. */
static int
find_other(struct resource *r, const char *key, const xmlrpc_value *request, const struct allocation **same_key, char **error)
{
    for (;;) {
        const struct allocation *a = resource_find_key(r, key);
        *same_key = a;
        int other = a ? a->id : resource_conflict_locked(r, request, error);
        a = a ? a : other > 0 ? resource_find_entering(r, other) : NULL;
        if (!a || !a->writing) {
            return other;
        }
        free(*error);
        *error = NULL;
        pthread_cond_wait(&r->written, &r->lock);
    }
}

int
resource_new_allocation(struct resource *r, const char *text, const char *name, const char *key, const char *owner,
                        const xmlrpc_value *request, bool *again, char **error)
{
    const struct allocation *a;
    pthread_mutex_lock(&r->lock);
    int other = find_other(r, key, request, &a, error), id = 0;
    *again = a && is_same_request(a, text, request);
    if (*again) {
        id = other;
    } else if (a) {
        *error = fs_xasprintf("key '%s' is that of allocation %d (%s), which was made from another text or with other parameters: give this request another "
                              "key, or delete that allocation first", key, other, fs_packed_get_string(resource_doc(a), "name", ""));
    } else if (!other) {
        xmlrpc_value *doc = new_doc(r->last_id + 1, text, name, key, owner, request);
        id = enter(r, r->last_id + 1, doc, true, error);
        fs_free(doc);
    }
    pthread_mutex_unlock(&r->lock);
    return id;
}

int
resource_next_id(struct resource *r)
{
    pthread_mutex_lock(&r->lock);
    int id = r->last_id + 1;
    pthread_mutex_unlock(&r->lock);
    return id;
}

bool
resource_exists(struct resource *r, int id)
{
    pthread_mutex_lock(&r->lock);
    bool exists = resource_find(r, id) != NULL;
    pthread_mutex_unlock(&r->lock);
    return exists;
}

xmlrpc_value *
resource_allocation(struct resource *r, int id)
{
    pthread_mutex_lock(&r->lock);
    const struct allocation *a = resource_find(r, id);
    size_t size = a ? a->size : 0;
    unsigned char *block = a ? fs_xmalloc(size) : NULL;
    if (a) {
        memcpy(block, a->block, size);
    }
    pthread_mutex_unlock(&r->lock);
    xmlrpc_value *doc = block ? fs_packed_value(fs_packed(block, size)) : NULL; /* a tree takes its time: not under the lock */
    free(block);
    return doc;
}

/* --- Changes --- */

/* The document with these members in place of its own. */
static unsigned char *
changed(const struct allocation *a, const xmlrpc_value *members, size_t *size)
{
    xmlrpc_value *doc = fs_packed_value(resource_doc(a));
    for (size_t i = 0, n = fs_size(members); i < n; i++) {
        xmlrpc_value *v;
        const char *key = fs_member(members, i, &v);
        fs_set(doc, key, fs_copy(v));
    }
    unsigned char *block = fs_pack(doc, size);
    fs_free(doc);
    return block;
}

int
resource_change(struct resource *r, int id, const xmlrpc_value *members, const struct fs_block_record *others, size_t n, char **error)
{
    struct allocation *a = find_quiet(r, id);
    if (!a) {
        *error = fs_xasprintf("there is no allocation %d", id);
        return ENOENT;
    }
    size_t size;
    unsigned char *block = changed(a, members, &size);
    int e = write_doc(r, a, block, size, others, n, error);
    if (e) {
        free(block);
    } else {
        resource_set_doc(r, a, block, size);
    }
    return e;
}

int
resource_update(struct resource *r, int id, xmlrpc_value *members, char **error)
{
    pthread_mutex_lock(&r->lock);
    int e = resource_change(r, id, members, NULL, 0, error);
    pthread_mutex_unlock(&r->lock);
    fs_free(members);
    return e;
}

int
resource_keep_plan(struct resource *r, int id, const xmlrpc_value *plan, char **error)
{
    xmlrpc_value *members = fs_set(fs_struct(), "plan", fs_copy(plan));
    pthread_mutex_lock(&r->lock);
    struct fs_block_record last = counter("last_spi", r->last_spi);
    int e = resource_change(r, id, members, &last, 1, error);
    struct allocation *a = e ? NULL : resource_find(r, id);
    if (a) {
        free(a->planned);
        a->planned = NULL;
    }
    pthread_mutex_unlock(&r->lock);
    drop(&last);
    fs_free(members);
    return e;
}

/* Does somebody work on it?  A task that was cancelled before it began does not, and cannot say so itself. */
bool
resource_is_busy(struct resource *r, struct allocation *a)
{
    if (a->busy && a->handle) {
        xmlrpc_value *task = fs_engine_describe(fs_daemon_engine(r->daemon), a->handle);
        const char *state = fs_get_string(task, "state", "");
        a->busy = strcmp(state, "cancelled") != 0;
        fs_free(task);
    }
    return a->busy;
}

bool
resource_claim(struct resource *r, int id)
{
    pthread_mutex_lock(&r->lock);
    struct allocation *a = resource_find(r, id);
    bool mine = a && !resource_is_busy(r, a);
    if (mine) {
        a->busy = true;
        a->handle = 0;
        resource_index_rest(r, a);
    }
    pthread_mutex_unlock(&r->lock);
    return mine;
}

void
resource_claimed_by(struct resource *r, int id, int handle)
{
    pthread_mutex_lock(&r->lock);
    struct allocation *a = resource_find(r, id);
    if (a && a->busy) {
        a->handle = handle;
    }
    pthread_mutex_unlock(&r->lock);
}

static void
release(struct resource *r, int id, bool changed)
{
    pthread_mutex_lock(&r->lock);
    struct allocation *a = resource_find(r, id);
    if (a) {
        a->busy = false;
        a->handle = 0;
        resource_index_rest(r, a);
    }
    if (a && changed) {
        resource_doubt_allocation(r, a);
    }
    pthread_mutex_unlock(&r->lock);
}

void
resource_release(struct resource *r, int id)
{
    release(r, id, true);
}

void
resource_release_unchanged(struct resource *r, int id)
{
    release(r, id, false);
}

/* Between begin and end of placing the account is being read and tried out: whoever changes it otherwise takes that lock first, but not to wait for the disk. */
static void
take_both(struct resource *r)
{
    pthread_mutex_unlock(&r->lock);
    pthread_mutex_lock(&r->placing);
    pthread_mutex_lock(&r->lock);
}

int
resource_forget(struct resource *r, int id, char **error)
{
    pthread_mutex_lock(&r->lock);
    struct allocation *a = find_quiet(r, id);
    int e = a ? write_doc(r, a, NULL, 0, NULL, 0, error) : 0;
    if (a && !e) {
        a->entering = a->writing = true; /* it is gone, but for its place in the account and its packets */
        take_both(r);
        resource_doubt_allocation(r, a);
        resource_strike(r, a);
        resource_written(r);
        pthread_mutex_unlock(&r->placing);
    }
    pthread_mutex_unlock(&r->lock);
    return e;
}

/* --- From a backup --- */

/* The document as one that is to be installed again: without what was done for it. */
static xmlrpc_value *
to_be_restored(const xmlrpc_value *doc, const char *message)
{
    xmlrpc_value *new = fs_struct();
    for (size_t i = 0, n = fs_size(doc); i < n; i++) {
        xmlrpc_value *v;
        const char *key = fs_member(doc, i, &v);
        if (strcmp(key, "plan") != 0) {
            fs_set(new, key, fs_copy(v));
        }
    }
    return fs_set(fs_set(new, "state", fs_string("restoring")), "message", fs_string(message));
}

int
resource_restore_allocation(struct resource *r, int id, const xmlrpc_value *doc, char **error)
{
    pthread_mutex_lock(&r->lock);
    int e = resource_find_entering(r, id) ? EEXIST : 0;
    if (e) {
        *error = fs_xasprintf("what there was under this id is not all taken away yet: restore once more when it is gone");
    } else {
        xmlrpc_value *new = to_be_restored(doc, "");
        e = enter(r, id, new, false, error) ? 0 : EIO;
        fs_free(new);
    }
    pthread_mutex_unlock(&r->lock);
    return e;
}

int
resource_restore_later(struct resource *r, int id, const char *message, char **error)
{
    pthread_mutex_lock(&r->lock);
    struct allocation *a = find_quiet(r, id);
    int e = 0;
    if (a) {
        size_t size;
        xmlrpc_value *doc = fs_packed_value(resource_doc(a)), *new = to_be_restored(doc, message);
        unsigned char *block = fs_pack(new, &size);
        fs_free(doc);
        fs_free(new);
        e = write_doc(r, a, block, size, NULL, 0, error);
        if (e) {
            free(block);
        } else {
            resource_doubt_allocation(r, a); /* by the plan that it has no more */
            resource_set_doc(r, a, block, size);
            a->writing = true; /* nobody may change it, or have it forgotten, before its account is settled */
            take_both(r);
            resource_unaccount(r, a);
            a->writing = false;
            resource_written(r);
            pthread_mutex_unlock(&r->placing);
        }
    }
    pthread_mutex_unlock(&r->lock);
    return e;
}

/* The state of the resource daemon: reading it from the store at start, allocations, and their life in the store. */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/client.h"
#include "core/engine.h"
#include "core/util.h"
#include "core/xmlrpc.h"
#include "daemons/resource/reconcile.h"
#include "daemons/resource/state.h"
#include <flowstream/failpoint.h>
#include <flowstream/log.h>
#include <flowstream/openflow.h>

FS_LOG_MODULE("state");

/* --- Start and end --- */

static void
forget(struct resource *r, struct allocation *a)
{
    resource_unaccount(r, a);
    resource_claims_remove(a);
    resource_index_remove(r, a);
    fs_free(a->doc);
    free(a);
}

static void
load_allocation(void *aux, const char *name, xmlrpc_value *doc)
{
    struct resource *r = aux;
    struct allocation *a = fs_xcalloc(1, sizeof *a);
    a->id = atoi(name);
    a->doc = doc;
    resource_index_add(r, a);
    resource_claims_add(r, a);
    r->last_id = a->id > r->last_id ? a->id : r->last_id;
}

static void
load_counter(void *aux, const char *name, xmlrpc_value *v)
{
    struct resource *r = aux;
    if (!strcmp(name, "last_id") && (int) fs_number(v, 0) > r->last_id) {
        r->last_id = (int) fs_number(v, 0);
    } else if (!strcmp(name, "last_spi")) {
        r->last_spi = (int) fs_number(v, 0);
    } else if (!strcmp(name, "epoch")) {
        r->epoch = (long long) fs_number(v, 0);
    }
    fs_free(v);
}

static void
load_host(void *aux, const char *name, xmlrpc_value *doc)
{
    struct resource *r = aux;
    struct host *h = fs_xcalloc(1, sizeof *h);
    h->name = fs_xstrdup(name);
    h->doc = doc;
    h->peer_url = fs_xstrdup(fs_get_string(doc, "address", ""));
    h->peer = fs_peer_new("modulehost", h->peer_url, fs_daemon_credentials(r->daemon));
    h->next = r->hosts;
    r->hosts = h;
}

static void
load_drained(void *aux, const char *name, xmlrpc_value *doc)
{
    struct resource *r = aux;
    for (struct host *h = r->hosts; h; h = h->next) {
        h->draining = h->draining || !strcmp(h->name, name);
    }
    fs_free(doc);
}

/* Each start is an epoch of its own, higher than all before it: the time, so that a backup which takes the place of a damaged store is no older controller; where the clock went
 * back, one more than the last.  Where the disk is full that cannot be noted: then the incarnation alone tells us from others. */
static void
begin_epoch(struct resource *r)
{
    char *error = NULL;
    long long now = (long long) time(NULL);
    r->epoch = now > r->epoch ? now : r->epoch + 1;
    xmlrpc_value *epoch = fs_double((double) r->epoch);
    struct fs_record change = { "counter", "epoch", epoch };
    if (fs_store_write(r->store, &change, 1, &error)) {
        fs_log_warning("epoch %lld cannot be noted: %s", r->epoch, error);
    }
    fs_free(epoch);
    free(error);
}

long long
resource_epoch(struct resource *r)
{
    return r->epoch;
}

xmlrpc_value *
resource_order(struct resource *r, xmlrpc_value *param)
{
    return fs_set(param, "controller", fs_stringf("%lld.%s", r->epoch, fs_daemon_incarnation(r->daemon)));
}

static bool
load_store(struct resource *r, char **error)
{
    char *path = fs_xasprintf("%s/store.db", fs_daemon_dir(r->daemon));
    int e = fs_store_open(path, &r->store, error);
    free(path);
    return !e && !fs_store_read(r->store, "allocation", load_allocation, r, error)
           && !fs_store_read(r->store, "counter", load_counter, r, error) && !fs_store_read(r->store, "host", load_host, r, error)
           && !fs_store_read(r->store, "drained", load_drained, r, error);
}

void *
resource_start(struct fs_daemon *daemon, const struct fs_settings *settings, char **error)
{
    const char *platform = fs_setting(settings, "platform", 0, "file");
    if (!platform) {
        *error = fs_xasprintf("the configuration needs <platform file=\"...\"/>");
        return NULL;
    }
    struct resource *r = fs_xcalloc(1, sizeof *r);
    r->daemon = daemon;
    r->platform_path = fs_xstrdup(platform);
    r->base_rules = fs_struct();
    r->watched = fs_struct();
    r->index = resource_index_create();
    r->claims = fs_match_set_create();
    pthread_mutex_init(&r->lock, NULL);
    pthread_mutex_init(&r->placing, NULL);
    r->memory = resource_memory_new();
    r->started = fs_now_ms();
    FS_FAILPOINT("recover.begun");
    if (!load_store(r, error) || (*error = resource_reload_platform(r))) {
        resource_stop(r);
        return NULL;
    }
    begin_epoch(r);
    size_t n = 0;
    for (struct allocation *a = r->allocations; a; a = a->next) {
        n++;
    }
    fs_log_info("%zu allocations in the store", n);
    return r;
}

void
resource_stop(void *state)
{
    struct resource *r = state;
    for (struct allocation *a = r->allocations, *next; a; a = next) {
        next = a->next;
        forget(r, a);
    }
    for (struct host *h = r->hosts, *next; h; h = next) {
        next = h->next;
        fs_peer_destroy(h->peer);
        fs_free(h->doc);
        free(h->name);
        free(h->peer_url);
        free(h->digest);
        free(h);
    }
    while (r->n_old_peers) {
        fs_peer_destroy(r->old_peers[--r->n_old_peers]);
    }
    free(r->old_peers);
    resource_memory_free(r->memory);
    resource_patients_free(r);
    fs_free(r->base_rules);
    fs_free(r->watched);
    fs_match_set_destroy(r->claims);
    resource_index_destroy(r->index);
    fs_load_destroy(r->load);
    fs_platform_destroy(r->platform);
    fs_store_close(r->store);
    pthread_mutex_destroy(&r->lock);
    pthread_mutex_destroy(&r->placing);
    free(r->platform_path);
    free(r);
}

/* --- Allocations --- */

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

/* Put a new allocation into the store, then into memory: its id, or 0 with *error. */
static int
enter(struct resource *r, xmlrpc_value *doc, char **error)
{
    int id = fs_get_int(doc, "id", 0);
    char record[16];
    snprintf(record, sizeof record, "%d", id);
    xmlrpc_value *last = fs_int(id);
    struct fs_record changes[] = { { "allocation", record, doc }, { "counter", "last_id", last } };
    int e = fs_store_write(r->store, changes, 2, error);
    fs_free(last);
    if (e) {
        fs_free(doc);
        return 0;
    }
    load_allocation(r, record, doc);
    resource_find(r, id)->busy = true; /* by whoever enters it */
    return id;
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
    if (strcmp(fs_get_string(a->doc, "text", ""), text) || !fs_is(fs_get(a->doc, "request"), XMLRPC_TYPE_STRUCT)) {
        return false;
    }
    size_t sizes[2];
    char *ours = encode(fs_get(a->doc, "request"), &sizes[0]), *theirs = encode(request, &sizes[1]);
    bool same = sizes[0] == sizes[1] && !memcmp(ours, theirs, sizes[0]);
    free(ours);
    free(theirs);
    return same;
}

int
resource_new_allocation(struct resource *r, const char *text, const char *name, const char *key, const char *owner,
                        const xmlrpc_value *request, bool *again, char **error)
{
    int id = 0;
    pthread_mutex_lock(&r->lock);
    const struct allocation *a = resource_find_key(r, key);
    *again = a && is_same_request(a, text, request);
    if (*again) {
        id = a->id;
    } else if (a) {
        *error = fs_xasprintf("key '%s' is that of allocation %d (%s), which was made from another text or with other parameters: give this request another "
                              "key, or delete that allocation first", key, a->id, fs_get_string(a->doc, "name", ""));
    } else if (!resource_conflict_locked(r, request, error)) {
        id = enter(r, new_doc(r->last_id + 1, text, name, key, owner, request), error);
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
    struct allocation *a = resource_find(r, id);
    xmlrpc_value *doc = a ? fs_copy(a->doc) : NULL;
    pthread_mutex_unlock(&r->lock);
    return doc;
}

static int *
collect_ids(struct resource *r, bool (*wanted)(struct resource *, struct allocation *), size_t *n)
{
    int *ids = NULL;
    size_t room = 0;
    *n = 0;
    pthread_mutex_lock(&r->lock);
    for (struct allocation *a = r->allocations; a; a = a->next) {
        if (wanted(r, a)) {
            if (*n == room) {
                room = room * 2 + 16;
                ids = fs_xrealloc(ids, room * sizeof *ids);
            }
            ids[(*n)++] = a->id;
        }
    }
    pthread_mutex_unlock(&r->lock);
    return ids;
}

static bool
is_any(struct resource *r, struct allocation *a)
{
    (void) r;
    (void) a;
    return true;
}

/* Does somebody work on it?  A task that was cancelled before it began does not, and cannot say so itself. */
static bool
is_busy(struct resource *r, struct allocation *a)
{
    if (a->busy && a->handle) {
        xmlrpc_value *task = fs_engine_describe(fs_daemon_engine(r->daemon), a->handle);
        const char *state = fs_get_string(task, "state", "");
        a->busy = strcmp(state, "cancelled") != 0;
        fs_free(task);
    }
    return a->busy;
}

static bool
is_unsettled(struct resource *r, struct allocation *a)
{
    return !is_busy(r, a) && strcmp(fs_get_string(a->doc, "state", ""), "installed");
}

int *
resource_allocation_ids(struct resource *r, size_t *n)
{
    return collect_ids(r, is_any, n);
}

int *
resource_unsettled_ids(struct resource *r, size_t *n)
{
    return collect_ids(r, is_unsettled, n);
}

xmlrpc_value *
resource_summaries(struct resource *r)
{
    xmlrpc_value *all = fs_array();
    pthread_mutex_lock(&r->lock);
    for (struct allocation *a = r->allocations; a; a = a->next) {
        xmlrpc_value *v = fs_struct();
        fs_set(v, "allocation", fs_stringf("%d", a->id));
        fs_set(v, "name", fs_string(fs_get_string(a->doc, "name", "")));
        fs_set(v, "state", fs_string(fs_get_string(a->doc, "state", "")));
        fs_append(all, fs_set(v, "modules", fs_int((int) fs_size(fs_get(fs_get(a->doc, "plan"), "modules")))));
    }
    pthread_mutex_unlock(&r->lock);
    return all;
}

int
resource_update(struct resource *r, int id, xmlrpc_value *members, char **error)
{
    pthread_mutex_lock(&r->lock);
    struct allocation *a = resource_find(r, id);
    int e = a ? 0 : ENOENT;
    if (a) {
        xmlrpc_value *doc = fs_copy(a->doc);
        for (size_t i = 0, n = fs_size(members); i < n; i++) {
            xmlrpc_value *v;
            const char *key = fs_member(members, i, &v);
            fs_set(doc, key, fs_copy(v));
        }
        char record[16];
        snprintf(record, sizeof record, "%d", id);
        struct fs_record change = { "allocation", record, doc };
        e = fs_store_write(r->store, &change, 1, error);
        if (!e) {
            resource_count_modules(r, a->doc, -1);
            fs_free(a->doc);
            a->doc = doc;
            resource_count_modules(r, a->doc, 1);
        } else {
            fs_free(doc);
        }
    } else {
        *error = fs_xasprintf("there is no allocation %d", id);
    }
    pthread_mutex_unlock(&r->lock);
    fs_free(members);
    return e;
}

bool
resource_claim(struct resource *r, int id)
{
    pthread_mutex_lock(&r->lock);
    struct allocation *a = resource_find(r, id);
    bool mine = a && !is_busy(r, a);
    if (mine) {
        a->busy = true;
        a->handle = 0;
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

int
resource_forget(struct resource *r, int id, char **error)
{
    pthread_mutex_lock(&r->placing); /* the account is being read and tried out between begin and end */
    pthread_mutex_lock(&r->lock);
    struct allocation *a = resource_find(r, id);
    int e = 0;
    if (a) {
        char record[16];
        snprintf(record, sizeof record, "%d", id);
        struct fs_record change = { "allocation", record, NULL };
        e = fs_store_write(r->store, &change, 1, error);
        if (!e) {
            resource_doubt_allocation(r, a);
            forget(r, a);
        }
    }
    pthread_mutex_unlock(&r->lock);
    pthread_mutex_unlock(&r->placing);
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

static int
write_doc(struct resource *r, int id, const xmlrpc_value *doc, char **error)
{
    char record[16];
    snprintf(record, sizeof record, "%d", id);
    xmlrpc_value *last = fs_int(id > r->last_id ? id : r->last_id);
    struct fs_record changes[] = { { "allocation", record, doc }, { "counter", "last_id", last } };
    int e = fs_store_write(r->store, changes, 2, error);
    fs_free(last);
    return e;
}

int
resource_restore_allocation(struct resource *r, int id, const xmlrpc_value *doc, char **error)
{
    pthread_mutex_lock(&r->lock);
    int e = resource_find(r, id) ? EEXIST : 0;
    if (e) {
        *error = fs_xasprintf("there is an allocation %d already", id);
    } else {
        xmlrpc_value *new = to_be_restored(doc, "");
        e = write_doc(r, id, new, error);
        if (e) {
            fs_free(new);
        } else {
            char record[16];
            snprintf(record, sizeof record, "%d", id);
            load_allocation(r, record, new);
        }
    }
    pthread_mutex_unlock(&r->lock);
    return e;
}

int
resource_restore_later(struct resource *r, int id, const char *message, char **error)
{
    pthread_mutex_lock(&r->placing); /* as in resource_forget() */
    pthread_mutex_lock(&r->lock);
    struct allocation *a = resource_find(r, id);
    int e = 0;
    if (a) {
        xmlrpc_value *new = to_be_restored(a->doc, message);
        e = write_doc(r, id, new, error);
        if (e) {
            fs_free(new);
        } else {
            resource_doubt_allocation(r, a);
            resource_unaccount(r, a);
            resource_count_modules(r, a->doc, -1);
            fs_free(a->doc);
            a->doc = new;
        }
    }
    pthread_mutex_unlock(&r->lock);
    pthread_mutex_unlock(&r->placing);
    return e;
}

struct fs_store *
resource_store(struct resource *r)
{
    return r->store;
}

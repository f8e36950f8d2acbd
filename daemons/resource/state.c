/* The state of the resource daemon: reading it from the store at start, allocations, and their life in the store. */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/client.h"
#include "core/util.h"
#include "daemons/resource/byhand.h"
#include "daemons/resource/state.h"
#include <flowstream/failpoint.h>
#include <flowstream/log.h>
#include <flowstream/openflow.h>

FS_LOG_MODULE("state");

/* --- Start and end --- */

static void
load_allocation(void *aux, const char *name, xmlrpc_value *doc)
{
    struct resource *r = aux;
    struct allocation *a = fs_xcalloc(1, sizeof *a), **p = &r->allocations;
    a->id = atoi(name);
    a->doc = doc;
    while (*p && (*p)->id < a->id) {
        p = &(*p)->next;
    }
    a->next = *p;
    *p = a;
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
    pthread_mutex_init(&r->lock, NULL);
    pthread_mutex_init(&r->placing, NULL);
    FS_FAILPOINT("recover.begun");
    if (!load_store(r, error) || (*error = resource_reload_platform(r))) {
        resource_stop(r);
        return NULL;
    }
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
        resource_unaccount(r, a);
        fs_free(a->doc);
        free(a);
    }
    for (struct host *h = r->hosts, *next; h; h = next) {
        next = h->next;
        fs_peer_destroy(h->peer);
        fs_free(h->doc);
        free(h->name);
        free(h->peer_url);
        free(h);
    }
    while (r->n_old_peers) {
        fs_peer_destroy(r->old_peers[--r->n_old_peers]);
    }
    free(r->old_peers);
    fs_free(r->base_rules);
    fs_free(r->watched);
    fs_load_destroy(r->load);
    fs_platform_destroy(r->platform);
    fs_store_close(r->store);
    pthread_mutex_destroy(&r->lock);
    pthread_mutex_destroy(&r->placing);
    free(r->platform_path);
    free(r);
}

/* --- Allocations --- */

struct allocation *
resource_find(struct resource *r, int id)
{
    struct allocation *a = r->allocations;
    while (a && a->id != id) {
        a = a->next;
    }
    return a;
}

int
resource_new_allocation(struct resource *r, const char *text, const char *name, const char *key, const char *owner,
                        xmlrpc_value *request, bool *again, char **error)
{
    int id = 0;
    *again = false;
    pthread_mutex_lock(&r->lock);
    for (struct allocation *a = r->allocations; a && *key; a = a->next) {
        if (!strcmp(fs_get_string(a->doc, "key", ""), key)) {
            id = a->id;
            *again = true;
        }
    }
    if (!id) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        xmlrpc_value *doc = fs_struct();
        fs_set(doc, "id", fs_int(r->last_id + 1));
        fs_set(doc, "name", *name ? fs_string(name) : fs_stringf("request%d", r->last_id + 1));
        fs_set(doc, "owner", fs_string(owner));
        fs_set(doc, "key", fs_string(key));
        fs_set(doc, "state", fs_string("installing"));
        fs_set(doc, "message", fs_string(""));
        fs_set(doc, "created", fs_double((double) now.tv_sec));
        fs_set(doc, "text", fs_string(text));
        fs_set(doc, "request", request);
        request = NULL;
        char record[16];
        snprintf(record, sizeof record, "%d", r->last_id + 1);
        xmlrpc_value *last = fs_int(r->last_id + 1);
        struct fs_record changes[] = { { "allocation", record, doc }, { "counter", "last_id", last } };
        if (fs_store_write(r->store, changes, 2, error)) {
            fs_free(doc);
        } else {
            load_allocation(r, record, doc);
            id = r->last_id;
            resource_find(r, id)->busy = true; /* by whoever enters it */
        }
        fs_free(last);
    }
    pthread_mutex_unlock(&r->lock);
    fs_free(request);
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
collect_ids(struct resource *r, bool (*wanted)(const struct allocation *), size_t *n)
{
    int *ids = NULL;
    size_t room = 0;
    *n = 0;
    pthread_mutex_lock(&r->lock);
    for (struct allocation *a = r->allocations; a; a = a->next) {
        if (wanted(a)) {
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
is_any(const struct allocation *a)
{
    (void) a;
    return true;
}

static bool
is_unsettled(const struct allocation *a)
{
    return !a->busy && strcmp(fs_get_string(a->doc, "state", ""), "installed");
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
            fs_free(a->doc);
            a->doc = doc;
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
    bool mine = a && !a->busy;
    if (mine) {
        a->busy = true;
    }
    pthread_mutex_unlock(&r->lock);
    return mine;
}

void
resource_release(struct resource *r, int id)
{
    pthread_mutex_lock(&r->lock);
    struct allocation *a = resource_find(r, id);
    if (a) {
        a->busy = false;
    }
    pthread_mutex_unlock(&r->lock);
}

int
resource_forget(struct resource *r, int id, char **error)
{
    pthread_mutex_lock(&r->placing); /* the account is being read and tried out between begin and end */
    pthread_mutex_lock(&r->lock);
    struct allocation **p = &r->allocations;
    while (*p && (*p)->id != id) {
        p = &(*p)->next;
    }
    int e = 0;
    if (*p) {
        char record[16];
        snprintf(record, sizeof record, "%d", id);
        struct fs_record change = { "allocation", record, NULL };
        e = fs_store_write(r->store, &change, 1, error);
        if (!e) {
            struct allocation *a = *p;
            *p = a->next;
            resource_unaccount(r, a);
            fs_free(a->doc);
            free(a);
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
            resource_unaccount(r, a);
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

/* --- Who claims which packets --- */

/* Do two FromNets claim a common packet? */
static bool
overlap(const xmlrpc_value *a, const xmlrpc_value *b)
{
    bool both = false;
    char *error = NULL;
    int e = fs_match_overlap(fs_get_string(a, "match", ""), fs_get_string(b, "match", ""), &both, &error);
    free(error);
    return e || both; /* what cannot be told apart counts as overlapping */
}

static char *
conflict_between(const xmlrpc_value *mine, const xmlrpc_value *theirs, const struct allocation *a)
{
    const xmlrpc_value *my_nodes = fs_get(mine, "nodes"), *their_nodes = fs_get(theirs, "nodes");
    const char *my_priority = fs_get_string(fs_get(mine, "headers"), "PRIORITY", "0");
    const char *their_priority = fs_get_string(fs_get(theirs, "headers"), "PRIORITY", "0");
    if (atoi(my_priority) != atoi(their_priority) || resource_entry_table(mine) != resource_entry_table(theirs)) {
        return NULL;
    }
    for (size_t i = 0; i < fs_size(my_nodes); i++) {
        const xmlrpc_value *x = fs_item(my_nodes, i);
        for (size_t j = 0; j < fs_size(their_nodes) && !strcmp(fs_get_string(x, "kind", ""), "from"); j++) {
            const xmlrpc_value *y = fs_item(their_nodes, j);
            if (!strcmp(fs_get_string(y, "kind", ""), "from") && overlap(x, y)) {
                return fs_xasprintf("FromNet %s (\"%s\") and FromNet %s (\"%s\") of allocation %d (%s) can match the same packet: "
                                    "narrow one, or order the two requests by giving one of them a header PRIORITY=NUMBER (the higher goes first)",
                                    fs_get_string(x, "name", ""), fs_get_string(x, "match", ""), fs_get_string(y, "name", ""),
                                    fs_get_string(y, "match", ""), a->id, fs_get_string(a->doc, "name", ""));
            }
        }
    }
    return NULL;
}

/* Two FromNets of one request that claim a common packet. */
static char *
conflict_inside(const xmlrpc_value *request)
{
    const xmlrpc_value *nodes = fs_get(request, "nodes");
    for (size_t i = 0; i < fs_size(nodes); i++) {
        const xmlrpc_value *x = fs_item(nodes, i);
        for (size_t j = i + 1; j < fs_size(nodes) && !strcmp(fs_get_string(x, "kind", ""), "from"); j++) {
            const xmlrpc_value *y = fs_item(nodes, j);
            if (!strcmp(fs_get_string(y, "kind", ""), "from") && overlap(x, y)) {
                return fs_xasprintf("FromNet %s (\"%s\") and FromNet %s (\"%s\") of the request can match the same packet: narrow one, or use one FromNet "
                                    "and a Classifier behind it",
                                    fs_get_string(x, "name", ""), fs_get_string(x, "match", ""), fs_get_string(y, "name", ""),
                                    fs_get_string(y, "match", ""));
            }
        }
    }
    return NULL;
}

int
resource_conflict(struct resource *r, int id, const xmlrpc_value *request, char **why)
{
    int with = 0;
    *why = conflict_inside(request);
    if (*why) {
        return -1;
    }
    pthread_mutex_lock(&r->lock);
    for (struct allocation *a = r->allocations; a && !with; a = a->next) {
        /* Of two that come at the same time the older goes on. */
        if (a->id != id && (id == 0 || a->id < id || strcmp(fs_get_string(a->doc, "state", ""), "installing"))
            && strcmp(fs_get_string(a->doc, "state", ""), "failed")) {
            *why = conflict_between(request, fs_get(a->doc, "request"), a);
            with = *why ? a->id : 0;
        }
    }
    pthread_mutex_unlock(&r->lock);
    return with;
}

/* The state of the resource daemon: reading it from the store at start, and its end. */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/client.h"
#include "core/util.h"
#include "core/xmlrpc.h"
#include "daemons/resource/reconcile.h"
#include "daemons/resource/state.h"
#include <flowstream/failpoint.h>
#include <flowstream/log.h>
#include <flowstream/openflow.h>

FS_LOG_MODULE("state");

/* What the store has, before it is put in order. */
struct loaded {
    struct entry {
        int id;
        unsigned char *block;
        size_t size;
    } *list;
    size_t n, room;
};

static void
load_allocation(void *aux, const char *name, const unsigned char *block, size_t size)
{
    struct loaded *all = aux;
    if (all->n == all->room) {
        all->room = all->room * 2 + 64;
        all->list = fs_xrealloc(all->list, all->room * sizeof *all->list);
    }
    struct entry *e = &all->list[all->n++];
    *e = (struct entry) { .id = atoi(name), .block = fs_xmalloc(size), .size = size };
    memcpy(e->block, block, size);
}

static int
by_id(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

static bool
load_allocations(struct resource *r, char **error)
{
    struct loaded all = { 0 };
    int e = fs_store_read_blocks(r->store, "allocation", load_allocation, &all, error);
    if (all.n) {
        qsort(all.list, all.n, sizeof *all.list, by_id); /* the store has them as texts: 1, 10, 100, 2 */
    }
    for (size_t i = 0; i < all.n; i++) {
        resource_load_allocation(r, all.list[i].id, all.list[i].block, all.list[i].size);
    }
    free(all.list);
    return !e;
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
    h->idle = h->free_mem = -1;
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
    return !e && load_allocations(r, error)
           && !fs_store_read(r->store, "counter", load_counter, r, error) && !fs_store_read(r->store, "host", load_host, r, error)
           && !fs_store_read(r->store, "drained", load_drained, r, error) && !fs_store_read(r->store, "answered", resource_load_answered, r, error);
}

/* A task that others call between begin and end may be run by itself, too, and then has to begin for itself. */
static void
init_recursive(pthread_mutex_t *mutex)
{
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(mutex, &attributes);
    pthread_mutexattr_destroy(&attributes);
}

/* An attribute of element 'placement', which the schema has checked. */
static const char *
setting(const struct fs_settings *settings, const char *attribute, const char *otherwise)
{
    const char *value = fs_setting(settings, "placement", 0, attribute);
    return value ? value : otherwise;
}

static void *
claim_all(void *aux)
{
    struct resource *r = aux;
    for (struct allocation *a = r->allocations; a; a = a->next) {
        resource_claims_add(r, a);
    }
    return NULL;
}

/* The claims and the account of all, which know nothing of each other, at the same time: there is nobody else yet. */
static char *
enter_all(struct resource *r)
{
    pthread_t claims;
    bool apart = !pthread_create(&claims, NULL, claim_all, r);
    if (!apart) {
        claim_all(r);
    }
    char *error = resource_reload_platform(r);
    if (apart) {
        pthread_join(claims, NULL);
    }
    return error;
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
    r->fills = !strcmp(setting(settings, "order", "spread"), "fill");
    r->measures = !strcmp(setting(settings, "measured", "no"), "yes");
    r->base_rules = fs_struct();
    r->watched = fs_struct();
    r->away = fs_struct();
    r->down = fs_struct();
    r->index = resource_index_create();
    r->claims = fs_match_set_create();
    pthread_mutex_init(&r->lock, NULL);
    init_recursive(&r->placing);
    pthread_cond_init(&r->written, NULL);
    r->by_hand_end = &r->by_hand;
    r->memory = resource_memory_new();
    r->started = fs_now_ms();
    if (FS_FAILPOINT_ERROR("recover.begun")) {
        *error = fs_xstrdup("failpoint recover.begun");
        resource_stop(r);
        return NULL;
    }
    if (!load_store(r, error) || (*error = enter_all(r))) {
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
        resource_strike(r, a);
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
    resource_answered_free(r);
    fs_free(r->base_rules);
    fs_free(r->watched);
    fs_free(r->away);
    fs_free(r->down);
    fs_match_set_destroy(r->claims);
    resource_index_destroy(r->index);
    resource_close_account(r);
    fs_platform_destroy(r->platform);
    fs_store_close(r->store);
    pthread_mutex_destroy(&r->lock);
    pthread_mutex_destroy(&r->placing);
    pthread_cond_destroy(&r->written);
    free(r->platform_path);
    free(r);
}

struct fs_store *
resource_store(struct resource *r)
{
    return r->store;
}

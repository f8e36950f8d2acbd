/* Module hosts, as they register themselves. */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/client.h"
#include "core/util.h"
#include "daemons/resource/state.h"
#include <flowstream/log.h>

FS_LOG_MODULE("hosts");

enum {
    SILENT_AFTER_MS = 10000, /* a host tells of itself every 2 s */
    FIRST_WORD_MS = 3000,
    STEP_US = 20000,
    SMOOTH_MS = 10000, /* what a host measures counts for about so long */
    STEPS = 16,        /* the account hears of a change only when it is more than so many-th of what the server has */
};

static struct host *
find_host(struct resource *r, const char *name)
{
    struct host *h = r->hosts;
    while (h && strcmp(h->name, name)) {
        h = h->next;
    }
    return h;
}

static bool
is_server(struct resource *r, const char *name)
{
    int node = fs_platform_find(r->platform, name);
    return node >= 0 && r->platform->nodes[node].kind == FS_NODE_SERVER;
}

/* What a registration must have. */
static char *
check(const xmlrpc_value *doc)
{
    static const char *const needed[] = { "name", "address", "switch", "trunk", "incarnation" };
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
        if (!*fs_get_string(doc, needed[i], "")) {
            return fs_xasprintf("register_host: host needs '%s' (string)", needed[i]);
        }
    }
    const char *name = fs_get_string(doc, "name", "");
    if (strlen(name) > 64 || strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") != strlen(name)) {
        return fs_xasprintf("register_host: '%.64s' is no name for a host: letters, digits, '_', '-' and '.', 64 at most", name);
    }
    const char *address = fs_get_string(doc, "address", "");
    if (strncmp(address, "http://", 7) && strncmp(address, "https://", 8) && strncmp(address, "unix:/", 6)) {
        return fs_xasprintf("register_host: address '%.100s' is neither http://HOST:PORT/RPC2 nor unix:/PATH", address);
    }
    return NULL;
}

static bool
same(const xmlrpc_value *a, const xmlrpc_value *b, const char *key)
{
    return !strcmp(fs_get_string(a, key, ""), fs_get_string(b, key, ""));
}

/* Put the registration into the store and into 'h'. */
static int
keep(struct resource *r, struct host *h, const xmlrpc_value *doc, char **error)
{
    struct fs_record change = { "host", h->name, doc };
    int e = fs_store_write(r->store, &change, 1, error);
    if (e) {
        return e;
    }
    if (h->doc && !same(h->doc, doc, "incarnation")) {
        fs_log_info("host %s has started again", h->name);
    }
    fs_free(h->doc);
    h->doc = fs_copy(doc);
    const char *url = fs_get_string(doc, "address", "");
    if (!h->peer || strcmp(h->peer_url, url)) {
        if (h->peer) { /* a call may be using it */
            r->old_peers = fs_xrealloc(r->old_peers, (r->n_old_peers + 1) * sizeof *r->old_peers);
            r->old_peers[r->n_old_peers++] = h->peer;
        }
        free(h->peer_url);
        h->peer_url = fs_xstrdup(url);
        h->peer = fs_peer_new("modulehost", url, fs_daemon_credentials(r->daemon));
    }
    return 0;
}

/* The new figure weighs as much as the time since the last one; a host that was silent begins anew. */
static double
smoothed(double before, double now, int64_t ms)
{
    double weight = (double) ms / (double) (ms + SMOOTH_MS);
    return !(now >= 0) || now > 1e9 ? -1 : before < 0 || ms >= SILENT_AFTER_MS ? now : before + (now - before) * weight;
}

static void
note_measured(struct host *h, const xmlrpc_value *doc)
{
    int64_t ms = h->last_seen ? fs_now_ms() - h->last_seen : SILENT_AFTER_MS;
    h->idle = smoothed(h->idle, fs_get_double(doc, "cpu_idle", -1), ms);
    h->free_mem = smoothed(h->free_mem, fs_get_double(doc, "mem_available", -1), ms);
}

/* Why the registration of a host that is known is not taken, or NULL.  A host is in one place: of two that have its name the one that was here first is it, until nothing is heard of it. */
static char *
why_refused(const struct host *h, const xmlrpc_value *doc)
{
    int64_t silent = fs_now_ms() - h->last_seen;
    return h->removed ? same(h->doc, doc, "incarnation") ? fs_xasprintf("host %s was removed: start its daemon again to bring it back", h->name) : NULL
           : h->last_seen && silent < SILENT_AFTER_MS && !same(h->doc, doc, "address")
               ? fs_xasprintf("there is a host %s at %s, which was heard of %.1f s ago: stop one of the two or give it another name; one that has moved to %.100s is taken when the "
                              "other has been silent for %d s", h->name, h->peer_url, (double) silent / 1e3, fs_get_string(doc, "address", ""), SILENT_AFTER_MS / 1000)
               : NULL;
}

static int
enter(struct resource *r, const char *name, const xmlrpc_value *doc, bool *changed, char **error)
{
    struct host *h = find_host(r, name);
    bool is_new = !h;
    if (h && (*error = why_refused(h, doc))) {
        return EPERM;
    }
    if (is_new) {
        h = fs_xcalloc(1, sizeof *h);
        h->name = fs_xstrdup(name);
        h->idle = h->free_mem = -1;
    }
    *changed = is_new || !same(h->doc, doc, "incarnation") || !same(h->doc, doc, "address") || !same(h->doc, doc, "switch");
    int e = *changed ? keep(r, h, doc, error) : 0;
    if (e && is_new) {
        free(h->name);
        free(h);
        return e;
    }
    if (is_new) {
        h->next = r->hosts;
        r->hosts = h;
        fs_log_info("host %s registered from %s", name, h->peer_url);
    }
    h->removed = h->removed && e;
    note_measured(h, doc);
    h->last_seen = fs_now_ms();
    if (fs_get(doc, "modules")) {
        free(h->digest);
        h->digest = fs_xstrdup(fs_get_string(doc, "modules", ""));
    }
    return e;
}

int
resource_register_host(struct resource *r, const xmlrpc_value *doc, bool *changed, char **error)
{
    *changed = false;
    *error = check(doc);
    if (*error) {
        return EINVAL;
    }
    const char *name = fs_get_string(doc, "name", "");
    pthread_mutex_lock(&r->placing);
    pthread_mutex_lock(&r->lock);
    int e = 0;
    if (!is_server(r, name)) {
        *error = resource_reread_platform(r); /* a host may have been added to the file since */
        if (!*error && !is_server(r, name)) {
            *error = fs_xasprintf("host %s is no server of the platform: add <server id=\"%s\" .../> and its <link> to %s", name, name,
                                  r->platform_path);
        }
        e = *error ? EINVAL : 0;
    }
    e = e ? e : enter(r, name, doc, changed, error);
    pthread_mutex_unlock(&r->lock);
    pthread_mutex_unlock(&r->placing);
    return e;
}

/* The host, once no change of it is under way, or NULL with *error.  Hosts are never freed. */
static struct host *
find_quiet(struct resource *r, const char *name, char **error)
{
    struct host *h;
    while ((h = find_host(r, name)) && h->writing) {
        pthread_cond_wait(&r->written, &r->lock);
    }
    if (!h || h->removed) {
        *error = fs_xasprintf("there is no host '%.64s' (list_hosts lists them)", name);
        return NULL;
    }
    return h;
}

int
resource_remove_host(struct resource *r, const char *name, char **error)
{
    pthread_mutex_lock(&r->placing); /* else a placement that has chosen the host could become a plan afterwards */
    pthread_mutex_lock(&r->lock);
    struct host *h = find_quiet(r, name, error);
    size_t n = h ? resource_modules_on(r, name) : 0;
    int e = h ? 0 : ENOENT;
    if (h && n) {
        *error = fs_xasprintf("host %s runs %zu modules: delete their allocations first (list_allocations tells which)", name, n);
        e = EBUSY;
    } else if (h) {
        struct fs_record changes[] = { { "host", name, NULL }, { "drained", name, NULL } };
        e = fs_store_write(r->store, changes, 2, error);
        h->removed = !e;
        h->draining = h->draining && e;
        h->prepared = h->prepared && e;
    }
    pthread_mutex_unlock(&r->lock);
    pthread_mutex_unlock(&r->placing);
    return e;
}

int
resource_drain_host(struct resource *r, const char *name, bool drain, char **error)
{
    size_t size;
    xmlrpc_value *yes = fs_bool(true);
    unsigned char *block = fs_pack(yes, &size);
    struct fs_block_record change = { .kind = "drained", .name = name, .block = drain ? block : NULL, .size = size };
    pthread_mutex_lock(&r->lock);
    struct host *h = find_quiet(r, name, error);
    int e = h ? 0 : ENOENT;
    if (h) {
        h->writing = true;
        e = resource_write(r, &change, 1, error);
        h->writing = false;
        h->draining = e ? h->draining : drain && !h->removed;
        resource_written(r);
    }
    pthread_mutex_unlock(&r->lock);
    free(block);
    fs_free(yes);
    return e;
}

const char *
resource_host_state(const struct host *h)
{
    bool heard = h->last_seen && fs_now_ms() - h->last_seen < SILENT_AFTER_MS;
    return h->removed ? "removed" : !heard ? "silent" : h->prepared ? "up" : "preparing";
}

xmlrpc_value *
resource_hosts(struct resource *r)
{
    xmlrpc_value *all = fs_array();
    pthread_mutex_lock(&r->lock);
    for (struct host *h = r->hosts; h; h = h->next) {
        int node = fs_platform_find(r->platform, h->name);
        if (h->removed || node < 0 || r->platform->nodes[node].kind != FS_NODE_SERVER) {
            continue;
        }
        const struct fs_server *s = &r->platform->servers[r->platform->nodes[node].server];
        const struct fs_server_load *load = fs_online_server(r->online, r->platform->nodes[node].server);
        xmlrpc_value *v = fs_copy(h->doc);
        fs_set(v, "state", fs_string(resource_host_state(h)));
        fs_set(v, "draining", fs_bool(h->draining));
        fs_set(v, "cpu", fs_double((double) s->cpu / (double) FS_UNIT));
        fs_set(v, "mem", fs_double((double) s->mem / (double) FS_UNIT));
        fs_set(v, "cpu_used", fs_double((double) load->cpu / (double) FS_UNIT));
        fs_set(v, "mem_used", fs_double((double) load->mem / (double) FS_UNIT));
        fs_set(v, "cpu_idle", fs_double(h->idle));
        fs_set(v, "mem_available", fs_double(h->free_mem));
        fs_set(v, "modules", fs_int((int) resource_modules_on(r, h->name)));
        fs_set(v, "silent_seconds", fs_double(h->last_seen ? (double) (fs_now_ms() - h->last_seen) / 1e3 : -1.0));
        fs_append(all, v);
    }
    pthread_mutex_unlock(&r->lock);
    return all;
}

/* --- For placing --- */

static const char being_drained[] = "being drained";

static const char *
why_closed(const struct host *h)
{
    const char *state = h && !h->removed ? resource_host_state(h) : "removed";
    return !strcmp(state, "removed") ? "no module host is registered" : !strcmp(state, "silent") ? "silent: nothing is heard of its module host"
           : !strcmp(state, "preparing") ? "its bridge is being prepared" : h->draining ? being_drained : NULL;
}

/* What of 'limit' others leave no room for, as far as that differs from what the account knows already. */
static fs_amount
measured(fs_amount limit, double left, fs_amount known)
{
    fs_amount used = left < 0 ? 0 : limit - (fs_amount) (left * (double) FS_UNIT);
    used = used < 0 ? 0 : used;
    fs_amount change = used > known ? used - known : known - used;
    return change > limit / STEPS || !used ? used : known;
}

static void
look_at_server(struct resource *r, int server)
{
    struct server_now *now = &r->servers[server];
    const struct fs_server *limits = &r->platform->servers[server];
    now->closed = why_closed(now->host);
    enum fs_online_state state = !now->closed ? FS_ONLINE_UP : now->closed == being_drained ? FS_ONLINE_DRAINING : FS_ONLINE_DOWN;
    if (state != now->state) {
        fs_online_set_server(r->online, server, now->state = state);
    }
    bool counts = r->measures && now->host;
    fs_amount cpu = counts ? measured(limits->cpu, now->host->idle, now->cpu) : 0, mem = counts ? measured(limits->mem, now->host->free_mem, now->mem) : 0;
    if (cpu != now->cpu || mem != now->mem) {
        fs_online_measure_server(r->online, server, now->cpu = cpu, now->mem = mem);
    }
}

void
resource_look_at_servers(struct resource *r)
{
    for (const struct host *h = r->hosts; h; h = h->next) {
        int node = fs_platform_find(r->platform, h->name);
        if (node >= 0 && r->platform->nodes[node].kind == FS_NODE_SERVER) {
            r->servers[r->platform->nodes[node].server].host = h;
        }
    }
    for (int s = 0; s < r->platform->n_servers; s++) {
        look_at_server(r, s);
    }
}

static bool
offers(const xmlrpc_value *host, const char *basesys)
{
    const xmlrpc_value *list = fs_get(host, "basesys");
    for (size_t i = 0; i < fs_size(list); i++) {
        if (!strcmp(fs_text(fs_item(list, i), ""), basesys)) {
            return true;
        }
    }
    return false;
}

const char **
resource_closed_servers(struct resource *r, const char *basesys)
{
    const char **closed = fs_xcalloc((size_t) r->platform->n_servers + 1, sizeof *closed);
    pthread_mutex_lock(&r->lock);
    for (int s = 0; s < r->platform->n_servers; s++) {
        closed[s] = r->servers[s].closed ? r->servers[s].closed : offers(r->servers[s].host->doc, basesys) ? NULL : "does not offer the base system that is asked for";
    }
    pthread_mutex_unlock(&r->lock);
    return closed;
}

bool
resource_fills(const struct resource *r)
{
    return r->fills;
}

/* --- What others ask --- */

xmlrpc_value *
resource_host_states(struct resource *r)
{
    xmlrpc_value *all = fs_array();
    pthread_mutex_lock(&r->lock);
    for (struct host *h = r->hosts; h; h = h->next) {
        if (!h->removed && is_server(r, h->name)) { /* it may have been taken out of the file while we were down */
            fs_append(all, fs_set(fs_set(fs_struct(), "name", fs_string(h->name)), "state", fs_string(resource_host_state(h))));
        }
    }
    pthread_mutex_unlock(&r->lock);
    return all;
}

/* A host that the store knows is not up yet. */
static bool
host_is_awaited(struct resource *r)
{
    bool awaited = false;
    pthread_mutex_lock(&r->lock);
    for (struct host *h = r->hosts; h && !awaited; h = h->next) {
        awaited = !h->removed && is_server(r, h->name) && !(h->last_seen && h->prepared);
    }
    pthread_mutex_unlock(&r->lock);
    return awaited;
}

void
resource_await_hosts(struct resource *r)
{
    while (fs_now_ms() - r->started < FIRST_WORD_MS && host_is_awaited(r)) {
        usleep(STEP_US);
    }
}

bool
resource_host_is_lost(struct resource *r, const char *name)
{
    pthread_mutex_lock(&r->lock);
    struct host *h = find_host(r, name);
    int64_t since = h && h->last_seen ? h->last_seen : r->started; /* one that was not heard yet has as long as others */
    bool lost = fs_now_ms() - since > SILENT_AFTER_MS;
    pthread_mutex_unlock(&r->lock);
    return lost;
}

xmlrpc_value *
resource_host(struct resource *r, const char *name)
{
    pthread_mutex_lock(&r->lock);
    struct host *h = find_host(r, name);
    xmlrpc_value *v = h && !h->removed ? fs_set(fs_copy(h->doc), "state", fs_string(resource_host_state(h))) : NULL;
    pthread_mutex_unlock(&r->lock);
    return v;
}

struct fs_peer *
resource_host_peer(struct resource *r, const char *name)
{
    pthread_mutex_lock(&r->lock);
    struct host *h = find_host(r, name);
    struct fs_peer *peer = h ? h->peer : NULL;
    pthread_mutex_unlock(&r->lock);
    return peer;
}

void
resource_switch_is_prepared(struct resource *r, const char *name)
{
    pthread_mutex_lock(&r->lock);
    for (struct host *h = r->hosts; h; h = h->next) {
        h->prepared = h->prepared || !strcmp(fs_get_string(h->doc, "bridge", h->name), name);
    }
    pthread_mutex_unlock(&r->lock);
}

void
resource_set_prepared(struct resource *r, bool prepared)
{
    __atomic_store_n(&r->prepared, prepared, __ATOMIC_RELAXED);
}

bool
resource_prepared(struct resource *r)
{
    return __atomic_load_n(&r->prepared, __ATOMIC_RELAXED);
}

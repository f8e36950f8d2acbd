/* The watch over the connections of a listening socket; see the header for what it promises.
 *
 * Connections stand in one list a phase.  All that are in a phase have the same time for it, so a list is in the order of the deadlines, and only
 * heads are looked at.  The thread of the door sleeps until the first deadline, and for ever while nobody is there. */
#include "config.h"

#include "core/door.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/util.h"
#include <flowstream/log.h>

FS_LOG_MODULE("rpc");

enum { BUCKETS = 1024, MAX_IDLE_PEERS = 4096, FREE_FAILURES = 10, ALL_FREE_FAILURES = 200, ALL_PER_SECOND = 20, PHASES = DOOR_BUSY };

struct peer {
    uint8_t key[16];
    unsigned n_connections;
    double debt; /* failures that are not forgiven yet: one is each second */
    int64_t debt_at;
    struct peer *next;
};

struct visitor {
    struct door *door;
    struct peer *peer;
    int fd;
    enum door_phase phase;
    bool listed;
    int64_t deadline;
    struct visitor *before, *after;
    char name[INET6_ADDRSTRLEN];
};

struct door {
    struct door_limits limits;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct {
        struct visitor *first, *last;
        int64_t ms;
    } lists[PHASES];
    struct peer *buckets[BUCKETS];
    unsigned n_peers, n_visitors;
    double all_debt;
    int64_t all_debt_at;
    int64_t next_look; /* of the thread; INT64_MAX: it sleeps until it is woken */
    bool ending;
    pthread_t thread;
    bool has_thread;
    struct {
        double refused, late, evicted, failed, throttled;
    } figures;
};

/* --- Peers --- */

static void
make_key(const struct sockaddr *address, uint8_t key[16])
{
    memset(key, 0, 16);
    if (address && address->sa_family == AF_INET) {
        key[10] = key[11] = 0xff;
        memcpy(key + 12, &((const struct sockaddr_in *) (const void *) address)->sin_addr, 4);
    } else if (address && address->sa_family == AF_INET6) {
        const struct in6_addr *a = &((const struct sockaddr_in6 *) (const void *) address)->sin6_addr;
        memcpy(key, a, IN6_IS_ADDR_V4MAPPED(a) || IN6_IS_ADDR_LOOPBACK(a) ? 16 : 8);
    }
}

static bool
is_loopback(const uint8_t key[16])
{
    static const uint8_t none[16], v6[16] = { [15] = 1 }, v4[13] = { [10] = 0xff, [11] = 0xff, [12] = 127 };
    return !memcmp(key, none, 16) || !memcmp(key, v6, 16) || !memcmp(key, v4, 13);
}

static struct peer **
place_of(struct door *d, const uint8_t key[16])
{
    uint32_t hash = 2166136261u;
    for (int i = 0; i < 16; i++) {
        hash = (hash ^ key[i]) * 16777619u;
    }
    struct peer **p = &d->buckets[hash % BUCKETS];
    while (*p && memcmp((*p)->key, key, 16)) {
        p = &(*p)->next;
    }
    return p;
}

/* What is left of a debt that shrinks by 'rate' a second. */
static double
settle(double *debt, int64_t *at, double rate, int64_t now)
{
    double left = *debt - (double) (now - *at) / 1e3 * rate;
    *debt = left > 0 ? left : 0;
    *at = now;
    return *debt;
}

static void
forget_peer(struct door *d, struct peer **p)
{
    struct peer *gone = *p;
    *p = gone->next;
    d->n_peers--;
    free(gone);
}

/* Peers without a connection and without a debt are forgotten; when there are too many with one, those are forgiven. */
static void
sweep_peers(struct door *d, int64_t now)
{
    for (int forgive = 0; forgive < 2 && d->n_peers > MAX_IDLE_PEERS / 2; forgive++) {
        for (size_t i = 0; i < BUCKETS; i++) {
            for (struct peer **p = &d->buckets[i]; *p;) {
                if (!(*p)->n_connections && (settle(&(*p)->debt, &(*p)->debt_at, 1, now) <= 0 || forgive)) {
                    forget_peer(d, p);
                } else {
                    p = &(*p)->next;
                }
            }
        }
    }
}

static struct peer *
get_peer(struct door *d, const uint8_t key[16], int64_t now)
{
    struct peer **p = place_of(d, key);
    if (!*p) {
        if (d->n_peers >= MAX_IDLE_PEERS + d->n_visitors) {
            sweep_peers(d, now);
            p = place_of(d, key);
        }
        *p = fs_xcalloc(1, sizeof **p);
        memcpy((*p)->key, key, 16);
        (*p)->debt_at = now;
        d->n_peers++;
    }
    return *p;
}

/* --- Lists --- */

static void
unlist(struct visitor *v)
{
    if (v->listed) {
        *(v->before ? &v->before->after : &v->door->lists[v->phase].first) = v->after;
        *(v->after ? &v->after->before : &v->door->lists[v->phase].last) = v->before;
        v->listed = false;
    }
}

static void
list(struct visitor *v, enum door_phase phase, int64_t now)
{
    struct door *d = v->door;
    v->phase = phase;
    if (phase == DOOR_BUSY) {
        return;
    }
    v->deadline = now + d->lists[phase].ms;
    v->after = NULL;
    v->before = d->lists[phase].last;
    *(v->before ? &v->before->after : &d->lists[phase].first) = v;
    d->lists[phase].last = v;
    v->listed = true;
    if (v->deadline < d->next_look) {
        pthread_cond_signal(&d->wake);
    }
}

/* Its end is found by libmicrohttpd, which then calls door_leave(). */
static void
show_out(struct visitor *v)
{
    unlist(v);
    v->phase = DOOR_BUSY;
    shutdown(v->fd, SHUT_RDWR);
}

static void
close_late_ones(struct door *d, int64_t now)
{
    for (size_t i = 0; i < PHASES; i++) {
        while (d->lists[i].first && d->lists[i].first->deadline <= now) {
            d->figures.late++;
            show_out(d->lists[i].first);
        }
    }
}

static int64_t
first_deadline(const struct door *d)
{
    int64_t first = INT64_MAX;
    for (size_t i = 0; i < PHASES; i++) {
        const struct visitor *v = d->lists[i].first;
        first = v && v->deadline < first ? v->deadline : first;
    }
    return first;
}

static void *
watch(void *data)
{
    struct door *d = data;
    pthread_mutex_lock(&d->lock);
    while (!d->ending) {
        int64_t now = fs_now_ms();
        close_late_ones(d, now);
        int64_t first = first_deadline(d);
        if (first == INT64_MAX) {
            d->next_look = first;
            pthread_cond_wait(&d->wake, &d->lock);
        } else {
            d->next_look = first < now + 100 ? now + 100 : first; /* several at once: nobody needs the millisecond */
            struct timespec until = { .tv_sec = d->next_look / 1000, .tv_nsec = d->next_look % 1000 * 1000000 };
            pthread_cond_timedwait(&d->wake, &d->lock, &until);
        }
    }
    pthread_mutex_unlock(&d->lock);
    return NULL;
}

/* --- Visitors --- */

bool
door_admit(struct door *d, const struct sockaddr *address)
{
    uint8_t key[16];
    make_key(address, key);
    if (!d->limits.per_peer || (!d->limits.loopback_too && is_loopback(key))) {
        return true;
    }
    pthread_mutex_lock(&d->lock);
    const struct peer *p = *place_of(d, key);
    bool room = !p || p->n_connections < d->limits.per_peer;
    d->figures.refused += !room;
    pthread_mutex_unlock(&d->lock);
    if (!room) {
        fs_log_limited(FS_LOG_WARNING, "a peer has %u connections already; no more are taken from it", d->limits.per_peer);
    }
    return room;
}

static void
make_room(struct door *d)
{
    struct visitor *v = d->lists[DOOR_FRESH].first ? d->lists[DOOR_FRESH].first : d->lists[DOOR_KEPT].first;
    if (v) {
        d->figures.evicted++;
        show_out(v);
    }
}

static void
name_visitor(struct visitor *v, const struct sockaddr *address)
{
    const struct sockaddr_in *v4 = (const void *) address;
    const struct sockaddr_in6 *v6 = (const void *) address;
    if (!address || (address->sa_family != AF_INET && address->sa_family != AF_INET6)) {
        memcpy(v->name, "local", sizeof "local");
    } else {
        inet_ntop(address->sa_family, address->sa_family == AF_INET ? (const void *) &v4->sin_addr : &v6->sin6_addr, v->name, sizeof v->name);
    }
}

struct visitor *
door_enter(struct door *d, int fd, const struct sockaddr *address)
{
    struct visitor *v = fs_xcalloc(1, sizeof *v);
    uint8_t key[16];
    int64_t now = fs_now_ms();
    make_key(address, key);
    name_visitor(v, address);
    v->door = d;
    v->fd = fd;
    pthread_mutex_lock(&d->lock);
    v->peer = get_peer(d, key, now);
    v->peer->n_connections++;
    if (++d->n_visitors >= d->limits.connections - d->limits.connections / 16) {
        make_room(d);
    }
    list(v, DOOR_FRESH, now);
    pthread_mutex_unlock(&d->lock);
    return v;
}

void
door_leave(struct visitor *v)
{
    struct door *d = v->door;
    pthread_mutex_lock(&d->lock);
    unlist(v);
    d->n_visitors--;
    if (!--v->peer->n_connections && settle(&v->peer->debt, &v->peer->debt_at, 1, fs_now_ms()) <= 0) {
        forget_peer(d, place_of(d, v->peer->key));
    }
    pthread_mutex_unlock(&d->lock);
    free(v);
}

void
door_phase(struct visitor *v, enum door_phase phase)
{
    pthread_mutex_lock(&v->door->lock);
    if (v->listed || v->phase == DOOR_BUSY) {
        unlist(v);
        list(v, phase, fs_now_ms());
    }
    pthread_mutex_unlock(&v->door->lock);
}

const char *
door_name(const struct visitor *v)
{
    return v->name;
}

/* --- Wrong credentials --- */

bool
door_may_try(struct visitor *v)
{
    struct door *d = v->door;
    int64_t now = fs_now_ms();
    pthread_mutex_lock(&d->lock);
    bool may = settle(&v->peer->debt, &v->peer->debt_at, 1, now) < FREE_FAILURES
               && settle(&d->all_debt, &d->all_debt_at, ALL_PER_SECOND, now) < ALL_FREE_FAILURES;
    d->figures.throttled += !may;
    pthread_mutex_unlock(&d->lock);
    return may;
}

void
door_failed(struct visitor *v)
{
    struct door *d = v->door;
    int64_t now = fs_now_ms();
    pthread_mutex_lock(&d->lock);
    settle(&v->peer->debt, &v->peer->debt_at, 1, now);
    settle(&d->all_debt, &d->all_debt_at, ALL_PER_SECOND, now);
    v->peer->debt++;
    d->all_debt++;
    d->figures.failed++;
    pthread_mutex_unlock(&d->lock);
}

/* --- Figures, life --- */

static void
add(xmlrpc_value *figures, const char *key, double n)
{
    fs_set(figures, key, fs_double(fs_get_double(figures, key, 0) + n));
}

void
door_add_figures(struct door *d, xmlrpc_value *figures)
{
    pthread_mutex_lock(&d->lock);
    add(figures, "connections", d->n_visitors);
    add(figures, "refused", d->figures.refused);
    add(figures, "late", d->figures.late);
    add(figures, "evicted", d->figures.evicted);
    add(figures, "credentials_refused", d->figures.failed);
    add(figures, "throttled", d->figures.throttled);
    pthread_mutex_unlock(&d->lock);
}

struct door *
door_new(const struct door_limits *limits)
{
    struct door *d = fs_xcalloc(1, sizeof *d);
    d->limits = *limits;
    d->lists[DOOR_FRESH].ms = (int64_t) limits->header_s * 1000;
    d->lists[DOOR_KEPT].ms = (int64_t) (limits->idle_s + limits->header_s) * 1000;
    d->lists[DOOR_BODY].ms = (int64_t) limits->body_s * 1000;
    d->lists[DOOR_ANSWER].ms = (int64_t) limits->answer_s * 1000;
    d->all_debt_at = fs_now_ms();
    pthread_mutex_init(&d->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&d->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 256 << 10);
    d->has_thread = !pthread_create(&d->thread, &small, watch, d);
    pthread_attr_destroy(&small);
    if (!d->has_thread) {
        fs_log_error("no thread could be started: connections have no deadlines but that of silence");
    }
    return d;
}

void
door_destroy(struct door *d)
{
    if (!d) {
        return;
    }
    pthread_mutex_lock(&d->lock);
    d->ending = true;
    pthread_cond_signal(&d->wake);
    pthread_mutex_unlock(&d->lock);
    if (d->has_thread) {
        pthread_join(d->thread, NULL);
    }
    for (size_t i = 0; i < BUCKETS; i++) {
        while (d->buckets[i]) {
            forget_peer(d, &d->buckets[i]);
        }
    }
    pthread_cond_destroy(&d->wake);
    pthread_mutex_destroy(&d->lock);
    free(d);
}

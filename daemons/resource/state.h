/* Inside of libflowstream-resource; for its own files only. */
#ifndef DAEMONS_RESOURCE_STATE_H
#define DAEMONS_RESOURCE_STATE_H 1

#include <pthread.h>

#include "core/store.h"
#include "daemons/resource/resource.h"

struct host {
    char *name;
    xmlrpc_value *doc;    /* as registered */
    struct fs_peer *peer;
    char *peer_url;
    int64_t last_seen;    /* fs_now_ms(), 0: not since this daemon started */
    bool prepared; /* its bridge has the base rules */
    bool removed;         /* by remove_host; the incarnation that was removed does not come back by itself */
    bool draining;        /* gets no more modules */
    char *digest;         /* of its modules, as it told last; or NULL */
    struct host *next;
};

struct claim;

struct allocation {
    int id;
    xmlrpc_value *doc;
    bool busy;                    /* somebody installs or deletes it */
    int handle;                   /* of the task that does; 0: none was told */
    struct claim *claims;         /* the packets that its FromNets take: claims.c */
    size_t n_claims;
    struct fs_services *services; /* what it takes of the platform, while it is accounted for */
    struct fs_solution *solution;
    struct allocation *next, *previous;                   /* ascending ids */
    struct allocation *same_id_bucket, *same_key_bucket;  /* index.c */
};

struct resource_memory;
struct resource_patient;

struct resource {
    struct fs_daemon *daemon;
    struct fs_store *store;
    char *platform_path;
    pthread_mutex_t lock;    /* of everything below */
    pthread_mutex_t placing; /* taken before 'lock' */
    struct fs_platform *platform;
    struct fs_load *load;
    struct host *hosts;
    struct fs_peer **old_peers; /* replaced by a new address, maybe still in use */
    size_t n_old_peers;
    struct allocation *allocations, *last_allocation;
    struct fs_index *index;
    struct fs_match_set *claims;
    xmlrpc_value *base_rules;   /* switch -> its base rules when they were last put there, as one string; those not looked at yet are missing */
    xmlrpc_value *watched;      /* switch -> what resource_note_watched() was told of it */
    int last_id;
    int last_spi;
    bool prepared;           /* atomic */
    struct resource_memory *memory;    /* memory.c, with a lock of its own */
    struct resource_patient *patients; /* health.c */
    int64_t started;
    long long epoch;
};

/* index.c: enter or strike out an allocation; find it by id or key (NULL: none, also for the key ""); count the modules of a plan, or no longer ('by' is 1 or -1).  With the
 * lock held. */
struct fs_index *resource_index_create(void);
void resource_index_destroy(struct fs_index *); /* accepts NULL */
void resource_index_add(struct resource *, struct allocation *);
void resource_index_remove(struct resource *, struct allocation *);
struct allocation *resource_find(struct resource *, int id);
struct allocation *resource_find_key(struct resource *, const char *key);
void resource_count_modules(struct resource *, const xmlrpc_value *doc, int by);
size_t resource_modules_on(struct resource *, const char *host);
/* The ids of allocations that connect ports of modules of others; valid until the lock is given back. */
const int *resource_extending(struct resource *, size_t *n);
/* memory.c: what runs for this allocation on its hosts is to be compared with what is wanted.  With the lock held. */
void resource_doubt_allocation(struct resource *, const struct allocation *);
/* claims.c: the packets that an allocation takes; resource_conflict() with the lock held. */
void resource_claims_add(struct resource *, struct allocation *);
void resource_claims_remove(struct allocation *);
int resource_conflict_locked(struct resource *, const xmlrpc_value *request, char **why);
/* Enter or strike out an allocation's plan in the account of the platform; called with the lock held. */
char *resource_account(struct resource *, struct allocation *);
void resource_unaccount(struct resource *, struct allocation *);
/* Read the platform file again and account for all plans anew; NULL or what is wrong, then nothing has changed.  With the lock held. */
char *resource_reload_platform(struct resource *);

/* forwards.c: add to the switches, as resource_switches() answers, the hops of what the platform file has pass between ports on two of them.  With the lock held. */
void resource_add_carries(struct resource *, xmlrpc_value *switches);

/* delays.c: ask 'builder', which has the nodes and links of the request, for the bounds of its ways.  NULL or why not. */
char *resource_add_delays(struct fs_services_builder *builder, const xmlrpc_value *request, const xmlrpc_value *flows);

#endif

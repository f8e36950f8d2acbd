/* Inside of libflowstream-resource; for its own files only. */
#ifndef DAEMONS_RESOURCE_STATE_H
#define DAEMONS_RESOURCE_STATE_H 1

#include <pthread.h>
#include <sys/stat.h>

#include <flowstream/online.h>

#include "core/pack.h"
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
    bool writing;         /* a change of that is on its way to the disk: resource_write() */
    char *digest;         /* of its modules, as it told last; or NULL */
    double idle, free_mem; /* cores and MB of its computer that nobody uses, smoothed; less than 0: it does not tell */
    struct host *next;
};

struct answered;
struct claim;
struct site;

/* That an allocation has modules on a host, or rules in a switch. */
struct stay {
    struct allocation *allocation;
    struct site *place;
    size_t modules;
    struct stay *next, **link; /* of those at the same place */
};

/* There may be very many, so the document is held as a block (core/pack.h), and only what is looked for is held beside it. */
struct allocation {
    int id;
    unsigned char *block;
    size_t size;
    const char *key, *state;      /* in the block */
    bool busy;                    /* somebody installs or deletes it */
    bool writing;                 /* a change of it is on its way to the disk: resource_write() */
    bool entering;                /* it is not on the disk yet, and unknown to all but those who would do the same */
    int handle;                   /* of the task that works on it; 0: none was told */
    struct claim *claims;         /* the packets that its FromNets take: claims.c */
    size_t n_claims;
    struct fs_services *services; /* what it takes of the platform, while it is accounted for */
    unsigned char *planned;       /* its plan, accounted for and not on the disk yet; else NULL */
    size_t planned_size;
    struct stay *stays;           /* index.c */
    size_t n_stays;
    struct allocation *next, *previous;                   /* ascending ids */
    struct allocation *same_id_bucket, *same_key_bucket;
    struct allocation *next_by_hand, **by_hand_link;      /* of those that are no ordinary request; oldest first, but for what a backup brings back */
    struct allocation *next_restless, **restless_link;    /* of those that are not just installed */
};

struct resource_memory;
struct resource_patient;

/* A server of the platform as the account has it now. */
struct server_now {
    const struct host *host;    /* NULL: none has registered */
    const char *closed;         /* why no module may be put there, in words that live as long as the program; NULL: it may */
    enum fs_online_state state;
    fs_amount cpu, mem;         /* measured */
};

struct resource {
    struct fs_daemon *daemon;
    struct fs_store *store;
    char *platform_path;
    pthread_mutex_t lock;    /* of everything below */
    struct stat platform_file; /* as it was when it was read last; nothing where another platform was taken up since */
    pthread_cond_t written;  /* a change that was on its way has arrived, or failed */
    pthread_mutex_t placing; /* taken before 'lock' */
    struct fs_platform *platform;
    struct fs_online *online;   /* the account of what is taken; see resource.h for its lock */
    struct server_now *servers; /* of the platform, likewise */
    bool *arcs_down;            /* of the platform, likewise */
    struct host *hosts;
    struct fs_peer **old_peers; /* replaced by a new address, maybe still in use */
    size_t n_old_peers;
    struct allocation *allocations, *last_allocation, *by_hand, **by_hand_end, *restless;
    size_t n_allocations;
    struct fs_index *index;
    struct fs_match_set *claims;
    xmlrpc_value *base_rules;   /* switch -> its base rules when they were last put there, as one string; those not looked at yet are missing */
    xmlrpc_value *watched;      /* switch -> what resource_note_watched() was told of it */
    xmlrpc_value *away;         /* switch -> since when (fs_now_ms()) it cannot be reached; 0: it can */
    xmlrpc_value *down;         /* switch -> names of its ports that carry nothing */
    bool links_changed;         /* since the account was told of them */
    int last_id;
    int last_spi;
    bool prepared;           /* atomic */
    struct resource_memory *memory;    /* memory.c, with a lock of its own */
    struct resource_patient *patients; /* health.c */
    struct answered *answered;         /* answered.c */
    size_t n_answered;
    int64_t started;
    long long epoch;
    bool fills, measures;    /* settings: see docs/configuration.md */
};

/* The document of an allocation, to be read in place while the lock is held and the document not changed. */
static inline struct fs_packed
resource_doc(const struct allocation *a)
{
    return fs_packed(a->block, a->size);
}

/* life.c: an allocation of a document (taken) into memory, without its claims and its share of the account; out of it. */
struct allocation *resource_load_allocation(struct resource *, int id, unsigned char *block, size_t size);
void resource_strike(struct resource *, struct allocation *);

/* life.c: change members of an allocation in the store, together with 'n' other records (RESOURCE_OTHERS at most), then in memory: all or nothing.  ENOENT: unknown.  With the lock
 * held, which is given back while the disk is synced. */
enum { RESOURCE_OTHERS = 9 };
int resource_change(struct resource *, int id, const xmlrpc_value *members, const struct fs_block_record *others, size_t n, char **error);

/* answered.c: a record of the store into memory ('aux' is the struct resource, the value is taken); forget all in memory. */
void resource_load_answered(void *aux, const char *key, xmlrpc_value *);
void resource_answered_free(struct resource *);

/* Does somebody work on it? */
bool resource_is_busy(struct resource *, struct allocation *);

/* Is it in the state to stay in? */
bool resource_is_installed(const struct allocation *);

/* With the lock held: write to the store, and have the lock given back while the disk is synced.  Whoever changes a thing marks it first ('writing'), for it stays as it was until
 * the change is on the disk, and wakes those who wait for that (resource_written()); so changes of different things share a sync. */
int resource_write(struct resource *, const struct fs_block_record *, size_t n, char **error);
void resource_written(struct resource *);

/* index.c: enter or strike out an allocation; find it by id or key (NULL: none, also for the key "").  With the lock held. */
struct fs_index *resource_index_create(void);
void resource_index_destroy(struct fs_index *); /* accepts NULL */
void resource_index_add(struct resource *, struct allocation *);
void resource_index_remove(struct resource *, struct allocation *);
/* It has got another document (taken). */
void resource_set_doc(struct resource *, struct allocation *, unsigned char *block, size_t size);
/* It was claimed or released. */
void resource_index_rest(struct resource *, struct allocation *);
struct allocation *resource_find(struct resource *, int id);
struct allocation *resource_find_key(struct resource *, const char *key); /* also one that is entering */
struct allocation *resource_find_entering(struct resource *, int id);     /* likewise */
/* The stays of all that has modules on a host, or rules in a switch, in no order. */
struct stay *resource_stays_on(struct resource *, const char *host);
struct stay *resource_stays_in(struct resource *, const char *name);
size_t resource_modules_on(struct resource *, const char *host);
/* memory.c: what runs for this allocation on its hosts, and its rules in switches, are to be compared with what is wanted.  With the lock held. */
void resource_doubt_allocation(struct resource *, const struct allocation *);
/* hosts.c: "up", "preparing", "silent" or "removed".  With the lock held. */
const char *resource_host_state(const struct host *);
/* claims.c: the packets that an allocation takes; resource_conflict() with the lock held. */
void resource_claims_add(struct resource *, struct allocation *);
void resource_claims_remove(struct allocation *);
int resource_conflict_locked(struct resource *, const xmlrpc_value *request, char **why);
/* account.c: enter the plan that was made for the allocation, or that its document has, into the account of the platform (NULL, or why it cannot be; without a plan it takes
 * nothing), or strike it out; a new account of another platform, with nothing in it, after the one before has
 * been closed, which strikes out all allocations.  Between begin and end (or before there is anybody else), with the lock held. */
char *resource_account(struct resource *, struct allocation *);
/* All into an empty account, several at a time; each is told with why it cannot be entered (owned, or NULL), one after the other. */
void resource_account_all(struct resource *, void (*each)(void *aux, struct allocation *, char *why), void *aux);
void resource_unaccount(struct resource *, struct allocation *);
void resource_open_account(struct resource *, struct fs_platform *);
void resource_close_account(struct resource *);
/* hosts.c: tell the account what has changed of the servers: which take modules, what was measured.  As above. */
void resource_look_at_servers(struct resource *);
/* links.c: the same for links that are down. */
void resource_look_at_links(struct resource *);
/* Read the platform file again and account for all plans anew; NULL or what is wrong, then nothing has changed.  As above.  The second only where the file has changed since. */
char *resource_reload_platform(struct resource *);
char *resource_reread_platform(struct resource *);
/* model.c: the arc from one node to another, or -1; the module of a plan that a node of the request became, or NULL. */
int resource_arc_between(const struct fs_platform *, int from, int to);
xmlrpc_value *resource_module_of(const xmlrpc_value *modules, const char *node);

/* forwards.c: add to the switches, as resource_switches() answers, the hops of what the platform file has pass between ports on two of them.  With the lock held. */
void resource_add_carries(struct resource *, xmlrpc_value *switches);

/* delays.c: ask 'builder', which has the nodes and links of the request, for the bounds of its ways.  NULL or why not. */
char *resource_add_delays(struct fs_services_builder *builder, const xmlrpc_value *request, const xmlrpc_value *flows);

#endif

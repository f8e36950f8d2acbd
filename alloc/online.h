/* The live state, for the files that change it: online.c holds services, online_account.c accounts, online_check.c judges, online_index.c finds
 * servers with room, online_ports.c and online_place.c place, online_mend.c moves what cannot stay, online_why.c explains. */
#ifndef ALLOC_ONLINE_H
#define ALLOC_ONLINE_H

#include "flowstream/online.h"

#include "alloc/routes.h"

/* A module of a service that is held, in the list of its server. */
struct held_node {
    struct held *held;
    int at;                          /* platform node, or -1 */
    struct held_node *next, **link;  /* LINK points to what points here */
};

/* A step of a way, in the list of its arc. */
struct held_hop {
    struct held *held;
    struct held_hop *next, **link;
};

struct held_link {
    struct route *route;             /* NULL: both ends in one place, or one of them nowhere, or no way */
    struct held_hop *hops;           /* one for each of route's arcs */
    fs_amount least;                 /* the delay that it will have at least, while its way is being looked for */
};

struct held {
    struct held *chain;              /* in the table of keys */
    uint64_t key;
    const struct fs_services *services;
    const struct fs_service *service;
    struct held_link *links;         /* by link, counted from the service's first */
    struct held_node nodes[];        /* likewise */
};

struct online_server {
    enum fs_online_state state;
    fs_amount cpu, mem, bandwidth;   /* limits */
    fs_amount measured_cpu, measured_mem;
    struct held_node *modules;
    int place;                       /* in platform->rack_servers */
};

struct online_arc {
    bool down;
    fs_amount limit, measured;
    struct held_hop *hops;
};

/* What servers below a node of the index have free; -1: none that may take modules. */
struct online_free {
    fs_amount cpu, mem;
};

struct fs_online {
    const struct fs_platform *platform;
    struct routes *routes;
    struct fs_server_load *loads;    /* by server, likewise below */
    struct online_server *servers;
    fs_amount *used;                 /* by arc, likewise below */
    fs_amount *taken;                /* used, measured and missing capacity in one figure, for routes_find() */
    struct online_arc *arcs;

    int leaves;                      /* a power of two; node I of the index has the children 2 I and 2 I + 1 */
    struct online_free *free;        /* by place in rack_servers, from leaves on: the most of each below a node */
    int rack_leaves;
    int64_t *rack_keys;              /* likewise by rack: how much room there is in few places */
    struct online_free *rack_free;   /* by rack: the sum */
    fs_amount cpu_unit, mem_unit;    /* of the largest server */

    struct held **table;
    size_t table_mask, n;
};

/* Which limit binds. */
enum online_limit { LIMIT_NONE, LIMIT_STATE, LIMIT_ALLOWED, LIMIT_CPU, LIMIT_MEM, LIMIT_INSIDE, LIMIT_BANDWIDTH, LIMIT_WAY, LIMIT_DELAY };

/* ---- online.c: what is held. ---- */

struct held *online_find(const struct fs_online *online, uint64_t key); /* NULL when absent */
struct held *online_hold(uint64_t key, const struct fs_services *services, int service); /* places nothing */
void online_enter(struct fs_online *online, struct held *held);  /* into the table of keys */
void online_leave(struct fs_online *online, struct held *held);  /* out of it */
void online_free_held(struct fs_online *online, struct held *held);    /* after taking away what is placed */

/* ---- online_account.c ---- */

/* After anything about ARC has changed. */
void online_refresh_arc(struct fs_online *online, int arc);

/* Puts service node NODE at platform node WHERE and finds ways for its links to nodes that are placed.  Returns LIMIT_NONE, or the first limit
 * that this would break and changes nothing.  Whether WHERE may take modules is for the caller to know. */
enum online_limit online_put(struct fs_online *online, struct held *held, int node, int where);
/* The same whatever limits it breaks, with ways that exceed least. */
void online_force(struct fs_online *online, struct held *held, int node, int where);
void online_take(struct fs_online *online, struct held *held, int node);
/* Puts a node there without its links, which the caller enters. */
void online_seat(struct fs_online *online, struct held *held, int node, int where);

/* A link between placed ends: strike out its way, enter another (which it takes over), find one within the limits. */
void online_strike_way(struct fs_online *online, struct held *held, int link);
void online_enter_way(struct fs_online *online, struct held *held, int link, struct route *route);
enum online_limit online_find_way(struct fs_online *online, struct held *held, int link, struct route **route);

/* The delay of path PATH as far as it is placed, and whether all paths keep their bounds. */
fs_amount online_path_delay(const struct fs_online *online, const struct held *held, int path);
bool online_in_time(const struct fs_online *online, const struct held *held);

/* What is free; less than 0 when overloaded. */
fs_amount online_free_cpu(const struct fs_online *online, int server);
fs_amount online_free_mem(const struct fs_online *online, int server);
fs_amount online_free_arc(const struct fs_online *online, int arc);

static inline struct held_node *
held_node(struct held *held, int node)
{
    return &held->nodes[node - held->service->first_node];
}

static inline struct held_link *
held_link(struct held *held, int link)
{
    return &held->links[link - held->service->first_link];
}

static inline bool
online_is_placed(struct held *held, int link)
{
    const struct fs_service_link *l = &held->services->links[link];

    return held_node(held, l->from)->at >= 0 && held_node(held, l->to)->at >= 0;
}

/* ---- online_index.c ---- */

void online_index_create(struct fs_online *online);
void online_index_destroy(struct fs_online *online);
/* After anything about SERVER has changed. */
void online_index_update(struct fs_online *online, int server);
/* The first place from FIRST up to, not including, END whose server may take modules and has so much free; -1 when there is none. */
int online_index_next(const struct fs_online *online, int first, int end, fs_amount cpu, fs_amount mem);
/* How much of its room a server has to offer, from 0 to about 1024: of cores or memory, whichever is less. */
int64_t online_room(const struct fs_online *online, fs_amount cpu, fs_amount mem);

/* Goes through the racks, those with most room first. */
struct online_racks {
    const struct fs_online *online;
    int n, room;
    int *nodes;                      /* a heap */
};
void online_racks_begin(struct online_racks *racks, const struct fs_online *online);
int online_racks_next(struct online_racks *racks); /* -1 at the end */
void online_racks_end(struct online_racks *racks);

/* ---- online_ports.c ---- */

/* Puts its sources where they must be, and its sinks each at the ROUND'th best of its I/O nodes, those that are nowhere. */
void online_place_ports(struct fs_online *online, struct held *held, int round);
/* Whether some port that is not placed cannot carry what must pass it, wherever the modules are. */
bool online_ports_are_full(const struct fs_online *online, const struct held *held);
/* Finds ways for links between ports, which no module does.  Returns whether there are some within the limits. */
bool online_join_ports(struct fs_online *online, struct held *held);

/* ---- online_place.c ---- */

/* Places those nodes of HELD that are nowhere, within all limits.  Returns whether it did; if not nothing is changed. */
bool online_place(struct fs_online *online, struct held *held, const struct fs_online_options *options);
/* Whether service node NODE of HELD may be put on SERVER, whatever is taken there. */
bool online_may_run(const struct fs_online *online, const struct held *held, const struct fs_online_options *options, int node, int server);


/* ---- online_mend.c ---- */

/* Makes room for HELD by moving at most options->moves modules of others, and places it.  Returns whether it did; if not nothing is changed. */
bool online_make_room(struct fs_online *online, struct held *held, const struct fs_online_options *options, struct fs_online_changes *changes);

#endif

/* Placing services one at a time, on a platform that lives: services come and go, servers and links fail and come back.
 *
 * Each call changes what it must and looks at nothing else: what a call costs grows with the service at hand and, slowly, with the platform,
 * not with the number of services that are held.  Limits are those of section 3.2.2 of D3.2: cores and memory of a server, bandwidth
 * inside a server and of each direction of a link, delays of bounded paths.  Each service link goes its own way (FS_PATHS_LINK).
 *
 * Amounts are in millionths of their units (fs_amount).  What is answered follows from the platform, the state of its servers and links, the
 * services held and the call, and from nothing else: not from the order in which services came, and not from chance.
 *
 * One object is for one thread at a time.  Functions that can fail return 0 or a positive errno. */
#ifndef FLOWSTREAM_ONLINE_H
#define FLOWSTREAM_ONLINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <flowstream/alloc.h>
#include <flowstream/api.h>

struct fs_online;

/* An empty state over PLATFORM, which must live as long: all servers and links are up.  For fs_online_destroy(), which takes NULL too. */
FS_API struct fs_online *fs_online_create(const struct fs_platform *platform);
FS_API void fs_online_destroy(struct fs_online *online);

/* ---- Services. ---- */

/* A module, or a sink, that moved; node numbers are those of the fs_services that the service was added from. */
struct fs_online_move {
    uint64_t key;
    int node;
    int from, to;               /* platform nodes */
};

/* What else changed in a call: modules of services that were held already.  Start with zeros; fs_online_changes_clear() frees. */
struct fs_online_changes {
    int n_moves, moves_room;
    struct fs_online_move *moves;    /* by time */
    int n_rerouted;                  /* service links that took another way while both ends stayed */
    int n_stranded, stranded_room;
    uint64_t *stranded;              /* services that could not be helped, ascending; they stay as they are */
};
FS_API void fs_online_changes_clear(struct fs_online_changes *changes);

struct fs_online_options {
    bool (*allowed)(void *aux, int node, int server); /* may service node NODE (of its fs_services) run on SERVER?  NULL: anywhere */
    bool (*may_move)(void *aux, uint64_t key, int node, int server); /* the same for the modules of services that are held; NULL: anywhere */
    const char *(*forbids)(void *aux, int node, int server); /* for fs_online_why_not(): why SERVER takes no module, or not NODE, in a few words; NULL, or
                                                              * NULL from it: general ones */
    bool only_up;   /* for fs_online_why_not(): say nothing of servers that are not up, the caller does */
    void *aux;
    bool in_turn;   /* take servers in their order by racks from place START on, rather than where they fill best */
    int start;
    int moves;      /* modules of other services that may move to make room; 0: none */
};

/* Places service SERVICE of SERVICES within all limits and holds it under KEY, a number of the caller's choice.  SERVICES must be made for
 * the platform of ONLINE and must live until the service is removed.  OPTIONS may be NULL.  CHANGES, which may be NULL unless options.moves
 * asks for moves, gets what else moved.
 * Returns 0; EEXIST when KEY is held; ENOSPC when no place was found.  After an error nothing is changed; fs_online_why_not() explains.
 * A search that goes through so many places and no more found none: ENOSPC is not a proof. */
FS_API int fs_online_add(struct fs_online *online, uint64_t key, const struct fs_services *services, int service,
                         const struct fs_online_options *options, struct fs_online_changes *changes);

/* Holds the service under KEY where SOLUTION, of the same services, has it, also when that breaks limits: what a store remembers, or what
 * fs_place_greedy() found.  Modules that SOLUTION places nowhere stay nowhere.  Returns 0 or EEXIST. */
FS_API int fs_online_restore(struct fs_online *online, uint64_t key, const struct fs_solution *solution, int service);

/* Forgets the service.  Returns 0 or ENOENT. */
FS_API int fs_online_remove(struct fs_online *online, uint64_t key);

/* Puts places and ways of service KEY into SOLUTION, which is of the same services.  Returns 0 or ENOENT. */
FS_API int fs_online_copy(const struct fs_online *online, uint64_t key, struct fs_solution *solution);

/* How many services are held. */
FS_API size_t fs_online_size(const struct fs_online *online);

/* The keys of services with a module on SERVER, or with a link over ARC, ascending, each once, in an array that the caller frees; their number. */
FS_API size_t fs_online_on_server(const struct fs_online *online, int server, uint64_t **keys);
FS_API size_t fs_online_on_arc(const struct fs_online *online, int arc, uint64_t **keys);

/* What is taken of a server and of an arc by the services held. */
FS_API const struct fs_server_load *fs_online_server(const struct fs_online *online, int server);
FS_API fs_amount fs_online_arc(const struct fs_online *online, int arc);

/* ---- What happens to servers and links.  None of these moves anything by itself: fs_online_mend_...() does. ---- */

/* UP takes modules; DRAINING keeps those that it has and takes no more; DOWN lost them. */
enum fs_online_state { FS_ONLINE_UP, FS_ONLINE_DRAINING, FS_ONLINE_DOWN };
FS_API void fs_online_set_server(struct fs_online *online, int server, enum fs_online_state state);

/* Whether the link of ARC carries traffic; both directions at once. */
FS_API void fs_online_set_link(struct fs_online *online, int arc, bool up);

/* Other limits than the platform's, from 0 to FS_AMOUNT_MAX.  Returns 0, or EINVAL and changes nothing. */
FS_API int fs_online_limit_server(struct fs_online *online, int server, fs_amount cpu, fs_amount mem, fs_amount bandwidth);
FS_API int fs_online_limit_arc(struct fs_online *online, int arc, fs_amount bandwidth);

/* What was measured of a server's cores and memory, and of the traffic on an arc.  Where that is more than what services asked for, it counts;
 * 0 forgets it.  Returns 0, or EINVAL and changes nothing. */
FS_API int fs_online_measure_server(struct fs_online *online, int server, fs_amount cpu, fs_amount mem);
FS_API int fs_online_measure_arc(struct fs_online *online, int arc, fs_amount bandwidth);

/* Moves modules away from SERVER: all unless it is up, else from the highest key down until its limits hold.  A service's other modules stay
 * where they are if that can be; at most MOVES modules move in all (a negative number: any).  A service that cannot be helped goes into
 * CHANGES.stranded, and holds on to what it has.  Options may be NULL; options.moves is not used. */
FS_API void fs_online_mend_server(struct fs_online *online, int server, int moves, const struct fs_online_options *options,
                                  struct fs_online_changes *changes);

/* The same for the links that go over ARC or back: all unless it is up, else until its bandwidth holds.  Another way is looked for first;
 * where there is none the service's modules move. */
FS_API void fs_online_mend_link(struct fs_online *online, int arc, int moves, const struct fs_online_options *options,
                                struct fs_online_changes *changes);

/* ---- Why not. ---- */

/* A limit that would have to be larger by MORE. */
enum fs_online_limit { FS_ONLINE_CPU, FS_ONLINE_MEM, FS_ONLINE_INSIDE, FS_ONLINE_BANDWIDTH, FS_ONLINE_DELAY };
struct fs_online_relaxation {
    enum fs_online_limit limit;
    int index;                       /* CPU, MEM, INSIDE: the server; BANDWIDTH: the arc; DELAY: the path, in the fs_services */
    fs_amount more;
};

/* Why service SERVICE finds no place now: the limit that binds on each candidate server, grouped, for the first module that is stuck; and, after
 * "it would fit with", the least change that was found of limits and bounds with which it fits: least relative to the limits, server by server
 * for each module in turn, which for a single module is the least that there is.  OPTIONS as in fs_online_add(), without moves.
 * The text has several lines, without a newline at the end; the caller frees it.  NULL when the service fits after all.  The same change goes
 * into *CHANGE, an array of *N for the caller to free, unless CHANGE is NULL; it is empty when no change of limits helps.
 * Looks at every server: for refusals, not for every call. */
FS_API char *fs_online_why_not(struct fs_online *online, const struct fs_services *services, int service,
                               const struct fs_online_options *options, struct fs_online_relaxation **change, size_t *n);

/* ---- For tests, and for those who doubt. ---- */

/* Counts everything anew from the services held and compares.  Returns NULL, or the first difference as a text that the caller frees. */
FS_API char *fs_online_check(const struct fs_online *online);

/* Compares two states of one platform: the account, the indexes, and where each service is.  NULL or the first difference, as above. */
FS_API char *fs_online_compare(const struct fs_online *a, const struct fs_online *b);

#endif

/* The allocator: which server runs each module, which port each sink gets, and which way each service link goes.
 *
 * Services say what is wanted, a solution says where it is put, and a load is the account of what a platform has already
 * given away.  Services and solutions name their nodes and links by dense numbers.  Different objects may be used by
 * different threads at once; one object may not, unless nobody changes it.
 *
 * Functions that can fail return 0 or a positive errno, and put an explanation that the caller frees into *ERROR. */
#ifndef FLOWSTREAM_ALLOC_H
#define FLOWSTREAM_ALLOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <flowstream/api.h>
#include <flowstream/platform.h>

/* ---- Services: what is wanted. ---- */

enum fs_service_node_kind { FS_SERVICE_SOURCE, FS_SERVICE_PM, FS_SERVICE_SINK };

struct fs_service {
    const char *id, *type;       /* type may be NULL */
    int first_node, n_nodes;     /* nodes, links and paths of a service follow one another */
    int first_link, n_links;
    int first_path, n_paths;
    fs_amount cpu, mem;          /* of all its modules together */
};

struct fs_service_node {
    const char *id;
    enum fs_service_node_kind kind;
    int service;
    fs_amount cpu, mem;          /* modules: cores and MB */
    int first_io, n_io;          /* sources and sinks: the platform nodes to choose from, in fs_services.ios */
    int first_incident, n_incident; /* links that begin or end here, in fs_services.incident */
};

struct fs_service_link {
    int from, to;                /* service nodes */
    int service;
    fs_amount bandwidth;         /* Mbit/s */
};

/* A way through a service whose delays may add up to BOUND at most. */
struct fs_service_path {
    int service;
    int first_link, n_links;     /* in fs_services.path_links */
    fs_amount bound;
};

struct fs_services {
    int n_services, n_nodes, n_links, n_paths, n_modules;
    struct fs_service *services;
    struct fs_service_node *nodes;
    struct fs_service_link *links;
    struct fs_service_path *paths;
    int *ios, *incident, *path_links;
    struct fs_services_private *private;
};

/* Reads the services file PATH, whose I/O nodes are those of PLATFORM.  The caller passes *SERVICES to
 * fs_services_destroy().  Errors read FILE:LINE: TEXT. */
FS_API int fs_services_read(const char *path, const struct fs_platform *platform, struct fs_services **services,
                            char **error);
FS_API int fs_services_read_memory(const char *text, size_t size, const char *name, const struct fs_platform *platform,
                                   struct fs_services **services, char **error);
FS_API void fs_services_destroy(struct fs_services *services);

/* Services made by a program instead of a file.  Between fs_services_begin() and fs_services_end(), nodes, links and paths
 * are added in any order; fs_services_end() finds what does not fit together.  After an error the builder can only be
 * destroyed.  Texts are copied. */
FS_API struct fs_services_builder *fs_services_builder_create(const struct fs_platform *platform);
FS_API void fs_services_builder_destroy(struct fs_services_builder *builder);
FS_API int fs_services_begin(struct fs_services_builder *builder, const char *id, const char *type, char **error);
FS_API int fs_services_add_source(struct fs_services_builder *builder, const char *id, const char *io, char **error);
FS_API int fs_services_add_pm(struct fs_services_builder *builder, const char *id, fs_amount cpu, fs_amount mem,
                              char **error);
/* IOS is a list of names with spaces between them. */
FS_API int fs_services_add_sink(struct fs_services_builder *builder, const char *id, const char *ios, char **error);
/* A second link between the same two nodes adds its BANDWIDTH to the first. */
FS_API int fs_services_add_link(struct fs_services_builder *builder, const char *from, const char *to,
                                fs_amount bandwidth, char **error);
/* VIA is a list of nodes with spaces between them, from a source to a sink along links. */
FS_API int fs_services_add_path(struct fs_services_builder *builder, const char *via, fs_amount bound, char **error);
FS_API int fs_services_end(struct fs_services_builder *builder, char **error);
/* Destroys the builder and makes *BUILDER NULL; the services are for the caller to destroy. */
FS_API struct fs_services *fs_services_finish(struct fs_services_builder **builder);

/* ---- Solutions: where it is put. ---- */

/* An empty solution: nothing is placed.  It keeps referring to PLATFORM and SERVICES. */
FS_API struct fs_solution *fs_solution_create(const struct fs_platform *platform, const struct fs_services *services);
FS_API void fs_solution_destroy(struct fs_solution *solution);

/* The platform node of service node NODE, or -1. */
FS_API int fs_solution_place(const struct fs_solution *solution, int node);

/* The arcs of service link LINK in their order, *N of them; they live as long as the link is not placed anew.  NULL and
 * 0 when both ends are in one place, or when there is no way (fs_report.unrouted). */
FS_API const int *fs_solution_route(const struct fs_solution *solution, int link, int *n);

/* Put back what a store remembers: service node NODE at platform node WHERE, and LINK along the N ARCS.  Nothing is
 * accounted for until fs_load_add(). */
FS_API int fs_solution_set_place(struct fs_solution *solution, int node, int where, char **error);
FS_API int fs_solution_set_route(struct fs_solution *solution, int link, const int *arcs, int n, char **error);

/* What a solution breaks, from the definitions and nothing that the search remembers. */
struct fs_report {
    fs_amount cpu, mem, bandwidth, delay; /* the sum of what exceeds each limit */
    int late_paths;                       /* paths over their bound */
    int unrouted;                         /* service links between places that no route joins */
    int unplaced;                         /* modules and sinks that are nowhere */
    int servers_used;                     /* servers with a module */
    double max_link_use;                  /* largest share of an arc's bandwidth in use, */
    double average_link_use;              /* and the mean over all arcs (D3.2, 3.2.1: maximum and average bandwidth usage) */
    /* Total delays of 3.2.1, sums over all services: of the longest way through each (service delay), of all its links (approximate), and of the
     * slowest of its bounded paths (typical). */
    fs_amount service_delay, approximate_delay, typical_delay;
    bool feasible;
};
FS_API void fs_solution_check(const struct fs_solution *solution, struct fs_report *report);

/* Writes SOLUTION as XML to PATH, all or nothing: a reader sees the old file or the new one.  PER_LINK gives each service
 * link a route of its own, otherwise there is one a pair of nodes, which must be how it was placed. */
FS_API int fs_solution_write(const struct fs_solution *solution, bool per_link, const char *path, char **error);

/* ---- Loads: what is taken. ---- */

/* How service links choose their way: one way for all links between a pair of nodes, or each its own. */
enum fs_paths { FS_PATHS_PAIR, FS_PATHS_LINK };

/* The account of PLATFORM with nothing taken. */
FS_API struct fs_load *fs_load_create(const struct fs_platform *platform, enum fs_paths paths);
FS_API void fs_load_destroy(struct fs_load *load);

/* Enter, or strike out, service SERVICE as SOLUTION places it.  Striking out undoes entering exactly. */
FS_API void fs_load_add(struct fs_load *load, const struct fs_solution *solution, int service);
FS_API void fs_load_remove(struct fs_load *load, const struct fs_solution *solution, int service);

/* What is taken of a server and of an arc. */
struct fs_server_load {
    fs_amount cpu, mem, bandwidth;
    int modules;
};
FS_API const struct fs_server_load *fs_load_server(const struct fs_load *load, int server);
FS_API fs_amount fs_load_arc(const struct fs_load *load, int arc);

/* ---- Placing. ---- */

/* Round robin over all servers, or over racks and the servers in a rack; AUTO takes racks on large platforms. */
enum fs_greedy { FS_GREEDY_AUTO, FS_GREEDY_FLAT, FS_GREEDY_RACKS };

struct fs_place_options {
    uint64_t seed;       /* equal seeds give equal solutions */
    enum fs_greedy form;
    int *pointer;        /* where the round robin stands (0 at first), moved on; NULL: from the start */
    bool (*allowed)(void *aux, int node, int server); /* may service node NODE run on SERVER?  NULL: anywhere */
    void *aux;
    double seconds;      /* after so long the rest is placed in haste; 0: take the time that it takes */
};

/* Places all SERVICES one after the other on top of LOAD and enters them there.  OPTIONS may be NULL.
 *
 * Returns 0 when every module and sink has a place: *SOLUTION is the caller's, and also when limits had to be broken
 * it is entered in LOAD, from where fs_load_remove() takes it.  If some limit had to be broken, *REASON, for the caller to
 * free, says for the first such service which limit binds on each server; otherwise it is NULL.  fs_solution_check() does
 * not see what was in LOAD before, so *REASON is how to know.
 *
 * Returns ENOSPC, with *REASON, no solution and LOAD as before, if some module may run nowhere.  REASON may be NULL. */
FS_API int fs_place_greedy(struct fs_load *load, const struct fs_services *services,
                           const struct fs_place_options *options, struct fs_solution **solution, char **reason);

/* ---- Searching. ---- */

/* How far a search is: what its best solution exceeds, after how many seconds and steps. */
struct fs_progress {
    double seconds;
    uint64_t steps;
    fs_amount cpu, mem, bandwidth, delay;
};

/* A way of searching, and what it is good for; the table ends with a row whose name is NULL.  The first is the default. */
struct fs_algorithm {
    const char *name, *help;
};
FS_API const struct fs_algorithm *fs_algorithms(void);

/* What to make least once all limits are met; as above. */
struct fs_objective {
    const char *name, *help;
};
FS_API const struct fs_objective *fs_objectives(void);

struct fs_search_options {
    const char *algorithm, *objective;  /* NULL: the first of their tables */
    enum fs_paths paths;
    uint64_t seed;       /* equal seeds give equal solutions, whatever the number of threads, unless SECONDS cut a search short */
    uint64_t steps;      /* of searches that improve a solution; 0: as many as each algorithm deems worth it */
    unsigned threads;    /* 0 and 1: the caller alone */
    double seconds;      /* 0: no limit */
    void (*progress)(void *aux, const struct fs_progress *progress);  /* called now and then by the caller's thread; may be NULL */
    void *aux;
};

/* ---- Proofs. ---- */

/* Why no solution meets all limits, and what each kind of violation is at least when those of other kinds are none. */
struct fs_proof {
    char *text;          /* a sentence or more that a person can check; NULL: nothing was found, which proves nothing */
    fs_amount cpu, mem, bandwidth, delay;
};

/* Looks for short arguments: more asked in total than there is, a module larger than every server, a port that cannot carry what must pass it, a
 * bound below the shortest way, a service whose bounds want it on fewer servers than it fits on.  With DEEP the linear
 * relaxation of small instances is solved too.  The caller passes *PROOF to fs_proof_clear(). */
FS_API void fs_prove(const struct fs_platform *platform, const struct fs_services *services, bool deep, struct fs_proof *proof);
FS_API void fs_proof_clear(struct fs_proof *proof);

/* Places all SERVICES on the empty PLATFORM.  Returns 0 and *SOLUTION, for the caller to destroy, in which every module and sink has a
 * place; and when that breaks limits, what fs_prove() finds in *PROOF, for the caller to pass to fs_proof_clear().  Returns EINVAL for an
 * algorithm or objective that does not exist, ENOSPC when a module can be nowhere, E2BIG and ETIME when an exact search would take too much or
 * did not end in time; and then an explanation in *ERROR, for the caller to free. */
FS_API int fs_search(const struct fs_platform *platform, const struct fs_services *services,
                     const struct fs_search_options *options, struct fs_solution **solution, struct fs_proof *proof,
                     char **error);

#endif

/* The packet side of a module host: one multiplexer and any number of processes, each with one module or several of one allocation.
 *
 * The daemon of a module host calls these functions from its tasks.  They keep nothing in memory: all state is on disk below
 * 'dir' and in the processes, so that a daemon that was killed finds everything again by asking.  Calls on different names may
 * run at the same time in any thread; two calls on the same name are the caller's to keep apart.  A process and its modules share one space of
 * names: a process is called as its module where it has one.
 *
 *     dir/mux/{pid,control.sock,log,lock}          the multiplexer
 *     dir/modules/NAME/{spec,pid,status,control.sock,log}   one process
 *     dir/modules/MODULE -> NAME                            each module of a process that has another name
 *
 * Every function returns 0 or a positive errno.  Where there is an 'error' argument it may be NULL; otherwise *error becomes NULL
 * or a malloc()ed sentence that the caller frees.  'deadline_ms' is the longest time in milliseconds that the call may take. */
#ifndef FLOWSTREAM_PM_H
#define FLOWSTREAM_PM_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <flowstream/api.h>
#include <flowstream/module.h>

#define FS_PORTS_MAX 64u         /* ports of a module on either side */
#define FS_PATHS_MAX 1024u       /* service paths that lead into one module, and out of it */
#define FS_SPI_MAX 0xffffffu     /* a service path identifier has 24 bits */
#define FS_MODULE_NAME_MAX 100u  /* bytes of a module's name */
#define FS_MEMBERS_MAX 64u       /* modules that share a process */
#define FS_MODULE_ARGS_MAX 32768u /* bytes of a module's arguments */

/* Where this module host lives.  All strings are the caller's. */
struct fs_host_env {
    const char *dir;      /* folder of this host, exists, absolute */
    const char *programs; /* folder of flowstream-mux and flowstream-module */
    const char *types;    /* folder of the module types, NAME.so with NAME in lower case */
    const char *netns;    /* path of the network namespace of the trunk, or NULL: this one */
    const char *trunk;    /* interface of the multiplexer's end of the trunk */
    const char *host_id;  /* names this host in cgroups: letters, digits, '_', '-', '.' */
};

/* The multiplexer's counts since it started. */
struct fs_mux_stats {
    uint64_t rx_packets, rx_bytes; /* frames from the trunk */
    uint64_t tx_packets, tx_bytes; /* frames to the trunk */
    uint64_t local_packets;        /* handed from module to module on this host */
    uint64_t unknown_spi;          /* frames of a service path that leads nowhere here */
    uint64_t malformed;            /* frames that are no service header, too long or too short */
    uint64_t tx_errors;            /* frames that the trunk refused */
    uint64_t ring_drops;           /* packets that found the ring of their module full */
    uint64_t rate_drops;           /* packets above the rate of their link */
    uint64_t ring_faults;          /* modules' ring indexes and lengths that cannot be */
    uint64_t kernel_drops;         /* frames that the kernel dropped before the multiplexer could read them */
    uint64_t modules;              /* modules connected */
};

/* Start the multiplexer of this host and connect all living modules to it; success where it runs already. */
FS_API int fs_mux_start(const struct fs_host_env *, int deadline_ms, char **error);

/* Stop it; success where none runs.  Modules stay alive, without packets, until the next fs_mux_start(). */
FS_API int fs_mux_stop(const struct fs_host_env *, int deadline_ms, char **error);

/* Read its counts.  ENOTCONN: it does not run. */
FS_API int fs_mux_statistics(const struct fs_host_env *, struct fs_mux_stats *, int deadline_ms, char **error);

/* One service link: what carries 'spi' on the trunk belongs to 'port'.  What is more than 'rate' is dropped and counted (rate_drops); a link
 * between two modules is limited where it begins. */
struct fs_port_spi {
    uint32_t port;
    uint32_t spi;  /* 1 ... FS_SPI_MAX */
    uint64_t rate; /* bit/s of whole frames without the service header, 0: not limited */
};

/* What a module is to be.  All memory is the caller's and is only read. */
struct fs_module_spec {
    const char *name;    /* unique on this host: letters, digits, "_-.:@", no '.' or '-' first, at most FS_MODULE_NAME_MAX */
    const char *type;    /* as in a request: "Firewall" */
    const char *args;    /* the argument string of the request, not NULL */
    const char *basesys; /* NULL or "": the first that fs_basesys_names() gives */
    uint64_t owner;      /* id of the allocation; it is in the process's argument vector */
    double cpu;          /* cores, 0: no limit */
    unsigned mem;        /* MB, 0: no limit */
    const struct fs_port_spi *inputs; /* a port may have several paths, a path only one port */
    size_t n_inputs;
    /* Each port from 0 to the last has a path, or several: those lead to the instances of the next module, the first to the first, and the multiplexer
     * chooses by flow.  spi 0: not connected, what is sent there is dropped. */
    const struct fs_port_spi *outputs;
    size_t n_outputs;
};

/* Some ports of a module and the service paths that lead to or from them.  All memory is the caller's and is only read. */
struct fs_module_ports {
    const struct fs_port_spi *inputs;
    size_t n_inputs;
    const struct fs_port_spi *outputs;
    size_t n_outputs;
};

/* What a process is to be: modules of one owner and base system.  A service path that leads from one of them to another is a function call: its
 * packets meet neither ring nor multiplexer.  Limits are the sum of the modules' (none where one has none), and all end together. */
struct fs_process_spec {
    const char *name; /* as a module's; the module's own where there is only one */
    const struct fs_module_spec *const *modules;
    size_t n_modules; /* 1 ... FS_MEMBERS_MAX */
};

/* Start a process and connect its modules to the multiplexer, or leave nothing behind (undoing may take up to three seconds beyond the deadline).
 * The error repeats what a type says of its arguments.  EEXIST: there is a process or module of this name. */
FS_API int fs_process_start(const struct fs_host_env *, const struct fs_process_spec *, int deadline_ms, char **error);

/* The same for a process of one module. */
FS_API int fs_module_start(const struct fs_host_env *, const struct fs_module_spec *, int deadline_ms, char **error);

/* End a process and remove all that belongs to it: its modules, entries in the multiplexer, cgroup, folder.  A process that does not
 * end by itself is killed, and so is one whose folder somebody has removed, where it has a cgroup.  Success where there is none of this name.  EBUSY: this is a module that shares the process of another name, which
 * *error names; they end together. */
FS_API int fs_module_stop(const struct fs_host_env *, const char *name, int deadline_ms, char **error);

/* End the processes whose rings the multiplexer found to be impossible (it handles none of their packets any more): their modules are dead from
 * then on, with the reason as their 'limits'.  *ended gets the names, one a line, malloc()ed; "" for none. */
FS_API int fs_host_mend(const struct fs_host_env *, int deadline_ms, char **ended, char **error);

/* Connect ports of a running module to service paths, beside those that it has: what is so already stays.  The module, its state and its packets are not touched.
 * ENOENT: no such module.  EEXIST: an output has another path, or a path leads elsewhere.  EINVAL: it was made without this port.  On an error
 * nothing has changed. */
FS_API int fs_module_connect(const struct fs_host_env *, const char *name, const struct fs_module_ports *, int deadline_ms, char **error);

/* Take service paths away again; those that it does not have, and a module that does not exist or has died, are no error. */
FS_API int fs_module_disconnect(const struct fs_host_env *, const char *name, const struct fs_module_ports *, int deadline_ms, char **error);

struct fs_module_info {
    char *name;
    char *process; /* the process that it is in */
    char *type;
    char *basesys;
    uint64_t owner;
    pid_t pid;       /* 0 where the state is dead */
    bool running;    /* false: dead, fs_module_stop() clears it away */
    char *isolation; /* sentence: what keeps this process apart, and what could not be had */
    char *limits;    /* sentence: which limits hold, or "not enforced: " and why; of a process that was ended for its rings, that */
};

/* All modules of this host, by name.  The caller frees with fs_module_list_free(). */
FS_API int fs_module_list(const struct fs_host_env *, struct fs_module_info **, size_t *n);
FS_API void fs_module_list_free(struct fs_module_info *, size_t n); /* accepts NULL */

/* A process of modules at a glance. */
struct fs_process_look {
    uint64_t owner;   /* 0: its specification cannot be read, as while it is being made */
    uint64_t made_as; /* a sum over its specification */
    pid_t pid;        /* 0: it does not run */
    int pidfd;        /* becomes readable when it ends, for the caller to close; -1: it does not run */
};
/* Look at one process.  ENOENT: there is none of this name.  EMFILE, ENFILE, ENOMEM: it cannot be said now. */
FS_API int fs_process_look(const struct fs_host_env *, const char *name, struct fs_process_look *);

/* Calls visit(aux, name) for each process of this host, in no order.  A folder that is not there yet has none. */
FS_API int fs_process_names(const struct fs_host_env *, void (*visit)(void *aux, const char *name), void *aux);

/* The modules of one process, none where there is no such process; the list is as that of fs_module_list(). */
FS_API int fs_process_modules(const struct fs_host_env *, const char *name, struct fs_module_info **, size_t *n);

/* What a module was made as, with the service paths that it has now, by its folder.  *spec points into one block, which the caller frees with fs_module_spec_free().  An errno where
 * there is no such module, or its folder holds no specification. */
FS_API int fs_module_read(const struct fs_host_env *, const char *name, struct fs_module_spec **spec);
FS_API void fs_module_spec_free(struct fs_module_spec *); /* accepts NULL */

/* What a module has handled.  What crosses the multiplexer is counted there, outside the module; 'dropped', and what went from module to module
 * within a process, is that process's own claim.  They survive a restart of the multiplexer. */
struct fs_module_counters {
    uint64_t in, bytes_in;   /* packets given to it */
    uint64_t out, bytes_out; /* packets taken from it */
    uint64_t dropped;        /* packets that it took and did not pass on */
    uint64_t ring_drops;     /* packets that it was too slow for, on either side */
    uint64_t rate_drops;     /* packets above the rates of its links: into it from the network, out of it to anywhere */
};
FS_API int fs_module_counters(const struct fs_host_env *, const char *name, struct fs_module_counters *, int deadline_ms,
                              char **error);

/* A module with its counters. */
struct fs_module_tally {
    char *name, *process, *type;
    uint64_t owner;
    bool running;
    bool connected; /* the multiplexer knows it; else there are no counters */
    struct fs_module_counters counters;
};

/* The counters of all modules of this host, by name: a few messages to the multiplexer, whatever their number.  Where it does not answer, all are there
 * without counters and *problem says why (free() it).  The caller frees the list with fs_module_tallies_free(). */
FS_API int fs_module_tallies(const struct fs_host_env *, struct fs_module_tally **, size_t *n, int deadline_ms, char **problem);
FS_API void fs_module_tallies_free(struct fs_module_tally *, size_t n); /* accepts NULL */

/* One flow that comes into a module: packets of one direction of a conversation. */
struct fs_flow {
    int vlan;                                      /* the outer tag's, or -1 */
    unsigned ethertype, protocol;                  /* protocol 0: not IP */
    char source[46], destination[46];              /* "-": not IP */
    unsigned source_port, destination_port;        /* 0: the protocol has none, or a later fragment */
    uint64_t packets, bytes;                       /* of whole Ethernet frames */
};

struct fs_flows {
    struct fs_flow *list;
    size_t n;
    uint64_t other_packets, other_bytes; /* of flows that there was no place for any more */
    uint64_t forgotten;                  /* how many those were */
    double seconds;                      /* for so long they are counted */
};

/* The flows into a module, in no order, counted since the first call; who wants more calls again within 'keep_ms' milliseconds, and after that they are counted no longer (0: at
 * once).  4,096 at most.  The caller frees flows->list with free().  EINVAL: the multiplexer does not know the module. */
FS_API int fs_module_flows(const struct fs_host_env *, const char *name, int keep_ms, struct fs_flows *, int deadline_ms, char **error);

/* Talk to the running module: "read NAME", "write NAME VALUE", "configure ARGS" (the new configuration holds from one packet to the
 * next; a bad one changes nothing), "counters", "status".  *reply is malloc()ed.  ENOENT: no such module.  EINVAL: the module
 * refuses, *error says why.  ETIMEDOUT: it does not answer. */
FS_API int fs_module_control(const struct fs_host_env *, const char *name, const char *command, char **reply, int deadline_ms,
                             char **error);

/* The base systems that this host offers, the preferred one first.  A static array that ends with NULL. */
FS_API const char *const *fs_basesys_names(void);

/* A module type loaded for checking arguments or describing it.  'type' is valid until fs_type_unload(). */
struct fs_type {
    const struct fs_module_type *type;
    const struct fs_lang_argument *arguments; /* its FS_MODULE_ARGUMENTS (module.h); NULL: it has none */
    void *handle;
};

/* Load type 'name' from 'types' (see fs_host_env).  This runs the object's constructors: load only what is trusted.
 * ENOENT: there is none.  ENOEXEC: it is no module type of this version.  Thread-safe. */
FS_API int fs_type_load(const char *types, const char *name, struct fs_type *, char **error);
FS_API void fs_type_unload(struct fs_type *); /* accepts an empty one */

/* The names of all types in a folder (file names without ".so", sorted) as a malloc()ed array of malloc()ed strings that ends with
 * NULL; free with fs_type_list_free(). */
FS_API int fs_type_list(const char *types, char ***names);
FS_API void fs_type_list_free(char **names); /* accepts NULL */

#endif

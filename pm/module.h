/* The runner of one process of modules: what its parts share.  module.c starts and shuts in, module_types.c loads types and what they need,
 * module_packets.c takes packets from the ring through the modules to the ring, module_run.c is the loop and hears commands. */
#ifndef PM_MODULE_H
#define PM_MODULE_H 1

#include <flowstream/module.h>

#include "pm/bucket.h"
#include "pm/private.h"
#include "pm/ring.h"

enum { BATCH = 64 };

/* Packets handed to a module and not handled yet. */
struct queue {
    uint32_t n;
    struct fs_packet packets[BATCH];
    int buffers[BATCH]; /* the buffer of the pool that the packet lies in; -1: of the ring */
};

/* A path out of a module. */
struct lane {
    struct member *to; /* the module of this process that it leads to; NULL: it leaves by the ring, and the multiplexer chooses as we do */
    uint32_t port;
    struct pm_bucket limit; /* of a link within the process; the multiplexer limits the others */
};

/* One module. */
struct member {
    const struct fs_module_spec *spec;
    const struct fs_module_type *type;
    void *state; /* of the type */
    uint32_t index, n_outputs;
    struct {
        uint32_t n; /* paths: several where the next module has several instances; 0 where none of them leads to a module of this process */
        struct lane *lanes;
    } outputs[FS_PORTS_MAX];
    struct lane *lanes; /* of all outputs */
    struct queue waiting;
    bool running; /* its process() is on the stack */
};

/* What the process has in hand when the walls are up. */
struct process {
    const struct fs_process_spec *spec;
    struct member *members;
    uint32_t n_members;
    const char *status; /* isolation and limits, two lines */

    int control;  /* listening socket */
    int area_fd;  /* the rings, kept to hand them to a multiplexer that was restarted */
    int bell;     /* our end of the doorbell */
    int mux_bell; /* the multiplexer's end, kept for the same reason */
    struct pm_area *area;
    struct pm_consumer rx;
    struct pm_producer tx;

    /* Buffers for packets that one module copies to another, see packets_prepare(). */
    uint8_t (*pool)[PM_BUFFER_ROOM];
    int *free_buffers;
    uint32_t n_free_buffers;
    uint32_t steps; /* calls of process() that the packets taken last have led to */
};

/* module_types.c */

/* Files of the types of a process: one a type, however many modules have it. */
struct type_files {
    size_t n;
    const char *names[FS_MEMBERS_MAX]; /* as in the specifications */
    char *paths[FS_MEMBERS_MAX];
    int fds[FS_MEMBERS_MAX];
    const struct fs_module_type *loaded[FS_MEMBERS_MAX];
};

/* Open the object of each type in the folder 'types', and load the libraries that they say they need: inside there are none.  0 or errno with
 * *error. */
int types_open(struct type_files *, const struct fs_process_spec *, const char *types, char **error);
/* Load all types, from the empty root or, where 'inside' is false, from where they are, and configure the modules.  0 or errno with *error. */
int types_load(struct type_files *, struct process *, bool inside, char **error);

/* module_packets.c */

/* Connect the members with each other and make the pool; 0 or errno. */
int packets_prepare(struct process *);
/* Handle one batch; false where there was none. */
bool packets_handle(struct process *);

/* module_run.c */

/* Handle packets and commands until "stop".  Returns the exit status. */
int module_run(struct process *);

#endif

/* The multiplexer: what its parts share.  mux.c is the loop, mux_trunk.c the socket on the trunk, mux_forward.c the modules, their rings and
 * the table of service paths, mux_control.c the requests of the daemon. */
#ifndef PM_MUX_H
#define PM_MUX_H 1

#include <flowstream/pm.h>

#include "pm/bucket.h"
#include "pm/channel.h"
#include "pm/flows.h"
#include "pm/ring.h"

enum { MUX_BATCH = 64, MUX_CALLERS_MAX = 64, MUX_FRAME_ROOM = 2048 };

/* What an epoll event is about; first member of whatever it is. */
enum handle_kind { HANDLE_TRUNK, HANDLE_CONTROL, HANDLE_CALLER, HANDLE_PROCESS };
struct handle {
    enum handle_kind kind;
    int fd;
};

/* The service paths that lead out of one port of a module: more than one where the next module has several instances. */
struct exit {
    uint32_t n; /* 0: not connected */
    struct lane {
        uint32_t spi;
        struct pm_bucket limit;
    } *lanes; /* into those of the module */
};

/* One process of modules: its rings and doorbell. */
struct mux_process {
    struct handle bell;
    struct mux_process *next;
    struct mux_process *next_active; /* see mux.active */
    struct mux_process *next_dirty;  /* see mux.dirty */
    bool active, dirty;
    bool dead;   /* its process ended */
    bool faulty; /* its rings cannot be: nothing is taken from it or given to it, and the daemon ends it */
    struct fs_process_spec *spec;
    struct pm_area *area;
    struct pm_producer rx;
    struct pm_consumer tx;
    struct mux_module *modules; /* as many as spec has, in its order */
};

struct mux_module {
    const struct fs_module_spec *spec;
    struct mux_process *process;
    uint32_t member; /* its place in the process */
    struct exit exits[FS_PORTS_MAX];
    struct lane *lanes; /* of all ports, each port's in their order */
    struct flows *flows;   /* those that come in from outside its process, while somebody asks for them; else NULL */
    int64_t flows_until;   /* pm_now() */
};

/* The trunk's socket and frames on their way out; see mux_trunk.c. */
struct trunk;

/* Service paths that end here: open addressing, at most half full; spi 0 is an empty place. */
struct path {
    uint32_t spi;
    uint32_t port;
    struct mux_module *module;
    struct pm_bucket limit;
};

struct mux {
    const char *dir, *netns, *interface;
    int epoll;
    struct handle control;
    unsigned n_callers;
    struct trunk *trunk;
    struct mux_process *processes;
    struct mux_process *active; /* processes whose ring to us may hold something */
    struct mux_process *dirty;  /* processes whose ring from us has packets not yet published */
    struct path *paths;
    uint32_t n_paths, paths_room;
    struct fs_mux_stats stats;
    bool stop;
};

/* mux_trunk.c */

/* Open the trunk's interface in its namespace; 0 or errno with *error. */
int mux_trunk_open(struct mux *, char **error);
void mux_trunk_close(struct mux *);
/* Open it again where it was lost (an interface removed and made anew); true: it is there. */
bool mux_trunk_mend(struct mux *);
/* Read one batch of frames and deliver them. */
void mux_trunk_receive(struct mux *);
/* Frames go out in batches: add one whose bytes stay until mux_trunk_flush(). */
void mux_trunk_add(struct mux *, uint32_t spi, const uint8_t *data, uint32_t length);
void mux_trunk_flush(struct mux *);
/* Add what the kernel dropped since the last call. */
void mux_trunk_count_drops(struct mux *);

/* mux_forward.c */

/* Connect a process; takes 'spec' and closes or keeps both descriptors in any case.  0 or errno with *error. */
int mux_add(struct mux *, struct fs_process_spec *spec, int area_fd, int bell_fd, char **error);
/* Forget a process; false: there is none of this name. */
bool mux_remove(struct mux *, const char *name);
/* A module by its name. */
struct mux_module *mux_find(const struct mux *, const char *name);
/* A frame of path 'spi' for this host; false: no such path here. */
bool mux_deliver(struct mux *, uint32_t spi, const uint8_t *frame, uint32_t length);
/* A process rang. */
void mux_wake(struct mux *, struct mux_process *);
/* One round: take a batch from every active process, send it on, show the receivers what they got. */
void mux_forward(struct mux *);
/* Count flows no longer where nobody has asked for a while. */
void mux_end_flows(struct mux *);
void mux_publish(struct mux *);

/* mux_control.c */

void mux_accept(struct mux *);
/* Hear one caller, answer, and let it go. */
void mux_serve(struct mux *, struct handle *caller);

#endif

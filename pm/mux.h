/* The multiplexer: what its parts share.  mux.c is the loop, mux_trunk.c the socket on the trunk, mux_forward.c the modules, their rings and
 * the table of service paths, mux_control.c the requests of the daemon. */
#ifndef PM_MUX_H
#define PM_MUX_H 1

#include <flowstream/pm.h>

#include "pm/channel.h"
#include "pm/ring.h"

enum { MUX_BATCH = 64, MUX_CALLERS_MAX = 64, MUX_FRAME_ROOM = 2048 };

/* What an epoll event is about; first member of whatever it is. */
enum handle_kind { HANDLE_TRUNK, HANDLE_CONTROL, HANDLE_CALLER, HANDLE_MODULE };
struct handle {
    enum handle_kind kind;
    int fd;
};

/* The service paths that lead out of one port of a module: more than one where the next module has several instances. */
struct exit {
    uint32_t n;          /* 0: not connected */
    const uint32_t *spi; /* into spis of the module */
};

struct mux_module {
    struct handle bell;
    struct mux_module *next;
    struct mux_module *next_active; /* see mux.active */
    struct mux_module *next_dirty;  /* see mux.dirty */
    bool active, dirty, dead;
    struct fs_module_spec *spec;
    struct exit exits[FS_PORTS_MAX];
    uint32_t *spis; /* of all ports, each port's in their order */
    struct pm_area *area;
    struct pm_producer rx;
    struct pm_consumer tx;
};

/* The trunk's socket and frames on their way out; see mux_trunk.c. */
struct trunk;

/* Service paths that end here: open addressing, at most half full; spi 0 is an empty place. */
struct path {
    uint32_t spi;
    uint32_t port;
    struct mux_module *module;
};

struct mux {
    const char *dir, *netns, *interface;
    int epoll;
    struct handle control;
    unsigned n_callers;
    struct trunk *trunk;
    struct mux_module *modules;
    struct mux_module *active; /* modules whose ring to us may hold something */
    struct mux_module *dirty;  /* modules whose ring from us has packets not yet published */
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

/* Connect a module; takes 'spec' and closes or keeps both descriptors in any case.  0 or errno with *error. */
int mux_add(struct mux *, struct fs_module_spec *spec, int area_fd, int bell_fd, char **error);
/* Forget it; false: there is none of this name. */
bool mux_remove(struct mux *, const char *name);
struct mux_module *mux_find(const struct mux *, const char *name);
/* A frame of path 'spi' for this host; false: no such path here. */
bool mux_deliver(struct mux *, uint32_t spi, const uint8_t *frame, uint32_t length);
/* A module rang. */
void mux_wake(struct mux *, struct mux_module *);
/* One round: take a batch from every active module, send it on, show the receivers what they got. */
void mux_forward(struct mux *);
void mux_publish(struct mux *);

/* mux_control.c */

void mux_accept(struct mux *);
/* Hear one caller, answer, and let it go. */
void mux_serve(struct mux *, struct handle *caller);

#endif

/* The runner of one module: what its two halves share.  module.c starts and shuts in; module_run.c handles packets and commands. */
#ifndef PM_MODULE_H
#define PM_MODULE_H 1

#include <flowstream/module.h>

#include "pm/private.h"
#include "pm/ring.h"

/* What the process has in hand when the walls are up. */
struct module {
    const struct fs_module_spec *spec;
    const struct fs_module_type *type;
    void *state; /* of the type */
    uint32_t n_outputs;
    const char *status; /* isolation and limits, two lines */

    int control;  /* listening socket */
    int area_fd;  /* the rings, kept to hand them to a multiplexer that was restarted */
    int bell;     /* our end of the doorbell */
    int mux_bell; /* the multiplexer's end, kept for the same reason */
    struct pm_area *area;
    struct pm_consumer rx;
    struct pm_producer tx;
};

/* Handle packets and commands until "stop".  Returns the exit status. */
int module_run(struct module *);

#endif

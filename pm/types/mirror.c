/* Mirror: sends a copy of every packet to each connected output. */
#include "config.h"

#include <flowstream/module.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A type needs a state even where there is nothing to remember: NULL says that configure() failed. */
static void *
configure(const char *args, uint32_t n_outputs, char **error)
{
    (void) n_outputs;
    if (args[strspn(args, " \t\r\n")]) {
        if (asprintf(error, "a Mirror takes no arguments, but got \"%s\"", args) < 0) {
            *error = NULL;
        }
        return NULL;
    }
    return calloc(1, 1);
}

static void
process(void *state, struct fs_packet *packets, size_t n, struct fs_emitter *out)
{
    (void) state;
    for (size_t i = 0; i < n; i++) {
        for (uint32_t port = 0; port < out->n_outputs; port++) {
            (port + 1 < out->n_outputs ? out->emit : out->pass)(out, port, &packets[i]);
        }
    }
}

static const struct fs_module_primitive primitives[] = { { NULL, NULL } };

FS_MODULE_ARGUMENTS = { { NULL, NULL, 0, 0, false } };

FS_MODULE_TYPE = {
    .magic = FS_MODULE_MAGIC,
    .abi = FS_MODULE_ABI,
    .name = "Mirror",
    .description = "Sends a copy of every packet to each connected output.",
    .arguments = "none",
    .min_inputs = 1,
    .max_inputs = 1,
    .min_outputs = 1,
    .max_outputs = FS_PORTS_ANY,
    .primitives = primitives,
    .configure = configure,
    .destroy = free,
    .process = process,
};

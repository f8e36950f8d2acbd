/* Stand-ins for module types, so that the tests of the language depend on nothing but the language: this file is
 * compiled once for each, with the name and the numbers of ports given on the command line.  They move no packets; an
 * argument with "bad" in it is refused, and so is a list that has not one part for each output where STUB_LIST is set;
 * where STUB_ARGUMENTS is set, the type says which arguments it takes.
 */
#include "config.h"

#include "flowstream/module.h"

#include <stdio.h>
#include <string.h>

#ifndef STUB_LIST
#define STUB_LIST 0
#endif

static char state;

static void *
configure(const char *args, uint32_t n_outputs, char **error)
{
    uint32_t parts = 1;
    for (const char *p = args; *p; p++) {
        parts += *p == ',';
    }
    int written = 0;
    if (strstr(args, "bad")) {
        written = asprintf(error, "'%s' is bad", args);
    } else if (STUB_LIST && parts != n_outputs) {
        written = asprintf(error, "%u expressions for %u outputs", parts, n_outputs);
    } else {
        return &state;
    }
    if (written < 0) {
        *error = NULL;
    }
    return NULL;
}

static void
destroy(void *unused)
{
    (void) unused;
}

static void
process(void *unused, struct fs_packet *packets, size_t n, struct fs_emitter *emitter)
{
    (void) unused;
    (void) packets;
    (void) n;
    (void) emitter;
}

static const struct fs_module_primitive primitives[] = { { NULL, NULL } };

#ifdef STUB_ARGUMENTS
FS_MODULE_ARGUMENTS = {
    { "rate", "bps", 1e3, 1e10, true }, { "burst", "B", 0, 0, false }, { "wait", "s", 0.001, 1, false },
    { "queue", "", 1, 64, false },      { "mode", NULL, 0, 0, false },  { NULL, NULL, 0, 0, false },
};
#endif

FS_MODULE_TYPE = {
    .magic = FS_MODULE_MAGIC,
    .abi = FS_MODULE_ABI,
    .name = STUB_NAME,
    .description = "A stand-in for tests",
    .arguments = "anything",
    .min_inputs = STUB_MIN_INPUTS,
    .max_inputs = STUB_MAX_INPUTS,
    .min_outputs = STUB_MIN_OUTPUTS,
    .max_outputs = STUB_MAX_OUTPUTS,
    .primitives = primitives,
    .configure = configure,
    .destroy = destroy,
    .process = process,
};

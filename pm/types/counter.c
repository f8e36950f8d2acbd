/* Counter: counts packets and bytes and passes every packet on. */
#include "config.h"

#include <flowstream/module.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct counter {
    uint64_t count, byte_count;
};

static void *
configure(const char *args, uint32_t n_outputs, char **error)
{
    (void) n_outputs;
    if (args[strspn(args, " \t\r\n")]) {
        if (asprintf(error, "a Counter takes no arguments, but got \"%s\"", args) < 0) {
            *error = NULL;
        }
        return NULL;
    }
    return calloc(1, sizeof(struct counter));
}

static void
process(void *state, struct fs_packet *packets, size_t n, struct fs_emitter *out)
{
    struct counter *c = state;
    for (size_t i = 0; i < n; i++) {
        c->count++;
        c->byte_count += packets[i].length;
        out->pass(out, 0, &packets[i]);
    }
}

static char *
read_value(void *state, const char *name)
{
    const struct counter *c = state;
    const uint64_t *value = !strcmp(name, "count") ? &c->count : !strcmp(name, "byte_count") ? &c->byte_count : NULL;
    char *text;
    return value && asprintf(&text, "%" PRIu64, *value) >= 0 ? text : NULL;
}

static int
write_value(void *state, const char *name, const char *value, char **error)
{
    (void) value;
    (void) error;
    if (strcmp(name, "reset")) {
        return -1;
    }
    memset(state, 0, sizeof(struct counter));
    return 0;
}

static const struct fs_module_primitive primitives[] = {
    { "read count", "packets since the start or the last reset" },
    { "read byte_count", "bytes of their frames" },
    { "write reset", "no value: sets both to 0" },
    { NULL, NULL },
};

FS_MODULE_ARGUMENTS = { { NULL, NULL, 0, 0, false } };

FS_MODULE_TYPE = {
    .magic = FS_MODULE_MAGIC,
    .abi = FS_MODULE_ABI,
    .name = "Counter",
    .description = "Counts packets and bytes and passes every packet on.",
    .arguments = "none",
    .min_inputs = 1,
    .max_inputs = 1,
    .min_outputs = 0,
    .max_outputs = 1,
    .primitives = primitives,
    .configure = configure,
    .destroy = free,
    .process = process,
    .read = read_value,
    .write = write_value,
};

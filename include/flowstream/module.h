/* The contract between a processing-module type and the base system that runs it.
 *
 * A module type is one source file pm/types/NAME.c that defines one symbol, fs_module_type_v1 (see FS_MODULE_TYPE).
 * It is built as a loadable lib/flowstream/types/NAME.so and is run by `flowstream-module` in a process with
 * namespaces of its own: it sees whole Ethernet frames in batches and nothing else.  Section 1.1 of D3.2 calls it a
 * processing module (PM).  Ports are numbered as in section 2.1.4: `a[1] -> [0]b`.
 *
 * Modules of one allocation may share a process, also several of one type: what a module remembers belongs into its state, a static variable is
 * every module's.  All functions of a type are called from one thread.  No function may block. */
#ifndef FLOWSTREAM_MODULE_H
#define FLOWSTREAM_MODULE_H 1

#include <stddef.h>
#include <stdint.h>

#include "flowstream/lang.h"

#define FS_MODULE_MAGIC 0x46534d54u /* "FSMT" */
#define FS_MODULE_ABI 1u

/* A type whose number of ports is what the request connects (Mirror, Classifier) says 'ports_any'. */
#define FS_PORTS_ANY UINT32_MAX

/* One Ethernet frame, from the destination address on.  'data' may be changed in place; 'length' may be changed up to
 * 'room' bytes. */
struct fs_packet {
    uint8_t *data;
    uint32_t length; /* bytes */
    uint32_t room;   /* bytes from data on that belong to this packet */
    uint32_t port;   /* the input port that it came in by */
    uint32_t reserved;
};

/* Given to process(): where packets go.  A packet that is not emitted is dropped and counted so. */
struct fs_emitter;
struct fs_emitter {
    /* Send 'packet' out of output port 'port'.  The bytes are copied or taken before emit() returns, so the same packet may be
     * emitted several times (a mirror) and changed between. Ports that the request did not connect drop the packet. */
    void (*emit)(struct fs_emitter *, uint32_t port, const struct fs_packet *);
    uint32_t n_outputs; /* connected output ports: 0 ... n_outputs - 1 */
    /* As emit(), for a packet of the batch that the type neither changes nor sends afterwards: the next module may then get these bytes
     * themselves.  A type that sends each packet once should use it. */
    void (*pass)(struct fs_emitter *, uint32_t port, const struct fs_packet *);
};

/* One primitive that get_pm_info lists and that can be called while the module runs: "read" or "write" of a named value. */
struct fs_module_primitive {
    const char *name;       /* e.g. "counters" */
    const char *parameters; /* human description, "" for none */
};

struct fs_module_type {
    uint32_t magic;
    uint32_t abi;
    const char *name;        /* as in a request: "Firewall" */
    const char *description; /* one sentence, what it does */
    const char *arguments;   /* human description of the argument string, with an example */
    uint32_t min_inputs, max_inputs, min_outputs, max_outputs; /* FS_PORTS_ANY: no upper limit but the platform's 64 */
    const struct fs_module_primitive *primitives; /* ends with a row whose name is NULL */

    /* Parse 'args' (the string of the request, never NULL) for 'n_outputs' connected outputs.  Returns the state, owned by the
     * caller until destroy(), or NULL with *error a malloc()ed sentence that quotes the bad part.  Has no side effect, so that it
     * also serves to check a request before anything is started. */
    void *(*configure)(const char *args, uint32_t n_outputs, char **error);
    void (*destroy)(void *state); /* accepts NULL */
    void (*process)(void *state, struct fs_packet *packets, size_t n, struct fs_emitter *);
    /* Optional (NULL): read a named value.  Returns a malloc()ed text or NULL where there is no such name. */
    char *(*read)(void *state, const char *name);
    /* Optional (NULL): write one.  Returns 0, or -1 with *error malloc()ed. */
    int (*write)(void *state, const char *name, const char *value, char **error);
};

/* A type whose arguments are all of the form key=value may say which they are by a second symbol, a table that ends with
 * a row whose name is NULL.  The language then checks names, units and ranges, and points at the one that is wrong, before
 * configure() is asked (struct fs_lang_argument in lang.h has the meaning of the columns):
 *
 * A table of no rows says that the type takes no arguments; configure() is then not asked before the module starts.
 *
 *     FS_MODULE_ARGUMENTS = { { "rate", "bps", 1e3, 1e11, true }, { "burst", "B", 0, 0, false }, { NULL } }; */
#define FS_MODULE_ARGUMENTS \
    extern const struct fs_lang_argument fs_module_arguments_v1[]; \
    __attribute__((visibility("default"))) const struct fs_lang_argument fs_module_arguments_v1[]

#define FS_MODULE_TYPE \
    extern const struct fs_module_type fs_module_type_v1; \
    __attribute__((visibility("default"))) const struct fs_module_type fs_module_type_v1

#endif

/* The allocation language (D3.2, section 2.1.4): from the text of a request to the model in request.h, or to a list of
 * what is wrong.
 *
 *     BASESYS=xen.clickos
 *
 *     ft :: FromNet("ip,nw_src=10.10.1.2")    // declarations
 *     tt :: ToNet("tun1|net1")
 *     fw :: Firewall("allow tcp port 80")
 *
 *     ft -> fw -> Counter() -> tt             # connections; Counter() is a module without a name
 *
 * docs/language.md describes all of it.
 *
 * The library does no I/O and has no global state: any function may be called from any thread, on one object by one
 * thread at a time. Time and memory are linear in the size of the text, however it is made. */
#ifndef FLOWSTREAM_LANG_H
#define FLOWSTREAM_LANG_H 1

#include <stdbool.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "flowstream/api.h"
#include "flowstream/request.h"

/* One argument KEY=value of a module type that takes such arguments. */
struct fs_lang_argument {
    const char *name;
    const char *unit;     /* "": a whole number; "bps", "B" or "s": a number with such a unit; NULL: any text */
    double minimum, maximum; /* of a number, in the unit; both 0: any */
    bool required;
};

/* What the checker needs to know of a module type.  UINT32_MAX as a maximum: as many as the limits allow. */
struct fs_lang_type {
    const char *name;
    uint32_t min_inputs, max_inputs;
    uint32_t min_outputs, max_outputs;
    const struct fs_lang_argument *arguments; /* NULL: its arguments are for check_args() alone */
    size_t n_arguments;                       /* 0 with a table: it takes none, and check_args() is not asked */
};

/* The value of a parameter of the request. */
struct fs_lang_parameter {
    const char *name; /* without the '$' */
    const char *value;
};

/* What a request may ask for at most.  0 stands for the default. */
struct fs_lang_limits {
    size_t text;     /* bytes; default 1 MiB */
    size_t modules;  /* declared and unnamed ones; default 100,000 */
    size_t links;    /* default 400,000 */
    uint32_t ports;  /* inputs, and outputs, of one module; default 64 */
    size_t messages; /* diagnostics that are kept; default 100 */
    size_t files;    /* included ones; default 64 */
};

/* The surroundings that a request is checked against.  Everything is borrowed for the time of the call. */
struct fs_lang_env {
    const struct fs_lang_type *types;
    size_t n_types;

    /* NULL, or: check the match of a FromNet.  Returns NULL where it is good, else a malloc()ed message, and in
     * '*offset' the byte of 'match' where it goes wrong. */
    char *(*check_match)(void *aux, const char *match, size_t *offset);

    /* NULL, or: check the argument string of a module of 'type' with 'n_outputs' connected outputs.  Returns NULL or a
     * malloc()ed message. */
    char *(*check_args)(void *aux, const char *type, const char *args, uint32_t n_outputs);

    void *aux; /* handed to the two functions above */

    const char *const *ports; /* names of the network's ports; NULL: port names are not checked */
    size_t n_ports;

    const char *const *hosts; /* names of the module hosts; NULL: they are not checked */
    size_t n_hosts;

    const struct fs_lang_parameter *parameters; /* what "$name" stands for; each must be used */
    size_t n_parameters;

    /* NULL: there are no files to include, or: read the file 'name', a relative path of plain names that leads nowhere
     * up.  Returns 0 with a malloc()ed '*text' of '*size' bytes, or a positive errno. */
    int (*read_include)(void *aux, const char *name, char **text, size_t *size);

    /* The text is a part of something larger: ports of modules may stay unconnected, and no FromNet or ToNet is needed. */
    bool partial;

    struct fs_lang_limits limits;
};

enum fs_severity { FS_SEVERITY_ERROR, FS_SEVERITY_WARNING };

/* One thing to say about the text.  Positions count from 1, columns and lengths in bytes; a length never goes beyond
 * its line. */
struct fs_diagnostic {
    enum fs_severity severity;
    const char *file;
    uint32_t line, column, length;
    const char *message;                          /* one sentence without a full stop */
    const char *suggestion;                       /* what was probably meant, or NULL */
    const char *note;                             /* one more sentence, or NULL */
    const char *note_file;
    uint32_t note_line, note_column, note_length; /* where the note points; line 0: nowhere */
};

struct fs_diagnostics; /* a list of them, in the order of the text */

/* Parse and check 'size' bytes at 'text', which come from 'file_name' (used in messages only).  All mistakes are found
 * in one go.
 *
 * Returns 0 with the request in '*request', the first of several that the text may have; EINVAL where there is any
 * error, with NULL in '*request'; ENOMEM with NULL in both.
 * '*diagnostics' then lists the errors and warnings (none, too, is a list).  The caller destroys both. */
FS_API int fs_lang_check(const char *text, size_t size, const char *file_name, const struct fs_lang_env *env,
                         struct fs_request **request, struct fs_diagnostics **diagnostics);

/* Bring a text into the canonical form of fs_request_format() when only its syntax is right, whatever its modules are.
 * Returns 0 with the text, which the caller frees, in '*formatted', else as fs_lang_check(). */
FS_API int fs_lang_format(const char *text, size_t size, const char *file_name, const struct fs_lang_limits *limits,
                          char **formatted, struct fs_diagnostics **diagnostics);

FS_API size_t fs_diagnostics_count(const struct fs_diagnostics *diagnostics);
FS_API size_t fs_diagnostics_errors(const struct fs_diagnostics *diagnostics);

/* The diagnostic number 'index', below fs_diagnostics_count().  Owned by the list. */
FS_API const struct fs_diagnostic *fs_diagnostics_get(const struct fs_diagnostics *diagnostics, size_t index);

/* All of them as people read them: "FILE:LINE:COLUMN: error: ..." with the line of the source and a marker under the
 * place, notes likewise; with terminal colours where 'colour' is set.  "" for none.  The caller frees it.  NULL: out of
 * memory. */
FS_API char *fs_diagnostics_text(const struct fs_diagnostics *diagnostics, bool colour);

/* All of them as one JSON array on one line.  The caller frees it.  NULL: out of memory. */
FS_API char *fs_diagnostics_json(const struct fs_diagnostics *diagnostics);

/* Free the list with all that it owns.  NULL is allowed. */
FS_API void fs_diagnostics_destroy(struct fs_diagnostics *diagnostics);

#endif

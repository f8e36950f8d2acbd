/* The options that methods of the resource daemon have in common, as rows of their tables, and the text of a request with its options. */
#ifndef DAEMONS_RESOURCE_OPTIONS_H
#define DAEMONS_RESOURCE_OPTIONS_H 1

#include <flowstream/method.h>

enum { RESOURCE_KEY_BYTES = 128 };

/* What makes it safe to say the same call again. */
#define RESOURCE_KEY_OPTION(HELP) { "key", "string?", 0, RESOURCE_KEY_BYTES, HELP }
/* What may be said beside a text. */
#define RESOURCE_TEXT_OPTIONS \
    { "file", "string?", 0, 0, "the name for messages about the text" }, \
    { "request", "string?", 0, 0, "which of several in the text" }, \
    { "parameters", "struct?", 0, 0, "of strings, what $NAME stands for" }, \
    { "files", "struct?", 0, 0, "of texts that the request includes" }

/* The text of a request with its options (NULL: none): what compile_request answers (owned), or NULL after the call has been answered with why not. */
FS_API xmlrpc_value *resource_compile(struct fs_call *, const char *text, const xmlrpc_value *options);

#endif

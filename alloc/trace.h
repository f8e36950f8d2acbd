/* What flowstream-alloc tells of a search that is under way. */
#ifndef ALLOC_TRACE_H
#define ALLOC_TRACE_H

#include <stdbool.h>

#include "flowstream/alloc.h"

struct trace;

/* Returns NULL when there is nothing to do: KEEP the figures for a file, SHOW them on standard error. */
struct trace *trace_begin(bool keep, bool show);

/* For fs_search_options.progress. */
void trace_note(void *trace, const struct fs_progress *progress);

/* Writes what was kept to PATH, if that is not NULL, as a plot when it ends in ".svg" and else as CSV, and frees TRACE, which may be NULL.
 * Returns 0, or an errno and an explanation for the caller to free. */
int trace_end(struct trace *trace, const char *path, char **error);

#endif

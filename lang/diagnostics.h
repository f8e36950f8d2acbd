/* The list of diagnostics as the parser and the checker write it; readers have lang.h. */
#ifndef LANG_DIAGNOSTICS_H
#define LANG_DIAGNOSTICS_H 1

#include <stddef.h>
#include <stdint.h>

#include "flowstream/lang.h"
#include "lang/arena.h"

/* Some bytes of the source. */
struct span {
    uint32_t offset, length;
};

/* An empty list, or NULL without memory.  '*out_of_memory' must stay valid until diagnostics_finish(). */
struct fs_diagnostics *diagnostics_create(jmp_buf *out_of_memory);

/* How many entries to keep. */
void diagnostics_set_limit(struct fs_diagnostics *, size_t limit);

/* Say what follows in the texts that the list speaks of (it is copied).  Spans count through all of them, with one byte
 * between two. */
void diagnostics_add_source(struct fs_diagnostics *, const char *file_name, const char *text, size_t size);

/* While it is muted, entries are neither kept nor counted. */
void diagnostics_mute(struct fs_diagnostics *, bool muted);

/* Add an entry.  The result may be given to the two functions below; entries beyond the limit are counted and
 * forgotten. */
struct fs_diagnostic *diagnostics_error(struct fs_diagnostics *, struct span, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
struct fs_diagnostic *diagnostics_warning(struct fs_diagnostics *, struct span, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

void diagnostics_suggest(struct fs_diagnostics *, struct fs_diagnostic *, const char *suggestion);

/* One note an entry; a span of NULL: it points nowhere. */
void diagnostics_note(struct fs_diagnostics *, struct fs_diagnostic *, const struct span *, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Where 'offset' is: line and column from 1.  Returns the name of the file, which lives as long as the list. */
const char *diagnostics_locate(struct fs_diagnostics *, uint32_t offset, uint32_t *line, uint32_t *column);

/* True while further entries would be kept: what only serves a good message can be left out otherwise. */
bool diagnostics_wanted(const struct fs_diagnostics *);

/* Put the entries in the order of the text, each once.  Nothing is added afterwards. */
void diagnostics_finish(struct fs_diagnostics *);

#endif

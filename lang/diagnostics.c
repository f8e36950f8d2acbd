/* The list of what is wrong with a text, and how people and programs get to read it.
 *
 * The parser and the checker add entries in whatever order they find them; the list keeps a copy of the source, so that
 * it outlives its caller's, shows the lines that it speaks of, and is sorted by place at the end. */
#include "config.h"

#include "lang/diagnostics.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "lang/text.h"
#include "lang/utf8.h"

/* So much of a long line is shown around the place in question, in bytes. */
#define SHOWN_BEFORE 80u
#define SHOWN_AFTER 80u

/* One of the texts. */
struct source {
    const char *name;
    uint32_t first_line; /* in line_starts */
};

/* What readers see of an entry, and where it is in all texts: lines from 1 through all of them. */
struct entry {
    struct fs_diagnostic seen;
    uint32_t line, note_line;
};

struct fs_diagnostics {
    struct arena arena;
    struct source *sources;
    size_t n_sources, sources_capacity;
    char *source; /* all texts, a line end behind each but the last */
    size_t source_size, source_capacity;
    uint32_t *line_starts; /* offset of each line */
    size_t n_lines, lines_capacity;
    size_t last_line; /* in line_starts: what was asked for last, since most who ask go down the text */
    bool muted;
    struct entry **entries;
    size_t n_entries, capacity, limit;
    size_t n_errors; /* also those that were not kept */
    size_t n_forgotten;
    struct entry forgotten; /* stands for entries beyond the limit */
};

static void find_lines(struct fs_diagnostics *, size_t start);
static uint32_t global_line(struct fs_diagnostics *, uint32_t offset);
static struct fs_diagnostic *add(struct fs_diagnostics *, enum fs_severity, struct span, char *message);
static uint32_t visible_length(const struct fs_diagnostics *, struct span, uint32_t line);
static void clean(char *message);
static int compare_places(const void *, const void *);
static void write_entry(struct text *, const struct fs_diagnostics *, const struct entry *, bool colour);
static void write_json(struct text *, const struct fs_diagnostic *);

struct fs_diagnostics *
diagnostics_create(jmp_buf *out_of_memory)
{
    struct fs_diagnostics *list = calloc(1, sizeof *list);
    if (list) {
        list->arena.out_of_memory = out_of_memory;
    }
    return list;
}

void
diagnostics_set_limit(struct fs_diagnostics *list, size_t limit)
{
    list->limit = limit;
}

void
diagnostics_add_source(struct fs_diagnostics *list, const char *file_name, const char *text, size_t size)
{
    size_t start = list->n_sources ? list->source_size + 1 : 0;
    if (start + size + 1 > list->source_capacity) {
        list->source_capacity = start ? (start + size) * 2 : size + 1;
        char *larger = arena_alloc(&list->arena, list->source_capacity);
        memcpy(larger, list->source_size ? list->source : "", list->source_size);
        list->source = larger;
    }
    if (start) {
        list->source[start - 1] = '\n';
    }
    if (size) {
        memcpy(list->source + start, text, size);
    }
    list->source_size = start + size;
    list->sources =
        arena_grow(&list->arena, list->sources, list->n_sources, &list->sources_capacity, sizeof *list->sources);
    list->sources[list->n_sources++] =
        (struct source) { arena_copy(&list->arena, file_name, strlen(file_name)), (uint32_t) list->n_lines };
    find_lines(list, start);
}

void
diagnostics_mute(struct fs_diagnostics *list, bool muted)
{
    list->muted = muted;
}

struct fs_diagnostic *
diagnostics_error(struct fs_diagnostics *list, struct span span, const char *format, ...)
{
    list->n_errors += !list->muted;
    if (!diagnostics_wanted(list)) {
        return add(list, FS_SEVERITY_ERROR, span, NULL);
    }
    va_list arguments;
    va_start(arguments, format);
    char *message = arena_vprintf(&list->arena, format, arguments);
    va_end(arguments);
    return add(list, FS_SEVERITY_ERROR, span, message);
}

struct fs_diagnostic *
diagnostics_warning(struct fs_diagnostics *list, struct span span, const char *format, ...)
{
    if (!diagnostics_wanted(list)) {
        return add(list, FS_SEVERITY_WARNING, span, NULL);
    }
    va_list arguments;
    va_start(arguments, format);
    char *message = arena_vprintf(&list->arena, format, arguments);
    va_end(arguments);
    return add(list, FS_SEVERITY_WARNING, span, message);
}

void
diagnostics_suggest(struct fs_diagnostics *list, struct fs_diagnostic *entry, const char *suggestion)
{
    if (suggestion && entry != &list->forgotten.seen) {
        entry->suggestion = arena_copy(&list->arena, suggestion, strlen(suggestion));
    }
}

void
diagnostics_note(struct fs_diagnostics *list, struct fs_diagnostic *entry, const struct span *span, const char *format,
                 ...)
{
    if (entry == &list->forgotten.seen) {
        return;
    }
    va_list arguments;
    va_start(arguments, format);
    char *note = arena_vprintf(&list->arena, format, arguments);
    va_end(arguments);
    clean(note);
    entry->note = note;
    if (span) {
        uint32_t line = global_line(list, span->offset);
        ((struct entry *) entry)->note_line = line; /* 'entry' is its first member */
        entry->note_file = diagnostics_locate(list, span->offset, &entry->note_line, &entry->note_column);
        entry->note_length = visible_length(list, *span, line);
    }
}

/* The line that 'offset' is on, from 1 through all texts. */
static uint32_t
global_line(struct fs_diagnostics *list, uint32_t offset)
{
    size_t low = list->last_line, high = low + 2; /* line_starts[low] <= offset < line_starts[high] */
    if (high >= list->n_lines || offset < list->line_starts[low] || offset >= list->line_starts[high]) {
        low = 0;
        high = list->n_lines;
    }
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (list->line_starts[middle] <= offset) {
            low = middle;
        } else {
            high = middle;
        }
    }
    list->last_line = low;
    return (uint32_t) low + 1;
}

const char *
diagnostics_locate(struct fs_diagnostics *list, uint32_t offset, uint32_t *line, uint32_t *column)
{
    uint32_t global = global_line(list, offset);
    const struct source *source = list->sources;
    for (size_t i = 1; i < list->n_sources && list->sources[i].first_line < global; i++) {
        source = &list->sources[i];
    }
    *line = global - source->first_line;
    *column = offset - list->line_starts[global - 1] + 1;
    return source->name;
}

bool
diagnostics_wanted(const struct fs_diagnostics *list)
{
    return !list->muted && list->n_entries < list->limit;
}

void
diagnostics_finish(struct fs_diagnostics *list)
{
    if (list->n_entries) {
        qsort(list->entries, list->n_entries, sizeof(struct entry *), compare_places);
        size_t n = 1;
        for (size_t i = 1; i < list->n_entries; i++) {
            if (compare_places(&list->entries[i], &list->entries[n - 1])) {
                list->entries[n++] = list->entries[i];
            }
        }
        list->n_entries = n;
    }
    list->arena.out_of_memory = NULL;
}

size_t
fs_diagnostics_count(const struct fs_diagnostics *list)
{
    return list->n_entries;
}

size_t
fs_diagnostics_errors(const struct fs_diagnostics *list)
{
    return list->n_errors;
}

const struct fs_diagnostic *
fs_diagnostics_get(const struct fs_diagnostics *list, size_t index)
{
    assert(index < list->n_entries);
    return &list->entries[index]->seen;
}

char *
fs_diagnostics_text(const struct fs_diagnostics *list, bool colour)
{
    struct text text = TEXT_INITIALIZER;
    for (size_t i = 0; i < list->n_entries; i++) {
        write_entry(&text, list, list->entries[i], colour);
    }
    if (list->n_forgotten) {
        text_printf(&text, "%s: %zu more messages are not shown\n", list->sources[0].name, list->n_forgotten);
    }
    return text_take(&text);
}

char *
fs_diagnostics_json(const struct fs_diagnostics *list)
{
    struct text text = TEXT_INITIALIZER;
    text_puts(&text, "[");
    for (size_t i = 0; i < list->n_entries; i++) {
        text_puts(&text, i ? ", " : "");
        write_json(&text, &list->entries[i]->seen);
    }
    text_puts(&text, "]");
    return text_take(&text);
}

void
fs_diagnostics_destroy(struct fs_diagnostics *list)
{
    if (list) {
        arena_free(&list->arena);
        free(list);
    }
}

static void
add_line(struct fs_diagnostics *list, size_t start)
{
    list->line_starts =
        arena_grow(&list->arena, list->line_starts, list->n_lines, &list->lines_capacity, sizeof *list->line_starts);
    list->line_starts[list->n_lines++] = (uint32_t) start;
}

/* The lines of the text that begins at 'start'. */
static void
find_lines(struct fs_diagnostics *list, size_t start)
{
    add_line(list, start);
    for (size_t i = start; i < list->source_size; i++) {
        if (list->source[i] == '\n') {
            add_line(list, i + 1);
        }
    }
}

static struct fs_diagnostic *
add(struct fs_diagnostics *list, enum fs_severity severity, struct span span, char *message)
{
    if (!message) {
        list->n_forgotten += !list->muted;
        return &list->forgotten.seen;
    }
    clean(message);
    struct entry *entry = arena_alloc(&list->arena, sizeof *entry);
    entry->seen.severity = severity;
    entry->seen.message = message;
    entry->line = global_line(list, span.offset);
    entry->seen.file = diagnostics_locate(list, span.offset, &entry->seen.line, &entry->seen.column);
    entry->seen.length = visible_length(list, span, entry->line);
    list->entries = arena_grow(&list->arena, list->entries, list->n_entries, &list->capacity, sizeof(struct entry *));
    list->entries[list->n_entries++] = entry;
    return &entry->seen;
}

/* The end of 'line' (from 1) without its line end. */
static uint32_t
line_end(const struct fs_diagnostics *list, uint32_t line)
{
    uint32_t start = list->line_starts[line - 1];
    uint32_t end = line < list->n_lines ? list->line_starts[line] - 1 : (uint32_t) list->source_size;
    return end > start && list->source[end - 1] == '\r' ? end - 1 : end;
}

static uint32_t
visible_length(const struct fs_diagnostics *list, struct span span, uint32_t line)
{
    uint32_t end = line_end(list, line);
    return span.offset >= end ? 0 : span.length > end - span.offset ? end - span.offset : span.length;
}

/* A message may quote the source: no control character of it reaches a terminal. */
static void
clean(char *message)
{
    for (char *p = message; *p; p++) {
        unsigned char c = (unsigned char) *p, next = (unsigned char) p[1];
        if (c < 0x20 || c == 0x7f) {
            *p = '?';
        } else if (c == 0xc2 && next >= 0x80 && next < 0xa0) {
            *p = '?';
            memmove(p + 1, p + 2, strlen(p + 2) + 1);
        }
    }
}

/* By place, and equal places by their messages. */
static int
compare_places(const void *a_, const void *b_)
{
    const struct entry *a = *(const struct entry *const *) a_, *b = *(const struct entry *const *) b_;
    return a->line != b->line                 ? (a->line < b->line ? -1 : 1)
           : a->seen.column != b->seen.column ? (a->seen.column < b->seen.column ? -1 : 1)
                                              : strcmp(a->seen.message, b->seen.message);
}

/* One line of the source from 'start' to 'end' as it may be shown: control characters but the tab as '?'. */
static void
write_source(struct text *text, const char *source, uint32_t start, uint32_t end)
{
    for (uint32_t i = start; i < end;) {
        unsigned char c = (unsigned char) source[i];
        size_t length = utf8_length(source + i, end - i);
        bool control =
            (c < 0x20 && c != '\t') || c == 0x7f || length == 0 || (c == 0xc2 && (unsigned char) source[i + 1] < 0xa0);
        if (control) {
            text_puts(text, "?");
        } else {
            text_add(text, source + i, length);
        }
        i += length ? (uint32_t) length : 1;
    }
}

/* As many columns as 'start' to 'end' takes on a terminal, filled with 'fill'; tabs stay tabs where 'fill' is a space.
 */
static void
write_columns(struct text *text, const char *source, uint32_t start, uint32_t end, char fill)
{
    for (uint32_t i = start; i < end;) {
        size_t length = utf8_length(source + i, end - i);
        text_repeat(text, source[i] == '\t' && fill == ' ' ? '\t' : fill, 1);
        i += length ? (uint32_t) length : 1;
    }
}

/* Do not begin or end a cut in the middle of a character. */
static uint32_t
whole_character(const char *source, uint32_t at, uint32_t end)
{
    while (at < end && ((unsigned char) source[at] & 0xc0) == 0x80) {
        at++;
    }
    return at;
}

static void
write_marked_line(struct text *text, const struct fs_diagnostics *list, uint32_t line, uint32_t column, uint32_t length,
                  const char *green, const char *plain)
{
    uint32_t start = list->line_starts[line - 1], end = line_end(list, line), at = start + column - 1;
    if (at > end) {
        at = end; /* the line end itself */
    }
    uint32_t from = at - start > SHOWN_BEFORE ? whole_character(list->source, at - SHOWN_BEFORE, end) : start;
    uint32_t to = end - at > SHOWN_AFTER ? whole_character(list->source, at + SHOWN_AFTER, end) : end;
    uint32_t marked_end = to - at < length ? to : at + length;
    const char *cut = from > start ? "..." : "";

    text_printf(text, " %s", cut);
    write_source(text, list->source, from, to);
    text_printf(text, "%s\n %*s", to < end ? "..." : "", (int) strlen(cut), "");
    write_columns(text, list->source, from, at, ' ');
    text_printf(text, "%s^", green);
    uint32_t second = at < marked_end ? whole_character(list->source, at + 1, marked_end) : marked_end;
    write_columns(text, list->source, second, marked_end, '~');
    text_printf(text, "%s\n", plain);
}

static void
write_entry(struct text *text, const struct fs_diagnostics *list, const struct entry *place, bool colour)
{
    const char *bold = colour ? "\33[1m" : "", *plain = colour ? "\33[0m" : "", *green = colour ? "\33[1;32m" : "";
    const char *red = colour ? "\33[1;31m" : "", *magenta = colour ? "\33[1;35m" : "",
               *cyan = colour ? "\33[1;36m" : "";
    const struct fs_diagnostic *entry = &place->seen;
    bool error = entry->severity == FS_SEVERITY_ERROR;

    text_printf(text, "%s%s:%u:%u: %s%s:%s %s%s", bold, entry->file, entry->line, entry->column, error ? red : magenta,
                error ? "error" : "warning", plain, bold, entry->message);
    if (entry->suggestion) {
        text_printf(text, "; did you mean '%s'?", entry->suggestion);
    }
    text_printf(text, "%s\n", plain);
    write_marked_line(text, list, place->line, entry->column, entry->length, green, plain);
    if (entry->note && entry->note_line) {
        text_printf(text, "%s%s:%u:%u: %snote:%s %s\n", bold, entry->note_file, entry->note_line, entry->note_column,
                    cyan, plain, entry->note);
        write_marked_line(text, list, place->note_line, entry->note_column, entry->note_length, green, plain);
    } else if (entry->note) {
        text_printf(text, "%s%s: %snote:%s %s\n", bold, entry->file, cyan, plain, entry->note);
    }
}

static void
write_json(struct text *text, const struct fs_diagnostic *entry)
{
    text_puts(text, "{\"file\": ");
    text_json_string(text, entry->file);
    text_printf(text,
                ", \"line\": %u, \"column\": %u, \"length\": %u, \"severity\": \"%s\", \"message\": ", entry->line,
                entry->column, entry->length, entry->severity == FS_SEVERITY_ERROR ? "error" : "warning");
    text_json_string(text, entry->message);
    if (entry->suggestion) {
        text_puts(text, ", \"suggestion\": ");
        text_json_string(text, entry->suggestion);
    }
    if (entry->note) {
        text_puts(text, ", \"note\": {\"message\": ");
        text_json_string(text, entry->note);
        if (entry->note_line) {
            text_puts(text, ", \"file\": ");
            text_json_string(text, entry->note_file);
            text_printf(text, ", \"line\": %u, \"column\": %u, \"length\": %u", entry->note_line, entry->note_column,
                        entry->note_length);
        }
        text_puts(text, "}");
    }
    text_puts(text, "}");
}

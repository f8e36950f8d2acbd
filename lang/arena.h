/* Memory that is freed as a whole: a request, a list of diagnostics, and the work of one call own one arena each.
 *
 * Running out of memory is answered in one place: an arena jumps to the 'jmp_buf' that it was given, so nothing in this
 * folder tests what it allocates.  Whoever calls a function that allocates must therefore hold nothing that only it
 * could free. */
#ifndef LANG_ARENA_H
#define LANG_ARENA_H 1

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

struct arena_chunk;

struct arena {
    struct arena_chunk *chunks; /* the newest first; there is room in none but that */
    struct arena_chunk *blocks; /* of one large array each, which can grow in place */
    jmp_buf *out_of_memory;     /* where to go when malloc() fails */
};

/* 'size' bytes of zeros, aligned for any type; freed with the arena. */
void *arena_alloc(struct arena *, size_t size);

/* An array of 'n' elements of 'size' bytes, all zeros. */
void *arena_array(struct arena *, size_t n, size_t size);

/* Make room for one more than 'n' elements in a growing array with room for '*capacity' elements of 'size' bytes.
 * Returns the array, which may have moved.  What is behind the 'n' elements has no particular value. */
void *arena_grow(struct arena *, void *array, size_t n, size_t *capacity, size_t size);

/* Give back what an array made by arena_grow() has more than its 'n' elements, as far as that is worth it. */
void *arena_trim(struct arena *, void *array, size_t n, size_t *capacity, size_t size);

/* A copy of 'length' bytes with a NUL behind them. */
char *arena_copy(struct arena *, const char *bytes, size_t length);

/* printf() into the arena. */
char *arena_vprintf(struct arena *, const char *format, va_list) __attribute__((format(printf, 2, 0)));
char *arena_printf(struct arena *, const char *format, ...) __attribute__((format(printf, 2, 3)));

void arena_free(struct arena *);

#endif

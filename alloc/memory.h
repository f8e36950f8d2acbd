/* Memory for data that is made once and freed whole.  All of this ends the program when there is no memory. */
#ifndef ALLOC_MEMORY_H
#define ALLOC_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

void *alloc_zeroed(size_t n, size_t size);  /* for free(); never NULL, also for n = 0 */
void *alloc_filled(size_t n, int value);    /* an array of N integers */
char *alloc_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Makes room for one more element in a growing array of N elements of SIZE bytes at *ARRAY. */
void alloc_grow_bytes(void **array, int n, int *room, size_t size);
#define alloc_grow(array, n, room) alloc_grow_bytes((void **) (array), n, room, sizeof **(array))

/* An arena of strings. */
struct alloc_arena {
    struct alloc_chunk *chunks;
};
char *alloc_arena_copy(struct alloc_arena *arena, const char *text); /* NULL for NULL */
void alloc_arena_free(struct alloc_arena *arena);

/* A table from names to numbers.  It refers to the names and does not copy them. */
struct alloc_names {
    struct alloc_name *slots;
    size_t mask, n;
};
int alloc_names_find(const struct alloc_names *names, const char *name); /* -1 when absent */
bool alloc_names_add(struct alloc_names *names, const char *name, int number); /* false when present */
void alloc_names_clear(struct alloc_names *names);
void alloc_names_free(struct alloc_names *names);

#endif

/* Memory for the allocator's data: arrays that grow, an arena of strings, a table of names.
 *
 * A platform or a set of services is made once and freed as a whole, so its strings come from one arena, and nothing here
 * frees a single one.  A process that cannot get the few megabytes that this takes could do nothing useful about it:
 * it is ended with a message instead of returning an error that each caller would have to pass on. */
#include <config.h>

#include "alloc/memory.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK_FIRST = 256, CHUNK_MOST = 65536 };

struct alloc_chunk {
    struct alloc_chunk *next;
    size_t used, size;
    char bytes[];
};

struct alloc_name {
    const char *name; /* NULL: a free slot */
    int number;
};

static void *
checked(void *memory)
{
    if (!memory) {
        fputs("flowstream: out of memory in the allocator\n", stderr);
        abort();
    }
    return memory;
}

void *
alloc_zeroed(size_t n, size_t size)
{
    return checked(calloc(n ? n : 1, size));
}

void *
alloc_filled(size_t n, int value)
{
    int *array = alloc_zeroed(n, sizeof *array);

    for (size_t i = 0; i < n; i++) {
        array[i] = value;
    }
    return array;
}

char *
alloc_format(const char *format, ...)
{
    va_list args;
    char *text = NULL;

    va_start(args, format);
    if (vasprintf(&text, format, args) < 0) {
        text = NULL;
    }
    va_end(args);
    return checked(text);
}

void
alloc_grow_bytes(void **array, int n, int *room, size_t size)
{
    if (n < *room) {
        return;
    }
    if (*room > INT32_MAX / 2) {
        checked(NULL);
    }
    *room = *room ? *room * 2 : 16;
    *array = checked(reallocarray(*array, (size_t) *room, size));
}

char *
alloc_arena_copy(struct alloc_arena *arena, const char *text)
{
    struct alloc_chunk *chunk = arena->chunks;

    if (!text) {
        return NULL;
    }
    size_t size = strlen(text) + 1;
    if (!chunk || chunk->size - chunk->used < size) {
        size_t room = !chunk ? CHUNK_FIRST : chunk->size < CHUNK_MOST ? chunk->size * 2 : CHUNK_MOST; /* one service has a few names, a hundred thousand are read at once */
        room = size > room ? size : room;
        chunk = checked(malloc(sizeof *chunk + room));
        *chunk = (struct alloc_chunk) { .next = arena->chunks, .size = room };
        arena->chunks = chunk;
    }
    char *copy = chunk->bytes + chunk->used;
    memcpy(copy, text, size);
    chunk->used += size;
    return copy;
}

void
alloc_arena_free(struct alloc_arena *arena)
{
    while (arena->chunks) {
        struct alloc_chunk *next = arena->chunks->next;
        free(arena->chunks);
        arena->chunks = next;
    }
}

/* FNV-1a. */
static size_t
hash(const char *name)
{
    uint64_t h = UINT64_C(14695981039346656037);

    for (; *name; name++) {
        h = (h ^ (unsigned char) *name) * UINT64_C(1099511628211);
    }
    return (size_t) (h ^ h >> 32);
}

/* The slot that holds NAME, or else the free one where it belongs. */
static struct alloc_name *
slot_of(const struct alloc_names *names, const char *name)
{
    size_t i = hash(name) & names->mask;

    while (names->slots[i].name && strcmp(names->slots[i].name, name)) {
        i = (i + 1) & names->mask;
    }
    return &names->slots[i];
}

int
alloc_names_find(const struct alloc_names *names, const char *name)
{
    if (!names->n) {
        return -1;
    }
    const struct alloc_name *slot = slot_of(names, name);
    return slot->name ? slot->number : -1;
}

static void
enlarge(struct alloc_names *names)
{
    size_t n_old = names->slots ? names->mask + 1 : 0;
    struct alloc_name *old = names->slots;

    names->mask = n_old ? n_old * 2 - 1 : 15;
    names->slots = alloc_zeroed(names->mask + 1, sizeof *names->slots);
    for (size_t i = 0; i < n_old; i++) {
        if (old[i].name) {
            *slot_of(names, old[i].name) = old[i];
        }
    }
    free(old);
}

bool
alloc_names_add(struct alloc_names *names, const char *name, int number)
{
    if (!names->slots || names->n * 2 > names->mask) {
        enlarge(names);
    }
    struct alloc_name *slot = slot_of(names, name);
    if (slot->name) {
        return false;
    }
    *slot = (struct alloc_name) { name, number };
    names->n++;
    return true;
}

void
alloc_names_clear(struct alloc_names *names)
{
    if (names->n) {
        memset(names->slots, 0, (names->mask + 1) * sizeof *names->slots);
        names->n = 0;
    }
}

void
alloc_names_free(struct alloc_names *names)
{
    free(names->slots);
    *names = (struct alloc_names) { 0 };
}

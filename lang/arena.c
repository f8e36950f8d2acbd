/* The arena: chunks of growing size from malloc(), handed out front to back and freed together.  Everything that the
 * parser and the checker make lives in one; only texts that leave the library are malloc()ed one by one (text.c). */
#include "config.h"

#include "lang/arena.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALIGNMENT _Alignof(max_align_t)
#define FIRST_CHUNK ((size_t) 4096)
#define LARGEST_CHUNK ((size_t) 1 << 20)

struct arena_chunk {
    struct arena_chunk *next;
    size_t size, used; /* bytes of 'memory' */
    max_align_t memory[];
};

static struct arena_chunk *
add_chunk(struct arena *arena, size_t size)
{
    size_t wanted = arena->chunks ? arena->chunks->size * 2 : FIRST_CHUNK;
    if (wanted > LARGEST_CHUNK) {
        wanted = LARGEST_CHUNK;
    }
    if (wanted < size) {
        wanted = size;
    }
    struct arena_chunk *chunk = wanted <= SIZE_MAX - sizeof *chunk ? calloc(1, sizeof *chunk + wanted) : NULL;
    if (!chunk) {
        longjmp(*arena->out_of_memory, 1);
    }
    chunk->size = wanted;
    chunk->next = arena->chunks;
    arena->chunks = chunk;
    return chunk;
}

void *
arena_alloc(struct arena *arena, size_t size)
{
    if (size > SIZE_MAX / 2) {
        longjmp(*arena->out_of_memory, 1);
    }
    size = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    struct arena_chunk *chunk = arena->chunks;
    if (!chunk || chunk->size - chunk->used < size) {
        chunk = add_chunk(arena, size);
    }
    void *result = (char *) chunk->memory + chunk->used;
    chunk->used += size;
    return result;
}

void *
arena_array(struct arena *arena, size_t n, size_t size)
{
    return arena_alloc(arena, n < SIZE_MAX / 2 / size ? n * size : SIZE_MAX);
}

void *
arena_grow(struct arena *arena, void *array, size_t n, size_t *capacity, size_t size)
{
    if (n < *capacity) {
        return array;
    }
    *capacity = *capacity ? *capacity * 2 : 16;
    void *larger = arena_array(arena, *capacity, size);
    if (n) {
        memcpy(larger, array, n * size);
    }
    return larger;
}

char *
arena_copy(struct arena *arena, const char *bytes, size_t length)
{
    char *copy = arena_alloc(arena, length + 1);
    if (length) {
        memcpy(copy, bytes, length);
    }
    return copy;
}

char *
arena_vprintf(struct arena *arena, const char *format, va_list arguments)
{
    va_list again;
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    if (length < 0) {
        va_end(again);
        longjmp(*arena->out_of_memory, 1);
    }
    char *text = arena_alloc(arena, (size_t) length + 1);
    vsnprintf(text, (size_t) length + 1, format, again);
    va_end(again);
    return text;
}

char *
arena_printf(struct arena *arena, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char *text = arena_vprintf(arena, format, arguments);
    va_end(arguments);
    return text;
}

void
arena_free(struct arena *arena)
{
    while (arena->chunks) {
        struct arena_chunk *next = arena->chunks->next;
        free(arena->chunks);
        arena->chunks = next;
    }
}

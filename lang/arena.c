/* The arena: chunks of growing size from malloc(), handed out front to back and freed together.  Everything that the
 * parser and the checker make lives in one; only texts that leave the library are malloc()ed one by one (text.c).
 *
 * An array that grows large moves into a block of its own, which realloc() enlarges: for large blocks that changes the
 * map of pages, and neither copies them nor leaves the smaller copies behind, whose pages are what the time goes for. */
#include "config.h"

#include "lang/arena.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALIGNMENT _Alignof(max_align_t)
#define FIRST_CHUNK ((size_t) 4096)
#define LARGEST_CHUNK ((size_t) 1 << 20)
#define SMALLEST_BLOCK ((size_t) 1 << 15) /* bytes of an array that gets a block of its own */

struct arena_chunk {
    struct arena_chunk *next;
    struct arena_chunk **link; /* of a block: what points to it */
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

static void *
take(struct arena *arena, size_t size, size_t alignment)
{
    if (size > SIZE_MAX / 2) {
        longjmp(*arena->out_of_memory, 1);
    }
    struct arena_chunk *chunk = arena->chunks;
    size_t start = chunk ? (chunk->used + alignment - 1) / alignment * alignment : 0;
    if (!chunk || start > chunk->size || chunk->size - start < size) {
        chunk = add_chunk(arena, size);
        start = 0;
    }
    chunk->used = start + size;
    return (char *) chunk->memory + start;
}

void *
arena_alloc(struct arena *arena, size_t size)
{
    return take(arena, size, ALIGNMENT);
}

/* The block of the array 'old', or a new one, with 'size' bytes. */
static void *
resize_block(struct arena *arena, void *old, size_t size)
{
    struct arena_chunk *chunk = old ? (struct arena_chunk *) ((char *) old - offsetof(struct arena_chunk, memory)) : NULL;
    struct arena_chunk *resized = realloc(chunk, sizeof *chunk + size);
    if (!resized) {
        longjmp(*arena->out_of_memory, 1);
    }
    if (!chunk) {
        resized->next = arena->blocks;
        resized->link = &arena->blocks;
    }
    *resized->link = resized;
    if (resized->next) {
        resized->next->link = &resized->next;
    }
    return resized->memory;
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
    bool block = *capacity * size >= SMALLEST_BLOCK;
    *capacity = *capacity ? *capacity * 2 : 4;
    if (*capacity > SIZE_MAX / 4 / size) {
        longjmp(*arena->out_of_memory, 1);
    }
    if (*capacity * size >= SMALLEST_BLOCK) {
        void *larger = resize_block(arena, block ? array : NULL, *capacity * size);
        return block || !n ? larger : memcpy(larger, array, n * size);
    }
    void *larger = arena_array(arena, *capacity, size);
    return n ? memcpy(larger, array, n * size) : larger;
}

void *
arena_trim(struct arena *arena, void *array, size_t n, size_t *capacity, size_t size)
{
    if (n * size < SMALLEST_BLOCK || n == *capacity) {
        return array; /* it must still be a block where the next call takes it for one */
    }
    *capacity = n;
    return resize_block(arena, array, n * size);
}

char *
arena_copy(struct arena *arena, const char *bytes, size_t length)
{
    char *copy = take(arena, length + 1, 1);
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
    char *text = take(arena, (size_t) length + 1, 1);
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

static void
free_list(struct arena_chunk **list)
{
    while (*list) {
        struct arena_chunk *next = (*list)->next;
        free(*list);
        *list = next;
    }
}

void
arena_free(struct arena *arena)
{
    free_list(&arena->chunks);
    free_list(&arena->blocks);
}

/* A hash table from names to numbers, in an arena.  Its hash is keyed by chance, so that nobody can write a request
 * whose names all meet. */
#ifndef LANG_TABLE_H
#define LANG_TABLE_H 1

#include <stdint.h>

#include "lang/arena.h"

#define TABLE_NONE UINT32_MAX

struct table_slot;

struct table {
    struct arena *arena;
    struct table_slot *slots;
    size_t n, capacity;
    uint64_t key;
};

void table_init(struct table *, struct arena *);

/* The same with the arena and the key of another table, for small ones of which there are many. */
void table_init_like(struct table *, const struct table *other);

/* The number of 'name', or TABLE_NONE. */
uint32_t table_find(const struct table *, const char *name);

/* Give 'name', which the table does not have and which must outlive it, the number 'value'. */
void table_add(struct table *, const char *name, uint32_t value);

/* The same for a name that the table may have already: returns the number that it has then, which stays, else
 * TABLE_NONE. */
uint32_t table_enter(struct table *, const char *name, uint32_t value);

/* Make room for 'n' names in a table that has none. */
void table_reserve(struct table *, size_t n);

/* Change the number of a name that the table has. */
void table_set(struct table *, const char *name, uint32_t value);

#endif

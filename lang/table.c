/* The hash table of names (table.h): open addressing, at most half full.  The checker has one for the names of modules,
 * one for the names of types. */
#include "config.h"

#include "lang/table.h"

#include <string.h>
#include <sys/random.h>

struct table_slot {
    const char *name; /* NULL: free */
    uint32_t hash, value;
};

void
table_init(struct table *table, struct arena *arena)
{
    *table = (struct table) { .arena = arena };
    if (getrandom(&table->key, sizeof table->key, GRND_NONBLOCK) != (ssize_t) sizeof table->key) {
        table->key =
            (uint64_t) (uintptr_t) table * 0x9e3779b97f4a7c15u; /* early in boot: the address is chance enough */
    }
}

void
table_init_like(struct table *table, const struct table *other)
{
    *table = (struct table) { .arena = other->arena, .key = other->key };
}

/* Each byte is mixed into all bits by a multiplication that depends on the key. */
static uint32_t
hash_name(const struct table *table, const char *name)
{
    uint64_t hash = table->key, factor = table->key * 2 + 0x9e3779b97f4a7c15u;
    for (; *name; name++) {
        hash = (hash ^ (unsigned char) *name) * (factor | 1);
        hash ^= hash >> 29;
    }
    return (uint32_t) (hash ^ hash >> 32);
}

static struct table_slot *
slot_of(const struct table *table, const char *name, uint32_t hash)
{
    for (size_t i = hash & (table->capacity - 1);; i = (i + 1) & (table->capacity - 1)) {
        struct table_slot *slot = &table->slots[i];
        if (!slot->name || (slot->hash == hash && !strcmp(slot->name, name))) {
            return slot;
        }
    }
}

static void
enlarge(struct table *table, size_t capacity)
{
    struct table old = *table;
    table->capacity = capacity;
    table->slots = arena_array(table->arena, table->capacity, sizeof *table->slots);
    for (size_t i = 0; i < old.capacity; i++) {
        if (old.slots[i].name) {
            *slot_of(table, old.slots[i].name, old.slots[i].hash) = old.slots[i];
        }
    }
}

uint32_t
table_find(const struct table *table, const char *name)
{
    if (!table->capacity) {
        return TABLE_NONE;
    }
    const struct table_slot *slot = slot_of(table, name, hash_name(table, name));
    return slot->name ? slot->value : TABLE_NONE;
}

uint32_t
table_enter(struct table *table, const char *name, uint32_t value)
{
    if (table->n * 2 >= table->capacity) {
        enlarge(table, table->capacity ? table->capacity * 2 : 8);
    }
    uint32_t hash = hash_name(table, name);
    struct table_slot *slot = slot_of(table, name, hash);
    if (slot->name) {
        return slot->value;
    }
    *slot = (struct table_slot) { name, hash, value };
    table->n++;
    return TABLE_NONE;
}

void
table_add(struct table *table, const char *name, uint32_t value)
{
    table_enter(table, name, value);
}

void
table_reserve(struct table *table, size_t n)
{
    size_t capacity = 8;
    while (capacity < n * 2) {
        capacity *= 2;
    }
    enlarge(table, capacity);
}

void
table_set(struct table *table, const char *name, uint32_t value)
{
    slot_of(table, name, hash_name(table, name))->value = value;
}

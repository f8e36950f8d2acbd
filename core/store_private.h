/* What store.c and store_file.c share. */
#ifndef CORE_STORE_PRIVATE_H
#define CORE_STORE_PRIVATE_H 1

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/store.h"

enum { STORE_SCHEMA = 3 };

/* The content of a store as one number and a count; sums of records are joined by xor, so the order of changes is of no account. */
struct store_sum {
    uint64_t all, records;
};

/* An error of SQLite as a message with a remedy; returns EIO. */
int store_explain(sqlite3 *db, const char *path, const char *what, char **error);
/* The sum of one record. */
uint64_t store_sum_of(const char *kind, const char *name, const void *value, size_t size);
/* Store the sum in the open transaction. */
bool store_put_sum(sqlite3 *db, const struct store_sum *);
/* Look at the file before SQLite does: is it missing where it was once, empty, is its log damaged?  *fresh: there is no store yet. */
int store_look(const char *path, bool *fresh, char **error);
/* Make an empty store, whole or not at all. */
int store_make(const char *path, char **error);
/* Bring an older schema up to this one. */
int store_migrate(sqlite3 *db, const char *path, char **error);
/* Read everything: form, records, sum.  'sum' is what the store holds. */
int store_verify(sqlite3 *db, const char *path, struct store_sum *sum, char **error);
/* The schema that the file says it has, or -1 with *error. */
int store_schema(sqlite3 *db, const char *path, char **error);
/* The name of a file of the store, owned: "" or "-wal".  Where the store is a symbolic link SQLite has its log beside that to which it leads. */
char *store_real_name(const char *path, const char *end);
/* Make what happened to names in the folder of 'path' last. */
int store_sync_folder(const char *path);

#endif

/* The store: what is wanted, kept on disk.  Records of a kind, by name, each a value; a write of several is one transaction.
 *
 * SQLite (WAL, synchronous FULL) is behind it; nothing outside store.c knows, so that a replicated engine can stand here later.
 * Thread-safe. */
#ifndef CORE_STORE_H
#define CORE_STORE_H 1

#include <flowstream/value.h>

struct fs_store;

struct fs_record {
    const char *kind, *name;
    const xmlrpc_value *value; /* NULL: delete the record */
};

/* 0, or an errno with *error (owned) that names the file and the remedy. */
FS_API int fs_store_open(const char *path, struct fs_store **, char **error);
FS_API void fs_store_close(struct fs_store *);
/* All of the changes, or none.  When it returns 0 they are on the disk. */
FS_API int fs_store_write(struct fs_store *, const struct fs_record *, size_t n, char **error);
/* All records of a kind, in order of their names; 'each' gets a value that it owns, and may use the store.  On an error it has
 * not been called. */
FS_API int fs_store_read(struct fs_store *, const char *kind, void (*each)(void *aux, const char *name, xmlrpc_value *), void *aux,
                         char **error);

#endif

/* The store: what is wanted, kept on disk.  Records of a kind, by name, each a value; a write of several is one transaction.
 *
 * SQLite (WAL, synchronous FULL) is behind it; nothing outside store*.c knows, so that a replicated engine can stand here later.
 * Thread-safe.
 *
 * What is promised: when fs_store_write() has returned 0, the change outlives kill -9 and power loss; when it has not, the change is
 * wholly there or not at all.  Writers that come at the same time share one sync of the disk.  Each record carries a sum of its bytes and
 * the store one of all records, so that what was read is what was written, or the store is refused.  After a sync that failed nobody knows
 * what is on the disk (a second one would lie): the process ends with status FS_STORE_EXIT, and the next start reads what is there. */
#ifndef CORE_STORE_H
#define CORE_STORE_H 1

#include <stdint.h>

#include <flowstream/value.h>

/* The status of a process that ends because the disk could not be synced (EX_IOERR of sysexits.h). */
enum { FS_STORE_EXIT = 74 };

struct fs_store;

struct fs_record {
    const char *kind, *name;
    const xmlrpc_value *value; /* NULL: delete the record */
};

/* The same with a value that fs_pack() has packed. */
struct fs_block_record {
    const char *kind, *name;
    const void *block; /* NULL: delete the record */
    size_t size;
};

/* What a store holds and has done since it was opened. */
struct fs_store_figures {
    uint64_t records, bytes;   /* held now; bytes of the file */
    uint64_t changes, commits; /* calls of fs_store_write that were written, and syncs of the disk that it took */
    int schema;
};

/* Opens the store, or makes one where none is.  Before anything is believed the whole of it is read: the form of the file, the sum of
 * each record, the sum of all, the log that a crash left.  0, or an errno with *error (owned) that names the file and the remedy. */
FS_API int fs_store_open(const char *path, struct fs_store **, char **error);
FS_API void fs_store_close(struct fs_store *);
/* All of the changes, or none.  When it returns 0 they are on the disk. */
FS_API int fs_store_write(struct fs_store *, const struct fs_record *, size_t n, char **error);
/* The same in two steps, for those who hold a lock of their own and should not hold it while the disk is synced: the changes stand in line, in the order of the calls; nothing is
 * promised before fs_store_await(), which gives back the promise, has returned 0.  What is posted is copied.  Each promise must be awaited. */
struct fs_store_promise;
FS_API struct fs_store_promise *fs_store_post(struct fs_store *, const struct fs_block_record *, size_t n);
FS_API int fs_store_await(struct fs_store_promise *, char **error);
/* All records of a kind, in order of their names; 'each' gets a value that it owns, and may use the store.  On an error it has
 * not been called. */
FS_API int fs_store_read(struct fs_store *, const char *kind, void (*each)(void *aux, const char *name, xmlrpc_value *), void *aux,
                         char **error);
/* The same for very many: blocks as fs_pack() makes them, in any order; a block is borrowed, and 'each' must not use the store.  Ends at the first damaged one: 'each' has been
 * called for those before it. */
FS_API int fs_store_read_blocks(struct fs_store *, const char *kind, void (*each)(void *aux, const char *name, const unsigned char *block, size_t size), void *aux, char **error);
FS_API void fs_store_figures(struct fs_store *, struct fs_store_figures *);
/* A copy of one moment into a new file, checked after it was written; writers go on meanwhile.  Works also where the store's own file was
 * deleted.  EEXIST where there is such a file already. */
FS_API int fs_store_backup(struct fs_store *, const char *path, char **error);
/* Remove a store that nobody has open, with all that lies beside it. */
FS_API void fs_store_remove(const char *path);
/* Is the file a whole store of this or an older schema?  Changes nothing.  0 with the figures (may be NULL), or an errno with *error. */
FS_API int fs_store_check(const char *path, struct fs_store_figures *, char **error);

#endif

/* Finds, vets and loads the tasks and commands of a daemon: LIB/{tasks,commands}/{DAEMON,common}/NAME.so.
 *
 * What can be called is an immutable *table*.  A call takes the table at its dispatch and uses only that one to its end, the tasks that it calls included; a patch, whether a
 * dropped file or a transaction of several, makes a new table visible by one store.  The versions of a table that nothing uses any more are unloaded.  At most two versions of a
 * method are in use at once: a third waits for the first to end.
 *
 * At each dispatch the folders are looked at (a few stat calls), so a file dropped there serves the next call and a file taken away takes its method with it.  What is
 * loaded is a copy under the hash of its bytes (images.h), after a child has tried it (vet.h).  Thread-safe. */
#ifndef CORE_LOADER_H
#define CORE_LOADER_H 1

#include <flowstream/method.h>

#include "core/images.h"

struct fs_loader;
struct fs_table;

/* One version of a method and how it has fared.  Lives as long as a table that has it. */
struct fs_loaded {
    enum fs_method_kind kind;
    char name[65];
    char hash[FS_HASH_SIZE];      /* SHA-256 of its bytes */
    char *path;                   /* the file that it was */
    const struct fs_method *method; /* of what fs_table_get() and fs_table_list() give: never NULL */
    void *state;                  /* what its warm() made */
    char who[160];                /* for crash.h */
    uint64_t calls, failures;     /* these and 'seconds': only through the functions below */
    double seconds;               /* spent in it, all calls together */
    /* The loader's own: */
    void *handle;
    char *image, *problem;
    unsigned refs;
    struct fs_loaded *next;
};

struct fs_loader_options {
    const char *lib;    /* has the folders tasks/ and commands/ */
    const char *own;    /* the daemon's name */
    const char *images; /* folder for images and records, made if need be */
    const char *const *keys; /* files of public keys; with any, only signed files are loaded */
    size_t n_keys;
    struct fs_daemon *daemon; /* for the methods' warm() */
};

FS_API struct fs_loader *fs_loader_new(const struct fs_loader_options *, char **error);
FS_API void fs_loader_destroy(struct fs_loader *); /* accepts NULL; no table may be in use */

/* The table as of now, for a call of this method (name NULL: for a look at all of them); given back with fs_loader_give(). */
FS_API struct fs_table *fs_loader_take(struct fs_loader *, enum fs_method_kind, const char *name);
FS_API void fs_loader_give(struct fs_loader *, struct fs_table *);

/* The method of that name, or NULL: with *error (owned) when there is a file that cannot be loaded and no older version of it, with *error NULL when there is none. */
FS_API struct fs_loaded *fs_table_get(struct fs_loader *, const struct fs_table *, enum fs_method_kind, const char *name, char **error);
/* Would a call of this command never block?  Looks, loads nothing. */
FS_API bool fs_loader_is_quick(struct fs_loader *, const char *name);
/* All methods of a kind that can be called, by name; *problems gets a text for files that cannot be loaded (owned, or NULL).  The array is the caller's. */
FS_API struct fs_loaded **fs_table_list(struct fs_loader *, const struct fs_table *, enum fs_method_kind, size_t *n, char **problems);
/* Why the file of that method, as it was looked at last, is not what serves (borrowed from the table), or NULL: it is. */
FS_API const char *fs_table_problem(const struct fs_table *, enum fs_method_kind, const char *name);

/* One file of a patch. */
struct fs_patch {
    enum fs_method_kind kind;
    const char *name;
    const void *bytes;
    size_t size;
    const char *signature; /* text as in NAME.so.sig, or NULL */
};
/* Put all of them into the daemon's own folder and make them active at one instant, or change nothing.  Returns when calls dispatched from now on use them and a restart would
 * as well: NULL, or why not (owned).  The same bytes as are active are no change. */
FS_API char *fs_loader_patch(struct fs_loader *, const struct fs_patch *, size_t n);
/* Make the version before the active one of a method active again (hash: one of those kept, or NULL); *now gets its hash.  NULL or why not (owned). */
FS_API char *fs_loader_rollback(struct fs_loader *, enum fs_method_kind, const char *name, const char *hash, char now[FS_HASH_SIZE]);
/* {generation, versions: [{kind, name, sha256, generation, time, source, active}], refused: [{sha256, time, why}]}, for a new value. */
FS_API xmlrpc_value *fs_loader_versions(struct fs_loader *);
/* Take a hash (or "": all) off the list of refused ones; false: it is not there. */
FS_API bool fs_loader_lift(struct fs_loader *, const char *hash);

FS_API void fs_loaded_account(struct fs_loaded *, bool failed, double seconds);
/* The figures of a method while other threads count. */
FS_API void fs_loaded_figures(const struct fs_loaded *, double *calls, double *failures, double *seconds);
/* May a file of that name be a method's? */
FS_API bool fs_method_name_ok(const char *name);

#endif

/* The table of methods: what the loader's parts share.  A table does not change once it is published. */
#ifndef CORE_TABLE_H
#define CORE_TABLE_H 1

#include <pthread.h>
#include <sys/stat.h>
#include <time.h>

#include "core/loader.h"
#include "core/signature.h"
#include "core/versions.h"

/* A file as it was when it was looked at. */
struct identity {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec modified, changed; /* 'changed' tells when the modification time was set back */
};

/* A file in a folder and what serves for it. */
struct binding {
    enum fs_method_kind kind;
    int folder;               /* 0 own, 1 common */
    char name[65];
    struct identity seen, seen_signature; /* all zero: to be looked at again */
    struct fs_loaded *loaded; /* newest good version; NULL: none */
    char *problem;            /* why the file as seen is not what serves, or NULL */
};

struct fs_table {
    unsigned refs;
    size_t n;
    struct binding *bindings; /* sorted by kind, name, folder */
};

struct fs_loader {
    char *lib, *own;
    struct fs_daemon *daemon;
    struct folder {
        char *path;
        int fd;               /* -1: it is not there; atomic */
        int64_t seen;         /* nanoseconds: its time of change when it was read; atomic */
    } folders[2][2];          /* [kind - 1][own, common] */
    struct fs_images *images;
    struct fs_versions *versions;
    struct fs_keys *keys;     /* NULL: files need no signature */
    pthread_rwlock_t lock;    /* of 'table' */
    struct fs_table *table;
    pthread_mutex_t loading;  /* one change at a time; guards images, versions, folders */
    pthread_mutex_t opening;  /* one dlopen() of an image at a time */
    pthread_mutex_t lives;    /* of 'live' and the refs of what is in it */
    struct fs_loaded *live;
    int64_t looking_since;    /* atomic: fs_now_ms() when a look at the folders, or a patch, was begun that is still going on; 0: none is */
    bool patching, dirty;     /* atomic: a patch is being applied; the folders are to be read again */
    int64_t look_again;       /* atomic: fs_now_ms() from which on the folders are read again because a file was written just now, or still is; 0: never */
    bool started, look_at_bad; /* with 'loading': the start is over; files with a problem are looked at again */
};

enum { FS_TICK_MS = 20, FS_WRITTEN_MS = 50, FS_VERSIONS_AT_ONCE = 2 };

/* table.c */

struct fs_table *table_new(size_t room);
/* Binding of a file, or NULL. */
struct binding *table_find(const struct fs_table *, enum fs_method_kind, const char *name, int folder);
/* The one that serves: the daemon's own before the common one. */
struct binding *table_serving(const struct fs_table *, enum fs_method_kind, const char *name);
/* Take over a copy of 'from', with a reference of its own. */
void table_add(struct fs_loader *, struct fs_table *, const struct binding *from);
/* Order it, then let new calls use it. */
void table_publish(struct fs_loader *, struct fs_table *);
bool same_identity(const struct identity *, const struct identity *);

/* A new version, not yet opened, with one reference. */
struct fs_loaded *loaded_new(struct fs_loader *, enum fs_method_kind, const char *name, const char *hash, const char *path);
void loaded_ref(struct fs_loader *, struct fs_loaded *);
void loaded_unref(struct fs_loader *, struct fs_loaded *);
/* Load it if that has not been done; 'before' is the version whose state it may take over.  NULL or why it cannot be (borrowed from it). */
const char *loaded_open(struct fs_loader *, struct fs_loaded *, const struct fs_loaded *before);
/* How many versions of a file are in use. */
unsigned loaded_in_use(struct fs_loader *, const char *path);

/* scan.c: from the folders to a new table; with 'loading' held */

void folders_open(struct fs_loader *, const char *own);
void folders_close(struct fs_loader *);
/* Has a folder changed since it was read? */
bool folders_changed(struct fs_loader *);
/* Has the file that serves for a method (name NULL: for any) changed since it was looked at? */
bool file_changed(struct fs_loader *, const struct fs_table *, enum fs_method_kind, const char *name);
/* Is there a file in the own folder, though the common one serves? */
bool is_shadowed(struct fs_loader *, const struct fs_table *, enum fs_method_kind, const char *name);
bool identify(struct fs_loader *, enum fs_method_kind, int folder, const char *name, const char *suffix, struct identity *);
void folders_read(struct fs_loader *, const char *source);
/* Is the method's signature good, where one is needed?  NULL, with its counter, or why not (owned). 'text' NULL: none is there; 'known': the version was accepted before, so
 * its counter may be old.  In the daemon's own folder one for all daemons is good as well: that is where rollback puts methods of the common one. */
char *check_signature(struct fs_loader *, const char *text, enum fs_method_kind, int folder, const char *name, const char *hash, bool known, uint64_t *counter);
/* Keep the signature with the image, for rollback; NULL or why not (owned). */
char *keep_signature(struct fs_loader *, const char *text, const char *hash);
/* The version serves: from now on its counter is the least. */
void count_signature(struct fs_loader *, enum fs_method_kind, const char *name, const char *hash, uint64_t counter);
/* Write down which versions are active, and remove the images of those that nobody needs. */
void versions_record(struct fs_loader *, const struct fs_table *, const char *source);
/* Finish a patch that a crash interrupted, and put the versions before refused ones back. */
void versions_recover(struct fs_loader *);

#endif

/* What a daemon remembers of its methods' versions, beside their images: which are active, which were before, which hashes are refused, how far signatures have counted,
 * and what patch was under way.  Text files in the folder of the images, replaced as a whole and synced; a record that is damaged is begun anew, with a warning.
 * Not thread-safe: the loader calls it with its lock held. */
#ifndef CORE_VERSIONS_H
#define CORE_VERSIONS_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <flowstream/method.h>

#include "core/images.h"

enum { FS_VERSIONS_KEPT = 4 }; /* of each method: the active one and three before */

struct fs_version {
    enum fs_method_kind kind;
    char name[65];
    char hash[FS_HASH_SIZE];
    uint64_t generation; /* never used again, also across restarts */
    int64_t time;        /* seconds since 1970 */
    char source[16];     /* "start", "dropped", "upgrade", "rollback" */
};

struct fs_refusal {
    char hash[FS_HASH_SIZE];
    int64_t time;
    char *why;
};

/* One file of a patch: what is to be active. */
struct fs_intent {
    enum fs_method_kind kind;
    char name[65];
    char hash[FS_HASH_SIZE];
};

struct fs_versions;

/* Read the records of 'folder'. Crashes noted there (see crash.h) count: three of one hash within a minute refuse it. */
struct fs_versions *fs_versions_read(const char *folder);
void fs_versions_destroy(struct fs_versions *); /* accepts NULL */
/* Write what has changed; 0 or errno. */
int fs_versions_write(struct fs_versions *);

/* Note that this hash is active for the method from now on, as a new generation; true: it was not. */
bool fs_versions_note(struct fs_versions *, enum fs_method_kind, const char *name, const char *hash, const char *source);
/* The versions of one method, or of all (name NULL), the active one of each first.  The array is the caller's, what it points to is not. */
const struct fs_version **fs_versions_list(const struct fs_versions *, enum fs_method_kind, const char *name, size_t *n);
/* Is this image still of use? */
bool fs_versions_has(const struct fs_versions *, const char *hash);
uint64_t fs_versions_generation(const struct fs_versions *);

/* Why this hash is refused (borrowed), or NULL. */
const char *fs_versions_refused(const struct fs_versions *, const char *hash);
void fs_versions_refuse(struct fs_versions *, const char *hash, const char *why);
bool fs_versions_lift(struct fs_versions *, const char *hash); /* false: it was not refused; "" lifts all */
const struct fs_refusal *fs_versions_refusals(const struct fs_versions *, size_t *n);

/* The highest counter of a signature that was accepted for the method, and with which hash. */
uint64_t fs_versions_counter(const struct fs_versions *, enum fs_method_kind, const char *name, const char **hash);
void fs_versions_set_counter(struct fs_versions *, enum fs_method_kind, const char *name, uint64_t counter, const char *hash);

/* A patch of several files is written down before the first of them is replaced: what a crash finds begun is finished at the next start. 0 or errno. */
int fs_versions_begin(struct fs_versions *, const struct fs_intent *, size_t n);
void fs_versions_end(struct fs_versions *);
/* What was begun and not ended; owned by the caller. */
struct fs_intent *fs_versions_pending(struct fs_versions *, size_t *n);

#endif

/* Putting the files of a patch into a folder: written beside, then switched, or as they were.  Not thread-safe: the loader calls it with its lock held. */
#ifndef CORE_PLACE_H
#define CORE_PLACE_H 1

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* One NAME.so with its signature.  Starts as all zero; ends with place_end(). */
struct placing {
    char *path, *signature;
    bool was_there, signature_was_there, switched, signature_switched;
    ino_t inode; /* of the new file */
};

/* Write both beside their names ('signature' NULL: what is there stays); the folder is made if need be.  0 or errno. */
int place_stage(struct placing *, const char *folder, const char *name, const void *bytes, size_t size, const char *signature);
/* Let the names mean the new files; 0 or errno. */
int place_switch(struct placing *);
/* Let them mean what they did before; 0 or errno. */
int place_undo(struct placing *);
/* Remove what is beside the names. */
void place_end(struct placing *);
/* Names that were switched are so after a loss of power, too; 0 or errno. */
int place_sync(const char *folder);
/* Remove what a process that died has left beside names. */
void place_tidy(const char *folder);

#endif

/* Deletions by name that were asked for with a key: the same call again, also after the daemon was killed, is answered as the first was, and never deletes what has got the name since.
 * They are kept for a day, the last 4,096 of them. */
#ifndef DAEMONS_RESOURCE_ANSWERED_H
#define DAEMONS_RESOURCE_ANSWERED_H 1

#include "daemons/resource/resource.h"

enum { RESOURCE_ANSWERED_MOST = 4096, RESOURCE_ANSWERED_SECONDS = 86400 };

enum resource_said {
    RESOURCE_NOT_SAID,       /* there was no deletion with that key, or too long ago */
    RESOURCE_DONE,           /* this same deletion: what it was about is gone (or is wanted again, by a backup) */
    RESOURCE_BEING_DONE,     /* this same: the allocation is marked as deleted, and not gone yet */
    RESOURCE_SAID_OTHERWISE, /* another deletion: *error */
};

/* Mark allocation 'id' as deleted by 'what' with that key, in the store and in memory.  0, or an errno with *error; EEXIST: the key is that of another deletion, or of this same one of
 * an earlier allocation, and nothing has changed (without *error: ask resource_was_deleted()). */
FS_API int resource_mark_deleted(struct resource *, int id, const char *key, const char *what, char **error);
/* What became of the deletion 'what' with that key; "": none.  *id: the allocation that it was about. */
FS_API enum resource_said resource_was_deleted(struct resource *, const char *key, const char *what, int *id, char **error);

#endif

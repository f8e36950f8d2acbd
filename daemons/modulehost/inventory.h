/* What runs on this host, kept in memory: a table of the processes of modules as they were last seen, and by it which owners (allocations) have changed since when.
 *
 * It knows nothing of the system: watch.c looks and tells.  Each change of a process gives its owner the next generation, so "what has changed since generation G" costs what has changed,
 * not what is there.  An owner whose last process has gone stays, as one without any, until many others have gone as well; who asks for changes since before that is told all.
 * Not thread-safe. */
#ifndef DAEMONS_MODULEHOST_INVENTORY_H
#define DAEMONS_MODULEHOST_INVENTORY_H 1

#include <flowstream/pm.h>

struct owner;

/* A process as it was last seen.  Only inventory.c changes it, but for 'met'. */
struct process {
    char *name;
    struct owner *owner;           /* NULL: it is not known, it is being made */
    struct fs_process_look look;   /* its pidfd is this table's */
    int64_t since;                 /* fs_now_ms(): it is so since then */
    bool met;                      /* for who goes through all and drops the others */
    struct process *next_of_owner;
};

struct inventory;
struct inventory *inventory_new(void);
void inventory_free(struct inventory *); /* accepts NULL */

/* All processes, in order of their names; valid until the next change. */
struct process **inventory_all(struct inventory *, size_t *n);
struct process *inventory_find(struct inventory *, const char *name);
/* Enter a process as it is now; 'look' is taken with its pidfd.  Returns the entry.  *changed: it was not there, or not so. */
struct process *inventory_put(struct inventory *, const char *name, const struct fs_process_look *look, bool *changed);
void inventory_drop(struct inventory *, struct process *);

/* Grows with each change of an owner's processes. */
uint64_t inventory_generation(const struct inventory *);
/* Calls visit(aux, id, digest, processes) for each owner that changed after 'since', latest first; digest and processes are 0 for one that has none any more.  False where that is not
 * known any more: then for all that are there. */
bool inventory_changes(struct inventory *, uint64_t since, void (*visit)(void *aux, uint64_t id, uint64_t digest, size_t processes), void *aux);
/* The first process of an owner, the others by next_of_owner; NULL: it has none. */
struct process *inventory_of(struct inventory *, uint64_t id);

#endif

/* A queue that is fair: callers take turns, and so do the tasks of one caller; tasks of one name and one caller keep their order.
 *
 * A caller that has sent 100,000 tasks delays the next caller's by one task, not by 100,000; and a caller's flood of one task
 * does not hold up another task that it sends.  All operations take constant time.  Not thread-safe. */
#ifndef CORE_TURNS_H
#define CORE_TURNS_H 1

#include <stdbool.h>
#include <stddef.h>

struct turns;

/* Part of what is queued. */
struct turn {
    struct turn *before, *after;
    struct line *line; /* NULL: not in a queue */
};

struct turns *turns_new(void);
/* It must be empty.  Accepts NULL. */
void turns_destroy(struct turns *);
/* Last in the line of that caller and name. */
void turns_push(struct turns *, struct turn *, const char *caller, const char *name);
/* Whose turn it is, taken out; NULL: nobody waits. */
struct turn *turns_pop(struct turns *);
void turns_remove(struct turns *, struct turn *);
bool turns_empty(const struct turns *);

#endif

/* Comparing what is wanted (the plans of installed allocations) with what is there (module hosts and switches).
 *
 * A *difference* (value) is {kind "module", "rule", "host" or "switch"; problem "missing", "dead", "changed", "extra", "owned by nobody" or "unreachable"; allocation (0: the platform's
 * own, or none); where (host or switch); name (of the module, or the rule); why (optional)}.
 *
 * An allocation that somebody works on, or that is not installed, is left out: whoever works on it is who makes it right.  What is remembered between runs is in memory only and
 * may be forgotten at any time; it then costs one full comparison. */
#ifndef DAEMONS_RESOURCE_RECONCILE_H
#define DAEMONS_RESOURCE_RECONCILE_H 1

#include <flowstream/method.h>

#include "daemons/resource/resource.h"

/* --- What is wanted: wanted.c --- */

/* Allocations that the caller has claimed: they count as if nobody worked on them. */
struct resource_claims {
    int *ids;
    size_t n;
};

/* Claim these of the allocations in 'ids' that can be had now. */
FS_API void resource_claims_take(struct resource *, const int *ids, size_t n, struct resource_claims *);
FS_API void resource_claims_give(struct resource *, struct resource_claims *);
FS_API bool resource_claims_has(const struct resource_claims *, int id);

/* Some allocations, ascending; where a pointer to one is NULL all are meant. */
struct resource_ids {
    const int *ids;
    size_t n;
};

/* The modules of these allocations that should run on a host: [{name, owner, type, args, ...}] as create_pm takes them, the ports that connections made by hand have added included.
 * 'unsure' gets the names {name: nil} of those about which that cannot be said now, since somebody works on them or their connections, and 'unsure_ids' (may be NULL) the allocations
 * {"ID": boolean} that somebody works on or that are not installed; true: it is installed. */
FS_API xmlrpc_value *resource_wanted_modules(struct resource *, const char *host, const struct resource_ids *only, const struct resource_claims *, xmlrpc_value *unsure,
                                             xmlrpc_value *unsure_ids);
/* {"ID": nil} of the allocations that somebody works on or that are not installed, and that the caller has not claimed. */
FS_API xmlrpc_value *resource_unsure(struct resource *, const struct resource_claims *);
FS_API bool resource_is_unsure(struct resource *, int id, const struct resource_claims *); /* is it one of them? */
/* What an installed allocation should have in a switch: {allocation, rules, meters (where it has some)}, with no rules where it has none there; NULL where it is not
 * installed. */
FS_API xmlrpc_value *resource_wanted_rules(struct resource *, int id, const char *name);
/* The ids of allocations that have modules on a host, ascending (owned). */
FS_API int *resource_ids_on(struct resource *, const char *host, size_t *n);
/* The ids of installed allocations, also of those that somebody works on, that have rules in a switch, and 0, for the platform's own (owned). */
FS_API int *resource_ids_in(struct resource *, const char *name, size_t *n);
FS_API int resource_by_id(const void *, const void *); /* for qsort() of ids */
/* Is there an allocation of this id, in whatever state?  0, the platform itself, is always there. */
FS_API bool resource_knows(struct resource *, int id);
/* And is it installed, whoever works on it? */
FS_API bool resource_wants(struct resource *, int id);

/* --- Differences: differences.c --- */

FS_API xmlrpc_value *resource_difference(const char *kind, const char *problem, int allocation, const char *where, const char *name);
/* Append how the modules of these allocations on a host differ from what is wanted; 'unsure' (may be NULL) gets the allocations {"ID": boolean} that had to be left out, because
 * somebody works on them or their connections; false: they are not installed.  NULL, or why the host cannot be asked (owned); then nothing is known. */
FS_API char *resource_compare_host(struct fs_call *, const char *host, const struct resource_ids *only, const struct resource_claims *, xmlrpc_value *differences,
                                   xmlrpc_value *unsure);
/* Compare, and unless 'dry_run' put right, the rules and meters of these allocations (0: the platform's own) in a switch, given as {switch, target}.  Appends the differences that there
 * were.  NULL, or why the switch cannot be asked. */
FS_API char *resource_compare_switch(struct fs_call *, const xmlrpc_value *where, const int *ids, size_t n, bool dry_run, xmlrpc_value *differences);

/* The allocations that the differences are about, ascending, each once (owned), with the first reason that is given why its difference cannot be put right (borrowed), or NULL. */
struct resource_difference_of {
    int id;
    const char *why;
};
FS_API struct resource_difference_of *resource_sort_differences(const xmlrpc_value *differences, size_t *n);
/* The one about this allocation in such a list, or NULL. */
FS_API const struct resource_difference_of *resource_differs(const struct resource_difference_of *sorted, size_t n, int id);
FS_API void resource_log_difference(const xmlrpc_value *);

/* --- What the reconciler remembers: memory.c --- */

struct resource_memory;
struct resource_memory *resource_memory_new(void);
void resource_memory_free(struct resource_memory *);

/* One thread at a time works on a host or switch: false when another does. */
FS_API bool resource_memory_begin(struct resource *, const char *name);
FS_API void resource_memory_end(struct resource *, const char *name);
/* The state in which 'name' was last looked at (owned; "" for none). */
FS_API char *resource_memory_right(struct resource *, const char *name);
FS_API void resource_memory_set_right(struct resource *, const char *name, const char *state);
/* When it is to be looked at without a reason: at what has changed; at all. */
enum resource_look { RESOURCE_LOOK, RESOURCE_LOOK_AT_ALL, RESOURCE_LOOKS };
FS_API bool resource_memory_is_due(struct resource *, const char *name, enum resource_look);
FS_API void resource_memory_set_due(struct resource *, const char *name, enum resource_look, int64_t ms /* from now */);

/* What it costs to ask 'name', in ms, where asking it took that long just now.  Once says little, for somebody may have been stopped meanwhile: it becomes less at once, and more by a
 * quarter each time. */
FS_API int64_t resource_memory_cost(struct resource *, const char *name, int64_t took);

/* A host has a place of its own (owned): a switch may be called as a host. */
FS_API char *resource_host_place(const char *host);
/* A host or switch tells the state of an allocation there ("": it has nothing there): where that is another one it is in doubt from now on. */
FS_API void resource_memory_tell(struct resource *, const char *place, int id, const char *state);
/* These, ascending, are all that have anything there. */
FS_API void resource_memory_tell_gone(struct resource *, const char *place, const int *there, size_t n);
FS_API void resource_memory_doubt(struct resource *, const char *place, int id);
void resource_memory_renew(struct resource *, const char *place); /* all that are there */
/* Doubt so many more without a reason, others each time. */
FS_API void resource_memory_doubt_some(struct resource *, const char *place, size_t n);

struct resource_doubt {
    int id;
    unsigned doubts; /* how often it was doubted until now */
    bool there;      /* it has something there */
};
FS_API bool resource_memory_doubts(struct resource *, const char *place); /* any? */
/* All that are in doubt, ascending (owned). */
FS_API struct resource_doubt *resource_memory_doubted(struct resource *, const char *place, size_t *n);
/* This doubt is settled, unless it was doubted again since; gone: it has nothing there, and should not. */
FS_API void resource_memory_settle(struct resource *, const char *place, const struct resource_doubt *, bool gone);

/* --- Looking at a host or switch: doubts.c --- */

typedef int *resource_ids_at(struct resource *, const char *name, size_t *n);
/* It, 'name', has told {state, owners: [[id, state of what it has there, ...]], all: these are all that have anything there}, and should have something of those that 'ids_at' finds. */
FS_API void resource_note_changes(struct resource *, const char *place, const char *name, const xmlrpc_value *told, resource_ids_at *ids_at);
/* Of some that are in doubt: those that there are stay, and their number is returned; the ids of those of nobody are appended to 'orphans', or forgotten where they are gone. */
FS_API size_t resource_sort_out(struct resource *, const char *place, struct resource_doubt *, size_t n, xmlrpc_value *orphans);

/* --- The health of allocations, at each place by itself: health.c --- */

/* May something be done about the allocation there now?  False while it waits after repairs that did not hold. */
FS_API bool resource_may_mend(struct resource *, int id, const char *place);
/* It was repaired, or that failed ('failed': why); the next repair waits longer, up to a minute, when it comes soon. */
FS_API void resource_note_mended(struct resource *, int id, const char *place, const char *what, const char *failed);
/* It was found right. */
FS_API void resource_note_healthy(struct resource *, int id, const char *place);
/* All that are there but these, ascending, were found right. */
FS_API void resource_note_others_healthy(struct resource *, const char *place, const int *wrong, size_t n);
/* And all that are not in doubt: doubts.c. */
FS_API void resource_note_undoubted_healthy(struct resource *, const char *place);
/* Somebody has worked on it: what was is of no account.  With the lock of the state held. */
void resource_begin_anew(struct resource *, int id);
/* The place is another one: nothing that was known of it holds any more, and all there may be mended at once. */
FS_API void resource_begin_anew_at(struct resource *, const char *place);
void resource_patients_free(struct resource *);
/* Why it is degraded, NULL when it is not (owned). */
FS_API char *resource_degraded(struct resource *, int id);
/* The state of its modules that a host has told with its last registration (owned; "" for none). */
FS_API char *resource_host_digest(struct resource *, const char *host);

#endif

/* What is made by hand: single modules (create_pm) and connections between them (create_connections).
 *
 * Both are allocations with an id, shown, accounted for and deleted as such.  What they are is the member "kind" of their request: "module" has one node and no
 * links; "connections" has nodes with the member "process", which are modules made by hand under that name of a process, and the members "switch" (the node of the
 * platform whose network ports its FromNets take from) and "table" (where the rules that let traffic in go). */
#ifndef DAEMONS_RESOURCE_BYHAND_H
#define DAEMONS_RESOURCE_BYHAND_H 1

#include <flowstream/method.h>

#include "daemons/resource/resource.h"

enum { RESOURCE_TABLE_CLASSIFY = 10, RESOURCE_TABLE_SPREAD = 12, RESOURCE_TABLE_CHOOSE = 14, RESOURCE_TABLE_FORWARD = 20, RESOURCE_TABLE_LAST = 253 };

/* The struct PM of create_pm and delete_pm. */
FS_API extern const struct fs_member resource_pm_members[];

/* "request", "module" or "connections". */
FS_API const char *resource_kind(const xmlrpc_value *request);
/* The table of a request's rules that let traffic in. */
FS_API int resource_entry_table(const xmlrpc_value *request);

/* A copy of the allocation of the module that was made by hand under this name and is not being deleted, or NULL. */
FS_API xmlrpc_value *resource_module_by_hand(struct resource *, const char *name);
/* The names of all modules made by hand, "a, b" (owned); "" for none. */
FS_API char *resource_modules_by_hand(struct resource *);
/* The first allocation that has connections of this module's process, or 0. */
FS_API int resource_user_of(struct resource *, const char *process);
/* The connections at that switch and table that say the same as 'request'; 0: none. */
FS_API int resource_connections(struct resource *, const char *switch_node, int table, const xmlrpc_value *request);

/* The node of the platform that is the switch of this name, a switch of the fabric or a host's bridge, or NULL (owned). */
FS_API char *resource_switch_node(struct resource *, const char *name);
/* The names of all switches, "tor0, br-h1" (owned). */
FS_API char *resource_switch_names(struct resource *);
/* The network ports at a node, "net0, net1" (owned). */
FS_API char *resource_ports_at(struct resource *, const char *node);
/* Is network port 'io' at this node? */
FS_API bool resource_is_at(struct resource *, const char *node, const char *io);

/* Claim an installed allocation, waiting until fs_now_ms() is 'until' for the reconciler, which works on it for some milliseconds; anybody: also for whoever installs or deletes it. */
FS_API bool resource_claim_soon(struct resource *, int id, bool anybody, int64_t until);
enum { RESOURCE_MOMENT_MS = 5000 }; /* as long as the reconciler is waited for */
/* Carry out the claimed allocation 'id', wait up to 'wait' seconds, and answer the call with the id (with_id) or nil.  The allocation is released in any case. */
FS_API void resource_begin_install(struct fs_call *, int id, double wait, bool with_id);
/* The same was asked before, with the same key: answer the call with what became of it. */
FS_API void resource_answer_again(struct fs_call *, int id, const char *warnings, bool with_id);
/* Delete allocation 'id', wait, and answer the call.  Refused for a module whose connections are still there.  By force it ends also where a host or switch cannot be
 * reached, which the message then says.  With a key ("": none) it is kept that 'what' was asked for with it. */
FS_API void resource_begin_delete(struct fs_call *, int id, bool force, const char *key, const char *what);
/* Was the deletion 'what' asked for with that key before?  Then the call is answered: as the first was, or as refused where it was another deletion. */
FS_API bool resource_delete_again(struct fs_call *, const char *key, const char *what);

#endif

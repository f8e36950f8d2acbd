/* What the tasks and commands of the resource daemon share: the platform with its hosts, the allocations, and the store behind both.
 *
 * The store is written before anything is done about it.  One lock guards all but the account of what is taken, which changes and is read under the lock
 * of resource_placing_begin() only; who takes both takes that one first.  Values that leave this module are copies.
 *
 * A *request* (value) is what the language gives: headers {KEY: value}, nodes [{name, type, args, kind "from"|"to"|"module", inputs, outputs, match,
 * in_port, ports [..]}], links [{from, from_port, to, to_port}] by names of nodes.  Modules of several instances are written out, see resource_write_instances().
 * A *flow* is one link of a request at one place: a link that leaves a FromNet without in_port is a flow for each network port.
 * A *placement* is what the placement step answers: hosts {module: host}, ports {ToNet: network port}, paths [[node of the platform, ...], ...],
 * one path a flow, in the order of resource_flows().
 * A *plan* is what is installed: modules [{name, process, node, type, args, basesys, host, cpu, mem, inputs [{port, spi, rate}], outputs [{port, spi, rate}]}], flows [{from,
 * from_port, to, to_port, io, spi, path}], rules [{switch, target, rules [text]}]. */
#ifndef DAEMONS_RESOURCE_H
#define DAEMONS_RESOURCE_H 1

#include <stdbool.h>
#include <stdint.h>

#include <flowstream/alloc.h>
#include <flowstream/api.h>
#include <flowstream/platform.h>
#include <flowstream/value.h>

#include "core/daemon.h"

struct fs_store;
struct resource;

/* Reserved for a module, and per flow, whose request states nothing else. */
#define RESOURCE_MODULE_CPU 0.1   /* cores reserved; its limit is RESOURCE_MODULE_CPU_LIMIT */
#define RESOURCE_MODULE_CPU_LIMIT 1.0
#define RESOURCE_MODULE_MEM 32.0  /* MB reserved, and the limit */
#define RESOURCE_FLOW_RATE 1.0    /* Mbit/s */

/* The last service path number that a request can get; those behind it carry what no request claims between ports on different switches. */
#define RESOURCE_SPI_LAST 0xffefff

FS_API void *resource_start(struct fs_daemon *, const struct fs_settings *, char **error);
FS_API void resource_stop(void *);

/* A number in the store that grows with each start. */
FS_API long long resource_epoch(struct resource *);
/* The same parameter of a task of another daemon (taken), with the member "controller": whose order it is (core/fence.h). */
FS_API xmlrpc_value *resource_order(struct resource *, xmlrpc_value *param);

/* --- Hosts --- */

/* Enter or refresh a host that registers itself; *changed: it is new or was started again.  0 or errno with *error. */
FS_API int resource_register_host(struct resource *, const xmlrpc_value *host, bool *changed, char **error);
/* Take a host out.  EBUSY: modules are on it; ENOENT: unknown. */
FS_API int resource_remove_host(struct resource *, const char *name, char **error);
/* Put no more modules on a host (or do again); what runs there goes on.  Kept over restarts.  ENOENT: unknown. */
FS_API int resource_drain_host(struct resource *, const char *name, bool drain, char **error);
/* Structs: what the host registered with, and state ("up", "preparing" while its bridge has no base rules, "silent" for
 * some seconds), load, modules.  Only between resource_placing_begin() and _end():
 * the load is the account's. */
FS_API xmlrpc_value *resource_hosts(struct resource *);
/* A copy of the registration of a host that is up or silent, or NULL. */
FS_API xmlrpc_value *resource_host(struct resource *, const char *name);
/* Names and states of all: [{name, state}]. */
FS_API xmlrpc_value *resource_host_states(struct resource *);
/* Has nothing been heard of the host for as long as makes it silent? */
FS_API bool resource_host_is_lost(struct resource *, const char *name);
/* The peer for calls to that host's daemon; NULL: unknown host.  Lives as long as the daemon. */
FS_API struct fs_peer *resource_host_peer(struct resource *, const char *name);

/* The switch of that name has its base rules; told by prepare_platform.  Modules are placed only on hosts whose bridge has them. */
FS_API void resource_switch_is_prepared(struct resource *, const char *name);
/* Have all switches their base rules?  Told by prepare_platform, shown in get_statistics and asked by 'status'. */
FS_API void resource_set_prepared(struct resource *, bool);
FS_API bool resource_prepared(struct resource *);
/* Have these base rules of a switch become others since resource_note_base_rules()?  False for a switch that none were noted of. */
FS_API bool resource_base_rules_differ(struct resource *, const char *name, const xmlrpc_value *rules);
FS_API void resource_note_base_rules(struct resource *, const char *name, const xmlrpc_value *rules);

/* What list_switches of the OpenFlow daemon says 'now' of a switch (or NULL), compared with what was noted when it last was found to be whole. */
enum resource_watched {
    RESOURCE_SAME,       /* the same connection and ports: it has its rules unless somebody took them */
    RESOURCE_UNKNOWN,    /* another connection, or none */
    RESOURCE_PORTS_MOVED /* ports were renamed, renumbered, added or removed: rules may mean others */
};
FS_API enum resource_watched resource_watch(struct resource *, const char *name, const xmlrpc_value *now);
FS_API void resource_note_watched(struct resource *, const char *name, const xmlrpc_value *now);

/* --- Allocations --- */

/* Enter a new allocation in state "installing", claimed, in memory and in the store; its id, or 0 with *error, also where it claims packets that another one claims (see
 * resource_conflict()).  Where 'key' is that of an allocation that was made from the same text and request, its id comes back and *again is true; with another text it is refused. */
FS_API int resource_new_allocation(struct resource *, const char *text, const char *name, const char *key, const char *owner,
                                   const xmlrpc_value *request, bool *again, char **error);
/* The id that the next new allocation will get: what is planned now is planned for it. */
FS_API int resource_next_id(struct resource *);
FS_API bool resource_exists(struct resource *, int id);
/* A copy of what is known of it, or NULL. */
FS_API xmlrpc_value *resource_allocation(struct resource *, int id);
/* Ids of all, ascending; owned by the caller. */
FS_API int *resource_allocation_ids(struct resource *, size_t *n);
/* Ids of those that are in no state to stay in and that nobody works on. */
FS_API int *resource_unsettled_ids(struct resource *, size_t *n);
/* One line about each: [{allocation, name, state, modules}]. */
FS_API xmlrpc_value *resource_summaries(struct resource *);
/* Change members of an allocation (a struct, taken) in the store, then in memory.  ENOENT: unknown. */
FS_API int resource_update(struct resource *, int id, xmlrpc_value *members, char **error);
/* Begin to work on it: false when somebody does already, or there is none.  End with resource_release(), also after resource_forget(). */
FS_API bool resource_claim(struct resource *, int id);
FS_API void resource_release(struct resource *, int id);
/* The same for who has changed nothing that is wanted: the reconciler. */
FS_API void resource_release_unchanged(struct resource *, int id);
/* Tell which task of this daemon's engine works on a claimed allocation: should it be cancelled before it begins, the claim ends with it. */
FS_API void resource_claimed_by(struct resource *, int id, int handle);
/* Forget it, in the store and in memory, and give back what it took of the platform.  Never between resource_placing_begin() and _end(). */
FS_API int resource_forget(struct resource *, int id, char **error);
/* The first allocation that can claim a packet which one of request's FromNets claims too and is not ordered by PRIORITY: its id, or 0; -1 where two FromNets of the
 * request itself can.  *why says which FromNets, and in which lines. */
FS_API int resource_conflict(struct resource *, const xmlrpc_value *request, char **why);

/* --- Backups --- */

/* The store, for copies of it. */
FS_API struct fs_store *resource_store(struct resource *);
/* Enter an allocation of a backup under its own id, in state "restoring": 'settle' installs it, and tries again until it can be.  EEXIST. */
FS_API int resource_restore_allocation(struct resource *, int id, const xmlrpc_value *doc, char **error);
/* It could not be installed, all that there was of it has been taken away: back to "restoring", with the reason. */
FS_API int resource_restore_later(struct resource *, int id, const char *message, char **error);

/* --- Placing --- */

/* Write out the modules of several instances in a request as the language gives it: nodes with 'instances' above 1 become as many, called "w[1]", "w[2]" ..., with
 * 'element' "w" and 'instance'; their links become one from and to each that traffic may take, and of those that start at one output, packets take one: the link that has
 * as its 'choice' the number that pm_spread_hash() gives, counted from 1, of 'choices'.  A stated rate is divided among them.  NULL, or what is too much (owned), and
 * the request is as it was.  Needs no lock. */
FS_API char *resource_write_instances(xmlrpc_value *request);
/* The flows of a request: an array of {from, from_port, to, to_port, io}, io being "" or the network port of a source. */
FS_API xmlrpc_value *resource_flows(struct resource *, const xmlrpc_value *request);
/* Between these only one placement is made at a time. */
FS_API void resource_placing_begin(struct resource *);
FS_API void resource_placing_end(struct resource *);
/* The platform and what is taken of it; only between begin and end. */
FS_API const struct fs_platform *resource_platform(struct resource *);
FS_API struct fs_load *resource_load(struct resource *);
/* The one service of a request, for the allocator.  NULL with *error. */
FS_API struct fs_services *resource_services(struct resource *, const xmlrpc_value *request, const xmlrpc_value *flows, char **error);
/* The index in the service of the link that a flow became (links between the same two nodes are one there), or -1.  Needs no lock. */
FS_API int resource_link_of(const struct fs_services *, const xmlrpc_value *flow);
/* Check a placement, number its flows with service paths, and account for it: the plan without rules, or NULL with *error.  Only between begin and
 * end. */
FS_API xmlrpc_value *resource_make_plan(struct resource *, int id, const xmlrpc_value *request, const xmlrpc_value *placement, bool account,
                                        char **error);
/* What a plan that is not accounted for would change, before and after: {hosts: [{host, cpu, cpu_before, cpu_after, mem (MB), mem_before, mem_after, modules_before, modules_after}],
 * links: [{from, to, bandwidth (Mbit/s), before, after}]}, all of the platform, each direction of a link by itself.  Only between begin and end. */
FS_API xmlrpc_value *resource_loads(struct resource *, const xmlrpc_value *request, const xmlrpc_value *plan);

/* --- Another platform --- */

/* Take up another platform: 'text' (which then becomes the daemon's file), or NULL for the daemon's file as it is now.  Answers {added, removed, changed, cut [{id, name,
 * why}]}; NULL with *error where the file is wrong, or something would be cut and 'force' is not said: then nothing has changed.  check: nothing changes in any case. */
FS_API xmlrpc_value *resource_apply_platform(struct resource *, const char *text, bool check, bool force, char **error);
/* Of the rules of a plan those in switches, and of its modules those on hosts, that are still part of the platform; the rest went with what they were in. */
FS_API xmlrpc_value *resource_rules_still_there(struct resource *, const xmlrpc_value *rules);
FS_API xmlrpc_value *resource_modules_still_there(struct resource *, const xmlrpc_value *modules);

/* --- The platform's ports, for rules --- */

/* Name of the port through which node 'from' sends to node 'to' (owned), or NULL: no link. */
FS_API char *resource_port(struct resource *, const char *from, const char *to);
/* All switches: [{name, target, host ("" for a switch of the fabric), inner [ports to switches and hosts], trunk, forward [{in, out}], carry [{kind "entry",
 * "transit" or "exit", in, out, spi}]}]: forward is where traffic that nobody claims passes inside the switch, carry the same for ports on two switches. */
FS_API xmlrpc_value *resource_switches(struct resource *);
/* Kind of a node: 'i' network port, 's' switch, 'h' server, 0 unknown. */
FS_API char resource_node_kind(struct resource *, const char *node);

#endif

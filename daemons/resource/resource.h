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
 * from_port, to, to_port, io, spi, path, meter (id, of those that have one)}], meters [{switch, from, meter, kbps, burst}], rules [{switch, target, rules [text],
 * meters (of those with some)}]. */
#ifndef DAEMONS_RESOURCE_H
#define DAEMONS_RESOURCE_H 1

#include <stdbool.h>
#include <stdint.h>

#include <flowstream/alloc.h>
#include <flowstream/api.h>
#include <flowstream/online.h>
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
/* Wait, for the first seconds of this daemon alone, until each host that the store knows has been heard and can be used: before that nobody can say what fits. */
FS_API void resource_await_hosts(struct resource *);
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
/* The same: note which ports it tells to be down.  Placing leads nothing over links of the fabric that are.  'now' may be NULL. */
FS_API void resource_note_links(struct resource *, const char *name, const xmlrpc_value *now);

/* Told by prepare_platform: a switch could be reached, or not. */
FS_API void resource_note_reached(struct resource *, const char *name, bool reached);
/* "switch tor1 is not connected since 12 s" (owned), or NULL. */
FS_API char *resource_switch_away(struct resource *, const char *name);
/* Is that so for as long as makes a host silent? */
FS_API bool resource_switch_is_lost(struct resource *, const char *name);
/* Who is not there, a text each: hosts that get no modules now, and why, and switches that cannot be reached.  Empty when all are; shortened where they are many. */
FS_API xmlrpc_value *resource_absent(struct resource *);

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
/* The same of those behind 'after', 'most' of them. */
FS_API int *resource_allocation_ids_after(struct resource *, int after, size_t most, size_t *n);
/* A line about it: id, name, owner, kind, state, message, created, hosts [names], module_count.  NULL: unknown. */
FS_API xmlrpc_value *resource_brief(struct resource *, int id);
/* Ids of those that are in no state to stay in and that nobody works on. */
FS_API int *resource_unsettled_ids(struct resource *, size_t *n);
/* One line about each: [{allocation, name, state, modules}], of the first 'most' that are not just installed and the newest of the others, and how many there are in each state:
 * [{state, number}]. */
FS_API xmlrpc_value *resource_summaries(struct resource *, size_t most);
FS_API xmlrpc_value *resource_states(struct resource *);
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
/* Between these only one placement is made at a time.  They may be nested. */
FS_API void resource_placing_begin(struct resource *);
FS_API void resource_placing_end(struct resource *);
/* The platform; only between begin and end. */
FS_API const struct fs_platform *resource_platform(struct resource *);
/* The account of what is taken of it: each allocation that has a plan is held under its id, servers are up, draining or down as their hosts are now, links as switches tell.  Only between begin and end.
 * Others may try things out under keys above all ids (RESOURCE_TRIAL) and must leave it as it was. */
#define RESOURCE_TRIAL (UINT64_C(1) << 32)
FS_API struct fs_online *resource_online(struct resource *);
/* The links that resource_online() found to be down: "tor0-h1, tor0-h2" (owned), or "".  Only between begin and end. */
FS_API char *resource_links_down(struct resource *);
/* For each server of the platform why no module of base system 'basesys' may be put there now, in words that live as long as the program, or NULL where it may.  The array is
 * the caller's.  As resource_online() found them last, so that both say the same.  Only between begin and end. */
FS_API const char **resource_closed_servers(struct resource *, const char *basesys);
/* The daemon's setting: are hosts filled one after the other rather than in turn?  Needs no lock. */
FS_API bool resource_fills(const struct resource *);
/* The one service of a request, for the allocator.  NULL with *error. */
FS_API struct fs_services *resource_services(struct resource *, const xmlrpc_value *request, const xmlrpc_value *flows, char **error);
/* The index in the service of the link that a flow became (links between the same two nodes are one there), or -1.  Needs no lock. */
FS_API int resource_link_of(const struct fs_services *, const xmlrpc_value *flow);
/* Check a placement, number its flows with service paths, and (account) account for it: the plan without rules, or NULL with *error.  Only between begin and
 * end.  It is in the store, and known to others, after resource_keep_plan(), which is to be called after the end, so that nobody waits for the disk with the account in his hands. */
FS_API xmlrpc_value *resource_make_plan(struct resource *, int id, const xmlrpc_value *request, const xmlrpc_value *placement, bool account,
                                        char **error);
/* The plan, and that its service paths are taken, into the store; 0 or an errno with *error. */
FS_API int resource_keep_plan(struct resource *, int id, const xmlrpc_value *plan, char **error);
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

#ifndef FLOWSTREAM_OPENFLOW_H
#define FLOWSTREAM_OPENFLOW_H

/* Rules, ports and statistics of OpenFlow switches.
 *
 * Results.  Every function that returns int returns 0 or a positive errno and, where it takes 'error', stores there an
 * owned message (free() it) that names the switch and the reason, or NULL on success.  'error' may be NULL.
 *
 *     EINVAL        a rule's or match's text, a cookie or a target is wrong: nothing was sent
 *     EPERM         the change would touch rules outside Flowstream's cookie space: nothing was sent
 *     EEXIST        an add would overwrite a rule of another owner: nothing was sent
 *     ENODEV        a rule names a port that the switch does not have: nothing was sent
 *     EREMOTEIO     the switch refused the request; of a bundle nothing is applied
 *     ETIMEDOUT     no answer by the deadline
 *     EPROTO        what answers does not speak OpenFlow 1.4 or 1.5
 *     others        of connect(2), send(2) and recv(2)
 *
 * Time.  'deadline_ms' is how many milliseconds the call may take, waiting for other callers of the same switch included.
 *
 * Threads.  All functions may be called by any thread.  Calls on one switch take turns; different switches are independent.
 * No function installs a signal handler, raises SIGPIPE or writes to standard error.  Memory that runs out ends the process. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <flowstream/api.h>

/* Cookies.  The 16 highest bits of each rule of ours are FS_COOKIE_SPACE, then come 32 bits of allocation and 16 of index. */

#define FS_COOKIE_SPACE 0xf105
#define FS_COOKIE_SPACE_MASK UINT64_C(0xffff000000000000)
#define FS_COOKIE_ALLOCATION_MASK UINT64_C(0xffffffffffff0000) /* With fs_cookie(id, 0): all rules of one allocation. */
#define FS_COOKIE_EXACT_MASK UINT64_MAX

/* The cookie of rule 'index' of an allocation. */
static inline uint64_t
fs_cookie(uint32_t allocation, uint16_t index)
{
    return (uint64_t) FS_COOKIE_SPACE << 48 | (uint64_t) allocation << 16 | index;
}

/* Whether a rule with this cookie is one of ours. */
static inline bool
fs_cookie_is_ours(uint64_t cookie)
{
    return cookie >> 48 == FS_COOKIE_SPACE;
}

/* The allocation that a cookie of ours belongs to. */
static inline uint32_t
fs_cookie_allocation(uint64_t cookie)
{
    return (uint32_t) (cookie >> 16);
}

/* A switch. */

struct fs_switch;

/* A switch that is called 'name' in messages and is reached at 'target': "unix:/path/br.mgmt" or "tcp:127.0.0.1:6653"
 * (an address, not a host name; IPv6 in brackets; without a port 6653).  Does no input or output: the connection is opened by
 * the first call that needs it, kept, and opened again once when it turns out to be dead.  A wrong target is reported then. */
FS_API struct fs_switch *fs_switch_new(const char *name, const char *target);

/* Closes the connection and frees 'sw', which no other thread may be using.  NULL is accepted. */
FS_API void fs_switch_destroy(struct fs_switch *sw);

/* The name given to fs_switch_new(), valid as long as 'sw'. */
FS_API const char *fs_switch_name(const struct fs_switch *sw);

struct fs_switch_info {
    uint64_t datapath_id;
    unsigned n_tables;
    unsigned version;      /* Of OpenFlow, as on the wire: 5 is 1.4, 6 is 1.5. */
    char description[320]; /* "MANUFACTURER HARDWARE SOFTWARE", printable. */
};

/* Asks the switch who it is: the proof that it lives. */
FS_API int fs_switch_probe(struct fs_switch *sw, int deadline_ms, struct fs_switch_info *info, char **error);

struct fs_switch_watch {
    unsigned session; /* Counts the connections to the switch; 0: there is none now. */
    uint64_t ports;   /* A fingerprint of the names and numbers of its ports. */
    char *down;       /* Names of its ports that carry nothing, each with a space behind it; the caller frees it. */
};

/* Stores in '*watch' what can be told without waiting: whether the connection that earlier calls made still lives, and whether ports of the
 * switch were renamed, renumbered, added or removed, or are down.  Only where it has told of such a change, or the connection is new, is it asked for its ports (ETIMEDOUT
 * when it does not answer by the deadline; '*watch' then is as before).  Never opens a connection, never fails for one that is lost, and does not wait for its turn: while
 * another thread has it '*watch' is all 0, and NULL.  Rules do not get lost within a session unless somebody else removes them. */
FS_API int fs_switch_watch(struct fs_switch *sw, int deadline_ms, struct fs_switch_watch *watch, char **error);

/* Stores in '*fd' the descriptor of the connection, to poll() for its end; -1 where there is none.  It may be closed at any time.  False: another thread is at work there now. */
FS_API bool fs_switch_descriptor(struct fs_switch *sw, int *fd);

/* Changes of rules. */

enum fs_change_op {
    FS_CHANGE_ADD,           /* 'text' is a rule with actions, 'cookie' its cookie. */
    FS_CHANGE_DELETE_STRICT, /* 'text' is table, priority and match of one rule, which goes if it is ours. */
    FS_CHANGE_DELETE_COOKIE  /* All rules with 'cookie' in the bits of 'cookie_mask'; 'text' may narrow it or be NULL. */
};

struct fs_change {
    enum fs_change_op op;
    const char *text;     /* As ovs-ofctl(8) and ovs-actions(7) write rules; ports by name or number; no cookie. */
    uint64_t cookie;      /* An add must have one of fs_cookie(); with FS_CHANGE_DELETE_STRICT and mask 0 unused. */
    uint64_t cookie_mask; /* Unused by an add; a delete by cookie must have all of FS_COOKIE_SPACE_MASK in it. */
};

/* Applies the 'n' changes in their order as one atomic bundle: all or nothing, also for the packets that cross the switch
 * meanwhile.  Port names are looked up in the switch at the time of the call.
 *
 * Rules outside our cookie space are never touched: deletes do not match them, and an add with the table, priority and match
 * of such a rule is refused (EEXIST).  A rule that another owner adds during the call itself is not seen.
 *
 * On every error but one nothing is applied.  The one is a connection that dies or falls silent behind the commit: the
 * message then says that the outcome is unknown.  Applying the same changes again is then the right thing to do. */
FS_API int fs_switch_apply(struct fs_switch *sw, const struct fs_change *changes, size_t n, int deadline_ms, char **error);

/* Changes that are prepared, and neither visible nor in force before they are committed. */
struct fs_bundle;

/* Checks the changes as fs_switch_apply() does and leaves them in the switch as an open bundle, in '*bundle' for the caller to commit or discard.  On error '*bundle' is
 * NULL and nothing is left in the switch.  Other calls for the same switch go on meanwhile; a switch forgets bundles that are open for too long (Open vSwitch: 10 s).
 * Some switches, Open vSwitch among them, find out only at the commit that a table is full. */
FS_API int fs_switch_prepare(struct fs_switch *sw, const struct fs_change *changes, size_t n, int deadline_ms, struct fs_bundle **bundle, char **error);

/* Puts a bundle into force, and frees it in any case.  On error nothing is applied, but for the one that fs_switch_apply() names: the message then says so.  ECONNRESET:
 * the connection is another than that of the preparation, so the changes are gone. */
FS_API int fs_bundle_commit(struct fs_bundle *bundle, int deadline_ms, char **error);

/* Throws a bundle away and frees it.  NULL is accepted. */
FS_API void fs_bundle_discard(struct fs_bundle *bundle);

/* Statistics. */

struct fs_rule {
    uint8_t table;
    uint16_t priority;
    uint64_t cookie;
    char *match;    /* As ovs-ofctl writes it, ports by name; "" matches all. */
    char *actions;  /* "drop" when there are none. */
    uint64_t packets, bytes; /* Both lag behind the traffic by up to a second. */
    double duration;         /* Seconds since the rule was added. */
};

/* Stores in '*rules' the '*n' rules whose cookie is 'cookie' in the bits of 'mask' (mask 0: all rules, also of other owners).
 * The caller frees them with fs_rules_free().  On error '*rules' is NULL and '*n' 0. */
FS_API int fs_switch_rules(struct fs_switch *sw, uint64_t cookie, uint64_t mask, struct fs_rule **rules, size_t *n,
                           int deadline_ms, char **error);
FS_API void fs_rules_free(struct fs_rule *rules, size_t n);

/* Meters: what holds the packets of the rules that name one ("meter:ID" as the first action) to a rate.
 *
 * A meter has no cookie.  Ours have a second band whose rate no traffic reaches: its rate is FS_METER_SIGN, its burst the top bit and the allocation.  All others belong to
 * somebody else, and are neither changed nor removed, whatever their id.  A switch that takes no meters of two bands counts as one without meters. */

#define FS_METER_SIGN UINT32_C(0xf1050000)    /* kbit/s */
#define FS_METER_SIGN_BURST UINT32_C(0x80000000)
#define FS_METER_KBPS_MAX UINT32_C(4000000000) /* Below FS_METER_SIGN, so that what is above the rate is counted in the first band. */

struct fs_meter {
    uint32_t id;
    bool ours;
    uint32_t allocation;             /* If it is ours. */
    uint32_t kbps, burst;            /* kbit/s, and kbit that may pass at once. */
    uint32_t rules;                  /* That use it; this and what follows are 0 where counters were not asked for. */
    uint64_t packets, bytes;         /* That came to it. */
    uint64_t dropped_packets, dropped_bytes;
};

/* Stores in '*most' how many meters of ours the switch can have; 0: none. */
FS_API int fs_switch_meter_room(struct fs_switch *sw, uint32_t *most, int deadline_ms, char **error);

/* Stores in '*meters' the '*n' meters of the switch, also those of others, by id, with their counters if asked for; none where the switch does not know of meters.
 * The caller frees '*meters' with free(). */
FS_API int fs_switch_meters(struct fs_switch *sw, bool counters, struct fs_meter **meters, size_t *n, int deadline_ms, char **error);

enum fs_meter_op {
    FS_METER_ADD,    /* EEXIST where its id is taken, also by ours. */
    FS_METER_MODIFY, /* The rules that use it stay. */
    FS_METER_DELETE  /* Open vSwitch removes the rules that still use it.  One that is not there is no error. */
};

struct fs_meter_change {
    enum fs_meter_op op;
    struct fs_meter meter; /* id, allocation, kbps, burst; of a delete the id */
    bool adopt;            /* A modify only: also where it has not our sign; for one that is known to have been ours. */
};

/* Does the changes in their order.  EEXIST and EPERM: a meter of somebody else has the id, and nothing was done.  EREMOTEIO: the switch refused one, such as for want of
 * room; others may be done. */
FS_API int fs_switch_change_meters(struct fs_switch *sw, const struct fs_meter_change *changes, size_t n, int deadline_ms, char **error);

/* Removes all meters of an allocation. */
FS_API int fs_switch_remove_meters(struct fs_switch *sw, uint32_t allocation, int deadline_ms, char **error);

/* What a switch has against what it should have. */

/* Milliseconds since something was last changed in the switch by way of 'sw'. */
FS_API int64_t fs_switch_quiet(struct fs_switch *sw);

/* A sum over what is ours of one allocation: places, actions, cookies and timeouts of its rules, and its meters, not their counters.  It means something in comparison with another
 * one alone, of the same build of this library. */
struct fs_digest {
    uint32_t allocation;
    uint32_t n;          /* rules */
    uint32_t n_meters;
    uint64_t digest;
};

/* A switch that is followed: what it has of ours is known without asking for all of it, since it tells what changes (a flow monitor of OpenFlow 1.4).  Where a switch tells nothing, all is
 * read each time. */
struct fs_follow;

/* As fs_switch_new(), over a connection of its own. */
FS_API struct fs_follow *fs_follow_new(const char *name, const char *target);
/* Closes the connection and frees 'f', which no other thread may be using.  NULL is accepted. */
FS_API void fs_follow_destroy(struct fs_follow *f);

struct fs_changes {
    uint64_t since;            /* As it was asked. */
    uint64_t state;            /* To be asked with next time; never 0. */
    bool told;                 /* The switch tells what changes; else all was read, and is each time. */
    bool all;                  /* These are all that have anything there: it is not known any more what has changed since. */
    struct fs_digest *digests; /* Ascending; without rules and meters: it has nothing there any more.  To be freed with free(). */
    size_t n;
};

/* Stores in '*changes' whose rules or meters have changed since the state 'since' that an earlier call told, with all changes that were done when it was called; 0: all are told. */
FS_API int fs_follow_changes(struct fs_follow *f, uint64_t since, struct fs_changes *changes, int deadline_ms, char **error);

/* Stores in 'digests', of 'n', what each of these allocations has there now. */
FS_API int fs_follow_digests(struct fs_follow *f, const uint32_t *allocations, size_t n, struct fs_digest *digests, int deadline_ms, char **error);
/* And what that would be if each of 'n_allocations' had just those of the 'n' adds in 'wanted' and those of the meters that are its; the same holds for fs_follow_changes().  Asks the switch
 * for its ports alone.  Where the switch cannot have one of them the digest is one that none is. */
FS_API int fs_switch_expect(struct fs_switch *sw, const uint32_t *allocations, size_t n_allocations, const struct fs_change *wanted, size_t n, const struct fs_meter *meters,
                            size_t n_meters, struct fs_digest *digests, int deadline_ms, char **error);

/* As fs_switch_descriptor(), to poll() for something to read. */
FS_API bool fs_follow_descriptor(struct fs_follow *f, int *fd);
/* The state by what has been heard of the switch until now; 'hear': also what it has told meanwhile, without waiting.  0 where that is not known: nobody has asked for changes yet, the
 * connection is lost, it tells nothing, or another thread is at it. */
FS_API uint64_t fs_follow_state(struct fs_follow *f, bool hear);

enum fs_difference_kind {
    FS_RULE_MISSING, /* 'text' is the rule as it is wanted. */
    FS_RULE_CHANGED, /* Something of ours is in its place, with other actions, cookie or timeouts; 'text' is the rule as it is wanted. */
    FS_RULE_EXTRA    /* Ours by its cookie, and not wanted; 'text' is its table, priority and match. */
};

struct fs_difference {
    enum fs_difference_kind kind;
    uint64_t cookie; /* As it is wanted; of an extra one, as it is. */
    char *text;
    char *why;       /* NULL, or why the switch cannot have the rule: a port that it has not got. */
};

/* Stores in '*differences' how the rules that these allocations have in the switch differ from the 'n' adds in 'wanted': those that are missing or changed in their order, then
 * the extra ones.  Rules of other allocations and of others than us are not looked at.  Changes nothing.  The caller frees them with fs_differences_free(). */
FS_API int fs_switch_compare(struct fs_switch *sw, const uint32_t *allocations, size_t n_allocations, const struct fs_change *wanted, size_t n,
                             struct fs_difference **differences, size_t *n_differences, int deadline_ms, char **error);
FS_API void fs_differences_free(struct fs_difference *differences, size_t n);

struct fs_meter_difference {
    enum fs_difference_kind kind;
    struct fs_meter meter; /* As it is wanted; an extra one as it is. */
    bool adopt;            /* It was ours and has lost our sign: our own rule still uses it, which would have gone with it. */
    char *why;             /* NULL, or why the switch cannot have it: its id is somebody else's. */
};

/* The same for meters: how those of these allocations differ from the 'n' in 'wanted'.  The caller frees '*differences' with fs_meter_differences_free(). */
FS_API int fs_switch_compare_meters(struct fs_switch *sw, const uint32_t *allocations, size_t n_allocations, const struct fs_meter *wanted, size_t n,
                                    struct fs_meter_difference **differences, size_t *n_differences, int deadline_ms, char **error);
FS_API void fs_meter_differences_free(struct fs_meter_difference *differences, size_t n);

struct fs_port {
    char name[16];
    uint16_t number; /* 65534 is the switch's own port, "LOCAL". */
    bool up;         /* Enabled and with a carrier. */
    uint64_t rx_packets, tx_packets, rx_bytes, tx_bytes, rx_dropped, tx_dropped; /* UINT64_MAX: the switch does not know. */
};

/* Stores in '*ports' the '*n' ports of the switch, by number; the caller frees '*ports' with free(). */
FS_API int fs_switch_ports(struct fs_switch *sw, struct fs_port **ports, size_t *n, int deadline_ms, char **error);

/* Matches, without any switch. */

/* NULL if 'match' ("in_port=net0,ip,nw_dst=10.0.0.0/8") is a match that Open vSwitch takes; else an owned message, and in
 * '*offset' where in 'match' the offending word begins.  in_port may be any well-formed name or number.  Refused are words of a
 * rule that are not of its match (table, priority, cookie, actions, timeouts, flags), fields given twice, and fields without
 * their protocol (tp_dst alone) and words that exclude each other (tcp, udp), all of which Open vSwitch silently bends. */
FS_API char *fs_match_check(const char *match, size_t *offset);

/* The owned value of in_port in 'match', or NULL when it has none. */
FS_API char *fs_match_in_port(const char *match);

/* Stores in '*overlap' whether one packet can match both 'a' and 'b'.  Their in_port counts only if both have one; a name and
 * a number may be the same port.  EINVAL when one of them is no match. */
FS_API int fs_match_overlap(const char *a, const char *b, bool *overlap, char **error);

/* Many matches, to be asked which of them can match a packet that another one matches too: fs_match_overlap() with each of them, at the price of
 * a few.  A set belongs to one thread at a time. */
struct fs_match_set;
struct fs_match_member;

FS_API struct fs_match_set *fs_match_set_create(void);
/* Frees the set and its members.  NULL is accepted. */
FS_API void fs_match_set_destroy(struct fs_match_set *set);
/* Enters 'match' for 'owner', which is only handed back.  The member lives until it is removed or the set is destroyed.  NULL with '*error' where 'match' is
 * no match. */
FS_API struct fs_match_member *fs_match_set_add(struct fs_match_set *set, const char *match, void *owner, char **error);
/* Takes a member out and frees it.  NULL is accepted. */
FS_API void fs_match_set_remove(struct fs_match_member *member);
/* Calls 'each' with the owner of every member that overlaps with 'match', in no order.  'each' must leave the set as it is.  EINVAL with '*error' where
 * 'match' is no match. */
FS_API int fs_match_set_overlaps(const struct fs_match_set *set, const char *match, void (*each)(void *aux, void *owner), void *aux, char **error);

/* Log. */

/* What the OpenFlow library has to say (malformed messages mostly, rate-limited): 'priority' as of syslog(3), 'module' and
 * 'message' valid during the call only.  Called by any thread. */
typedef void fs_openflow_log_function(void *aux, int priority, const char *module, const char *message);

/* Sends the log to 'function' from now on; NULL, as in the beginning, discards it.  To be called before other threads use
 * this library. */
FS_API void fs_openflow_set_log(fs_openflow_log_function *function, void *aux);

#endif

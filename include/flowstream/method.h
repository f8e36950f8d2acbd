/* The contract between a daemon and the tasks and commands that it loads (section 3.1.1 of D3.2).
 *
 * One source file is one loadable object is one method, named as the file.  The file defines a descriptor with FS_COMMAND or FS_TASK
 * and one static function:
 *
 *     static void
 *     run(struct fs_call *call)
 *     {
 *         fs_call_return(call, fs_stringf("hello %s", fs_call_string(call, 0, "world")));
 *     }
 *
 *     FS_COMMAND = {
 *         FS_IS_COMMAND,
 *         .name = "hello",
 *         .help = "Say hello.",
 *         .params = { { "who", "string?", "whom to greet" } },
 *         .returns = "string",
 *         .run = run,
 *     };
 *
 * A command is a method of the daemon's XML-RPC interface: its caller waits for the answer.  A task is run by the task engine
 * (run_task, run_compound_task), with a priority, or by other tasks and commands of the same daemon through
 * fs_call_task().  Both are looked up at each call, so a file put in the daemon's folder serves the next call.
 *
 * A loadable keeps no state: static variables are lost when it is replaced, and its code is unloaded when the last call of it has ended.  State belongs to the daemon
 * (fs_call_state()); what a version wants to keep for itself and hand on to the next is made by warm().
 * run() may be called from several threads at once. */
#ifndef FLOWSTREAM_METHOD_H
#define FLOWSTREAM_METHOD_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <flowstream/abi.h>
#include <flowstream/api.h>
#include <flowstream/value.h>

#define FS_METHOD_MAGIC 0x46534d31u /* "FSM1" */
#define FS_METHOD_ABI 3u
#define FS_MAX_PARAMS 6

struct fs_call;
struct fs_daemon;
struct fs_peer;

enum fs_method_kind { FS_KIND_COMMAND = 1, FS_KIND_TASK = 2 };

struct fs_param {
    const char *name;
    const char *type; /* int, double, boolean, string, struct, array, base64 or any; with a '?' behind: may be left out */
    const char *help;
};

/* A member of a struct that is a parameter, or of each struct in an array: a row is what is checked, what system.methodHelp and list_commands tell, and what docs/api.md says. */
struct fs_member {
    const char *name;
    const char *type;     /* as of a parameter, with a '?' behind: may be left out */
    double least, most;   /* of a number; of a string 'most' is of its bytes; both 0: any */
    const char *help;
};

struct fs_method {
    uint32_t magic, abi;
    uint64_t abi_hash;      /* of the headers that it was compiled with */
    enum fs_method_kind kind;
    const char *name;
    const char *version;    /* NULL is "1" */
    const char *help;       /* what it does, in sentences */
    struct fs_param params[FS_MAX_PARAMS];
    const struct fs_member *members[FS_MAX_PARAMS]; /* of each parameter, ended by { 0 }: it has these and no others; NULL: whatever it has */
    const char *returns;    /* type of the value, "nil" for none */
    bool idempotent;        /* a second call with the same parameters changes nothing more: the option retries of run_task may be used */
    bool quick;             /* never blocks: may be run by the thread that reads the socket */
    bool plain;             /* answers with the bare value, not with a ReturnValue (system.*) */
    const char *undo;       /* tasks: the name of the task that undoes this one, given the same parameter; NULL: none */
    void (*run)(struct fs_call *);
    /* The life of a version, all of them optional.  Tried first in a child process: may this code serve?  false with the reason in 'why' (of 'size' bytes). */
    bool (*selftest)(char *why, size_t size);
    /* Before it serves: make what fs_call_version_state() gives, from what the version before it had made ('old' with its 'version'; NULL: there is none, or it had
     * nothing), which stays as it is.  NULL with the reason in 'why': the version is refused and the old one goes on. */
    void *(*warm)(struct fs_daemon *, const void *old, const char *version, char *why, size_t size);
    /* When nobody uses the version any more: free what warm() made. */
    void (*cool)(void *state);
};

#define FS_METHOD_SYMBOL_ \
    extern const struct fs_method fs_method_v1; \
    __attribute__((visibility("default"))) const struct fs_method fs_method_v1
#define FS_COMMAND FS_METHOD_SYMBOL_
#define FS_TASK FS_METHOD_SYMBOL_
#define FS_METHOD_OF(KIND) .magic = FS_METHOD_MAGIC, .abi = FS_METHOD_ABI, .abi_hash = FS_METHOD_ABI_HASH, .kind = (KIND)
#define FS_IS_COMMAND FS_METHOD_OF(FS_KIND_COMMAND)
#define FS_IS_TASK FS_METHOD_OF(FS_KIND_TASK)

/* Parameters, borrowed from the call.  They have been checked against the descriptor before run() is called. */
FS_API size_t fs_call_n_params(const struct fs_call *);
FS_API xmlrpc_value *fs_call_param(const struct fs_call *, size_t i); /* NULL: not given */
FS_API const char *fs_call_string(const struct fs_call *, size_t i, const char *otherwise);
FS_API int fs_call_int(const struct fs_call *, size_t i, int otherwise);

/* The answer; without one of these it is success with nil.  The last one called counts. */
FS_API void fs_call_return(struct fs_call *, xmlrpc_value *value /* taken */);
FS_API void fs_call_fail(struct fs_call *, const char *format, ...) __attribute__((format(printf, 2, 3)));
FS_API void fs_call_fault(struct fs_call *, int fault, const char *format, ...) __attribute__((format(printf, 3, 4)));
FS_API void fs_call_not_ready(struct fs_call *, xmlrpc_value *value /* taken */, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
FS_API void fs_call_reply(struct fs_call *, struct fs_reply *reply /* moved from: it is empty afterwards */);

/* Where the call is. */
FS_API struct fs_daemon *fs_call_daemon(const struct fs_call *);
FS_API void *fs_call_state(const struct fs_call *);
/* What warm() of this very version has made, or NULL. */
FS_API void *fs_call_version_state(const struct fs_call *);
FS_API const char *fs_call_request_id(const struct fs_call *);
/* Who called, USER@ADDRESS (USER@local over the Unix socket), or NULL: the daemon itself. */
FS_API const char *fs_call_caller(const struct fs_call *);
/* Milliseconds until whoever called has given up; at least 1.  Work that takes longer should have been a task. */
FS_API int fs_call_time_left(const struct fs_call *);
/* True once cancel_task was called for the task that this call runs in, or the daemon ends. */
FS_API bool fs_call_cancelled(const struct fs_call *);

/* For tasks: how far it has come, from 0 to 1, and what it is at (at most 119 bytes are kept); get_task shows both. Nothing happens in a command. */
FS_API void fs_call_progress(struct fs_call *, double fraction, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Run a task of this daemon in this thread, at once.  'param' is taken, 'reply' must be cleared by the caller.
 * Returns reply->code. */
FS_API int fs_call_task(struct fs_call *, const char *name, xmlrpc_value *param, struct fs_reply *reply);
/* Hand a task to the engine.  Returns its handle (positive), or 0 with a message in *reply (too many tasks). */
FS_API int fs_call_submit(struct fs_call *, const char *name, xmlrpc_value *param, bool high, struct fs_reply *reply);
/* Wait for a task.  Returns true with its answer in *reply, or false when it is still going after 'ms' milliseconds. */
FS_API bool fs_call_wait(struct fs_call *, int handle, int ms, struct fs_reply *reply);
/* Call a method of another daemon within the time left.  'params' is an array, taken.  Returns reply->code; what goes wrong on the way
 * is a reply with code 1 and a message that names the daemon. */
FS_API int fs_call_peer(struct fs_call *, struct fs_peer *, const char *method, xmlrpc_value *params, struct fs_reply *reply);

#endif

/* One call of a task or command: what it was given, what it answers, and how it reaches the rest of its daemon.
 * Parameters are checked against the descriptor first: params.h. */
#include "config.h"

#include <flowstream/method.h>

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/client.h"
#include "core/crash.h"
#include "core/daemon.h"
#include "core/engine.h"
#include "core/fence.h"
#include "core/params.h"
#include "core/table.h"
#include "core/util.h"
#include <flowstream/log.h>

FS_LOG_MODULE("call");

struct fs_call {
    struct fs_daemon *daemon;
    const struct fs_method *method;
    struct fs_loaded *version;
    bool aside; /* it has given its table back, and holds its own version alone */
    xmlrpc_value *params; /* array, borrowed */
    const struct fs_daemon_call *context;
    struct fs_reply reply;
};

enum { COMMAND_DEADLINE_MS = 60000 };

/* --- Running --- */

static void
run(struct fs_daemon *d, struct fs_loaded *loaded, xmlrpc_value *params, const struct fs_daemon_call *context, struct fs_reply *reply)
{
    const struct fs_method *m = loaded->method;
    struct fs_call call = { .daemon = d, .method = m, .version = loaded, .params = params, .context = context };
    int64_t begin = fs_now_ms();
    char *why = fs_params_check(m, params);
    if (why && m->plain) {
        fs_reply_fault(&call.reply, XMLRPC_TYPE_ERROR, "%s", why);
    } else if (why) {
        fs_reply_fail(&call.reply, "%s", why);
    } else {
        const char *before = fs_crash_enter(loaded->who);
        m->run(&call);
        fs_crash_enter(before);
    }
    free(why);
    double seconds = (double) (fs_now_ms() - begin) / 1e3;
    fs_loaded_account(loaded, call.reply.code == FS_FAILURE, seconds);
    if (call.reply.code == FS_FAILURE) {
        fs_log_info("%s failed after %.3f s: %s", m->name, seconds, call.reply.message ? call.reply.message : "");
    } else {
        fs_log_debug("%s took %.3f s", m->name, seconds);
    }
    *reply = call.reply;
    if (call.aside) {
        loaded_unref(fs_daemon_loader(d), loaded);
    }
}

void
fs_daemon_run_command(struct fs_daemon *d, const char *name, xmlrpc_value *params, const struct fs_daemon_call *context,
                      struct fs_reply *reply, bool *plain)
{
    char *error = NULL;
    struct fs_daemon_call own = { .deadline = fs_now_ms() + COMMAND_DEADLINE_MS };
    own.request_id = context ? context->request_id : "";
    own.caller = context ? context->caller : NULL;
    struct fs_loader *l = fs_daemon_loader(d);
    own.table = fs_loader_take(l, FS_KIND_COMMAND, name);
    struct fs_loaded *loaded = fs_table_get(l, own.table, FS_KIND_COMMAND, name, &error);
    if (loaded) {
        *plain = loaded->method->plain;
        run(d, loaded, params, &own, reply);
    } else if (error) {
        fs_reply_fail(reply, "%s", error);
    } else {
        fs_reply_fault(reply, XMLRPC_NO_SUCH_METHOD_ERROR, "the %s daemon has no method '%.64s' (system.listMethods lists them)",
                       fs_daemon_name(d), name);
    }
    fs_loader_give(l, own.table);
    free(error);
}

void
fs_daemon_run_task(struct fs_daemon *d, const char *name, xmlrpc_value *param, const struct fs_daemon_call *context,
                   struct fs_reply *reply)
{
    if (!fs_fence_admits(fs_daemon_fence(d), d, param, context, reply)) {
        return;
    }
    char *error = NULL;
    struct fs_loader *l = fs_daemon_loader(d);
    struct fs_daemon_call own = *context; /* a task that is no part of a call takes a table of its own */
    own.table = context->table ? context->table : fs_loader_take(l, FS_KIND_TASK, name);
    struct fs_loaded *loaded = fs_table_get(l, own.table, FS_KIND_TASK, name, &error);
    if (loaded) {
        xmlrpc_value *params = fs_array();
        xmlrpc_INCREF(param);
        fs_append(params, param);
        run(d, loaded, params, &own, reply);
        fs_free(params);
    } else if (error) {
        fs_reply_fail(reply, "%s", error);
    } else {
        fs_reply_fail(reply, "the %s daemon has no task '%.64s' (list_tasks lists them)", fs_daemon_name(d), name);
    }
    if (!context->table) {
        fs_loader_give(l, own.table);
    }
    free(error);
}

char *
fs_daemon_undo_of(struct fs_daemon *d, const struct fs_daemon_call *context, const char *name)
{
    char *error = NULL;
    struct fs_loader *l = fs_daemon_loader(d);
    struct fs_table *table = context->table ? context->table : fs_loader_take(l, FS_KIND_TASK, name);
    struct fs_loaded *loaded = fs_table_get(l, table, FS_KIND_TASK, name, &error);
    char *undo = loaded && loaded->method->undo ? fs_xstrdup(loaded->method->undo) : NULL;
    if (!context->table) {
        fs_loader_give(l, table);
    }
    free(error);
    return undo;
}

/* --- What a method sees --- */

size_t
fs_call_n_params(const struct fs_call *c)
{
    return fs_size(c->params);
}

xmlrpc_value *
fs_call_param(const struct fs_call *c, size_t i)
{
    return fs_item(c->params, i);
}

const char *
fs_call_string(const struct fs_call *c, size_t i, const char *otherwise)
{
    return fs_text(fs_item(c->params, i), otherwise);
}

int
fs_call_int(const struct fs_call *c, size_t i, int otherwise)
{
    double d = fs_number(fs_item(c->params, i), otherwise);
    return d >= -2147483648.0 && d <= 2147483647.0 ? (int) d : otherwise;
}

void
fs_call_return(struct fs_call *c, xmlrpc_value *value)
{
    fs_reply_clear(&c->reply);
    c->reply.value = value;
}

static void
set_message(struct fs_call *c, int code, int fault, xmlrpc_value *value, const char *format, va_list args)
{
    char *message = fs_xvasprintf(format, args); /* before the clearing: it may quote what is cleared */
    fs_reply_clear(&c->reply);
    c->reply = (struct fs_reply) { .code = code, .fault = fault, .message = message, .value = value };
}

void
fs_call_fail(struct fs_call *c, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    set_message(c, FS_FAILURE, c->method->plain ? XMLRPC_INTERNAL_ERROR : 0, NULL, format, args);
    va_end(args);
}

void
fs_call_fault(struct fs_call *c, int fault, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    set_message(c, FS_FAILURE, fault, NULL, format, args);
    va_end(args);
}

void
fs_call_not_ready(struct fs_call *c, xmlrpc_value *value, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    set_message(c, FS_NOT_READY, 0, value, format, args);
    va_end(args);
}

void
fs_call_reply(struct fs_call *c, struct fs_reply *reply)
{
    fs_reply_clear(&c->reply);
    c->reply = *reply;
    *reply = (struct fs_reply) { 0 };
}

struct fs_daemon *
fs_call_daemon(const struct fs_call *c)
{
    return c->daemon;
}

void *
fs_call_state(const struct fs_call *c)
{
    return fs_daemon_state(c->daemon);
}

void *
fs_call_version_state(const struct fs_call *c)
{
    return c->version->state;
}

struct fs_table *
fs_call_table(const struct fs_call *c)
{
    return c->context->table;
}

void
fs_call_step_aside(struct fs_call *c)
{
    struct fs_daemon_call *context = (struct fs_daemon_call *) (uintptr_t) c->context; /* that of run_command(), which made it */
    assert(c->method->kind == FS_KIND_COMMAND && !c->aside);
    loaded_ref(fs_daemon_loader(c->daemon), c->version);
    c->aside = true;
    fs_loader_give(fs_daemon_loader(c->daemon), context->table);
    context->table = NULL;
}

const char *
fs_call_request_id(const struct fs_call *c)
{
    return c->context->request_id;
}

const char *
fs_call_caller(const struct fs_call *c)
{
    return c->context->caller;
}

int
fs_call_time_left(const struct fs_call *c)
{
    if (c->context->deadline == INT64_MAX) {
        return COMMAND_DEADLINE_MS;
    }
    int64_t left = c->context->deadline - fs_now_ms();
    return left < 1 ? 1 : (int) left;
}

bool
fs_call_cancelled(const struct fs_call *c)
{
    return c->context->cancel && __atomic_load_n(c->context->cancel, __ATOMIC_RELAXED);
}

void
fs_call_progress(struct fs_call *c, double fraction, const char *format, ...)
{
    char text[120];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fs_engine_progress(fs_daemon_engine(c->daemon), c->context->task, fraction > 0 ? fraction : 0, text);
}

int
fs_call_task(struct fs_call *c, const char *name, xmlrpc_value *param, struct fs_reply *reply)
{
    *reply = (struct fs_reply) { 0 };
    fs_daemon_run_task(c->daemon, name, param, c->context, reply);
    fs_free(param);
    return reply->code;
}

int
fs_call_submit(struct fs_call *c, const char *name, xmlrpc_value *param, bool high, struct fs_reply *reply)
{
    *reply = (struct fs_reply) { 0 };
    struct fs_step *step = fs_xcalloc(1, sizeof *step);
    step->name = fs_xstrdup(name);
    step->param = param;
    struct fs_submission s = { .steps = step, .n = 1, .high = high, .request_id = c->context->request_id, .caller = c->context->caller };
    return fs_engine_submit(fs_daemon_engine(c->daemon), &s, reply);
}

bool
fs_call_wait(struct fs_call *c, int handle, int ms, struct fs_reply *reply)
{
    *reply = (struct fs_reply) { 0 };
    return fs_engine_wait(fs_daemon_engine(c->daemon), handle, ms, reply);
}

int
fs_call_peer(struct fs_call *c, struct fs_peer *peer, const char *method, xmlrpc_value *params, struct fs_reply *reply)
{
    if (!peer) {
        *reply = (struct fs_reply) { 0 };
        fs_reply_fail(reply, "the configuration of the %s daemon names no such peer: add <peer name=... url=.../>",
                      fs_daemon_name(c->daemon));
        fs_free(params);
        return reply->code;
    }
    return fs_peer_call(peer, method, params, fs_call_time_left(c), c->context->request_id, reply);
}

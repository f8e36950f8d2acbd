/* system.multicall: several calls in one.  A call in it cannot be a multicall. */
#include <string.h>

#include <flowstream/method.h>

#include "core/daemon.h"

enum { MAX_CALLS = 256 };

static xmlrpc_value *
fault(int code, const char *text)
{
    return fs_set(fs_set(fs_struct(), "faultCode", fs_int(code)), "faultString", fs_string(text));
}

static xmlrpc_value *
one(struct fs_call *call, const xmlrpc_value *item)
{
    const char *name = fs_get_string(item, "methodName", NULL);
    xmlrpc_value *params = fs_get(item, "params");
    if (!name || !fs_is(params, XMLRPC_TYPE_ARRAY)) {
        return fault(XMLRPC_TYPE_ERROR, "each call must be a struct with methodName (string) and params (array)");
    }
    if (!strcmp(name, "system.multicall")) {
        return fault(XMLRPC_REQUEST_REFUSED_ERROR, "system.multicall inside system.multicall is refused");
    }
    struct fs_reply reply = { 0 };
    bool plain = false;
    struct fs_daemon_call context = { .request_id = fs_call_request_id(call), .caller = fs_call_caller(call) };
    fs_daemon_run_command(fs_call_daemon(call), name, params, &context, &reply, &plain);
    xmlrpc_value *answer;
    if (reply.fault) {
        answer = fault(reply.fault, reply.message);
    } else if (plain) {
        answer = fs_append(fs_array(), reply.value ? reply.value : fs_nil());
        reply.value = NULL;
    } else {
        answer = fs_append(fs_array(), fs_reply_value(&reply));
    }
    fs_reply_clear(&reply);
    return answer;
}

static void
run(struct fs_call *call)
{
    const xmlrpc_value *calls = fs_call_param(call, 0);
    size_t n = fs_size(calls);
    if (n > MAX_CALLS) {
        fs_call_fault(call, XMLRPC_LIMIT_EXCEEDED_ERROR, "%zu calls in one; at most %d are taken", n, MAX_CALLS);
        return;
    }
    xmlrpc_value *answers = fs_array();
    for (size_t i = 0; i < n; i++) {
        fs_append(answers, one(call, fs_item(calls, i)));
    }
    fs_call_return(call, answers);
}

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "system.multicall",
    .help = "Makes up to 256 calls in one. Each is a struct with methodName and params; each answer is an array of one value, or a struct with "
            "faultCode and faultString.",
    .params = { { "calls", "array", "the calls" } },
    .returns = "array",
    .plain = true,
    .run = run,
};

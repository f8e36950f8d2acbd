/* system.methodSignature: the types of one command: an array of signatures, each the type of the answer and those of the parameters; one more
 * signature for each parameter that may be left out. */
#include <stdlib.h>
#include <string.h>

#include <flowstream/method.h>

#include "core/daemon.h"
#include "core/loader.h"

static xmlrpc_value *
signature(const struct fs_method *m, size_t n)
{
    xmlrpc_value *types = fs_array();
    fs_append(types, fs_string(m->plain ? m->returns : "struct"));
    for (size_t i = 0; i < n; i++) {
        fs_append(types, fs_stringf("%.*s", (int) strcspn(m->params[i].type, "?"), m->params[i].type));
    }
    return types;
}

static void
run(struct fs_call *call)
{
    const char *name = fs_call_string(call, 0, "");
    char *error;
    struct fs_loaded *m = fs_table_get(fs_daemon_loader(fs_call_daemon(call)), fs_call_table(call), FS_KIND_COMMAND, name, &error);
    if (m) {
        xmlrpc_value *all = fs_array();
        size_t n = 0;
        for (; n < FS_MAX_PARAMS && m->method->params[n].name; n++) {
            if (strchr(m->method->params[n].type, '?')) {
                fs_append(all, signature(m->method, n));
            }
        }
        fs_call_return(call, fs_append(all, signature(m->method, n)));
    } else {
        fs_call_fault(call, XMLRPC_NO_SUCH_METHOD_ERROR, "there is no method '%.64s'%s%s", name, error ? ": " : "", error ? error : "");
    }
    free(error);
}

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "system.methodSignature",
    .help = "Lists the signatures of a method: type of the answer, then types of the parameters.",
    .params = { { "method", "string", "its name" } },
    .returns = "array",
    .idempotent = true,
    .plain = true,
    .run = run,
};

/* upgrade: put new tasks and commands into the daemon's own folder, all at one instant or none. */
#include <stdlib.h>
#include <string.h>

#include <flowstream/method.h>

#include "core/daemon.h"
#include "core/loader.h"
#include "core/util.h"

enum { MAX_SIGNATURE = 4096 };

/* base64 of the call as bytes with a 0 behind (owned). */
static char *
read_bytes(const xmlrpc_value *v, size_t *size)
{
    const unsigned char *bytes = NULL;
    xmlrpc_env env;
    xmlrpc_env_init(&env);
    xmlrpc_read_base64(&env, v, size, &bytes);
    xmlrpc_env_clean(&env);
    char *copy = fs_xmalloc(*size + 1);
    if (bytes) {
        memcpy(copy, bytes, *size);
    }
    copy[*size] = '\0';
    free((void *) (uintptr_t) bytes);
    return copy;
}

/* NULL, or what is wrong with the item. */
static char *
read_patch(const xmlrpc_value *item, struct fs_patch *p)
{
    const char *kind = fs_get_string(item, "kind", "");
    const xmlrpc_value *content = fs_get(item, "content"), *signature = fs_get(item, "signature");
    p->name = fs_get_string(item, "name", "");
    if (strcmp(kind, "task") && strcmp(kind, "command")) {
        return fs_xasprintf("'kind' must be \"task\" or \"command\"");
    }
    size_t size = 0;
    p->kind = *kind == 't' ? FS_KIND_TASK : FS_KIND_COMMAND;
    p->bytes = read_bytes(content, &p->size);
    p->signature = signature ? read_bytes(signature, &size) : NULL;
    return size > MAX_SIGNATURE ? fs_xasprintf("'signature' of %.64s has %zu bytes, more than %d", p->name, size, MAX_SIGNATURE) : NULL;
}

static void
run(struct fs_call *call)
{
    const xmlrpc_value *list = fs_call_param(call, 0);
    size_t n = fs_size(list);
    struct fs_patch *patches = fs_xcalloc(n + 1, sizeof *patches);
    char *why = NULL;
    for (size_t i = 0; i < n && !why; i++) {
        why = read_patch(fs_item(list, i), &patches[i]);
    }
    fs_call_step_aside(call);
    why = why ? why : fs_loader_patch(fs_daemon_loader(fs_call_daemon(call)), patches, n);
    if (why) {
        fs_call_fail(call, "%s", why);
    }
    for (size_t i = 0; i < n; i++) {
        free((void *) (uintptr_t) patches[i].bytes);
        free((void *) (uintptr_t) patches[i].signature);
    }
    free(patches);
    free(why);
}

static const struct fs_member methods_have[] = {
    { "kind", "string", 0, 0, "\"task\" or \"command\"" },
    { "name", "string", 0, 0, "of the method" },
    { "content", "base64", 0, 0, "the shared object" },
    { "signature", "base64?", 0, 0, "what NAME.so.sig has; needed where keys are configured" },
    { 0 },
};

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "upgrade",
    .help = "Puts new or changed tasks and commands into the daemon's own folder, all of them at one instant or none. All are checked, tried in a child process, loaded and warmed before the "
            "first is active. When this answers, calls that come from now on use them, and so does the daemon after a restart; calls under way end with what they began with. The same "
            "bytes as are active are no change.",
    .params = { { "methods", "array", "structs" } },
    .members = { methods_have },
    .returns = "nil",
    .idempotent = true,
    .run = run,
};

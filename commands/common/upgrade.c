/* upgrade: put new tasks and commands into the daemon's own folder, where the next call finds them.
 *
 * All contents are checked before the first file is written; each file then appears whole (written beside, renamed).  When one cannot be loaded, the files
 * that were there before come back, so that what serves is what the next start of the daemon finds. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <flowstream/log.h>
#include <flowstream/method.h>

#include "core/daemon.h"
#include "core/elf.h"
#include "core/loader.h"
#include "core/util.h"

FS_LOG_MODULE("upgrade");

struct patch {
    enum fs_method_kind kind;
    const char *name;
    const unsigned char *content; /* owned */
    size_t size;
    char *path, *before; /* owned; the file, once written, and what was in it (NULL: it was not there) */
    size_t size_before;
};

enum { MAX_LOADABLE = 64 << 20 };

/* NULL, or what is wrong with the item. */
static char *
read_patch(const xmlrpc_value *item, struct patch *p)
{
    const char *kind = fs_get_string(item, "kind", "");
    const xmlrpc_value *content = fs_get(item, "content");
    p->name = fs_get_string(item, "name", "");
    if (strcmp(kind, "task") && strcmp(kind, "command")) {
        return fs_xasprintf("'kind' must be \"task\" or \"command\"");
    }
    if (!fs_method_name_ok(p->name)) {
        return fs_xasprintf("'name' must be the name of a method (letters, digits, '_' and '.'), not '%.64s'", p->name);
    }
    if (!fs_is(content, XMLRPC_TYPE_BASE64)) {
        return fs_xasprintf("'content' of %s must be base64, not %s", p->name, fs_type_name(content));
    }
    p->kind = *kind == 't' ? FS_KIND_TASK : FS_KIND_COMMAND;
    xmlrpc_env env;
    xmlrpc_env_init(&env);
    xmlrpc_read_base64(&env, content, &p->size, &p->content);
    xmlrpc_env_clean(&env);
    char *why = fs_elf_check(p->content, p->size);
    char *said = why ? fs_xasprintf("%s: %s", p->name, why) : NULL;
    free(why);
    return said;
}

static char *
apply(struct fs_call *call, struct patch *p)
{
    struct fs_loader *l = fs_daemon_loader(fs_call_daemon(call));
    char *path = fs_xasprintf("%s/%s.so", fs_loader_folder(l, p->kind), p->name);
    fs_read_file(AT_FDCWD, path, MAX_LOADABLE, true, &p->before, &p->size_before);
    fs_make_dirs(fs_loader_folder(l, p->kind)); /* what goes wrong here, the writing says */
    int e = fs_write_file(AT_FDCWD, path, p->content, p->size, 0644);
    char *why = e ? fs_xasprintf("%s: %s", path, strerror(e)) : NULL;
    if (why) {
        free(path);
    } else {
        p->path = path;
        char *error = NULL;
        struct fs_loaded *now = fs_loader_get(l, p->kind, p->name, &error);
        char *problem = error || !now ? error : fs_loader_problem(l, p->kind, p->name);
        why = problem ? fs_xasprintf("%s %s is refused: %s", p->kind == FS_KIND_TASK ? "task" : "command", p->name, problem) : NULL;
        free(problem);
        fs_log_info("%s is now %.12s", p->name, now ? now->hash : "not loadable");
    }
    return why;
}

/* The file as it was before. */
static void
take_back(const struct patch *p)
{
    int e = !p->path ? 0 : p->before ? fs_write_file(AT_FDCWD, p->path, p->before, p->size_before, 0644) : unlink(p->path) ? errno : 0;
    if (e) {
        fs_log_warning("%s could not be put back: %s", p->path, strerror(e));
    }
}

static void
run(struct fs_call *call)
{
    const xmlrpc_value *list = fs_call_param(call, 0);
    size_t n = fs_size(list);
    struct patch *patches = fs_xcalloc(n, sizeof *patches);
    char *why = NULL;
    for (size_t i = 0; i < n && !why; i++) {
        why = read_patch(fs_item(list, i), &patches[i]);
    }
    for (size_t i = 0; i < n && !why; i++) {
        why = apply(call, &patches[i]);
    }
    if (why) {
        fs_call_fail(call, "%s", why);
    }
    for (size_t i = n; i--;) {
        if (why) {
            take_back(&patches[i]);
        }
        free(patches[i].path);
        free(patches[i].before);
    }
    free(why);
    for (size_t i = 0; i < n; i++) {
        free((void *) (uintptr_t) patches[i].content);
    }
    free(patches);
}

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "upgrade",
    .help = "Puts new or changed tasks and commands into the daemon's own folder; the next call runs them. Contents are checked first; when one is refused "
            "none is written.",
    .params = { { "methods", "array", "structs: kind (\"task\" or \"command\"), name, content (base64 of the shared object)" } },
    .returns = "nil",
    .idempotent = true,
    .run = run,
};

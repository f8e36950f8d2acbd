/* write_backup: take in a backup piece by piece, for restore_store. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <flowstream/method.h>

#include "core/daemon.h"
#include "core/store.h"
#include "core/util.h"

/* NULL, or what is wrong. */
static char *
append(const char *path, double at, const unsigned char *bytes, size_t n)
{
    struct stat st;
    if (at == 0) {
        fs_store_remove(path); /* with the log of one whose reading was cut short: it would be taken for this one's */
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    char *why = NULL;
    if (fd < 0 || fstat(fd, &st)) {
        why = fs_xasprintf("%s: %s", path, strerror(errno));
    } else if (at < 0 || (double) st.st_size < at || (double) st.st_size > at + (double) n) {
        why = fs_xasprintf("%s has %lld bytes: the next piece must follow there, not at %.0f", path, (long long) st.st_size, at);
    } else if (pwrite(fd, bytes, n, (off_t) at) != (ssize_t) n) {
        why = fs_xasprintf("%s: cannot be written (is the disk full?)", path);
    }
    if (fd >= 0) {
        close(fd);
    }
    return why;
}

static void
run(struct fs_call *call)
{
    const xmlrpc_value *content = fs_call_param(call, 1);
    char *path = fs_xasprintf("%s/restore.db", fs_daemon_dir(fs_call_daemon(call)));
    const unsigned char *bytes = NULL;
    size_t n = 0;
    xmlrpc_env env;
    xmlrpc_env_init(&env);
    xmlrpc_read_base64(&env, content, &n, &bytes);
    char *why = append(path, fs_number(fs_call_param(call, 0), -1), bytes, n);
    xmlrpc_env_clean(&env);
    if (why) {
        fs_call_fail(call, "%s", why);
    }
    free((void *) (uintptr_t) bytes);
    free(why);
    free(path);
}

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "write_backup",
    .help = "Takes in a piece of a backup for restore_store. Offset 0 begins a new one; each piece follows the one before.",
    .params = { { "offset", "double", "bytes" }, { "content", "base64", "at most what a call may have (limits body of the configuration)" } },
    .returns = "nil",
    .idempotent = true,
    .run = run,
};

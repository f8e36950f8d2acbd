/* read_backup: a piece of the copy that backup_store has made. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <flowstream/method.h>

#include "core/daemon.h"
#include "core/util.h"

enum { PIECE = 1 << 20 };

static void
run(struct fs_call *call)
{
    char *path = fs_xasprintf("%s/backup.db", fs_daemon_dir(fs_call_daemon(call)));
    double at = fs_number(fs_call_param(call, 0), -1);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    unsigned char *piece = fs_xmalloc(PIECE);
    ssize_t n = fd < 0 || at < 0 ? -1 : pread(fd, piece, PIECE, (off_t) at);
    if (at < 0) {
        fs_call_fail(call, "read_backup: the offset must be 0 or more");
    } else if (n < 0) {
        fs_call_fail(call, "%s: %s", path, errno == ENOENT ? "there is no backup; backup_store makes one" : strerror(errno));
    } else {
        xmlrpc_env env;
        xmlrpc_env_init(&env);
        fs_call_return(call, xmlrpc_base64_new(&env, (size_t) n, piece));
        xmlrpc_env_clean(&env);
    }
    if (n == 0) {
        unlink(path); /* all has been read */
    }
    if (fd >= 0) {
        close(fd);
    }
    free(piece);
    free(path);
}

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "read_backup",
    .help = "A piece, at most 1 MiB, of the copy that backup_store has made, from an offset on; an empty one at its end, and then the copy is removed.",
    .params = { { "offset", "double", "bytes" } },
    .returns = "base64",
    .run = run,
};

/* Fuzz target of the HTTP entry: any bytes over a Unix socket to a server with the limits, credentials and decoder of a daemon.
 *
 * The first byte says in how many pieces the rest is sent.  The server must answer or close, must not call the handler for a caller without credentials,
 * and must hold no call and no body afterwards. */
#include "config.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/server.h"
#include "core/util.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static struct fs_server *server;
static char path[100];
static bool authorised; /* the input has the credentials in it */

static void
check(bool good, const char *what)
{
    if (!good) {
        fprintf(stderr, "%s\n", what);
        abort();
    }
}

static void
on_call(void *aux, const char *method, xmlrpc_value *params, const char *id, const char *caller, struct fs_reply *reply, bool *plain)
{
    (void) aux, (void) id;
    check(__atomic_load_n(&authorised, __ATOMIC_SEQ_CST), "a call without credentials reached the handler");
    check(caller && !strncmp(caller, "a@", 2), "the caller has another name");
    *plain = *method == 's';
    reply->value = fs_copy(params);
}

static bool
is_quick(void *aux, const char *method)
{
    (void) aux;
    return *method != 'w'; /* some go through a worker */
}

static char *
on_get(void *aux, const char *name, const char **type, unsigned *status)
{
    (void) aux, (void) type, (void) status;
    return strcmp(name, "/healthz") ? NULL : fs_xstrdup("ok\n");
}

static void
start(void)
{
    static int one;
    struct fs_server_options options = { .credentials = "a:b", .max_body = 65536, .max_connections = 64, .idle_seconds = 2, .header_seconds = 2,
                                         .body_seconds = 2, .answer_seconds = 2, .threads = 4 };
    struct fs_server_handler handler = { .aux = &one, .call = on_call, .quick = is_quick, .get = on_get };
    char *error = NULL, *bound = NULL;
    signal(SIGPIPE, SIG_IGN);
    snprintf(path, sizeof path, "unix:/tmp/flowstream-fuzz-%d", (int) getpid());
    server = fs_server_new(&options, &handler, &error);
    check(server && !fs_server_listen(server, path, &bound, &error), error ? error : "no server");
    free(bound);
}

static void
stop(void)
{
    check(fs_server_drain(server, 5000), "a call has not ended");
    fs_server_destroy(server);
}

static int
open_connection(void)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path + 5);
    check(fd >= 0 && !connect(fd, (struct sockaddr *) &address, sizeof address), "it does not listen any more");
    return fd;
}

/* A call of an input before may still be on its way to the handler, on a busy machine: it must not be taken for one of an input without credentials. */
static void
let_calls_end(void)
{
    unsigned connections = 1, calls = 1;
    for (int64_t until = fs_now_ms() + 5000; (connections || calls) && fs_now_ms() < until;) {
        fs_server_load(server, &connections, &calls);
        poll(NULL, 0, connections || calls ? 1 : 0);
    }
    check(!connections && !calls, "a connection that its caller has closed is still there");
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (!server) {
        start();
        atexit(stop);
    }
    if (size < 2) {
        return 0;
    }
    size_t pieces = 1 + *bytes % 8, piece = size / pieces + 1;
    bool now = memmem(bytes, size, "YTpi", 4);
    if (__atomic_load_n(&authorised, __ATOMIC_SEQ_CST) && !now) {
        let_calls_end();
    }
    __atomic_store_n(&authorised, now, __ATOMIC_SEQ_CST);
    int fd = open_connection();
    for (size_t i = 1; i < size; i += piece) {
        if (send(fd, bytes + i, i + piece < size ? piece : size - i, MSG_NOSIGNAL) < 0) {
            break;
        }
    }
    shutdown(fd, SHUT_WR);
    char answer[4096];
    struct pollfd p = { .fd = fd, .events = POLLIN };
    /* A request that is not complete is closed by its deadline, which is not waited for here. */
    while (poll(&p, 1, 2) > 0 && read(fd, answer, sizeof answer) > 0) {
    }
    close(fd);
    return 0;
}

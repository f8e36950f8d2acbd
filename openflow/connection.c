/* The connection to a switch.
 *
 * Open vSwitch's own connections (rconn, vconn) wait in its poll loop, which knows no deadline of ours and installs handlers
 * for the signals of the process.  Here the socket is ours: it never blocks, poll() gets what is left of the deadline, and
 * only the meaning of the bytes comes from libopenvswitch.  What is a request and what a reply is up to the callers
 * (switch.c, apply.c); hellos and echo requests are dealt with here. */

#include "openflow/connection.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <openvswitch/ofp-connection.h>
#include <openvswitch/ofp-errors.h>
#include <openvswitch/ofp-msgs.h>
#include <openvswitch/ofp-util.h>

#include <flowstream/failpoint.h>

#include "openflow/failure.h"

#define VERSIONS ((1u << OFP14_VERSION) | (1u << OFP15_VERSION))
#define DEFAULT_PORT 6653
#define READ_SIZE (64 * 1024)
#define RETRY_MS 10
#define ERROR_TYPE 1 /* Hello, 0, or this is what every version of OpenFlow begins with. */

static void init_buffers(struct connection *);
static int open_socket(const char *target, int64_t deadline, int *fd, char **error);
static int take_hello(void *aux, const struct ofp_header *, bool *done, char **error);
static void ask_for_port_changes(struct connection *);
static int wait_for(int fd, short events, int64_t deadline);
static int send_some(struct connection *);
static int receive_some(struct connection *);
static int next_message(struct connection *, const struct ofp_header **, char **error);
static int handle_message(struct connection *, const struct ofp_header *, connection_take *, void *aux, bool *done, char **error);

void
connection_init(struct connection *c)
{
    *c = (struct connection) { .fd = -1, .next_xid = 1 };
    init_buffers(c);
}

void
connection_close(struct connection *c)
{
    if (c->fd >= 0) {
        close(c->fd);
        c->fd = -1;
    }
    ofpbuf_uninit(&c->in);
    ofpbuf_uninit(&c->out);
    ofpbuf_uninit(&c->message);
    init_buffers(c);
    c->version = 0;
}

static void
init_buffers(struct connection *c)
{
    ofpbuf_init(&c->in, 0);
    ofpbuf_init(&c->out, 0);
    ofpbuf_init(&c->message, 0);
    c->sent = 0;
}

int64_t
connection_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t) t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int
connection_open(struct connection *c, const char *target, int64_t deadline, char **error)
{
    connection_close(c);
    c->lost = false;
    int status = open_socket(target, deadline, &c->fd, error);
    if (status) {
        return status;
    }

    connection_queue(c, ofputil_encode_hello(VERSIONS));
    status = connection_talk(c, deadline, take_hello, c, error);
    if (!status) {
        c->session++;
        c->ports_changed = true; /* They may have, while we were not there. */
        ask_for_port_changes(c);
    }
    return status;
}

/* Has the switch tell of its ports, and of nothing else, unasked.  (Open vSwitch tells those that come to a bridge's own
 * socket nothing at all until they have said what they want.) */
static void
ask_for_port_changes(struct connection *c)
{
    struct ofputil_async_cfg wanted = OFPUTIL_ASYNC_CFG_INIT;
    uint32_t all = 1u << OFPPR_ADD | 1u << OFPPR_DELETE | 1u << OFPPR_MODIFY;

    wanted.primary[OAM_PORT_STATUS] = wanted.secondary[OAM_PORT_STATUS] = all;
    connection_queue(c, ofputil_encode_set_async_config(&wanted, 1u << OAM_PACKET_IN | 1u << OAM_PORT_STATUS | 1u << OAM_FLOW_REMOVED, c->version));
}

/* Agrees on the highest version that both sides know. */
static int
take_hello(void *aux, const struct ofp_header *hello, bool *done, char **error)
{
    struct connection *c = aux;
    enum ofptype type;
    uint32_t theirs;

    if (ofptype_decode(&type, hello) || type != OFPTYPE_HELLO) {
        return openflow_fail(error, EPROTO, "it does not begin with an OpenFlow hello");
    }
    ofputil_decode_hello(hello, &theirs);

    /* A hello without a bitmap stands for all versions up to its own. */
    uint32_t both = theirs & VERSIONS;
    if (!both) {
        return openflow_fail(error, EPROTO, "it speaks neither OpenFlow 1.4 nor 1.5 (its hello is of version %d)",
                             hello->version);
    }
    c->version = both & (1u << OFP15_VERSION) ? OFP15_VERSION : OFP14_VERSION;
    *done = true;
    return 0;
}

bool
connection_is_alive(struct connection *c)
{
    while (c->fd >= 0) {
        const struct ofp_header *message;
        bool done = false;
        int status = receive_some(c);
        if (status == EAGAIN) {
            status = send_some(c);
            return !status || status == EAGAIN;
        }
        while (!status && !(status = next_message(c, &message, NULL)) && message) {
            status = handle_message(c, message, NULL, NULL, &done, NULL);
        }
        if (status) {
            connection_close(c);
        }
    }
    return false;
}

uint32_t
connection_queue(struct connection *c, struct ofpbuf *message)
{
    struct ofp_header *oh = message->data;
    uint32_t xid = c->next_xid++;

    oh->length = htons((uint16_t) message->size);
    oh->xid = htonl(xid);
    ofpbuf_put(&c->out, message->data, message->size);
    ofpbuf_delete(message);
    return xid;
}

int
connection_talk(struct connection *c, int64_t deadline, connection_take *take, void *aux, char **error)
{
    bool done = false;
    int status = 0;

    while (!status && !done) {
        const struct ofp_header *message;

        status = next_message(c, &message, error);
        if (!status && message) {
            status = handle_message(c, message, take, aux, &done, error);
            continue;
        }
        if (!status) {
            status = send_some(c);
        }
        if (!status || status == EAGAIN) {
            status = wait_for(c->fd, (short) (status ? POLLIN | POLLOUT : POLLIN), deadline);
            if (status) {
                openflow_fail(error, status, "it does not answer");
            }
        }
        if (!status) {
            status = receive_some(c);
            status = status == EAGAIN ? 0 : status;
        }
    }
    if (status) {
        if (error && !*error) {
            openflow_fail(error, status, "the connection is lost (%s)", strerrordesc_np(status));
        }
        connection_close(c);
    }
    return status;
}

/* Waits until 'fd' is ready or the deadline has passed (ETIMEDOUT). */
static int
wait_for(int fd, short events, int64_t deadline)
{
    for (;;) {
        struct pollfd p = { .fd = fd, .events = events };
        int64_t left = deadline - connection_now();
        int n = left <= 0 ? 0 : poll(&p, 1, left > INT32_MAX ? INT32_MAX : (int) left);

        if (n > 0) {
            return 0;
        } else if (!n) {
            return ETIMEDOUT;
        } else if (errno != EINTR) {
            return errno;
        }
    }
}

/* Sends without waiting: 0 when all is sent, EAGAIN when some is left. */
static int
send_some(struct connection *c)
{
    while (c->sent < c->out.size) {
        if (FS_FAILPOINT_ERROR("openflow.lost")) {
            c->lost = true;
            return ECONNRESET;
        }
        ssize_t n = send(c->fd, (const char *) c->out.data + c->sent, FS_FAILPOINT_SHORT("openflow.send", c->out.size - c->sent), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0) {
            if (errno == EINTR) {
                continue;
            }
            c->lost = c->lost || errno != EAGAIN;
            return errno == EPIPE ? ECONNRESET : errno;
        }
        c->sent += (size_t) n;
    }
    ofpbuf_clear(&c->out);
    c->sent = 0;
    return 0;
}

/* Receives without waiting: 0 when something came, EAGAIN when nothing is there. */
static int
receive_some(struct connection *c)
{
    if (!c->in.size) {
        ofpbuf_clear(&c->in);
    } else if (ofpbuf_headroom(&c->in) >= READ_SIZE) {
        ofpbuf_shift(&c->in, -(int) ofpbuf_headroom(&c->in));
    }
    ofpbuf_prealloc_tailroom(&c->in, READ_SIZE);

    ssize_t n;
    do {
        n = recv(c->fd, ofpbuf_tail(&c->in), READ_SIZE, MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    if (n > 0) {
        c->in.size += (uint32_t) n;
        return 0;
    }

    int status = n ? errno : ECONNRESET;
    c->lost = c->lost || status != EAGAIN;
    return status;
}

/* Takes the next whole message off the input, or NULL.  It stays valid until the next call; its copy is aligned, which the
 * input need not be. */
static int
next_message(struct connection *c, const struct ofp_header **message, char **error)
{
    const struct ofp_header *oh = c->in.data;

    *message = NULL;
    if (c->in.size < sizeof *oh) {
        return 0;
    }

    size_t length = ntohs(oh->length);
    bool strange = c->version ? oh->version != c->version : oh->type > ERROR_TYPE;
    if (length < sizeof *oh || strange) {
        return openflow_fail(error, EPROTO, "it does not speak OpenFlow: version %d, type %d, length %zu", oh->version,
                             oh->type, length);
    }
    if (c->in.size >= length) {
        ofpbuf_clear(&c->message);
        *message = ofpbuf_put(&c->message, ofpbuf_pull(&c->in, length), length);
    }
    return 0;
}

/* Answers an echo request, drops a later hello, and gives all else to 'tell' or 'take'. */
static int
handle_message(struct connection *c, const struct ofp_header *oh, connection_take *take, void *aux, bool *done, char **error)
{
    enum ofptype type;
    bool known = !ofptype_decode(&type, oh);

    if (known && type == OFPTYPE_ECHO_REQUEST) {
        struct ofpbuf *reply = ofputil_encode_echo_reply(oh);
        ofpbuf_put(&c->out, reply->data, reply->size);
        ofpbuf_delete(reply);
        return 0;
    }
    if (known && type == OFPTYPE_PORT_STATUS) {
        c->ports_changed = true;
        return 0;
    }
    if (known && c->tell && c->tell(c->tell_aux, oh, type)) {
        return 0;
    }
    if (!take || (c->version && known && type == OFPTYPE_HELLO)) {
        return 0;
    }
    return take(aux, oh, done, error);
}

/* Addresses. */

struct address {
    union {
        struct sockaddr any;
        struct sockaddr_un un;
        struct sockaddr_in in4;
        struct sockaddr_in6 in6;
    };
    socklen_t size;
    int folder; /* Open as long as the address is in use, or -1. */
};

static int parse_unix(const char *path, struct address *, char **error);
static int parse_tcp(const char *text, struct address *, char **error);
static int connect_to(int fd, const struct address *, int64_t deadline);

static int
open_socket(const char *target, int64_t deadline, int *fd, char **error)
{
    struct address address = { .folder = -1 };
    int status;

    if (!strncmp(target, "unix:", 5)) {
        status = parse_unix(target + 5, &address, error);
    } else if (!strncmp(target, "tcp:", 4)) {
        status = parse_tcp(target + 4, &address, error);
    } else {
        status = openflow_fail(error, EINVAL, "a target is unix:PATH or tcp:ADDRESS:PORT");
    }
    if (status) {
        return status;
    }

    *fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    status = *fd < 0 ? errno : connect_to(*fd, &address, deadline);
    if (address.folder >= 0) {
        close(address.folder);
    }
    if (status) {
        openflow_fail(error, status, "cannot connect (%s)", strerrordesc_np(status));
        if (*fd >= 0) {
            close(*fd);
            *fd = -1;
        }
    }
    return status;
}

static int
connect_to(int fd, const struct address *address, int64_t deadline)
{
    int on = 1;
    if (address->any.sa_family != AF_UNIX) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    }

    /* A local listener whose queue is full says EAGAIN and gives nothing to wait for. */
    while (connect(fd, &address->any, address->size) < 0) {
        if (errno == EINPROGRESS || errno == EINTR) {
            int status = wait_for(fd, POLLOUT, deadline);
            socklen_t size = sizeof status;
            if (!status && getsockopt(fd, SOL_SOCKET, SO_ERROR, &status, &size) < 0) {
                status = errno;
            }
            return status;
        } else if (errno != EAGAIN) {
            return errno;
        } else if (connection_now() + RETRY_MS >= deadline) {
            return ETIMEDOUT;
        }
        poll(NULL, 0, RETRY_MS);
    }
    return 0;
}

/* A path too long for a socket's address is reached through a descriptor of its folder. */
static int
parse_unix(const char *path, struct address *a, char **error)
{
    a->un.sun_family = AF_UNIX;
    a->size = sizeof a->un;
    if (strlen(path) < sizeof a->un.sun_path) {
        strcpy(a->un.sun_path, path);
        return 0;
    }

    const char *base = strrchr(path, '/');
    if (!base || strlen(base) > sizeof a->un.sun_path - 32) {
        return openflow_fail(error, ENAMETOOLONG, "the name of the socket is too long");
    }
    char *folder = strndup(path, (size_t) (base - path) + 1);
    a->folder = folder ? open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
    free(folder);
    if (a->folder < 0) {
        return openflow_fail(error, errno, "cannot open the folder of the socket (%s)", strerrordesc_np(errno));
    }
    snprintf(a->un.sun_path, sizeof a->un.sun_path, "/proc/self/fd/%d%s", a->folder, base);
    return 0;
}

/* "ADDRESS[:PORT]", an IPv6 address in brackets. */
static int
parse_tcp(const char *text, struct address *a, char **error)
{
    char host[INET6_ADDRSTRLEN];
    bool six = *text == '[';
    size_t length = strcspn(text + six, six ? "]" : ":");
    const char *rest = text + six + length + (six && text[six + length] == ']');
    unsigned long port = DEFAULT_PORT;
    char *end;

    if (length >= sizeof host || (six && text[six + length] != ']')) {
        return openflow_fail(error, EINVAL, "a target is tcp:ADDRESS:PORT");
    }
    memcpy(host, text + six, length);
    host[length] = '\0';
    if (*rest) {
        port = strtoul(rest + 1, &end, 10);
        if (*rest != ':' || *end || !port || port > UINT16_MAX) {
            return openflow_fail(error, EINVAL, "the target's port is not a number from 1 to 65535");
        }
    }

    if (six) {
        a->in6 = (struct sockaddr_in6) { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t) port) };
        a->size = sizeof a->in6;
    } else {
        a->in4 = (struct sockaddr_in) { .sin_family = AF_INET, .sin_port = htons((uint16_t) port) };
        a->size = sizeof a->in4;
    }
    if (inet_pton(six ? AF_INET6 : AF_INET, host, six ? (void *) &a->in6.sin6_addr : (void *) &a->in4.sin_addr) != 1) {
        return openflow_fail(error, EINVAL, "the target has no numeric address");
    }
    return 0;
}

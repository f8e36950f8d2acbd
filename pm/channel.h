/* Control sockets: one request, one answer, both a text in one message of a Unix sequenced-packet socket, with descriptors beside
 * it where that is needed.  An answer begins with '+' (done) or '-' (refused, and why). */
#ifndef PM_CHANNEL_H
#define PM_CHANNEL_H 1

#include <stddef.h>
#include <stdint.h>

#include "pm/private.h"

#define PM_FDS_MAX 4u

struct pm_message {
    char *text;    /* malloc()ed, ends with a zero byte; NULL after pm_message_free() */
    size_t length; /* bytes before the zero */
    int fds[PM_FDS_MAX];
    size_t n_fds;
};
void pm_message_free(struct pm_message *); /* closes the descriptors too */

/* Listen on 'folder'/control.sock, non-blocking, replacing what an earlier process left.  The folder's mode says who may connect. */
int pm_channel_listen(const char *folder, int *fd);

/* Connect to 'folder'/control.sock, send 'text' with 'fds', wait for the answer until 'end' (pm_now()).  0 or errno: ENOENT and
 * ECONNREFUSED nobody listens, ETIMEDOUT no answer, EPROTO the peer hung up. */
int pm_channel_call(const char *folder, const char *text, const int *fds, size_t n_fds, struct pm_message *answer, int64_t end);

/* One message without waiting: 0, EAGAIN, EPIPE (the peer hung up) or another errno. */
int pm_channel_send(int fd, const char *text, size_t length, const int *fds, size_t n_fds);
int pm_channel_receive(int fd, struct pm_message *);

#endif

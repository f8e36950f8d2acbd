/* Which controller a daemon obeys.
 *
 * A resource daemon has an epoch, a number in its store that grows with each start (the time, or one more than the last), and an incarnation that no other start has.  It sends both, "EPOCH.INCARNATION", as the member
 * "controller" of the parameter of each task that it has others run.  A daemon runs such a task only for the controller that its configuration names: on meeting another one it
 * asks its peer "resource" who that is (get_controller).  So a second resource daemon that was started by mistake on a copy of the store is refused whatever number it has.  The
 * highest epoch that was obeyed is kept in the file "epoch" of the daemon's folder, and a lower one is refused: its store is older than what was done.
 *
 * A daemon without a peer "resource" can ask nobody and goes by the epoch alone.  Tasks without the member are run: they come from people. */
#ifndef CORE_FENCE_H
#define CORE_FENCE_H 1

#include "core/daemon.h"

struct fs_fence;

struct fs_fence *fs_fence_new(void);
void fs_fence_free(struct fs_fence *); /* accepts NULL */
/* May the task with this parameter be run?  false with *reply saying why not.  Thread-safe; may call the peer, for two seconds at most. */
bool fs_fence_admits(struct fs_fence *, struct fs_daemon *, const xmlrpc_value *param, const struct fs_daemon_call *, struct fs_reply *);

#endif

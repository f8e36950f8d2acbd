#!/usr/bin/python3
"""The first process of a room: a computer of its own, as far as the kernel can pretend one (see rooms.py).

usage: unshare --user --map-root-user --mount --pid --net --fork --mount-proc room.py ROOT NAME

Puts an empty file system on /run and on everything else that processes of different rooms could meet at, says "ready" on standard output, and
then collects the processes that are left to it, until its standard input ends.  With it goes all that runs in the room.
"""

import ctypes
import os
import select
import signal
import sys

_BIND, _READ_ONLY = 4096, 1
_libc = ctypes.CDLL(None, use_errno=True)


def mount(source, target, kind=None, flags=0, data=None):
    words = [word and os.fsencode(word) for word in (source, target, kind)]
    if _libc.mount(*words, ctypes.c_ulong(flags), data and os.fsencode(data)):
        number = ctypes.get_errno()
        raise OSError(number, f"mount {source} on {target}: {os.strerror(number)}")


def hide(root, name):
    """Of ROOT, where all rooms have their folders, only the room's own is seen from here."""
    own = os.open(os.path.join(root, name), os.O_PATH)
    mount("room", root, "tmpfs", data="mode=0755")
    os.mkdir(os.path.join(root, name), 0o700)
    mount(f"/proc/self/fd/{own}", os.path.join(root, name), flags=_BIND)
    os.close(own)
    for folder in ("/run", "/dev/shm"):
        mount("room", folder, "tmpfs", data="mode=0755")
    if os.path.isdir("/sys/fs/cgroup"):
        mount("room", "/sys/fs/cgroup", "tmpfs", _READ_ONLY)


def collect():
    """Forget the orphans that have ended, as every first process must."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def main(root, name):
    hide(root, name)
    wake, waker = os.pipe()
    for end in (wake, waker):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(waker)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    print("ready", flush=True)
    while True:
        collect()
        readable, _, _ = select.select([0, wake], [], [])
        if wake in readable:
            os.read(wake, 4096)
        if 0 in readable and not os.read(0, 4096):
            return


if __name__ == "__main__":
    main(*sys.argv[1:])

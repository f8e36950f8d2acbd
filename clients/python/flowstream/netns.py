"""Network namespaces by name, as ip-netns(8) keeps them in /run/netns.

Nothing here moves the calling process into another namespace: what must happen inside one happens in a child.  A socket that was
opened in a namespace stays there, so a caller gets its socket from open_socket() and works with it like with any other.
"""

import ctypes
import os
import pickle
import socket
from pathlib import Path

from . import processes
from .errors import Error

FOLDER = Path("/run/netns")
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def path(name):
    """The file that stands for the namespace."""
    return FOLDER / name


def exists(name):
    return path(name).exists()


def create(name):
    """Make the namespace with its loopback interface up.  Raises CommandFailed."""
    FOLDER.mkdir(mode=0o755, parents=True, exist_ok=True)
    processes.run(["ip", "netns", "add", name])
    processes.run(["ip", "-n", name, "link", "set", "lo", "up"])


def remove(name):
    """Take the name away; the namespace itself goes with its last process.  A name that is not there is no error."""
    if exists(name):
        processes.run(["ip", "netns", "delete", name])


def inhabitants(name):
    """The numbers of the processes inside."""
    return [int(pid) for pid in processes.run(["ip", "netns", "pids", name]).split()] if exists(name) else []


def command(name, argv):
    """The command line that runs argv inside; /sys and /proc stay as they are outside."""
    return ["nsenter", f"--net={path(name)}", "--"] + list(argv)


def open_socket(name, family, kind, protocol=0):
    """A socket of that namespace.  The caller closes it."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        child = os.fork()
        if child == 0:
            _child(lambda: _hand_over(theirs, name, family, kind, protocol))
        theirs.close()
        _, descriptors, _, _ = socket.recv_fds(ours, 1, 1)
        _, status = os.waitpid(child, 0)
    if not descriptors:
        number = os.waitstatus_to_exitcode(status)
        raise Error(f"cannot open a socket in the network namespace {name}: {os.strerror(number)}")
    return socket.socket(fileno=descriptors[0])


def call(name, function, *arguments):
    """Run function(*arguments) inside and return what it returns, which must be picklable; OSErrors are raised here too."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _child(lambda: _answer(writer, name, function, arguments))
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    if not answer:
        raise Error(f"{function.__name__} ended without an answer in the network namespace {name}")
    worked, value = pickle.loads(answer)
    if not worked:
        raise value
    return value


def enter(name):
    """Move the calling thread into the namespace; for children of our own only.  Raises OSError."""
    descriptor = os.open(path(name), os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(path(name)))
    finally:
        os.close(descriptor)


def set_sysctls(name, settings):
    """Write net sysctls of the namespace: {"ipv6/conf/all/disable_ipv6": 1, ...}.  What this kernel does not have is skipped."""
    call(name, _write_sysctls, settings)


def _write_sysctls(settings):
    for key, value in settings.items():
        try:
            Path("/proc/sys/net", key).write_text(f"{value}\n")
        except FileNotFoundError:
            pass


def _hand_over(channel, name, family, kind, protocol):
    enter(name)
    with socket.socket(family, kind, protocol) as made:
        socket.send_fds(channel, [b"s"], [made.fileno()])


def _answer(writer, name, function, arguments):
    try:
        enter(name)
        answer = (True, function(*arguments))
    except OSError as error:
        answer = (False, error)
    with os.fdopen(writer, "wb") as pipe:
        pickle.dump(answer, pipe)


def _child(work):
    """Do the work in a forked child and leave without running anything of the parent's: no handlers, no buffers."""
    status = 1
    try:
        work()
        status = 0
    except OSError as error:
        status = error.errno or 1
    finally:
        os._exit(status)

"""Rooms: computers for tests.  A room is a user, mount, process and network namespace with an empty /run, in which a folder of its own is all
that can be written to and that others do not have.  Rooms meet nowhere but on the veth links that a test lays between them.

    with Rooms() as rooms:
        a, b = rooms.add("a"), rooms.add("b")
        rooms.link(a, "eth0", b, "eth0")
        a.run("ip", "link", "set", "eth0", "up")

A room lives as long as its first process (room.py), and that as long as this one: whatever ends the test ends everything in the rooms.
"""

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SPACES = ("user", "mnt", "pid", "net")
_FIRST = Path(__file__).with_name("room.py")
_OFFLOADS = ["tx", "off", "sg", "off", "tso", "off", "gso", "off", "gro", "off", "rxvlan", "off", "txvlan", "off"]
_PATIENCE = 60


class RoomError(Exception):
    pass


class Running:
    """A process that was started in a room.  pid: its number out here; name: what it was started as."""

    def __init__(self, room, name, entrance, log):
        self.room, self.name, self.log = room, name, log
        self._entrance = entrance
        self.pid = _child_of(entrance)

    def alive(self):
        return self._entrance.poll() is None

    def kill(self, number=signal.SIGKILL):
        """Send the signal and wait for the end.  Returns the status as subprocess gives it."""
        os.kill(self.pid, number)
        return self._entrance.wait(_PATIENCE)

    def tail(self):
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(lines[-15:])


class Room:
    """One room.  dir: its folder, under the same name inside and outside; pid: its first process."""

    def __init__(self, root, name):
        self.name = name
        self.dir = root / name
        self.dir.mkdir(mode=0o700)
        argv = ["unshare", "--user", "--map-root-user", "--mount", "--pid", "--net", "--fork", "--mount-proc",
                sys.executable, str(_FIRST), str(root), name]
        self._first = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)
        if self._first.stdout.readline() != "ready\n":
            self.close()
            raise RoomError(f"room {name}: its first process ended with status {self._first.returncode}")
        self.pid = _child_of(self._first)
        self.run("ip", "link", "set", "lo", "up")

    def close(self):
        """End the room and all that is in it."""
        self._first.stdin.close()
        self._first.stdout.close()
        try:
            self._first.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            os.kill(self.pid, signal.SIGKILL)
            self._first.wait(_PATIENCE)

    def space(self, kind):
        """The file that stands for one of the room's namespaces."""
        return f"/proc/{self.pid}/ns/{kind}"

    def command(self, *argv):
        return ["nsenter", f"--target={self.pid}", "--user", "--preserve-credentials", "--mount", "--pid", "--net", "--", *map(str, argv)]

    def run(self, *argv, timeout=_PATIENCE, check=True):
        """Run a command inside to its end; returns its output.  Raises RoomError with its words when it fails."""
        done = subprocess.run(self.command(*argv), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout)
        if check and done.returncode:
            raise RoomError(f"room {self.name}: {' '.join(map(str, argv))}: {done.stderr.strip() or done.stdout.strip() or done.returncode}")
        return done.stdout

    def start(self, name, *argv, environment=None):
        """Start a program inside, with its words in DIR/NAME.log; returns the Running."""
        log = self.dir / f"{name}.log"
        variables = [f"{key}={value}" for key, value in (environment or {}).items()]
        shell = ["sh", "-c", 'exec "$@" </dev/null >>"$0" 2>&1', log, "env", *variables, *argv]
        entrance = subprocess.Popen(self.command(*shell), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                    start_new_session=True)
        return Running(self, name, entrance, log)

    def processes(self):
        """What runs inside, in modules' own namespaces too, without the first process: pid out here -> command line."""
        found = {}
        ours = _namespace(self.pid, "pid")
        for pid in _pids():
            try:
                if ours in _lineage(pid) and pid != self.pid:
                    found[pid] = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            except OSError:
                continue  # it has ended
        return {pid: line for pid, line in found.items() if line}


class Rooms:
    """All rooms of a test and the folder that holds theirs."""

    def __init__(self):
        self.root = Path(tempfile.mkdtemp(prefix="fs-rooms-"))
        self.by_name = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for room in reversed(list(self.by_name.values())):
            room.close()
        shutil.rmtree(self.root)

    def add(self, name):
        self.by_name[name] = Room(self.root, name)
        return self.by_name[name]

    def remove(self, name):
        """Switch the computer off and throw it away."""
        room = self.by_name.pop(name)
        room.close()
        shutil.rmtree(room.dir)

    def link(self, a, interface_a, b, interface_b, mtu=1500):
        """A veth pair between two rooms, both ends up, offloads off: a userspace switch wants finished packets."""
        argv = ["ip", "link", "add", "name", interface_a, "mtu", str(mtu), "type", "veth",
                "peer", "name", interface_b, "mtu", str(mtu), "netns", str(b.pid)]
        done = subprocess.run(["nsenter", f"--net={a.space('net')}", "--", *argv], capture_output=True, text=True)
        if done.returncode:
            raise RoomError(f"link {a.name} - {b.name}: {done.stderr.strip()}")
        for room, interface in ((a, interface_a), (b, interface_b)):
            room.run("ethtool", "-K", interface, *_OFFLOADS)
            room.run("ip", "link", "set", interface, "addrgenmode", "none", check=False)  # refused where IPv6 is off: just as well
            room.run("ip", "link", "set", interface, "up")


# What processes share.


def namespaces(pid):
    """{"user": ..., "mnt": ..., ...}: the namespaces a process is in; none when it has ended."""
    try:
        return {kind: _namespace(pid, kind) for kind in SPACES}
    except OSError:
        return {}


def open_files(pid):
    """(device, inode) -> name of all that a process has open or mapped as shared memory and that can be met at: files, sockets, pipes.

    Left out: devices, /proc, and the kernel's anonymous inode, which all event descriptors of a computer have in common.
    """
    found = {}
    for kind in ("fd", "map_files"):
        folder = Path(f"/proc/{pid}/{kind}")
        try:
            shared = _shared_maps(pid) if kind == "map_files" else None
            entries = os.listdir(folder)
        except (PermissionError, FileNotFoundError, ProcessLookupError):
            continue  # map_files is not for everyone, and a process may have ended
        for entry in entries:
            if shared is not None and entry not in shared:
                continue
            try:
                name, about = os.readlink(folder / entry), os.stat(folder / entry)
            except OSError:
                continue
            if not (name.startswith(("anon_inode:", "/proc/")) or stat.S_ISCHR(about.st_mode)):
                found[about.st_dev, about.st_ino] = name
    return found


def unix_sockets(pid):
    """The names of the Unix sockets that are bound in the process's network namespace."""
    lines = Path(f"/proc/{pid}/net/unix").read_text().splitlines()[1:]
    return {words[7] for words in map(str.split, lines) if len(words) > 7}


def tcp_peers(pid):
    """(own port, peer's port) of all established TCP connections in the process's network namespace."""
    found = set()
    for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        if words[3] == "01":
            found.add(tuple(int(words[i].split(":")[1], 16) for i in (1, 2)))
    return found


def _shared_maps(pid):
    """The ranges, as map_files names them, that are mapped shared and can be written."""
    found = set()
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        addresses, rights = line.split()[:2]
        if rights.endswith("s") and "w" in rights:
            found.add("-".join(f"{int(part, 16):x}" for part in addresses.split("-")))
    return found


def _namespace(pid, kind):
    return os.readlink(f"/proc/{pid}/ns/{kind}")


def _pids():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _lineage(pid):
    """The process namespaces of a process and its forebears: a module is in one of its own, below the room's."""
    while pid > 1:
        yield _namespace(pid, "pid")
        pid = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


def _child_of(process):
    """The one child of unshare or nsenter, which is what was to be started."""
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        try:
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        except OSError:
            children = []
        if children:
            return int(children[0])
        if process.poll() is not None:
            raise RoomError(f"{' '.join(process.args)}: ended at once with status {process.returncode}")
        time.sleep(0.01)
    raise RoomError(f"{' '.join(process.args)}: starts nothing")

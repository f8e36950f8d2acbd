"""Programs of this machine: running one to its end, starting one that stays, and stopping exactly that one again.

A process is known by its number and its start time together, because numbers are used again.  Files that name a process hold
both: "PID STARTTIME\\n", the start time as field 22 of /proc/PID/stat.
"""

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import NamedTuple, Optional

from .errors import CommandFailed


class Process(NamedTuple):
    """One process, for as long as it lives and never its successor with the same number."""

    name: str
    pid: int
    start: int

    def alive(self):
        """True until the last of its threads is gone, and with that its locks and sockets; what is left then goes if it is our own child."""
        found = _stat(self.pid) if self.pid > 0 else None  # 0: the supervisor is about to start it again
        if found is not None and found.state == "Z":
            _reap(self.pid)
        return found is not None and found.start == self.start and not (found.state in "ZX" and found.threads < 2)

    def ending(self):
        """True from the moment at which it was killed until it is gone: freeing much memory takes a while."""
        found = _stat(self.pid) if self.pid > 0 else None
        return found is not None and found.start == self.start and found.ending and self.alive()

    def signal(self, number):
        """Send a signal if it is still the same process; a process that has gone is no error."""
        if self.alive():
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                pass


def run(argv, *, input=None, env=None, timeout=60):
    """Run argv to its end and return its standard output.  Raises CommandFailed with the command and its words."""
    shown = " ".join(argv)
    try:
        done = subprocess.run(argv, input=input, env=env, timeout=timeout, text=True, capture_output=True,
                              stdin=subprocess.DEVNULL if input is None else None)
    except FileNotFoundError:
        raise CommandFailed(f"{argv[0]}: no such program; it was needed for: {shown}") from None
    except PermissionError:
        raise CommandFailed(f"{argv[0]}: not allowed to run it; it was needed for: {shown}") from None
    except subprocess.TimeoutExpired:
        raise CommandFailed(f"'{shown}' did not end within {timeout} s") from None
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip() or "it printed nothing"
        raise CommandFailed(f"'{shown}' failed with status {done.returncode}: {said}")
    return done.stdout


def start(name, argv, *, log, pid_file=None, env=None, cwd="/"):
    """Start argv in a session of its own with both outputs appended to the file log; return its Process.

    With pid_file its identity is written there as well.  Raises CommandFailed when it cannot be started.
    """
    try:
        with open(log, "ab") as output:
            child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=env, cwd=cwd,
                                     start_new_session=True)
    except OSError as error:
        raise CommandFailed(f"cannot start {name} as '{' '.join(argv)}': {error.strerror}") from None
    child.returncode = 0  # It outlives us: Popen must not warn about that.
    found = _stat(child.pid)
    process = Process(name, child.pid, found.start if found else 0)
    if pid_file is not None:
        write_pid(pid_file, process)
    return process


def stop(processes, *, grace=5.0):
    """End the processes: SIGTERM to all, SIGKILL to those that are left after grace seconds.  Returns those left even then."""
    running = [process for process in processes if process.alive()]
    for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, 5.0)):
        for process in running:
            process.signal(number)
        running = wait_gone(running, patience)
        if not running:
            break
    return running


def wait_gone(processes, seconds):
    """Wait until the processes have ended, at most so many seconds.  Returns those that have not."""
    end = time.monotonic() + seconds
    running = [process for process in processes if process.alive()]
    while running and time.monotonic() < end:
        time.sleep(0.02)
        running = [process for process in running if process.alive()]
    return running


def read_pid(path, name=None) -> Optional[Process]:
    """The process that a pid file names, or None when there is no such file or it makes no sense."""
    try:
        pid, start_time = Path(path).read_text().split()
        return Process(name or str(path), int(pid), int(start_time))
    except (OSError, ValueError):
        return None


def write_pid(path, process):
    """Write the pid file at once or not at all."""
    new = Path(f"{path}.new")
    new.write_text(f"{process.pid} {process.start}\n")
    new.replace(path)


def find(name, argument):
    """The processes that have exactly this argument on their command line; zombies have none."""
    return find_each({argument: name})


def find_each(names):
    """The same for many in one look at all processes: names maps an argument to what the processes with it are to be called."""
    wanted = {os.fsencode(argument): name for argument, name in names.items()}
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                arguments = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            name = next((wanted[argument] for argument in arguments if argument in wanted), None)
            stat = _stat(int(entry.name)) if name is not None else None
            if stat is not None:
                found.append(Process(name, int(entry.name), stat.start))
    return found


def command_of(pid):
    """The short name of a process for messages."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "gone"


def identify(name, pid):
    """The Process that has this number now, or None."""
    found = _stat(pid)
    return None if found is None else Process(name, pid, found.start)


def tail(path, lines=12):
    """The last lines of a log, indented for a message; words of our own when there is none."""
    try:
        with open(path, "rb") as log:
            log.seek(0, os.SEEK_END)
            log.seek(max(0, log.tell() - 16384))
            last = log.read().decode(errors="replace").splitlines()[-lines:]
    except OSError as error:
        return f"    (its log {path} cannot be read: {error.strerror})"
    return "\n".join(f"    {line}" for line in last) or f"    (its log {path} is empty)"


class _Stat(NamedTuple):
    state: str  # of the first thread: "Z" while others are still at work
    start: int
    threads: int
    ending: bool


_PF_EXITING, _SIGKILL_WAITS = 4, 1 << (signal.SIGKILL - 1)


def _stat(pid):
    """What /proc/PID/stat says, or None when there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    fields = text[text.rindex(")") + 2:].split()  # The name in parentheses may hold anything.
    ending = fields[0] in "ZX" or int(fields[6]) & _PF_EXITING or int(fields[28]) & _SIGKILL_WAITS
    return _Stat(fields[0], int(fields[19]), int(fields[17]), bool(ending))


def _reap(pid):
    """Collect the process if it is our own child and has ended, so that it does not stay as a zombie."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except (ChildProcessError, OverflowError):
        pass

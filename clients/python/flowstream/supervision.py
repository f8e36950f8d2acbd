"""The supervisor of an embedded platform: what it is told to run, and what it says of it.

The program is flowstream-supervisor(8).  Here its file DIR/supervisor/services is written, it is started, told to read the file again, and its
file DIR/supervisor/status is read.
"""

import json
import signal
import time
from pathlib import Path

from . import processes
from .errors import CommandFailed, Error

NAME = "supervisor"
_COMMAND = f"flowstream-{NAME}"[:15]  # as the kernel has it
_PATIENCE = 10  # seconds


def place(record):
    return record.directory / NAME


def is_on(record):
    """Was the platform made with a supervisor?"""
    return bool(record.data.get("supervised"))


def running(record):
    """The supervisors of the platform that run: one, or none when it was killed."""
    found = processes.find(NAME, str(place(record)))  # among them whoever else works on that folder, such as an ls
    return [process for process in found if processes.command_of(process.pid) == _COMMAND]


def status(record):
    """name -> what the supervisor last said of it: pid (0: it does not run), start, restarts, failures, last_exit, next_ms."""
    return read_status(record.directory)


def read_status(directory):
    try:
        return {entry["name"]: entry for entry in json.loads((Path(directory) / NAME / "status").read_text())}
    except (OSError, ValueError):
        return {}


def seconds_until(entry):
    """When the supervisor tries again, in seconds from now; it counts in the clock that never jumps."""
    return max(0.0, entry["next_ms"] / 1000 - time.monotonic())


def service(name, argv, *, log, pid_file, cwd, env=None, stale=(), listen=(), watch=None):
    """The lines of one service.  listen: "tcp HOST:PORT" or "unix PATH", in the order of the daemon's configuration; watch: the socket of a database, after each change of
    which it is run."""
    lines = [("service", name), *(("arg", word) for word in argv), ("log", log), ("pid", pid_file), ("cwd", cwd),
             *([("watch", watch)] if watch else []), *(("env", f"{key}={value}") for key, value in (env or {}).items()), *(("stale", path) for path in stale), *(("listen", one) for one in listen)]
    for key, value in lines:
        if "\n" in str(value):
            raise Error(f"{name}: the name {str(value)!r} has a line break; choose another folder")
    return "".join(f"{key} {value}\n" for key, value in lines) + "end\n"


def write(record, services):
    """Say what is to run: a list of texts made by service().  Takes effect with begin() or poke()."""
    place(record).mkdir(mode=0o700, exist_ok=True)
    new = place(record) / "services.new"
    new.write_text("\n".join(services))
    new.replace(place(record) / "services")


def begin(record, program):
    """Start the supervisor; it takes over what runs already.  Waits until it has said what runs."""
    log = place(record) / "log"
    (place(record) / "status").unlink(missing_ok=True)
    process = processes.start(NAME, [str(program), "--folder", str(place(record))], log=log, pid_file=place(record) / "pid")
    record.add_process(process)
    end = time.monotonic() + _PATIENCE
    while not (place(record) / "status").exists():
        if not process.alive() or time.monotonic() > end:
            raise CommandFailed(f"{program} {'does not say what runs' if process.alive() else 'ended'}; the end of its log:\n{processes.tail(log)}")
        time.sleep(0.01)


def poke(record, *, without=()):
    """Have the services read again and what waits tried at once; wait until those struck out are not looked after any more."""
    for process in running(record):
        process.signal(signal.SIGHUP)
    end = time.monotonic() + _PATIENCE
    while set(without) & set(status(record)):
        if not running(record):
            return
        if time.monotonic() > end:
            raise Error(f"the supervisor does not read {place(record)}/services; its log is {place(record)}/log")
        time.sleep(0.01)


def end(record):
    """End the supervisor alone; returns what does not end."""
    return processes.stop(running(record))

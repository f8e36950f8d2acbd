"""The folder of a platform: which one is meant, and the record platform.json in it of everything that was made.

The record is written before what it names is made.  So after a crash at any point it names at least all that there is, and
"down" needs nothing else.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import time
from pathlib import Path

from . import processes, supervision
from .errors import Error, NoPlatform

RECORD = "platform.json"
_LOCK = "lock"
_MENDING = 30  # seconds that putting ports back may take
_OURS_BEFORE_THE_RECORD = {_LOCK, f"{RECORD}.new"}  # All that can be there when "up" died in its first moments.


def locate(given=None):
    """The platform's folder: as given, else $FLOWSTREAM_DIR, else $XDG_RUNTIME_DIR/flowstream, else /run/flowstream."""
    if given is None:
        given = os.environ.get("FLOWSTREAM_DIR")
    if not given:
        runtime = os.environ.get("XDG_RUNTIME_DIR")
        given = os.path.join(runtime, "flowstream") if runtime else "/run/flowstream"
    return Path(os.path.realpath(given))


def tag(directory):
    """Four hexadecimal digits of the folder's name: they keep apart what several platforms have in one system."""
    return hashlib.sha256(os.fsencode(directory)).hexdigest()[:4]


class Record:
    """platform.json as a dictionary in .data, with the folder in .directory."""

    def __init__(self, directory, data):
        self.directory = Path(directory)
        self.data = data
        self._later = False

    @contextlib.contextmanager
    def together(self):
        """Within this, save() waits until the end: for what is made in hundreds and found without the record too."""
        self._later = True
        try:
            yield
        finally:
            self._later = False
            self.save()

    @classmethod
    def load(cls, directory):
        """Read the record.  Raises NoPlatform when there is none, Error when it makes no sense."""
        path = Path(directory) / RECORD
        try:
            data = json.loads(path.read_text())
        except (FileNotFoundError, NotADirectoryError):
            raise NoPlatform(f"there is no platform in {directory}; 'flowstream up --dir {directory}' makes one, "
                             "and --dir or FLOWSTREAM_DIR names another") from None
        except PermissionError:
            raise Error(f"not allowed to read {path}") from None
        except ValueError as error:
            raise Error(f"{path} is damaged: {error}") from None
        if not isinstance(data, dict) or data.get("format") != 1:
            raise Error(f"{path} was written by another version of Flowstream")
        return cls(directory, data)

    def save(self):
        """Write the record at once or not at all."""
        if self._later:
            return
        new = self.directory / f"{RECORD}.new"
        with open(new, "w") as out:
            json.dump(self.data, out, indent=1)
            out.write("\n")
            out.flush()
            os.fsync(out.fileno())
        new.replace(self.directory / RECORD)

    def processes(self):
        """The recorded processes, those that have ended as well; where there is a supervisor it knows which they are now."""
        found = {entry["name"]: processes.Process(entry["name"], entry["pid"], entry["start"]) for entry in self.data["processes"]}
        if self.data.get("supervised"):
            for name, entry in supervision.read_status(self.directory).items():
                if entry["pid"] or name not in found:
                    found[name] = processes.Process(name, entry["pid"], entry["start"])
        return list(found.values())

    def add_process(self, process):
        """Record a process that has just been started; one of the same name takes its place."""
        self.forget_process(process.name)
        self.data["processes"].append({"name": process.name, "pid": process.pid, "start": process.start})
        self.save()

    def forget_process(self, name):
        self.data["processes"] = [entry for entry in self.data["processes"] if entry["name"] != name]

    def live(self):
        """The recorded processes that run."""
        return [process for process in self.processes() if process.alive()]


def make(directory):
    """Make the folder for a new platform, mode 0700.  Raises Error when it holds something that is not ours."""
    directory = Path(directory)
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        strangers = sorted(set(os.listdir(directory)) - _OURS_BEFORE_THE_RECORD)
        if strangers:
            raise Error(f"{directory} is no platform's folder and not empty (it holds {strangers[0]}); name another with --dir")
        directory.chmod(0o700)
    except OSError as error:
        raise Error(f"cannot make the platform's folder {directory}: {error.strerror}") from None


def remove(directory):
    """Remove the folder if it is ours: it has a record, or nothing but what comes before one.  Says whether it is gone."""
    directory = Path(directory)
    if not directory.is_dir():
        return True
    inside = set(os.listdir(directory))
    if RECORD not in inside and not inside <= _OURS_BEFORE_THE_RECORD:
        return False
    # The record goes last, so that an interrupted removal can be taken up again.
    for name in sorted(inside, key=lambda name: (name == _LOCK, name == RECORD)):
        path = directory / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    directory.rmdir()
    return True


def _try(file, how):
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(file, how | fcntl.LOCK_NB)
        return True
    return False


def _lock(file):
    """Who puts ports back shares the lock: so where a share can be had nobody else is at work."""
    end = time.monotonic() + _MENDING
    while not _try(file, fcntl.LOCK_EX):
        if time.monotonic() >= end or not _try(file, fcntl.LOCK_SH):
            return False
        fcntl.flock(file, fcntl.LOCK_UN)
        time.sleep(0.05)
    return True


@contextlib.contextmanager
def locked(directory, mending=False):
    """Hold the folder's lock: one "up", "down" or "host" at a time.  Raises Error when another one is at work; one that only puts ports back (mending) is waited for."""
    path = Path(directory) / _LOCK
    try:
        lock = open(path, "a")
    except OSError as error:
        raise Error(f"cannot open {path}: {error.strerror}") from None
    with lock:
        if not (_try(lock, fcntl.LOCK_SH) if mending else _lock(lock)):
            raise Error(f"another flowstream command is changing the platform in {directory}; wait for it to end")
        if not path.exists() or os.stat(path).st_ino != os.fstat(lock.fileno()).st_ino:
            raise Error(f"the platform in {directory} was just taken down")
        yield

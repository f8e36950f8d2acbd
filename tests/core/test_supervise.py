#!/usr/bin/env python3
"""flowstream-supervisor by itself, with services that do nothing: many of them, processes that are half dead, addresses that are taken, sockets that stay.

What it does for a whole platform is in tests/platform/test_supervisor.py."""
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

from daemon import BUILD, SOURCE, ok, run_all, wait_for

sys.path.insert(0, os.path.join(SOURCE, "clients", "python"))
from flowstream import processes, supervision  # noqa: E402

PROGRAM = os.path.join(BUILD, "bin/flowstream-supervisor")
SLEEP = ["sleep", "1000"]


class Place:
    """A folder with a supervisor; all that it has started goes with it."""

    def __init__(self):
        self.directory = Path(tempfile.mkdtemp(prefix="flowstream-supervise-"))
        self.folder = supervision.place(self)
        self.process = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end(signal.SIGTERM)
        processes.stop(filter(None, (processes.read_pid(path) for path in self.directory.glob("*.pid"))), grace=0)
        shutil.rmtree(self.directory, ignore_errors=True)

    def service(self, name, argv, **options):
        return supervision.service(name, argv, log=self.directory / "log", pid_file=self.directory / f"{name}.pid", cwd=self.directory, **options)

    def begin(self, *services, **options):
        supervision.write(self, services)
        (self.folder / "status").unlink(missing_ok=True)
        self.process = subprocess.Popen([PROGRAM, "--folder", str(self.folder)], stdout=subprocess.DEVNULL, stderr=open(self.folder / "log", "ab"), **options)
        wait_for(lambda: self.status())
        return self

    def end(self, number):
        if self.process:
            self.process.send_signal(number)
            self.process.wait(20)
            self.process = None

    def status(self):
        return supervision.status(self)

    def log(self):
        return (self.folder / "log").read_text()


def can_connect(path):
    with socket.socket(socket.AF_UNIX) as s:
        try:
            s.connect(str(path))
            return True
        except OSError:
            return False


def test_many():
    """More sockets and processes than a process may usually have open."""
    n = 60
    with Place() as p:
        def few():
            resource.setrlimit(resource.RLIMIT_NOFILE, (64, 4096))
        p.begin(*(p.service(f"s{i}", SLEEP, listen=[f"unix {p.directory}/{i}"]) for i in range(n)), preexec_fn=few)
        ok(wait_for(lambda: len([s for s in p.status().values() if s["pid"]]) == n, 20), "as many services as the hard limit of files allows are started", p.log()[-1000:])
        one = p.status()["s59"]
        os.kill(one["pid"], signal.SIGKILL)
        ok(wait_for(lambda: p.status()["s59"]["pid"] not in (0, one["pid"])) and can_connect(p.directory / "59"), "and started again when they end", p.log()[-1000:])


def test_half_dead():
    """A process whose first thread has ended has its locks and sockets still: a new supervisor takes it over."""
    half = "import ctypes, threading, time; threading.Thread(target=time.sleep, args=(1000,)).start(); ctypes.CDLL(None).syscall(60, 0)"
    with Place() as p:
        p.begin(p.service("half", [sys.executable, "-c", half], listen=[f"unix {p.directory}/s"]))
        before = p.status()["half"]["pid"]
        wait_for(lambda: "Z" in Path(f"/proc/{before}/stat").read_text().rpartition(")")[2])
        p.end(signal.SIGKILL)
        p.begin(p.service("half", [sys.executable, "-c", half], listen=[f"unix {p.directory}/s"]))
        ok(p.status()["half"]["pid"] == before, "a process whose first thread is a zombie is taken over", p.log())
        os.kill(before, signal.SIGKILL)
        ok(wait_for(lambda: p.status()["half"]["pid"] not in (0, before)), "and started again when its last thread has ended", p.log())


def test_taken():
    """Somebody serves the address already: he keeps his Unix socket too."""
    with Place() as p, socket.socket() as tcp, socket.socket(socket.AF_UNIX) as unix:
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        unix.bind(str(p.directory / "s"))
        unix.listen(100)
        before = os.stat(p.directory / "s").st_ino
        p.begin(p.service("taken", SLEEP, listen=[f"tcp 127.0.0.1:{tcp.getsockname()[1]}", f"unix {p.directory}/s"]))
        ok(wait_for(lambda: p.status()["taken"]["failures"] >= 2) and "cannot listen on tcp" in p.log(), "an address that is taken is told", p.log())
        ok(os.stat(p.directory / "s").st_ino == before and can_connect(p.directory / "s"), "and the Unix socket of who serves it stays his")
        tcp.close()
        ok(wait_for(lambda: p.status()["taken"]["pid"]), "it is started when the address is free", p.log())


def test_sockets_stay():
    """Another program at the same address: who calls between the two waits for the second."""
    with Place() as p, socket.socket(socket.AF_UNIX) as caller:
        listen = {"listen": [f"unix {p.directory}/s"]}
        p.begin(p.service("one", SLEEP, **listen))
        caller.connect(str(p.directory / "s"))
        supervision.write(p, [p.service("one", ["false"], **listen), p.service("two", SLEEP)])
        p.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "two" in p.status())
        os.kill(p.status()["one"]["pid"], signal.SIGKILL)
        ok(wait_for(lambda: p.status()["one"]["last_exit"] == "ended with status 1"), "the new description is followed at the next start", p.status())
        caller.setblocking(False)
        try:
            got = caller.recv(1)
        except OSError as error:
            got = error
        ok(isinstance(got, BlockingIOError), "who has called is not turned away where only the program is another", got)


def test_ends_are_known():
    """Started by somebody who ignores the ends of his children."""
    with Place() as p:
        p.begin(p.service("no", ["false"]), preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN))
        ok(wait_for(lambda: p.status()["no"]["last_exit"]) == "ended with status 1", "how a service ended is known", p.status())


def test_who_it_is():
    """Only the supervisor is taken for it, not who looks at its folder."""
    with Place() as p:
        p.begin(p.service("one", SLEEP))
        stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)", str(p.folder)])
        try:
            found = [process.pid for process in supervision.running(SimpleNamespace(directory=p.directory))]
            ok(found == [p.process.pid], "another process with the folder as an argument is not asked to end", (found, stranger.pid, p.process.pid))
        finally:
            stranger.kill()
            stranger.wait()
        ok(json.loads((p.folder / "status").read_text())[0]["name"] == "one", "its status is JSON")


run_all([test_many, test_half_dead, test_taken, test_sockets_stay, test_ends_are_known, test_who_it_is])

#!/usr/bin/env python3
"""Documents and requests that others collected against XML and HTTP implementations, each sent to a daemon: it answers or refuses, and lives.

The collections are where FLOWSTREAM_CORPUS says (default: data beside the sources or above them), folders xmlrpc and http; archives
are looked into.  What is measured is the daemon's processor time, so a busy machine does not matter."""
import os
import socket
import tarfile

from daemon import SOURCE, Daemon, ok, run_all, skip

PLACES = [os.environ.get("FLOWSTREAM_CORPUS", ""), os.path.join(SOURCE, "tests/data"), os.path.join(SOURCE, "../shared/data"),
          os.path.join(SOURCE, "../../shared/data")]
HEAD = b"POST /RPC2 HTTP/1.1\r\nHost: x\r\nAuthorization: Basic dGVzdGVyOnNlY3JldA==\r\n"
LIMIT, GROWTH = 0.05, 32e6  # seconds of processor time for one; bytes
D = Daemon(level="error", extra='<log module="daemon" level="info"/>', limits='<limits header-seconds="1" body-seconds="1" connections="5000"/>')


def documents(kind):
    place = next((os.path.join(p, kind) for p in PLACES if p and os.path.isdir(os.path.join(p, kind))), None)
    for folder, _, names in os.walk(place) if place else ():
        for name in sorted(names):
            path = os.path.join(folder, name)
            if name.endswith(".tar.gz"):
                with tarfile.open(path) as archive:
                    for member in archive:
                        if member.isfile():
                            yield f"{name}:{member.name}", archive.extractfile(member).read(2 << 20)
            else:
                with open(path, "rb") as f:
                    yield os.path.relpath(path, place), f.read(2 << 20)


def connect():
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(60)
    s.connect(D.unix)
    return s


def daemon_cpu():
    with open(f"/proc/{D.process.pid}/stat", encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident():
    with open(f"/proc/{D.process.pid}/statm", encoding="ascii") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE")


class Caller:
    """Calls over one kept-alive connection."""

    def __init__(self):
        self.socket = connect()

    def post(self, body):
        """True when it was answered by one answer, a value or a fault."""
        self.socket.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        got = b""
        while b"</methodResponse>" not in got:
            more = self.socket.recv(65536)
            if not more:
                self.socket = connect()
                return False
            got += more
        return got.startswith(b"HTTP/1.1 200 ") and got.count(b"HTTP/1.1 ") == 1 and (b"<fault>" in got or b"<params>" in got)


def test_documents():
    caller, n, slow = Caller(), 0, []
    for name, body in documents("xmlrpc"):
        # As it is, and each piece of it that looks like a document of its own.
        pieces = [body] + [b"<?xml" + x for x in body.split(b"<?xml")[1:50]]
        before = daemon_cpu()
        unanswered = [p for p in pieces if not caller.post(p)]
        if daemon_cpu() - before > LIMIT * len(pieces) + 0.02:  # the clock ticks 100 times a second
            slow.append((name, daemon_cpu() - before))
        n += len(pieces)
        if unanswered:
            ok(False, f"{name} is answered", D.log()[-1000:])
    if n:
        ok(D.process.poll() is None and D.proxy().ping()["code"] == 0, f"{n} documents: each is answered and the daemon lives")
        ok(not slow, "none takes more than 50 ms of processor time", slow[:5])
    else:
        skip("documents that others collected", "there are none beside the sources")


def send_request(data):
    s = connect()
    try:
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)
    except OSError:
        pass
    return s


def test_requests():
    """Many at once: what is left incomplete is closed by the deadline of headers, and that takes its second."""
    before, n, bad = resident(), 0, []
    waiting, spent = list(documents("http")), daemon_cpu()
    while waiting:
        batch, waiting = waiting[:600], waiting[600:]
        for name, s in [(name, send_request(data)) for name, data in batch]:
            with s:
                try:
                    while s.recv(65536):
                        pass
                except TimeoutError:
                    bad.append(name)
                except OSError:
                    pass
            n += 1
    spent = daemon_cpu() - spent
    if n:
        ok(D.process.poll() is None and D.proxy().ping()["code"] == 0 and not bad, f"{n} requests: each is answered or closed and the daemon lives", bad[:5])
        ok(spent < LIMIT * n / 10, f"{spent / n * 1e3:.2f} ms of processor time for one", spent)
        ok(resident() < before + GROWTH, "memory does not grow", (before, resident()))
    else:
        skip("requests that others collected", "there are none beside the sources")


D.start()
try:
    run_all([test_documents, test_requests, lambda: ok(D.stop() == 0, "it ends cleanly", D.log()[-3000:])])
finally:
    D.stop()
    D.remove()

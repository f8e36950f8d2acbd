#!/usr/bin/env python3
"""Documents that others collected against XML-RPC implementations, each sent to a daemon: it answers or refuses, and lives.

The collection is where FLOWSTREAM_CORPUS says (default: data/xmlrpc beside the sources or above them)."""
import os
import socket

from daemon import SOURCE, Daemon, ok, run_all, skip

PLACES = [os.environ.get("FLOWSTREAM_CORPUS", ""), os.path.join(SOURCE, "tests/data/xmlrpc"), os.path.join(SOURCE, "../shared/data/xmlrpc")]
D = Daemon()


def documents():
    for place in PLACES:
        for folder, _, names in os.walk(place) if place else ():
            for name in sorted(names):
                with open(os.path.join(folder, name), "rb") as f:
                    yield os.path.join(os.path.relpath(folder, place), name), f.read(2 << 20)


def post(body):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(20)
        s.connect(D.unix)
        s.sendall(b"POST /RPC2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Basic dGVzdGVyOnNlY3JldA==\r\nContent-Length: %d\r\n\r\n"
                  % len(body) + body)
        return b"".join(iter(lambda: s.recv(65536), b""))


def test_documents():
    n = 0
    for name, body in documents():
        # As it is, and each piece of it that looks like a document of its own.
        pieces = [body] + [b"<?xml" + x for x in body.split(b"<?xml")[1:50]]
        answered = all(b" 200 " in post(p).split(b"\r\n", 1)[0] for p in pieces)
        n += len(pieces)
        if not answered:
            ok(False, f"{name} is answered", D.log()[-1000:])
    if n:
        ok(D.process.poll() is None and D.proxy().ping()["code"] == 0, f"{n} documents: each is answered and the daemon lives")
    else:
        skip("documents that others collected", "there are none beside the sources")


D.start()
try:
    run_all([test_documents, lambda: ok(D.stop() == 0, "it ends cleanly", D.log()[-3000:])])
finally:
    D.stop()
    D.remove()

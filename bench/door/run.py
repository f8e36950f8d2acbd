#!/usr/bin/env python3
"""The front door and the task engine in figures, each against a peer in the same run.

usage: bench/door/run.py [--seconds N] [--rounds N] [--held N] [--slow N] [--tasks N] [calls] [crowd] [engine]

calls    calls/s over 16 connections: libmicrohttpd with nothing behind it, ping and an empty task, with and without credentials and TLS; rounds are
         interleaved, so that all meet the same disturbances, and on a busy machine the server's processor time for a call is the better figure
crowd    a good call while so many connections are held and others send a byte a second
engine   empty tasks/s, and with a million queued
Run it from the build folder (or with FLOWSTREAM_BUILD naming it)."""
import argparse
import base64
import os
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "tests", "core"))
from daemon import ANY, BUILD, CREDENTIALS, Daemon  # noqa: E402  pylint: disable=wrong-import-position

SECRET = base64.b64encode(CREDENTIALS.encode()).decode()
LOAD = os.path.join(BUILD, "bench/rpc/rpc-load")
FLOOD = """
    double n = fs_get_double(fs_call_param(call, 0), "n", 0);
    for (double i = 0; i < n; i++) {
        struct fs_reply reply = { 0 };
        if (!fs_call_submit(call, "empty", fs_struct(), false, &reply)) {
            fs_call_fail(call, "after %g: %s", i, reply.message);
            fs_reply_clear(&reply);
            return;
        }
    }
    fs_call_return(call, fs_int((int) n));
"""


def start(tls=None, credentials=True, limits=""):
    daemon = Daemon(level="warning", credentials=credentials, limits=limits,
                    extra='<log module="daemon" level="info"/>' + (f'<tls certificate="{tls}/cert.pem" key="{tls}/key.pem"/>' if tls else ""))
    daemon.drop("task", "empty", "", ANY)
    daemon.drop("task", "flood", FLOOD, ANY)
    return daemon.start()


def certificate():
    folder = os.path.join(BUILD, "bench/door/tls")
    os.makedirs(folder, exist_ok=True)
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "key.pem", "-out",
                    "cert.pem", "-days", "2", "-subj", "/CN=bench"], cwd=folder, check=True, capture_output=True)
    os.chmod(os.path.join(folder, "key.pem"), 0o600)
    return folder


def cpu(pid):
    """Seconds of processor time of a process."""
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{thread}/schedstat", encoding="ascii") as f:
                total += int(f.read().split()[0])
        except FileNotFoundError:
            pass
    return total / 1e9


def calls(options):
    tls = certificate()
    bare = [subprocess.Popen([os.path.join(BUILD, "bench/door/bare-mhd"), *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for words in ((), (f"{tls}/cert.pem", f"{tls}/key.pem"))]
    daemons = [start(), start(credentials=False), start(tls=tls), start(tls=tls, credentials=False)]
    try:
        ports = [int(b.stdout.readline()) for b in bare]
        rows = [("bare libmicrohttpd", f"tcp:{ports[0]}", "ping", True, 0), ("ping", f"tcp:{daemons[1].port}", "ping", False, 0),
                ("ping, credentials", f"tcp:{daemons[0].port}", "ping", True, 0),
                ("empty task, credentials", f"tcp:{daemons[0].port}", "run_task:empty", True, 0),
                ("bare libmicrohttpd, TLS", f"tls:{ports[1]}", "ping", True, 4), ("ping, TLS", f"tls:{daemons[3].port}", "ping", False, 4),
                ("ping, TLS, credentials", f"tls:{daemons[2].port}", "ping", True, 4),
                ("empty task, TLS, credentials", f"tls:{daemons[2].port}", "run_task:empty", True, 4)]
        pids = [bare[0].pid, daemons[1].process.pid, daemons[0].process.pid, daemons[0].process.pid, bare[1].pid, daemons[3].process.pid,
                daemons[2].process.pid, daemons[2].process.pid]
        rates, costs = [[] for _ in rows], [[] for _ in rows]
        for _ in range(options.rounds):
            for i, (_, where, method, credentials, _) in enumerate(rows):
                before = cpu(pids[i])
                done = subprocess.run([LOAD, where, method, "16", str(options.seconds), *([SECRET] if credentials else [])], capture_output=True, text=True,
                                      check=True)
                rates[i].append(float(done.stdout))
                costs[i].append((cpu(pids[i]) - before) * 1e6 / (rates[i][-1] * options.seconds))
        print(f"{'':<30} {'calls/s: median':>16} {'least':>8} {'most':>8} {'of bare':>8} {'processor us':>13} {'of bare':>8}")
        middle = options.rounds // 2
        for i, row in enumerate(rows):
            ordered = sorted(rates[i])
            shares = sorted(a / b for a, b in zip(rates[i], rates[row[4]]))
            cost, bare_cost = sorted(costs[i])[middle], sorted(costs[row[4]])[middle]
            print(f"{row[0]:<30} {ordered[middle]:16.0f} {ordered[0]:8.0f} {ordered[-1]:8.0f} {shares[middle]:8.0%} {cost:13.1f} {bare_cost / cost:8.0%}", flush=True)
    finally:
        for b in bare:
            b.stdin.close()
            b.wait()
        for d in daemons:
            d.stop()
            d.remove()


def latencies(daemon, n, fresh):
    """Milliseconds of n pings, sorted."""
    body = b"<methodCall><methodName>ping</methodName></methodCall>"
    data = b"POST /RPC2 HTTP/1.1\r\nHost: x\r\nAuthorization: Basic %b\r\nContent-Length: %d\r\n\r\n" % (SECRET.encode(), len(body)) + body
    times, s = [], None
    for _ in range(n):
        began = time.perf_counter()
        if fresh or not s:
            s = socket.create_connection(("127.0.0.1", daemon.port))
        s.sendall(data)
        got = b""
        while b"</methodResponse>" not in got:
            more = s.recv(65536)
            if not more:
                raise RuntimeError(f"closed after {got}")
            got += more
        times.append((time.perf_counter() - began) * 1e3)
        if fresh:
            s.close()
        time.sleep(0.002)
    return sorted(times)


def status_kb(daemon, field):
    with open(f"/proc/{daemon.process.pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith(field))


class Crowd:
    """Connections that are held, of which 'slow' ones send a byte of a header now and then; in a process of its own."""

    def __init__(self, port, held, slow):
        self.child = subprocess.Popen([sys.executable, __file__, "--crowd", f"{port},{held},{slow}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.child.stdout.readline()

    def end(self):
        """How many of them had been closed."""
        self.child.stdin.close()
        lost = self.child.stdout.readline()
        self.child.wait()
        return lost.strip()


def be_crowd(port, held, slow):
    import resource  # pylint: disable=import-outside-toplevel
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    crowd = []
    for i in range(held + slow):
        crowd.append(socket.create_connection(("127.0.0.1", port), source_address=(f"127.0.{i // 5000}.2", 0)))
        if i >= held:
            crowd[-1].sendall(b"POST /RPC2 HTTP/1.1\r\nX: " if i % 2 else b"P")
        crowd[-1].setblocking(False)
    print("ready", flush=True)
    ending = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ending.set()), daemon=True).start()
    while not ending.wait(1):
        for s in crowd[held + 1::2]:
            try:
                s.send(b"a")
            except OSError:
                pass
    lost = 0
    for s in crowd:
        try:
            lost += s.recv(1) == b""
        except BlockingIOError:
            pass
        except OSError:
            lost += 1
    print(lost, flush=True)


def crowd(options):
    print(f"{'connections':<38} {'ping: median':>12} {'99%':>9} {'worst':>9}   (ms)")
    daemon = start(limits='<limits connections="19000" header-seconds="600" idle="600"/>')
    try:
        def row(name, fresh):
            t = latencies(daemon, options.pings, fresh)
            print(f"{name:<38} {t[len(t) // 2]:12.2f} {t[len(t) * 99 // 100]:9.2f} {t[-1]:9.2f}", flush=True)

        row("alone, kept alive", False)
        row("alone, a new connection each", True)
        before = status_kb(daemon, "VmRSS")
        many = Crowd(daemon.port, options.held, options.slow)
        row(f"{options.held} held, {options.slow} slow, kept alive", False)
        row(f"{options.held} held, {options.slow} slow, new each", True)
        memory = status_kb(daemon, "VmRSS") - before
        print(f"memory: {memory / (options.held + options.slow):.1f} kB a connection; closed meanwhile: {many.end()}")
    finally:
        daemon.stop()
        daemon.remove()


def engine(options):
    def process():
        return daemon.proxy().get_statistics()["value"]["process"]

    print(f"{'empty tasks':<34} {'queued':>9} {'submitted/s':>12} {'run/s':>9} {'processor us':>13}")
    for threads, n in ((16, options.tasks // 10), (1, options.tasks)):
        daemon = start(limits=f'<limits tasks="2000000" task-bytes="1000000000" task-threads="{threads}"/>')
        try:
            began = time.monotonic()
            before = cpu(daemon.process.pid)
            answer = daemon.proxy().run_task("flood", {"n": n}, {"wait": 50})
            while answer["code"] == -1:
                time.sleep(0.1)
                answer = {"code": 0} if process()["task_results"] else answer
            submitted = time.monotonic() - began
            queued = process()["tasks_waiting"]
            if answer["code"]:
                raise RuntimeError(answer["message"])
            while process()["tasks_done"] < n + 1:
                time.sleep(0.02)
            spent = time.monotonic() - began
            print(f"{f'{n} by {threads} threads at first':<34} {queued:9} {n / submitted:12.0f} {n / spent:9.0f} {(cpu(daemon.process.pid) - before) * 1e6 / n:13.1f}   memory {process()['resident_bytes'] / 1e6:.0f} MB",
                  flush=True)
        finally:
            daemon.stop()
            daemon.remove()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--held", type=int, default=10000)
    parser.add_argument("--slow", type=int, default=5000)
    parser.add_argument("--pings", type=int, default=1000)
    parser.add_argument("--tasks", type=int, default=1000000)
    parser.add_argument("--crowd", help=argparse.SUPPRESS)
    parser.add_argument("parts", nargs="*", help="calls, crowd, engine; default all")
    options = parser.parse_args()
    if options.crowd:
        be_crowd(*map(int, options.crowd.split(",")))
        return
    for name, part in (("calls", calls), ("crowd", crowd), ("engine", engine)):
        if not options.parts or name in options.parts:
            part(options)
            print()


main()

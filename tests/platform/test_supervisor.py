"""The supervisor of 'flowstream up': what is killed is back, callers are not refused, what cannot run is left in peace for longer and longer, and it may itself be killed."""

import contextlib
import errno
import os
import signal
import socket
import sys
import threading
import time
import urllib.parse
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from flowtest import PATIENCE, Platform, Tests, flowstream, need_root_of_namespaces, until  # noqa: E402
from oracle import Ledger, Oracle  # noqa: E402
from traffic import send, udp, watch  # noqa: E402

from flowstream import embedded, processes, supervision  # noqa: E402

need_root_of_namespaces()
tests = Tests()
CHAIN = 'NAME=s\nin :: FromNet("in_port=net0,udp,tp_dst=1999")\nin -> a :: Counter("") -> b :: Counter("") -> ToNet("net1")\n'


def parts(p):
    return {part["name"]: part for part in embedded.parts(p.record)}


def kill(p, name):
    pid = p.process(name)
    os.kill(pid, signal.SIGKILL)
    return pid


def is_back(p, name, before):
    """Another process than before, that answers if it can."""
    part = parts(p)[name]
    if part["pid"] in (None, before):
        return False
    with contextlib.suppress(flowstream.Error):
        return name not in p.record.data["daemons"] or p.client.call(name, "ping", deadline=5) == "pong"
    return False


def works(p, what):
    def whole():
        with contextlib.suppress(flowstream.Error):
            return p.client.hosts_up() == ["h1", "h2", "h3"] and p.client.call("resource", "get_statistics")["switches_prepared"]
    until(40, whole, 0.1)

    def passes():
        with contextlib.suppress(OSError), watch(p, "net1") as out:  # a port's outside may be away for a moment
            send(p, "net0", [udp(n, 1999) for n in range(20)])
            return out.wait(20, 3 * PATIENCE)
    tests.check(until(20, passes, 0.2), f"{what}: traffic goes through the allocation")


def test_each(p):
    """kill -9 of each: back within seconds."""
    slowest = ("", 0.0)
    for name in [part["name"] for part in embedded.parts(p.record) if part["name"] != supervision.NAME]:
        before, begin = kill(p, name), time.monotonic()
        back = until(15, lambda: is_back(p, name, before), 0.01)
        took = time.monotonic() - begin
        slowest = max(slowest, (name, took), key=lambda one: one[1])
        if not back:
            tests.check(False, f"kill -9 of {name}: it is back", (p.dir / "supervisor/log").read_text())
    tests.check(slowest[1] < 10 * PATIENCE, f"kill -9 of each: back within seconds, {slowest[0]} as the last after {slowest[1]:.2f} s")
    for path in sorted(p.dir.glob("hosts/*/mux/pid")):
        before = processes.read_pid(path)
        before.signal(signal.SIGKILL)
        tests.check(until(20, lambda: (now := processes.read_pid(path)) and now.pid != before.pid and now.alive()), f"the multiplexer of {path.parts[-3]} is back", path)
    works(p, "after kill -9 of each")
    said = p.command("status").stdout
    tests.check("RESTARTS" in said and "killed by signal 9" in said, "status tells restarts and how it ended", said)


def test_not_refused(p):
    """While a daemon is killed again and again, each new connection is taken; it may wait."""
    address = urllib.parse.urlsplit(p.client.record.data["daemons"]["resource"]["url"])
    path, refused, made, over = p.folder_of("resource") / "rpc.sock", [], [0], threading.Event()

    def connect():
        while not over.is_set():
            for family, where in ((socket.AF_INET, (address.hostname, address.port)), (socket.AF_UNIX, str(path))):
                with socket.socket(family, socket.SOCK_STREAM) as s:
                    s.settimeout(30)
                    try:
                        s.connect(where)
                        made[0] += 1
                    except OSError as error:
                        refused.append(f"{where}: {errno.errorcode.get(error.errno, error)}")
            time.sleep(0.003)  # some hundred a second: more than one can wait would be turned away, as at any door

    thread = threading.Thread(target=connect)
    thread.start()
    try:
        for _ in range(4):
            before = kill(p, "resource")
            until(15, lambda: is_back(p, "resource", before), 0.01)
    finally:
        over.set()
        thread.join()
    tests.check(made[0] > 100 and not refused, f"of {made[0]} connections during four kills of the daemon none is refused", "\n".join(refused[:5]))


def test_hopeless(p):
    """One that ends at once every time: longer and longer pauses, said in status; nobody waits at its sockets; it comes back when it can."""
    config = p.folder_of("monitoring") / "config.xml"
    good = config.read_text()
    config.write_text("<daemon")
    kill(p, "monitoring")
    tests.check(until(30, lambda: parts(p)["monitoring"].get("next_try", 0) > 1.5, 0.05), "the pauses grow", parts(p)["monitoring"])
    part = parts(p)["monitoring"]
    tests.check(part["restarts"] < 12 and part["last_exit"] == "ended with status 1", "with few tries until then", part)
    done = p.command("status")
    tests.check(done.returncode == 1 and "started again in" in done.stdout and "ended with status 1" in done.stdout, "status says when it is tried next, and how it ended", done.stdout)
    until(30, lambda: parts(p)["monitoring"].get("next_try", 0) > 2.5, 0.05)
    tests.refused("in a long pause callers hear at once that it is down", ["monitoring", "refused"], p.client.call, "monitoring", "ping", deadline=5)
    config.write_text(good)
    done = p.command("start", "monitoring", timeout=60)
    tests.check(done.returncode == 0 and p.client.call("monitoring", "ping") == "pong", "'start' tries at once", done.stderr)


def test_supervisor_killed(p):
    before = {name: part["pid"] for name, part in parts(p).items() if name != supervision.NAME}
    kill(p, supervision.NAME)
    until(10, lambda: not supervision.running(p.record))
    tests.check(p.command("status").returncode == 1, "status says that the supervisor has ended")
    tests.same(p.client.call("resource", "ping"), "pong", "all others go on")
    done = p.command("up")
    tests.check(done.returncode == 0 and "a new one takes over" in done.stderr, "'up' starts a new one", done.stderr)
    p.record = flowstream.folder.Record.load(p.dir)
    tests.same({name: part["pid"] for name, part in parts(p).items() if name != supervision.NAME}, before, "which takes over all that runs, as it is")
    done = p.command("up")
    tests.check(done.returncode == 1 and "already up" in done.stderr, "one more 'up' is refused", done.stderr)
    pid = kill(p, "openflow")
    tests.check(until(15, lambda: is_back(p, "openflow", pid), 0.02), "what it took over is started again as well")
    test_not_refused(p)
    os.kill(p.process(supervision.NAME), signal.SIGTERM)
    until(10, lambda: not supervision.running(p.record))
    tests.same(p.client.call("pm", "ping"), "pong", "SIGTERM ends it alone")
    tests.same(p.command("start").returncode, 0, "'start' starts it again")
    p.record = flowstream.folder.Record.load(p.dir)
    tests.check(supervision.running(p.record), "it runs")


def test_ports(p):
    """Ports and bridges that somebody takes away: those of the platform are made again, by whoever made them; another's are left as he leaves them."""
    standing = Oracle(p, Ledger(p.scratch / "none"))  # for its witnesses: ports by bridge
    host = next(m["host"] for m in p.client.list_allocations()[0]["modules"])
    fabric = next(name for name in p.record.data["namespaces"] if name.endswith("-fabric"))

    def vsctl(*words):
        return processes.run(["ovs-vsctl", f"--db=unix:{p.dir}/ovs/db.sock", *words])
    vsctl("add-port", "tor0", "stranger", "--", "set", "Interface", "stranger", "type=internal")
    for what, take in (("its trunk", lambda: vsctl("del-port", f"{host}-trunk")), ("the trunk's interface", lambda: processes.run(["ip", "-n", fabric, "link", "delete", f"{host}-trunk"])),
                       ("its uplink, both ends", lambda: vsctl("del-port", f"{host}-up", "--", "del-port", f"to-{host}")),
                       ("a network port's interface", lambda: processes.run(["ip", "-n", fabric, "link", "delete", "net0"])), ("its bridge", lambda: vsctl("del-br", f"br-{host}"))):
        take()
        tests.check(until(25, lambda: standing.ports() == standing.base_ports | {"tor0": sorted([*standing.base_ports["tor0"], "stranger"])} and p.client.get_drift()["in_step"], 0.1),
                    f"{what} taken away: all ports are there again", standing.ports())
        works(p, f"{what} taken away")
    vsctl("del-port", "stranger")
    said = p.logs()
    tests.check("is one again" in said and "had been taken away: made again" in said, "the logs say so")
    time.sleep(1)
    tests.same(standing.ports(), standing.base_ports, "a port that nobody of us made stays away")


with Platform(supervise=True) as platform:
    ledger = Ledger(platform.scratch / "ledger")
    oracle = Oracle(platform, ledger)
    ledger.install(platform.client, "standing", CHAIN, ("a", "b"))
    for story in (test_each, test_ports, test_not_refused, test_hopeless, test_supervisor_killed):
        begun = time.monotonic()
        with tests.story(story.__name__):
            story(platform)
        print(f"# {story.__name__}: {time.monotonic() - begun:.1f} s", flush=True)
    works(platform, "after all that")
    problems = oracle.settle(20)
    tests.check(not problems, "what was answered is there, and nothing else", "\n".join(problems))
tests.check(not platform.leftovers, "down leaves nothing", platform.leftovers)
tests.end()

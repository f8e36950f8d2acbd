"""What is away, or there twice: switches and lines that never answer, ports and hosts that are no more, strangers.  The rest goes on, and what was to be done is done when it is back."""

import contextlib
import functools
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

import breaking  # noqa: E402
from breaking import chain, kill, settled, start  # noqa: E402
from flowtest import PATIENCE, Platform, Tests, flowstream, need_root_of_namespaces, until  # noqa: E402

need_root_of_namespaces()
tests = Tests()
works = functools.partial(breaking.works, tests)


class Line:
    """A TCP port in front of a socket, which connect() connects to.  What is connected while it is cut hears nothing, as behind a network that loses all packets."""

    def __init__(self, connect, cut=False):
        self.cut, self.held, self._connect, self._listening = cut, [], connect, socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            near, _ = self._listening.accept()
            if self.cut:
                self.held.append(near)
            else:
                far = self._connect()
                for ends in ((near, far), (far, near)):
                    threading.Thread(target=self._pass, args=ends, daemon=True).start()

    def _pass(self, a, b):
        with contextlib.suppress(OSError):
            while data := a.recv(65536):
                if self.cut:
                    self.held.append((a, b))
                    return
                b.sendall(data)
            b.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def configured(p, name, old, new):
    """A daemon with another text in its configuration."""
    config = p.folder_of(name) / "config.xml"
    whole = config.read_text()
    try:
        config.write_text(whole.replace(old, new))
        kill(p, name)
        start(p, name)
        yield
    finally:
        config.write_text(whole)
        kill(p, name)
        start(p, name)


def incarnation(p, name):
    return next(host["incarnation"] for host in p.client.list_hosts() if host["name"] == name)


@contextlib.contextmanager
def line_to_switch(p, name):
    """The bridge of a host is reached by a line that can be cut."""
    def connect():
        far = socket.socket(socket.AF_UNIX)
        far.connect(str(path))
        return far
    path, before = p.dir / f"ovs/br-{name}.mgmt", incarnation(p, name)
    line = Line(connect)
    with configured(p, f"modulehost:{name}", f"unix:{path}", f"tcp:127.0.0.1:{line.port}"):
        until(20, lambda: incarnation(p, name) != before and settled(p))
        yield line
        line.cut = False
    tests.check(settled(p), "with its own switch again the host is up")


def test_silent_switch(p):
    """A switch that never answers: rules that are removed from another one are back as soon as ever."""
    standing = p.client.install_allocation(chain(7025).replace('("")', '("") {hosts=h1}'))
    with line_to_switch(p, "h3") as line:
        line.cut = True
        time.sleep(3)
        before, gaps = len(p.rules(standing)), []
        for _ in range(3):
            subprocess.run(["ovs-ofctl", "-OOpenFlow14", "del-flows", p.bridges()["tor0"], f"cookie={0xf105 << 48 | standing << 16:#x}/0xffffffffffff0000"], check=True)
            begin = time.monotonic()
            until(30, lambda: len(p.rules(standing)) == before)
            gaps.append(time.monotonic() - begin)
        tests.check(sorted(gaps)[1] < 7, "another switch has rules that were removed by hand back before the silent one's time is over", gaps)
        print(f"# after {', '.join(f'{gap:.1f}' for gap in gaps)} s")
    p.client.delete_allocation(standing)
    works(p, 7027, "after a switch was silent")


def test_unsettled(p):
    """Deletions that wait for a switch which never answers do not keep others from being settled."""
    def ask(method, argument):
        with contextlib.suppress(flowstream.Error), flowstream.Client(p.dir) as client:
            client.call("resource", method, argument)

    def ask_all(method, arguments):
        threads = [threading.Thread(target=ask, args=(method, argument)) for argument in arguments]
        for thread in threads:
            thread.start()
        return threads

    def states():
        with contextlib.suppress(flowstream.Error):
            return {a["id"]: a["state"] for a in p.client.list_allocations()}
    with line_to_switch(p, "h3") as line:
        late, *stuck = (p.client.install_allocation(chain(7050 + n).replace('("")', '("") {hosts=h3}')) for n in range(7))
        waiting = {late: "installed", **dict.fromkeys(stuck, "deleting")}
        line.cut = True
        for thread in ask_all("delete_allocation", stuck):
            thread.join()
        tests.same(states(), waiting, "six cannot be deleted")
        stopped = kill(p, "modulehost:h2", signal.SIGSTOP)
        ask_all("install_allocation", [chain(7057).replace('("")', '("") {hosts=h2}')])
        tests.check(until(20, lambda: "installing" in states().values(), 0), "one is being installed", states())
        kill(p, "resource")
        os.kill(stopped, signal.SIGCONT)
        start(p, "resource")
        begin = time.monotonic()
        tests.check(until(20, lambda: states() == waiting, 0.2), "when the resource daemon has died it is taken away while they wait", states())
        print(f"# after {time.monotonic() - begin:.1f} s")
        away = re.compile(r"switch br-h3 is not connected since (\d\d+) s")
        tests.check(until(40, lambda: away.search(" ".join(a["message"] for a in p.client.list_allocations())), 0.2), "a switch that is away for long is not asked any more", p.client.list_allocations())
        begin = time.monotonic()
        tests.refused("a deletion that needs it says so", ["br-h3 is not connected since"], p.client.delete_allocation, late)
        tests.check(time.monotonic() - begin < 4 * PATIENCE, "at once", f"{time.monotonic() - begin:.1f} s")
    tests.check(until(60, lambda: states() == {}, 0.2), "with the switch back they are gone", states())
    works(p, 7058, "after deletions that waited")


def test_port_gone(p):
    """A network port is away: who needs it says so all the time, and the rules of others in that switch are left as they are."""
    def vsctl(*words):
        return subprocess.run(["ovs-vsctl", f"--db=unix:{p.dir}/ovs/db.sock", "--timeout=30", *words], check=True)

    def ages():
        return [float(re.search(r"duration=([0-9.]+)", rule)[1]) for rule in p.rules(standing)]
    standing = p.client.install_allocation(chain(7028))
    needy = p.client.install_allocation('FromNet("in_port=net0,udp,tp_dst=7029") -> ToNet("tun1")\n')
    vsctl("del-port", "tun1")
    tests.check(until(20, lambda: p.client.get_allocation(needy)["state"] == "degraded"), "an allocation whose port is gone is degraded", p.client.get_allocation(needy))
    before = ages()
    said = {(one["state"], "tun1" in one["message"]) for one in (p.client.get_allocation(needy) for _ in range(50) if not time.sleep(0.1))}
    tests.same(said, {("degraded", True)}, "it stays so while the port is away, with the reason")
    tests.check(all(after > age + 4 for age, after in zip(before, ages())), "the rules of another one in that switch are not put there again and again", (before, ages()))
    vsctl("add-port", "tor0", "tun1")
    tests.check(until(20, lambda: (one := p.client.get_allocation(needy))["state"] == "installed" and not one["message"]), "with the port back it has no complaint",
                p.client.get_allocation(needy))
    for id_ in (standing, needy):
        p.client.delete_allocation(id_)


def test_stranger(p):
    """A host that is no server of the platform asks again every two seconds: the file is read again when it has changed, not each time, for all plans are entered anew then."""
    path = p.dir / "platform.xml"
    whole, host = path.read_bytes(), {"name": "h77", "address": "http://127.0.0.1:9/RPC2", "switch": "unix:/nowhere", "trunk": "t", "incarnation": "1"}
    tests.refused("a host that is no server of the platform", ["h77", "no server"], p.client.register_host, host)
    times = path.stat()
    path.write_bytes(b"x" * len(whole))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # as if nothing had been written
    tests.refused("the same again, with a file that has not changed", ["h77", "no server"], p.client.register_host, host)
    path.write_bytes(b"x" * len(whole))
    tests.refused("with one that has changed and is none", ["platform.xml:1:"], p.client.register_host, host)
    links = b'<server id="h77" cpu="1" mem="64" bandwidth="10" delay="1"/><link a="tor0" b="h77" a-port="to-h77" b-port="h77-up" bandwidth="10" delay="1" mtu="1600"/>'
    path.write_bytes(whole.replace(b"</platform>", links + b"</platform>"))
    tests.check(p.client.register_host(host) is None and p.client.remove_host("h77") is None, "with one that has it as a server it is taken")
    path.write_bytes(whole)
    p.client.call("resource", "apply_platform", "")
    works(p, 7340, "after a stranger")


def test_namesake(p):
    """A second host that has the name of one, by mistake, does not take its place."""
    host = next(host for host in p.client.list_hosts() if host["name"] == "h2")
    other = {**{key: host[key] for key in ("name", "bridge", "switch", "trunk", "cpu", "mem", "basesys")}, "address": "http://127.0.0.1:9/RPC2", "incarnation": "other"}
    tests.refused("a host of the same name at another address", ["there is a host h2 at " + host["address"]], p.client.register_host, other)
    works(p, 7341, "after a namesake")
    kill(p, "modulehost:h2")

    def is_taken():
        with contextlib.suppress(flowstream.Error):
            return p.client.register_host(other) is None
    tests.check(until(20, is_taken, 0.5), "when nothing is heard of the first one for long it is taken: it may have moved")
    start(p, "modulehost:h2")
    tests.check(until(20, lambda: any(one["address"] == host["address"] for one in p.client.list_hosts()) and settled(p)), "and the first one as well")
    works(p, 7342, "after a host has moved")


def test_cut_while_installed(p):
    """A network port is taken out of the platform by force while somebody installs what leaves there: that does not stay."""
    whole, answers = (p.dir / "platform.xml").read_text(), {}
    without = re.sub(r'<io [^>]*id="tun1"[^>]*/>|<link [^>]*"tun1"[^>]*/>', "", whole)

    def ask(method, *arguments):
        with flowstream.Client(p.dir) as client:
            try:
                answers[method] = client.call("resource", method, *arguments)
            except flowstream.Error as error:
                answers[method] = str(error)
    stopped = kill(p, "ovs-vswitchd", signal.SIGSTOP)
    threads = [threading.Thread(target=ask, args=("install_allocation", 'NAME=cut\nFromNet("in_port=net0,udp,tp_dst=7343") -> ToNet("tun1")\n')),
               threading.Thread(target=ask, args=("apply_platform", without, {"force": True}))]
    threads[0].start()
    tests.check(until(10, lambda: [a["state"] for a in p.client.list_allocations() if a["paths"]] == ["installing"], 0), "an allocation is being installed", p.client.list_allocations())
    threads[1].start()
    time.sleep(1)
    os.kill(stopped, signal.SIGCONT)
    for thread in threads:
        thread.join()
    tests.check(until(20, lambda: not p.client.list_allocations()), "without the port it is gone", (answers, p.client.list_allocations()))
    tests.same([cut["name"] for cut in answers["apply_platform"]["cut"]], ["cut"], "the answer says so")
    p.client.call("resource", "apply_platform", whole)
    works(p, 7344, "after a port was cut off")


def test_host_not_in_file(p):
    """A host was taken out of the platform file while the resource daemon was down: it is missed by nobody."""
    path = p.dir / "platform.xml"
    whole = path.read_text()
    kill(p, "resource")
    path.write_text(re.sub(r'<server [^>]*id="h3"[^>]*/>|<link [^>]*"h3"[^>]*/>', "", whole))
    start(p, "resource")
    tests.check(until(20, lambda: p.client.hosts_up() == ["h1", "h2"]), "the other two are up", p.client.list_hosts())
    tests.check(until(10, lambda: p.client.get_drift()["differences"] == []), "there is no drift", p.client.get_drift())
    tests.same(p.client.collect_garbage(dry_run=True)["problems"], [], "nor is anything that could not be looked at")
    kill(p, "resource")
    path.write_text(whole)
    start(p, "resource")
    tests.check(settled(p), "with it in the file it is back")
    works(p, 7345, "after a host was not in the file")


def test_line_cut(p):
    """A host whose way to the resource daemon loses what is sent: when it is whole again the host is soon heard, not only when the lost call is given up."""
    port = int(p.client.url("resource").rpartition(":")[2].partition("/")[0])
    line, before = Line(lambda: socket.create_connection(("127.0.0.1", port)), cut=True), incarnation(p, "h3")
    with configured(p, "modulehost:h3", f":{port}/", f":{line.port}/"):
        tests.check(until(20, lambda: len(line.held) > 1), "a host that is cut off tries to register: when it is set up, and at its regular times")
        line.cut = False
        begin = time.monotonic()
        tests.check(until(15, lambda: incarnation(p, "h3") != before), "when the line is whole again it is soon heard", f"{time.monotonic() - begin:.1f} s")
        print(f"# after {time.monotonic() - begin:.1f} s")
    settled(p)


STORIES = (test_silent_switch, test_unsettled, test_port_gone, test_stranger, test_namesake, test_cut_while_installed, test_host_not_in_file, test_line_cut)
with Platform() as platform:
    for story in STORIES:
        if sys.argv[1:] and story.__name__ not in sys.argv[1:]:
            continue
        begun = time.monotonic()
        with tests.story(story.__name__):
            story(platform)
        print(f"# {story.__name__}: {time.monotonic() - begun:.1f} s", flush=True)
    reports = platform.logs()
    tests.check("Sanitizer" not in reports and "runtime error:" not in reports and "Assertion" not in reports, "no report of a sanitizer and no assertion in any log",
                "\n".join(line for line in reports.splitlines() if "Sanitizer" in line or "runtime error:" in line or "Assertion" in line))
tests.check(not platform.leftovers, "down leaves nothing", platform.leftovers)
tests.end()

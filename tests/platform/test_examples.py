#!/usr/bin/python3
"""Each request in examples/ with real traffic: what comes out at which port, byte for byte, counted by sniffers on the wire.

usage: test_examples.py [PLATFORM-FILE]    (default: the platform of "flowstream up")

Frames of our own come first, then TCP, then captures of real networks, where they are there.  On another platform than the default one all examples are run as
well, but not what does not depend on the platform.
"""

import hashlib
import json
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from flowtest import BUILD, ROOT, SHARED, Platform, Tests, need_root_of_namespaces, until  # noqa: E402
from flowstream import netns, pcap, ports  # noqa: E402

US, THEM = b"\x02\0\0\0\0\x01", b"\x02\0\0\0\0\x02"
MARK = b"flowstream example "
TRACES = ("tcpreplay_test.pcap", "packets_synscan.pcapng", "ndpi_gnutella.pcap", "zeek_dhcp_flood.pcap")
PPS = 400  # slow enough for a busy computer
MOMENT = 0.5 if len(sys.argv) == 1 else 0.1
PIECE = 40  # frames that the sockets of a switch hold in any case


def checksum(data):
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ipv4(protocol, payload, source="10.10.1.2", to="8.8.8.8"):
    header = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 1, 0, 64, protocol, 0, socket.inet_aton(source), socket.inet_aton(to))
    return header[:10] + struct.pack(">H", checksum(header)) + header[12:] + payload


def ipv6(protocol, payload):
    return struct.pack(">IHBB", 6 << 28, len(payload), protocol, 64) + socket.inet_pton(socket.AF_INET6, "fd00::1") \
        + socket.inet_pton(socket.AF_INET6, "fd00::2") + payload


def udp(to, data):
    return struct.pack(">HHHH", 4000, to, 8 + len(data), 0) + data


def tcp(to, data):
    return struct.pack(">HHIIBBHHH", 4000, to, 1, 0, 0x50, 0x18, 1000, 0, 0) + data


def frame(kind, payload, tag=None):
    return THEM + US + (struct.pack(">HH", 0x8100, tag) if tag is not None else b"") + struct.pack(">H", kind) + payload


def data(name, size=100):
    return MARK + name.encode() + bytes(range(256))[:size]


class Witness:
    """All marked frames that leave the platform, by port, from construction on; a with statement ends it."""

    def __init__(self, platform, wanted=lambda frame: MARK in frame):
        self.frames = {port: [] for port in platform.record.data["ports"]}
        self._wanted = wanted
        self._over = threading.Event()
        self._listeners = {port: ports.Listener(platform.dir, port) for port in self.frames}
        self._threads = [threading.Thread(target=self._listen, args=(port,), daemon=True) for port in self.frames]
        for thread in self._threads:
            thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._over.set()
        for thread in self._threads:
            thread.join()
        for listener in self._listeners.values():
            listener.close()

    def drops(self):
        return sum(listener.drops() for listener in self._listeners.values())

    def _listen(self, port):
        while not self._over.is_set():
            seen = self._listeners[port].next(0.1)
            if seen is not None and not seen.inward and self._wanted(seen.data):
                self.frames[port].append(seen.data)


def send(platform, port, frames):
    with netns.open_socket(platform.namespace(port), socket.AF_PACKET, socket.SOCK_RAW) as out:
        out.bind(("eth0", 0))
        for one in frames:
            out.send(one)
            time.sleep(1 / PPS)


def rest(witness, wanted, seconds=15):
    """Wait until as many frames as wanted have come out, and a moment more for those that should not."""
    until(seconds, lambda: all(len(witness.frames[port]) >= len(frames) for port, frames in wanted.items()), 0.01)
    time.sleep(MOMENT)


def passes(tests, platform, port, sent, wanted, name):
    """The frames sent at the port come out as wanted (port: frames) and nowhere else, whatever their order."""
    with Witness(platform) as witness:
        send(platform, port, sent)
        rest(witness, wanted)
        tests.same(witness.drops(), 0, f"{name}: the witness missed nothing")
        for out, frames in witness.frames.items():
            want, got = Counter(wanted.get(out, [])), Counter(frames)
            tests.check(got == want, f"{name}: {len(wanted.get(out, []))} of {len(sent)} frames come out at {out}, byte for byte",
                        f"missing: {[one.hex(' ') for one in (want - got)][:3]}\ntoo many: {[one.hex(' ') for one in (got - want)][:3]}")


class Installed:
    """An installed request, by text and the options of install_allocation; a with statement deletes it."""

    def __init__(self, platform, text, **options):
        self._client = platform.client
        self._text = text
        self._options = options

    def __enter__(self):
        self.number = self._client.install_allocation(self._text, **self._options)
        return self

    def __exit__(self, *_):
        self._client.delete_allocation(self.number)

    def balanced(self, tests, platform, name):
        until(5, lambda: all(m["in"] == m["out"] + m["dropped"] or m["type"] == "Mirror" for m in platform.modules(self.number).values()))
        for module in platform.modules(self.number).values():
            if module["type"] != "Mirror":
                tests.same(module["in"], module["out"] + module["dropped"], f"{name}: module {module['name']} has in = out + dropped")


def example(name):
    return (ROOT / "examples" / f"{name}.flow").read_text()


def test_document(tests, platform):
    good = [frame(0x0800, ipv4(17, udp(53, data(f"{i}", i)))) for i in range(0, 200, 7)]
    other = [frame(0x0800, ipv4(17, udp(53, data(f"other {i}")), source="10.10.1.3")) for i in range(5)]
    with Installed(platform, example("document")):
        for port in ("net0", "net1"):
            opposite = {"net0": "net1", "net1": "net0"}[port]
            passes(tests, platform, port, good + other, {"tun1": good, opposite: other}, f"document.flow from {port}")


def test_web(tests, platform):
    allowed = [frame(0x0800, ipv4(6, tcp(80, data(f"{i}", i)))) for i in range(0, 200, 9)] + [frame(0x0800, ipv4(17, udp(53, data("name"))))]
    denied = [frame(0x0800, ipv4(6, tcp(81, data(f"{i}")))) for i in range(7)] + [frame(0x0800, ipv4(17, udp(54, data("x"))))]
    beside = [frame(0x86DD, ipv6(17, udp(54, data("v6")))), frame(0x88B5, data("unknown type"))]
    with Installed(platform, example("web")) as request:
        passes(tests, platform, "net0", allowed + denied + beside, {"net1": allowed + beside}, "web.flow there")
        passes(tests, platform, "net1", allowed + denied + beside, {"net0": allowed + denied + beside}, "web.flow back")
        tests.same(platform.modules(request.number)["fw"]["dropped"], float(len(denied)), "web.flow: the firewall dropped what it was to drop")
        download(tests, platform)
        request.balanced(tests, platform, "web.flow")


def download(tests, platform):
    """A megabyte by TCP, from an HTTP server at net1 to a client at net0."""
    content = hashlib.sha256(b"x").digest() * 32768
    file = platform.scratch / "page"
    file.write_bytes(content)
    platform.address("net0", "10.9.0.1/24")
    platform.address("net1", "10.9.0.2/24")
    server = platform.start_in("net1", sys.executable, "-m", "http.server", "80", "--bind", "10.9.0.2", "--directory", str(platform.scratch))
    try:
        got = platform.run_in("net0", "curl", "-s", "--retry", "20", "--retry-connrefused", "--retry-delay", "1", "--max-time", "60",
                              "http://10.9.0.2/page", timeout=90, text=False).stdout
    finally:
        server.terminate()
        server.wait()
    tests.same(hashlib.sha256(got).hexdigest(), hashlib.sha256(content).hexdigest(), "web.flow: a page of a megabyte comes whole through the firewall")


def test_mirror(tests, platform):
    copied = [frame(0x0800, ipv4(17, udp(7000, data(f"{i}", i)))) for i in range(0, 250, 9)]
    plain = [frame(0x0800, ipv4(17, udp(7001, data(f"{i}")))) for i in range(20)]
    beside = [frame(0x0800, ipv4(6, tcp(7000, data("tcp")))), frame(0x86DD, ipv6(17, udp(7000, data("v6"))))]
    with Installed(platform, example("mirror")) as request:
        passes(tests, platform, "net0", copied + plain + beside, {"net1": copied + plain + beside, "mon0": copied}, "mirror.flow there")
        passes(tests, platform, "net1", copied + plain, {"net0": copied + plain}, "mirror.flow back")
        request.balanced(tests, platform, "mirror.flow")


def test_split(tests, platform):
    web = [frame(0x0800, ipv4(6, tcp(80, data(f"{i}")))) for i in range(20)] + [frame(0x86DD, ipv6(6, tcp(80, data("v6"))))]
    denied = [frame(0x0800, ipv4(6, tcp(80, data("denied")), source="10.66.1.1"))]
    names = [frame(0x0800, ipv4(17, udp(53, data("v4")))), frame(0x86DD, ipv6(17, udp(53, data("v6"))))]
    pings = [frame(0x0800, ipv4(1, b"\x08\0\0\0\0\0\0\0" + data("v4"))), frame(0x86DD, ipv6(58, b"\x80\0\0\0\0\0\0\0" + data("v6")))]
    nothing = [frame(0x0800, ipv4(17, udp(54, data("no class")))), frame(0x88B5, data("unknown type"))]
    with Installed(platform, example("split")) as request:
        passes(tests, platform, "net0", web + denied + names + pings + nothing, {"net1": web + names + pings}, "split.flow")
        modules = platform.modules(request.number)
        tests.same([modules["sort"]["dropped"], modules["web"]["dropped"], modules["names"]["in"]], [float(len(nothing)), 1.0, 2.0],
                   "split.flow: each module saw its share")


def web(port, name, **addresses):
    return frame(0x0800, ipv4(6, tcp(port, data(f"{name} {port}")), **addresses))


def query(port, name, **addresses):
    return frame(0x0800, ipv4(17, udp(port, data(f"{name} {port}")), **addresses))


def ping(name, **addresses):
    return frame(0x0800, ipv4(1, b"\x08\0\0\0\0\0\0\0" + data(name), **addresses))


def test_chains(tests, platform):
    """Modules one behind the other, beside each other, and in parts that are written once."""
    good, bad = [web(80, "a"), web(443, "b")], [web(81, "c"), web(25, "d")]
    names, other, pings = [query(53, "e")], [query(54, "f")], [ping("g")]
    with Installed(platform, example("serial")) as request:
        passes(tests, platform, "net0", good + bad + names + other + pings, {"net1": good + bad + names + pings}, "serial.flow")
        tests.same(platform.modules(request.number)["before"]["in"] - platform.modules(request.number)["after"]["in"], 1.0, "serial.flow: one packet less behind the firewall")
    with Installed(platform, example("parallel")):
        passes(tests, platform, "net0", good + bad + names + other, {"net1": good + names}, "parallel.flow")
    with Installed(platform, example("gateway")):
        passes(tests, platform, "net0", good + bad + names + other + pings, {"net1": good[:1] + names + pings}, "gateway.flow there")
        passes(tests, platform, "net1", good + names + pings, {"net0": pings}, "gateway.flow back")
    with Installed(platform, example("compound"), files={"lib/guards.flow": (ROOT / "examples" / "lib" / "guards.flow").read_text()}):
        passes(tests, platform, "net0", good + bad + names, {"net1": good + names, "mon0": good}, "compound.flow")
    with Installed(platform, example("two-requests"), request="there"), Installed(platform, example("two-requests"), request="back"):
        passes(tests, platform, "net0", good + names, {"net1": good + names}, "two-requests.flow there")
        passes(tests, platform, "net1", good + names, {"net0": good + names}, "two-requests.flow back")


def test_instances(tests, platform):
    """Both directions of twenty connections, of which each instance has some."""
    near, far = [f"10.0.{i}.1" for i in range(20)], "8.8.8.8"
    there = [one(name, source=source, to=far) for source in near for one, name in ((lambda *a, **k: web(80, *a, **k), "page"), (ping, "ping"))]
    back = [one(name, source=far, to=to) for to in near for one, name in ((lambda *a, **k: web(80, *a, **k), "page"), (ping, "ping"))]
    bad = [web(25, "mail", source=source, to=far) for source in near]
    with Installed(platform, example("instances")) as request:
        passes(tests, platform, "net0", there + bad, {"net1": there}, "instances.flow there")
        passes(tests, platform, "net1", back, {"net0": back}, "instances.flow back")
        request.balanced(tests, platform, "instances.flow")
        counts = [platform.modules(request.number)[f"{name}[{i}]"]["in"] for name in ("guard", "sort") for i in (1, 2, 3)]
        tests.check(all(counts) and (sum(counts[:3]), sum(counts[3:])) == (100, 80), "instances.flow: each instance had its share", counts)


def test_choices(tests, platform):
    """Traffic that is told apart: by class, by exit, by priority, or only counted."""
    staff, guests, unknown = "10.0.1.7", "10.0.2.7", "10.0.3.7"
    good = [web(25, "staff", source=staff), ping("staff", source=staff), web(80, "guest", source=guests), query(53, "guest", source=guests), ping("unknown", source=unknown)]
    bad = [web(25, "guest", source=guests), ping("guest", source=guests), web(80, "unknown", source=unknown)]
    with Installed(platform, example("firewall-classes")):
        passes(tests, platform, "net0", good + bad, {"net1": good}, "firewall-classes.flow")
    with Installed(platform, example("monitor")):
        passes(tests, platform, "net0", good + bad, {"net1": good + bad, "mon0": good + bad}, "monitor.flow")
    with Installed(platform, example("several-tonets")) as request:
        exits = {"net1": [web(80, "x")], "mon0": [query(53, "y")]}
        sent = exits["net1"] + exits["mon0"] + [ping("z")]
        chosen = platform.client.get_allocation(request.number)["ports"]["ToNet@3"]
        exits[chosen] = exits.get(chosen, []) + [ping("z")]
        passes(tests, platform, "net0", sent, exits, "several-tonets.flow")
    with Installed(platform, example("sink")) as request:
        passes(tests, platform, "net0", [web(23, "telnet"), web(80, "x")], {"net1": [web(80, "x")]}, "sink.flow")
        tests.same(platform.modules(request.number)["telnet"]["in"], 1.0, "sink.flow: the sink took one packet")
    server, elsewhere = "10.0.0.80", "10.0.0.81"
    to_server = [web(80, "page", to=server)]
    with Installed(platform, example("serial")), Installed(platform, example("priority")):
        passes(tests, platform, "net0", to_server + [web(81, "no", to=server), web(81, "yes", to=elsewhere)], {"net1": to_server + [web(81, "yes", to=elsewhere)]},
               "priority.flow before serial.flow")
    with Installed(platform, example("priority"), parameters={"server": elsewhere}):
        passes(tests, platform, "net0", [web(81, "yes", to=server), web(81, "no", to=elsewhere)], {"net1": [web(81, "yes", to=server)]},
               "priority.flow with another $server")


def test_rewrite(tests, platform):
    """A server by another address: TCP of two kernels, which both look at checksums, and frames of our own."""
    content = hashlib.sha256(b"y").digest() * 8192
    (platform.scratch / "page").write_bytes(content)
    platform.address("net0", "10.9.0.1/24")
    platform.address("net1", "10.9.0.2/24")
    server = platform.start_in("net1", sys.executable, "-m", "http.server", "8080", "--bind", "10.9.0.2", "--directory", str(platform.scratch))
    mac = json.loads(platform.run_in("net1", "ip", "-j", "link", "show", "dev", "eth0").stdout)[0]["address"]
    try:
        with Installed(platform, example("rewrite")) as request:
            platform.run_in("net0", "ip", "neigh", "replace", "10.9.0.80", "lladdr", mac, "dev", "eth0")
            got = platform.run_in("net0", "curl", "-s", "--retry", "20", "--retry-connrefused", "--retry-delay", "1", "--max-time", "60",
                                  "http://10.9.0.80/page", timeout=90, text=False).stdout
            tests.same(hashlib.sha256(got).hexdigest(), hashlib.sha256(content).hexdigest(), "rewrite.flow: a page comes from a server by its other address")
            request.balanced(tests, platform, "rewrite.flow")
            modules = platform.modules(request.number)
            tests.check(modules["there"]["out"] > 10 and modules["back"]["out"] > 10, "rewrite.flow: it went through both modules", modules)
            sent = [web(80, "a", to="10.9.0.80"), web(81, "b", to="10.9.0.80")]
            want = bytearray(sent[0])
            want[14:34] = ipv4(6, sent[0][34:], to="10.9.0.2")[:20]
            want[36:38] = struct.pack(">H", 8080)
            want[50:52] = struct.pack(">H", corrected(sent[0], bytes(want)))
            passes(tests, platform, "net0", sent, {"net1": [bytes(want), sent[1]]}, "rewrite.flow")
    finally:
        server.terminate()
        server.wait()


def corrected(before, after):
    """The checksum of TCP that was right or wrong before is as right or wrong after a change of addresses and ports: by the sums of all that counts."""
    def total(one):
        return ~checksum(one[26:38]) & 0xFFFF
    old = ~struct.unpack(">H", before[50:52])[0] & 0xFFFF
    new = old + (~total(before) & 0xFFFF) + total(after)
    while new >> 16:
        new = (new & 0xFFFF) + (new >> 16)
    return ~new & 0xFFFF


EVERYTHING = 'f :: FromNet("in_port=net0")\nc :: Counter("")\nm :: Mirror("")\nf -> c -> m\nm[0] -> ToNet("net1")\nm[1] -> ToNet("mon0")\n'


def test_every_kind(tests, platform):
    """A FromNet without a condition takes every kind of frame, and gives it back as it was."""
    kinds = [frame(0x86DD, ipv6(17, udp(9, data("v6")))), frame(0x0800, ipv4(17, udp(9, data("tagged"))), tag=5), frame(0x86DD, ipv6(6, tcp(9, data("tagged v6"))), tag=0x2FFF),
             frame(0x88B5, data("unknown type")), frame(0x88B5, data("unknown type, tagged"), tag=7), frame(0x0800, ipv4(253, data("protocol 253"))),
             frame(0x0800, MARK + b"no IP header at all"), frame(0x8847, data("MPLS type")), frame(0x0800, ipv4(17, udp(9, data("long", 256) + bytes(1400 - 256))))]
    with Installed(platform, EVERYTHING):
        passes(tests, platform, "net0", kinds, {"net1": kinds, "mon0": kinds}, "every kind of frame")


def test_trace(tests, platform, path):
    """What replay sends comes out at both outputs of the mirror, byte for byte; ARP passes beside the request, as everywhere."""
    with pcap.Reader(path) as reader:
        known = [packet.data for packet in reader if packet.complete and len(packet.data) <= 1514]
    arp = sum(one[12:14] == b"\x08\x06" for one in known)
    addresses = {one[:12] for one in known}
    with Installed(platform, EVERYTHING) as request, Witness(platform, lambda one: one[:12] in addresses) as witness:
        sent = replay(platform, witness, known)
        tests.same(sent, len(known), f"{path.name}: its {len(known)} packets are sent")
        wanted = {"net1": known, "mon0": [one for one in known if one[12:14] != b"\x08\x06"]}
        rest(witness, wanted)
        tests.same(witness.drops(), 0, f"{path.name}: the witness missed nothing")
        for port, frames in wanted.items():
            got = Counter(witness.frames[port])
            tests.check(got == Counter(frames), f"{path.name}: all {len(frames)} come out at {port}, byte for byte",
                        f"{len(witness.frames[port])} came, {sum((Counter(frames) - got).values())} are missing, {sum((got - Counter(frames)).values())} are others")
        tests.same(platform.modules(request.number)["c"]["in"], float(len(known) - arp), f"{path.name}: the counter has counted them all")


def replay(platform, witness, frames):
    """Replay the frames in pieces, each after the one before has come out: a busy computer must not be asked for more than it can hold."""
    sent = 0
    for first in range(0, len(frames), PIECE):
        with pcap.Writer(platform.scratch / "piece.pcap") as piece:
            for one in frames[first:first + PIECE]:
                piece.write(0, one)
        sent += ports.Replay(platform.dir, "net0", platform.scratch / "piece.pcap", pps=PPS * 10).run().sent
        if not until(15, lambda: len(witness.frames["net1"]) >= sent, 0.005):
            break
    return sent


def test_traces(tests, platform):
    for name in TRACES:
        path = SHARED / "data" / "pcap" / name
        if path.exists():
            test_trace(tests, platform, path)
        else:
            tests.skip(name, f"{path} is not there")


def test_command(tests, platform):
    """What 'flowstream show' says of packets that a witness has counted; --watch repeats it until it is interrupted."""
    frames = [frame(0x0800, ipv4(17, udp(7000, data(f"{i}")))) for i in range(24)]
    with Installed(platform, example("mirror")) as request, Witness(platform) as witness:
        send(platform, "net0", frames)
        rest(witness, {"net1": frames, "mon0": frames})
        lines = until(10, lambda: [line for line in platform.command("show", str(request.number)).stdout.splitlines() if line.split()[-1:] == ["24"]])
        tests.same([line.split()[-2] for line in lines], ["net1", "mon0"], "show tells how many packets came to each port")
        shown = platform.command("show", str(request.number)).stdout
        tests.check(re.search(r"copy \(Mirror\) +h\d +24 +24 +48 +0 ", shown) and "FromNet" not in shown, "and what the modules saw", shown)
        watch = subprocess.Popen([str(BUILD / "bin" / "flowstream"), "show", str(request.number), "--watch", "--dir", str(platform.dir)],
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        seen = 0
        for line in watch.stdout:
            seen += line.startswith("request ")
            if seen == 3:
                break
        watch.send_signal(signal.SIGINT)
        tests.same((watch.communicate(timeout=60)[1], watch.returncode, seen), ("", 0, 3), "show --watch repeats itself until it is interrupted")
        watch = subprocess.Popen([str(BUILD / "bin" / "flowstream"), "tasks", "resource", "--watch", "--dir", str(platform.dir)],
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        seen = 0
        for line in watch.stdout:
            seen += line.split()[:2] == ["resource", "prepare_platform"]
            if seen == 2:
                break
        watch.send_signal(signal.SIGINT)
        tests.same((watch.communicate(timeout=60)[1], watch.returncode, seen), ("", 0, 2), "and so does tasks --watch, with a line for each task")


def main():
    need_root_of_namespaces()
    tests = Tests()
    stories = (test_document, test_web, test_mirror, test_split, test_chains, test_instances, test_choices, test_rewrite, test_every_kind)
    file = sys.argv[1] if len(sys.argv) > 1 else None
    with Platform(file) as platform:
        for story in stories if file else stories + (test_traces, test_command):
            with tests.story(story.__name__):
                story(tests, platform)
        if file and file.endswith("one-computer.xml"):
            tests.refused("from port to port on a host's own bridge without a module: refused, with what to do", ["net0", "host h1", "put a module"],
                          platform.client.install_allocation, 'FromNet("in_port=net0,ip") -> ToNet("tun1")\n')
    tests.same(platform.leftovers, [], "nothing is left")
    tests.end()


if __name__ == "__main__":
    main()

#!/usr/bin/python3
"""Modules of several instances with real traffic: every packet arrives once, in order within its flow, and both directions of a connection, and all fragments of
a datagram, go through one instance, whether a switch or the multiplexer of a host has chosen it.  Which one it was is read from the service headers on the hosts' trunks."""

import os
import signal
import socket
import struct
import subprocess
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from flowtest import PATIENCE, Platform, Tests, need_root_of_namespaces, until  # noqa: E402
import flowstream  # noqa: E402
from flowstream import netns  # noqa: E402
from test_examples import MARK, THEM, US, Installed, Witness, ipv4, rest, send  # noqa: E402

# The way there is spread by the switch, the way back by the multiplexer of h1. Behind the workers each way goes on in as many lanes.
REQUEST = """NAME=instances
there :: FromNet("in_port=net0")
back  :: FromNet("in_port=net1")
first :: Counter {hosts=h1}
work  :: Classifier("ether src 02:00:00:00:00:01", "all") {instances=3}
after :: Counter {instances=3}

there -> work
back -> first -> work
work[0] -> after -> ToNet("net1")
work[1] -> {rate=9Mbps} pair :: Counter {instances=2} -> ToNet("net0")
"""
FLOWS, PACKETS = 200, 3
NSH, HEADER = 0x894F, 22


def ipv6(protocol, payload, source, to):
    return struct.pack(">IHBB", 6 << 28, len(payload), protocol, 64) + socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, to) + payload


def transport(protocol, source, to, data):
    if protocol == 6:
        return struct.pack(">HHIIBBHHH", source, to, 1, 0, 0x50, 0x18, 1000, 0, 0) + data
    if protocol == 17:
        return struct.pack(">HHHH", source, to, 8 + len(data), 0) + data
    return struct.pack(">BBHHH", 8 if source else 0, 0, 0, 1, 1) + data


def packet(flow, back, number):
    """A frame of a flow of one of six kinds; its payload says which flow, way and number it is."""
    kind, data = flow % 6, MARK + struct.pack(">HBH", flow, back, number)
    near, far = (f"10.1.{flow}.1", "10.2.0.1") if kind == 4 else ("10.1.0.1", "10.2.0.1")
    if kind == 5:
        ethernet, body = 0x88B5, data + bytes(40)
    else:
        ports = (1000 + flow, 80)
        protocol = (17, 6, 17, 17, 1)[kind]
        inner = transport(protocol, *(reversed(ports) if back else ports), data)
        ends = ("fd00::1", "fd00::2") if kind == 2 else (near, far)
        source, to = reversed(ends) if back else ends
        ethernet, body = (0x86DD, ipv6(protocol, inner, source, to)) if kind == 2 else (0x0800, ipv4(protocol, inner, source, to))
    tag = struct.pack(">HH", 0x8100, 5) if kind == 3 else b""
    other = bytes([2, 0, 0, 1, 0, flow]) if kind == 5 else THEM  # what is no IP is told apart by addresses of Ethernet
    return (US + other if back else other + US) + tag + struct.pack(">H", ethernet) + body


def label(frame):
    """Flow, way and number of a frame."""
    return struct.unpack_from(">HBH", frame, frame.index(MARK) + len(MARK))


class Trunks:
    """What goes to the module hosts from construction on: service path and frame."""

    def __init__(self, platform):
        self._sockets = []
        for host in ("h1", "h2", "h3"):
            tap = netns.open_socket(f"fs-{platform.tag()}-fabric", socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            tap.setsockopt(socket.SOL_SOCKET, 33, 32 << 20)  # SO_RCVBUFFORCE
            tap.bind((f"{host}-trunk", 3))
            tap.setblocking(False)
            self._sockets.append(tap)

    def frames(self):
        """All until now; closes."""
        found = []
        for tap in self._sockets:
            with tap:
                while True:
                    try:
                        data, address = tap.recvfrom(4096)
                    except BlockingIOError:
                        break
                    if address[1] == NSH and address[2] == socket.PACKET_OUTGOING:
                        found.append((struct.unpack_from(">I", data, 18)[0] >> 8, data[HEADER:]))
        return found


def links(platform, number):
    """The ends of each service path by its number."""
    return {path["spi"]: (path["from"], path["to"]) for path in platform.client.get_allocation(number)["paths"]}


def exchange(platform, number, sent):
    """Send frames (by port), wait until all came out at the other one; what came out there, and the nodes that each frame went to over a trunk."""
    other = {"net0": "net1", "net1": "net0"}
    with Witness(platform) as witness:
        trunks = Trunks(platform)
        for port, frames in sent.items():
            send(platform, port, frames)
        rest(witness, {other[port]: frames for port, frames in sent.items()})
        came, missed = {port: witness.frames[other[port]] for port in sent}, witness.drops()
    ends, went = links(platform, number), {}
    for spi, frame in trunks.frames():
        went.setdefault(frame, []).append(ends[spi][1])
    return came, went, missed


def workers(went, name="work"):
    return {frame: [node for node in nodes if node.startswith(name + "[")] for frame, nodes in went.items()}


def test_flows(tests, platform):
    sent = {port: [packet(flow, back, n) for n in range(PACKETS) for flow in range(FLOWS)] for back, port in enumerate(("net0", "net1"))}
    with Installed(platform, REQUEST) as request:
        hosts = {name: module["host"] for name, module in platform.modules(request.number).items()}
        tests.same(sorted(hosts[f"work[{i}]"] for i in (1, 2, 3)), ["h1", "h2", "h3"], "three instances are on three hosts")
        came, went, missed = exchange(platform, request.number, sent)
        tests.same(missed, 0, "the witness missed nothing")
        for port, frames in sent.items():
            tests.check(Counter(came[port]) == Counter(frames), f"{len(frames)} frames from {port} come out once each, byte for byte",
                        f"{len(came[port])} came, {sum((Counter(frames) - Counter(came[port])).values())} are missing")
            order = {}
            for frame in came[port]:
                order.setdefault(label(frame)[0], []).append(label(frame)[2])
            tests.check(all(numbers == sorted(numbers) for numbers in order.values()), f"in order within each flow from {port}",
                        [flow for flow, numbers in order.items() if numbers != sorted(numbers)])
        check_instances(tests, platform, request.number, hosts, came, went)
        until(10, lambda: sum(m["in"] for name, m in platform.modules(request.number).items() if name.startswith("work[")) == 2 * FLOWS * PACKETS)
        counts = {name: (m["in"], m["out"]) for name, m in platform.modules(request.number).items()}
        for name, n, total in (("work", 3, 2), ("after", 3, 1), ("pair", 2, 1)):
            seen = [counts[f"{name}[{i}]"] for i in range(1, n + 1)]
            tests.check(all(i > 0 for i, _ in seen) and [sum(column) for column in zip(*seen)] == [total * FLOWS * PACKETS] * 2,
                        f"the instances of {name} share all packets, and count their own", seen)
        shown = platform.command("show", str(request.number)).stdout
        tests.check(all(f"{name} (" in shown for name in hosts), "show names each instance", shown)
        rules = platform.rules(request.number)
        tests.check(any("multipath" in rule for rule in rules) and len(platform.remains(request.number)) > 8, "the switch spreads", rules)
    tests.same(platform.remains(request.number), [], "nothing is left of it")


def check_instances(tests, platform, number, hosts, came, went):
    """Which worker had each flow: the service headers tell of those on other hosts than the module before; what they do not tell went to the one on the same host."""
    chosen, here = {}, [name for name in hosts if name.startswith("work[") and hosts[name] == hosts["first"]][0]
    for frames in came.values():
        for frame in frames:
            seen = workers(went).get(frame, [])
            flow, back, _ = label(frame)
            chosen.setdefault(flow, Counter()).update(seen if seen or not back else [here])
    tests.same(len(chosen), FLOWS, "each flow was seen")
    split = {flow: dict(nodes) for flow, nodes in chosen.items() if len(nodes) != 1 or sum(nodes.values()) != 2 * PACKETS}
    tests.same(split, {}, "each flow has one worker, which has every packet of it in both directions")
    shares = Counter(next(iter(nodes)) for nodes in chosen.values())
    tests.check(len(shares) == 3 and min(shares.values()) > FLOWS / 10, "and each worker has its share of the flows", shares)
    ends = Counter(links(platform, number).values())
    tests.same([pair for pair in ends if pair[1].startswith("after[")], [(f"work[{i}]", f"after[{i}]") for i in (1, 2, 3)], "as many behind as before: lanes")
    tests.same(len([pair for pair in ends if pair[1].startswith("pair[")]), 6, "other numbers: from each to each")


def test_fragments(tests, platform):
    """The pieces of a datagram, whose ports only the first one has, meet one instance."""
    datagrams = {}
    for i in range(40):
        body = transport(17, 2000 + i, 80, MARK + struct.pack(">HBH", i, 0, 0) + bytes(range(200)))
        near = f"10.3.{i}.1"
        pieces = []
        for at in range(0, len(body), 80):
            more, piece = at + 80 < len(body), body[at:at + 80] if at == 0 else MARK + struct.pack(">HBH", i, 0, at) + bytes(57)
            if i % 2:
                extension = struct.pack(">BBHI", 17, 0, at | more, 77)
                pieces.append(THEM + US + b"\x86\xdd" + ipv6(44, extension + piece, f"fd00::{i:x}", "fd00::ff"))
            else:
                whole = bytearray(ipv4(17, piece, near, "10.2.0.1"))
                struct.pack_into(">H", whole, 6, at // 8 | (0x2000 if more else 0))
                whole[10:12] = bytes(2)
                total = sum(struct.unpack(">10H", whole[:20]))
                total = (total & 0xFFFF) + (total >> 16)
                struct.pack_into(">H", whole, 10, ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF)
                pieces.append(THEM + US + b"\x08\0" + bytes(whole))
        datagrams[i] = pieces
    text = 'FromNet("in_port=net0") -> before :: Counter {instances=2} -> work :: Counter {instances=3} -> ToNet("net1")'
    with Installed(platform, text) as request:
        frames = [piece for pieces in datagrams.values() for piece in pieces]
        came, went, _ = exchange(platform, request.number, {"net0": frames})
        tests.check(Counter(came["net0"]) == Counter(frames), "all fragments come out", f"{len(came['net0'])} of {len(frames)}")
        for name in ("before", "work"):
            nodes = {i: {node for piece in pieces for node in workers(went, name).get(piece) or ["the one on the same host"]} for i, pieces in datagrams.items()}
            tests.check(all(len(seen) == 1 for seen in nodes.values()) and len(set.union(*nodes.values())) > 1, f"the fragments of a datagram meet one instance of {name}", nodes)


def rules_for(platform, n):
    plan = platform.client.plan_allocation(f'FromNet("in_port=net0") -> w :: Counter {{instances={n}}} -> ToNet("net1")')
    return sum(len(switch["rules"]) for switch in plan["rules"]), Counter(module["host"] for module in plan["placement"])


def test_plans(tests, platform):
    tests.same([rules_for(platform, n)[0] for n in (1, 2, 4, 8)], [4, 12, 20, 36], "rules are linear in instances: four each, and four")
    tests.same(sorted(rules_for(platform, 5)[1].values()), [1, 2, 2], "five instances are spread over three hosts evenly")
    one = platform.client.plan_allocation('FromNet("in_port=net0") -> w :: Counter {instances=4, hosts=h2} -> ToNet("net1")')
    tests.same([(m["node"], m["host"]) for m in one["placement"]], [(f"w[{i}]", "h2") for i in (1, 2, 3, 4)], "where there is one host they are on one host")
    room = {host["name"]: host["cpu"] for host in platform.client.list_hosts()}
    full = platform.client.plan_allocation(f'FromNet("in_port=net0") -> big :: Counter {{hosts=h2, cpu={room["h2"]:g}}} -> w :: Counter {{instances=3, cpu=0.5}}'
                                           ' -> ToNet("net1")')
    tests.check({m["host"] for m in full["placement"] if m["node"] != "big"} <= {"h1", "h3"}, "a host without room is left out", full["placement"])
    header = platform.client.plan_allocation('INSTANCES=3\nRATE=9Mbps\nFromNet("ip") -> Counter() -> Counter() {instances=2} -> Counter() {instances=1}')
    tests.same(Counter((path["from"].split("[")[0], path["to"].split("[")[0], path["rate"]) for path in header["paths"]),
               Counter({("FromNet@1", "Counter@1", 3.0): 12, ("Counter@1", "Counter@2", 1.5): 6, ("Counter@2", "Counter@3", 4.5): 2}),
               "INSTANCES= is the default of all modules; each instance has its share of the rate")
    for text, words in (('FromNet("in_port=net0") -> w :: Counter {instances=1000} -> x :: Counter {instances=999} -> ToNet("net1")',
                         ["50000 service paths (at w -> x)", "as many of the one"]),
                        ('FromNet("in_port=net0") -> Counter() {instances=300, cpu=1} -> ToNet("net1")', ["Counter@1["])):
        tests.refused(f"refused: {words[0]}", words, platform.client.plan_allocation, text)


def test_tcp(tests, platform):
    """Connections at the same time, each with its own content to be checked, both directions through one worker of three."""
    text = REQUEST.replace('"ether src 02:00:00:00:00:01"', '"dst host 10.9.0.2"').replace('in_port=net0', 'in_port=net0,ip').replace('in_port=net1', 'in_port=net1,ip') \
                  .replace("{rate=9Mbps} ", "")
    platform.address("net0", "10.9.0.1/24")
    platform.address("net1", "10.9.0.2/24")
    traffic = str(Path(__file__).resolve().parent / "traffic.py")
    with Installed(platform, text) as request:
        server = platform.start_in("net1", sys.executable, traffic, "serve", "10.9.0.2")
        try:
            up = until(20, lambda: platform.run_in("net0", sys.executable, traffic, "fetch", "10.9.0.2", "1").returncode == 0)
            clients = [platform.start_in("net0", sys.executable, traffic, "fetch", "10.9.0.2", str(100000 + i), stdout=subprocess.PIPE, text=True) for i in range(8)]
            said = [client.communicate(timeout=120 * PATIENCE)[0].strip() for client in clients]
        finally:
            server.terminate()
            server.wait()
        tests.check(up, "a server answers through the instances")
        tests.same(said, [f"good {100000 + i}" for i in range(8)], "eight downloads at the same time come whole")
        request.balanced(tests, platform, "eight downloads")
        busy = [name for name, module in platform.modules(request.number).items() if name.startswith("work[") and module["in"] > 0]
        tests.check(len(busy) > 1, "by more than one worker", busy)  # their ports, and so their workers, are the system's choice


def test_restart(tests, platform):
    """The account of instances is the same when it is read from the store again."""
    text = 'FromNet("in_port=net0") -> w :: Counter {instances=3, cpu=0.25} -> ToNet("net1")'
    with Installed(platform, text) as request:
        used = {host["name"]: host["cpu_used"] for host in platform.client.list_hosts()}
        os.kill(platform.process("resource"), signal.SIGKILL)
        done = platform.command("start", "resource", timeout=90)
        tests.check(done.returncode == 0, "the resource daemon is killed and started again", done.stderr)
        platform.record = flowstream.folder.Record.load(platform.dir)
        platform.client.close()
        platform.client = flowstream.Client(platform.dir)
        now = until(20, lambda: {host["name"]: host["cpu_used"] for host in platform.client.list_hosts()} == used)
        tests.check(now, "the load of the hosts is what it was", used)
    tests.same(platform.remains(request.number), [], "and deleting takes everything away")


def main():
    need_root_of_namespaces()
    tests = Tests()
    with Platform() as platform:
        for story in (test_flows, test_fragments, test_tcp, test_plans, test_restart):
            with tests.story(story.__name__):
                story(tests, platform)
    tests.same(platform.leftovers, [], "nothing is left")
    tests.end()


if __name__ == "__main__":
    main()

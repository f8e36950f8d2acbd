#!/usr/bin/python3
"""The host side of requests: modules that share a process and modules that do not, what happens when one dies, hangs or is flooded, and rates that are
kept."""

import json
import os
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from flood import FLOOD, FRAME, INSIDE, OUTSIDE, flood  # noqa: E402
from flowtest import PATIENCE, Platform, Tests, need_root_of_namespaces, until  # noqa: E402

tests = Tests()
TRAFFIC = str(Path(__file__).resolve().parent / "traffic.py")
# A chain on one host that takes UDP to one port.
CHAIN = """%(header)s
in :: FromNet("in_port=net0,udp,tp_dst=%(port)d") -> a :: Counter {hosts=h1%(more)s} -> b :: Counter {hosts=h1} -> c :: Counter {hosts=h1} -> ToNet("net1")
"""
LIMITED = """in :: FromNet("in_port=net0,udp,tp_dst=%(port)d") -> %(first)s a :: Counter {hosts=%(a)s} -> %(middle)s b :: Counter {hosts=%(b)s}
    -> %(last)s out :: ToNet("net1")
"""


def on_host(p, host, allocation):
    return {m["name"].split(".", 1)[1]: m for m in p.client.call(f"modulehost:{host}", "list_modules") if m["owner"] == allocation}


def trunk(p, host):
    return p.client.call(f"modulehost:{host}", "get_statistics")["trunk"][0]


def figures(p, allocation, *keys):
    return {name: tuple(int(m[key]) for key in keys) for name, m in p.modules(allocation).items()}


def check_sharing(p):
    for header, more, processes in (("", "", 1), ("ISOLATE=yes", "", 3), ("", ", isolate=yes", 2)):
        name = header or more.strip(", ") or "no word of isolation"
        allocation = p.client.install_allocation(CHAIN % {"header": header, "more": more, "port": 6001})
        modules = on_host(p, "h1", allocation)
        tests.same((sorted(modules), len({m["pid"] for m in modules.values()}), len({m["process"] for m in modules.values()})),
                   (["a", "b", "c"], processes, processes), f"{name}: three modules in {processes} processes")
        before = trunk(p, "h1")
        sent, came, _ = flood(p, 6001, 1e6, 0.5)
        tests.same(came, sent, f"{name}: every packet comes")
        size = sent * FRAME
        until(5, lambda: figures(p, allocation, "out")["c"] == (sent,))
        tests.same(figures(p, allocation, "in", "out", "dropped", "bytes", "bytes_out"), dict.fromkeys("abc", (sent, sent, 0, size, size)),
                   f"{name}: the counters of all modules are exact")
        after = trunk(p, "h1")
        tests.same([after[key] - before[key] for key in ("rx_packets", "tx_packets", "local_packets")], [sent, sent, (processes - 1) * sent],
                   f"{name}: the switch sees a packet once each way; between processes it goes through rings, within one not even that")
        p.client.delete_allocation(allocation)
        tests.same(p.remains(allocation), [], f"{name}: nothing is left")


def check_lanes(p):
    """Instances are there to have a thread each: those of one number share a process, two of one module do not."""
    text = 'FromNet("in_port=net0,udp,tp_dst=6007") -> a :: Counter {hosts=h1, instances=2} -> b :: Counter {hosts=h1, instances=2} -> ToNet("net1")\n'
    allocation = p.client.install_allocation(text)
    processes = {}
    for m in on_host(p, "h1", allocation).values():
        processes.setdefault(m["pid"], set()).add(m["name"].split(".")[1])
    tests.same(sorted(map(sorted, processes.values())), [["a:1", "b:1"], ["a:2", "b:2"]], "two instances of a chain run in two processes, a lane each")
    before = trunk(p, "h1")["local_packets"]
    sent, came, _ = flood(p, 6007, 1e6, 0.5)
    tests.same((came, trunk(p, "h1")["local_packets"] - before), (sent, 0), "and its packets stay in their lane")
    p.client.delete_allocation(allocation)


def check_death(p):
    allocation = p.client.install_allocation(CHAIN % {"header": "", "more": "", "port": 6002})
    pid = on_host(p, "h1", allocation)["b"]["pid"]
    os.kill(pid, signal.SIGKILL)
    until(10, lambda: all(m["state"] == "dead" for m in p.modules(allocation).values()))
    tests.same([m["state"] for m in p.modules(allocation).values()], ["dead"] * 3, "when a process dies, all modules in it are told to be dead")
    p.client.delete_allocation(allocation)
    tests.same(p.remains(allocation), [], "and deleting takes them away")
    for word in ("Firewall(\"deny\")", "Classifier(\"tcp, udp\")"):
        text = CHAIN % {"header": "", "more": "", "port": 6002}
        tests.refused(f"b = {word} is refused", ["b"], p.client.install_allocation, text.replace("b :: Counter", f"b :: {word}"))
    tests.same(p.remains(), [], "and leaves nothing")


def check_stuck(p):
    """One request's process hangs and is flooded: the other one's traffic, through the same multiplexer, does not feel it."""
    stuck = p.client.install_allocation(CHAIN % {"header": "", "more": "", "port": 6003})
    # Its answer comes back through a module too.
    good = p.client.install_allocation('FromNet("in_port=net0,tcp") -> there :: Counter {hosts=h1} -> ToNet("net1")\n'
                                       'FromNet("in_port=net1,tcp") -> back :: Counter {hosts=h1} -> ToNet("net0")\n')
    pid = on_host(p, "h1", stuck)["a"]["pid"]
    os.kill(pid, signal.SIGSTOP)
    flooding = p.start_in("net0", sys.executable, "-c", FLOOD, "6003", str(FRAME), "8e6", "2", stdout=-1, text=True)
    said = p.run_in("net0", sys.executable, TRAFFIC, "fetch", OUTSIDE, "2000000", timeout=120)
    tests.same(said.stdout.strip(), "good 2000000", "while a process hangs and its ring overflows, another request's TCP comes through whole", )
    sent = int(flooding.communicate(timeout=60 * PATIENCE)[0])
    until(10, lambda: figures(p, stuck, "in", "ring_drops")["a"][1] > 0)
    taken, dropped = figures(p, stuck, "in", "ring_drops")["a"]
    tests.check(taken == 512 and sent / 2 < taken + dropped <= sent, "its ring holds what it can, and the rest is counted as dropped there", (taken, dropped, sent))
    tests.same(figures(p, good, "ring_drops", "dropped"), {"there": (0, 0), "back": (0, 0)}, "the other one's rings drop nothing")
    shown = p.command("show", str(stuck)).stdout
    tests.check("NO ROOM" in shown, "'show' shows it", shown)
    os.kill(pid, signal.SIGCONT)
    tests.check(until(20, lambda: figures(p, stuck, "out")["c"] == (512,)), "when it goes on, what the ring held comes out", figures(p, stuck, "in", "out"))
    for allocation in (stuck, good):
        p.client.delete_allocation(allocation)


def check_rate(p, name, where, link, module):
    """A link of 4 Mbit/s offered 12: what comes is its rate, and what does not is counted at 'module'.  (What begins at a FromNet is held by the switch: platform/meters.)"""
    rate = 4e6
    words = dict.fromkeys(("first", "middle", "last"), "") | {link: "{rate=4Mbps}"}
    allocation = p.client.install_allocation(LIMITED % {"port": 6004, **where, **words})
    sent = 0
    for _ in range(5):  # who is kept from the processor for longer than a burst lasts passes less: that is the machine's doing
        more, came, took = flood(p, 6004, 3 * rate, 2)
        sent += more
        measured = came * FRAME * 8 / took
        if measured > 0.85 * rate:
            break
    tests.check(0.85 * rate < measured < 1.15 * rate, f"{name}: the rate is kept", f"{measured / 1e6:.2f} of {rate / 1e6:.2f} Mbit/s, {came} of {more} packets")

    def settled():
        now = figures(p, allocation, "in", "out", "rate_drops")
        here, other = now[module], now["b" if module == "a" else "a"]
        return other[2] == 0 and here[1] + here[2] == here[0] and here[2] > sent / 3
    tests.check(until(10, settled), f"{name}: what is above it is counted, to the packet", figures(p, allocation, 'in', 'out', 'rate_drops'))
    shown = p.command("show", str(allocation)).stdout
    tests.check("ABOVE RATE" in shown, f"{name}: and shown", shown)
    return allocation


def check_rates(p):
    one, two = {"a": "h1", "b": "h1"}, {"a": "h1", "b": "h2"}
    for name, where, link, module in (("between two modules of one process", one, "middle", "a"), ("between two hosts", two, "middle", "a"), ("out of the last module", two, "last", "b")):
        p.client.delete_allocation(check_rate(p, name, where, link, module))
    # Others' traffic through the same host while one is held to its rate.
    free = p.client.install_allocation(CHAIN % {"header": "", "more": "", "port": 6005})
    limited = p.client.install_allocation(LIMITED % {"port": 6004, **one, "first": "{rate=1Mbps}", "middle": "", "last": ""})
    flooding = p.start_in("net0", sys.executable, "-c", FLOOD, "6004", str(FRAME), "8e6", "2", stdout=-1, text=True)
    sent, came, _ = flood(p, 6005, 4e6, 1)
    flooding.communicate(timeout=60 * PATIENCE)
    tests.same((came, figures(p, free, "rate_drops", "ring_drops")), (sent, dict.fromkeys("abc", (0, 0))), "traffic that states no rate passes unharmed beside it")
    for allocation in (free, limited):
        p.client.delete_allocation(allocation)


def check_hostile(p):
    """A module whose ring indexes cannot be is ended by its host, and that is told."""
    import struct
    allocation = p.client.install_allocation(CHAIN % {"header": "", "more": "", "port": 6006})
    pid = on_host(p, "h1", allocation)["a"]["pid"]
    rings = next(f"/proc/{pid}/fd/{fd}" for fd in os.listdir(f"/proc/{pid}/fd") if "flowstream-rings" in os.readlink(f"/proc/{pid}/fd/{fd}"))
    with open(rings, "r+b", buffering=0) as memory:
        os.pwrite(memory.fileno(), struct.pack("<I", 0x12345678), 128)  # how far it has emptied the ring to it
        flood(p, 6006, 8e6, 0.5)
    other = until(30, lambda: all(m["running"] and m["pid"] != pid for m in on_host(p, "h1", allocation).values()))
    def gone():
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
        except OSError:
            return True
    tests.check(other and until(10, gone), "a process that lies about its ring is ended by its host within seconds, and another takes its place",
                json.dumps(on_host(p, "h1", allocation)))
    tests.check(f"process a{allocation}.@1 was ended" in p.logs() and "ring indexes" in p.logs(), "the log of its host says why")
    p.client.delete_allocation(allocation)


def main():
    need_root_of_namespaces()
    with Platform() as p:
        p.address("net0", f"{INSIDE}/24")
        p.address("net1", f"{OUTSIDE}/24")
        server = p.start_in("net1", sys.executable, TRAFFIC, "serve", OUTSIDE)
        until(10, lambda: p.run_in("net0", "ping", "-c", "1", "-W", "1", OUTSIDE).returncode == 0)
        try:
            for check in (check_sharing, check_lanes, check_death, check_stuck, check_rates, check_hostile):
                began = time.monotonic()
                check(p)
                print(f"# {check.__name__}: {time.monotonic() - began:.1f} s", flush=True)
        finally:
            server.kill()
            server.wait()
        tests.same(p.remains(), [], "in the end nothing is left")
    tests.same(p.leftovers, [], "nor after the platform is down")
    tests.end()


main()

#!/usr/bin/python3
"""Links of FromNets that state a rate are held to it by meters of the switch: what passes, what is counted, whose meters are touched, and what becomes of them when things fail.

The judges are the packets that come, and the switch itself (ovs-ofctl).
"""

import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from flood import FRAME, flood, prepare  # noqa: E402
from flowtest import PATIENCE, ROOT, Platform, Tests, flowstream, need_root_of_namespaces, until  # noqa: E402
from loadables import Workshop  # noqa: E402
from traffic import send, udp, watch  # noqa: E402

need_root_of_namespaces()
tests = Tests()
RATE = 5e6
DIRECT = 'in :: FromNet("in_port=net0,udp,tp_dst={port}") -> {{rate=5Mbps}} ToNet("net1")\n'
MODULE = 'in :: FromNet("in_port=net0,udp,tp_dst={port}") -> {{rate=5Mbps}} a :: Counter {{hosts=h1}} -> ToNet("net1")\n'
SIGN = "type=drop,rate=4043636736,burst_size={}"
FULL = 1 << 18  # meters that Open vSwitch's userspace datapath has


def ofctl(p, *words, switch="tor0"):
    done = subprocess.run(["ovs-ofctl", "-OOpenFlow14", words[0], p.bridges()[switch], *words[1:]], capture_output=True, text=True, timeout=60 * PATIENCE, check=True)
    return done.stdout


def by_hand(number, rate=1000, allocation=None):
    """A meter for ovs-ofctl: of nobody, or with the sign of an allocation."""
    text = f"meter={number},kbps,burst,stats,band=type=drop,rate={rate},burst_size=100"
    return text if allocation is None else f"{text},{SIGN.format(2**31 + allocation)}"


def drift(p):
    try:
        return p.client.get_drift()["differences"]
    except flowstream.Error:
        return None


def rules_of(p, allocation):
    return [rule for rule in p.rules(allocation) if "meter:" in rule]


def held(p, allocation, port, name):
    """Offer three times the rate: the rate comes, and what does not come is counted by the meter, to the packet."""
    for _ in range(4):  # who is kept from the processor for longer than a burst lasts passes less: that is the machine's doing
        before = p.client.get_allocation(allocation)["meters"][0]
        sent, came, took = flood(p, port, 3 * RATE, 1.2)
        measured = came * FRAME * 8 / took
        if measured > 0.85 * RATE:
            break
    tests.check(0.85 * RATE < measured < 1.15 * RATE, f"{name}: the rate is kept", f"{measured / 1e6:.2f} of {RATE / 1e6:.2f} Mbit/s, {came} of {sent} packets")
    print(f"# {name}: {measured / 1e6:.2f} Mbit/s of {3 * RATE / 1e6:.0f} offered, stated {RATE / 1e6:.0f}")
    after = p.client.get_allocation(allocation)["meters"][0]
    told = [after[key] - before[key] for key in ("packets", "rate_drops", "rate_drop_bytes")]
    tests.same(told, [sent, sent - came, (sent - came) * FRAME], f"{name}: what is above it is counted, to the packet")
    return sent, came


def test_rates(p):
    direct = p.client.install_allocation(DIRECT.format(port=6101))
    tests.same([(meter[0], meter[3:]) for meter in p.meters(direct)], [("tor0", (5000, 205))], "from port to port: one meter, in the switch where it begins")
    held(p, direct, 6101, "from port to port")
    total, lost = (int(sum(meter[key] for meter in p.client.get_allocation(direct)["meters"])) for key in ("packets", "rate_drops"))
    shown = p.command("show", str(direct)).stdout
    good = "ABOVE RATE" in shown and re.search(rf"net0 \(in\) +{lost}\n", shown) and re.search(rf"net1 +{total - lost} *\n", shown)
    tests.check(good, "show tells what was above the rate, and what arrived", (total, lost, shown))
    switches = p.client.call("openflow", "get_statistics")["switches"]
    tests.same([meter["rate_drops"] for switch in switches for meter in switch["meters"]], [lost], "and get_statistics of the switches")
    module = p.client.install_allocation(MODULE.format(port=6102))
    sent, came = held(p, module, 6102, "from port to module")
    a = p.modules(module)["a"]
    tests.check(a["rate_drops"] == 0 and a["in"] >= came and sent > came, "the host drops nothing of it: it is not limited twice", a)
    for allocation in (direct, module):
        p.client.delete_allocation(allocation)
    tests.same(p.remains(), [], "nothing of it remains, no meter either")


def test_sharing(p):
    """One meter for all entries of a FromNet in a switch."""
    several = p.client.install_allocation('in :: FromNet("udp,tp_dst=6103") -> {rate=5Mbps} ToNet("net1")\n')
    tests.same([len({re.search(r"meter:(\d+)", rule).group(1) for rule in rules_of(p, several)}), len(rules_of(p, several)), len(p.meters(several))], [1, 3, 1],
               "a FromNet of three ports has three rules and one meter")
    spread = p.client.install_allocation('in :: FromNet("in_port=net0,udp,tp_dst=6104") -> {rate=6Mbps} a :: Counter {instances=3} -> ToNet("net1")\n')
    tests.same((len(rules_of(p, spread)), [meter[3] for meter in p.meters(spread)]), (1, [6000]), "three instances share the link's whole rate")
    plain = p.client.install_allocation('in :: FromNet("in_port=net0,udp,tp_dst=6105") -> a :: Counter -> {rate=2Mbps} ToNet("net1")\n')
    tests.same((p.meters(plain), rules_of(p, plain), p.client.get_allocation(plain)["meters"]), ([], [], []), "what states no rate, or begins at a module, has none")
    with watch(p, "net1") as out:
        for port in ("net0", "tun1"):
            send(p, port, [udp(n, 6103, size=900) for n in range(60)], pps=100000)
        until(2, lambda: out.received > 100)
    meter = p.client.get_allocation(several)["meters"][0]
    tests.check(meter["packets"] == 120 and meter["rate_drops"] == 120 - out.received and 20 < out.received < 90, "packets of two ports use up one burst", (meter, out.received))
    for allocation in (several, spread, plain):
        p.client.delete_allocation(allocation)


def test_others(p):
    """Meters of somebody else are neither taken nor touched."""
    text = DIRECT.format(port=6106)
    plan = p.client.plan_allocation(text)
    first = next(entry["meters"][0]["meter"] for entry in plan["rules"] if entry.get("meters"))
    for number in (first, 7):
        ofctl(p, "add-meter", by_hand(number))
    ofctl(p, "add-flow", f"cookie=0x4712,table=5,priority=9,udp,tp_dst=4712,actions=meter:{first},goto_table:6")
    again = p.client.plan_allocation(text)
    second = next(entry["meters"][0]["meter"] for entry in again["rules"] if entry.get("meters"))
    tests.check(second != first, "an id that somebody else has is not planned", (first, second))
    allocation = p.client.install_allocation(text)
    tests.same([meter[2] for meter in p.meters(allocation)], [second], "nor taken")
    tests.check(drift(p) == [] and p.client.collect_garbage()["items"] == [], "other meters are no drift, and no garbage")
    tor0 = {"switch": "tor0", "target": p.bridges()["tor0"]}

    def put(owner, number, rule):
        one = {**tor0, "rules": [f"table=10,priority=77,udp,tp_dst=77,actions=meter:{number},{rule}"], "meters": [{"meter": number, "kbps": 5000, "burst": 205}]}
        return p.client.call("openflow", "run_task", "install_rules", {"allocation": owner, "switches": [one]}, {"wait": 10})

    tests.refused("rules that need a meter of somebody else are refused", [f"meter {first}", "somebody else", "no switch was changed"], put, allocation, first, "goto_table:20")
    tests.check(len(rules_of(p, allocation)) == 1 and f"meter:{second}" in rules_of(p, allocation)[0], "and what the allocation had is left", p.rules(allocation))
    tests.refused("rules that cannot be", ["nowhere", "no switch was changed"], put, allocation + 1, first + 1000, "output:nowhere")
    tests.same(p.meters(allocation + 1), [], "leave no meter")
    p.client.delete_allocation(allocation)
    left = ofctl(p, "dump-meters")
    tests.same((p.meters(), sorted(map(int, re.findall(r"meter=(\d+) ", left)))), ([], [7, first]), "deleting takes ours, and no other")
    tests.check("cookie=0x4712" in ofctl(p, "dump-flows"), "and their rules are there")
    for number in (first, 7):
        ofctl(p, "del-meter", f"meter={number}")


def mended(p, what, good):
    tests.check(until(20, lambda: good() and drift(p) == []), f"{what}: mended", (p.meters(), drift(p)))


def told(p, allocation, changes):
    """What the switch's daemon finds different after changes by hand, while the resource daemon is held, so that nothing is mended yet: {(problem, id of a meter or 0)}."""
    here = next(entry for entry in p.client.get_allocation(allocation)["rules"] if entry["switch"] == "tor0")
    wanted = {"allocation": allocation, "rules": here["rules"], "meters": here["meters"]}
    os.kill(p.process("resource"), signal.SIGSTOP)
    try:
        for change in changes:
            ofctl(p, *change)
        asked = {"switch": "tor0", "target": p.bridges()["tor0"], "dry_run": True, "rules": [wanted]}
        found = p.client.call("openflow", "run_task", "mend_rules", asked, {"wait": 10})
    finally:
        os.kill(p.process("resource"), signal.SIGCONT)
    return {(d["problem"], int(re.match(r"meter=(\d+),", d.get("meter", "meter=0,")).group(1))) for d in found}


def test_mending(p):
    allocation = p.client.install_allocation(MODULE.format(port=6107))
    wanted, rules = p.meters(allocation), len(p.rules(allocation))
    number = wanted[0][2]

    def good():
        return p.meters() == wanted and len(p.rules(allocation)) == rules

    found = told(p, allocation, (("mod-meter", by_hand(number, 5000)), ("add-meter", by_hand(number + 500, 9999, allocation)), ("add-meter", by_hand(4711, 9999, 4711))))
    tests.same(found, {("changed", number), ("extra", number + 500)}, "a meter of another burst that has lost its sign is told as changed, one too much as extra")
    mended(p, "these, and one of an allocation that is no more", good)
    tests.same(told(p, allocation, (("mod-meter", by_hand(number, 9999, allocation)),)), {("changed", number)}, "so is one of another rate")
    os.kill(p.process("resource"), signal.SIGSTOP)
    try:
        ofctl(p, "del-meter", f"meter={number}")
        ofctl(p, "add-meter", by_hand(4713, 9999, 4713))
    finally:
        os.kill(p.process("resource"), signal.SIGCONT)
    items = json.loads(p.command("gc", "--dry-run", "--json").stdout)["items"]
    told_of = [(i["allocation"], i["where"], i["name"]) for i in items]
    tests.check(told_of in ([], [(4713, "tor0", "0 rules, 1 meters")]), "gc says what it was, where it is not gone already", items)
    mended(p, "a meter removed, which has taken a rule with it", good)
    os.kill(p.process("ovs-vswitchd"), signal.SIGKILL)
    time.sleep(0.3)
    mended(p, "ovs-vswitchd killed, all meters lost", good)
    p.client.delete_allocation(allocation)
    tests.same(p.remains(), [], "nothing is left")


def test_none(p):
    """A switch without meters: its daemon is made to say so, since Open vSwitch's has always some."""
    target, source = p.dir / "lib/commands/openflow/get_meters.so", (ROOT / "commands/openflow/get_meters.c").read_text()
    changed = source.replace("fs_double(room)", "fs_double(0)")
    assert changed != source
    was = target.read_bytes()
    Workshop(p.scratch).compile(changed).replace(target)
    try:
        plan = p.client.plan_allocation(MODULE.format(port=6110))
        rates = [i["rate"] for m in plan["placement"] for i in m["inputs"]]
        tests.same(([e for e in plan["rules"] if "meters" in e], rates, plan["notes"]), ([], [RATE], []), "the host has the limit")
        notes = p.client.plan_allocation(DIRECT.format(port=6110))["notes"]
        tests.check(len(notes) == 1 and "tor0 has no meters" in notes[0] and "in -> " in notes[0], "from port to port nothing has, and the plan says so", notes)
    finally:
        target.with_suffix(".new").write_bytes(was)
        target.with_suffix(".new").replace(target)
    plan = p.client.plan_allocation(MODULE.format(port=6110))
    tests.same([i["rate"] for m in plan["placement"] for i in m["inputs"]], [0], "where the switch limits, the host does not")


def meter_mod(command, number, bands=b""):
    """An OpenFlow 1.4 message: kbps and burst."""
    body = struct.pack("!HHI", command, 5 if bands else 0, number) + bands
    return struct.pack("!BBHI", 5, 29, 8 + len(body), 0) + body


def fill(p, first, n):
    """As many meters as that, by one connection: ovs-ofctl would need an hour."""
    target = p.bridges()["tor0"].removeprefix("unix:")
    band = struct.pack("!HHIIxxxx", 1, 16, 1000, 100)
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(target)
        s.sendall(struct.pack("!BBHI", 5, 0, 8, 0))
        s.recv(4096)
        for at in range(first, first + n, 4096):
            s.sendall(b"".join(meter_mod(0, number, band) for number in range(at, min(at + 4096, first + n))))
        s.sendall(struct.pack("!BBHI", 5, 20, 8, 99))  # a barrier
        said = b""
        while struct.pack("!BBHI", 5, 21, 8, 99) not in said[-8:]:
            said += s.recv(65536)
    return said


def test_full(p):
    """A switch whose table of meters is full refuses, and all is undone."""
    began = time.monotonic()
    fill(p, 1, FULL)
    print(f"# {FULL} meters in {time.monotonic() - began:.1f} s")
    try:
        words = ["tor0", "meter", "table of meters is full", "no switch was changed"]
        tests.refused("a switch without room for a meter", words, p.client.install_allocation, MODULE.format(port=6108))
        tests.same(p.remains(), [], "nothing of it is left")
        plain = p.client.install_allocation(MODULE.format(port=6108).replace("{rate=5Mbps}", ""))
        p.client.delete_allocation(plain)
        tests.check(True, "what needs none is installed")
    finally:
        ofctl(p, "del-meters")
    allocation = p.client.install_allocation(MODULE.format(port=6108))
    tests.same(len(p.meters(allocation)), 1, "with room again it is installed")
    p.client.delete_allocation(allocation)


def test_by_hand(p):
    s = p.server()
    text = 'in :: FromNet("in_port=net0,udp,tp_dst=6109"); count :: Counter; out :: ToNet("net1"); in -> {rate=5Mbps} count -> out'
    made = [s.create_pm({"name": "count", "type": "Counter", "host": "h1"})["code"], s.create_connections("tor0", 10, text)["code"]]
    tests.same((made, [meter[3] for meter in p.meters()]), ([0, 0], [5000]), "connections by hand with a rate have a meter")
    gone = [s.delete_connections("tor0", 10, text)["code"], s.delete_pm({"name": "count"})["code"]]
    tests.same((gone, p.remains()), ([0, 0], []), "that goes with them")


with Platform(supervise=True) as platform:
    tests.check(prepare(platform), "the ports reach each other")
    TESTS = (test_rates, test_sharing, test_others, test_mending, test_none, test_by_hand)
    for test in (TESTS, (test_full,))["full" in sys.argv[1:]]:  # that one takes long: bench/run meters
        started = time.monotonic()
        with tests.story(test.__name__):
            test(platform)
        print(f"# {test.__name__}: {time.monotonic() - started:.1f} s", flush=True)
    tests.same(platform.remains(), [], "in the end nothing is left")
    reports = platform.logs()
    tests.check("Sanitizer" not in reports and "runtime error:" not in reports, "no report of a sanitizer in any log")
tests.same(platform.leftovers, [], "nor after the platform is down")
tests.end()

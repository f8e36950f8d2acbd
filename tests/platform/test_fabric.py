#!/usr/bin/python3
"""Paths over several switches: every kind of traffic unharmed, rules counted, foreign rules left alone, all switches or none, ports that move, and another
platform file while traffic flows."""

import re
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from flowtest import PATIENCE, ROOT, Platform, Tests, flowstream, need_root_of_namespaces, until  # noqa: E402
from relay import COMMIT, OPEN, Relay  # noqa: E402
from traffic import MARK, Stream, icmp, number_of, send, tcp, udp, watch  # noqa: E402

from flowstream import netns, ports, processes  # noqa: E402

need_root_of_namespaces()
tests = Tests()

# There and back through both racks, twice across the middle.
LONG = ('NAME=long\nin :: FromNet("in_port=net0{match}")\nin -> a :: Counter {{hosts=h1}} -> b :: Counter {{hosts=h3}} -> c :: Counter {{hosts=h2}} -> ToNet("net1")\n'
        'back :: FromNet("in_port=net1{match}") -> d :: Counter {{hosts=h2}} -> ToNet("net0")\n')
SHORT = 'NAME=short\nFromNet("in_port=net0,udp,tp_dst={port}") -> a :: Counter {{hosts=h1}} -> ToNet("net1")\n'
HELPER = Path(__file__).with_name("traffic.py")
MACS = bytes.fromhex("02aa00000002") + bytes.fromhex("02aa00000001")


def long(match=""):
    return LONG.format(match=match)


def vsctl(p, *words):
    return processes.run(["ovs-vsctl", f"--db=unix:{p.dir}/ovs/db.sock", "--timeout=30", *words])


def kinds():
    """One frame of each kind, numbered, and the largest that the network ports promise: 1,500 bytes of payload."""
    def framed(kind, number, size=100):
        return MACS + kind + (MARK + number.to_bytes(4, "big")).ljust(size, b".")
    frames = [tcp(1), udp(2), icmp(3), tcp(4, v6=True), udp(5, v6=True), icmp(6, v6=True), framed(b"\x88\xb5", 7), framed(b"\x88\xb6", 8, 1500), framed(b"\x08\x06", 9, 46)]
    frames += [udp(10, size=1472), udp(11, v6=True, size=1452), udp(12)[:12] + b"\x81\x00\x00\x05" + udp(12)[12:], udp(13, size=1472)[:12] + b"\x81\x00\x20\x05" + udp(13, size=1472)[12:],
               framed(b"\x88\x47", 14), framed(b"\x89\x4f", 15)]
    return frames


def through(p, inside, outside, frames):
    """The frames that come out, in their order, for those sent in."""
    came, over = [], threading.Event()
    with ports.Sniffer(p.dir, outside, lambda frame: MARK in frame and (came.append(frame) or True)) as sniffer:
        send(p, inside, frames, pps=1500)
        sniffer.wait(len(frames), 10 * PATIENCE)
        over.wait(0.2)
    return came


def all_pass(p, inside, outside, frames, name):
    """All come out once, byte for byte.  (Packets of different flows may overtake each other in a switch.)"""
    came = through(p, inside, outside, frames)
    tests.check(sorted(came) == sorted(frames), name, f"missing {[number_of(f) for f in frames if f not in came]}, others {[f.hex() for f in came if f not in frames][:2]}")


def test_kinds(p):
    frames = kinds()
    all_pass(p, "net0", "net1", frames, "what no request claims crosses the racks: every kind of frame, byte for byte")
    all_pass(p, "net1", "net0", frames, "and back")
    id_ = p.client.install_allocation(long())
    all_pass(p, "net0", "net1", frames, "through three modules in two racks: every kind of frame up to the MTU, byte for byte")
    all_pass(p, "net1", "net0", frames, "through one module on the way back")
    counted = {m["name"]: m["in"] for m in p.modules(id_).values()}
    arp = sum(frame[12:14] == b"\x08\x06" for frame in frames)
    tests.same(counted, {name: len(frames) - arp for name in "abcd"}, "each module saw all of them but ARP")
    stream = [udp(n) for n in range(1500)]
    numbers = [number_of(frame) for frame in through(p, "net0", "net1", stream)]
    tests.check(numbers == list(range(1500)), "a flow keeps its order over all switches", f"{len(numbers)} came, {sum(a > b for a, b in zip(numbers, numbers[1:]))} too early")
    p.address("net0", "10.9.0.1/24")
    p.address("net1", "10.9.0.2/24")
    with p.start_in("net1", sys.executable, str(HELPER), "serve", "10.9.0.2") as server:
        until(10, lambda: p.run_in("net0", "ping", "-c1", "-W1", "10.9.0.2").returncode == 0)
        got = until(20, lambda: (done := p.run_in("net0", sys.executable, str(HELPER), "fetch", "10.9.0.2", "3000000", timeout=60)).returncode == 0 and done.stdout, 0.3)
        server.terminate()
    tests.same(got, "good 3000000\n", "TCP with 1,500-byte packets: three megabytes, checked by hash")
    test_rules(p, id_)
    p.client.delete_allocation(id_)
    tests.same(p.remains(id_), [], "nothing is left of it")


def test_rules(p, id_):
    """The number of rules is linear in the length of the paths: one a bridge that a flow crosses."""
    shown = p.client.get_allocation(id_)
    outside = set(p.record.data["ports"])
    crossed = [[node for node in path["path"] if node not in outside] for path in shown["paths"]]
    bridges = sum(len(nodes) for nodes in crossed)
    planned = sum(len(one["rules"]) for one in shown["rules"])
    installed = len(p.rules(id_))
    tests.check(max(len(nodes) for nodes in crossed) >= 5, "a path crosses five bridges", crossed)
    tests.same((planned, installed), (bridges, bridges), "rules: one a bridge that a flow crosses, no more")


def rules_of_others(p):
    """All rules that are not ours, without their counters."""
    found = []
    for name, target in p.bridges().items():
        said = processes.run(["ovs-ofctl", "-OOpenFlow14", "--no-stats", "dump-flows", target])
        found += [f"{name} {line.strip()}" for line in said.splitlines() if not re.search("cookie=0xf105[0-9a-f]{12},", line) and "actions=" in line]
    return sorted(found)


def test_foreign(p):
    """Rules of others, in the tables that we use and in others, before, during and after."""
    targets = p.bridges()
    for name in ("tor0", "tor1", "mid0", "br-h1"):
        for rule in ("table=0,cookie=0x77,priority=9,ip,nw_src=192.0.2.7,actions=drop", "table=10,cookie=0xf1050000,priority=10000,ip,nw_src=192.0.2.8,actions=drop",
                     "table=10,cookie=0xf104000000010000,priority=3,ip,nw_src=192.0.2.9,actions=drop", "table=20,priority=100,dl_type=0x894f,nsh_spi=0xfff000,nsh_si=3,actions=drop",
                     "table=30,cookie=0x1,priority=7,actions=drop"):
            processes.run(["ovs-ofctl", "-OOpenFlow14", "add-flow", targets[name], rule])
    before = rules_of_others(p)
    tests.same(len(before), 20, "twenty rules of others are there")
    id_ = p.client.install_allocation(long())
    during = rules_of_others(p)
    p.client.delete_allocation(id_)
    tests.same((during, rules_of_others(p)), (before, before), "install and delete leave them as they are")
    until(10, lambda: p.client.call("resource", "get_statistics")["switches_prepared"])
    for name in ("tor0", "tor1", "mid0", "br-h1"):
        for cookie in ("0x77/-1", "0xf1050000/-1", "0xf104000000010000/-1", "0x1/-1"):
            processes.run(["ovs-ofctl", "-OOpenFlow14", "del-flows", targets[name], f"cookie={cookie}"])
        processes.run(["ovs-ofctl", "-OOpenFlow14", "--strict", "del-flows", targets[name], "table=20,priority=100,dl_type=0x894f,nsh_spi=0xfff000,nsh_si=3"])


def test_no_loss(p):
    """Traffic that a request claims goes the old way or the new one, and all of it arrives."""
    with Stream(p, "net0", "net1", port=5000) as stream:
        for _ in range(4):
            p.client.delete_allocation(p.client.install_allocation(long(",udp,tp_dst=5000")))
    tests.check(stream.sent > 100 and not stream.missing, "no packet is lost while a path over all switches is installed and deleted four times", f"{stream.sent} sent, {stream.missing}")


def refused(p, name, words, text):
    """An install that fails, with traffic that it would claim: told why, all undone, and not a packet went wrong."""
    with Stream(p, "net0", "net1", port=5000) as stream:
        tests.refused(name, words, p.client.install_allocation, text, wait=50)
    tests.check(not stream.missing, f"{name}: no packet is lost", f"{stream.sent} sent, missing {stream.missing[:9]}")
    tests.check(until(20, lambda: not p.client.list_allocations() and not p.remains()), f"{name}: nothing is left", f"{p.client.list_allocations()} {p.remains()}")


def test_full(p):
    """A switch in the middle whose table is full."""
    table = vsctl(p, "--", "--id=@t", "create", "Flow_Table", "flow_limit=1", "overflow_policy=refuse", "--", "set", "Bridge", "mid0", "flow_tables:20=@t").strip()
    other = vsctl(p, "--", "--id=@t", "create", "Flow_Table", "flow_limit=1", "overflow_policy=refuse", "--", "set", "Bridge", "mid1", "flow_tables:20=@t").strip()
    refused(p, "a full table in the middle", ["switch mid", "TABLE_FULL", "put back"], long(",udp,tp_dst=5000"))
    for bridge in ("mid0", "mid1"):
        vsctl(p, "clear", "Bridge", bridge, "flow_tables")
    id_ = p.client.install_allocation(long(",udp,tp_dst=5000"))
    tests.check(table and other and id_, "with room again it is installed")
    p.client.delete_allocation(id_)


def test_late(p):
    """A switch that does not answer any more, or starts again, in the middle of a change."""
    file = (p.dir / "platform.xml").read_text()
    target = p.bridges()["tor1"]
    with Relay(target[len("unix:"):], p.scratch / "relay.sock") as relay:
        p.client.call("resource", "apply_platform", file.replace(f'"{target}"', f'"unix:{relay.path}"'))
        id_ = p.client.install_allocation(long(",udp,tp_dst=5000"))
        p.client.delete_allocation(id_)
        tests.check(OPEN in relay.events and COMMIT in relay.events, "the relay sees what is said to the switch", relay.events)
        first, last = relay.events.index(COMMIT), len(relay.events)
        tests.check(first > 1 and last, "all is prepared before anything is committed", relay.events)
        relay.at(COMMIT, "close")
        refused(p, "a switch that is lost at the commit", ["switch tor1", "put back"], long(",udp,tp_dst=5000"))
        relay.at(OPEN, "hold")
        refused(p, "a switch that does not answer in time", ["switch tor1", "does not answer", "no switch was changed"], long(",udp,tp_dst=5000"))
        p.client.call("resource", "apply_platform", file)
    id_ = p.client.install_allocation(long(",udp,tp_dst=5000"))
    tests.check(id_, "the switch by itself again: it is installed")
    p.client.delete_allocation(id_)


def interface(p, name, new):
    """Rename a network port in the switch's own namespace."""
    space = f"fs-{p.tag()}-fabric"
    vsctl(p, "del-port", name)
    for words in (("down",), ("name", new)):
        processes.run(["ip", "-n", space, "link", "set", name, *words])
    processes.run(["ip", "-n", space, "link", "set", new, "up"])
    vsctl(p, "add-port", "tor0", new)


def test_ports_move(p):
    id_ = p.client.install_allocation(SHORT.format(port=5000))
    stream = [udp(n) for n in range(50)]
    vsctl(p, "set", "Interface", "net0", "ofport_request=77")
    tests.check(until(20, lambda: any("in_port=77" in rule for rule in p.rules(id_)) and passes(p, stream)), "a port with another number: rules follow", p.rules(id_))
    interface(p, "net0", "other0")
    said = until(20, lambda: p.client.get_allocation(id_)["message"])
    tests.check("net0: invalid or unknown port" in said and ("not in a switch" in said or "switch tor0" in said), "a port with another name: the allocation says which, and where", said)
    interface(p, "other0", "net0")
    tests.check(until(20, lambda: not p.client.get_allocation(id_)["message"]), "with its old name the allocation has no complaint", p.client.get_allocation(id_)["message"])
    tests.check(until(20, lambda: passes(p, stream)), "and its traffic passes")
    p.client.delete_allocation(id_)


def passes(p, stream):
    with watch(p, "net1") as out:
        send(p, "net0", stream)
        return out.wait(len(stream), 2)


def changed(p, *pairs):
    text = (ROOT / "etc" / "platforms" / "two-racks.xml").read_text()
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new)
    path = p.scratch / "changed.xml"
    path.write_text(text)
    return path


def test_change(p):
    """Another platform file while traffic flows."""
    id_ = p.client.install_allocation(long(",udp,tp_dst=5000"))
    whole = (p.dir / "platform.xml").read_text()
    host = '<server id="h5" cpu="4" mem="512" bandwidth="1000" delay="1"/>\n  <io id="net2"/>\n'
    links = '<link a="tor1" b="h5" a-port="to-h5" b-port="h5-up" bandwidth="1000" delay="1" mtu="1600"/>\n' \
            '<link a="net2" b="tor1" b-port="net2" bandwidth="1000" delay="1" mtu="1500"/>\n'
    more = changed(p, ("</platform>", host + links + "</platform>"))
    with Stream(p, "net0", "net1", port=5000) as stream:
        done = p.command("up", "--platform", str(more), "--quiet")
        tests.check(done.returncode == 0 and "added: net2, h5, tor1-h5, net2-tor1" in done.stdout.replace("h5, net2, tor1", "net2, h5, tor1"), "a host and a network port are added",
                    f"{done.stdout}{done.stderr}")
        p.record = flowstream.folder.Record.load(p.dir)
        second = p.client.install_allocation('NAME=new\nFromNet("in_port=net2,udp") -> n :: Counter {hosts=h5} -> ToNet("net1")\n')
        with ports.Sniffer(p.dir, "net1", lambda frame: b"new port" in frame) as out:
            send(p, "net2", [udp(n).replace(MARK, b"new port.......:") for n in range(30)])
            tests.check(out.wait(30, 10 * PATIENCE), "the new port and host carry traffic", out.received)
        for name, pairs, words in (
                ("a host that runs modules", (('<server id="h3" cpu="8" mem="2048" bandwidth="10000" delay="1"/>', ""),
                                              ('<link a="tor1" b="h3" a-port="to-h3" b-port="h3-up" bandwidth="10000" delay="1" mtu="1600"/>', "")), ["allocation", "(long)", "h3"]),
                ("a port's name", (('b-port="net1"', 'b-port="netx"'),), ["(long)", "netx"]),
                ("a host's memory", (('id="h1" cpu="8" mem="2048"', 'id="h1" cpu="8" mem="8"'),), ["(long)", "h1", "too little"]),
                ("a link's bandwidth", (('a="tor0" b="h1" a-port="to-h1" b-port="h1-up" bandwidth="10000"', 'a="tor0" b="h1" a-port="to-h1" b-port="h1-up" bandwidth="0.5"'),),
                 ["(long)", "bandwidth"])):
            done = p.command("up", "--quiet", "--platform", str(changed(p, *pairs)))
            tests.check(done.returncode == 1 and all(word in done.stderr for word in words), f"{name} that is needed does not go", f"{done.returncode} {done.stderr}")
        done = p.command("up", "--quiet", "--platform", str(changed(p, ('mtu="1600"', 'mtu="1500"'))))
        tests.check(done.returncode == 1 and "changed.xml:" in done.stderr, "a wrong file is refused with its line", done.stderr)
        tests.same({a["name"] for a in p.client.list_allocations()}, {"long", "new"}, "after all these both requests are there")
        done = p.command("up", "--quiet", "--force", "--platform", str(changed(p)))
        tests.check(done.returncode == 0 and "(new)" in done.stdout, "with --force what is on the host that goes is deleted, and named", f"{done.stdout}{done.stderr}")
    tests.check(not stream.missing, "of the traffic of the other request no packet is lost in all these changes", f"{stream.sent} sent, {stream.missing[:9]}")
    tests.same([a["id"] for a in p.client.list_allocations()], [id_], "the other request is there")
    tests.check(sorted(p.client.hosts_up()) == ["h1", "h2", "h3", "h4"] and second, "the hosts are those of the file", p.client.hosts_up())
    tests.check(not netns.exists(f"fs-{p.tag()}-net2") and "h5" not in (p.dir / "platform.xml").read_text(), "the port's namespace is gone, and so are both from the daemons' file")
    tests.same(len(re.findall("<link", (p.dir / "platform.xml").read_text())), len(re.findall("<link", whole)), "the platform is what it was")
    p.client.delete_allocation(id_)


def main():
    with Platform(ROOT / "etc" / "platforms" / "two-racks.xml") as p:
        for story in (test_kinds, test_foreign, test_no_loss, test_full, test_late, test_ports_move, test_change):
            begin = time.monotonic()
            with tests.story(story.__name__):
                story(p)
            with tests.story(f"after {story.__name__}"):
                for left in p.client.list_allocations():
                    tests.check(False, f"{story.__name__} leaves allocation {left['id']}")
                    p.client.delete_allocation(left["id"])
                print(f"# {story.__name__}: {time.monotonic() - begin:.1f} s", flush=True)
        tests.same(p.remains(), [], "nothing is left of any allocation")
    tests.same(p.leftovers, [], "nothing is left of the platform")
    tests.end()


if __name__ == "__main__":
    main()

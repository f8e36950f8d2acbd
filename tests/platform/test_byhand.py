#!/usr/bin/python3
"""The low-level API by Python's own XML-RPC client: modules made one by one, connections led through them, traffic, refusals, and nothing left afterwards."""

import concurrent.futures
import contextlib
import http.client
import os
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from flowtest import PATIENCE, Platform, Tests, flowstream, need_root_of_namespaces, until  # noqa: E402
from traffic import Stream, icmp, send, tcp, udp, watch  # noqa: E402

need_root_of_namespaces()
tests = Tests()

CLASSES = "tcp, udp, icmp"
# All connections but that of the Classifier's output 1.
FIRST = f"""in :: FromNet("in_port=net0,ip"); count :: Counter; split :: Classifier("{CLASSES}"); out :: ToNet("net1");
in -> count -> split; split[0] -> out; split[2] -> out"""
SECOND = f'split :: Classifier("{CLASSES}"); tun :: ToNet("tun1"); split[1] -> tun'


def good(name, answer):
    tests.check((answer["code"], answer["value"]) == (0, None), name, answer)


def refused(name, words, answer):
    tests.check(answer["code"] == 1 and answer["value"] is None and all(word in answer["message"] for word in words), name, f"answer {answer}\nwanted code 1 and {words}")


def by_name(s):
    return {a["name"]: a for a in s.list_allocations()["value"]}


def passed(p, name, expect):
    """Send 60 TCP, 60 UDP and 60 ICMP packets into net0; 'expect' says how many come out at each port."""
    sniffers = {port: watch(p, port) for port in expect}
    send(p, "net0", [make(n) for n in range(60) for make in (tcp, udp, icmp)])
    for port, sniffer in sniffers.items():
        sniffer.wait(expect[port], 10 * PATIENCE) if expect[port] else time.sleep(0.3)
        sniffer.stop()
    tests.same({port: sniffer.received for port, sniffer in sniffers.items()}, expect, name)


def test_refusals(p, s):
    for words, pm in ((["name", "missing"], {}), (["name", "''"], {"name": ""}), (["name", "'a b'"], {"name": "a b", "type": "Counter"}), (["type", "get_pm_info"], {"name": "a"}),
                      (["Countr", "Counter"], {"name": "a", "type": "Countr"}), (["alow"], {"name": "a", "type": "Firewall", "args": "alow tcp"}),
                      (["host", "h9"], {"name": "a", "type": "Counter", "host": "h9"}), (["cpu", "-1"], {"name": "a", "type": "Counter", "cpu": -1}),
                      (["mem", "0"], {"name": "a", "type": "Counter", "mem": 0}), (["outputs", "2"], {"name": "a", "type": "Counter", "outputs": 2}),
                      (["memory"], {"name": "a", "type": "Counter", "memory": 3}), (["cpu", "double", "string"], {"name": "a", "type": "Counter", "cpu": "2"}),
                      (["xen.clickos", "linux.process"], {"name": "a", "type": "Counter", "basesys": "xen.clickos"}),
                      (["does not fit", "900"], {"name": "a", "type": "Counter", "cpu": 900})):
        refused(f"create_pm: {pm}", words, s.create_pm(pm))
    refused("delete_pm: unknown", ["nobody"], s.delete_pm({"name": "nobody"}))
    refused("create_connections: unknown switch", ["tor9", "tor0"], s.create_connections("tor9", 10, FIRST))
    refused("create_connections: the table of tagged packets", ["20"], s.create_connections("tor0", 20, FIRST))
    refused("create_connections: a table that spreads packets", ["12"], s.create_connections("tor0", 12, FIRST))
    refused("create_connections: instances", ["count asks for several instances"], s.create_connections("tor0", 10, FIRST.replace("count :: Counter", "count :: Counter {instances=2}")))
    refused("create_connections: no such table", ["254"], s.create_connections("tor0", 254, FIRST))
    refused("create_connections: modules that nobody made", ["create_pm", "count"], s.create_connections("tor0", 10, FIRST))
    refused("create_connections: a text with a mistake", ["connections:1:", "Contour", "^"], s.create_connections("tor0", 10, 'a :: Contour; b :: ToNet("net1"); a -> b'))
    refused("delete_connections: none", ["delete_connections", "tor0"], s.delete_connections("tor0", 10, FIRST))
    tests.check(not p.remains() and not s.list_allocations()["value"], "none of these left anything")


def test_connections(p, s):
    for words in ("create_pm: a Counter", "the same key and module again: the same answer"):
        good(words, s.create_pm({"name": "count", "type": "Counter", "host": "h1"}, {"key": "counting"}))
    refused("the same key with another module", ["counting"], s.create_pm({"name": "other", "type": "Counter"}, {"key": "counting"}))
    good("create_pm: a Classifier with three outputs", s.create_pm({"name": "split", "type": "Classifier", "args": CLASSES, "host": "h2", "cpu": 0.5, "mem": 48}))
    refused("create_pm: a name twice", ["count", "already"], s.create_pm({"name": "count", "type": "Counter"}))
    listed = by_name(s)
    tests.same({name: (a["kind"], a["state"], a["modules"][0]["host"]) for name, a in listed.items()},
               {"count": ("module", "installed", "h1"), "split": ("module", "installed", "h2")}, "both are listed as modules by hand")
    passed(p, "modules by hand take no traffic", {"net1": 180, "tun1": 0})

    for words in ("create_connections", "the same key and connections again: the same answer"):
        good(words, s.create_connections("tor0", 10, FIRST, {"key": "connecting"}))
    made = by_name(s)["connections at tor0"]
    tests.same((made["kind"], made["switch"], made["table"], [m["name"] for m in made["modules"]]), ("connections", "tor0", 10, ["count", "split"]), "they are listed as connections")
    passed(p, "TCP and ICMP go through both modules, UDP ends at the output that is not connected", {"net1": 120, "tun1": 0})
    counted = {m["name"]: m["in"] for m in s.get_allocation(made["id"])["value"]["modules"]}
    tests.same(counted, {"count": 180, "split": 180}, "each module has seen each packet once")
    refused("the same packets cannot be claimed twice", [str(made["id"]), "PRIORITY"], s.create_connections("tor0", 10, FIRST))
    refused("a module is what it was made as", ["split", "udp"], s.create_connections("tor0", 10, SECOND.replace(CLASSES, "udp")))
    refused("an output is connected once", ["output 0", "already"], s.create_connections("tor0", 10, SECOND.replace("[1]", "[0]")))
    refused("an output that it has not", ["3 outputs"], s.create_connections("tor0", 10, SECOND.replace("[1]", "[3]")))

    good("create_connections for the third output, while the others go on", s.create_connections("tor0", 10, SECOND))
    passed(p, "now UDP leaves by tun1", {"net1": 120, "tun1": 60})
    refused("a module in use is not deleted", ["split", "delete_connections"], s.delete_pm({"name": "split"}))
    refused("nor by its id", ["split"], s.delete_allocation(listed["split"]["id"]))


def kill(p):
    """Kill the resource daemon as it is."""
    os.kill(p.process("resource"), signal.SIGKILL)
    time.sleep(0.2)


def start(p):
    """Start it again; a client for the new one."""
    p.command("start", "resource")
    tests.same(p.command("status", "--wait", "20").returncode, 0, "the resource daemon is back after kill -9")
    p.record = flowstream.folder.Record.load(p.dir)
    return p.server()


def test_crash(p, s):
    kill(p)
    s = start(p)
    passed(p, "the same after the resource daemon was killed and started again", {"net1": 120, "tun1": 60})
    tests.same(sorted(a["kind"] for a in s.list_allocations()["value"]), ["connections", "connections", "module", "module"], "and all four are known")


def test_dead_module(p, s):
    """Connections lead through a module that has just died: they can be deleted, and do not wait for ever for it, which waits for them."""
    good("create_pm of a module that will die", s.create_pm({"name": "frail", "type": "Counter", "host": "h1"}))
    text = 'in :: FromNet("in_port=net0,udp,tp_dst=7777"); frail :: Counter; out :: ToNet("net1"); in -> frail -> out'
    good("connections through it", s.create_connections("tor0", 10, text))
    path = next(p.dir.glob("hosts/h1/modules/a*.frail/pid"))
    pid = path.read_text().split()[0]
    os.kill(int(pid), signal.SIGKILL)
    good("they are deleted although it is dead", s.delete_connections("tor0", 10, text))

    def is_another():
        with contextlib.suppress(FileNotFoundError):  # the folder is made anew
            return path.read_text().split()[:1] not in ([], [pid])
        return False
    tests.check(until(15, is_another), "then it is started again", path)
    good("create_connections through the new one", s.create_connections("tor0", 10, text))
    good("and delete_connections", s.delete_connections("tor0", 10, text))
    good("and delete_pm", s.delete_pm({"name": "frail"}))


AGAIN = {"name": "again", "type": "Counter", "host": "h1"}
THROUGH = 'in :: FromNet("in_port=net0,udp,tp_dst=7778"); again :: Counter; out :: ToNet("net1"); in -> again -> out'


def test_again(p, s):
    """A deletion by name may be said again with its key: it never reaches what has got the name since."""
    good("create_pm", s.create_pm(AGAIN))
    for words in ("delete_pm with a key", "the same again"):
        good(words, s.delete_pm({"name": "again"}, {"key": "end"}))
    good("create_pm of another with that name", s.create_pm(AGAIN))
    for words in ("create_connections", "others that say the same"):
        good(words, s.create_connections("tor0", 10, THROUGH))
        if words == "create_connections":
            good("delete_connections with a key", s.delete_connections("tor0", 10, THROUGH, {"key": "part"}))
    newer = {a["name"]: a["id"] for a in s.list_allocations()["value"]}
    for moment in ("now", "after a kill -9"):
        good(f"{moment}: that delete_pm again", s.delete_pm(AGAIN, {"key": "end"}))
        good(f"{moment}: that delete_connections again", s.delete_connections("tor0", 10, THROUGH, {"key": "part"}))
        tests.same({a["name"]: a["id"] for a in s.list_allocations()["value"]}, newer, f"{moment}: what is newer is left alone")
        refused(f"{moment}: the key for another module", ["'end'", "delete_pm of again"], s.delete_pm({"name": "other"}, {"key": "end"}))
        refused(f"{moment}: the key for connections", ["'end'", "delete_pm of again"], s.delete_connections("tor0", 10, THROUGH, {"key": "end"}))
        refused(f"{moment}: the key for other connections", ["'part'", "delete_connections of tor0"], s.delete_connections("tor0", 0, THROUGH, {"key": "part"}))
        if moment == "now":
            kill(p)
            s = start(p)
    for _ in range(2):
        tests.same(p.client.delete_connections("tor0", 10, THROUGH, key="part 2"), None, "with another key they are deleted, also by the Python client")
    good("the module, too", s.delete_pm(AGAIN, {"key": "end 2"}))
    refused("without a key that cannot be said again", ["again"], s.delete_pm(AGAIN))


def test_again_killed(p, s):
    """Killed in the middle of a deletion, which has to wait for a host: it is ended, and said again it is answered."""
    good("create_pm", s.create_pm(AGAIN))
    hung = p.process("modulehost:h1")
    os.kill(hung, signal.SIGSTOP)
    try:
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            asked = pool.submit(p.server().delete_pm, AGAIN, {"key": "hung"})
            tests.check(until(10, lambda: s.list_allocations({"brief": True})["value"][0]["state"] == "deleting"), "a deletion waits for its host")
            kill(p)
            tests.check(isinstance(asked.exception(), (OSError, http.client.HTTPException)), "its caller hears no answer", asked.exception())
    finally:
        os.kill(hung, signal.SIGCONT)
    s = start(p)
    tests.check(until(20, lambda: s.delete_pm(AGAIN, {"key": "hung"})["code"] == 0), "he asks again until it is done")
    good("create_pm of another with that name", s.create_pm(AGAIN))
    good("once more, late", s.delete_pm(AGAIN, {"key": "hung"}))
    tests.check("again" in by_name(s), "leaves that one alone")
    good("delete_pm", s.delete_pm(AGAIN))


def test_again_at_once(p, s):
    """The same deletion by several callers who meet in its write."""
    def ask(name, key):
        answer = p.server().delete_pm({"name": name}, {"key": key})
        return answer["message"] if answer["code"] == 1 else answer["code"]
    good("create_pm", s.create_pm(AGAIN))
    answers, early = p.meet(8, lambda _: ask("again", "all"))
    tests.same(early, [], "of 8 with one key nobody is answered before it is on the disk")
    tests.check(set(answers) <= {0, -1} and 0 in answers, "all hear that it is done, or being done", answers)
    tests.check(until(20, lambda: ask("again", "all") == 0), "and then that it is done")
    for name in ("again", "other"):
        good("create_pm", s.create_pm({**AGAIN, "name": name}))
    tests.same([ask("again", "all"), "again" in by_name(s)], [0, True], "once more, late: what is newer is left alone")
    answers, early = p.meet(2, lambda i: ask(("again", "other")[i], "both"))
    left = set(by_name(s)) & {"again", "other"}
    tests.check(not early and len(left) == 1 and sorted(map(str, answers))[0] == "0" and sum("key 'both' is that of another call" in str(a) for a in answers) == 1,
                "one key for two deletions: one is done, the other refused", (answers, early, left))
    last = left.pop()
    with p.busy_disk():
        tests.check("cannot be written" in str(ask(last, "full")), "a deletion that cannot be written is refused")
    tests.check(by_name(s)[last]["state"] == "installed", "and nothing is done")
    tests.same(ask(last, "full"), 0, "with the same key it is done later")


def test_restored(p, s):
    """A backup brings a module back on another host than before: its connections follow it."""
    text = 'in :: FromNet("in_port=net0,udp,tp_dst=7778"); movable :: Counter; out :: ToNet("net1"); in -> movable -> out'
    good("create_pm wherever there is room", s.create_pm({"name": "movable", "type": "Counter"}))
    good("connections through it", s.create_connections("tor0", 10, text))
    host = by_name(s)["movable"]["modules"][0]["host"]
    p.client.backup(p.scratch / "byhand.backup")
    good("delete_connections", s.delete_connections("tor0", 10, text))
    good("delete_pm", s.delete_pm({"name": "movable"}))
    p.client.drain_host(host)
    p.client.restore(p.scratch / "byhand.backup")
    tests.check(until(20, lambda: [a["state"] for a in s.list_allocations()["value"]] == ["installed"] * 2), "both are restored while that host takes no modules", s.list_allocations())
    tests.check(by_name(s)["movable"]["modules"][0]["host"] != host, "the module on another host", by_name(s)["movable"])
    with watch(p, "net1") as out:
        send(p, "net0", [udp(n, 7778) for n in range(20)])
        tests.check(out.wait(20, 10 * PATIENCE) and p.modules(by_name(s)["movable"]["id"])["movable"]["in"] == 20, "traffic goes through them", out.received)
    p.client.drain_host(host, False)
    good("delete_connections", s.delete_connections("tor0", 10, text))
    good("delete_pm", s.delete_pm({"name": "movable"}))


def test_end(p, s):
    with Stream(p, "net0", "tun1", port=7000) as stream:
        time.sleep(0.3)
        good("connections that another request does not use are deleted", s.delete_connections("tor0", 10, "// the same\n" + FIRST.replace("; ", ";\n")))
        time.sleep(0.3)
    tests.check(0 < len(stream.seen) < stream.sent, "then their traffic goes its old way", (stream.sent, len(stream.seen)))
    passed(p, "all of it", {"net1": 180, "tun1": 0})
    good("the others", s.delete_connections("tor0", 10, SECOND))
    good("connections in table 0, before all other rules", s.create_connections("tor0", 0, 'in :: FromNet("in_port=net0,udp"); count :: Counter; out :: ToNet("tun1"); in -> count -> out'))
    tests.check(any("table=0" in rule or "table=" not in rule for rule in p.rules(by_name(s)["connections at tor0"]["id"])), "their rule is in table 0",
                "\n".join(p.rules(by_name(s)["connections at tor0"]["id"])))
    passed(p, "and hold", {"net1": 120, "tun1": 60})
    good("deleted by id", s.delete_allocation(by_name(s)["connections at tor0"]["id"]))
    good("delete_pm", s.delete_pm({"name": "count"}))
    good("delete_pm of the second", s.delete_pm({"name": "split"}))
    tests.check(not p.remains() and not s.list_allocations()["value"], "nothing is left", "\n".join(p.remains()))
    passed(p, "traffic goes its old way", {"net1": 180, "tun1": 0})


with Platform() as platform:
    for part in (test_refusals, test_dead_module, test_restored, test_again, test_again_killed, test_again_at_once, test_connections, test_crash, test_end):
        with tests.story(part.__name__):
            part(platform, platform.server())
tests.check(not platform.leftovers, "the platform leaves nothing", platform.leftovers)
tests.end()

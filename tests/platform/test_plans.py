"""What an operator sees beforehand and afterwards: plans that say exactly what will be done, claims to the same packets, statistics and flows that add up."""

import re
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from flowtest import PATIENCE, SANITIZED, Platform, Tests, need_root_of_namespaces, until  # noqa: E402
from loadables import Workshop  # noqa: E402
from traffic import send, tcp, udp, watch  # noqa: E402

need_root_of_namespaces()
tests = Tests()

CHAIN = 'NAME={name}\nin :: FromNet("in_port=net0,{match}")\nin -> a :: Counter -> b :: Counter -> ToNet("net1")\n'
ELSEWHERE = 'in :: FromNet("in_port=mon0,dl_type=0x9999")\nin -> ToNet("net1")\n'
SLOW = """
#include <unistd.h>
#include <flowstream/method.h>
static void run(struct fs_call *call) { for (int i = 0; i < 600 && !fs_call_cancelled(call); i++) { usleep(50000); } }
FS_TASK = { FS_IS_TASK, .name = "slow", .help = "Takes its time.", .params = { { "parameter", "any?", "not used" } }, .returns = "nil", .run = run };
"""


def chain(match, name="chain", head=""):
    return head + CHAIN.format(name=name, match=match)


def dump(target):
    done = subprocess.run(["ovs-ofctl", "-OOpenFlow14", "--no-stats", "--names", "dump-flows", target], capture_output=True, text=True, check=True, timeout=30 * PATIENCE)
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]


def differs(target, file):
    """What ovs-ofctl itself finds different between a switch and a file of rules."""
    done = subprocess.run(["ovs-ofctl", "-OOpenFlow14", "--names", "diff-flows", target, str(file)], capture_output=True, text=True, check=False, timeout=30 * PATIENCE)
    return done.stdout + done.stderr


def test_plan_is_what_is_done(p):
    """Rule by rule, cookie by cookie, in every switch; loads as the hosts tell them afterwards."""
    before = {name: dump(target) for name, target in p.bridges().items()}
    request = ('NAME=exact\nRATE=5Mbps\nin :: FromNet("in_port=net0,udp,tp_dst=4000/0xfff0")\nv6 :: FromNet("in_port=tun1,ipv6,dl_vlan=7")\n'
               'in -> m :: Mirror -> a :: Counter {hosts=h1, cpu=0.5} -> b :: Counter {hosts=h2|h3, instances=2} -> ToNet("net1")\nm[1] -> ToNet("mon0")\nv6 -> c :: Counter -> ToNet("net0")\n')
    plan = p.client.plan_allocation(request)
    id_ = p.client.install_allocation(request)
    tests.same(id_, plan["id"], "what is installed right after a plan has its id")
    rules = {entry["switch"]: entry["rules"] for entry in plan["rules"]}
    tests.check(len(rules) >= 3 and sum(map(len, rules.values())) >= 10, "the plan has rules for several switches", rules)
    for name, target in p.bridges().items():
        planned = [f"cookie={0xf105 << 48 | id_ << 16 | i:#x},{rule}" for i, rule in enumerate(rules.get(name, []))]
        file = p.scratch / "wanted"
        file.write_text("\n".join(before[name] + planned) + "\n")
        said = differs(target, file)
        tests.check(said == "", f"{name} has exactly the {len(planned)} planned rules more than before", said)
        if planned:
            file.write_text("\n".join(before[name] + planned[:-1]) + "\n")
            tests.check(differs(target, file) != "", "and one less would have been noticed")
    meters = sorted((entry["switch"], id_, m["meter"], int(m["kbps"]), int(m["burst"])) for entry in plan["rules"] for m in entry.get("meters", []))
    tests.same((sorted(p.meters()), len(meters)), (meters, 2), "and exactly the planned meters, one for each FromNet")
    loads = {host["host"]: host for host in plan["loads"]["hosts"]}
    for host in p.client.list_hosts():
        told = loads[host["name"]]
        tests.same((round(told["cpu_after"], 6), told["mem_after"], told["modules_after"]), (round(host["cpu_used"], 6), host["mem_used"], host["modules"]), f"load of {host['name']} after it, as planned")
    links = {(link["from"], link["to"]): link["after"] - link["before"] for link in plan["loads"]["links"]}
    tests.same((links[("net0", "tor0")], links[("h1", "tor0")], links[("tor0", "net1")], links[("tor0", "h3")] >= 0), (5.0, 5.0, 5.0, True), "links are planned with their rates")
    again = p.client.plan_allocation(chain("udp,tp_dst=9999"))
    tests.same(sum(host["cpu_before"] for host in again["loads"]["hosts"]), sum(host["cpu_after"] for host in loads.values()), "the next plan begins where this one ended")
    shown = p.command("plan", "-", input="RATE=3Mbps\n" + chain("udp,tp_dst=9999")).stdout
    tests.check(re.search(r"meters of tor0:\n  meter=\d+,kbps,burst,band=type=drop,rate=3000,burst_size=205\n", shown), "flowstream plan tells meters", shown)
    shown = p.command("plan", "-", input=chain("udp,tp_dst=9999")).stdout
    tests.check("RESERVED" in shown and re.search(r"net0 > tor0 +5 -> 6 of 10000 Mbit/s", shown) and "as before: " in shown, "flowstream plan tells loads", shown)
    p.client.delete_allocation(id_)
    tests.same({name: dump(target) for name, target in p.bridges().items()}, before, "and deleting leaves what was before")


def test_plan_refusals(p):
    """All reasons at once, and nothing is done."""
    id_ = p.client.install_allocation(chain("udp,tp_dst=4100", "there"))
    tests.refused("a plan tells all that stands against it", [f"allocation {id_} (there)", "line 2", "does not fit", "h1: "],
                  p.client.plan_allocation, "CPU=9\n" + chain("udp,tp_dst=4100", "wish"))
    said = p.command("plan", "-", input="CPU=9\n" + chain("udp,tp_dst=4101"))
    tests.check(said.returncode == 1 and "h1: " in said.stderr and "of 8 cores used, 9 asked" in said.stderr, "the reason names what binds, host by host", said.stderr)
    p.client.delete_allocation(id_)


OVERLAPS = (
    # two matches of net0, and whether a packet can match both
    ("ip", "udp,tp_dst=53", True), ("ip", "ipv6", False), ("ipv6,ipv6_dst=fd00::/16", "udp6,ipv6_dst=fd00:0:1::/48,tp_dst=53", True),
    ("ipv6,ipv6_dst=fd00::/16", "ipv6,ipv6_dst=fd01::/16", False), ("ipv6,ipv6_src=fd00::/16", "ipv6,ipv6_dst=fd01::/16", True),
    ("udp,tp_dst=0x1000/0xf000", "udp,tp_dst=0x1ff0/0xfff0", True), ("udp,tp_dst=0x1000/0xf000", "udp,tp_dst=0x2000", False),
    ("udp,tp_dst=0x1000/0xf000", "udp,tp_src=0x2000", True), ("tcp,tp_dst=80", "udp,tp_dst=80", False),
    ("dl_vlan=5,ip", "dl_vlan=6,ip", False), ("dl_vlan=5", "dl_vlan=5,ip,nw_dst=10.1.0.0/16", True), ("dl_vlan=5", "vlan_tci=0,ip", False),
    ("ip,nw_dst=10.0.0.0/255.0.0.255", "ip,nw_dst=10.9.9.0/24", True), ("ip,nw_dst=10.0.0.1/255.0.0.255", "ip,nw_dst=10.0.0.2/255.0.0.255", False),
    ("ip,ip_frag=yes", "udp,ip_frag=no", False), ("ip,ip_frag=yes", "ip,ip_frag=later", True), ("arp", "arp,arp_tpa=10.0.0.1", True), ("dl_type=0x88cc", "dl_type=0x88cd", False))


def test_overlaps(p):
    """The first is installed, the second planned and installed: refused naming the first, its FromNet and the lines, or not."""
    for first, second, meet in OVERLAPS:
        id_ = p.client.install_allocation(chain(first, "one"))
        next_id = p.client.plan_allocation(ELSEWHERE)["id"]
        ordered = p.client.plan_allocation(chain(second, "two", "PRIORITY=7\n"))
        tests.check(ordered["rules"], f"{second} beside {first}, with another priority, is possible")
        if meet:
            words = [f'FromNet in ("in_port=net0,{second}", line 2)', f'FromNet in ("in_port=net0,{first}", line 2) of allocation {id_} (one)', "PRIORITY"]
            tests.refused(f"{second} beside {first} is refused", words, p.client.install_allocation, chain(second, "two"))
            tests.same(p.client.plan_allocation(ELSEWHERE)["id"], next_id, "which has used up no id")
        else:
            other = p.client.install_allocation(chain(second, "two"))
            tests.check(other == next_id, f"{second} beside {first} is installed")
            p.client.delete_allocation(other)
        p.client.delete_allocation(id_)
    inside = 'a :: FromNet("udp")\nb :: FromNet("in_port=tun1,udp,tp_dst=5")\na -> c :: Counter -> ToNet("net1")\nb -> d :: Counter -> ToNet("net0")\n'
    tests.refused("two FromNets of one request are told as well", ['a ("udp", line 1)', 'b ("in_port=tun1,udp,tp_dst=5", line 2)'], p.client.plan_allocation, inside)


def test_keys(p):
    text = chain("udp,tp_dst=4200")
    id_ = p.client.install_allocation(text, key="once")
    tests.same(p.client.install_allocation(text, key="once"), id_, "the same key and text: the same allocation")
    tests.refused("the same key with another text is refused and names it", ["key 'once'", f"allocation {id_}", "another text"], p.client.install_allocation, chain("udp,tp_dst=4201"), key="once")
    with_parameter = text.replace("4200", "$port")
    second = p.client.install_allocation(with_parameter, key="twice", parameters={"port": "4202"})
    tests.refused("so are other parameters", [f"allocation {second}", "parameters"], p.client.install_allocation, with_parameter, key="twice", parameters={"port": "4203"})
    tests.same(p.client.install_allocation(with_parameter, key="twice", parameters={"port": "4202"}), second, "and the same ones are not")
    for number in (id_, second):
        p.client.delete_allocation(number)
    third = p.client.install_allocation(chain("udp,tp_dst=4201"), key="once")
    tests.check(third > second, "the key is free again when its allocation is gone")
    p.client.delete_allocation(third)


def task_named(server, name, newest):
    """The handle of the newest task of that name, looking back from a handle."""
    for handle in range(newest, 0, -1):
        task = server.get_task(handle)
        if task["code"] == 0 and task["value"]["tasks"] == [name]:
            return task["value"]
    return None


def test_cancel(p):
    """A task that is cancelled before it began gives its allocation free."""
    kept = p.client.install_allocation(chain("udp,tp_dst=4300", "kept"))
    target = p.dir / "lib/tasks/resource/slow.so"
    Workshop(p.scratch).compile(SLOW).rename(target)
    s = p.server()
    busy = [s.run_task("slow", {}, {"priority": "high"})["value"] for _ in range(16)]
    tests.check(until(10, lambda: sum(s.get_task(h)["value"]["state"] == "running" for h in busy) == 16), "the engine is full")
    answer = s.install_allocation(chain("udp,tp_dst=4301", "waits"), {"wait": 0})
    newest = s.run_task("base_rules", {}, {"priority": "normal"})["value"]
    install = task_named(s, "install", newest)
    tests.check(answer["code"] == -1 and install and install["state"] == "waiting", "an installation waits", (answer, install))
    tests.same(s.cancel_task(install["handle"])["code"], 0, "it is cancelled")
    tests.same(s.get_allocation(answer["value"])["value"]["state"], "installing", "its allocation is still known")
    for handle in busy:
        s.cancel_task(handle)
    tests.check(until(15, lambda: s.get_allocation(answer["value"])["code"] == 1), "and soon it is not: its claim ended with its task")
    tests.same(p.remains(answer["value"]), [], "nothing of it is there")
    second = p.client.install_allocation(chain("udp,tp_dst=4301", "again"))
    for number in (second, kept):
        p.client.delete_allocation(number)
    target.unlink()


def total(found, key):
    return sum(flow[key] for flow in found["flows"]) + found[f"other_{key}"]


def test_flows(p):
    """Which packets came, flow by flow; beyond the table's size the sum still is exact."""
    id_ = p.client.install_allocation('in :: FromNet("in_port=net0,ip")\nv6 :: FromNet("in_port=net0,ipv6")\nin -> a :: Counter -> b :: Counter -> ToNet("net1")\n'
                                      'v6 -> c :: Counter -> ToNet("net1")\n')
    first = p.client.get_flows(id_)
    tests.same((first["flows"], first["known"], first["problems"]), ([], 0, []), "the first call begins to count")
    frames = [udp(n, 53) for n in range(30)] + [tcp(n, 80) for n in range(20)] + [udp(n, 53, True) for n in range(10)]
    with watch(p, "net1") as out:
        send(p, "net0", frames)
        tests.check(out.wait(60, 10 * PATIENCE), "all packets arrive", out.received)
    found = p.client.get_flows(id_)
    told = {(f["module"], f["protocol"], f["source"], f["source_port"], f["destination"], f["destination_port"]): (f["packets"], f["bytes"]) for f in found["flows"]}
    tests.same(told, {("a", 17, "10.9.0.1", 40000, "10.9.0.2", 53): (30, float(sum(map(len, frames[:30])))), ("a", 6, "10.9.0.1", 40000, "10.9.0.2", 80): (20, float(sum(map(len, frames[30:50])))),
                      ("c", 17, "fd09::1", 40000, "fd09::2", 53): (10, float(sum(map(len, frames[50:]))))}, "each flow with its packets and bytes")
    shown = p.command("flows", str(id_), "--seconds", "0").stdout
    tests.check("10.9.0.1:40000" in shown and "[fd09::2]:53" in shown, "flowstream flows shows them", shown)
    many = [udp(n, 1000 + n, size=32) for n in range(6000)]
    with watch(p, "net1") as out:
        send(p, "net0", many, pps=3000)
        out.wait(6000, 20 * PATIENCE)
    until(5, lambda: p.modules(id_)["a"]["in"] >= 6050)
    came, found = p.modules(id_)["a"]["in"] + p.modules(id_)["c"]["in"], p.client.get_flows(id_, most=10)
    tests.same(total(found, "packets"), came, "with more flows than there is place for, the sum is what the modules got")
    tests.check(len(found["flows"]) == 10 and 3000 < found["known"] <= 4098 and found["forgotten"] == 6003 - found["known"], "as many as there is place for are known", {**found, "flows": []})
    everything = p.client.get_flows(id_, most=10000)
    tests.check(len(everything["flows"]) == everything["known"] and total(everything, "packets") == came, "all of them can be had")
    p.client.get_flows(id_, keep=0)
    tests.same(p.client.get_flows(id_)["known"], 0, "counting ends when it is told to")
    tests.refused("an unknown allocation", ["no allocation 9999"], p.client.get_flows, 9999)
    tests.refused("a senseless time", ["-1", "3600"], p.client.get_flows, id_, keep=-1)
    bare = p.client.install_allocation('in :: FromNet("in_port=mon0,udp")\nin -> ToNet("net1")\n')
    tests.refused("a request without modules", [f"allocation {bare}", "show"], p.client.get_flows, bare)
    for number in (id_, bare):
        p.client.delete_allocation(number)


def test_statistics(p):
    """Rules, ports, trunks, rings and modules count the same packets."""
    id_ = p.client.install_allocation('NAME=count\nin :: FromNet("in_port=net0,udp,tp_dst=4400")\nin -> a :: Counter {hosts=h1} -> b :: Counter {hosts=h2} -> ToNet("net1")\n')
    hosts = ("h1", "h2")

    def trunks():
        return {host: p.client.call(f"modulehost:{host}", "get_statistics")["trunk"][0] for host in hosts}

    def port(name):
        switches = p.client.call("openflow", "get_statistics")["switches"]
        return next(port for switch in switches if switch["switch"] == "tor0" for port in switch["ports"] if port["port"] == name)

    before, net1 = trunks(), port("net1")["tx_packets"]
    with watch(p, "net1") as out:
        send(p, "net0", [udp(n, 4400) for n in range(200)])
        tests.check(out.wait(200, 10 * PATIENCE), "all packets arrive", out.received)
    after = trunks()
    tests.same([(after[h]["rx_packets"] - before[h]["rx_packets"], after[h]["tx_packets"] - before[h]["tx_packets"], after[h]["ring_drops"]) for h in hosts], [(200, 200, 0)] * 2,
               "trunks: in and out, and rings that dropped nothing")
    tests.check(until(5, lambda: port("net1")["tx_packets"] - net1 >= 200), "the network port has sent them")

    def rules():
        return [rule["packets"] for switch in p.client.call("openflow", "get_statistics")["switches"] for rule in switch.get("rules", []) if rule["allocation"] == str(id_)]

    tests.check(until(5, lambda: rules() == [200.0] * 7), "each of the seven rules on the way has counted them", rules())
    modules = p.modules(id_)
    tests.same([(m["in"], m["out"], m["ring_drops"], m["bytes"]) for m in modules.values()], [(200, 200, 0, float(200 * len(udp(0, 4400))))] * 2, "and so have the modules")
    listed = until(10, lambda: [m["in"] for a in p.client.list_allocations() for m in a["modules"]] == [200, 200])
    tests.check(listed, "list_allocations follows within a few seconds")
    dot = p.command("show", str(id_), "--dot").stdout
    tests.check(dot.startswith('digraph "count" {') and dot.count("\\n200\"") == 3 and "Counter on h2\\nin 200, out 200" in dot, "show --dot has the counts of each link", dot)
    p.client.delete_allocation(id_)


with Platform() as platform:
    for test in (test_plan_is_what_is_done, test_plan_refusals, test_overlaps, test_keys, test_cancel, test_flows, test_statistics):
        with tests.story(test.__name__):
            test(platform)
    tests.same(platform.remains(), [], "nothing is left")
    if SANITIZED:
        tests.check("Sanitizer" not in platform.logs() and "runtime error" not in platform.logs(), "no report of a sanitizer in any log")
tests.end()

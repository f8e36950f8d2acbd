#!/usr/bin/python3
"""Where modules go while a platform lives: the account of it against a sum by hand, refusals that say why not and what would do, hosts that take nothing, measured
load, and both orders of placing."""

import json
import os
import random
import re
import signal
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from flowtest import BUILD, Platform, Tests, flowstream, need_root_of_namespaces, until  # noqa: E402

need_root_of_namespaces()
tests = Tests()

CORES, MEGABYTES = 8, 2048  # of each host of the default platform
ONE = 'in :: FromNet("in_port={port},udp,tp_dst={match}")\nin -> a :: Counter {{{needs}}} -> ToNet("net1")\n'
TWO = 'in :: FromNet("in_port={port},udp,tp_dst={match}")\nin -> a :: Counter {{{needs}}} -> {{rate={rate}Mbps}} b :: Counter {{{more}}} -> ToNet("net1|tun1")\n'


def one(needs, match=9000):
    return ONE.format(port="net0", match=match, needs=needs)


def home(p, needs):
    """The host that a module with these needs would get."""
    return p.client.plan_allocation(one(needs))["placement"][0]["host"]


def check_why_not(p):
    """The limit that binds, the least that would do, and that it would."""
    text = one("cpu=9")
    said = p.command("plan", "-", input=text)
    tests.check(said.returncode == 1 and "3 servers, nearest is h1: cpu 0 of 8 cores used, 9 asked" in said.stderr
                and "it would fit with 9 cores instead of 8 on h1" in said.stderr and len(said.stderr.splitlines()) <= 4, "a refusal says which limit binds and what would do", said.stderr)
    said = p.command("plan", "--json", "-", input=text)
    told = json.loads(said.stdout)
    tests.same((said.returncode, told["would_fit_with"]), (1, [{"limit": "cpu", "host": "h1", "is": 8.0, "needed": 9.0}]), "plan --json tells it as a structure")
    tests.check(told["reason"] in told["refused"] and "h1" in told["reason"], "with the reason as a text", told)
    text = one("hosts=h1|h2, avoid=h2, mem=3000MB")
    tests.refused("an installation says the same; hosts that the request closes are told apart",
                  ["h1: memory 0 of 2048 MB used, 3000 asked", "h2: avoided by the request", "h3: not among the hosts of the request", "it would fit with 3000 MB instead of 2048 on h1"],
                  p.client.install_allocation, text)
    told = json.loads(p.command("plan", "--json", "-", input='delay in -> out < 2ms\nin :: FromNet("in_port=net0,ip") -> a :: Counter -> out :: ToNet("net1")\n').stdout)
    change = told["would_fit_with"][0]
    tests.check((change["limit"], change["from"], change["to"], change["is"]) == ("delay", "in@net0", "out", 2.0) and change["needed"] > 2, "a bound is named by its ends", told)
    bound = change["needed"]
    tests.check(p.client.plan_allocation(f'delay in -> out < {bound:g}ms\nin :: FromNet("in_port=net0,ip") -> a :: Counter -> out :: ToNet("net1")\n'), "and with what would do it fits")
    tests.same(p.client.list_allocations(), [], "nothing was installed")


# --- The account ---

def summed(p, needs):
    """What all allocations take, added up from what get_allocation tells of each and what each asked for: by host, and by arc."""
    hosts = {name: [0, 0, 0] for name in ("h1", "h2", "h3")}
    arcs = {}
    for id_, asked in needs.items():
        doc = p.client.get_allocation(id_)
        for module in doc["modules"]:
            cpu, mem = asked["modules"][module["name"]]
            host = hosts[module["host"]]
            host[0], host[1], host[2] = host[0] + cpu, host[1] + mem, host[2] + 1
        for path in doc["paths"]:
            for arc in zip(path["path"], path["path"][1:]):
                arcs[arc] = arcs.get(arc, 0) + (asked["rate"] if (path["from"], path["to"]) == ("a", "b") else 1)
    return hosts, arcs


def account(p):
    plan = p.client.plan_allocation(one("cpu=0.1", 8999))
    hosts = {host["host"]: [round(host["cpu_before"] * 8), round(host["mem_before"]), host["modules_before"]] for host in plan["loads"]["hosts"]}
    return hosts, {(link["from"], link["to"]): link["before"] for link in plan["loads"]["links"] if link["before"]}


def a_request(chance, match):
    """A random request in eighths of cores, and what it asks for."""
    cpu, more = (chance.choice((1, 4, 10, 20, 48)) for _ in range(2))
    mem, rate = chance.choice((16, 100, 500)), chance.choice((1, 50, 400))
    pick = chance.choice(("", ", hosts=h1|h3", ", avoid=h1"))
    port = chance.choice(("net0", "mon0"))
    if chance.random() < 0.4:
        return ONE.format(port=port, match=match, needs=f"cpu={cpu / 8}, mem={mem}MB{pick}"), {"modules": {"a": (cpu, mem)}, "rate": rate}
    return (TWO.format(port=port, match=match, needs=f"cpu={cpu / 8}, mem={mem}MB", more=f"cpu={more / 8}, mem={mem + 1}MB{pick}", rate=rate),
            {"modules": {"a": (cpu, mem), "b": (more, mem + 1)}, "rate": rate})


def churn(p, chance, held, n):
    """Install and delete at random.  How many were refused."""
    refused = 0
    for i in range(n):
        if held and chance.random() < 0.3:
            id_ = chance.choice(sorted(held))
            p.client.delete_allocation(id_)
            del held[id_]
            continue
        text, asked = a_request(chance, 1000 + i)
        try:
            held[p.client.install_allocation(text)] = asked
        except flowstream.Error as error:
            refused += 1
            if "it would fit with" not in str(error):
                raise
    return refused


def restart(p):
    """The resource daemon again, killed in the middle of everything; without waiting for hosts."""
    pid = p.process("resource")
    os.kill(pid, signal.SIGKILL)
    until(10, lambda: not Path(f"/proc/{pid}").exists() or ") Z" in Path(f"/proc/{pid}/stat").read_text())
    p.command("start", "resource", check=True)
    p.record = flowstream.folder.Record.load(p.dir)
    p.client.close()
    p.client = flowstream.Client(p.dir)


def check_account(p):
    """What the daemon says is taken is what a sum over all allocations says: after changes at random, after a restart, and at the end nothing."""
    seed = random.randrange(1 << 32)
    print(f"# seed {seed}", flush=True)
    chance, held = random.Random(seed), {}
    refused = churn(p, chance, held, 36)
    hosts, arcs = summed(p, held)
    mine = {name: [cpu, mem, n] for name, (cpu, mem, n) in hosts.items()}
    tests.same(account(p), (mine, arcs), f"with {len(held)} allocations, {refused} refused, the account is the sum of what they asked for")
    tests.check(all(cpu <= 8 * CORES and mem <= MEGABYTES for cpu, mem, _ in mine.values()) and max(arcs.values()) <= 10000, "and within all limits", mine)
    probes = [one(f"cpu={cpu}", 8000 + i) for i, cpu in enumerate((0.1, 1, 3, 6))]

    def answers():
        found = []
        for probe in probes:
            try:
                plan = p.client.plan_allocation(probe)
                found.append((plan["placement"], [flow["path"] for flow in plan["paths"]], plan["loads"]))
            except flowstream.Error as error:
                found.append(str(error))
        return found
    before = answers()
    restart(p)
    until(15, lambda: len(p.client.hosts_up()) == 3)
    tests.same(answers(), before, "a daemon that was killed answers as it would have: its account is the same")
    for id_ in sorted(held):
        p.client.delete_allocation(id_)
    tests.same([(h["cpu_used"], h["mem_used"], h["modules"]) for h in p.client.list_hosts()] + [account(p)[1]], [(0.0, 0.0, 0)] * 3 + [{}], "and in the end nothing is taken")


# --- Orders, measured load, hosts that take nothing ---

def configure(p, attributes):
    config = p.folder_of("resource") / "config.xml"
    config.write_text(re.sub("(<placement .*/>)?</daemon>", f"<placement {attributes}/></daemon>", config.read_text()))
    restart(p)


def homes(p, n):
    """Where so many small requests go, one after the other."""
    ids = [p.client.install_allocation(one("cpu=0.5", 7000 + i)) for i in range(n)]
    found = [p.modules(id_)["a"]["host"] for id_ in ids]
    for id_ in ids:
        p.client.delete_allocation(id_)
    return found


def check_orders(p):
    found = homes(p, 3)
    tests.same(sorted(found), ["h1", "h2", "h3"], "requests spread over the hosts")
    configure(p, 'order="fill"')
    until(15, lambda: len(p.client.hosts_up()) == 3)
    found = homes(p, 3)
    tests.same(len(set(found)), 1, f"where they are to fill them what is small goes to one host ({found[0]})")
    config = p.folder_of("resource") / "config.xml"
    wrong = p.scratch / "wrong.xml"
    wrong.write_text(config.read_text().replace("fill", "full"))
    done = subprocess.run([str(BUILD / "bin/flowstream-resource"), "--config", str(wrong), "--foreground"], capture_output=True, text=True, timeout=30, check=False)
    tests.check(done.returncode and "wrong.xml:" in done.stderr and "placement" in done.stderr, "a setting that is none is refused with its line", done.stderr)


def register(p, host, idle):
    p.client.call("resource", "register_host", {**{key: value for key, value in host.items() if key != "modules"}, "cpu_idle": float(idle)})


def check_link(p):
    """Nothing new is led over a link that a switch tells to be down.  The switches of one computer are joined inside of Open vSwitch, which never fails: here by a cable."""
    inside = ["nsenter", "--net", "--target", str(p.process("ovs-vswitchd")), "ip", "link"]
    vsctl = ["ovs-vsctl", f"--db=unix:{p.dir}/ovs/db.sock"]
    subprocess.run([*inside, "add", "to-h2", "type", "veth", "peer", "name", "h2-up"], check=True)
    for end in ("to-h2", "h2-up"):
        subprocess.run([*inside, "set", end, "mtu", "1600", "up"], check=True)
    subprocess.run([*vsctl, "del-port", "tor0", "to-h2", "--", "del-port", "br-h2", "h2-up"], check=True, timeout=30)
    subprocess.run([*vsctl, "add-port", "tor0", "to-h2", "--", "add-port", "br-h2", "h2-up"], check=True, timeout=30)

    def switch_port(how):
        subprocess.run([*inside, "set", "to-h2", how], check=True)

    def refusal():
        try:
            return home(p, "hosts=h2") and ""
        except flowstream.Error as error:
            return str(error)
    tests.same(home(p, "hosts=h2"), "h2", "over a link that is up a module is reached")
    switch_port("down")
    said = until(10, refusal)
    tests.check("h2: there is no way, since links are down or missing" in said and "links that are down: tor0-h2" in said, "over one that is down none is, and the refusal names the link", said)
    tests.check("h2" not in homes(p, 3), "others go elsewhere")
    switch_port("up")
    tests.check(until(10, lambda: not refusal()), "and it is used again when it is up")


def check_measured(p):
    """Hosts tell what is idle; where the setting says so that counts, but not at once.  The daemons of h2 and h3 are stopped, the test speaks for h2."""
    with open("/proc/meminfo") as f:
        available = next(int(line.split()[1]) / 1024 for line in f if line.startswith("MemAvailable"))
    told = until(8, lambda: (h := {h["name"]: h for h in p.client.list_hosts()})["h1"]["cpu_idle"] >= 0 and h)
    tests.check(0 <= told["h1"]["cpu_idle"] <= os.cpu_count() and 0.5 < told["h1"]["mem_available"] / available < 2, "hosts tell what nobody uses", told["h1"])
    p.client.plan_allocation(one(f"cpu={CORES}, hosts=h1"))  # without the setting that does not matter
    stopped = [p.process(f"modulehost:{host}") for host in ("h2", "h3")]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        configure(p, 'measured="yes"')
        register(p, told["h2"], CORES)
        ready = until(15, lambda: (h := {h["name"]: h for h in p.client.list_hosts()})["h1"]["cpu_idle"] >= 0 and [h[name]["state"] for name in ("h1", "h2", "h3")] == ["up", "up", "silent"])
        tests.check(ready, "one host speaks for itself, one through the test, one is silent", p.client.list_hosts())
        check_by_measure(p, told["h2"])
        check_closed(p)
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)


def check_by_measure(p, h2):
    # The computer has fewer cores than h1 is said to have, so h1 is fuller than its account says; unless it has many.
    asked = os.cpu_count() + 1
    if asked < CORES:
        tests.refused("a host that is fuller than its account says takes no more than fits", ["h1: cpu ", "(measured)"], p.client.plan_allocation, one(f"cpu={asked}, hosts=h1"))
    else:
        tests.skip("a host that is fuller than its account says takes no more than fits", "this computer has as many cores as a host of the platform is said to have")
    tests.same(home(p, f"cpu={CORES}"), "h2", "one that is idle takes what fits by its account")
    register(p, h2, 0)
    tests.same(home(p, "cpu=4"), "h2", "one look at a busy host does not count")

    def full():
        register(p, h2, 0)
        try:
            home(p, "cpu=7, hosts=h2")
        except flowstream.Error as error:
            return str(error)
        return ""
    said = until(10, full, 0.2)
    tests.check("h2: cpu " in said and "(measured), 7 asked" in said, "when it stays busy that does", said)


def check_closed(p):
    """Hosts that take nothing, and why."""
    p.client.drain_host("h1")
    tests.refused("a silent host and one that is being drained are told apart", ["h2: not among", "no change of limits helps", "host h1 is being drained: not considered", "host h3 has not been heard of since this daemon started: not considered"],
                  p.client.plan_allocation, one("hosts=h1|h3"))
    tests.same(home(p, "cpu=0.1, mem=1MB"), "h2", "what may be elsewhere is placed elsewhere")
    p.command("host", "drain", "h1", "--undo", check=True)


with Platform() as p:
    for story in (check_why_not, check_account, check_link, check_orders, check_measured):
        with tests.story(story.__name__):
            story(p)
tests.end()

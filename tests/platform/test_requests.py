"""Requests by Python's own XML-RPC client: every method of the resource daemon, its values and refusals, and what the modules do to packets."""

import concurrent.futures
import subprocess
import sys
import xmlrpc.client
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from flowtest import PATIENCE, SANITIZED, Platform, Tests, need_root_of_namespaces, until  # noqa: E402
from traffic import icmp, send, tcp, udp, watch  # noqa: E402

need_root_of_namespaces()
tests = Tests()

CHAIN = 'NAME={name}\nin :: FromNet("in_port=net0,udp,tp_dst={port}")\nin -> Counter("") -> Counter("") -> ToNet("net1")\n'


def chain(port, name="chain", head=""):
    return head + CHAIN.format(port=port, name=name)


def installed(server, text, **options):
    answer = server.install_allocation(text, options)
    if answer["code"]:
        raise RuntimeError(answer["message"])
    return answer["value"]


def gone(p, server, allocation, what):
    answer = server.delete_allocation(allocation)
    tests.check((answer["code"], answer["value"]) == (0, None), f"{what}: deleted", answer)
    remains = p.remains(allocation)
    tests.check(not remains, f"{what}: nothing of it is left", "\n".join(remains))


def refused(name, words, answer):
    good = answer["code"] == 1 and answer["value"] is None and all(word in answer["message"] for word in words)
    tests.check(good, name, f"answer {answer}\nwanted code 1 and {words}")


def test_values(p, s):
    id_ = installed(s, chain(5000, "first"), name="shown")
    tests.check(type(id_) is int and id_ > 0, "install_allocation answers an id", id_)
    one = s.get_allocation(id_)
    value = one["value"]
    tests.same((one["code"], value["id"], value["name"], value["owner"], value["state"]), (0, id_, "shown", "operator", "installed"), "get_allocation tells it")
    modules = value["modules"]
    tests.same(len(modules), 2, "both modules are listed")
    for key, kind in (("name", str), ("type", str), ("host", str), ("in", float), ("out", float), ("dropped", float), ("bytes", float)):
        tests.check(all(isinstance(m[key], kind) for m in modules), f"'{key}' of a module is a {kind.__name__}", modules)
    tests.check(all(path["path"] for path in value["paths"]) and len(value["paths"]) == 3, "each of the three flows has a path", value["paths"])
    listed = s.list_allocations()
    tests.same([(a["id"], a["state"], len(a["modules"])) for a in listed["value"]], [(id_, "installed", 2)], "list_allocations tells it")
    hosts = s.list_hosts()["value"]
    tests.same(sorted((h["name"], h["state"], h["basesys"]) for h in hosts), [(h, "up", ["linux.process"]) for h in ("h1", "h2", "h3")], "list_hosts tells the three")
    tests.same(sum(h["modules"] for h in hosts), 2, "and who runs the modules")
    tests.check(all(isinstance(h["cpu"], float) and isinstance(h["mem_used"], float) for h in hosts), "figures of hosts are doubles")
    info = s.get_pm_info()
    types = {pair[0].split(":")[0]: pair[1] for pair in info["value"]}
    tests.check({"Counter", "Mirror", "Firewall", "Classifier"} <= set(types) and all(isinstance(v, dict) for v in types.values()), "get_pm_info: the types", info)
    gone(p, s, id_, "the first allocation")
    refused("it cannot be deleted again", [str(id_), "list_allocations"], s.delete_allocation(id_))
    refused("nor be looked at", [str(id_)], s.get_allocation(id_))


def test_plan(p, s):
    before = p.rules()
    text = chain(5001, "planned")
    plan = s.plan_allocation(text)["value"]
    tests.check(len(plan["placement"]) == 2 and plan["paths"] and plan["rules"] and isinstance(plan["id"], int), "plan_allocation: placement, paths, rules, id", plan)
    tests.same(len(p.rules()), len(before), "a plan changes no switch")
    tests.check(not p.remains(), "and starts nothing")
    tests.same(s.list_allocations()["value"], [], "and is no allocation")
    id_ = installed(s, text)
    value = s.get_allocation(id_)["value"]
    tests.same([m["host"] for m in value["modules"]], [m["host"] for m in plan["placement"]], "what is installed is what was planned")
    gone(p, s, id_, "the planned")


def test_types(p, s):
    good = chain(5002)
    for name, words, answer in (
            ("install_allocation: no parameter", ["install_allocation", "alloc"], s.install_allocation()),
            ("install_allocation: a number", ["alloc", "string", "int"], s.install_allocation(5)),
            ("install_allocation: options that are no struct", ["options", "struct"], s.install_allocation(good, 7)),
            ("install_allocation: three parameters", ["3 were given"], s.install_allocation(good, {}, {})),
            ("install_allocation: wait is text", ["wait", "string"], s.install_allocation(good, {"wait": "long"})),
            ("install_allocation: wait is negative", ["wait", "-1"], s.install_allocation(good, {"wait": -1})),
            ("install_allocation: key is a number", ["key", "int"], s.install_allocation(good, {"key": 1})),
            ("install_allocation: an option with a slip in it", ["weit"], s.install_allocation(good, {"weit": 1})),
            ("plan_allocation: a struct", ["alloc", "struct"], s.plan_allocation({})),
            ("delete_allocation: text", ["alloc_id", "string"], s.delete_allocation("1")),
            ("get_allocation: an array", ["alloc_id", "array"], s.get_allocation([])),
            ("get_pm_info: takes none", ["no parameters"], s.get_pm_info(1)),
            ("list_hosts: takes none", ["no parameters"], s.list_hosts("")),
            ("register_host: empty", ["name"], s.register_host({})),
            ("register_host: no server of the platform", ["h77", "platform"],
             s.register_host({"name": "h77", "address": "http://127.0.0.1:9/RPC2", "switch": "unix:/x", "trunk": "t", "incarnation": "1"})),
            ("register_host: an address that is none", ["address"],
             s.register_host({"name": "h1", "address": "ftp://x", "switch": "unix:/x", "trunk": "t", "incarnation": "1"})),
            ("remove_host: unknown", ["h77"], s.remove_host("h77")),
            ("remove_host: a number", ["name", "int"], s.remove_host(1))):
        refused(name, words, answer)
    try:
        s.no_such_method()
        tests.check(False, "an unknown method is a fault")
    except xmlrpc.client.Fault as fault:
        tests.check("no_such_method" in fault.faultString, "an unknown method is a fault", fault)
    tests.check(not p.remains() and s.list_allocations()["value"] == [], "none of these left anything")


SAMPLES = {"int": 0, "double": 0.0, "boolean": False, "string": "", "struct": {}, "array": [], "base64": xmlrpc.client.Binary(b""), "any": ""}


def sample(row):
    """A value of that type, with the members that it must have."""
    kind = row["type"].rstrip("?")
    return {m["name"]: sample(m) for m in row.get("members", []) if "?" not in m["type"]} if kind == "struct" else SAMPLES[kind]


def misspelt(command, i):
    """Parameters for a command that are good but for a name in number i, that name, and the names that there are."""
    names = [m["name"] for m in command["parameters"][i]["members"]]
    bad = {**sample({**command["parameters"][i], "type": "struct"}), names[0] + "x": "" }
    params = [sample(row) for row in command["parameters"]]
    params[i] = [bad] if command["parameters"][i]["type"].startswith("array") else bad
    return params, names[0] + "x", names


def test_names(p, s):
    """What a struct has no member for is refused, by every command of every daemon: a slip in the name of an option never passes for none."""
    refused_ones, open_ones = set(), set()
    for daemon in ("resource", "openflow", "pm", "monitoring", "modulehost:h1"):
        server = p.server(daemon)
        for command in server.list_commands()["value"]:
            for i, row in enumerate(command["parameters"]):
                if "members" in row:
                    params, bad, names = misspelt(command, i)
                    answer = getattr(server, command["name"])(*params)
                    good = answer["code"] == 1 and all(word in answer["message"] for word in (f"parameter {i + 1} ({row['name']})", f"'{bad}'", f"did you mean '{names[0]}'", *names))
                    tests.check(good, f"{daemon}: {command['name']}: {row['name']} has no '{bad}'", answer)
                    refused_ones.add(command["name"])
                elif row["type"].rstrip("?") in ("struct", "array"):
                    open_ones.add((command["name"], row["name"]))
    tests.same(open_ones, {("register_host", "host"), ("system.multicall", "calls")}, "no other command takes a struct with whatever it has")
    tests.check({"create_pm", "create_connections", "delete_allocation", "delete_pm", "get_flows", "install_allocation", "run_task", "upgrade", "rollback"} <= refused_ones,
                "the commands that change something are among them", refused_ones)
    for name, words, answer in (("create_pm", ["'kee'", "'key'"], s.create_pm({"name": "a", "type": "Counter"}, {"kee": "k"})),
                                ("create_connections", ["'kee'", "'key'"], s.create_connections("tor0", 10, "", {"kee": "k"})),
                                ("delete_allocation", ["'forse'", "'force'"], s.delete_allocation(1, {"forse": True})),
                                ("delete_allocation: of another type", ["force", "boolean", "int"], s.delete_allocation(1, {"force": 1})),
                                ("list_allocations", ["most", "-1"], s.list_allocations({"most": -1})),
                                ("create_pm: a key that is too long", ["key", "128"], s.create_pm({"name": "a", "type": "Counter"}, {"key": "k" * 129}))):
        refused(name, words, answer)
    tests.check(not p.remains() and s.list_allocations()["value"] == [], "none of these left anything")


def test_language(p, s):
    for name, words, text in (
            ("an unterminated string", ["request:1:", "error:", "^"], 'x :: FromNet("'),
            ("an unknown type", ["request:2:", "Contour", "Counter", "^"], 'a :: FromNet("udp")\na -> Contour("") -> ToNet("net1")'),
            ("an unknown port", ["request:2:", "net7", "^"], 'a :: FromNet("udp")\na -> ToNet("net7")'),
            ("an unknown in_port", ["request:1:", "net9", "^"], 'a :: FromNet("in_port=net9,udp")\na -> ToNet("net1")'),
            ("a match that the switch does not take", ["request:1:", "^"], 'a :: FromNet("udp,colour=red")\na -> ToNet("net1")'),
            ("arguments that the type refuses", ["request:2:", "^"], 'a :: FromNet("udp")\na -> Firewall("perhaps udp") -> ToNet("net1")')):
        answer = s.install_allocation(text)
        refused(name, words, answer)
    named = s.install_allocation("x ::", {"name": "mine.flow"})
    refused("messages use the request's name", ["mine.flow:1:"], named)
    refused("a base system that no host has", ["xen.clickos", "linux.process", "h1"], s.install_allocation(chain(5003, head="BASESYS=xen.clickos\n")))
    tests.check(not p.remains() and s.list_allocations()["value"] == [], "no refused request left anything")


def test_overlap(p, s):
    wide = installed(s, 'NAME=wide\nin :: FromNet("in_port=net0,udp")\nin -> c :: Counter("") -> ToNet("net1")')
    narrow = 'NAME=narrow\nin :: FromNet("in_port=net0,udp,tp_dst=53")\nin -> c :: Counter("") -> ToNet("net1")'
    refused("an overlapping request", ["tp_dst=53", f"allocation {wide} (wide)", "PRIORITY"], s.install_allocation(narrow))
    refused("it cannot be planned either", ["wide"], s.plan_allocation(narrow))
    above = installed(s, "PRIORITY=5\n" + narrow)
    with watch(p, "net1") as out:
        send(p, "net0", [udp(n, 53) for n in range(100)] + [udp(n, 5000) for n in range(50)])
        tests.check(out.wait(150, 10 * PATIENCE), "all packets arrive", out.received)
    tests.same((p.modules(above)["c"]["in"], p.modules(wide)["c"]["in"]), (100, 50), "the higher PRIORITY takes its packets, the other the rest")
    gone(p, s, above, "the higher")
    with watch(p, "net1") as out:
        send(p, "net0", [udp(n, 53) for n in range(20)])
        out.wait(20, 10 * PATIENCE)
    tests.same(p.modules(wide)["c"]["in"], 70, "without it all goes to the other")
    gone(p, s, wide, "the lower")


def test_keys(p, s):
    first = installed(s, chain(5004), key="once")
    tests.same(s.install_allocation(chain(5004), {"key": "once"}), {"code": 0, "message": "", "value": first}, "the same key again answers the same id")
    tests.same(len(s.list_allocations()["value"]), 1, "and installs nothing more")
    refused("without the key it overlaps", [f"allocation {first}"], s.install_allocation(chain(5004)))
    gone(p, s, first, "the keyed")
    tests.same(s.delete_allocation(first, {"key": "away"})["code"], 0, "deleting it with a key again is no mistake")
    tests.check("no allocation" in s.delete_allocation(first)["message"], "without a key it is one")
    tests.check("no allocation" in s.delete_allocation(first + 1000, {"key": "away"})["message"], "and so is one that never was")
    answer = s.install_allocation(chain(5004), {"wait": 0})
    tests.check(answer["code"] in (-1, 0) and isinstance(answer["value"], int), "wait=0 answers at once with code -1 and the id", answer)
    tests.same(answer["code"], -1, "the code is -1: it is under way")
    tests.check(until(20, lambda: s.get_allocation(answer["value"])["value"]["state"] == "installed"), "get_allocation tells when it is done")
    gone(p, s, answer["value"], "the one not waited for")


def cycle(p, number):
    server = p.server()
    id_ = installed(server, chain(20000 + number, f"par{number}"))
    if number % 3:
        answer = server.delete_allocation(id_)
        if answer["code"]:
            raise RuntimeError(answer["message"])
    return id_


def test_pages(p, s, kept):
    """A list of very many is asked for in pieces."""
    pages, after = [], 0
    while not pages or pages[-1]:
        pages.append(s.list_allocations({"after": after, "most": 4})["value"])
        after = pages[-1][-1]["id"] if pages[-1] else after
    tests.same([len(page) for page in pages], [4, 4, 2, 0], "pages are as long as was asked for")
    tests.same([a["id"] for page in pages for a in page], kept, "and hold each allocation once, in the order of ids")
    tests.same([a["id"] for a in s.list_allocations({"after": kept[3] - 1, "most": 1})["value"]], [kept[3]], "a page may begin behind an id that is not there")
    full = {a["id"]: a for a in s.list_allocations()["value"]}
    brief = s.list_allocations({"brief": True})["value"]
    tests.same([(a["id"], a["name"], a["kind"], a["state"], a["module_count"], a["hosts"]) for a in brief],
               [(i, full[i]["name"], "request", "installed", 2, list(dict.fromkeys(m["host"] for m in full[i]["modules"]))) for i in kept], "a brief list says the same")
    tests.same([a["id"] for a in p.client.list_allocations(brief=True)], kept, "the client joins the pages")
    states = {a["state"]: a["number"] for a in s.get_statistics()["value"]["allocation_states"]}
    tests.same(states, {"installed": len(kept), "installing": 0, "deleting": 0, "restoring": 0}, "how many there are in each state")


def test_at_once(p, s):
    """Who comes while the first is still being written to the disk waits for what becomes of it."""
    def ask(*options, port=5008):
        answer = p.server().install_allocation(chain(port), *options)
        return answer["value"] if answer["code"] in (0, -1) else answer["message"]
    keyed = {"key": "at once"}
    ids, early = p.meet(8, lambda _: ask(keyed))
    tests.same(early, [], "of 8 callers with one key who meet in the write nobody is told of what is not on the disk")
    tests.check(len(set(ids)) == 1 and isinstance(ids[0], int), "they get one allocation", ids)
    tests.check(until(20, lambda: s.get_allocation(ids[0])["value"]["state"] == "installed") and len(s.list_allocations()["value"]) == 1, "and there is no other")
    gone(p, s, ids[0], "that one")
    answers, early = p.meet(8, lambda _: ask())
    ids = [answer for answer in answers if isinstance(answer, int)]
    tests.same(early, [], "of 8 that want the same packets nobody is refused because of what is not on the disk")
    tests.check(len(ids) == 1 and sum(f"of allocation {ids[0]} " in str(answer) for answer in answers) == 7, "one gets them, the others are told whose they are", answers)
    gone(p, s, ids[0], "that one too")
    answers, early = p.meet(8, lambda i: ask(keyed, port=5100 + i))
    ids = [answer for answer in answers if isinstance(answer, int)]
    tests.check(not early and len(ids) == 1 and sum(f"key 'at once' is that of allocation {ids[0]} " in str(answer) for answer in answers) == 7,
                "of 8 that have one key for different requests one gets it, the others are told whose it is", (early, answers))
    until(20, lambda: s.get_allocation(ids[0])["value"]["state"] == "installed")
    gone(p, s, ids[0], "that one as well")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        with p.busy_disk():
            asked = [pool.submit(ask, keyed) for _ in range(8)]
            until(20, lambda: any(call.done() for call in asked), 0.01)
        answers = [call.result() for call in asked]
    failed, ids = [a for a in answers if isinstance(a, str)], [a for a in answers if isinstance(a, int)]
    tests.check(failed and all("cannot be written" in a for a in failed), "whose write fails is told so", answers)
    tests.check(ids and len(set(ids)) == 1 and until(20, lambda: (s.get_allocation(ids[0])["value"] or {}).get("state") == "installed"), "who waited for him tries by himself", answers)
    gone(p, s, ids[0], "what came of it")


def test_parallel(p, s):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(lambda n: cycle(p, n), range(30)))
    tests.same(len(set(ids)), 30, "30 installs by 8 threads: 30 ids")
    kept = [id_ for n, id_ in enumerate(ids) if not n % 3]
    tests.same(sorted(a["id"] for a in s.list_allocations()["value"]), sorted(kept), "those that were not deleted are there")
    tests.check(not [r for id_ in ids if id_ not in kept for r in p.remains(id_)], "nothing is left of those that were")
    test_pages(p, s, sorted(kept))
    with watch(p, "net1") as out:
        send(p, "net0", [udp(n, 20000 + port) for port in range(0, 30, 3) for n in range(20)])
        tests.check(out.wait(200, 10 * PATIENCE), "every one of the others carries its traffic", out.received)
    counted = [[m["in"] for m in p.modules(id_).values()] for id_ in kept]
    tests.same(counted, [[20, 20]] * len(kept), "and only its own")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(lambda id_: p.server().delete_allocation(id_)["code"], kept))
    tests.same(codes, [0] * len(kept), "all deleted at the same time")
    remains = p.remains()
    tests.check(not remains, "nothing is left", "\n".join(remains))
    hosts = s.list_hosts()["value"]
    tests.same([(h["modules"], h["cpu_used"], h["mem_used"]) for h in hosts], [(0, 0.0, 0.0)] * 3, "the account of all hosts is empty")


def test_tasks(p, s):
    """Tasks called by hand, with what they do not expect."""
    id_ = installed(s, chain(5006))
    before = s.get_allocation(id_)["value"]
    for name, parameter in (("install", {"id": id_}), ("install", {}), ("install", {"id": "x"}), ("undo_allocation", {"id": 9999}), ("compile_request", {}),
                            ("place_allocation", {}), ("choose_meters", {}), ("generate_rules", {}), ("create_modules", {}), ("program_switches", {}), ("clear_switches", {}),
                            ("place_allocation", {"request": {"nodes": [{}, 7, {"kind": "to"}], "links": [{}, []]}}),
                            ("choose_meters", {"plan": {"flows": [{"io": "net0", "rate": 1.0, "path": ["net0", "x"]}, {"io": 3, "path": [{}, 1]}, 3], "modules": 7}}),
                            ("generate_rules", {"plan": {"flows": [{"path": ["net0", "x", "y", "net1"]}, {"path": [{}, 1]}, 3]}})):
        s.run_task(name, parameter, {"wait": 20})
    after = s.get_allocation(id_)["value"]
    tests.same((after["state"], after["paths"], after["rules"]), (before["state"], before["paths"], before["rules"]), "tasks with senseless parameters change nothing")
    for daemon, name in (("openflow", "install_rules"), ("openflow", "remove_rules"), ("pm", "configure_pm"), ("modulehost:h1", "create_pm"),
                         ("modulehost:h1", "delete_pm")):
        answer = p.server(daemon).run_task(name, {}, {"wait": 20})
        tests.check(answer["code"] == 1 and answer["message"], f"{name} without parameters is refused", answer)
    gone(p, s, id_, "the one beside senseless tasks")


def test_drain(p, s):
    """A host that is being drained gets no more modules, and keeps those that it has."""
    text = 'f :: FromNet("in_port=mon0,udp,tp_dst=4711")\nf -> c :: Counter -> ToNet("net1")\n'
    first = p.client.install_allocation(text)
    home = p.modules(first)["c"]["host"]
    for host in ("h1", "h2"):
        p.client.drain_host(host)
    places = []
    for i in range(3):
        number = p.client.install_allocation(text.replace("4711", str(4712 + i)))
        places.append(p.modules(number)["c"]["host"])
        p.client.delete_allocation(number)
    tests.same(places, ["h3"] * 3, "no module is put on hosts that are being drained")
    tests.same(p.modules(first)["c"]["state"], "running", f"a module that was on {home} before goes on")
    tests.check("up, draining" in p.command("hosts").stdout, "flowstream hosts says which are being drained")
    for way in (s.plan_allocation, s.install_allocation):
        answer = way(text.replace("4711", "4800").replace("c :: Counter", "c :: Counter {cpu=900}"))
        told = [answer["message"].count(host) for host in ("h1", "h2")]
        tests.check(answer["code"] == 1 and "h3: cpu " in answer["message"] and "host h1 is being drained: not considered" in answer["message"] and told == [1, 1],
                    "a request that is too large for the others is refused, and those that are being drained are told once", answer)
    p.command("host", "drain", "h3", check=True)
    tests.refused("a request that fits nowhere else is refused", ["no module host is up", "3 of them are being drained"], p.client.plan_allocation, text.replace("4711", "4800"))
    tests.refused("an unknown host cannot be drained", ["no host 'h9'"], p.client.drain_host, "h9")
    for host in ("h1", "h2", "h3"):
        p.command("host", "drain", host, "--undo", check=True)
    tests.check(p.client.plan_allocation(text.replace("4711", "4800")), "and fits again when they take modules again")
    p.client.delete_allocation(first)


def test_foreign_rules(p, s):
    target = p.bridges()["tor0"]
    rule = "cookie=0x1234,table=0,priority=7,udp,tp_dst=9999,actions=drop"
    subprocess.run(["ovs-ofctl", "-OOpenFlow14", "add-flow", target, rule], check=True, timeout=30)
    id_ = installed(s, chain(5005))
    gone(p, s, id_, "with a foreign rule beside it")
    said = subprocess.run(["ovs-ofctl", "-OOpenFlow14", "dump-flows", target, "cookie=0x1234/-1"], capture_output=True, text=True, check=True, timeout=30).stdout
    tests.check("tp_dst=9999" in said, "a foreign rule is untouched", said)
    subprocess.run(["ovs-ofctl", "-OOpenFlow14", "del-flows", target, "cookie=0x1234/-1"], check=True, timeout=30)


def pass_through(p, s, what, text, frames, wanted, counters):
    """Install, send frames into net0, and compare what comes out of each port and what the modules say with what must be."""
    id_ = installed(s, text)
    sniffers = {port: watch(p, port) for port in wanted}
    send(p, "net0", frames)
    for port, n in wanted.items():
        sniffers[port].wait(n, 10 * PATIENCE)
    until(5, lambda: all(p.modules(id_)[name]["in"] >= numbers[0] for name, numbers in counters.items()))
    for sniffer in sniffers.values():
        sniffer.stop()
    tests.same({port: sniffer.received for port, sniffer in sniffers.items()}, wanted, f"{what}: packets at each port")
    modules = p.modules(id_)
    tests.same({name: tuple(modules[name][k] for k in ("in", "out", "dropped")) for name in counters}, counters, f"{what}: in, out and dropped of the modules")
    gone(p, s, id_, what)
    return modules


def test_modules(p, s):
    for v6 in (False, True):
        ip, what = ("ipv6", "IPv6") if v6 else ("ip", "IPv4")
        source = f'in :: FromNet("in_port=net0,{ip}")\n'
        mixed = [make(n, v6=v6) for n in range(60) for make in (udp, tcp, icmp)]
        counted = pass_through(p, s, f"Counter, {what}", source + 'in -> c :: Counter("") -> ToNet("net1")', mixed, {"net1": 180}, {"c": (180, 180, 0)})
        tests.same(counted["c"]["bytes"], float(sum(map(len, mixed))), f"Counter, {what}: bytes")
        pass_through(p, s, f"Mirror, {what}", source + 'in -> m :: Mirror("")\nm[0] -> ToNet("net1")\nm[1] -> c :: Counter("") -> ToNet("mon0")', mixed,
                     {"net1": 180, "mon0": 180}, {"m": (180, 360, 0), "c": (180, 180, 0)})
        inside = ("fd09::7", "fd0a::1") if v6 else ("10.9.0.7", "10.10.0.1")
        firewall = ('deny src net fd09::/120 and udp port 53, allow udp, allow tcp port 80, deny all' if v6 else
                    'deny src net 10.9.0.0/24 and udp port 53, allow udp, allow tcp port 80, deny all')
        frames = [udp(n, 53, v6, inside) for n in range(40)] + [udp(n, 54, v6) for n in range(30)] + [tcp(n, 80, v6) for n in range(20)]
        frames += [tcp(n, 81, v6) for n in range(10)] + [icmp(n, v6) for n in range(5)]
        pass_through(p, s, f"Firewall, {what}", source + f'in -> f :: Firewall("{firewall}") -> ToNet("net1")', frames, {"net1": 50}, {"f": (105, 50, 55)})
        pass_through(p, s, f"Classifier, {what}", source + 'in -> c :: Classifier("tcp port 80, udp")\nc[0] -> ToNet("net1")\nc[1] -> ToNet("mon0")', frames,
                     {"net1": 20, "mon0": 70}, {"c": (105, 90, 15)})


with Platform() as platform:
    proxy = platform.server()
    for test in (test_values, test_plan, test_types, test_names, test_language, test_overlap, test_keys, test_at_once, test_parallel, test_tasks, test_drain, test_foreign_rules, test_modules):
        with tests.story(test.__name__):
            test(platform, proxy)
    if SANITIZED:
        tests.check("Sanitizer" not in platform.logs() and "runtime error" not in platform.logs(), "no report of a sanitizer in any log")
tests.check(not platform.leftovers, "down leaves nothing", platform.leftovers)
tests.end()

#!/usr/bin/python3
"""A platform in which no two daemons share anything but the network.

Every daemon and every switch runs in user, mount, process and network namespaces of its own, with an empty /run and with nobody else's
folder in sight; XML-RPC and OpenFlow over one management network is all that joins them.  First that is proved, then a request is
installed over two module hosts and real traffic is counted by the kernels outside; each daemon is killed under that traffic; hosts
come and go.  apart.py makes the platform.
"""

import operator
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "lib"), str(Path(__file__).resolve().parent)]

import apart  # noqa: E402
import rooms  # noqa: E402
from flowtest import BUILD, Tests, need_root_of_namespaces, skip_all, until  # noqa: E402

CHAIN = """NAME=chain
ISOLATE=yes
there   :: FromNet("in_port=net0,ip")
back    :: FromNet("in_port=net1,ip")
counter :: Counter("")
fw      :: Firewall("allow icmp, allow tcp port 80, allow udp port 80, deny all")
reply   :: Counter("")
there -> counter -> fw -> ToNet("net1")
back  -> reply -> ToNet("net0")
"""
ONE_WAY = """NAME=one-way
from :: FromNet("in_port=net0,udp,tp_dst=%d")
seen :: Counter("")
from -> seen -> ToNet("net1")
"""
DOWNLOAD = 20_000_000
RATE = 50  # datagrams a second while daemons are killed


def need_rooms():
    done = subprocess.run(["unshare", "--user", "--map-root-user", "--mount", "--pid", "--net", "--fork", "--mount-proc",
                           "ip", "link", "add", "probe", "type", "bridge"], capture_output=True, text=True)
    if done.returncode:
        skip_all(f"a user namespace with a network bridge in it cannot be made: {done.stderr.strip()}")
    loadable = BUILD / "lib" / "flowstream" / "tests" / "platform" / "place_by_turns.so"
    if not loadable.exists():
        skip_all(f"{loadable} is missing: make -C {BUILD} tests")
    return loadable


# What is left in the rooms.


def programs(room):
    """The names of the programs that run in a room, sorted."""
    return sorted(Path(line.split()[0]).name for line in room.processes().values())


def state_of(p):
    """All that an allocation could leave behind in the platform."""
    state = {name: (p.rules(name), p.ports(name)) for name in ["tor0"] + p.hosts}
    for name, room in p.rooms.by_name.items():
        state[f"programs of {name}"] = programs(room)
    for name in p.hosts:
        state[f"modules of {name}"] = sorted(path.name for path in (p.room(name).dir / "state" / "modules").glob("*"))
    return state


def differences(before, after):
    return "\n".join(f"{key}: was {before.get(key)}\n is {after.get(key)}" for key in {**before, **after} if before.get(key) != after.get(key))


# The parts.


def check_walls(tests, p):
    """No two rooms have a namespace, a file, a pipe or a socket in common."""
    inhabited = {name: list(room.processes()) for name, room in p.rooms.by_name.items() if room.processes()}
    tests.check(set(inhabited) >= {*p.daemons(), "tor0"}, "every daemon and switch runs in its room", inhabited)
    for kind in rooms.SPACES:
        ours = rooms.namespaces("self")[kind]
        found = {name: {rooms.namespaces(pid).get(kind) for pid in pids} - {None} for name, pids in inhabited.items()}
        clashes = [f"{a} and {b}" for a in found for b in found if a < b and found[a] & found[b]]
        tests.check(not clashes and all(s and ours not in s for s in found.values()), f"no two rooms are in the same {kind} namespace, nor in ours",
                    "\n".join(clashes) or found)
    daemons = {name: p.running[name].pid for name in p.daemons()}
    tests.same({name: list(Path(f"/proc/{pid}/root/run").iterdir()) for name, pid in daemons.items()}, {name: [] for name in daemons},
               "/run is empty for every daemon")
    tests.same({name: [path.name for path in Path(f"/proc/{pid}/root{p.rooms.root}").iterdir()] for name, pid in daemons.items()},
               {name: [name] for name in daemons}, "every daemon sees its own folder and no other's")
    check_open_files(tests, inhabited)
    bound = {name: {s for s in rooms.unix_sockets(pid) if not s.startswith("@")} for name, pid in daemons.items()}
    # The multiplexer binds its socket by a descriptor of its folder, which is compared with the other files.
    strangers = {name: [s for s in found if not s.startswith((f"{p.rooms.root}/{name}/", "/proc/self/fd/"))] for name, found in bound.items()}
    tests.check(not any(strangers.values()), "no Unix socket is bound outside its room's own folder", strangers)


def check_open_files(tests, inhabited):
    files = {name: {} for name in inhabited}
    for name, pids in inhabited.items():
        for pid in pids:
            files[name].update(rooms.open_files(pid))
    tests.check(all(files.values()), "every room has files and sockets open", files)
    shared = [f"{a} and {b}: {files[a][key]}" for a in files for b in files if a < b for key in files[a].keys() & files[b].keys()]
    tests.check(not shared, "no open file, socket, pipe or shared memory belongs to two rooms", "\n".join(shared))


def check_connections(tests, p):
    """What crosses the walls is XML-RPC, and OpenFlow from the OpenFlow daemon alone."""
    wrong, seen = [], set()
    for name in p.daemons():
        for own, other in rooms.tcp_peers(p.room(name).pid):
            kind = own if own in (apart.RPC_PORT, apart.OPENFLOW_PORT) else other
            seen.add(kind)
            openflow = name == "openflow" if other == apart.OPENFLOW_PORT else name in p.hosts
            if kind != apart.RPC_PORT and not (kind == apart.OPENFLOW_PORT and openflow):
                wrong.append(f"{name}: {own} - {other}")
    tests.check(not wrong and seen == {apart.RPC_PORT, apart.OPENFLOW_PORT},
                "connections over the management network are XML-RPC between daemons and OpenFlow to switches", "\n".join(wrong) or seen)


def check_request_id(tests, p, name):
    """The chain is installed under an id of ours, which then is in the logs of all who took part.  Returns the allocation."""
    allocation = p.install(CHAIN, request=name)
    hosts = {m["name"]: m["host"] for m in p.modules(allocation).values()}
    tests.same(hosts, {"counter": "h1", "fw": "h2", "reply": "h1"}, "the dropped placement step put the chain on two computers")
    logs = {daemon: f"request={name}:" in p.running[daemon].log.read_text() for daemon in p.daemons() if daemon != "monitoring"}
    tests.same(logs, dict.fromkeys(logs, True), "one request id is in the logs of all daemons that took part in the install")
    return allocation


def check_isolation_report(tests, p):
    """A module inside a user namespace of one user, without control groups: its walls stand, and what is not held is said."""
    modules = [m for name in p.hosts for m in p.call(name, "list_modules")]
    walls = [m["isolation"] for m in modules]
    tests.check(len(walls) == 3 and all("namespaces user mount pid net" in w for w in walls), "modules have namespaces of their own inside their host's", walls)
    tests.check(len(walls) == 3 and all("shared with the platform" in w for w in walls), "that a host of one user cannot give them users is said", walls)
    tests.check(all("not enforced" in m["limits"] for m in modules), "limits that cannot be held here are said not to be", modules)
    pids = [pid for name in ("h1", "h2") for pid, line in p.room(name).processes().items() if "flowstream-module " in line]
    inside = [spaces for spaces in map(rooms.namespaces, pids) if spaces]
    tests.check(len(pids) >= 3 and all(len({i[kind] for i in inside}) >= 3 for kind in rooms.SPACES),
                "no two modules share a namespace, not even on one host", inside)


def check_traffic(tests, p):
    tests.same(p.traffic("net0", "fetch", apart.OUTSIDE["net1"], DOWNLOAD, timeout=180), f"good {DOWNLOAD}", "a download comes through whole (TCP)")
    stop = p.room("net0").dir / "stop"
    stop.touch()
    sent, came, _ = p.traffic("net0", "stream", apart.OUTSIDE["net1"], RATE, stop).split()
    stop.unlink()
    tests.check(sent == came and int(sent) > 0, "datagrams come back (UDP)", (sent, came))
    text = p.room("net0").run("ping", "-c", "5", "-i", "0.2", "-W", "5", apart.OUTSIDE["net1"], check=False)
    tests.check(" 5 received" in text, "pings come back (ICMP)", text)


def check_counts(tests, p, allocation, before, what):
    """The modules' counters are what the kernels outside have counted since 'before'."""
    def figures():
        (sent0, got0), (sent1, got1) = (tuple(now - then for now, then in zip(p.counted(name), before[name])) for name in ("net0", "net1"))
        m = p.modules(allocation)
        inside = {f"{name} {way}": m[name][way] for name in ("counter", "fw", "reply") for way in ("in", "out", "dropped")}
        outside = {"counter in": sent0, "counter out": sent0, "counter dropped": 0, "fw in": sent0, "fw out": got1, "fw dropped": sent0 - got1,
                   "reply in": sent1, "reply out": got0, "reply dropped": 0}
        return inside, outside
    # Counters are gathered every two seconds; nothing moves any more.
    until(30, lambda: operator.eq(*figures()), step=0.5)
    tests.same(*figures(), f"{what}: get_allocation counts what the networks outside count, at every module")


def check_kills(tests, p, allocation, before):
    """kill -9 of one daemon after the other while datagrams flow and downloads run."""
    room = p.room("net0")
    stop = room.dir / "stop"
    stream = p.start_traffic("net0", "stream", "stream", apart.OUTSIDE["net1"], RATE, stop)
    for name in p.daemons():
        with tests.story(f"kill -9 of {name}"):
            check_kill(tests, p, allocation, name)
    stop.touch()
    ended = until(60, lambda: not stream.alive(), step=0.2)
    words = stream.log.read_text().split()
    tests.check(ended and len(words) == 3 and words[0] == words[1] and int(words[0]) > RATE * len(p.daemons()),
                "no datagram was lost while all daemons were killed and started again", stream.tail())
    check_counts(tests, p, allocation, before, "after all kills")


def check_kill(tests, p, allocation, name):
    modules = {room: [line for line in programs(p.room(room)) if line in ("flowstream-module", "flowstream-mux")] for room in ("h1", "h2")}
    status = p.running[name].kill(signal.SIGKILL)
    tests.check(status != 0 and not any(line.startswith("flowstream-") and line not in ("flowstream-module", "flowstream-mux")
                                        for line in programs(p.room(name))), f"{name}: its daemon is dead", programs(p.room(name)))
    time.sleep(1)  # of datagrams without it
    good = p.traffic("net0", "fetch", apart.OUTSIDE["net1"], 2_000_000, timeout=120)
    tests.same(good, "good 2000000", f"{name}: a download comes through without it")
    tests.same({room: [line for line in programs(p.room(room)) if line in ("flowstream-module", "flowstream-mux")] for room in ("h1", "h2")}, modules,
               f"{name}: modules and multiplexers go on")
    p.start(name)
    p.await_ready(name)
    p.await_hosts(p.hosts)
    if name in p.hosts:
        adopted = {m["name"]: m["running"] for m in p.call(name, "list_modules")}
        tests.check(adopted and all(adopted.values()), f"{name}: started again, it has adopted its modules", adopted)

    def known():
        found = p.call("resource", "get_allocation", allocation)
        return found["state"] == "installed" and all(m["state"] == "running" for m in found["modules"])
    tests.check(until(30, known, step=0.5), f"{name}: started again, the platform knows its allocation and its modules",
                p.call("resource", "get_allocation", allocation))


def check_delete(tests, p, allocation, clean):
    p.call("resource", "delete_allocation", allocation)
    tests.same(p.call("resource", "list_allocations"), [], "after delete no allocation is listed")
    gone = until(20, lambda: state_of(p) == clean, step=0.5)
    tests.check(gone, "after delete no process, rule, port or file is left in any room", differences(clean, state_of(p)))
    tests.check("0% packet loss" in p.room("net0").run("ping", "-c", "2", "-W", "5", apart.OUTSIDE["net1"], check=False),
                "after delete traffic passes as the platform file says")


def check_hosts_change(tests, p):
    """h3 is added to the running platform, gets modules, and is removed again."""
    clean = state_of(p)
    p.add_host("h3")
    p.start("h3")
    p.await_ready("h3")
    tests.check(p.await_hosts(["h1", "h2", "h3"]), "a host that is added while all runs registers itself", p.hosts_up())
    allocation = p.install(CHAIN)
    hosts = {m["name"]: m["host"] for m in p.modules(allocation).values()}
    tests.same(hosts, {"counter": "h1", "fw": "h2", "reply": "h3"}, "the new host gets modules")
    check_traffic(tests, p)
    with_modules = ""
    try:
        p.call("resource", "remove_host", "h3")
    except apart.Refused as error:
        with_modules = str(error)
    tests.check("h3" in with_modules and "delete" in with_modules, "a host with modules is not removed, and the message says what to do", with_modules)
    p.call("resource", "delete_allocation", allocation)
    p.call("resource", "remove_host", "h3")
    tests.same(p.hosts_up(), ["h1", "h2"], "a host without modules is removed")
    p.remove_host("h3")
    allocation = p.install(CHAIN)
    hosts = {m["host"] for m in p.modules(allocation).values()}
    tests.same(hosts, {"h1", "h2"}, "requests go to the hosts that are left")
    p.call("resource", "delete_allocation", allocation)
    check_replacement(tests, p)
    tests.check(until(20, lambda: state_of(p) == clean, step=0.5), "nothing is left of the host that came and went", differences(clean, state_of(p)))


def check_replacement(tests, p):
    """h4 takes the place of h3: as many links as before, but others."""
    p.add_host("h4")
    p.start("h4")
    p.await_ready("h4")
    tests.check(p.await_hosts(["h1", "h2", "h4"]), "a host registers in the place of one that was removed", p.hosts_up())
    tests.check(until(30, lambda: any("to-h4" in rule["match"] for rule in base_rules(p)), step=0.5), "the top-of-rack switch takes its packets",
                base_rules(p))
    allocation = p.install(CHAIN)
    tests.same(p.modules(allocation)["reply"]["host"], "h4", "it gets modules")
    check_traffic(tests, p)
    p.call("resource", "delete_allocation", allocation)
    p.call("resource", "remove_host", "h4")
    p.remove_host("h4")


def base_rules(p):
    which = next(s for s in p.call("openflow", "list_switches") if s["name"] == "tor0")
    return p.call("openflow", "get_rules", {"switch": "tor0", "target": which["target"], "allocation": 0})


def first_run(tests, loadable):
    """The resource daemon starts last."""
    with apart.Platform(["h1", "h2"]) as p:
        for name in ("monitoring", "h2", "pm", "h1", "openflow"):
            p.start(name)
        for name in ("monitoring", "h2", "pm", "h1", "openflow"):
            p.await_ready(name)
        p.start("resource")
        p.await_ready("resource")
        tests.check(p.await_hosts(["h1", "h2"]), "hosts register at a resource daemon that starts last", p.hosts_up())
        tests.check(p.await_base_rules(), "every switch gets its base rules over TCP")
        with tests.story("walls"):
            check_walls(tests, p)
            check_connections(tests, p)
        p.start_traffic("net1", "server", "serve", apart.OUTSIDE["net1"])
        until(30, lambda: ":0050 " in p.room("net1").run("cat", "/proc/net/tcp"))
        p.drop("resource", "tasks", "place_allocation", loadable)
        until(10, lambda: "exe" not in programs(p.room("resource")))  # the child that tries it
        clean = state_of(p)
        before = {name: p.counted(name) for name in apart.OUTSIDE}
        allocation = check_request_id(tests, p, "one-id-for-all")
        with tests.story("modules"):
            check_isolation_report(tests, p)
            check_walls(tests, p)
        with tests.story("traffic"):
            check_traffic(tests, p)
            check_counts(tests, p, allocation, before, "traffic")
        with tests.story("kills"):
            check_kills(tests, p, allocation, before)
        with tests.story("delete"):
            check_delete(tests, p, allocation, clean)
        with tests.story("hosts come and go"):
            check_hosts_change(tests, p)


def second_run(tests):
    """The resource daemon starts first; requests find their hosts by the placement step that the product has."""
    with apart.Platform(["h1", "h2", "h3"]) as p:
        p.start("resource")
        p.await_ready("resource")
        tests.same(p.hosts_up(), [], "a resource daemon that starts first serves, and knows of no host yet")
        for name in ("h1", "monitoring", "openflow", "h3", "pm", "h2"):
            p.start(name)
            p.await_ready(name)
        tests.check(p.await_hosts(["h1", "h2", "h3"]), "hosts register at a resource daemon that started first", p.hosts_up())
        tests.check(p.await_base_rules(), "every switch gets its base rules over TCP")
        clean = state_of(p)
        ids = [p.install(ONE_WAY % port) for port in (5001, 5002, 5003)]
        used = {m["host"] for i in ids for m in p.modules(i).values()}
        tests.check(len(used) >= 2, "several requests are spread over the hosts", used)
        for i in ids:
            p.call("resource", "delete_allocation", i)
        tests.check(until(20, lambda: state_of(p) == clean, step=0.5), "all are deleted and nothing is left", differences(clean, state_of(p)))


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by a signal"))  # and takes the rooms down on the way
    tests = Tests()
    need_root_of_namespaces()
    loadable = need_rooms()
    with tests.story("first run"):
        first_run(tests, loadable)
    with tests.story("second run"):
        second_run(tests)
    tests.end()


if __name__ == "__main__":
    main()

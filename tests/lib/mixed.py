"""Mixed load by many clients, and faults of every kind, on one platform: what hour.py is made of.

    load = Load(platform, ledger, seed, clients=8)     # its threads work while load.go is set
    faults = Faults(platform, ledger, seed)
    faults.run(seconds, every, CONTROLLER)             # each is noted with its time, and whether it cuts the way of the numbered packets

What a client asks for that is to stay goes through the ledger of tests/lib/oracle.py; the rest (plans, shows, flows, drains, backups, upgrades) is counted.
"""

import collections
import contextlib
import itertools
import os
import random
import re
import shutil
import signal
import subprocess
import threading
import time

from flowtest import ROOT, flowstream, until
from loadables import Workshop

from flowstream import processes

CHAIN = 'NAME={name}\nin :: FromNet("in_port=net0,udp,tp_dst={port}")\nin -> a :: Counter("") -> b :: Counter("") -> ToNet("net1")\n'
SHAPES = (  # text, its modules
    (CHAIN, ("a", "b")),
    ("ISOLATE=yes\n" + CHAIN, ("a", "b")),
    ('NAME={name}\nin :: FromNet("in_port=net0,udp,tp_dst={port}")\nin -> ToNet("net1")\n', ()),
    ('NAME={name}\nin :: FromNet("in_port=net0,tcp,tp_dst={port}")\nsort :: Classifier("src net 10.0.0.0/8, all")\nin -> sort\nsort[0] -> a :: Counter -> ToNet("net1")\n'
     'sort[1] -> ToNet("tun1")\n', ("sort", "a")),
    ('NAME={name}\nin :: FromNet("in_port=net1,udp,tp_dst={port}")\nin -> fw :: Firewall("allow udp, deny all") -> ToNet("net0")\n', ("fw",)),
)
HOSTS = ("h1", "h2", "h3")
DAEMONS = ("pm", "openflow", "monitoring", "resource", *(f"modulehost:{host}" for host in HOSTS))
TASKS = (("resource", "generate_rules"), ("resource", "place_allocation"), ("modulehost:h1", "create_pm"), ("modulehost:h2", "connect_pm"), ("openflow", "install_rules"),
         ("pm", "configure_pm"), ("monitoring", "collect"))
ACTIONS = {"install or delete": 50, "plan": 10, "show": 15, "flows": 8, "by hand": 8, "drain": 1, "backup": 1, "upgrade": 1, "bad request": 4}
# Kinds of faults.  Those of the controller must not cost a packet.
CONTROLLER = {"kill a daemon": 5, "stop a daemon": 2}
DATA_PATH = {"kill ovs-vswitchd": 1, "kill ovsdb-server": 1, "kill a multiplexer": 2, "kill a module": 4, "stop a module": 1, "stop a multiplexer": 1, "stop ovs-vswitchd": 1,
             "remove rules": 4}


def ask_module(client, entry, wait):
    """Modules by hand have no keys: one that is there was made by the call that got no answer."""
    try:
        client.create_pm({"name": entry.modules[0], "type": "Counter", "cpu": 0.05, "mem": 16})
    except flowstream.Refused as error:
        if "already" not in str(error):
            raise
    return _found(client, lambda row: row["kind"] == "module" and row["name"] == entry.modules[0])


def ask_connections(client, entry, wait):
    def is_it(row):
        return row["kind"] == "connections" and any(module["name"] == entry.key.removeprefix("wires-") for module in row["modules"])
    if not any(is_it(row) for row in client.list_allocations()):
        client.create_connections("tor0", 10, entry.text)
    return _found(client, is_it)


def _found(client, is_it):
    for row in client.list_allocations():
        if is_it(row):
            if row["state"] == "installed":
                return row["id"]
            raise flowstream.NotReady(f"it is {row['state']}")
    raise flowstream.NotReady("it is not listed")


def end_module(client, entry):
    _end(client, entry, lambda: client.delete_pm({"name": entry.modules[0]}))


def end_connections(client, entry):
    _end(client, entry, lambda: client.delete_connections("tor0", 10, entry.text))


def _end(client, entry, delete):
    try:
        delete()
    except flowstream.Refused:
        if any(row["id"] == entry.id for row in client.list_allocations()):
            raise


class Load:
    """Clients that work while .go is set, until stop()."""

    def __init__(self, platform, ledger, seed, clients):
        self.platform, self.ledger = platform, ledger
        self.go, self._end, self._lock = threading.Event(), threading.Event(), threading.Lock()
        self._alone = {name: threading.Lock() for name in ("drain", "backup", "upgrade")}
        self._ports, self._versions = itertools.cycle(range(2000, 60000)), itertools.count(1)
        self._working = clients
        self.done, self.words, self.slowest = collections.Counter(), collections.Counter(), collections.Counter()
        (platform.scratch / "shop").mkdir()
        self.shop = Workshop(platform.scratch / "shop")
        chance = random.Random(seed)
        self._threads = [threading.Thread(target=self._client, args=(number, random.Random(chance.random())), daemon=True) for number in range(clients)]
        for thread in self._threads:
            thread.start()

    def pause(self):
        """Returns when no call is under way."""
        self.go.clear()
        return until(120, lambda: self._working == 0, 0.05)

    def stop(self):
        self._end.set()
        self.go.set()
        for thread in self._threads:
            thread.join()

    def _client(self, number, chance):
        mine, by_hand, names = [], [], list(ACTIONS)
        with flowstream.Client(self.platform.dir, deadline=20) as client:
            for step in itertools.count():
                with self._lock:
                    self._working -= 1
                self.go.wait()
                with self._lock:
                    self._working += 1
                if self._end.is_set():
                    return
                mine, by_hand = ([key for key in keys if key in self.ledger.entries] for keys in (mine, by_hand))  # at a rest all are deleted and forgotten
                what, begin, good = chance.choices(names, ACTIONS.values())[0], time.monotonic(), False
                try:
                    good = getattr(self, "_" + what.replace(" ", "_"))(client, chance, f"c{number}x{step}", by_hand if what == "by hand" else mine)
                except flowstream.Error as error:
                    self._say(what, error)
                except Exception as error:  # noqa: BLE001: a client that ends would make the load another one
                    self._say(what, f"{type(error).__name__}: {error}")
                with self._lock:
                    self.done[what, "done" if good else "not done"] += 1
                    self.slowest[what] = max(self.slowest[what], time.monotonic() - begin)
                time.sleep(chance.uniform(0, 0.05) if good else 0.2)

    def _say(self, what, words):
        with self._lock:
            self.words[what, re.sub(r"/[^ :,;']*|[0-9a-f]{8,}|\d+", "#", str(words))[:200]] += 1

    def _ask(self, client, key, text, modules, **ways):
        good = self.ledger.install(client, key, text, modules, **ways)
        if not good:
            self._say("install", self.ledger.entries[key].words)
        return good

    def _drop(self, client, key):
        if self.ledger.entries[key].fate != "installed":
            return True
        good = self.ledger.delete(client, key)
        if not good:
            self._say("delete", self.ledger.entries[key].words)
        return good

    # --- Actions: of a client, with its chance, a key for something new and what it has made before ---

    def _install_or_delete(self, client, chance, key, mine):
        if len(mine) > 3 or (len(mine) > 1 and chance.random() < 0.5):
            return self._drop(client, mine.pop(chance.randrange(len(mine))))
        text, modules = chance.choice(SHAPES)
        mine.append(key)
        return self._ask(client, key, text.format(name=key, port=self._port()), modules)

    def _port(self):
        with self._lock:
            return next(self._ports)

    def _by_hand(self, client, _, key, mine):
        """Two steps of making, then two of taking down: a module, connections through it."""
        if not mine:
            mine.append(key)
            return self._ask(client, key, "", (key,), ask=ask_module, end=end_module, ruled=False)
        name = mine[0]
        wires = f"wires-{name}"
        if self.ledger.entries[name].fate == "installed" and wires not in self.ledger.entries:
            text = f'in :: FromNet("in_port=net0,udp,tp_dst={self._port()}"); {name} :: Counter; out :: ToNet("net1"); in -> {name} -> out'
            return self._ask(client, wires, text, (), ask=ask_connections, end=end_connections)
        mine.clear()
        if wires in self.ledger.entries and not self._drop(client, wires):
            return False  # Ledger.resolve() asks again for both
        return self._drop(client, name)

    def _plan(self, client, chance, key, _):
        return bool(client.plan_allocation(chance.choice(SHAPES)[0].format(name=key, port=self._port())))

    def _show(self, client, chance, *_):
        rows = client.list_allocations()
        client.get_allocation(chance.choice(rows)["id"])
        return True

    def _flows(self, client, chance, _, mine):
        entries = [self.ledger.entries[key] for key in mine if self.ledger.entries[key].fate == "installed" and self.ledger.entries[key].modules]
        if entries:
            client.get_flows(chance.choice(entries).id, keep=5)
        return True

    def _bad_request(self, client, chance, key, _):
        text = chance.choice(('in :: FromNet("in_port=net9"); in -> ToNet("net1")', "a -> ", f'NAME={key}\nin :: FromNet("udp"); in -> c :: Cuonter -> ToNet("net1")', "(" * 500,
                              'in :: FromNet("in_port=net0,udp,tp_dst=60001"); in -> ToNet("net1")'))
        try:
            client.install_allocation(text)
        except flowstream.NotReady:
            raise
        except flowstream.Refused:
            return True
        raise RuntimeError("a bad request was not refused")

    def _drain(self, client, chance, *_):
        with self._alone["drain"]:
            host = chance.choice(HOSTS)
            try:
                client.drain_host(host)
                time.sleep(1)
            finally:
                def is_undone():
                    with contextlib.suppress(flowstream.Error):
                        client.drain_host(host, False)
                        return True
                undone = until(60, is_undone, 0.2)
        return undone

    def _backup(self, client, _, key, __):
        with self._alone["backup"]:
            path = self.platform.scratch / f"{key}.backup"
            try:
                return client.backup(path)["bytes"] > 0
            finally:
                path.unlink(missing_ok=True)

    def _upgrade(self, client, chance, *_):
        """A task compiled anew; every third time the version before is made active again."""
        daemon, name = chance.choice(TASKS)
        with self._alone["upgrade"]:
            if chance.random() < 0.33:
                return bool(client.call(daemon, "rollback", name, {"kind": "task"}))
            source = (ROOT / "tasks" / daemon.partition(":")[0] / f"{name}.c").read_text()
            source += f'\n__attribute__((used)) static const char built[] = "{next(self._versions)}";\n'
            made = self.shop.compile(source)
            folder = made.parent / "tasks"
            folder.mkdir(exist_ok=True)
            shutil.move(made, folder / f"{name}.so")
            client.upgrade(daemon, [folder / f"{name}.so"])
            for path in made.parent.glob("*.c"):
                path.unlink()
            return True


class Fault:
    def __init__(self, kind, what, cuts, seconds=0.0):
        self.at, self.kind, self.what, self.cuts, self.seconds = time.monotonic(), kind, what, cuts, seconds


class Faults:
    """cuts: does it stand in the way of the allocation 'stream' of the ledger?"""

    def __init__(self, platform, ledger, seed):
        self.platform, self.ledger, self.chance, self.log = platform, ledger, random.Random(seed), []

    def run(self, seconds, every, kinds):
        """One fault after the other, on average 'every' seconds apart; returns when so much time has passed and nothing is stopped any more."""
        end = time.monotonic() + seconds
        while (pause := self.chance.uniform(0.5, 1.5) * every) < end - time.monotonic():
            time.sleep(pause)
            kind = self.chance.choices(list(kinds), kinds.values())[0]
            with contextlib.suppress(ProcessLookupError, IndexError, KeyError, FileNotFoundError):
                getattr(self, "_" + kind.partition(" ")[0])(kind, kind.split(" ", 1)[1].removeprefix("a "))
        time.sleep(max(0.0, end - time.monotonic()))

    def _victim(self, what):
        """(name, process number, cuts) of one of its kind."""
        folder = self.platform.dir
        if what in ("ovs-vswitchd", "ovsdb-server", "daemon"):
            name = self.chance.choice(DAEMONS) if what == "daemon" else what
            record = flowstream.folder.Record.load(folder)
            return name, next(process.pid for process in record.live() if process.name == name), name == "ovs-vswitchd"
        paths = sorted(folder.glob("hosts/*/mux/pid" if what == "multiplexer" else "hosts/*/modules/*/pid"))
        path = self.chance.choice(paths)
        process = processes.read_pid(path)
        host, name = path.relative_to(folder / "hosts").parts[0], path.parent.name
        return f"{name} on {host}", process.pid, self._carries(host, None if what == "multiplexer" else name)

    def _carries(self, host, process):
        """Does the stream go through this host, or, where a process is named, through this one?"""
        mine = f"a{self.ledger.entries['stream'].id}."
        return any(path.name.startswith(mine) for path in (self.platform.dir / "hosts" / host / "modules").glob("a*")) if process is None else process.startswith(mine)

    def _kill(self, kind, what):
        name, pid, cuts = self._victim(what)
        self.log.append(Fault(kind, name, cuts))
        os.kill(pid, signal.SIGKILL)

    def _stop(self, kind, what):
        name, pid, cuts = self._victim(what)
        seconds = self.chance.uniform(1, 8 if what == "daemon" else 3)
        self.log.append(Fault(kind, name, cuts, seconds))
        os.kill(pid, signal.SIGSTOP)
        try:
            time.sleep(seconds)
        finally:
            os.kill(pid, signal.SIGCONT)

    def _remove(self, kind, _):
        entry = self.chance.choice(self.ledger.of("installed"))
        name, target = self.chance.choice(sorted(self.platform.bridges().items()))
        self.log.append(Fault(kind, f"of {entry.key} in {name}", entry.key == "stream"))
        subprocess.run(["ovs-ofctl", "-OOpenFlow14", "del-flows", target, f"cookie={0xf105 << 48 | entry.id << 16:#x}/0xffffffffffff0000"],
                       capture_output=True, timeout=30, check=False)


__all__ = ["CHAIN", "CONTROLLER", "DAEMONS", "DATA_PATH", "HOSTS", "Faults", "Load"]

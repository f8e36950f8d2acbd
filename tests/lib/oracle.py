"""The oracle "nothing lost, nothing left": what clients were answered, against what there is, seen from outside.

    ledger = Ledger(path)                       # outside of the platform: what was asked and what was answered
    oracle = Oracle(platform, ledger)           # before anything is installed: what the platform is when it is empty
    with Client(...) as client: ledger.install(client, "key", text, ("a", "b")); ledger.delete(client, "key")
    ledger.resolve(client)                      # ask again what nobody answered, with the same key
    problems = oracle.settle(20)                # [] or lines that name each loss and each leftover

Witnesses, each asked by itself: the switches (ovs-ofctl dump-flows, ports of the bridges), the kernel (processes and their network
namespaces, control groups, mappings of rings), the folders of module hosts, and last the resource daemon.  Its store is never asked.
"""

import contextlib
import json
import os
import re
import threading
import time
from pathlib import Path

from flowtest import PATIENCE, flowstream

from flowstream import processes

_COOKIE = re.compile(r"^([^:]+): cookie=0xf105([0-9a-f]{8})([0-9a-f]{4}),.*? (table=\d+), .*?(priority=.*)$")
# What the platform may still be doing about a request that was answered "not ready".
OPEN = ("sent", "deleting")


def _ask(client, entry, wait):
    return client.install_allocation(entry.text, key=entry.key, wait=wait)


def _end(client, entry):
    client.delete_allocation(entry.id)


class Entry:
    """What is known of one key: its allocation's id (0: none was answered), its modules, its fate.

    ask(client, entry, wait) asks for it and returns its id, end(client, entry) deletes it; both are called again when there was no answer.
    ruled: it has rules in switches, which a module by hand has not.
    """

    def __init__(self, key, text, modules, ask=_ask, end=_end, ruled=True):
        self.key, self.text, self.modules = key, text, modules
        self.ask, self.end, self.ruled = ask, end, ruled
        self.id, self.fate, self.words, self.ids = 0, "sent", "", []

    def __str__(self):
        return f"{self.key} (allocation {self.id or 'unknown'}, {self.fate}{': ' + self.words if self.words else ''})"


class Ledger:
    """A line in a file before each call and after each answer.  Fates: sent, installed, refused, deleting, deleted."""

    def __init__(self, path):
        self.entries = {}
        self._file = open(path, "a", buffering=1)
        self._lock = threading.Lock()

    def _note(self, entry, what, **more):
        with self._lock:
            self._file.write(json.dumps({"at": time.time(), "key": entry.key, "what": what, **more}) + "\n")

    def count(self, *fates):
        return sum(entry.fate in fates for entry in self.entries.values())

    def of(self, *fates):
        return [entry for entry in list(self.entries.values()) if entry.fate in fates]

    def install(self, client, key, text, modules, wait=20, **ways):
        """Ask for an installation; says whether it was answered as installed.  Errors are noted, not raised.  ways: as of Entry."""
        with self._lock:
            entry = self.entries.setdefault(key, Entry(key, text, tuple(modules), **ways))
        self._note(entry, "install")
        try:
            entry.id = entry.ask(client, entry, wait)
            entry.ids.append(entry.id)
            entry.fate, entry.words = "installed", ""
        except flowstream.NotReady as error:
            entry.words = str(error)
        except flowstream.Refused as error:
            entry.fate, entry.words = "refused", str(error)
        except flowstream.Error as error:
            entry.words = str(error)
        self._note(entry, entry.fate, id=entry.id, words=entry.words)
        return entry.fate == "installed"

    def delete(self, client, key):
        entry = self.entries[key]
        entry.fate = "deleting"
        self._note(entry, "delete", id=entry.id)
        try:
            entry.end(client, entry)
            entry.fate, entry.words = "deleted", ""
        except flowstream.NotReady as error:
            entry.words = str(error)
        except flowstream.Refused as error:
            # A delete that was carried out and not answered: the id is known to nobody any more.
            entry.fate = "deleted" if "there is no allocation" in str(error) else "deleting"
            entry.words = str(error)
        except flowstream.Error as error:
            entry.words = str(error)
        self._note(entry, entry.fate, id=entry.id, words=entry.words)
        return entry.fate == "deleted"

    def resolve(self, client, seconds=40):
        """Ask again, with the same key, until all have a final answer; returns the entries that have none."""
        end = time.monotonic() + seconds * PATIENCE
        while self.of(*OPEN) and time.monotonic() < end:
            for entry in self.of(*OPEN):
                if entry.fate == "sent":
                    self.install(client, entry.key, entry.text, entry.modules, wait=5)
                else:
                    self.delete(client, entry.key)
            time.sleep(0.1)
        return self.of(*OPEN)

    def wanted(self):
        return {entry.id: entry for entry in self.of("installed")}


class Oracle:
    def __init__(self, platform, ledger):
        self.platform, self.ledger = platform, ledger
        self.base_ports = self.ports()
        self.base_rules = self.rules().get(0, {})

    # --- Witnesses ---

    def ports(self):
        """Switch -> names of its ports, as the switch itself says them."""
        found = {}
        for name, target in self.platform.bridges().items():
            said = processes.run(["ovs-ofctl", "-OOpenFlow14", "show", target])
            found[name] = sorted(re.findall(r"^ [0-9A-Z]+\((.+?)\):", said, re.M))
        return found

    def rules(self):
        """Allocation -> {switch: sorted rules without counters}, as the switches themselves say them."""
        found = {}
        for line in self.platform.rules():
            parts = _COOKIE.match(line)
            if not parts:
                found.setdefault(-1, {}).setdefault("?", []).append(line)  # ours by its cookie, and not to be read: reported below
                continue
            switch, owner, _, table, rule = parts.groups()
            found.setdefault(int(owner, 16), {}).setdefault(switch, []).append(f"{table},{rule}")
        return {owner: {switch: sorted(rules) for switch, rules in by.items()} for owner, by in found.items()}

    def members(self):
        """(host, process) -> its modules: those whose folders are links to the process's; one without links is a module itself."""
        found = {}
        for path in self.platform.dir.glob("hosts/*/modules/*"):
            if path.is_symlink():
                found.setdefault((path.parts[-3], os.readlink(path).rpartition("/")[2]), set()).add(path.name)
        return found

    @staticmethod
    def _expand(found, members):
        """The (host, module) of some (host, process)."""
        return {(host, module) for host, name in found for module in members.get((host, name), {name})}

    def processes(self):
        """(host, process) -> process numbers, by the folder on their command line."""
        pattern = re.compile(re.escape(str(self.platform.dir)) + r"/hosts/([^/]+)/modules/([^/\0]+)\0")
        found = {}
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                match = pattern.search(path.read_bytes().decode(errors="replace"))
                if match:
                    found.setdefault(match.groups(), []).append(int(path.parent.name))
        return found

    def process_folders(self):
        return {(path.parts[-3], path.name) for path in self.platform.dir.glob("hosts/*/modules/*") if not path.name.startswith(".") and not path.is_symlink()}

    def control_groups(self):
        """(host, process) that have a control group."""
        tag = self.platform.tag()
        groups = Path("/sys/fs/cgroup").glob(f"*/flowstream/{tag}-*/a*")
        return {(group.parent.name.removeprefix(f"{tag}-"), group.name) for group in groups if group.is_dir()}

    @staticmethod
    def rings(pid):
        """The rings (shared memory) that a process has mapped."""
        with contextlib.suppress(OSError):
            return {line.split()[4] for line in Path(f"/proc/{pid}/maps").read_text().splitlines() if "memfd:flowstream-rings" in line}
        return set()

    def multiplexers(self):
        """host -> process number of its multiplexer."""
        found = {}
        for path in self.platform.dir.glob("hosts/*/mux/pid"):
            process = processes.read_pid(path)
            if process and process.alive():
                found[path.parts[-3]] = process.pid
        return found

    # --- Verdict ---

    def verdict(self):
        """One line a loss or leftover; empty when all is as was answered."""
        wanted, problems = self.ledger.wanted(), []
        problems += self._judge_answers(wanted)
        problems += self._judge_rules(wanted)
        problems += self._judge_modules(wanted)
        problems += [f"ports of switch {name}: {self.base_ports.get(name)} at first, {ports} now"
                     for name, ports in self.ports().items() if ports != self.base_ports.get(name)]
        return problems

    def _judge_answers(self, wanted):
        """Each answered change once: no id twice, none that no client has, all listed and installed."""
        ids = [entry.id for entry in self.ledger.of("installed")]
        problems = [f"allocation {id_} was answered to more than one key" for id_ in sorted({i for i in ids if ids.count(i) > 1})]
        problems += [f"key {e.key} was answered as allocations {e.ids}, the first of which was never deleted" for e in self.ledger.of("installed") if len(set(e.ids)) > 1]
        listed = {row["id"]: row for row in self.platform.client.list_allocations()}
        problems += [f"LOST: {entry} is not listed" for id_, entry in wanted.items() if id_ not in listed]
        problems += [f"{wanted[id_]} is listed as {row['state']}" for id_, row in listed.items() if id_ in wanted and row["state"] != "installed"]
        problems += [f"LEFT: allocation {id_} ({row['name']}, {row['state']}) is listed and wanted by nobody" for id_, row in listed.items() if id_ not in wanted]
        return problems

    def _judge_rules(self, wanted):
        found, problems = self.rules(), []
        for id_, by_switch in sorted(found.items()):
            if id_ not in wanted and id_ != 0:
                problems += [f"LEFT: {len(rules)} rules of allocation {id_} in {switch}" for switch, rules in by_switch.items()]
        meters = {meter[:3] for meter in self.platform.meters()}
        problems += [f"LEFT: meter {number} of allocation {owner} in {switch}" for switch, owner, number in sorted(meters) if owner not in wanted]
        if found.get(0, {}) != self.base_rules:
            problems.append(f"LOST: base rules are other ones than at first: {found.get(0)}")
        for id_, entry in wanted.items():
            planned, plan = {}, []
            with contextlib.suppress(flowstream.Refused):  # that it is not listed has been said above
                plan = self.platform.client.get_allocation(id_)["rules"]
            for rule in plan:
                planned[rule["switch"]] = planned.get(rule["switch"], 0) + len(rule["rules"])
                missing = [meter["meter"] for meter in rule.get("meters", []) if (rule["switch"], id_, meter["meter"]) not in meters]
                problems += [f"LOST: {entry}: meter {number} in {rule['switch']}" for number in missing]
            there = {switch: len(rules) for switch, rules in found.get(id_, {}).items()}
            if there != planned or bool(there) != entry.ruled:
                problems.append(f"LOST: {entry}: rules {there}, planned {planned}")
        return problems

    def _judge_modules(self, wanted):
        processes, members = self.processes(), self.members()
        running, folders, groups = (self._expand(some, members) for some in (processes, self.process_folders(), self.control_groups()))
        expected = {f"a{id_}.{module}" for id_, entry in wanted.items() for module in entry.modules}
        everywhere = [name for _, name in {key for key in running} | folders]
        problems = [f"LOST: module {name} runs nowhere" for name in sorted(expected - {name for _, name in running})]
        problems += [f"module {name} is on {everywhere.count(name)} hosts" for name in sorted(expected) if everywhere.count(name) > 1]
        for what, found in (("process", set(running)), ("folder", folders), ("control group", groups)):
            problems += [f"LEFT: {what} of module {name} on {host}" for host, name in sorted(found) if name not in expected]
        if groups:
            problems += [f"LOST: control group of module {name} on {host}" for host, name in sorted(set(running) - groups)]
        dangling = {host_process for host_process in members if host_process not in self.process_folders()}
        problems += [f"LEFT: links to the folder of process {name} on {host}, which is gone" for host, name in sorted(dangling)]
        return problems + self._judge_rings(processes) + self._judge_namespaces(processes)

    def _judge_rings(self, running):
        problems, multiplexers = [], self.multiplexers()
        for host in sorted({host for host, _ in running} - set(multiplexers)):
            problems.append(f"LOST: host {host} has modules and no multiplexer")
        for host, pid in multiplexers.items():
            theirs = {ring: name for (on, name), pids in running.items() if on == host for p in pids for ring in self.rings(p)}
            own = self.rings(pid)
            problems += [f"LOST: a ring of module {theirs[ring]} is not mapped by the multiplexer of {host}" for ring in set(theirs) - own]
            problems += [f"LEFT: the multiplexer of {host} maps a ring (inode {ring}) of no module" for ring in own - set(theirs)]
        return problems

    @staticmethod
    def _judge_namespaces(running):
        """A module is never in our own network namespace."""
        mine, problems = os.stat("/proc/self/ns/net").st_ino, []
        for (host, name), pids in running.items():
            for pid in pids:
                with contextlib.suppress(OSError):
                    if os.stat(f"/proc/{pid}/ns/net").st_ino == mine:
                        problems.append(f"module {name} on {host} (process {pid}) is in the host's network namespace")
        return problems

    def settle(self, seconds):
        """The verdict, given so many seconds to become empty: what is being mended is not lost yet."""
        end = time.monotonic() + seconds * PATIENCE
        while True:
            try:
                problems = self.verdict()
            except flowstream.Error as error:
                problems = [f"no verdict: {error}"]
            if not problems or time.monotonic() > end:
                return problems
            time.sleep(0.3)

"""How to get to each failpoint, and what has to be true afterwards; shared by platform/failpoints and bench/faults/failpoints.py.

    story = Story(platform)                     # supervised, built with --enable-failpoints
    fired = story.strike("install.planned", failpoints.points()["install.planned"], "error")
    problems = story.judge()                    # [] or lines: the oracle's, and what the ways have found

The judge is oracle.py.
"""

import contextlib
import os
import subprocess

from chaos import CHAIN
from flowtest import Platform, flowstream, until
from oracle import Ledger, Oracle

from flowstream import supervision

HOSTS = ("modulehost:h1", "modulehost:h2", "modulehost:h3")
# Points that an ordinary install and delete does not lead to: how to get there, and whether they are armed for the next start.
WAYS = {"store.checkpoint": ("large", False), "store.backup": ("backup", False), "restore.enter": ("restore", False), "store.recover": ("start_again", True),
        "recover.begun": ("start_again", True), "recover.settle": ("half_done", True), "recover.sweep": ("orphan", False), "recover.rules": ("lost_rules", False),
        "recover.multiplexer": ("mux_away", True), "file.write": ("patch", False), "file.full": ("patch", False)}
_AT_START = ("store.recover", "recover.begun")  # an error there ends the daemon, and the supervisor starts it again


def kinds(kind):
    """What can be done at a point of that kind of macro."""
    return ("kill", "delay") + {"": (), "_SHORT": ("short",)}.get(kind, ("error",))


def is_for_a_start(name):
    """Is the point armed for the next start of its daemon?"""
    return WAYS.get(name, ("", False))[1]


def owners(name, file):
    """The daemons in which a point can be hit."""
    if "/modulehost/" in file or file.startswith("pm/"):
        return HOSTS
    return ("openflow",) if "openflow" in file else ("resource",)


class Story:
    def __init__(self, p: Platform):
        self.p, self.number, self.found = p, 0, []
        self.ledger = Ledger(p.scratch / "ledger")
        self.oracle = Oracle(p, self.ledger)

    # --- Arming, and whether it fired ---

    def arm(self, name, daemons, *action):
        """Arm it; returns how often it was passed before, in each of the daemons that answer.  Without an action only that."""
        passed = {}
        for daemon in daemons:
            with contextlib.suppress(flowstream.Error):
                passed[daemon] = self.p.client.call(daemon, "set_failpoint", name, *action)
        return passed

    def arm_next_start(self, name, daemons, action="kill"):
        for daemon in daemons:
            (self.p.folder_of(daemon) / "failpoints").write_text(f"{name}={action}\n")

    def disarm(self, name, daemons):
        for daemon in daemons:
            (self.p.folder_of(daemon) / "failpoints").unlink(missing_ok=True)
        self.arm(name, daemons, "off")

    def restarts(self, daemons):
        said = supervision.status(self.p.record)
        return sum(said[daemon]["restarts"] + (not said[daemon]["pid"]) for daemon in daemons)

    def strike(self, name, point, action, tries=3):
        """Make the point do that, and go there; has it been done?  At the end all daemons are back."""
        file, _ = point
        daemons, way, next_start = owners(name, file), WAYS.get(name, ("install_and_delete",))[0], is_for_a_start(name)
        ends, at = action.startswith("kill") or (action.startswith("error") and name in _AT_START), int(action.partition("@")[2] or 1)
        before, needed = self.restarts(daemons), 2 if next_start else 1  # the start that reads the order has a kill before it
        passed = {}
        if next_start:
            self.arm_next_start(name, daemons, action)
        else:
            passed = self.arm(name, daemons, action)

        def has_fired():
            if ends:
                return self.restarts(daemons) >= before + needed
            return any(hits >= passed.get(daemon, 0) + at for daemon, hits in self.arm(name, daemons).items())
        fired = False
        for _ in range(tries):  # modules are placed where there is room: the point may be on another host's way
            getattr(self, way)()
            fired = until(5 if next_start or name == "recover.rules" else 2 if ends else 0.5, has_fired, 0.02)  # what is seen late is seen at the next try
            if fired:
                break
        self.disarm(name, daemons)
        if not self.settled():
            self.found.append(f"{name}: not all daemons are back after {action}")
        return fired

    def kill(self, name):
        with contextlib.suppress(ProcessLookupError, TypeError):
            os.kill(self.p.process(name), 9)

    def run(self, task, *daemons):
        """Regular tasks, now and not when their turn comes."""
        for daemon in daemons:
            with contextlib.suppress(flowstream.Error):
                self.p.client.call(daemon, "run_task", task, {}, {"wait": 10}, deadline=15)

    def settled(self):
        def good():
            self.run("register_host", *HOSTS)
            with contextlib.suppress(flowstream.Error):
                return self.p.client.hosts_up() == ["h1", "h2", "h3"] and self.p.client.call("resource", "get_statistics")["switches_prepared"]
        # What waits for its turn comes now: places are tested here, not pauses.
        supervision.poke(self.p.record)
        return until(40, good, 0.05)

    # --- What leads to a point ---

    def install_and_delete(self, text=""):
        self.number += 1
        key = f"c{self.number}"
        with flowstream.Client(self.p.dir, deadline=30) as client:
            if self.ledger.install(client, key, CHAIN.format(name=key, port=5000 + self.number) + text, ("a", "b")):
                self.ledger.delete(client, key)

    def large(self):
        """Many pages for the log of the store."""
        for _ in range(12):
            self.install_and_delete("// " + "x" * 200000 + "\n")

    def backup(self):
        file = self.p.scratch / "backup"
        file.unlink(missing_ok=True)
        with contextlib.suppress(flowstream.Error), flowstream.Client(self.p.dir, deadline=30) as client:
            client.backup(file)

    def restore(self):
        """Restore one that was deleted: the ledger knows that it is wanted again, if it came so far."""
        self.number += 1
        key = f"c{self.number}"
        with flowstream.Client(self.p.dir, deadline=30) as client:
            if not self.ledger.install(client, key, CHAIN.format(name=key, port=5000 + self.number), ("a", "b")):
                return
            self.backup()
            self.ledger.delete(client, key)
            with contextlib.suppress(flowstream.Error):
                client.restore(self.p.scratch / "backup")
        self.settled()
        entry, said = self.ledger.entries[key], []

        def wanted():  # what could not be entered is among the problems that a restore answers; whoever is told of some, or of nothing, asks again
            try:
                said[:] = [self.p.client.restore(self.p.scratch / "backup")]
            except flowstream.Error as error:
                said[:] = [error]
                return False
            return entry.id in said[0]["restored"] + said[0]["unchanged"]
        if not until(20, wanted, 0.2):
            self.found.append(f"a backup that has {entry} cannot be restored: {said[0]}")
        entry.fate = "installed"

    def start_again(self):
        self.kill("resource")

    def half_done(self):
        """A daemon that died in the middle of an install has something to settle."""
        self.arm("install.modules_made", ("resource",), "kill")
        self.install_and_delete()
        self.settled()
        self.run("settle", "resource")

    def orphan(self):
        target = sorted(self.p.bridges().values())[0]
        subprocess.run(["ovs-ofctl", "-OOpenFlow14", "add-flow", target, f"cookie={0xf105 << 48 | 4711 << 16:#x},table=30,priority=7,actions=drop"], check=True)
        self.run("sweep", "resource")

    def lost_rules(self):
        self.kill("ovs-vswitchd")

    def mux_away(self):
        for daemon in HOSTS:
            self.kill(daemon)

    def patch(self):
        """A task of the resource daemon in another version: where that is refused the old one is there, and never half of one."""
        task, fresh = self.p.dir / "lib/tasks/resource/base_rules.so", self.p.scratch / "tasks/base_rules.so"
        self.number += 1
        old = task.read_bytes()
        new = old[:len(old) - len(old) % 16] + bytes(16 * (1 + self.number % 50))  # another version, by its bytes alone
        fresh.parent.mkdir(exist_ok=True)
        fresh.write_bytes(new)
        done = False
        with contextlib.suppress(flowstream.Error), flowstream.Client(self.p.dir, deadline=30) as client:
            client.upgrade("resource", [fresh])
            done = True
        if task.read_bytes() not in ((new,) if done else (new, old)):
            self.found.append(f"{task} is neither what it was nor what it should become ({'answered' if done else 'not answered'})")

    # --- Afterwards ---

    def judge(self):
        """Lines that say what is lost or left, with what the ways have found until now; [] when all that was answered is there, once, and nothing else."""
        self.run("settle", "resource")
        open_ = self.ledger.resolve(self.p.client)
        found, self.found = self.found, []
        problems = [str(entry) for entry in open_] + self.oracle.settle(0)
        if problems:
            self.run("sweep", "resource")
            self.run("setup_host", *HOSTS)
            problems = [str(entry) for entry in open_] + self.oracle.settle(20)
        return found + problems

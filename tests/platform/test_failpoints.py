"""Each failpoint of the source: the process is killed at just that place, or the step fails; afterwards nothing is lost and nothing is left.

Needs a build with --enable-failpoints (the sanitizers' build has them); others skip.  The list comes from the sources (tests/lib/failpoints.py); a point that
is never hit fails the test.  FLOWSTREAM_TIMES=20 does each so often; names as arguments: only these.
"""

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

import failpoints  # noqa: E402
from chaos import CHAIN  # noqa: E402
from flowtest import BUILD, PATIENCE, Platform, Tests, flowstream, need_root_of_namespaces, skip_all, until  # noqa: E402
from oracle import Ledger, Oracle  # noqa: E402

from flowstream import embedded, supervision  # noqa: E402

need_root_of_namespaces()
if not failpoints.are_compiled_in(BUILD):
    skip_all("this build has no failpoints: configure --enable-failpoints")
tests = Tests()
TIMES = int(os.environ.get("FLOWSTREAM_TIMES", "1"))
EACH = int(os.environ.get("FLOWSTREAM_JUDGE_EACH", "4"))  # points from one look of the oracle to the next
HOSTS = ("modulehost:h1", "modulehost:h2", "modulehost:h3")


def owners(name, file):
    """The daemons in which a point can be hit."""
    if "/modulehost/" in file or file.startswith("pm/"):
        return HOSTS
    return ("openflow",) if "openflow" in file else ("resource",)


class Story:
    def __init__(self, p):
        self.p, self.number, self.delete = p, 0, False
        self.ledger = Ledger(p.scratch / "ledger")
        self.oracle = Oracle(p, self.ledger)

    def arm(self, name, daemons, action):
        for daemon in daemons:
            self.p.client.call(daemon, "set_failpoint", name, action)

    def arm_next_start(self, name, daemons, action="kill"):
        for daemon in daemons:
            (self.p.folder_of(daemon) / "failpoints").write_text(f"{name}={action}\n")

    def disarm(self, name, daemons):
        for daemon in daemons:
            (self.p.folder_of(daemon) / "failpoints").unlink(missing_ok=True)
            with contextlib.suppress(flowstream.Error):
                self.p.client.call(daemon, "set_failpoint", name, "off")

    def restarts(self, daemons):
        said = supervision.status(self.p.record)
        return sum(said[daemon]["restarts"] + (not said[daemon]["pid"]) for daemon in daemons)

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
        return until(40, good, 0.1)

    # --- What leads to a point ---

    def install_and_delete(self, text=""):
        self.number += 1
        key = f"c{self.number}"
        with flowstream.Client(self.p.dir, deadline=30) as client:
            if self.ledger.install(client, key, CHAIN.format(name=key, port=5000 + self.number) + text, ("a", "b")) and (self.delete or self.number % 2):
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
        self.install_and_delete()
        entry = (self.ledger.of("installed") or [None])[0]
        if not entry:
            return
        # The backup is made before the point can be hit.
        self.backup()
        with flowstream.Client(self.p.dir, deadline=30) as client:
            self.ledger.delete(client, entry.key)
            with contextlib.suppress(flowstream.Error):
                client.restore(self.p.scratch / "backup")
        self.settled()
        with contextlib.suppress(flowstream.Error):
            self.p.client.restore(self.p.scratch / "backup")
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


# Points that an ordinary install and delete does not lead to: how to get there, and whether they are armed for the next start.
WAYS = {"store.checkpoint": ("large", False), "store.backup": ("backup", False), "restore.enter": ("restore", False), "store.recover": ("start_again", True),
        "recover.begun": ("start_again", True), "recover.settle": ("half_done", True), "recover.sweep": ("orphan", False), "recover.rules": ("lost_rules", False),
        "recover.multiplexer": ("mux_away", True)}


def kill_at(story, name, file):
    """Killed at the point: hit, back, and all is as it was answered."""
    daemons, (way, next_start) = owners(name, file), WAYS.get(name, ("install_and_delete", False))
    story.delete = "delete" in name
    before = story.restarts(daemons)
    needed = 2 if next_start else 1  # the start that reads the order has a kill before it
    if next_start:
        story.arm_next_start(name, daemons)
    else:
        story.arm(name, daemons, "kill")
    for _ in range(3):  # modules are placed where there is room: the point may be on another host's way
        getattr(story, way)()
        if until(5, lambda: story.restarts(daemons) >= before + needed, 0.02):
            break
    hit = story.restarts(daemons) >= before + needed
    tests.check(story.settled(), f"{name}: all are back after kill") if not hit else story.settled()
    story.disarm(name, daemons)
    return hit


def fails_at(story, name, file):
    """The step fails: the install is refused, or the daemon's answer tells it."""
    daemons = owners(name, file)
    story.arm(name, daemons, "error")
    refused = story.ledger.count("refused")
    story.install_and_delete()
    story.disarm(name, daemons)
    return story.ledger.count("refused") == refused + 1


def short_at(story, name, file):
    """Less is written than was asked: the rest follows."""
    task = story.p.dir / "lib/tasks/resource/base_rules.so"
    content = task.read_bytes() + bytes(16 * (1 + story.number))  # another version, by its bytes alone
    (story.p.scratch / "tasks").mkdir(exist_ok=True)
    (story.p.scratch / "tasks" / task.name).write_bytes(content)
    story.arm(name, owners(name, file), "short")
    story.p.client.upgrade("resource", [story.p.scratch / "tasks" / task.name])
    hits = story.p.client.call("resource", "set_failpoint", name, "off")
    return hits and task.read_bytes() == content


def judge(story, what):
    story.run("settle", "resource")
    open_ = story.ledger.resolve(story.p.client)
    problems = [str(entry) for entry in open_] + story.oracle.settle(0)
    if problems:
        story.run("sweep", "resource")
        story.run("setup_host", *HOSTS)
        problems = [str(entry) for entry in open_] + story.oracle.settle(20)
    tests.check(not problems, f"{what}: all that was answered is there, and nothing else", "\n".join(problems))


with Platform(supervise=True) as platform:
    story_ = Story(platform)
    points = failpoints.points()
    chosen = sys.argv[1:] or points
    missed, since = [], []
    for point in chosen:
        path, kind = points[point]
        begin = time.monotonic()
        for _ in range(TIMES):
            how = {"": kill_at, "_ERROR": fails_at, "_SHORT": short_at}[kind]
            with tests.story(point):
                if not how(story_, point, path):
                    missed.append(point)
                since.append(point)
                if len(since) >= EACH:
                    judge(story_, ", ".join(since))
                    since = []
        print(f"# {point}: {time.monotonic() - begin:.1f} s", flush=True)
    judge(story_, ", ".join(since) or "the last")
    tests.check(len(points) > 25 and not missed, f"each of {len(chosen)} failpoints was hit", missed)
    for standing in story_.ledger.of("installed"):
        story_.ledger.delete(platform.client, standing.key)
    judge(story_, "all deleted")
    reports = platform.logs()
    tests.check("Sanitizer" not in reports and "runtime error:" not in reports and "Assertion" not in reports, "no report of a sanitizer and no assertion in any log",
                "\n".join(line for line in reports.splitlines() if "Sanitizer" in line or "runtime error:" in line or "Assertion" in line))
tests.check(not platform.leftovers, "down leaves nothing", platform.leftovers)
tests.end()

"""What failpoints and random kills have found and what was mended since, each once more: a failpoint armed at just that place, and the answer that it must have.

Needs a build with --enable-failpoints, as platform/failpoints does.  Each story fails without its mend; none tells by the time that passes that something is wrong.
"""

import contextlib
import os
import re
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

import failpoints  # noqa: E402
from chaos import CHAIN, MODULES  # noqa: E402
from flowtest import BUILD, PATIENCE, Platform, Tests, flowstream, need_root_of_namespaces, skip_all, until  # noqa: E402
from oracle import Ledger, Oracle  # noqa: E402

from flowstream import processes  # noqa: E402

need_root_of_namespaces()
if not failpoints.are_compiled_in(BUILD):
    skip_all("this build has no failpoints: configure --enable-failpoints")
tests = Tests()
HOSTS = ("modulehost:h1", "modulehost:h2", "modulehost:h3")


class Mended:
    def __init__(self, p):
        self.p, self.port = p, 5000
        self.ledger = Ledger(p.scratch / "ledger")
        self.oracle = Oracle(p, self.ledger)

    def install(self):
        """The entry of one more that is installed."""
        self.port += 1
        key = f"c{self.port}"
        good = self.ledger.install(self.p.client, key, CHAIN.format(name=key, port=self.port), MODULES)
        tests.check(good, f"install {key}", self.ledger.entries[key])
        return self.ledger.entries[key]

    def point(self, daemons, name, *action):
        """Arm a failpoint, or (without an action) only ask: how often it was passed, in all of these daemons."""
        return sum(self.p.client.call(daemon, "set_failpoint", name, *action) for daemon in daemons)

    def run(self, daemon, task, param=None):
        return self.p.client.call(daemon, "run_task", task, param or {}, {"wait": 20}, deadline=30 * PATIENCE)

    def processes_of(self, entry):
        return {key: pids for key, pids in self.oracle.processes().items() if key[1].startswith(f"a{entry.id}.")}

    def settled(self, what, seconds=20):
        problems = self.oracle.settle(seconds)
        tests.check(not problems, f"{what}: all that was answered is there, and nothing else", "\n".join(problems))

    def end(self, entry):
        tests.check(self.ledger.delete(self.p.client, entry.key), f"delete {entry.key}", entry)


def ready(p):
    """All hosts are up and all switches prepared."""
    def good():
        with contextlib.suppress(flowstream.Error):
            return p.client.hosts_up() == ["h1", "h2", "h3"] and p.client.call("resource", "get_statistics")["switches_prepared"]
    return until(40, good, 0.05)


# --- Restoring ---

def test_restore_what_goes(m):
    """A deletion that cannot be ended yet is no reason to call the allocation unchanged: it would go on going."""
    entry, backup = m.install(), m.p.scratch / "goes.backup"
    m.p.client.backup(backup)
    m.point(("resource",), "recover.settle", "error")  # its next turn does nothing
    m.point(("resource",), "delete.rules_gone", "error")
    m.ledger.delete(m.p.client, entry.key)
    tests.same([(a["id"], a["state"]) for a in m.p.client.list_allocations()], [(entry.id, "deleting")], "a deletion waits for its next turn")
    answer = m.p.client.restore(backup)
    tests.same((answer["deleted"], answer["restored"], answer["problems"]), ([entry.id], [entry.id], []), "a backup that has it deletes it and installs it again")
    entry.fate = "installed"
    m.point(("resource",), "recover.settle", "off")
    m.run("resource", "settle")
    m.settled("after the next turn")
    m.end(entry)


def test_restore_what_cannot_go(m):
    """Where it cannot be taken away, it cannot be restored yet, and the answer says so."""
    entry, backup = m.install(), m.p.scratch / "stays.backup"
    m.p.client.backup(backup)
    m.point(("resource",), "recover.settle", "error")
    m.point(("resource",), "delete.rules_gone", "error")
    m.ledger.delete(m.p.client, entry.key)
    m.point(("resource",), "delete.rules_gone", "error")
    answer = m.p.client.restore(backup)
    tests.check(answer["restored"] == [] and any("restore once more" in problem for problem in answer["problems"]), "the problem says to restore once more", answer)
    answer = m.p.client.restore(backup)
    tests.same((answer["restored"], answer["problems"]), ([entry.id], []), "and once more it is done")
    entry.fate = "installed"
    m.point(("resource",), "recover.settle", "off")
    m.settled("after that")
    m.end(entry)


def test_restore_beside_the_reconciler(m):
    """Nobody installs or deletes while the reconciler starts a module again: a restore waits for it."""
    entry, backup = m.install(), m.p.scratch / "beside.backup"
    m.p.client.backup(backup)
    passed = m.point(HOSTS, "create_pm.begun", "delay:1000")
    (_, process), (pid, *_) = next(iter(m.processes_of(entry).items()))
    os.kill(pid, signal.SIGKILL)
    tests.check(until(20, lambda: m.point(HOSTS, "create_pm.begun") > passed, 0.02), f"process {process} was killed and is being started again")
    answer = m.p.client.restore(backup)
    tests.same(answer, {"deleted": [], "restored": [], "unchanged": [entry.id], "problems": []}, "a restore meanwhile is answered, not refused")
    m.point(HOSTS, "create_pm.begun", "off")
    m.settled("after that")
    m.end(entry)


# --- A start of the resource daemon ---

def test_request_before_hosts(m):
    """A request that comes before any host has said a word to a resource daemon that was started again waits for the first words, for three seconds."""
    hosts = [m.p.process(name) for name in HOSTS]

    def send(signal_):
        for pid in hosts:
            os.kill(pid, signal_)

    def attempt(number):
        key, text = f"early{number}", CHAIN.format(name=f"early{number}", port=4000 + number)
        send(signal.SIGSTOP)
        try:
            os.kill(m.p.process("resource"), signal.SIGKILL)
            with ThreadPoolExecutor() as pool, flowstream.Client(m.p.dir) as client:
                installing = pool.submit(m.ledger.install, client, key, text, MODULES)
                until(20, lambda: installing.done() or m.p.client.list_allocations())
                until(0.5, installing.done)  # whoever does not wait is refused now
                send(signal.SIGCONT)
                return installing.result()
        finally:
            send(signal.SIGCONT)
            ready(m.p)
    good = any(attempt(number) for number in range(3))  # on a slow machine the three seconds may be over
    tests.check(good, "a request that comes before the hosts is installed", [str(entry) for entry in m.ledger.of("refused", "sent")])
    m.settled("after that")


# --- Module hosts ---

def test_host_set_up_again(m):
    """A host on which the set-up failed once does not wait five seconds for its turn: the look after half a second does it."""
    def attempt():
        before = next(h["incarnation"] for h in m.p.client.list_hosts() if h["name"] == "h1")
        order = m.p.folder_of(HOSTS[0]) / "failpoints"
        order.write_text("recover.multiplexer=error\n")
        os.kill(m.p.process(HOSTS[0]), signal.SIGKILL)
        until(20, lambda: not order.exists(), 0.01)
        begin_ = time.monotonic()
        until(20, lambda: any(h["incarnation"] != before for h in m.p.client.list_hosts() if h["name"] == "h1"))
        return time.monotonic() - begin_
    took = []
    tests.check(any(took.append(attempt()) or took[-1] < 3.5 for _ in range(3)), "a host whose set-up failed once is set up again at once", took)


def test_set_up_one_at_a_time(m):
    """The turn of setup_host comes while watch_host has asked for it: the trunk is made once, and nobody takes another's for half of one."""
    fabric = next(name for name in m.p.record.data["namespaces"] if name.endswith("-fabric"))

    def set_up(_):
        with flowstream.Client(m.p.dir) as client:
            try:
                return client.call(HOSTS[0], "run_task", "setup_host", {}, {"wait": 20}, deadline=30 * PATIENCE)
            except flowstream.Error as error:
                return str(error)
    said = []
    for _ in range(4):
        processes.run(["ip", "-n", fabric, "link", "delete", "h1-trunk"])
        with ThreadPoolExecutor() as pool:
            said += pool.map(set_up, range(4))
        if any(said):
            break
    tests.check(not any(said), "the trunk was taken away, and four make it again at the same time: one does, and all are content", said)

    def rules_follow():
        number = re.search(r" (\d+)\(h1-trunk\)", processes.run(["ovs-ofctl", "-OOpenFlow14", "show", m.p.bridges()["br-h1"]]))
        return number and any(f"in_port={number[1]}," in rule for rule in m.oracle.rules()[0]["br-h1"])
    tests.check(until(20, rules_follow, 0.1), "the rules follow to its new number in the switch", m.oracle.rules()[0])
    m.oracle = Oracle(m.p, m.ledger)


def test_dies_as_it_is_made(m):
    """A module that dies while its maker has not answered yet: who has it made hears of it, and not only when all are looked at, once a minute."""
    entry = m.install()
    passed = m.point(HOSTS, "create_pm.before_answer", "delay:500")
    for pids in m.processes_of(entry).values():
        os.kill(pids[0], signal.SIGKILL)
    until(20, lambda: m.point(HOSTS, "create_pm.before_answer") > passed, 0.01)
    second = [pids[0] for pids in m.processes_of(entry).values()]
    for pid in second:
        os.kill(pid, signal.SIGKILL)
    tests.check(second, "a module that is started again dies before its host has answered that it runs")
    m.settled("after that", 20)
    m.point(HOSTS, "create_pm.before_answer", "off")
    m.end(entry)


def test_removed_by_hand(m):
    """A process that was taken away with its folder when its allocation is deleted: its rings, its control group and its modules' names go all the same."""
    entry = m.install()
    (host, name), pids = next(iter(m.processes_of(entry).items()))
    (m.p.dir / f"hosts/{host}/modules/{name}").rename(m.p.scratch / name)
    os.kill(pids[0], signal.SIGKILL)
    m.end(entry)
    m.settled("a module was taken away by hand, then its allocation was deleted", 0)


def test_rings_of_nobody(m):
    """A module is connected while another call removes it: the multiplexer forgets it when nothing of it is left."""
    def rings():
        return m.oracle._judge_rings(m.oracle.processes())

    def call(task, **param):
        with flowstream.Client(m.p.dir) as client, contextlib.suppress(flowstream.Error):
            client.call(HOSTS[0], "run_task", task, {"name": "a9999.x", **param}, {"wait": 20}, deadline=30 * PATIENCE)

    def attempt():
        passed = m.point(HOSTS[:1], "create_pm.before_connect", "delay:500")
        m.point(HOSTS[:1], "delete_pm.before_end", "delay:1000")
        with ThreadPoolExecutor() as pool:
            pool.submit(call, "create_pm", type="Counter", args="", owner=9999)
            until(20, lambda: m.point(HOSTS[:1], "create_pm.before_connect") > passed, 0.01)
            pool.submit(call, "delete_pm")
        return rings()
    resource = m.p.process("resource")
    os.kill(resource, signal.SIGSTOP)  # nobody else takes away what is nobody's
    try:
        tests.check(until(20, attempt, 0), "a module that was removed while it was being connected has rings still")  # unless the regular set-up came between
        m.run(HOSTS[0], "setup_host")
        tests.same(rings(), [], "after the next set-up of the host it has none")
    finally:
        os.kill(resource, signal.SIGCONT)


# --- Switches ---

def test_switch_alone(m):
    """Whoever has one switch reconciled relies on it afterwards: he waits for those who are at it, who may have begun before."""
    entry = m.install()
    target = m.p.bridges()["tor0"]
    passed = m.point(("openflow",), "bundle.before_commit", "delay:1000")
    processes.run(["ovs-ofctl", "-OOpenFlow14", "del-flows", target, f"cookie={0xf105 << 48 | entry.id << 16:#x}/0xffffffffffff0000"])
    tests.check(until(20, lambda: m.point(("openflow",), "bundle.before_commit") > passed, 0.02), "the regular look has begun to put rules back")
    m.run("resource", "reconcile_switches", {"switch": "tor0"})
    tests.check([rule for rule in m.p.rules(entry.id) if rule.startswith("tor0:")], "when a second one is answered they are there", m.p.rules(entry.id))
    m.settled("after that")
    m.end(entry)


STORIES = (test_restore_what_goes, test_restore_what_cannot_go, test_restore_beside_the_reconciler, test_request_before_hosts, test_host_set_up_again, test_dies_as_it_is_made,
           test_removed_by_hand, test_rings_of_nobody, test_switch_alone, test_set_up_one_at_a_time)

with Platform(supervise=True) as platform:
    mended = Mended(platform)
    for story in STORIES:
        if sys.argv[1:] and story.__name__ not in sys.argv[1:]:
            continue
        begin = time.monotonic()
        with tests.story(story.__name__):
            story(mended)
        ready(platform)
        print(f"# {story.__name__}: {time.monotonic() - begin:.1f} s", flush=True)
    for standing in mended.ledger.of("installed", "deleting"):
        mended.ledger.delete(platform.client, standing.key)
    mended.settled("all deleted")
    logs = platform.logs()
    reports = [line for line in logs.splitlines() if "Sanitizer" in line or "runtime error:" in line or "Assertion" in line]
    tests.check(not reports, "no report of a sanitizer and no assertion in any log", "\n".join(reports))
tests.check(not platform.leftovers, "down leaves nothing", platform.leftovers)
tests.end()

"""Everything at the same time: clients install, delete, plan, show, connect by hand, drain, back up, upgrade and ask for rubbish, while others ask for all that daemons tell and have
the platform file read again and again.  Nobody dies here; it is for what threads do to each other, so its place is under ThreadSanitizer (docs/testing.md).

What there is must be what was answered; the judge is tests/lib/oracle.py.  bench/faults/hour.py is the long version, with faults.
"""

import os
import sys
import threading
import time
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from flowtest import PATIENCE, Platform, Tests, flowstream, need_root_of_namespaces, until  # noqa: E402
from mixed import ACTIONS, CHAIN, DAEMONS, Load  # noqa: E402
from oracle import Ledger, Oracle  # noqa: E402

need_root_of_namespaces()
tests = Tests()
SECONDS = float(os.environ.get("FLOWSTREAM_SECONDS", 6 * PATIENCE))
SEED = int(os.environ.get("FLOWSTREAM_SEED", time.time()))
CLIENTS = 8
ENOUGH = 20  # actions: fewer are no load
ACTIONS.update(drain=2, backup=3, upgrade=5)  # what is rare in an hour's load should happen in seconds


def metrics(p, client):
    """/metrics of all daemons, as Prometheus asks for them."""
    for daemon in DAEMONS:
        user, _, address = client.url(daemon).partition("://")[2].partition("@")
        manager = urllib.request.HTTPPasswordMgrWithPriorAuth()
        manager.add_password(None, f"http://{address}", *user.split(":", 1), is_authenticated=True)
        url = f"http://{address.partition('/')[0]}/metrics"
        with urllib.request.build_opener(urllib.request.HTTPBasicAuthHandler(manager)).open(url, timeout=30 * PATIENCE) as answer:
            answer.read()


def read_platform(p, client):
    client.call("resource", "apply_platform", (p.dir / "platform.xml").read_text(), {"check": True})


def statistics(p, client):
    for daemon in DAEMONS:
        for method in ("get_statistics", "list_tasks", "list_versions", "system.listMethods"):
            client.call(daemon, method)


def lists(p, client):
    client.list_hosts()
    client.get_drift()
    client.get_pm_info()
    client.collect_garbage(dry_run=True)
    for daemon, method in (("openflow", "list_switches"), ("openflow", "get_statistics"), ("monitoring", "get_sample")):
        client.call(daemon, method)


def plans(p, client):
    """What a plan tries out and takes back comes between the steps of installations."""
    for _ in range(10):
        client.plan_allocation(CHAIN.format(name="plan", port=60002))


class Curious:
    """Threads that ask for one thing each, again and again."""

    def __init__(self, p, *questions):
        self.p, self.end, self.asked, self.problems = p, threading.Event(), {ask.__name__: 0 for ask in questions}, []
        self.threads = [threading.Thread(target=self._run, args=(ask,), daemon=True) for ask in questions]
        for thread in self.threads:
            thread.start()

    def _run(self, ask):
        with flowstream.Client(self.p.dir, deadline=30 * PATIENCE) as client:
            while not self.end.is_set():
                try:
                    ask(self.p, client)
                    self.asked[ask.__name__] += 1
                except Exception as error:  # noqa: BLE001: whatever it is, it is the result of the test
                    self.problems.append(f"{ask.__name__}: {type(error).__name__}: {error}")
                self.end.wait(0.1)

    def stop(self):
        self.end.set()
        for thread in self.threads:
            thread.join()


def test_all_together(p):
    ledger = Ledger(p.scratch / "ledger")
    oracle = Oracle(p, ledger)
    pids = {daemon: p.process(daemon) for daemon in DAEMONS}
    tests.check(ledger.install(p.client, "stream", CHAIN.format(name="stream", port=60001), ("a", "b")), "one whose packets a bad request wants", ledger.entries["stream"].words)
    load, curious = Load(p, ledger, SEED, CLIENTS), Curious(p, metrics, read_platform, statistics, lists, plans)
    load.go.set()
    time.sleep(SECONDS)
    tests.check(load.pause(), "every call has ended")
    curious.stop()
    done = {action: load.done[action, "done"] for action in ACTIONS}
    print(f"# {done} {curious.asked}")
    tests.check(sum(done.values()) >= ENOUGH and done["install or delete"] and all(curious.asked.values()), "it was a load, and everything was asked for", (done, curious.asked))
    tests.same(curious.problems, [], "every question was answered")
    tests.same({daemon: p.process(daemon) for daemon in DAEMONS}, pids, "every daemon is the same process")
    for host in ("h1", "h2", "h3"):
        p.client.drain_host(host, False)
    tests.same([str(entry) for entry in ledger.resolve(p.client)], [], "every call got a final answer")
    tests.same(oracle.settle(30), [], f"with {ledger.count('installed')} standing there is what was answered, once, and nothing else")
    load.stop()
    for entry in reversed(ledger.of("installed")):
        ledger.delete(p.client, entry.key)
    ledger.resolve(p.client)
    tests.check(not oracle.settle(30) and not ledger.of("installed", "deleting"), "when all are deleted no trace is left", "\n".join(oracle.verdict()))
    tests.check(until(10, lambda: not p.client.get_drift()["differences"]), "and nothing differs from what is wanted")


print(f"# FLOWSTREAM_SEED={SEED} repeats the choices of this run", flush=True)
with Platform() as platform:
    with tests.story("all together"):
        test_all_together(platform)
tests.check(not platform.leftovers, "down leaves nothing", platform.leftovers)
tests.end()

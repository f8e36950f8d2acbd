"""Nothing lost, nothing left: clients install and delete while random daemons are killed; then what there is, is what was answered.

The judge is tests/lib/oracle.py, which asks switches and kernel, not the store.  bench/faults/nothing_lost.py is the long version.
"""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from chaos import Chaos  # noqa: E402
from flowtest import PATIENCE, SANITIZED, Platform, Tests, need_root_of_namespaces, until  # noqa: E402
from oracle import Ledger, Oracle  # noqa: E402
from traffic import send, udp, watch  # noqa: E402

need_root_of_namespaces()
tests = Tests()
SECONDS = float(os.environ.get("FLOWSTREAM_SECONDS", 6 if SANITIZED else 8))
ALL = ("pm", "openflow", "monitoring", "resource", "modulehost:h1", "modulehost:h2", "modulehost:h3")
CHAIN = 'NAME=s\nin :: FromNet("in_port=net0,udp,tp_dst=1999")\nin -> a :: Counter("") -> b :: Counter("") -> ToNet("net1")\n'


def test_the_oracle_itself(p, ledger, oracle):
    """An oracle that cannot say no is none: what is broken by hand is named."""
    ledger.install(p.client, "standing", CHAIN, ("a", "b"))
    id_ = ledger.entries["standing"].id
    tests.same(oracle.verdict(), [], "an allocation that was answered and is there: no problem")
    name, target = sorted(p.bridges().items())[-1]
    os.kill(p.process("openflow"), signal.SIGSTOP)  # the reconciler would take it away at once
    try:
        subprocess.run(["ovs-ofctl", "-OOpenFlow14", "add-flow", target, f"cookie={0xf105 << 48 | 4711 << 16:#x},table=30,priority=7,actions=drop"], check=True)
        verdict = oracle.verdict()
        tests.check(any(f"1 rules of allocation 4711 in {name}" in line for line in verdict), "a rule of nobody is named", verdict)
    finally:
        os.kill(p.process("openflow"), signal.SIGCONT)
    tests.check(until(20, lambda: oracle.verdict() == []), "and taken away by the reconciler")
    entry = ledger.entries["standing"]
    entry.fate = "deleted"
    said = "\n".join(oracle.verdict())
    tests.check(all(words in said for words in (f"allocation {id_} (s, installed) is listed", f"rules of allocation {id_}", f"process of module a{id_}.a",
                                                f"folder of module a{id_}.b")), "an allocation that should be gone is named by every witness", said)
    entry.fate, entry.id = "installed", 4712
    said = "\n".join(oracle.verdict())
    tests.check(all(words in said for words in ("LOST: standing (allocation 4712", "module a4712.a runs nowhere")), "one that is not there is named", said)
    entry.id = id_


def test_an_order_that_is_sent_again(p, ledger, oracle):
    """Module hosts die with modules half started; the order reaches the next daemon, which finds them there, over the socket that the supervisor holds."""
    multiplexers, before = list(oracle.multiplexers().values()), set(p.dir.glob("hosts/*/modules/a*/pid"))
    for pid in multiplexers:
        os.kill(pid, signal.SIGSTOP)
    try:
        with ThreadPoolExecutor() as pool:
            installing = pool.submit(ledger.install, p.client, "again", CHAIN.replace("1999", "1998"), ("a", "b"))
            begun = until(10, lambda: set(p.dir.glob("hosts/*/modules/a*/pid")) - before)
            for host in {path.parts[-4] for path in begun}:
                os.kill(p.process(f"modulehost:{host}"), signal.SIGKILL)
            for pid in multiplexers:
                os.kill(pid, signal.SIGCONT)
            good = installing.result()
    finally:
        for pid in multiplexers:
            os.kill(pid, signal.SIGCONT)
    tests.check(begun and good, "a module host is killed with modules half started: they are started anew by the same order", ledger.entries["again"])
    tests.same(oracle.settle(20), [], "once, and the oracle finds nothing")


def test_random_kills(p, ledger, oracle, seed):
    chaos = Chaos(p, ledger, seed, ALL)
    chaos.run(clients=3, kill_every=0.6, seconds=SECONDS)
    print(f"# {len(chaos.kills)} kills: {' '.join(chaos.kills)}")
    print(f"# {ledger.count('installed')} installed, {ledger.count('deleted')} deleted, {ledger.count('refused')} refused, "
          f"{ledger.count('sent', 'deleting')} not answered; an operation took {max(chaos.latencies):.1f} s at most")
    tests.check(len(chaos.kills) >= 4 and ledger.count("deleted") >= 2, "there were kills, and work in spite of them", chaos.kills)
    tests.check(chaos.settled(), "all daemons are back")
    open_ = ledger.resolve(p.client)
    tests.check(not open_, "what was not answered gets a final answer when asked again with the same key", "\n".join(map(str, open_)))
    problems = oracle.settle(30)
    tests.check(not problems, f"seed {seed}: after {len(chaos.kills)} kills all that was answered is there, once, and nothing else", "\n".join(problems))
    with watch(p, "net1") as out:
        send(p, "net0", [udp(n, 1999) for n in range(50)])
        out.wait(50, 10 * PATIENCE)
    tests.same(out.received, 50, "an allocation from before still carries traffic")
    for entry in ledger.of("installed"):
        ledger.delete(p.client, entry.key)
    ledger.resolve(p.client)
    problems = oracle.settle(30)
    tests.check(not problems and not ledger.of("installed", "deleting"), "when all are deleted no trace is left", "\n".join(problems))


SEED = int(os.environ.get("FLOWSTREAM_SEED", time.time()))
print(f"# FLOWSTREAM_SEED={SEED} repeats the choices of this run", flush=True)
with Platform(supervise=True) as platform:
    the_ledger = Ledger(platform.scratch / "ledger")
    the_oracle = Oracle(platform, the_ledger)
    with tests.story("the oracle"):
        test_the_oracle_itself(platform, the_ledger, the_oracle)
    with tests.story("sent again"):
        test_an_order_that_is_sent_again(platform, the_ledger, the_oracle)
    with tests.story("random kills"):
        test_random_kills(platform, the_ledger, the_oracle, SEED)
    reports = platform.logs()
    tests.check("Sanitizer" not in reports and "runtime error:" not in reports and "Assertion" not in reports, "no report of a sanitizer and no assertion in any log",
                "\n".join(line for line in reports.splitlines() if "Sanitizer" in line or "runtime error:" in line or "Assertion" in line))
tests.check(not platform.leftovers, "down leaves nothing", platform.leftovers)
tests.end()

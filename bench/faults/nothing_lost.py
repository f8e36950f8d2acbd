#!/usr/bin/python3
"""1,000 installs and deletes by 8 clients, a random daemon killed (kill -9) every second: is what there is what was answered?

usage: nothing_lost.py [--operations N] [--clients N] [--every SECONDS] [--seed N] [--unsupervised]

The verdict is tests/lib/oracle.py's, which asks switches and kernel.  Exit status 1: something was lost or left; each is named.
"""

import argparse
import os
import sys
import time
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests" / "lib"))
sys.path.insert(0, str(TOP / "bench" / "platform"))

from chaos import Chaos  # noqa: E402
from flowtest import Platform  # noqa: E402
from measuring import machine, percentile, table  # noqa: E402
from oracle import Ledger, Oracle  # noqa: E402

DAEMONS = ("pm", "openflow", "monitoring", "resource", "modulehost:h1", "modulehost:h2", "modulehost:h3")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--operations", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--every", type=float, default=1.0, help="seconds between kills, on average (default: 1)")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--victims", nargs="*", default=DAEMONS, help="names as in 'flowstream status' (default: all daemons)")
    parser.add_argument("--unsupervised", action="store_true", help="start again with 'flowstream start' instead of by the supervisor")
    options = parser.parse_args()
    machine()
    print(f"seed {options.seed}", flush=True)
    with Platform(supervise=not options.unsupervised) as p:
        ledger = Ledger(p.scratch / "ledger")
        oracle = Oracle(p, ledger)
        chaos = Chaos(p, ledger, options.seed, options.victims)
        begin = time.monotonic()
        chaos.run(options.clients, options.every, operations=options.operations)
        took = time.monotonic() - begin
        unanswered, refused = ledger.count("sent", "deleting"), ledger.count("refused")
        begin = time.monotonic()
        back = chaos.settled()
        open_ = ledger.resolve(p.client)
        problems = oracle.settle(40)
        mended = time.monotonic() - begin
        standing = ledger.count("installed")
        for entry in ledger.of("installed"):
            ledger.delete(p.client, entry.key)
        ledger.resolve(p.client)
        rest = oracle.settle(40)
        if os.environ.get("FLOWSTREAM_KEEP_LOGS"):
            Path(os.environ["FLOWSTREAM_KEEP_LOGS"]).write_text(p.logs())
    table(("what", "figure"), [
        ("operations, clients, seconds", f"{len(chaos.latencies)}, {options.clients}, {took:.0f}"),
        ("kill -9 of random daemons", len(chaos.kills)),
        ("an operation: median, 99 %, slowest, s", f"{percentile(chaos.latencies, 50):.3f}, {percentile(chaos.latencies, 99):.2f}, {max(chaos.latencies):.2f}"),
        ("refused, without an answer", f"{refused}, {unanswered}"),
        ("without a final answer when asked again", len(open_)),
        ("standing at the end", standing),
        ("seconds until wanted = actual", f"{mended:.1f}"),
        ("lost or left, with those standing", len(problems)),
        ("lost or left, all deleted", len(rest))])
    for line in [str(entry) for entry in open_] + problems + rest + ([] if back else ["not all daemons came back"]):
        print(line)
    return 1 if open_ or problems or rest or not back else 0


sys.exit(main())

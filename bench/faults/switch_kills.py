#!/usr/bin/python3
"""ovs-vswitchd killed (kill -9) with 10,000 rules in a switch: how long until all are back, and where that time goes.

usage: switch_kills.py [--times N] [--rules N] [--seed N]

Wall clock from the kill: until the new process runs, until the switch takes connections, until it has all rules, as ovs-ofctl says. It is killed at a random moment, of a
process that ran for more than 2 s (the supervisor lets one that ends sooner wait). Exit status 1: rules did not come back, or other ones.
"""

import argparse
import contextlib
import os
import random
import signal
import socket
import sys
import time
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests" / "lib"))
sys.path.insert(0, str(TOP / "bench" / "platform"))
sys.path.insert(0, str(TOP / "bench" / "faults"))

from recovery import await_all, count_rules  # noqa: E402  (first: it looks for its own neighbours)
from flowtest import Platform, until  # noqa: E402
from measuring import machine, percentile, table  # noqa: E402

EACH = 500


def connect(p, rules):
    """Connections by hand: any number of rules and no module for each; two ways out, for no link has room for all."""
    server, made = p.server(), 0
    target = p.bridges()["tor0"]
    while count_rules(target) < rules:
        out = ("net1", "tun1")[made // EACH % 2]
        lines = [f'in{n} :: FromNet("udp,tp_dst={1000 + made + n}"); in{n} -> out' for n in range(EACH)]
        answer = server.create_connections("tor0", 10, f'out :: ToNet("{out}"); ' + "; ".join(lines))
        if answer["code"]:
            raise RuntimeError(answer["message"])
        made += EACH
    return count_rules(target)


def listens(path):
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.connect(str(path))
        return True
    return False


def spent(pid):
    """Seconds of processor time of a process."""
    with contextlib.suppress(OSError, TypeError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def kill(p, target, wanted):
    """Seconds until it runs, listens, has all rules; and what that took of the processor in the new process, the openflow and the resource daemon."""
    before = p.process("ovs-vswitchd")
    already = [spent(p.process(name)) for name in ("openflow", "resource")]
    os.kill(before, signal.SIGKILL)
    begin, took = time.monotonic(), []
    for is_there in (lambda: p.process("ovs-vswitchd") not in (None, before), lambda: listens(target.partition(":")[2]), lambda: count_rules(target) >= wanted):
        if not until(60, is_there, 0.01):
            raise RuntimeError(f"{count_rules(target)} of {wanted} rules are back after 60 s")
        took.append(time.monotonic() - begin)
    return took + [spent(p.process("ovs-vswitchd"))] + [spent(p.process(name)) - was for name, was in zip(("openflow", "resource"), already)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--rules", type=int, default=10000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    machine()
    print(f"seed {options.seed}")
    chance, took = random.Random(options.seed), []
    with Platform(supervise=True) as p:
        wanted, target = connect(p, options.rules), p.bridges()["tor0"]
        rules = sorted(rule.partition("table=")[2] for rule in p.rules())
        for _ in range(options.times):
            await_all(p, 60)
            time.sleep(2 + chance.random() * 2)
            took.append(kill(p, target, wanted))
        in_step = await_all(p, 60)
        same = len(p.rules()) == len(rules)
        if os.environ.get("FLOWSTREAM_KEEP_LOGS"):
            Path(os.environ["FLOWSTREAM_KEEP_LOGS"]).write_text(p.logs())
    rows = [(what, f"{percentile(one, 50):.3f}", f"{percentile(one, 95):.3f}", f"{max(one):.3f}")
            for what, one in zip(("ovs-vswitchd runs", "it takes connections", f"all {wanted} rules are back", "processor time of ovs-vswitchd", "of the openflow daemon",
                              "of the resource daemon"), zip(*took))]
    table((f"kill -9, {options.times} times: seconds until", "median", "95 %", "longest"), rows)
    print(f"longer than 1 s: {sum(one[2] > 1 for one in took)} of {len(took)}; at the end in step: {in_step}, as many rules as before: {same}")
    return 0 if in_step and same else 1


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""How fast rules get into a switch: fs_switch_apply() against ovs-ofctl, same rules, same switch, same run.

Starts a private Open vSwitch in a network namespace. Every number is the median of the rounds (--rounds N, default 5); each
round begins with an empty switch. Times are of the whole call; that of ovs-ofctl has its start in it, as users have it.
"""

import argparse
import os
import statistics
import sys
import time

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
sys.path[:0] = [os.path.join(TOP, "tests", "openflow"), os.path.join(TOP, "tests", "unit")]
import private_ovs as ovs
from test_openflow import ALL_OURS, DELETE_COOKIE, SPACE, Tool, add, cookie

FOREIGN = 10000


def rule(i):
    return "table=2,priority=%d,in_port=net0,ip,nw_dst=10.%d.%d.%d,actions=output:h1-up" % (
        100 + i % 7, i >> 16 & 255, i >> 8 & 255, i & 255)


def apply_once(tool, n):
    status, text, ms = tool.apply(*[add(rule(i), cookie(1 + (i >> 16), i & 0xffff)) for i in range(n)], deadline=60000)
    if status != "ok":
        raise RuntimeError(text)
    return ms


def ofctl_once(switch, n):
    path = switch.folder + "/rules"
    with open(path, "w") as f:
        f.writelines("cookie=%#x,%s\n" % (cookie(1), rule(i)) for i in range(n))
    since = time.monotonic()
    switch.ofctl("add-flows", "br0", path, "--bundle")
    return (time.monotonic() - since) * 1e3


def measure(tool, once, rounds):
    times = []
    for _ in range(rounds):
        times.append(once())
        status, text, _ = tool.apply((DELETE_COOKIE, "", SPACE, ALL_OURS), deadline=60000)
        if status != "ok":
            raise RuntimeError(text)
    return statistics.median(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    reason = ovs.missing()
    if reason:
        sys.exit("bundles.py: " + reason)
    ovs.enter_namespace()
    with ovs.Switch() as switch:
        ovs.veth("net0", "net0-peer")
        ovs.veth("h1-up", "h1-peer")
        switch.bridge("br0", "net0", "h1-up")
        tool = Tool()
        tool.ask("switch", "br0", switch.management("br0"))
        tool.ask("probe", 5000)
        print("%8s %9s %14s %14s %12s %14s %8s" % ("foreign", "rules", "apply ms", "rules/s", "ofctl ms", "rules/s", "times"))
        for foreign in (0, FOREIGN):
            if foreign:
                path = switch.folder + "/foreign"
                with open(path, "w") as f:
                    f.writelines("table=9,ip,nw_dst=11.0.%d.%d,actions=drop\n" % (i >> 8, i & 255) for i in range(foreign))
                switch.ofctl("add-flows", "br0", path, "--bundle")
            for n in (1, 10, 100, 1000, 10000):
                ours = measure(tool, lambda: apply_once(tool, n), rounds)
                theirs = measure(tool, lambda: ofctl_once(switch, n), rounds)
                print("%8d %9d %14.2f %14.0f %12.2f %14.0f %8.1f" % (foreign, n, ours, n / ours * 1e3, theirs, n / theirs * 1e3,
                                                                   theirs / ours), flush=True)
        tool.end()


if __name__ == "__main__":
    main()

#!/usr/bin/python3
"""A platform of many racks on one machine: how long it takes to come up, what it costs, and whether installing takes longer on it than on a small one.

usage: racks.py [--sizes 1x3,5x4,20x10] [--installs N] [--seconds S]

All sizes are measured in the same run, one after the other.  up, status and down are whole commands, with their process; install and delete are calls of the client,
each a chain of two modules from net0 to net1, which are in the first and the last rack; memory is the sum of PSS of all processes; idle work is the processor time of
all processes in the silent seconds, in percent of one core.  On a busy machine look at the processor time of up rather than at its seconds.
"""

import argparse
import os
import time

from footprint import activity, memory, processes
from measuring import machine, median, table, until

from flowtest import Platform  # after measuring, which knows where the library of tests is
from racks import racks

REQUEST = 'NAME=r{n}\nin :: FromNet("in_port=net0,ip,nw_src=10.{n}.0.1")\nin -> a :: Counter("") -> b :: Counter("") -> ToNet("net1")\n'


def timed(function, *arguments):
    begin = time.monotonic()
    value = function(*arguments)
    return time.monotonic() - begin, value


def worked(found):
    """Processor seconds so far, by kind of process."""
    kinds = {}
    for name, pid in found:
        kind = name.split(":")[0].split(" ")[0]
        kinds[kind] = kinds.get(kind, 0) + activity(pid)[0]
    return kinds


def busy(found, seconds):
    """Percent of one core that processes take while nothing is to be done, by kind."""
    before = worked(found)
    time.sleep(seconds)
    return {kind: 100 * (total - before[kind]) / seconds for kind, total in worked(found).items()}


def measure(n_racks, n_hosts, installs, seconds):
    platform = Platform()
    platform.platform_file = platform.scratch / "platform.xml"
    platform.platform_file.write_text(racks(n_racks, n_hosts))
    mine = sum(os.times()[:4])
    up, _ = timed(platform.__enter__)
    mine = sum(os.times()[:4]) - mine
    try:
        hosts = until(30, lambda: len(platform.client.hosts_up()) == n_racks * n_hosts)
        if not hosts:
            raise SystemExit(f"{n_racks}x{n_hosts}: not all hosts are up")
        status, done = timed(platform.command, "status")
        if done.returncode:
            raise SystemExit(f"{n_racks}x{n_hosts}: {done.stdout}{done.stderr}")
        found = processes(platform)
        work = mine + sum(worked(found).values())
        pss = sum(memory(pid)[1] for _, pid in found) / 1024
        idle = busy(found, seconds)
        came, went = [], []
        for n in range(installs):
            took, id_ = timed(platform.client.install_allocation, REQUEST.format(n=n))
            came.append(took)
            went.append(timed(platform.client.delete_allocation, id_)[0])
    finally:
        down, _ = timed(platform.__exit__, None, None, None)
    if platform.leftovers:
        raise SystemExit(f"{n_racks}x{n_hosts}: left over: {platform.leftovers}")
    print(f"{n_racks}x{n_hosts} idle: " + ", ".join(f"{kind} {percent:.1f} %" for kind, percent in sorted(idle.items(), key=lambda x: -x[1])), flush=True)
    return [f"{n_racks} racks x {n_hosts} hosts", f"{up:.1f} s", f"{work:.1f} s", len(found), f"{pss:.0f} MB", f"{sum(idle.values()):.0f} %", f"{status:.2f} s", f"{1000 * median(came):.0f} ms",
            f"{1000 * median(went):.0f} ms", f"{down:.1f} s"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="1x3,5x4,20x10", help="RACKSxHOSTS, separated by commas (default 1x3,5x4,20x10)")
    parser.add_argument("--installs", type=int, default=20, help="on each platform (default 20)")
    parser.add_argument("--seconds", type=float, default=10, help="of silence (default 10)")
    options = parser.parse_args()
    machine()
    rows = [measure(*map(int, size.split("x")), options.installs, options.seconds) for size in options.sizes.split(",")]
    table(["platform", "up", "processor time", "processes", "memory", "idle", "status", "install", "delete", "down"], rows)


if __name__ == "__main__":
    main()

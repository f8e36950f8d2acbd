#!/usr/bin/python3
"""How long an installation takes while 0, 100, 300, 1,000 others are there, and where the time goes.

usage: latency.py [--present N,N,...] [--installs N] [--pause SECONDS]

The one that is timed has three modules over two hosts, the others two modules each over two hosts.  What is timed is the call of install_allocation and
delete_allocation over one kept-alive connection.  The steps are the daemons' own account (list_tasks), divided by installs; what the daemons do at regular times is left out.
"""

import argparse
import time

from crowd import RoomyPlatform, account, chain, grow
from measuring import machine, median, percentile, table

REGULAR = {"settle", "sweep", "prepare_platform", "setup_host", "register_host", "collect", "base_rules"}


def measure(platform, installs, pause):
    """Times of installing and deleting, and the seconds a call of each task."""
    client, times = platform.client, {"install": [], "delete": []}
    before = account(client)
    for _ in range(installs):
        begin = time.monotonic()
        allocation = client.install_allocation(chain(9, 3, name="timed"))
        between = time.monotonic()
        client.delete_allocation(allocation)
        times["install"].append(between - begin)
        times["delete"].append(time.monotonic() - between)
        time.sleep(pause)
    steps = {}
    for key, (calls, seconds) in account(client).items():
        old_calls, old_seconds = before.get(key, (0, 0))
        if calls > old_calls:
            steps[key] = (seconds - old_seconds) / (calls - old_calls)
    return times, steps


def ms(seconds):
    return f"{seconds * 1e3:.1f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--present", default="0,100,300,1000", help="how many others are there (default 0,100,300,1000)")
    parser.add_argument("--installs", type=int, default=100, help="that are timed, at each step (default 100)")
    parser.add_argument("--pause", type=float, default=0.02, help="seconds between two (default 0.02)")
    options = parser.parse_args()
    machine()
    steps, rows, present = {}, [], [int(n) for n in options.present.split(",")]
    with RoomyPlatform() as platform:
        for n in present:
            grown = grow(platform, n)
            time.sleep(2)
            times, steps[n] = measure(platform, options.installs, options.pause)
            for what, values in times.items():
                rows.append([f"{what}, {n} others", len(values), ms(median(values)), ms(percentile(values, 99)), ms(min(values)), ms(max(values))])
            print(f"{n} others were there after {grown:.1f} s", flush=True)
        table(["three modules, two hosts", "times", "median ms", "99 % ms", "least", "most"], rows)
        names = sorted({key for step in steps.values() for key in step if key[1] not in REGULAR}, key=lambda key: -steps[present[0]].get(key, 0))
        table(["daemon: task, mean ms a call", *(f"{n} others" for n in present)],
              [[f"{daemon}: {task}", *(ms(steps[n].get((daemon, task), 0)) for n in present)] for daemon, task in names])
        begin = time.monotonic()
    print(f"taken down in {time.monotonic() - begin:.1f} s")


main()

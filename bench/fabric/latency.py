#!/usr/bin/python3
"""How long an installation takes while 0, 100, 300, 1,000 others are there, and where the time goes.

usage: latency.py [--present N,N,...] [--installs N] [--pause SECONDS]

One platform for each number, all alive at the same time, and the timed installations go round them: so all meet the same disturbances.  The one that is timed has three modules
over two hosts, the others two modules each over two hosts.  What is timed is the call of install_allocation and of delete_allocation over one kept-alive connection.  The steps
are the daemons' own account (list_tasks); processor time is that of all daemons, multiplexers and switches of the platform during the timed calls, less what they take when nothing is done.
"""

import argparse
import contextlib
import time

from crowd import RoomyPlatform, chain, cpu_of, grow, processes
from measuring import account, machine, median, percentile, table

REGULAR = {"settle", "sweep", "prepare_platform", "setup_host", "register_host", "collect", "base_rules"}


def time_one(client, times):
    begin = time.monotonic()
    allocation = client.install_allocation(chain(9, 3, name="timed"))
    between = time.monotonic()
    client.delete_allocation(allocation)
    times["install"].append(between - begin)
    times["delete"].append(time.monotonic() - between)


def account_between(before, after):
    """Mean seconds a call of each task."""
    steps = {}
    for key, (calls, seconds) in after.items():
        old_calls, old_seconds = before.get(key, (0, 0))
        if calls > old_calls:
            steps[key] = (seconds - old_seconds) / (calls - old_calls)
    return steps


def cpu(platform):
    return sum(cpu_of(pid) for _, pid in processes(platform))


def measure(platforms, installs, pause):
    times = {n: {"install": [], "delete": []} for n in platforms}
    idle = {n: cpu(platform) for n, platform in platforms.items()}
    begin = time.monotonic()
    time.sleep(10)
    quiet = time.monotonic() - begin
    idle = {n: (cpu(platform) - idle[n]) / quiet for n, platform in platforms.items()}
    before, used = {n: account(platform.client) for n, platform in platforms.items()}, {n: cpu(platform) for n, platform in platforms.items()}
    begin = time.monotonic()
    for _ in range(installs):
        for n, platform in platforms.items():
            time_one(platform.client, times[n])
            time.sleep(pause)
    seconds = time.monotonic() - begin
    used = {n: (cpu(platform) - used[n] - idle[n] * seconds) / installs for n, platform in platforms.items()}
    return times, {n: account_between(before[n], account(platform.client)) for n, platform in platforms.items()}, used, idle


def ms(seconds):
    return f"{seconds * 1e3:.1f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--present", default="0,100,300,1000", help="how many others are there (default 0,100,300,1000)")
    parser.add_argument("--installs", type=int, default=100, help="that are timed, on each platform (default 100)")
    parser.add_argument("--pause", type=float, default=0.02, help="seconds between two (default 0.02)")
    options = parser.parse_args()
    machine()
    with contextlib.ExitStack() as stack:
        platforms = {int(n): stack.enter_context(RoomyPlatform()) for n in options.present.split(",")}
        for n, platform in platforms.items():
            print(f"{n} others were there after {grow(platform, n):.1f} s", flush=True)
        time.sleep(5)
        times, steps, used, idle = measure(platforms, options.installs, options.pause)
        rows = [[f"{what}, {n} others", len(values), ms(median(values)), ms(percentile(values, 99)), ms(min(values)), ms(max(values))]
                for what in ("install", "delete") for n in platforms for values in [times[n][what]]]
        print()
        table(["three modules, two hosts", "times", "median ms", "99 % ms", "least", "most"], rows)
        table(["of all daemons, multiplexers, switches", *(f"{n} others" for n in platforms)],
              [["processor ms, an install and delete", *(ms(used[n]) for n in platforms)], ["% of a core while nothing is done", *(f"{idle[n] * 100:.1f}" for n in platforms)]])
        first = next(iter(platforms))
        names = sorted({key for step in steps.values() for key in step if key[1] not in REGULAR}, key=lambda key: -steps[first].get(key, 0))
        table(["daemon: task, mean ms a call", *(f"{n} others" for n in platforms)], [[f"{daemon}: {task}", *(ms(steps[n].get((daemon, task), 0)) for n in platforms)] for daemon, task in names])


if __name__ == "__main__":
    main()

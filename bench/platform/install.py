#!/usr/bin/python3
"""How long installing and deleting a chain of two modules on two hosts takes, and where the time goes.

usage: install.py [--installs N] [--rounds N] [--pause SECONDS] [--against BUILD]

Each round makes a platform and takes it down; with --against the builds take turns, so that both meet the same disturbances.  What is timed is the
call of install_allocation and delete_allocation over one kept-alive connection.  The steps are the daemons' own account (list_tasks): a step that
calls others holds their time as well.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from measuring import OWN_BUILD, PlacedPlatform, account, chain, commit_of, machine, median, percentile, table

HOSTS = ["h1", "h2"]


def measure(installs, pause):
    """One platform: a dictionary of times, for the parent to print."""
    request = chain(HOSTS, 2)
    begin = time.monotonic()
    with PlacedPlatform() as platform:
        ready = time.monotonic() - begin
        client = platform.client
        begin = time.monotonic()
        first = client.install_allocation(request)
        cold = time.monotonic() - begin
        placed = [m["host"] for m in client.get_allocation(first)["modules"]]
        if sorted(placed) != HOSTS:
            raise RuntimeError(f"the modules are on {placed}, not on {HOSTS}")
        client.delete_allocation(first)
        before, times = account(client), {"install": [], "delete": []}
        for _ in range(installs):
            begin = time.monotonic()
            allocation = client.install_allocation(request)
            between = time.monotonic()
            client.delete_allocation(allocation)
            times["install"].append(between - begin)
            times["delete"].append(time.monotonic() - between)
            time.sleep(pause)
        steps = []
        for key, (calls, seconds) in account(client).items():
            old_calls, old_seconds = before.get(key, (0, 0))
            if calls > old_calls:
                steps.append([*key, (calls - old_calls) / installs, (seconds - old_seconds) / (calls - old_calls)])
    return {"up": ready, "cold": cold, **times, "steps": steps}


def in_child(build, options):
    environment = {**os.environ, "FLOWSTREAM_BUILD": str(build), "FLOWSTREAM_PREFIX": str(build), "FLOWSTREAM_BENCH_BUILD": str(OWN_BUILD)}
    done = subprocess.run([sys.executable, __file__, "--child", "--installs", str(options.installs), "--pause", str(options.pause)],
                          env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def ms(seconds):
    return f"{seconds * 1e3:.1f}"


def show_times(builds, results):
    rows = []
    for build in builds:
        for what in ("install", "delete"):
            times = [t for result in results[build] for t in result[what]]
            rows.append([f"{what}, {commit_of(build)}", len(times), *(ms(t) for t in (median(times), percentile(times, 99), min(times), max(times)))])
        for what, key in (("first install", "cold"), ("platform up and prepared", "up")):
            times = [result[key] for result in results[build]]
            rows.append([f"{what}, {commit_of(build)}", len(times), ms(median(times)), "", ms(min(times)), ms(max(times))])
    table(["two modules, two hosts", "times", "median ms", "99 % ms", "least", "most"], rows)


def show_steps(build, results):
    sums = {}
    for result in results:
        for daemon, task, calls, mean in result["steps"]:
            sums.setdefault((daemon, task), []).append((calls, mean))
    rows = [[f"{daemon}: {task}", f"{median(c for c, _ in found):.1f}", ms(median(m for _, m in found))] for (daemon, task), found in sums.items()]
    print(f"steps, {commit_of(build)}; regular tasks are among them")
    table(["daemon: task", "calls an install", "mean ms a call"], sorted(rows, key=lambda row: -float(row[1]) * float(row[2])))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--installs", type=int, default=100, help="installs and deletes a round (default 100)")
    parser.add_argument("--rounds", type=int, default=3, help="platforms a build (default 3)")
    parser.add_argument("--pause", type=float, default=0, help="seconds between two installs (default 0); the kernel's waits differ when installs are rare")
    parser.add_argument("--against", type=Path, help="another build folder to compare with, in turns")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(options.installs, options.pause)))
        return
    machine()
    builds = [OWN_BUILD] + ([options.against.resolve()] if options.against else [])
    results = {build: [] for build in builds}
    for _ in range(options.rounds):
        for build in builds:
            results[build].append(in_child(build, options))
    show_times(builds, results)
    for build in builds:
        show_steps(build, results[build])


main()

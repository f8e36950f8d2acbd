#!/usr/bin/python3
"""What modules cost traffic: round trip, packets a second and TCP through no module and 1 to 4, in one process, isolated, and on two hosts.

usage: traffic.py [--rounds N] [--seconds S] [--cases BEGINNING,...]

All on one platform: from net0 through the modules to net1, and straight back.  "none" is the same two ports with no request installed.  The cases take
turns in each round, so that all meet the same disturbances; the table shows the medians of the rounds.
"""

import argparse
import subprocess
import sys

from measuring import PlacedPlatform, chain, machine, median, table
from streams import PEER, PORT, load, start_servers, tcp, warm

# what it is called: the hosts in turn, the number of modules, whether each has a process of its own (else those of a host share one)
CASES = {
    "none": ([], 0, False),
    "1 module": (["h1"], 1, False),
    "2 modules, one host": (["h1"], 2, False),
    "2 modules, isolated": (["h1"], 2, True),
    "2 modules, two hosts": (["h1", "h2"], 2, False),
    "3 modules, one host": (["h1"], 3, False),
    "3 modules, two hosts": (["h1", "h2"], 3, False),
    "4 modules, one host": (["h1"], 4, False),
    "4 modules, isolated": (["h1"], 4, True),
    "4 modules, two hosts": (["h1", "h2"], 4, False),
}
USUAL = "none,1 module,3 modules"
SIZES = (64, 1400)


def measure(platform, name, seconds):
    hosts, modules, isolated = CASES[name]
    text = ("ISOLATE=yes\n" if isolated else "") + chain(hosts, modules) if modules else None
    allocation = platform.client.install_allocation(text) if text else None
    warm(platform)
    trips, middle, tail, _ = load(platform, "ask", PEER, PORT, str(seconds))
    result = {"trips": trips, "median": middle, "99": tail, "lost": 0}
    for size in SIZES:
        result[size], lost = load(platform, "send", PEER, PORT, str(size), str(seconds))
        result["lost"] += lost
    result["tcp"] = tcp(platform, seconds)
    if allocation is not None:
        seen = platform.modules(allocation)
        if len(seen) != modules or any(m["in"] < trips for m in seen.values()):
            raise RuntimeError(f"{name}: the traffic did not go through the modules: {seen}")
        platform.client.delete_allocation(allocation)
    return result


def show(results):
    rows = []
    for name, rounds in results.items():
        def middle(key):
            return median(r[key] for r in rounds)
        rows.append([name, int(sum(r["trips"] for r in rounds)), f"{middle('median'):.0f}", f"{middle('99'):.0f}",
                     *(f"{middle(size):.0f}" for size in SIZES), int(sum(r["lost"] for r in rounds)),
                     "no iperf3" if rounds[0]["tcp"] is None else f"{middle('tcp'):.0f}"])
    table(["net0 to net1 through", "round trips", "median us", "99 % us", *(f"packets/s, {size} bytes" for size in SIZES), "lost", "TCP Mbit/s"], rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2, help="of each measurement (default 2)")
    parser.add_argument("--cases", default=USUAL, help=f"those whose names begin with one of these (default \"{USUAL}\"); there are: {'; '.join(CASES)}")
    options = parser.parse_args()
    cases = [name for name in CASES if name.startswith(tuple(options.cases.split(",")))]
    machine()
    results = {name: [] for name in cases}
    with PlacedPlatform() as platform:
        servers = start_servers(platform)
        try:
            for _ in range(options.rounds):
                for name in cases:
                    results[name].append(measure(platform, name, options.seconds))
        finally:
            for server in servers:
                server.kill()
                server.wait()
    show(results)


if __name__ == "__main__":
    try:
        main()
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        sys.exit(f"traffic.py: {error}")

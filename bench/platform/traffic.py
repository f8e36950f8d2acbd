#!/usr/bin/python3
"""What modules cost traffic: round trip, packets a second and TCP through no module and 1 to 4, in one process, isolated, and on two hosts.

usage: traffic.py [--rounds N] [--seconds S]

All on one platform: from net0 through the modules to net1, and straight back.  "none" is the same two ports with no request installed.  The cases take
turns in each round, so that all meet the same disturbances; the table shows the medians of the rounds.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time

from measuring import OWN_BUILD, PlacedPlatform, chain, machine, median, table

LOAD = str(OWN_BUILD / "bench/platform/udp-load")
PEER, PORT, TCP_PORT = "10.9.0.2", "7007", "5201"
# what it is called: the hosts in turn, the number of modules, whether each has a process of its own
CASES = {
    "none": ([], 0, False),
    "1 module": (["h1"], 1, False),
    "2 modules, one process": (["h1"], 2, False),
    "4 modules, one process": (["h1"], 4, False),
    "2 modules, isolated": (["h1"], 2, True),
    "4 modules, isolated": (["h1"], 4, True),
    "3 modules, two hosts": (["h1", "h2"], 3, False),
}
SIZES = (64, 1400)


def load(platform, *argv):
    done = platform.run_in("net0", LOAD, *argv, timeout=60)
    if done.returncode:
        raise RuntimeError(f"udp-load {' '.join(argv)}: {done.stderr.strip()}")
    return [float(word) for word in done.stdout.split()]


def tcp(platform, seconds):
    """Mbit/s of one TCP stream, or None without iperf3."""
    if not shutil.which("iperf3"):
        return None
    done = platform.run_in("net0", "iperf3", "--json", "--client", PEER, "--port", TCP_PORT, "--time", str(seconds), timeout=60)
    answer = json.loads(done.stdout or "{}")
    if "end" not in answer or answer.get("error"):
        raise RuntimeError(f"iperf3: {answer.get('error') or done.stderr.strip()}")
    return answer["end"]["sum_received"]["bits_per_second"] / 1e6


def measure(platform, name, seconds):
    hosts, modules, isolated = CASES[name]
    text = ("ISOLATE=yes\n" if isolated else "") + chain(hosts, modules) if modules else None
    allocation = platform.client.install_allocation(text) if text else None
    load(platform, "ask", PEER, PORT, "0.2")  # addresses are known, the switches' caches are warm
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


def start_servers(platform):
    # The network port's own address resolution must be done before the first request steers IP away.
    platform.address("net0", "10.9.0.1/24")
    platform.address("net1", f"{PEER}/24")
    servers = [platform.start_in("net1", LOAD, "answer", PORT)]
    if shutil.which("iperf3"):
        servers.append(platform.start_in("net1", "iperf3", "--server", "--port", TCP_PORT))
    time.sleep(1)
    return servers


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
    options = parser.parse_args()
    machine()
    results = {name: [] for name in CASES}
    with PlacedPlatform() as platform:
        servers = start_servers(platform)
        try:
            for _ in range(options.rounds):
                for name in CASES:
                    results[name].append(measure(platform, name, options.seconds))
        finally:
            for server in servers:
                server.kill()
                server.wait()
    show(results)


try:
    main()
except (RuntimeError, subprocess.TimeoutExpired) as error:
    sys.exit(f"traffic.py: {error}")

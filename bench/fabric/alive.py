#!/usr/bin/python3
"""What 1,000 allocations with 2,000 modules, alive at once, do to one of them, and what they take.

usage: alive.py [--allocations N] [--rounds N] [--seconds S]

Two platforms, both alive: on one the measured request is alone, on the other it is one of the crowd.  Traffic goes from net0 through its two modules on two hosts to net1, and straight back; the
same traffic without any request (the ports of the first platform) is measured beside it.  The cases take turns, so that all meet the same disturbances.  Processor time a packet (of switch,
multiplexers and modules) says on a busy machine what rates cannot.
"""

import argparse
import sys
import time

from crowd import RoomyPlatform, cpu_of, grow, modules, processes
from footprint import memory
from measuring import machine, median, table
from streams import PEER, PORT, load, start_servers, tcp, warm

MEASURED = ('NAME=measured\nPRIORITY=9\nin :: FromNet("in_port=net0,ip,nw_dst=10.9.0.2")\n'
            'in -> a :: Counter {hosts=h1} -> b :: Counter {hosts=h2} -> ToNet("net1")\n')


def forwarding(platform):
    """Processor seconds so far of all that packets go through: switch, multiplexers, the modules of the measured request."""
    pids = [pid for name, pid in processes(platform) if name == "ovs-vswitchd" or name.startswith("mux ")]
    pids += [int(file.read_text().split()[0]) for file in (platform.dir / "hosts").glob(f"*/modules/a{platform.measured}.*/pid")]
    return sum(cpu_of(pid) for pid in pids)


def measure(platform, seconds):
    warm(platform)
    trips, middle, tail, _ = load(platform, "ask", PEER, PORT, str(seconds))
    busy = forwarding(platform)
    packets, lost = load(platform, "send", PEER, PORT, "64", str(seconds))
    busy = (forwarding(platform) - busy) / max(1, packets * seconds)
    return {"trips": trips, "median": middle, "99": tail, "packets": packets, "lost": lost, "cost": busy * 1e6, "tcp": tcp(platform, seconds)}


def through(platform, seconds):
    before = platform.modules(platform.measured)["b"]["in"]
    result = measure(platform, seconds)
    if platform.modules(platform.measured)["b"]["in"] - before < result["trips"]:
        raise RuntimeError("the traffic did not go through the modules")
    return result


def without(platform, seconds):
    """The same ports while nothing is installed."""
    platform.client.delete_allocation(platform.measured)
    platform.measured = 0
    result = measure(platform, seconds)
    platform.measured = platform.client.install_allocation(MEASURED)
    return result


def show_traffic(results):
    rows = []
    for name, rounds in results.items():
        def middle(key):
            return median(r[key] for r in rounds)
        rows.append([name, f"{middle('median'):.0f}", f"{middle('99'):.0f}", f"{middle('packets'):.0f}", f"{middle('cost'):.1f}", int(sum(r["lost"] for r in rounds)),
                     "no iperf3" if rounds[0]["tcp"] is None else f"{middle('tcp'):.0f}"])
    table(["net0 to net1", "round trip us", "99 % us", "packets/s, 64 bytes", "processor us a packet", "lost", "TCP Mbit/s"], rows)


def show_memory(platform, quiet):
    shares = sorted(memory(pid)[1] for pid in modules(platform))
    before = {pid: cpu_of(pid) for _, pid in processes(platform)}
    worked = sum(cpu_of(pid) for pid in modules(platform))
    time.sleep(quiet)
    table(["modules", "PSS of each, kB: median", "most", "all, MB", f"processor s in {quiet:.0f} s of silence, all"],
          [[len(shares), f"{median(shares):.0f}", shares[-1], f"{sum(shares) / 1024:.0f}", f"{sum(cpu_of(pid) for pid in modules(platform)) - worked:.2f}"]])
    table(["process", "PSS kB", "idle: % of a core"], [[name, memory(pid)[1], f"{(cpu_of(pid) - before[pid]) / quiet * 100:.1f}"] for name, pid in processes(platform)])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--allocations", type=int, default=1000, help="of two modules each, in the crowd (default 1000)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2, help="of each measurement (default 2)")
    parser.add_argument("--quiet", type=float, default=30, help="seconds of silence for what all do when nothing is to be done (default 30)")
    options = parser.parse_args()
    machine()
    servers = []
    with RoomyPlatform() as alone, RoomyPlatform() as crowded:
        try:
            for platform in (alone, crowded):
                servers += start_servers(platform)
                platform.measured = platform.client.install_allocation(MEASURED)
            print(f"{options.allocations} allocations were there after {grow(crowded, options.allocations + 1):.0f} s", flush=True)
            time.sleep(5)
            cases = {"no request": (without, alone), "alone": (through, alone), f"one of {options.allocations + 1:,}": (through, crowded)}
            results = {name: [] for name in cases}
            for _ in range(options.rounds):
                for name, (how, platform) in cases.items():
                    results[name].append(how(platform, options.seconds))
            show_traffic(results)
            show_memory(crowded, options.quiet)
        finally:
            for server in servers:
                server.kill()
                server.wait()


try:
    main()
except RuntimeError as error:
    sys.exit(f"alive.py: {error}")

#!/usr/bin/python3
"""What spreading costs: processor time a packet from net0 to net1 through one module of 1, 2, 4 and 8 instances, and the time to install that.

usage: instances.py [--rounds N] [--packets N] [--flows N]

"switch" is a request whose module stands behind the FromNet, so the switch chooses the instance; "host" has a module in front, whose multiplexer chooses.  Processor
time is that of all processes of the platform, read before and after so many packets at a rate that the machine can carry: it says what a packet costs and not how
many could pass, so that others who use the machine disturb it little.  The cases take turns in each round; the table shows medians.
"""

import argparse
import os
import socket
import struct
import sys
import time
from pathlib import Path

from measuring import TOP, machine, median, table

sys.path.insert(0, str(TOP / "tests" / "lib"))
from flowtest import Platform, until  # noqa: E402
from flowstream import netns  # noqa: E402

COUNTS = (1, 2, 4, 8)
RATE = 8000
TICK = 1e6 / os.sysconf("SC_CLK_TCK")


def request(chooser, n):
    front = "front :: Counter -> " if chooser == "host" else ""
    return f'FromNet("in_port=net0,udp") -> {front}w :: Counter {{instances={n}, mem=8MB}} -> ToNet("net1")'


def frame(flow):
    udp = struct.pack(">HHHH", 1024 + flow, 9, 30, 0) + bytes(22)
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 50, 1, 0, 64, 17, 0, socket.inet_aton("10.1.0.1"), socket.inet_aton("10.2.0.1"))
    total = sum(struct.unpack(">10H", head))
    total = (total & 0xFFFF) + (total >> 16)
    head = head[:10] + struct.pack(">H", ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF) + head[12:]
    return bytes.fromhex("020000000002" "020000000001" "0800") + head + udp


def processor_time(platform):
    """Microseconds that the switch, and that multiplexers and modules have used."""
    used = {"switch": 0.0, "hosts": 0.0}
    mark = str(platform.dir)
    for path in Path("/proc").glob("[0-9]*"):
        try:
            argv = (path / "cmdline").read_bytes().decode(errors="replace")
            fields = (path / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        program = os.path.basename(argv.split("\0")[0])
        kind = {"ovs-vswitchd": "switch", "flowstream-mux": "hosts", "flowstream-module": "hosts"}.get(program)
        if kind and mark in argv:
            used[kind] += (int(fields[11]) + int(fields[12])) * TICK
    return used


def measure(platform, chooser, n, frames, packets):
    begin = time.monotonic()
    number = platform.client.install_allocation(request(chooser, n))
    took = time.monotonic() - begin
    with netns.open_socket(platform.namespace("net0"), socket.AF_PACKET, socket.SOCK_RAW) as out:
        out.bind(("eth0", 0))
        for one in frames:
            out.send(one)
            time.sleep(0.002)
        before, start = processor_time(platform), time.monotonic()
        for i in range(packets):
            out.send(frames[i % len(frames)])
            if i % 16 == 15:
                time.sleep(max(0, start + i / RATE - time.monotonic()))

    def done():
        return sum(m["out"] for name, m in platform.modules(number).items() if name[0] == "w")
    until(10, lambda: done() >= packets + len(frames))
    after, arrived = processor_time(platform), done() - len(frames)
    rules = sum(len(entry["rules"]) for entry in platform.client.get_allocation(number)["rules"])
    platform.client.delete_allocation(number)
    if arrived < packets / 2:
        raise RuntimeError(f"{chooser}, {n} instances: {arrived:.0f} of {packets} packets came through the modules")
    return {"install": took * 1000, "rules": rules, "lost": packets - arrived, **{key: (after[key] - before[key]) / arrived for key in after}}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--packets", type=int, default=16000, help="of each measurement")
    parser.add_argument("--flows", type=int, default=200)
    options = parser.parse_args()
    machine()
    cases = [(chooser, n) for chooser in ("switch", "host") for n in COUNTS]
    results = {case: [] for case in cases}
    frames = [frame(flow) for flow in range(options.flows)]
    with Platform() as platform:
        for _ in range(options.rounds):
            for case in cases:
                results[case].append(measure(platform, *case, frames, options.packets))
    rows = []
    for (chooser, n), rounds in results.items():
        def middle(key):
            return median(one[key] for one in rounds)
        rows.append([f"{chooser}, {n}", rounds[0]["rules"], f"{middle('install'):.0f}", f"{middle('switch'):.1f}", f"{middle('hosts'):.1f}", int(sum(one["lost"] for one in rounds))])
    table(["chosen by, instances", "rules", "install ms", "switch us/packet", "hosts us/packet", "lost"], rows)


try:
    main()
except RuntimeError as error:
    sys.exit(f"instances.py: {error}")

#!/usr/bin/python3
"""How much memory each process of a platform takes, and what each does while nothing is to be done.

usage: footprint.py [--seconds S]

A platform with one request of three modules on two hosts, after some traffic; then silence.  RSS counts shared pages wherever they are mapped, PSS shares
them out: the sum of PSS is what the platform really takes.  Processor time and wake-ups (voluntary context switches of all threads) are those of the silent
seconds; a busy loop would show as 100 %.
"""

import argparse
import os
import time

from measuring import PlacedPlatform, chain, machine, table

from flowstream import embedded  # after measuring, which knows where the package is

TICKS = os.sysconf("SC_CLK_TCK")


def processes(platform):
    """(name, pid) of everything that a platform runs: its daemons and switches, multiplexers, modules."""
    found = [(part["name"], part["pid"]) for part in embedded.parts(platform.record) if part["pid"]]
    for file in sorted((platform.dir / "hosts").glob("*/mux/pid")) + sorted((platform.dir / "hosts").glob("*/modules/*/pid")):
        kind = "mux" if file.parent.name == "mux" else f"module {file.parent.name}"
        found.append((f"{kind} on {file.relative_to(platform.dir / 'hosts').parts[0]}", int(file.read_text().split()[0])))
    return found


def memory(pid):
    """RSS and PSS in kB."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        fields = dict(line.split(":", 1) for line in file if ":" in line and not line[0].isdigit())
    return int(fields["Rss"].split()[0]), int(fields["Pss"].split()[0])


def activity(pid):
    """Processor seconds and voluntary context switches so far, and the number of threads."""
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        fields = file.read().rpartition(")")[2].split()
    threads, switches = os.listdir(f"/proc/{pid}/task"), 0
    for thread in threads:
        try:
            with open(f"/proc/{pid}/task/{thread}/status", encoding="ascii", errors="replace") as file:
                switches += next(int(line.split()[1]) for line in file if line.startswith("voluntary_ctxt_switches"))
        except FileNotFoundError:
            pass  # a thread that has just ended
    return (int(fields[11]) + int(fields[12])) / TICKS, switches, len(threads)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10, help="of silence (default 10)")
    seconds = parser.parse_args().seconds
    machine()
    with PlacedPlatform() as platform:
        platform.client.install_allocation(chain(["h1", "h2"], 3))
        platform.address("net0", "10.9.0.1/24")
        platform.address("net1", "10.9.0.2/24")
        platform.run_in("net0", "ping", "-q", "-c", "20", "-i", "0.05", "10.9.0.2")
        time.sleep(3)
        names = processes(platform)
        before = {pid: activity(pid) for _, pid in names}
        time.sleep(seconds)
        rows, total = [], [0, 0, 0.0, 0.0]
        for name, pid in names:
            rss, pss = memory(pid)
            cpu, switches, threads = activity(pid)
            busy, wakes = (cpu - before[pid][0]) / seconds * 100, max(0, switches - before[pid][1]) / seconds
            total = [total[0] + rss, total[1] + pss, total[2] + busy, total[3] + wakes]
            rows.append([name, threads, rss, pss, f"{busy:.1f}", f"{wakes:.0f}"])
        rows.append(["all", "", *total[:2], f"{total[2]:.1f}", f"{total[3]:.0f}"])
        table(["process", "threads", "RSS kB", "PSS kB", "idle: % of a core", "wake-ups/s"], rows)


if __name__ == "__main__":
    main()

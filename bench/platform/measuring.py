"""What the measurements of a whole platform share: a platform whose placement they decide, medians, tables, a word about the machine.

The build that is measured is the folder in $FLOWSTREAM_BUILD, else build/ of this checkout.
"""

import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
# Programs and objects of the measurement itself are always those of this checkout's build, also when another build is measured.
OWN_BUILD = Path(os.environ.get("FLOWSTREAM_BENCH_BUILD") or os.environ.get("FLOWSTREAM_BUILD") or TOP / "build").resolve()
sys.path.insert(0, str(TOP / "tests" / "lib"))

from flowtest import Platform, until  # noqa: E402

DAEMONS = ["resource", "modulehost:h1", "modulehost:h2", "openflow", "pm"]


class PlacedPlatform(Platform):
    """An embedded platform on which a request's NAME says on which hosts its modules run: place_allocation.c."""

    def __enter__(self):
        super().__enter__()
        built = OWN_BUILD / "lib/flowstream/bench/platform/place_allocation.so"
        target = self.dir / "lib/tasks/resource/place_allocation.so"
        shutil.copy(built, f"{target}.new")
        os.replace(f"{target}.new", target)
        return self


def account(client):
    """(calls, seconds) by daemon and task; the module hosts count as one."""
    sums = {}
    for daemon in DAEMONS:
        for task in client.list_tasks(daemon):
            key = (daemon.split(":")[0], task["name"])
            calls, seconds = sums.get(key, (0, 0))
            sums[key] = (calls + task["calls"], seconds + task["seconds"])
    return sums


def chain(hosts, modules):
    """A request: IP traffic from net0 to net1 through so many counters, in turn on the hosts."""
    names = [f"c{i}" for i in range(1, modules + 1)]
    lines = [f"NAME={'.'.join(hosts)}", 'in :: FromNet("in_port=net0,ip")', *(f'{name} :: Counter("")' for name in names)]
    return "\n".join([*lines, f"in -> {' -> '.join(names)} -> ToNet(\"net1\")", ""])


def percentile(values, percent):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


median = statistics.median


def table(columns, rows):
    """Print rows under columns: the first one to the left, numbers to the right."""
    cells = [[str(cell) for cell in row] for row in [columns, *rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    for row in cells:
        print("  ".join(cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(zip(row, widths))), flush=True)
    print(flush=True)


def machine():
    """Print on what this was measured, and how busy that was with other things."""
    load = os.getloadavg()[0]
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo", encoding="utf-8") if line.startswith("model name")), "unknown")
    print(f"machine: {os.cpu_count()} cores ({model}), Linux {os.uname().release}, load before this {load:.1f}", flush=True)


def commit_of(build):
    """The commit that a build folder was made from, as far as git knows."""
    done = subprocess.run(["git", "-C", str(build), "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


__all__ = ["OWN_BUILD", "TOP", "PlacedPlatform", "chain", "commit_of", "machine", "median", "percentile", "table", "until"]

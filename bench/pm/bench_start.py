#!/usr/bin/env python3
"""What a module costs: the time to start it, and the memory it has, when many are there; idle, and after traffic.

    bench/pm/bench_start.py BUILD [--against BUILD] [--modules N] [--types Counter,Firewall]

Modules are started one after the other, each in a process of its own, then again in processes of three (a request's chain).  Time is processor time of
all that starting takes (pm-driver and its children), which other users of the machine disturb least, and what the clock says.  Memory is PSS: shared pages
are counted once."""
import argparse
import os
import resource
import statistics
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tests", "pm"))
import bench_pm  # noqa: E402
import test_pm as pm  # noqa: E402

ARGUMENTS = {"Counter": "", "Mirror": "", "Firewall": "allow udp", "Classifier": "all"}


def pss(pids):
    """kB of processes, shared memory files among it."""
    total = shared = 0
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup") as f:
            fields = dict(line.split(":", 1) for line in f.read().splitlines() if ":" in line and "-" not in line.split(":")[0])
        total += int(fields["Pss"].split()[0])
        shared += int(fields.get("Pss_Shmem", "0").split()[0])
    return total, shared


def children():
    r = resource.getrusage(resource.RUSAGE_CHILDREN)
    return r.ru_utime + r.ru_stime


def start(host, kind, first, n):
    """n modules in one process, as a chain; milliseconds by the clock and of processor time."""
    begin, cpu = time.monotonic(), children()
    chain = [(f"m{i}", kind, ARGUMENTS[kind], f"0:{2 * i + 1}", f"0:{2 * i + 2 if i == first + n - 1 else 2 * i + 3}") for i in range(first, first + n)]
    if n == 1:
        name, kind, args, inputs, outputs = chain[0]
        code, _, why = host.start(name, kind, args, inputs=inputs, outputs=outputs, mem=32)
    else:
        code, _, why = host.call("start-process", f"p{first}", 7, *[w for name, kind, args, i, o in chain for w in (name, kind, args, 0, 32 // n, i, o)])
    if code:
        sys.exit("bench_start.py: " + why)
    return (time.monotonic() - begin) * 1000, (children() - cpu) * 1000


def measure(build, kind, modules, together, packets, trunk):
    pm.BUILD = build
    with tempfile.TemporaryDirectory(prefix="flowstream-bench-") as folder:
        host = pm.Host(folder, build + "/lib/flowstream/types")
        try:
            host.call("mux-start")
            times = [start(host, kind, first, together) for first in range(0, modules - modules % together, together)]
            pids = {row["pid"] for row in host.list().values()}
            idle, _ = pss(pids)
            for first in range(0, modules - modules % together, together):
                for _ in range(packets):
                    trunk.send(2 * first + 1, pm.udp())
                trunk.receive_all(packets, 0.02)
            busy, shared = pss(pids)
            n = len(times) * together
            return (statistics.median(t[0] for t in times) / together, statistics.median(t[1] for t in times) / together, idle / n, busy / n, shared / n)
        finally:
            bench_pm.end(host)
            host.call("mux-stop")


def main():
    if "PM_TEST_INSIDE" not in os.environ:
        os.environ["PM_TEST_INSIDE"] = "bench"
        os.execvp("unshare", ["unshare", "-n" if os.geteuid() == 0 else "-Urn", "--", sys.executable] + sys.argv)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build")
    parser.add_argument("--against", help="another build")
    parser.add_argument("--modules", type=int, default=60)
    parser.add_argument("--types", default="Counter,Firewall")
    parser.add_argument("--packets", type=int, default=600, help="that each chain gets before it is called busy")
    options = parser.parse_args()
    pm.Host.list = bench_pm.list_of_old
    pm.make_trunk()
    trunk = pm.Trunk()
    print("%-44s %9s %9s %9s %9s %9s" % ("a module", "ms", "cpu ms", "kB idle", "kB busy", "of rings"))
    for kind in options.types.split(","):
        for build, together in ((options.build, 1), (options.build, 3), *(((options.against, 1),) if options.against else ())):
            values = measure(os.path.abspath(build), kind, options.modules, together, options.packets, trunk)
            name = f"{kind}, {'a process each' if together == 1 else 'three a process'}{'' if build == options.build else ', other build'}"
            print("%-44s %9.1f %9.1f %9.0f %9.0f %9.0f" % (name, *values), flush=True)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Packets a second, and processor time a packet, through the multiplexer and 0 to 4 Counters on one host: in one process, and each in its own.  There and back
over a veth pair, with no loss allowed.

    bench/pm/bench_pm.py BUILD [--against BUILD] [--rounds N] [--seconds S] [--sizes 64,512,1500]

The cases take turns in each round, so that all meet the same disturbances; the table shows the medians.  Processor time is that of the multiplexer and of the
modules together, as the kernel accounts for it in 10 ms: on a machine that others use it says more than packets a second."""
import argparse
import os
import statistics
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tests", "pm"))
import test_pm as pm  # noqa: E402

TICK = 1 / os.sysconf("SC_CLK_TCK")


def start(host, modules, shared):
    """A chain from path 1 to path modules + 1."""
    chain = [(f"c{i}", f"0:{i + 1}", f"0:{i + 2}") for i in range(modules)]
    if shared:
        words = [w for name, inputs, outputs in chain for w in (name, "Counter", "", 0, 0, inputs, outputs)]
        return host.call("start-process", "shared", 7, *words)
    return [host.start(name, "Counter", inputs=inputs, outputs=outputs) for name, inputs, outputs in chain][-1]


def cpu_of(pids):
    """Seconds in user mode, in the kernel."""
    fields = [open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split() for pid in pids]
    return sum(int(f[11]) for f in fields) * TICK, sum(int(f[12]) for f in fields) * TICK


def measure(build, modules, shared, sizes, seconds):
    """By size: packets/s, and microseconds of processor time a packet of the multiplexer and of the modules."""
    pm.BUILD = build
    results = {}
    with tempfile.TemporaryDirectory(prefix="flowstream-bench-") as folder:
        host = pm.Host(folder, build + "/lib/flowstream/types")
        try:
            host.call("mux-start")
            code, _, why = start(host, modules, shared)
            if code:
                sys.exit("bench_pm.py: " + why)
            mux = int(open(folder + "/mux/pid").read().split()[0])
            others = {row["pid"] for row in host.list().values()}
            for size in sizes:
                before = cpu_of([mux]), cpu_of(others)
                done = subprocess.run([BUILD + "/bench/pm/pm-load", "far0", "1", str(size), str(seconds)], capture_output=True, text=True)
                words = done.stdout.split()
                after = cpu_of([mux]), cpu_of(others)
                if done.returncode:
                    sys.exit("bench_pm.py: %d modules: %s" % (modules, done.stdout))
                results[size] = (float(words[2]), *((sum(b) - sum(a)) / float(words[4]) * 1e6 for a, b in zip(before, after)))
            end(host)
        finally:
            end(host)
            host.call("mux-stop")
    return results


def end(host):
    for name in {row.get("process", name) for name, row in host.list().items()}:
        host.call("stop", name)


def list_of_old(self):
    """Host.list() of builds whose driver does not tell the process."""
    rows = [line.split("\t") for line in self.call("list")[1].splitlines()]
    return {r[0]: dict(pid=int(r[3]), process=r[7] if len(r) > 7 else r[0]) for r in rows}


BUILD = os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else ""


def main():
    if "PM_TEST_INSIDE" not in os.environ:
        os.environ["PM_TEST_INSIDE"] = "bench"
        os.execvp("unshare", ["unshare", "-n" if os.geteuid() == 0 else "-Urn", "--", sys.executable] + sys.argv)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build")
    parser.add_argument("--against", help="another build; it is told by its path")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1)
    parser.add_argument("--sizes", default="64,1500")
    options = parser.parse_args()
    sizes = [int(s) for s in options.sizes.split(",")]
    pm.Host.list = list_of_old
    cases = [(BUILD, n, shared) for n in (1, 2, 4) for shared in (True, False) if n > 1 or not shared]
    if options.against:
        cases += [(os.path.abspath(options.against), n, False) for n in (1, 2, 4)]
    results = {case: [] for case in cases}
    pm.make_trunk()
    for _ in range(options.rounds):
        for case in cases:
            results[case].append(measure(*case, sizes, options.seconds))
    print("%-34s" % "modules" + "".join("%10s %9s %9s" % ("%d B: /s" % s, "mux us", "mod. us") for s in sizes))
    for build, n, shared in cases:
        name = "%d%s%s" % (n, "" if n == 1 else " in one process" if shared else " in %d processes" % n, "" if build == BUILD else ", other build")
        line = "%-34s" % name
        for s in sizes:
            line += "%10.0f %9.2f %9.2f" % tuple(statistics.median(r[s][i] for r in results[build, n, shared]) for i in range(3))
        print(line, flush=True)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Packets a second through the multiplexer and one Counter, there and back over a veth pair, with no loss allowed.

    bench/pm/bench_pm.py BUILD"""
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tests", "pm"))
import test_pm as pm  # noqa: E402


def main():
    if "PM_TEST_INSIDE" not in os.environ:
        os.environ["PM_TEST_INSIDE"] = "bench"
        os.execvp("unshare", ["unshare", "-n" if os.geteuid() == 0 else "-Urn", "--", sys.executable] + sys.argv)
    with tempfile.TemporaryDirectory(prefix="flowstream-bench-") as folder:
        host = pm.Host(folder, pm.BUILD + "/lib/flowstream/types")
        pm.make_trunk()
        try:
            host.call("mux-start")
            host.start("c", "Counter", inputs="0:1", outputs="0:2")
            for size in (64, 512, 1500):
                subprocess.run([pm.BUILD + "/bench/pm/pm-load", "far0", "1", str(size), "3"])
            print(host.statistics())
        finally:
            host.call("stop", "c")
            host.call("mux-stop")


if __name__ == "__main__":
    main()

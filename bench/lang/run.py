#!/usr/bin/python3
"""Parse and check of large requests, as a table; with --against, another build's library in turns with this one's.

usage: bench/lang/run.py [BUILD] [--against BUILD] [--rounds N]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

LIBRARY = "lib/libflowstream-lang.so"


def measure(build, library):
    done = subprocess.run([f"{build}/bench/lang/bench_lang"], capture_output=True, text=True, check=True, env={**os.environ, "LD_PRELOAD": str(library)})
    return [json.loads(line) for line in done.stdout.splitlines()]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", nargs="?", default=os.environ.get("FLOWSTREAM_BUILD", "build"))
    parser.add_argument("--against", metavar="BUILD")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    options = parser.parse_args()
    build = Path(options.build).resolve()
    if subprocess.run(["make", "-s", "-C", str(build), "bench/lang/bench_lang"], stdout=subprocess.DEVNULL, check=False).returncode:
        return 1
    libraries = {"this": build / LIBRARY, **({"other": Path(options.against).resolve() / LIBRARY} if options.against else {})}
    rounds = [{name: measure(build, library) for name, library in libraries.items()} for _ in range(options.rounds)]
    print(f"{'build':<6} {'modules':>8} {'lines':>8} {'ms':>9} {'lines/s':>10} {'bytes/module':>13} {'at the peak':>12}")
    for i, row in enumerate(rounds[0]["this"]):
        for name in libraries:
            seconds = statistics.median(one[name][i]["seconds"] for one in rounds)
            last = rounds[-1][name][i]
            print(f"{name:<6} {row['modules']:>8} {row['lines']:>8} {seconds * 1e3:>9.3f} {row['lines'] / seconds:>10.0f} {last['memory_per_module']:>13} {last['peak_per_module'] or '-':>12}")
    return 0


sys.exit(main())

#!/usr/bin/python3
"""The figures of the fabric: latency beside a crowd, what a crowd takes and does to one of it, packets a second by modules and hosts, rules a second.

usage: run.py [PART ...]

The parts are programs of their own with options of their own; without arguments all are run.
"""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PARTS = {
    "latency": [HERE / "latency.py"],
    "alive": [HERE / "alive.py"],
    "modules": [HERE.parent / "platform/traffic.py", "--cases", "none,1 module,2 modules,4 modules"],
    "rules": [HERE.parent / "openflow/bundles.py", "--rounds", "3"],
}


def main():
    names = sys.argv[1:] or list(PARTS)
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        sys.exit(f"run.py: there is no part '{unknown[0]}'; there are: {', '.join(PARTS)}")
    failed = []
    for name in names:
        print(f"-- {name}", flush=True)
        failed += [name] if subprocess.run([sys.executable, *map(str, PARTS[name])], check=False).returncode else []
    sys.exit(f"run.py: failed: {', '.join(failed)}" if failed else 0)


main()

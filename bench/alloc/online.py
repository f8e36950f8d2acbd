#!/usr/bin/python3
"""Placing one service at a time: what an addition costs, at several sizes and degrees of filling, against a plain first-fit in the same run.

usage: bench/alloc/online.py [--quick] [--huge] [--first-fit N] [--judge FOLDER]

Each row fills a platform of make_instance.py to a share of its cores, then removes and adds services at random and times each addition.
Microseconds of processor time, which others on the machine disturb less, as median, 99th percentile, 99.9th and worst; 'wall' is the 99th
percentile by the clock. 'refused' are additions without a place. 'rebuilt' says whether the state at the end equals one that is made anew
from what is held and one counted anew. First-fit takes the first rack, in it the first server with cores and memory for each module, and
the first shortest way with room. --quick takes a tenth of the operations. FOLDER holds make_instance.py (default ../shared/alloc).
Nothing fails because a machine is slow.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("FLOWSTREAM_BUILD", ROOT / "build"))
# Smaller platforms than these have too few links in the middle: they are full before the servers are.
# servers as a part of 10,000, services of each type, filled to, operations
ROWS = [(0.3, 990, 0.85, 200000), (1, 3300, 0.10, 200000), (1, 3300, 0.50, 200000), (1, 3300, 0.85, 2000000)]
HUGE = [(10, 33000, 0.85, 200000)]


def line(name, fill, row):
    cpu = " ".join(f"{v:9.1f}" for v in row["cpu"])
    adds = row["added"] + row["refused"]
    return f"{name:<18} {row['cores']:6.3f} {row['held']:7d} {row['operations']:9d} {cpu} {row['wall'][1]:9.1f} {100 * row['refused'] / max(adds, 1):8.3f} %"


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--quick", action="store_true")
    ap.add_argument("--huge", action="store_true", help="also 100,000 servers")
    ap.add_argument("--first-fit", type=int, default=100000, metavar="N", help="operations of first-fit (default %(default)s)")
    ap.add_argument("--judge", default=str(ROOT.parent / "shared" / "alloc"))
    a = ap.parse_args()
    judge = Path(a.judge)
    if not (judge / "make_instance.py").exists():
        judge = ROOT.parents[1] / "shared" / "alloc"
    if not (judge / "make_instance.py").exists():
        print(f"SKIP: no make_instance.py in {a.judge}")
        return 0
    part = 10 if a.quick else 1
    broken = 0
    print(f"{'':<18} {'cores':>6} {'held':>7} {'operations':>9} {'median':>9} {'99 %':>9} {'99.9 %':>9} {'worst':>9} {'wall 99%':>9} {'refused':>8}")
    with tempfile.TemporaryDirectory() as folder:
        p, s = os.path.join(folder, "p.xml"), os.path.join(folder, "s.xml")
        for scale, count, fill, operations in ROWS + (HUGE if a.huge else []):
            subprocess.run([sys.executable, judge / "make_instance.py", "large", str(count), "--scale", str(scale), "--platform", p, "--services", s], check=True)
            done = subprocess.run([BUILD / "bench" / "alloc" / "online", p, s, str(fill), str(operations // part), str(a.first_fit // part), "1"],
                                  capture_output=True, text=True, check=False)
            if done.returncode:
                print(f"failed: {done.stderr.strip()}")
                broken += 1
                continue
            said = json.loads(done.stdout)
            print(f"{said['servers']} servers, {said['services']} services, filled to {fill}: rebuilt {said['rebuilt']}, after events {said['after_events']}")
            print(line("  online", fill, said["online"]))
            if "first-fit" in said:
                print(line("  first-fit", fill, said["first-fit"]))
            for name in ("server fails", "server is drained", "link fails"):
                e = said[name]
                print(f"  {name:<17} {e['n']} times: {e['moves']} moves, {e['rerouted']} other ways, {e['stranded']} without a place; "
                      f"median {e['cpu'][0]:.0f}, 99 % {e['cpu'][1]:.0f} us each", flush=True)
            broken += said["rebuilt"] != "equal" or said["after_events"] != "equal"
    return 1 if broken else 0


sys.exit(main())

#!/usr/bin/python3
"""The allocator's table: instances of section 3.2.4 of D3.2, each read, placed, written and judged.

usage: bench/alloc/run.py [--quick] [--huge] [--only WORD] [--algorithm NAME] [--against BUILD] [--judge FOLDER] [--option WORD]...

Each row is an instance: basic or large, how many services of each type, the bound, the seed, and how much the figures vary. Seconds are
those of the whole program with reading and writing: 'wall' by the clock and 'cpu' of the processor, which others on the machine disturb less;
'search' is what the program says of the search alone. 'judge' is the word of the independent checker: feasible, or what is exceeded; 'proven'
is what no solution can do better than, where the program proves it. --against BUILD runs another build's program in turn with ours.
FOLDER holds make_instance.py and check_solution.py (default ../shared/alloc beside the sources). Nothing fails because a machine is slow.
"""
import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("FLOWSTREAM_BUILD", ROOT / "build"))

# kind, services of each type, then options of make_instance.py; what is aimed at
ROWS = [("basic", k, {}, "10 ms") for k in (10, 11, 12, 13)]
ROWS += [("large", k, {"delay": d, "seed": s}, "1 s") for k in (1000, 1500, 2000, 2500) for d, s in ((11, 1), (12, 2), (20, 3))]
ROWS += [("large", k, {"delay": 10}, "proof") for k in (1000, 2500)]
ROWS += [("large", 3000, {"delay": d, "seed": s}, "2 s") for s in (907, 912) for d in (12, 20)]
ROWS += [("basic", k, {"vary": 0.5}, "10 ms") for k in (10, 11, 12)]
ROWS += [("large", k, {"delay": d, "vary": 0.5, "seed": s}, "1 s") for k, d, s in ((1000, 11, 1), (2500, 11, 2), (2500, 13, 3), (3000, 12, 907))]
HUGE = [("large", 30000, {"delay": 12, "scale": 10, "seed": 1}, "60 s")]
QUICK = ("basic", 10), ("basic", 12), ("basic", 13), ("large", 1000)


def measured(command):
    """Run it: how it ended, wall seconds, processor seconds."""
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wall, after = time.monotonic() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return done, wall, cpu


def exceeded(judged):
    """What the judge says in a few words."""
    if judged.get("feasible"):
        return "feasible"
    if "malformed" in judged:
        return "MALFORMED " + judged["malformed"]
    return " ".join(f"{k}={judged[k]:g}" for k in ("cpu", "mem", "bandwidth", "delay") if judged[k])


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--quick", action="store_true", help="a few small rows")
    ap.add_argument("--huge", action="store_true", help="also 100,000 servers (minutes, for making and judging it)")
    ap.add_argument("--only", default="", help="rows whose name contains this")
    ap.add_argument("--algorithm")
    ap.add_argument("--paths", default="pair", choices=["pair", "link"])
    ap.add_argument("--against", metavar="BUILD")
    ap.add_argument("--judge", default=str(ROOT.parent / "shared" / "alloc"))
    ap.add_argument("--no-judge", action="store_true", help="leave the judge out, who takes longer than the program")
    ap.add_argument("--option", action="append", default=[], help="one more word for flowstream-alloc")
    a = ap.parse_args()
    judge = Path(a.judge)
    if not (judge / "make_instance.py").exists() and not (ROOT.parent / "shared").exists():
        judge = ROOT.parents[1] / "shared" / "alloc"
    if not (judge / "make_instance.py").exists():
        print(f"SKIP: no make_instance.py in {judge}")
        return 0
    programs = [("", BUILD)] + ([("other ", Path(a.against))] if a.against else [])
    print(f"{'instance':<34} {'build':<6}{'aim':>6} {'wall s':>8} {'cpu s':>8} {'search s':>8} {'exit':>4}  judge / proven", flush=True)
    broken = 0
    with tempfile.TemporaryDirectory() as folder:
        p, s, o = (os.path.join(folder, n) for n in ("p.xml", "s.xml", "o.xml"))
        for kind, count, options, aim in ROWS + (HUGE if a.huge else []):
            name = f"{kind} {count}" + "".join(f" {k}={v}" for k, v in options.items())
            if a.only not in name or (a.quick and (kind, count) not in QUICK):
                continue
            words = [w for k, v in options.items() for w in (f"--{k}", str(v))]
            subprocess.run([sys.executable, judge / "make_instance.py", kind, str(count), *words, "--platform", p, "--services", s], check=True)
            for label, build in programs:
                command = [str(build / "bin" / "flowstream-alloc"), "--platform", p, "--services", s, "--output", o, "--paths", a.paths]
                command += ["--algorithm", a.algorithm] if a.algorithm and not label else []
                done, wall, cpu = measured(command + (a.option if not label else []))
                if done.returncode not in (0, 1, 3):
                    print(f"{name:<34} {label:<6}{aim:>6} failed: {done.stderr.strip()}")
                    broken += 1
                    continue
                said = json.loads(done.stdout)
                if a.no_judge:
                    verdict = "not judged: " + exceeded(said)
                else:
                    judged = json.loads(subprocess.run([sys.executable, judge / "check_solution.py", "--paths", a.paths, p, s, o],
                                                       capture_output=True, text=True, check=False).stdout)
                    verdict = exceeded(judged)
                    broken += "malformed" in judged or judged["feasible"] != (done.returncode == 0)
                least = said.get("least")
                if least:
                    verdict += " / at least " + " ".join(f"{k}={v:g}" for k, v in least.items())
                elif "proof" in said:
                    verdict += " / proven"
                print(f"{name:<34} {label:<6}{aim:>6} {wall:8.3f} {cpu:8.3f} {said['seconds']:8.3f} {done.returncode:>4}  {verdict}", flush=True)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())

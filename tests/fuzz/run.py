#!/usr/bin/python3
"""Run every fuzz target for a fixed number of inputs, starting from its corpus.

usage: tests/fuzz/run.py [BUILD] [RUNS]

A target is a file tests/fuzz/fuzz_NAME.c; its seeds are in tests/fuzz/corpus/NAME, its dictionary, if any, is tests/fuzz/NAME.dict.  What crashes
is kept in BUILD/tests/fuzz and named.  Longer: BUILD/tests/fuzz/fuzz_NAME -max_total_time=600 tests/fuzz/corpus/NAME
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUILD = Path(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("FLOWSTREAM_BUILD", "build")).resolve()
RUNS = sys.argv[2] if len(sys.argv) > 2 else "20000"


def runs_of(target):
    """A target that goes through a socket or files, searches for a placement or verifies signatures, gets a tenth of the inputs: each takes a millisecond."""
    return str(max(1, int(RUNS) // 10)) if target in ("fuzz_alloc", "fuzz_http", "fuzz_signature", "fuzz_versions") else RUNS


def run(target):
    """What went wrong, or ''."""
    name = target.removeprefix("fuzz_")
    made = subprocess.run(["make", "-s", f"tests/fuzz/{target}"], cwd=BUILD, capture_output=True, text=True)
    if made.returncode:
        return made.stderr[-2000:]
    corpus = HERE / "corpus" / name
    dictionary = HERE / f"{name}.dict"
    with tempfile.TemporaryDirectory() as scratch:
        if corpus.exists():
            shutil.copytree(corpus, scratch, dirs_exist_ok=True)
        options = [f"-runs={runs_of(target)}", "-seed=1", "-max_len=4096", "-timeout=20", "-rss_limit_mb=3000", f"-artifact_prefix={BUILD}/tests/fuzz/{name}-"]
        if dictionary.exists():
            options.append(f"-dict={dictionary}")
        done = subprocess.run([f"tests/fuzz/{target}", *options, scratch], cwd=BUILD, capture_output=True, text=True, errors="replace")
    return "" if done.returncode == 0 else done.stderr[-4000:]


def main():
    targets = sorted(p.stem for p in HERE.glob("fuzz_*.c"))
    if not shutil.which("clang-14"):
        print("ok 1 - all # SKIP clang-14 is not installed\n1..1")
        return 0
    failed = 0
    for n, target in enumerate(targets, 1):
        problem = run(target)
        failed += bool(problem)
        print(f"{'not ok' if problem else 'ok'} {n} - {target}: {runs_of(target)} inputs", flush=True)
        for line in problem.splitlines():
            print(f"#   {line}")
    print(f"1..{len(targets)}")
    return 1 if failed else 0


sys.exit(main())

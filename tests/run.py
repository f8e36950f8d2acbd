#!/usr/bin/python3
"""Run the tests of tests/suite.txt and count what they say.

usage: tests/run.py [--build DIR] [--sanitized] [--jobs N] [--list] [AREA | AREA/WHAT ...]

As many tests as there are processors run at a time, those marked 'long' first, then those marked 'alone' one by one.

Each test prints TAP.  A test that ends badly, prints no plan or runs longer than ten minutes counts as one failure, and so does one in which
ThreadSanitizer has found anything in any process.  The last line is "N passed, N failed, N skipped"; the exit status is 1 when anything failed.
"""

import argparse
import collections
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SRC = Path(__file__).resolve().parents[1]
LIMIT = 600
printing = threading.Lock()  # what one test says stays together
# Programs under a sanitizer: what they find ends the test.  Loaded objects are never unloaded, by design; libraries that keep memory until the end
# are named in tests/lsan.supp.
SANITIZED = {
    "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=1:strict_string_checks=1:detect_stack_use_after_return=1:handle_abort=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    "LSAN_OPTIONS": f"suppressions={SRC}/tests/lsan.supp:print_suppressions=0",
    "FLOWSTREAM_SANITIZED": "1",
}
# ThreadSanitizer lets a program go on, so that one run finds all races, and writes them into a folder of the test: a daemon's log may be gone by the end.
# It leaves signals alone: tests that make a daemon crash want it to crash.
TSAN_OPTIONS = (f"suppressions={SRC}/tests/tsan.supp:print_suppressions=0:halt_on_error=0:second_deadlock_stack=1:history_size=5:"
                "handle_segv=0:handle_sigbus=0:handle_sigfpe=0:handle_sigill=0:handle_abort=0")
REPORT_LINES = 120


def read_suite():
    for line in (SRC / "tests" / "suite.txt").read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            name, flags, command = (part.strip() for part in line.split("|", 2))
            yield name, flags.split(), command


def wanted(name, chosen):
    return not chosen or any(name == c or name.startswith(c.rstrip("/") + "/") for c in chosen)


def races(folder):
    """What ThreadSanitizer has written there, a text for each kind of report with how many there were."""
    kinds = collections.Counter()
    texts = {}
    for path in sorted(Path(folder).iterdir()):
        for report in path.read_text(errors="replace").split("=" * 18 + "\n"):
            if "WARNING: ThreadSanitizer" in report:
                kind = (re.findall(r"^SUMMARY: ThreadSanitizer: (.*)", report, re.M) or ["report without an end"])[-1]
                kinds[kind] += 1
                texts.setdefault(kind, [f"{path.name}:", *report.splitlines()[:REPORT_LINES]])
    return [f"ThreadSanitizer, {n} times: {kind}\n" + "\n".join("      " + line for line in texts[kind]) for kind, n in kinds.most_common()]


def run_one(name, command, build, environment):
    """(passed, failed, skipped) of one test; prints what was skipped and what failed."""
    with tempfile.TemporaryDirectory(prefix="flowstream-races-") as folder:
        os.chmod(folder, 0o1777)  # modules are users of their own
        return judge(name, command, build, {**environment, "TSAN_OPTIONS": f"{TSAN_OPTIONS}:log_path={folder}/report"}, folder)


def judge(name, command, build, environment, folder):
    """run_one() with a folder for reports of races."""
    words = [word.format(build=build, src=SRC, python=sys.executable) for word in command.split()]
    begin = time.monotonic()
    if not Path(words[0]).exists():
        with printing:
            print(f"FAIL {name:<24} {words[0]} is missing: make -C {build} tests builds it", flush=True)
        return 0, 1, 0
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", cwd=build, env=environment,
                               stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        output, _ = process.communicate(timeout=LIMIT)
        problem = f"ended with status {process.returncode}" if process.returncode else ""
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGTERM)  # let it take down what it made
        try:
            output, _ = process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
        problem = f"took longer than {LIMIT} s"
    passed = failed = 0
    skipped = []
    for line in output.splitlines():
        if re.match(r"ok \d+", line):
            if "# SKIP" in line.upper():
                skipped.append(f"    SKIP: {line.split('- ', 1)[-1]}")
            else:
                passed += 1
        elif line.startswith("not ok"):
            failed += 1
    if not re.search(r"^1\.\.\d+", output, re.M):
        problem = problem or "printed no plan (1..N)"
    found = races(folder)
    if found:
        problem += f"{', ' if problem else ''}ThreadSanitizer found {len(found)}"
    if problem and (found or not failed):
        failed += 1
    report = [f"{'FAIL' if failed else 'ok  '} {name:<24} {passed:>5} passed {failed:>3} failed {len(skipped):>3} skipped {time.monotonic() - begin:>7.1f} s"
              f"{'  ' + problem if problem else ''}", *skipped]
    if failed:
        report += ["    " + line for line in [line for line in output.splitlines() if not re.match(r"ok \d+", line)][-120:]]
    report += ["    " + text for text in found]
    with printing:
        print("\n".join(report), flush=True)
    return passed, failed, len(skipped)


def run_all(tests, jobs, build, environment):
    """(passed, failed, skipped) of all tests."""
    def run(test):
        return run_one(test[0], test[2], build, environment)

    together = sorted((t for t in tests if "alone" not in t[1]), key=lambda t: "long" not in t[1])
    with ThreadPoolExecutor(jobs) as pool:
        results = list(pool.map(run, together))
    results += [run(t) for t in tests if "alone" in t[1]]
    return [sum(column) for column in zip(*results)] or [0, 0, 0]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=SRC / "build", type=Path)
    parser.add_argument("--sanitized", action="store_true", help="the build has sanitizers: run what is marked 'san' or named in full")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many tests at a time (default: the number of processors)")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--counts", type=Path, help="add passed, failed and skipped to this file instead of printing the last line")
    parser.add_argument("chosen", nargs="*", metavar="AREA")
    options = parser.parse_args()
    build = options.build.resolve()
    environment = {**os.environ, "FLOWSTREAM_BUILD": str(build), "FLOWSTREAM_PREFIX": str(build), **(SANITIZED if options.sanitized else {})}
    tests = [t for t in read_suite() if wanted(t[0], options.chosen) and (not options.sanitized or "san" in t[1] or t[0] in options.chosen)]
    if options.list:
        for name, flags, command in tests:
            print(f"{name:<24} {' '.join(flags):<10} {command}")
        return 0
    if not tests and not options.sanitized:
        print(f"no test is called {' or '.join(options.chosen)}; --list names them", file=sys.stderr)
        return 2
    totals = run_all(tests, options.jobs, build, environment)
    if options.counts:
        before = [int(n) for n in options.counts.read_text().split()] if options.counts.exists() else [0, 0, 0]
        options.counts.write_text(" ".join(str(a + b) for a, b in zip(before, totals)) + "\n")
    else:
        print(f"{totals[0]} passed, {totals[1]} failed, {totals[2]} skipped")
    return 1 if totals[1] else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/python3
"""The demonstration accounts for every packet, names the place where packets are lost, and leaves nothing however it ends."""

import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from flowtest import PATIENCE, ROOT, Tests, need_root_of_namespaces  # noqa: E402
from flowstream import folder, netns  # noqa: E402

DEMO = [sys.executable, str(ROOT / "examples" / "demo.py")]


def demo(directory, *argv):
    return subprocess.run([*DEMO, "--dir", str(directory), *argv], capture_output=True, text=True, timeout=150 * PATIENCE)


def nothing_left(directory):
    tag = f"fs-{folder.tag(folder.locate(directory))}-"
    names = [name for name in os.listdir(netns.FOLDER) if name.startswith(tag)] if netns.FOLDER.is_dir() else []
    arguments = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    return not directory.exists() and not names and not any(os.fsencode(str(directory)) in line for line in arguments)


def test_good(tests, directory):
    done = demo(directory, "--seconds", "4")
    said = done.stdout + done.stderr
    tests.same(done.returncode, 0, "every packet of the demonstration is accounted for")
    tests.check("Traceback" not in said and "accounted for at every hop" in said, "it says so", said)
    rows = re.findall(r"module (\w+) \((\w+) on (\w+)\) +module +(.*)", said)
    tests.same(sorted(row[0] for row in rows), ["answers", "copy", "counter", "fw", "other", "reply", "sort"], "all modules are in its table")
    tests.check(len({row[2] for row in rows}) > 1, "the two requests are on different hosts", rows)
    for name, kind, _, figures in rows:
        numbers = [int(figure) for figure in figures.split()]
        came, went, dropped = sum(numbers[:-2]), numbers[-2], numbers[-1]
        tests.check(came == went + dropped > 0 and (dropped > 0) == (kind == "Firewall"), f"module {name}: in = out + dropped", figures)
    tests.check(nothing_left(directory), "nothing is left after it")


def test_broken(tests, directory, path, place):
    done = demo(directory, "--seconds", "3", "--break", path)
    tests.same(done.returncode, 1, f"a rule covered by hand with one that drops on the way {path} makes it fail")
    lost = [line for line in done.stdout.splitlines() if line.startswith("NOT ACCOUNTED FOR") and "were lost between" in line]
    tests.check(len(lost) == 1 and re.search(place, lost[0]), "it names the one place where packets are lost", done.stdout[-2000:] + done.stderr)
    removed = re.search(r"rule of ([\w-]+) for path (\d+)", done.stdout)
    tests.check(removed and lost and f"{removed[1]}, path {removed[2]} (0)" in lost[0], "and this is where the rule was", lost)
    tests.check(nothing_left(directory), "nothing is left after it")


def test_signal(tests, directory, number):
    process = subprocess.Popen([*DEMO, "--dir", str(directory)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said = ""
    for line in process.stdout:
        said += line
        if line.startswith("REQUEST"):  # traffic flows
            break
    process.send_signal(number)
    said += process.communicate(timeout=60 * PATIENCE)[0]
    tests.check(process.returncode == 1 and "Traceback" not in said, f"{number.name} in the middle ends it in order", said)
    tests.check(nothing_left(directory), f"nothing is left after {number.name}")


def main():
    need_root_of_namespaces()
    tests = Tests()
    with tempfile.TemporaryDirectory(prefix="flowstream-test-") as scratch:
        directory = Path(scratch) / "demo"
        tests.check("usage" in subprocess.run([*DEMO, "--help"], capture_output=True, text=True).stdout, "it explains itself")
        with tests.story("the demonstration"):
            test_good(tests, directory)
        for path, place in (("copy,mon0", r"between br-h\d, path \d+ \(\d+\) and tor0, path"), ("there,net0", r"between tor0, path \d+ \(\d+\) and br-h\d, path")):
            with tests.story(f"--break {path}"):
                test_broken(tests, directory, path, place)
        for number in (signal.SIGINT, signal.SIGTERM):
            with tests.story(number.name):
                test_signal(tests, directory, number)
    tests.end()


if __name__ == "__main__":
    main()

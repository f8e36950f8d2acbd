"""Each failpoint of the source: the process is killed at just that place, or the step fails; afterwards nothing is lost and nothing is left.

Needs a build with --enable-failpoints (the sanitizers' build has them); others skip.  The list comes from the sources (tests/lib/failpoints.py); a point that
is never hit fails the test.  FLOWSTREAM_TIMES=20 does each so often; names as arguments: only these.  bench/faults/failpoints.py is the long version, under load.
"""

import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

import failpoints  # noqa: E402
import faultways  # noqa: E402
from flowtest import BUILD, Platform, Tests, need_root_of_namespaces, skip_all  # noqa: E402

need_root_of_namespaces()
if not failpoints.are_compiled_in(BUILD):
    skip_all("this build has no failpoints: configure --enable-failpoints")
tests = Tests()
TIMES = int(os.environ.get("FLOWSTREAM_TIMES", "1"))
EACH = int(os.environ.get("FLOWSTREAM_JUDGE_EACH", "8"))  # strikes from one look of the oracle to the next


def judge(story, what):
    problems = story.judge()
    tests.check(not problems, f"{what}: all that was answered is there, and nothing else", "\n".join(problems))


with Platform(supervise=True) as platform:
    story_ = faultways.Story(platform)
    points = failpoints.points()
    chosen = sys.argv[1:] or points
    missed, since = [], []
    for point in chosen:
        begin = time.monotonic()
        for action in faultways.kinds(points[point][1]):
            for _ in range(TIMES if action != "delay" else 0):  # nothing is lost by waiting: bench/faults/failpoints.py has that
                with tests.story(f"{point} {action}"):
                    if not story_.strike(point, points[point], action):
                        missed.append(f"{point} {action}")
                    since.append(f"{point} {action}")
                    if len(since) >= EACH:
                        judge(story_, ", ".join(since))
                        since = []
        print(f"# {point}: {time.monotonic() - begin:.1f} s", flush=True)
    judge(story_, ", ".join(since) or "the last")
    tests.check(len(points) > 25 and not missed, f"each of {len(chosen)} failpoints was hit", missed)
    for standing in story_.ledger.of("installed"):
        story_.ledger.delete(platform.client, standing.key)
    judge(story_, "all deleted")
    reports = platform.logs()
    tests.check("Sanitizer" not in reports and "runtime error:" not in reports and "Assertion" not in reports, "no report of a sanitizer and no assertion in any log",
                "\n".join(line for line in reports.splitlines() if "Sanitizer" in line or "runtime error:" in line or "Assertion" in line))
tests.check(not platform.leftovers, "down leaves nothing", platform.leftovers)
tests.end()

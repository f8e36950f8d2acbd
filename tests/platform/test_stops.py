"""Time that passes strangely: the whole controller is stopped for longer than anything is asked, and the clock of the day jumps.  Traffic goes on, nothing is lost or done twice."""

import contextlib
import datetime
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from chaos import CHAIN, MODULES  # noqa: E402
from flowtest import SANITIZED, Platform, Tests, flowstream, need_root_of_namespaces, until  # noqa: E402
from oracle import Ledger, Oracle  # noqa: E402
from traffic import Stream  # noqa: E402

need_root_of_namespaces()
tests = Tests()
STOP = 6  # seconds: longer than hosts, switches and figures are asked and told, shorter than hosts count as lost
DAY = 86400
DAEMONS = ("pm", "openflow", "monitoring", "resource", "modulehost:h1", "modulehost:h2", "modulehost:h3")

# The clock of the day of all programs that load it, so many seconds ahead as a file says at that moment.
CLOCK = """
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
static const volatile long long *ahead;
static void __attribute__((constructor)) begin(void)
{
    const char *name = getenv("FLOWSTREAM_TEST_CLOCK");
    int fd = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
    void *p = fd >= 0 ? mmap(NULL, 8, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
    ahead = p == MAP_FAILED ? NULL : p;
    if (fd >= 0) { close(fd); }
}
int clock_gettime(clockid_t id, struct timespec *t)
{
    int e = (int) syscall(SYS_clock_gettime, id, t);
    if (!e && ahead && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) { t->tv_sec += *ahead; }
    return e;
}
time_t time(time_t *p)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    if (p) { *p = t.tv_sec; }
    return t.tv_sec;
}
int gettimeofday(struct timeval *v, void *zone)
{
    struct timespec t;
    (void) zone;
    clock_gettime(CLOCK_REALTIME, &t);
    *v = (struct timeval) { t.tv_sec, t.tv_nsec / 1000 };
    return 0;
}
"""


class Clock:
    """While it lasts what is started has our clock.  Not with sanitizers, which want to be the first that is loaded."""

    def __init__(self, folder):
        self.file, self.library = folder / "clock", folder / "clock.so"
        self.file.write_bytes(struct.pack("q", 0))
        subprocess.run(["gcc", "-shared", "-fPIC", "-O", "-x", "c", "-", "-o", str(self.library)], input=CLOCK, text=True, check=True)

    def __enter__(self):
        if not SANITIZED:
            os.environ.update(LD_PRELOAD=str(self.library), FLOWSTREAM_TEST_CLOCK=str(self.file))
        return self

    def __exit__(self, *_):
        os.environ.pop("LD_PRELOAD", None)

    def set(self, seconds):
        with open(self.file, "r+b") as file:
            file.write(struct.pack("q", seconds))


def good(p):
    with contextlib.suppress(flowstream.Error):
        return p.client.hosts_up() == ["h1", "h2", "h3"] and p.client.get_drift()["in_step"]
    return False


def judged(oracle, what):
    problems = oracle.settle(20)
    tests.check(not problems, f"{what}: all that was answered is there, as it was, and nothing else", "\n".join(problems))


def works(p, ledger, what, port):
    key = f"c{port}"
    ledger.install(p.client, key, CHAIN.format(name=key, port=port), MODULES)
    tests.check(ledger.entries[key].fate == "installed" and ledger.delete(p.client, key), f"{what}: installed and deleted", ledger.entries[key])


def test_crowd(p, ledger, oracle):
    """Many calls at once, each of which waits for the pm daemon over a connection of its own."""
    resource, pm = p.process("resource"), p.process("pm")

    def descriptors():
        return len(os.listdir(f"/proc/{resource}/fd"))

    def plan(number):
        with contextlib.suppress(flowstream.Error), flowstream.Client(p.dir, deadline=20) as client:
            client.plan_allocation(CHAIN.format(name="crowd", port=6000 + number))
    crowd = [threading.Thread(target=plan, args=(number,)) for number in range(8)]
    before = descriptors()
    os.kill(pm, signal.SIGSTOP)
    try:
        for thread in crowd:
            thread.start()
        tests.check(until(10, lambda: descriptors() >= before + 3 * 7), "a crowd of calls takes many connections", (before, descriptors()))
    finally:
        os.kill(pm, signal.SIGCONT)
    for thread in crowd:
        thread.join()
    tests.check(until(30, lambda: descriptors() <= before + 3), "when it is gone they are closed again", (before, descriptors()))


def test_all_stopped(p, ledger, oracle):
    before, mine = oracle.processes(), [p.process(name) for name in DAEMONS]
    with Stream(p, "net0", "net1") as stream:
        for pid in mine:
            os.kill(pid, signal.SIGSTOP)
        try:
            time.sleep(STOP)
        finally:
            for pid in mine:
                os.kill(pid, signal.SIGCONT)
        tests.check(until(20, lambda: good(p), 0.1), f"all daemons stopped for {STOP} s and continued: all are there and in step")
    tests.check(stream.sent > 100 * STOP and not stream.missing, f"of {stream.sent} packets none is lost", stream.missing[:20])
    tests.same([p.process(name) for name in DAEMONS], mine, "the same daemons as before")
    tests.same(oracle.processes(), before, "no module was started again because nobody was heard")
    works(p, ledger, "after they were stopped", 5100)
    judged(oracle, "after they were stopped")


def test_clock_jumps(p, ledger, oracle, clock):
    if SANITIZED:
        tests.skip("the clock jumps", "the library that does it cannot be loaded before that of a sanitizer")
        return
    with Stream(p, "net0", "net1") as stream:
        for number, (ahead, words) in enumerate(((DAY, "a day forward"), (-400 * DAY, "a year back"))):
            before = oracle.processes()
            clock.set(ahead)
            time.sleep(1.2)  # all that is done every second has been
            works(p, ledger, f"the clock jumped {words}", 5200 + number)
            date = (datetime.datetime.utcnow() + datetime.timedelta(seconds=ahead)).strftime("%Y-%m-%d")
            tests.check(date in (p.folder_of("resource") / "log").read_text(), f"the daemons have that clock ({date})")
            tests.check(good(p) and oracle.processes() == before, f"the clock jumped {words}: no host is taken for lost and no module started again", p.client.get_drift())
            pid = next(iter(before.values()))[0]
            os.kill(pid, signal.SIGKILL)
            tests.check(until(20, lambda: pid not in sum(oracle.processes().values(), []) and good(p)), "a module that dies then is started again")
            name = str(p.client.call("resource", "get_version")["incarnation"])
            os.kill(p.process("resource"), signal.SIGKILL)
            with clock:
                p.command("start", "resource")
            p.record = flowstream.folder.Record.load(p.dir)
            tests.check(until(20, lambda: good(p)) and p.client.call("resource", "get_version")["incarnation"] != name, "a resource daemon that is started then is obeyed")
            works(p, ledger, "by that one", 5300 + number)
    judged(oracle, "after the clock jumped")


with contextlib.ExitStack() as stack:
    platform = Platform()
    with Clock(platform.scratch) as the_clock:
        stack.enter_context(platform)
    the_ledger = Ledger(platform.scratch / "ledger")
    the_oracle = Oracle(platform, the_ledger)
    the_ledger.install(platform.client, "standing", CHAIN.format(name="standing", port=5000), MODULES)
    for story, more in ((test_crowd, ()), (test_all_stopped, ()), (test_clock_jumps, (the_clock,))):
        begin = time.monotonic()
        with tests.story(story.__name__):
            story(platform, the_ledger, the_oracle, *more)
        print(f"# {story.__name__}: {time.monotonic() - begin:.1f} s", flush=True)
tests.check(not platform.leftovers, "down leaves nothing", platform.leftovers)
tests.end()

#!/usr/bin/python3
"""One hour of mixed load and faults: is what there is what was answered, does all go back to where it was, and how many packets does it cost?

usage: hour.py [--minutes N] [--seed N] [--clients N] [--rest MINUTES] [--every SECONDS] [--faults all|data|none] [--logs FILE]

Clients install, delete, plan, show, look at flows, make modules and connections by hand, drain hosts, back up, upgrade tasks and roll them back, and ask for rubbish. One allocation
carries numbered packets all the time. The time between two rests has two halves: in the first only daemons are killed (kill -9) and stopped (SIGSTOP), which must not cost a packet; in the
second also ovs-vswitchd, ovsdb-server, multiplexers and modules, and rules are removed with ovs-ofctl. With --faults data no daemon dies, so what grows in them is seen; with none nothing does.

At each rest tests/lib/oracle.py compares what there is with what was answered; then all but the numbered packets' allocation is deleted, it compares again, and memory, descriptors,
mappings, threads, namespaces, control groups and files are counted. The base line is the rest after the warm-up. Exit status 1: something was lost or left, has grown beyond the
tolerance (TOLERANCE in footing.py), or packets were lost that no fault of the data path explains.
"""

import argparse
import array
import collections
import contextlib
import sys
import time
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests" / "lib"))
sys.path.insert(0, str(TOP / "bench" / "platform"))

from chaos import Chaos  # noqa: E402
from flowtest import Platform, flowstream, until  # noqa: E402
from footing import COLUMNS, Footing  # noqa: E402
from measuring import machine, percentile, table  # noqa: E402
from mixed import CHAIN, CONTROLLER, DAEMONS, DATA_PATH, HOSTS, Faults, Load  # noqa: E402
from oracle import Ledger, Oracle  # noqa: E402
from traffic import Stream, number_of  # noqa: E402

PORT = 60001
APART = 0.5     # seconds of packets that came, until the next loss counts as another gap
BLAMED = 8.0    # seconds after a fault of the data path in which a gap may begin that it explains
WARM_UP = 60.0  # seconds of load without faults before the base line


class Carried(Stream):
    """A Stream that also knows when each packet was sent, and goes on where it cannot send: that packet is lost."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.times, self.came = array.array("d"), bytearray()

    def _see(self, frame):
        number = number_of(frame)
        if number is None:
            return False
        if number >= len(self.came):
            self.came.extend(bytes(number + 4096 - len(self.came)))
        self.came[number] = 1
        return True

    def _send(self, out):
        self.times.append(time.monotonic())
        with contextlib.suppress(OSError):
            super()._send(out)

    def __exit__(self, *_):
        self._end.set()
        self._thread.join()
        time.sleep(1)
        self._sniffer.stop()
        self.came.extend(bytes(max(0, self.sent - len(self.came))))
        self.missing = [number for number in range(self.sent) if not self.came[number]]

    def gaps(self):
        """(begin, seconds, packets) of each row of losses."""
        found = []
        for number in self.missing:
            at = self.times[number]
            if found and at - found[-1][1] < APART:
                found[-1][1:] = [at, found[-1][2] + 1]
            else:
                found.append([at, at, 1])
        return [(begin, end - begin, packets) for begin, end, packets in found]


def blame(gaps, faults):
    """fault of the data path, or None -> its gaps.  The last one before a gap that stood in the way explains it."""
    found = collections.defaultdict(list)
    for gap in gaps:
        near = [fault for fault in faults if fault.cuts and fault.at - 0.1 <= gap[0] <= fault.at + fault.seconds + BLAMED]
        found[near[-1].kind if near else None].append(gap)
    return found


class Run:
    def __init__(self, platform, options):
        self.platform, self.options = platform, options
        self.ledger = Ledger(platform.scratch / "ledger")
        self.oracle = Oracle(platform, self.ledger)
        self.chaos = Chaos(platform, self.ledger, 0, DAEMONS)  # for settled() alone
        self.begin, self.problems, self.base = time.monotonic(), [], None
        if not self.ledger.install(platform.client, "stream", CHAIN.format(name="stream", port=PORT), ("a", "b")):
            raise RuntimeError(self.ledger.entries["stream"].words)
        self.load = Load(platform, self.ledger, options.seed, options.clients)
        self.faults = Faults(platform, self.ledger, options.seed + 1)

    def work(self):
        self.load.go.set()
        time.sleep(min(WARM_UP, self.options.minutes * 12))
        self.rest()
        end = self.begin + self.options.minutes * 60
        while (left := end - time.monotonic()) > 5:
            self.load.go.set()
            half = min(self.options.rest * 60, left) / 2
            self.half(half, CONTROLLER if self.options.faults == "all" else {})
            self.half(half, {"all": CONTROLLER | DATA_PATH, "data": DATA_PATH, "none": {}}[self.options.faults])
            self.rest()
        self.load.stop()

    def half(self, seconds, kinds):
        if kinds:
            self.faults.run(seconds, self.options.every, kinds)
        else:
            time.sleep(seconds)

    def note(self, problems, when):
        for line in problems:
            self.problems.append(f"{time.monotonic() - self.begin:.0f} s, {when}: {line}")
            print(self.problems[-1], flush=True)

    def rest(self):
        client, begin = self.platform.client, time.monotonic()
        self.note([] if self.load.pause() else ["a call did not end within 120 s"], "at rest")
        self.note([] if self.chaos.settled(60) else ["not all daemons and hosts came back"], "at rest")
        for host in HOSTS:
            until(30, lambda host=host: self.undrained(host), 0.2)
        self.note([f"{entry} has no final answer" for entry in self.ledger.resolve(client)], "asked again")
        standing = self.ledger.count("installed")
        self.note(self.oracle.settle(60), f"with {standing} standing")
        for entry in reversed([entry for entry in self.ledger.of("installed") if entry.key != "stream"]):
            self.ledger.delete(client, entry.key)
        self.note([f"{entry} is not deleted" for entry in self.ledger.resolve(client)], "deleting")
        self.note(self.oracle.settle(60), "all deleted")
        for entry in self.ledger.of("deleted", "refused"):
            del self.ledger.entries[entry.key]
        time.sleep(8)  # flows that nobody asks for any more are forgotten, and the monitoring daemon has taken a sample of what is there now
        self.footing = Footing(self.platform)
        self.say(standing, time.monotonic() - begin)
        self.base = self.base or self.footing

    def undrained(self, host):
        with contextlib.suppress(flowstream.Error):
            self.platform.client.drain_host(host, False)
            return True
        return False

    def say(self, standing, seconds):
        print(f"-- {time.monotonic() - self.begin:.0f} s: {sum(self.load.done.values())} actions, {len(self.faults.log)} faults; {standing} stood; rest of {seconds:.0f} s", flush=True)
        table(("process", *COLUMNS), [(name, *(one[column] for column in COLUMNS)) for name, one in self.footing.processes.items()]
              + [("all", "", *(self.footing.total(column) for column in COLUMNS[1:]))])
        print(", ".join(f"{what} {count}" for what, count in self.footing.computer.items()), flush=True)


def report(run, stream):
    """The tables at the end, and what is wrong."""
    gaps = blame(stream.gaps(), run.faults.log)
    counts = collections.Counter(fault.kind for fault in run.faults.log)
    cutting = collections.Counter(fault.kind for fault in run.faults.log if fault.cuts)
    table(("fault", "times", "in the way", "gaps", "packets lost", "a gap, s: median", "longest"),
          [(kind or "UNEXPLAINED", counts[kind], cutting[kind], len(gaps[kind]), sum(gap[2] for gap in gaps[kind]),
            *((f"{percentile([gap[1] for gap in gaps[kind]], 50):.2f}", f"{max(gap[1] for gap in gaps[kind]):.2f}") if gaps[kind] else ("", "")))
           for kind in [*sorted(counts), *([None] if gaps[None] else [])]])
    for begin, seconds, packets in gaps[None]:
        before = [f"{fault.kind} {fault.what} {begin - fault.at:.1f} s before" for fault in run.faults.log if 0 <= begin - fault.at < 20]
        print(f"UNEXPLAINED: {packets} packets in {seconds:.2f} s, {begin - run.begin:.0f} s after the begin: {'; '.join(before) or 'no fault in 20 s'}")
    print(f"{stream.sent} packets sent, {len(stream.missing)} lost; the listener missed {stream._sniffer.drops}\n")
    load = run.load
    table(("action", "done", "not done", "slowest, s"),
          [(what, load.done[what, "done"], load.done[what, "not done"], f"{load.slowest[what]:.1f}") for what in sorted({what for what, _ in load.done})])
    print("What was answered to what was not done (numbers and paths as #):")
    for (what, words), count in load.words.most_common(40):
        print(f"{count:6} {what}: {words}")
    grown = run.footing.grown(run.base)
    return run.problems + grown + [f"{len(gaps[None])} losses of packets that no fault of the data path explains"] * bool(gaps[None])


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\nusage")[0], epilog=__doc__.partition("\n\n")[2].partition("\n\n")[2],
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=int(time.time()), help="repeats the choices, not the moments (default: the time)")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--rest", type=float, default=5, help="minutes from one rest to the next (default: 5)")
    parser.add_argument("--every", type=float, default=3, help="seconds between faults, on average (default: 3)")
    parser.add_argument("--faults", choices=("all", "data", "none"), default="all", help="data: no daemon is killed or stopped; none: load alone")
    parser.add_argument("--pps", type=int, default=200, help="numbered packets a second (default: 200)")
    parser.add_argument("--logs", help="where to keep the logs of all daemons")
    options = parser.parse_args()
    machine()
    print(f"seed {options.seed}; {options.clients} clients, {options.minutes:g} minutes", flush=True)
    with Platform(supervise=True) as platform:
        run = Run(platform, options)
        with Carried(platform, "net0", "net1", pps=options.pps, port=PORT) as stream:
            run.work()
        problems = report(run, stream)
        if options.logs:
            Path(options.logs).write_text(platform.logs())
    problems += [f"LEFT by down: {line}" for line in platform.leftovers]
    print("\n" + ("\n".join(problems) if problems else "verdict: nothing lost, nothing left, back to the base line"))
    return 1 if problems else 0


sys.exit(main())

#!/usr/bin/python3
"""Each failpoint, with each thing that can go wrong there, 20 times, under a mixed load: is all that was answered there, and nothing else?

usage: failpoints.py [--times N] [--clients N] [--seed N] [--part I/N] [POINT ...]

A round: clients install, plan, delete, back up, patch and change the platform, while the point is armed (to be killed, to wait, to fail, to write half) and somebody goes there;
then the oracle (tests/lib/oracle.py) looks. Needs a build with --enable-failpoints. Exit status 1: something was lost or left, each is named; or a point was not hit each time.
"""

import argparse
import contextlib
import random
import sys
import threading
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests" / "lib"))
sys.path.insert(0, str(TOP / "bench" / "platform"))

import failpoints  # noqa: E402
import faultways  # noqa: E402
from chaos import CHAIN, MODULES  # noqa: E402
from flowtest import BUILD, Platform, flowstream  # noqa: E402
from measuring import machine, table  # noqa: E402

from flowstream import change  # noqa: E402

MOST = 8  # allocations of the load that stand at a time


class Load:
    """Clients that do this and that; some of it standing from round to round."""

    def __init__(self, story, seed, clients):
        self.story, self.p, self.ledger = story, story.p, story.ledger
        self.chance, self.clients = random.Random(seed), clients
        self.mine, self.number, self.lock, self.did = [], 0, threading.Lock(), {}
        self.files = self._platform_files()
        self.only_reading = False  # while a backup is restored: what is installed or deleted beside it is rightly undone
        self.undone = False  # a change of the platform that was not answered

    def _platform_files(self):
        """Two that differ in what a host can do, and in nothing that a rule or port follows from."""
        made = []
        for cpu in ("12", "16"):
            tree = ElementTree.parse(self.p.dir / "platform.xml")
            for server in tree.getroot().iter("server"):
                server.set("cpu", cpu)
            made.append(self.p.scratch / f"platform-{cpu}.xml")
            tree.write(made[-1])
        return made

    def start(self):
        self.threads = [threading.Thread(target=self._client, args=(self.chance.random(),)) for _ in range(self.clients)]
        for thread in self.threads:
            thread.start()

    def join(self):
        for thread in self.threads:
            thread.join()
        while self.undone:  # to be asked again, as an operator would
            self.replatform(None, random.Random(1))

    def trim(self):
        """What was installed only when it was asked for again is nobody's to delete: not more of that than there is room for."""
        self.mine = [entry.key for entry in self.ledger.of("installed")]
        while len(self.mine) > MOST:
            self.delete(self.p.client, self.chance)

    def _client(self, seed):
        chance = random.Random(seed)
        with flowstream.Client(self.p.dir, deadline=20) as client:
            for _ in range(chance.randint(1, 3)):
                odds = (0, 0, 3, 3, 0) if self.only_reading else (10, 10, 3, 3, 1)
                what = chance.choices((self.install, self.delete, self.plan, self.read, self.replatform), odds)[0]
                self.did[what.__name__] = self.did.get(what.__name__, 0) + 1
                what(client, chance)
                time.sleep(chance.uniform(0, 0.05))

    def install(self, client, chance):
        with self.lock:
            self.number += 1
            key, full = f"load{self.number}", len(self.mine) >= MOST
        if full:
            self.delete(client, chance)
        elif self.ledger.install(client, key, CHAIN.format(name=key, port=20000 + self.number), MODULES):
            with self.lock:
                self.mine.append(key)

    def delete(self, client, chance):
        with self.lock:
            key = self.mine.pop(chance.randrange(len(self.mine))) if self.mine else None
        if key:
            self.ledger.delete(client, key)

    def plan(self, client, chance):
        with contextlib.suppress(flowstream.Error):
            client.plan_allocation(CHAIN.format(name="plan", port=19000 + chance.randrange(900)))

    def read(self, client, chance):
        with contextlib.suppress(flowstream.Error):
            client.list_allocations()
            client.get_drift()

    def replatform(self, _, chance):
        try:
            change.apply(self.p.dir, chance.choice(self.files))
            self.undone = False
        except flowstream.Error:
            self.undone = True
            time.sleep(0.1)


def action_of(name, kind, chance):
    """Not always the first that comes by: sometimes the load's, in the middle of something.  While a daemon starts nothing comes by twice."""
    at = f"@{1 if faultways.is_for_a_start(name) else chance.choice((1, 1, 1, 2, 3))}"
    return f"delay:{chance.randint(50, 600)}{at}" if kind == "delay" else kind + at


def round_of(story, load, name, point, kind, chance):
    """Was it hit; what was wrong."""
    action = action_of(name, kind, chance)
    load.only_reading = faultways.WAYS.get(name, ("", False))[0] == "restore"
    load.start()
    try:
        hit = story.strike(name, point, action)
        hit = hit or story.strike(name, point, kind if kind != "delay" else "delay:300")
    finally:
        load.join()
    story.settled()
    problems = story.judge()
    load.trim()
    return hit, [f"{name} {action}: {line}" for line in problems]


def series(story, load, name, point, options):
    """Rounds of one point: a row of the table, and what was wrong."""
    row, problems = [name], []
    for kind in ("kill", "delay", "error", "short"):
        if kind not in faultways.kinds(point[1]):
            row.append("-")
            continue
        chance, hits, good, begin = random.Random(f"{options.seed}/{name}/{kind}"), 0, 0, time.monotonic()
        for _ in range(options.times):
            hit, wrong = round_of(story, load, name, point, kind, chance)
            hits += bool(hit)
            good += not wrong
            problems += wrong
            for line in wrong:
                print(f"  {line}", flush=True)
        if hits < options.times:
            problems.append(f"{name} {kind}: hit {hits} times of {options.times}")
        row.append(f"{hits} {good}" if (hits, good) != (options.times, options.times) else str(good))
        print(f"{name} {kind}: {hits} of {options.times} hit, {good} good, {time.monotonic() - begin:.0f} s", flush=True)
    return row, problems


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--clients", type=int, default=3)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--part", default="1/1", help="only each Nth point, from the Ith on: several runs at a time on several platforms")
    parser.add_argument("points", nargs="*", metavar="POINT")
    options = parser.parse_args()
    points = failpoints.points()
    unknown = [name for name in options.points if name not in points]
    if unknown:
        parser.error(f"there is no failpoint {unknown[0]}; python3 tests/lib/failpoints.py lists them")
    if not failpoints.are_compiled_in(BUILD):
        print(f"{BUILD} has no failpoints: docs/testing.md says how to make a build that has them, then bench/run --build BUILD failpoints")
        return 0
    machine()
    print(f"seed {options.seed}", flush=True)
    first, each = map(int, options.part.split("/"))
    rows, problems = [], []
    with Platform(supervise=True) as p:
        story = faultways.Story(p)
        load = Load(story, options.seed, options.clients)
        for name in (options.points or sorted(points))[first - 1::each]:
            row, wrong = series(story, load, name, points[name], options)
            rows.append(row)
            problems += wrong
        for entry in story.ledger.of("installed"):
            story.ledger.delete(p.client, entry.key)
        problems += [f"all deleted: {line}" for line in story.judge()]
        print("the load: " + ", ".join(f"{n} {what}" for what, n in sorted(load.did.items())))
        print(f"the ledger: {len(story.ledger.entries)} asked, {story.ledger.count('deleted')} deleted, {story.ledger.count('refused')} refused")
        reports = [line for line in p.logs().splitlines() if "Sanitizer" in line or "runtime error:" in line or "Assertion" in line]
    problems += reports + list(p.leftovers)
    print(f"seed {options.seed}; rounds that were hit and good, of {options.times} (two numbers: hit, good)")
    table(("point", "kill", "delay", "error", "short"), rows)
    print("\n".join(problems) if problems else "nothing lost, nothing left")
    return 1 if problems else 0


sys.exit(main())

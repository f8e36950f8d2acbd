#!/usr/bin/python3
"""kill -9 of each daemon again and again under traffic: packets lost, connections refused, and how long until it serves again.

usage: restarts.py [--times N] [--pps N]

One allocation carries numbered packets all the time. Exit status 1: packets of it were lost.
"""

import argparse
import contextlib
import os
import signal
import sys
import time
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests" / "lib"))
sys.path.insert(0, str(TOP / "bench" / "platform"))

from flowtest import Platform, flowstream, until  # noqa: E402
from measuring import machine, percentile, table  # noqa: E402
from traffic import Stream  # noqa: E402

from flowstream import embedded  # noqa: E402

CHAIN = 'NAME=s\nin :: FromNet("in_port=net0,udp,tp_dst=5000")\nin -> a :: Counter("") -> b :: Counter("") -> ToNet("net1")\n'


def serves(p, name, before):
    pid = next(part["pid"] for part in embedded.parts(p.record) if part["name"] == name)
    with contextlib.suppress(flowstream.Error):
        return pid not in (None, before) and p.client.call(name, "ping", deadline=5) == "pong"
    return False


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--pps", type=int, default=400)
    options = parser.parse_args()
    machine()
    rows, lost = [], 0
    with Platform(supervise=True) as p:
        p.client.install_allocation(CHAIN)
        for name in p.record.data["daemons"]:
            took, refused = [], 0
            with Stream(p, "net0", "net1", pps=options.pps) as stream:
                for _ in range(options.times):
                    before = p.process(name)
                    os.kill(before, signal.SIGKILL)
                    begin = time.monotonic()
                    try:
                        p.client.call(name, "ping", deadline=20)
                    except flowstream.Error as error:
                        refused += "refused" in str(error)
                    until(30, lambda: serves(p, name, before), 0.005)
                    took.append((time.monotonic() - begin) * 1000)
                    time.sleep(0.05)
            lost += len(stream.missing)
            rows.append((name, len(took), stream.sent, len(stream.missing), refused, f"{percentile(took, 50):.0f}", f"{max(took):.0f}"))
    table(("daemon", "kills", "packets", "lost", "refused", "serves again, ms", "slowest"), rows)
    return 1 if lost else 0


sys.exit(main())

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

STEADY = 2.1  # seconds: a little more than STEADY_MS of daemons/supervisor/main.c
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
    with Platform(supervise=True) as p:
        p.client.install_allocation(CHAIN)
        names = list(p.record.data["daemons"])
        took, refused, last = {name: [] for name in names}, dict.fromkeys(names, 0), dict.fromkeys(names, 0.0)
        with Stream(p, "net0", "net1", pps=options.pps) as stream:
            for _ in range(options.times):
                for name in names:
                    # What ends soon after its start is started again later and later: that is not what is measured here.
                    time.sleep(max(0.0, last[name] + STEADY - time.monotonic()))
                    before, begin = p.process(name), time.monotonic()
                    os.kill(before, signal.SIGKILL)
                    try:
                        p.client.call(name, "ping", deadline=20)
                    except flowstream.Error as error:
                        refused[name] += "refused" in str(error)
                    until(30, lambda name=name, before=before: serves(p, name, before), 0.005)
                    last[name] = time.monotonic()
                    took[name].append((last[name] - begin) * 1000)
    table(("daemon", "kills", "refused", "serves again, ms", "99 %", "slowest"),
          [(name, len(ms), refused[name], f"{percentile(ms, 50):.0f}", f"{percentile(ms, 99):.0f}", f"{max(ms):.0f}") for name, ms in took.items()])
    print(f"{stream.sent} packets sent meanwhile, {len(stream.missing)} lost")
    return 1 if stream.missing else 0


sys.exit(main())

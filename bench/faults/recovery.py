#!/usr/bin/python3
"""How long until what was lost is there again: a switch with 10,000 rules whose ovs-vswitchd is killed; all daemons with 300 allocations; a module; a daemon stopped for 30 s.

usage: recovery.py [--rules N] [--allocations N] [--times N] [--stop SECONDS] [--only NAME...]

Times are wall clock, from the kill until the switch (asked with ovs-ofctl) has all its rules again, or until drift is empty; with ovs-vswitchd's own start, and that of the supervisor.
Packets are numbered and sent all the time. Exit status 1: something did not come back.
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests" / "lib"))
sys.path.insert(0, str(TOP / "bench" / "platform"))

from flowtest import Platform, flowstream, until  # noqa: E402
from measuring import machine, percentile, table  # noqa: E402
from traffic import Stream  # noqa: E402

CHAIN = 'NAME={name}\nin :: FromNet("in_port=net0,udp,tp_dst={port}")\nin -> a :: Counter("") {{cpu=0.02, mem=16MB}} -> ToNet("net1")\n'
DAEMONS = ("resource", "openflow", "pm", "monitoring", "modulehost:h1", "modulehost:h2", "modulehost:h3")


def count_rules(target):
    done = subprocess.run(["ovs-ofctl", "-OOpenFlow14", "dump-aggregate", target, "cookie=0xf105000000000000/0xffff000000000000"], capture_output=True, text=True, timeout=60)
    return int(done.stdout.rpartition("flow_count=")[2].split()[0]) if "flow_count=" in done.stdout else 0


def in_step(p):
    with contextlib.suppress(flowstream.Error):
        return p.client.get_drift()["in_step"]
    return False


def await_all(p, seconds):
    return until(seconds, lambda: in_step(p), 0.02)


def connect(p, rules):
    """Connections by hand: any number of rules, and no module for each of them."""
    server = p.server()
    each = 500
    for first in range(0, rules // 4, each):  # a FromNet without in_port takes from the other network ports; more than 7,500 flows want more than the links have
        lines = [f'in{n} :: FromNet("udp,tp_dst={1000 + first + n}"); in{n} -> out' for n in range(each)]
        answer = server.create_connections("tor0", 10, 'out :: ToNet("net1"); ' + "; ".join(lines))
        if answer["code"]:
            raise RuntimeError(answer["message"])


def vswitchd(p, times, wanted):
    took = []
    target = p.bridges()["tor0"]
    for _ in range(times):
        await_all(p, 60)
        os.kill(p.process("ovs-vswitchd"), signal.SIGKILL)
        begin = time.monotonic()
        if not until(60, lambda: count_rules(target) >= wanted, 0.01):
            raise RuntimeError(f"{count_rules(target)} of {wanted} rules are back after 60 s")
        took.append(time.monotonic() - begin)
    return took


def all_daemons(p, times):
    took = []
    for _ in range(times):
        await_all(p, 60)
        for name in DAEMONS:
            with contextlib.suppress(ProcessLookupError, TypeError):
                os.kill(p.process(name), signal.SIGKILL)
        begin = time.monotonic()
        if not await_all(p, 120):
            raise RuntimeError("the platform is not in step after 120 s")
        took.append(time.monotonic() - begin)
    return took


def modules(p, times):
    took = []
    for path in sorted(p.dir.glob("hosts/*/modules/*/pid"))[:times]:
        before = path.read_text()
        os.kill(int(before.split()[0]), signal.SIGKILL)
        begin = time.monotonic()

        def is_back():
            with contextlib.suppress(OSError):
                return path.read_text() not in ("", before)
            return False
        if not until(60, is_back, 0.005):
            raise RuntimeError(f"{path} is not back after 60 s")
        took.append(time.monotonic() - begin)
        time.sleep(0.2)
    return took


def stopped(p, seconds):
    """Each daemon in turn: packets of an allocation lost while it is stopped and when it goes on."""
    lost = {}
    for name in ("resource", "openflow", "modulehost:h1"):
        with Stream(p, "net0", "net1", port=60001) as stream:
            pid = p.process(name)
            os.kill(pid, signal.SIGSTOP)
            time.sleep(seconds)
            os.kill(pid, signal.SIGCONT)
            back = await_all(p, 60)
        lost[name] = (len(stream.missing), stream.sent, back)
    return lost


def row(what, took):
    return (what, f"{percentile(took, 50):.2f}, {max(took):.2f} s ({len(took)} times)")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rules", type=int, default=10000)
    parser.add_argument("--allocations", type=int, default=300)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--stop", type=float, default=30, help="seconds that a daemon is stopped (default: 30)")
    parser.add_argument("--only", nargs="*", default=("rules", "allocations", "modules", "stopped"))
    options = parser.parse_args()
    machine()
    rows = []
    if "rules" in options.only:
        with Platform(supervise=True) as p:
            connect(p, options.rules)
            wanted = count_rules(p.bridges()["tor0"])
            rows.append(row(f"ovs-vswitchd killed, {wanted} rules: median, longest until all are back", vswitchd(p, options.times, wanted)))
    with Platform(supervise=True) as p:
        p.client.install_allocation(CHAIN.format(name="stream", port=60001))
        for n in range(options.allocations - 1 if "allocations" in options.only else 20):
            p.client.install_allocation(CHAIN.format(name=f"n{n}", port=1000 + n))
        begin = time.monotonic()
        await_all(p, 60)
        rows.append((f"drift of {len(p.client.list_allocations())} allocations, asked when nothing differs", f"{time.monotonic() - begin:.2f} s"))
        if "allocations" in options.only:
            with Stream(p, "net0", "net1", port=60001) as stream:
                rows.append(row(f"all daemons killed, {options.allocations} allocations: until all is compared and right", all_daemons(p, options.times)))
            rows.append(("packets of a running allocation lost meanwhile", f"{len(stream.missing)} of {stream.sent}"))
        if "modules" in options.only:
            rows.append(row("a module killed: until another process is in its place", modules(p, options.times)))
        if "stopped" in options.only:
            rows += [(f"{name} stopped for {options.stop:.0f} s: packets lost", f"{lost} of {sent}{'' if back else ', NOT IN STEP'}")
                     for name, (lost, sent, back) in stopped(p, options.stop).items()]
    table(("what", "figure"), rows)
    return 1 if any("NOT IN STEP" in figure for _, figure in rows) else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/python3
"""The resource daemon with very many allocations: from its start until it serves, what it answers then, its memory, and what it does while nothing is asked.

usage: many.py [--allocations N] [--idle SECONDS] [--keep]

Three requests are installed for real, three modules each; the store is then filled with copies of them (bench/store/store_many.c) that are on a second rack, whose switch and
hosts cannot be reached, and the daemon is started on it.  The first rack lives: there an allocation is installed beside the others, asked for, and deleted.
Exit status 1: something of that is not right.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests" / "lib"))
sys.path.insert(0, str(TOP / "bench" / "platform"))

from flowtest import BUILD, Platform, flowstream, until  # noqa: E402
from measuring import machine, percentile, table  # noqa: E402

from flowstream import processes  # noqa: E402

CHAIN = """NAME={name}
in :: FromNet("in_port=net0,udp,nw_src={address},tp_dst={port}")
in -> a :: Counter("") {{cpu=0.02, mem=16MB}} -> b :: Counter("") {{cpu=0.02, mem=16MB}} -> c :: Counter("") {{cpu=0.02, mem=16MB}} -> ToNet("net1")
"""
WORDS = ["net0=far0", "net1=far1", "tor0=tor9", *(f"{kind}{n}{rest}={new}{n}{rest}" for n in (1, 2, 3) for kind, new, rest in (
    ("h", "g", ""), ("h", "g", "-up"), ("h", "g", "-trunk"), ("br-h", "br-g", ""), ("to-h", "to-g", "")))]
# A platform is one piece, so the rack that is not there hangs at a port that is.
FAR = """<io id="far0"/><io id="far1"/><switch id="tor9" role="tor" target="unix:/nowhere/tor9.mgmt"/>
<link a="tor0" b="tor9" a-port="mon0" b-port="up" bandwidth="1000" delay="1" mtu="1600"/>
<link a="far0" b="tor9" b-port="far0" bandwidth="9000000" delay="1" mtu="1500"/><link a="far1" b="tor9" b-port="far1" bandwidth="9000000" delay="1" mtu="1500"/>
""" + "".join(f"""<server id="g{n}" cpu="1000000" mem="9000000" bandwidth="9000000" delay="1"/>
<link a="tor9" b="g{n}" a-port="to-g{n}" b-port="g{n}-up" bandwidth="9000000" delay="1" mtu="1600"/>""" for n in (1, 2, 3)) + "</platform>"


class Failed(Exception):
    pass


def memory(pid):
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.search(r"^Pss: +(\d+)", text, re.M)[1]) * 1024


def processor(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def check(good, what):
    if not good:
        raise Failed(what)


def timed(function, *args):
    begin = time.monotonic()
    value = function(*args)
    return value, time.monotonic() - begin


def end(pid, number):
    daemon = processes.identify("the daemon", pid)
    os.kill(pid, number)
    check(until(60, lambda: not daemon.alive(), 0.01), "the daemon does not end")


def start(p):
    """The daemon as 'flowstream start' starts it; from then until it answers.  Not through the client's own wait: that asks rarely."""
    done = subprocess.Popen([str(BUILD / "bin" / "flowstream"), "start", "resource", "--dir", str(p.dir)], stdout=subprocess.DEVNULL)
    log = p.dir / "resource" / "pid"
    before = log.read_text() if log.exists() else ""
    check(until(60, lambda: log.exists() and log.read_text() not in ("", before), 0.002), "the daemon is not started")
    begin = time.monotonic()

    def answers():
        try:
            return p.client.call("resource", "ping") == "pong"
        except flowstream.Error:
            return False
    check(until(300, lambda: answers() or done.poll(), 0.01) is True, "the daemon does not start")
    took = time.monotonic() - begin
    check(not done.wait(), "the daemon does not start")
    p.record = flowstream.folder.Record.load(p.dir)
    p.client.close()
    p.client = flowstream.Client(p.dir)
    return took


def extend(p, more):
    """Another platform for the daemon, which is not running."""
    platform = p.dir / "platform.xml"
    platform.write_text(re.sub(r'<io id="mon0"[^>]*>|<link a="mon0"[^>]*>', "", platform.read_text()).replace("</platform>", more))


def fill(p, n):
    ids = [p.client.install_allocation(CHAIN.format(name=f"t{k}", address="10.77.0.1", port=7000 + k)) for k in range(3)]
    hosts = {p.client.get_allocation(id_)["modules"][0]["host"] for id_ in ids}
    end(p.process("resource"), signal.SIGTERM)
    extend(p, FAR)
    _, took = timed(subprocess.run, [str(BUILD / "bench/store/store-many"), str(p.dir / "resource/store.db"), str(n), *WORDS])
    print(f"# {n} copies of allocations on {', '.join(sorted(hosts))} written in {took:.1f} s", flush=True)
    return ids


def measure(p, n, seconds, rows):
    ids = fill(p, n)
    store = p.dir / "resource/store.db"
    rows.append(("store, an allocation", f"{store.stat().st_size / n / 1e3:.1f} kB ({store.stat().st_size / 1e6:.0f} MB)"))
    rows.append(("start until it answers", f"{start(p):.2f} s"))
    pid = p.process("resource")
    rows.append(("processor time of that", f"{processor(pid):.2f} s"))
    rows.append(("memory (PSS) after that", f"{memory(pid) / 1e6:.0f} MB, {memory(pid) / n / 1e3:.1f} kB an allocation"))
    until(60, lambda: p.client.hosts_up() == ["h1", "h2", "h3"], 0.1)
    before = processor(pid)
    found, took = timed(p.client.list_allocations, True)
    check(len(found) == n + len(ids) and len({a["id"] for a in found}) == len(found), f"{len(found)} allocations are listed")
    rows.append((f"list_allocations, {len(found)} by pages of 1,000, brief", f"{took:.2f} s ({processor(pid) - before:.2f} s of the daemon)"))
    one, took = timed(p.client.get_allocation, found[n // 2]["id"])
    check(one["name"] == f"many{one['id']}" and len(one["modules"]) == 3 and len(one["paths"]) == 4, f"get_allocation answers {one}")
    rows.append(("get_allocation of one", f"{took * 1e3:.0f} ms"))
    installs, deletes = [], []
    for k in range(20):
        id_, took = timed(p.client.install_allocation, CHAIN.format(name="beside", address="10.78.0.1", port=7100))
        installs.append(took)
        check(id_ > found[-1]["id"], f"the new one has id {id_}")
        deletes.append(timed(p.client.delete_allocation, id_)[1])
    rows.append(("install, delete beside them (20 times, median)", f"{percentile(installs, 50) * 1e3:.0f} ms, {percentile(deletes, 50) * 1e3:.0f} ms"))
    taken = CHAIN.format(name="taken", address="10.100.100.108", port=7002).replace("net0", "far0").replace("net1", "far1")  # the ninth copy's
    try:
        p.client.install_allocation(taken)
        raise Failed("packets that another takes are given away")
    except flowstream.Error as error:
        check("can match the same packet" in str(error), error)
    before = processor(pid), processor(p.process("monitoring"))
    time.sleep(seconds)
    rows.append(("idle: resource, monitoring, of a core", ", ".join(f"{(processor(p.process(d)) - b) / seconds * 100:.1f} %" for d, b in zip(("resource", "monitoring"), before))))
    rows.append(("memory (PSS) at the end: resource, monitoring", f"{memory(pid) / 1e6:.0f} MB, {memory(p.process('monitoring')) / 1e6:.0f} MB"))
    end(pid, signal.SIGKILL)
    rows.append(("start again after kill -9", f"{start(p):.2f} s"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--allocations", type=int, default=100000)
    parser.add_argument("--idle", type=float, default=20, help="seconds of watching while nothing is asked (default: 20)")
    options = parser.parse_args()
    machine()
    rows, status = [], 0
    with Platform() as p:
        try:
            measure(p, options.allocations, options.idle, rows)
        except Failed as error:
            print(f"many: {error}", file=sys.stderr)
            status = 1
    table((f"{options.allocations} allocations", ""), rows)
    return status


if __name__ == "__main__":
    sys.exit(main())

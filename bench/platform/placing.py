#!/usr/bin/python3
"""What the placement step costs beside many allocations, and how long the resource daemon takes to start with them.

usage: placing.py [--size RACKSxHOSTS] [--held N,N,...] [--probes N] [--against BUILD]

The resource daemon, its store and its placement step are the real ones, on a platform of many racks; the module hosts are registered by this program and nothing is
started on them.  Requests are two modules from net0 to net1.  Times are processor time of the daemon: of its thread for a step, of the whole process for a start (until it
answers).  With --against the other build is measured after this one.
"""

import argparse
import contextlib
import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import xmlrpc.client
from pathlib import Path

from measuring import OWN_BUILD, commit_of, machine, percentile, table

from racks import racks  # after measuring, which knows where the library of tests is

BATCH = 50
CONFIG = """<daemon name="resource" dir="{dir}" lib="{lib}">
  <listen tcp="127.0.0.1:0"/>
  <platform file="{dir}/platform.xml"/>
</daemon>
"""


class Daemon:
    """A resource daemon in a folder of its own."""

    def __init__(self, build, folder, platform):
        self.build, self.folder = build, folder
        shutil.copytree(build / "lib/flowstream", folder / "lib", ignore=shutil.ignore_patterns("tests", "bench", "types", "*.la"), symlinks=False)
        shutil.copy(OWN_BUILD / "lib/flowstream/bench/platform/hold.so", folder / "lib/tasks/resource/hold.so")
        (folder / "platform.xml").write_text(platform)
        (folder / "config.xml").write_text(CONFIG.format(dir=folder, lib=folder / "lib"))

    def start(self):
        """Processor seconds until it answers."""
        log = self.folder / "out"
        with open(log, "w") as out:
            self.process = subprocess.Popen([str(self.build / "bin/flowstream-resource"), "--config", str(self.folder / "config.xml"), "--foreground"], stdout=out, stderr=out)
        while "127.0.0.1:" not in log.read_text():
            if self.process.poll() is not None:
                raise SystemExit(log.read_text())
            time.sleep(0.002)
        port = log.read_text().split("127.0.0.1:")[1].split()[0].rstrip(".,/")
        self.url = f"http://127.0.0.1:{int(port.split('/')[0])}/RPC2"
        self.server = xmlrpc.client.ServerProxy(self.url, allow_none=True)
        self.server.ping()
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        self.process.kill()
        self.process.wait()

    def register(self, names):
        """All hosts now, and again every two seconds, as hosts do, until the daemon ends."""
        def once(server):
            calls = xmlrpc.client.MultiCall(server)
            for name in names:
                calls.register_host({"name": name, "address": "http://127.0.0.1:9/RPC2", "cpu": 8.0, "mem": 2048.0, "bridge": name, "switch": "unix:/nowhere", "trunk": "t",
                                     "basesys": ["linux.process"], "incarnation": "1"})
            calls()

        def again(process):
            with xmlrpc.client.ServerProxy(self.url, allow_none=True) as server, contextlib.suppress(OSError, http.client.HTTPException):
                while process.poll() is None:
                    time.sleep(2)
                    once(server)
        once(self.server)
        threading.Thread(target=again, args=(self.process,), daemon=True).start()

    def hold(self, **parameter):
        answer = self.server.run_task("hold", parameter, {"wait": 50, "priority": "high"})
        while answer["code"] == -1:
            time.sleep(0.1)
            task = self.server.get_task(answer["value"])["value"]
            if task["state"] not in ("waiting", "running"):
                answer = {"code": int(task["state"] != "done"), "message": task.get("message", ""), "value": task.get("value")}
        if answer["code"] or answer["value"]["error"]:
            raise SystemExit(answer["message"] or answer["value"]["error"])
        return answer["value"]


def request(n):
    """What compile_request makes of a chain of two modules."""
    def node(name, kind, **more):
        return {"name": name, "kind": kind, "type": "", "args": "", "inputs": int(kind != "from"), "outputs": int(kind != "to"), "match": "", "in_port": "", "ports": [], **more}
    nodes = [node("in", "from", match=f"in_port=net0,udp,tp_src={n // 60000},tp_dst={n % 60000 + 1}", in_port="net0"), node("a", "module", type="Counter"), node("b", "module", type="Counter"),
             node("out", "to", ports=["net1"])]
    links = [{"from": a, "from_port": 0, "to": b, "to_port": 0} for a, b in (("in", "a"), ("a", "b"), ("b", "out"))]
    for one in nodes[1:3]:
        one.update(cpu=0.1, mem=4.0)
    return {"headers": {}, "nodes": nodes, "links": links, "delays": [], "warnings": ""}


def measure(options):
    n_racks, n_hosts = map(int, options.size.split("x"))
    names = [f"r{rack}h{host}" for rack in range(n_racks) for host in range(n_hosts)]
    rows, held = [], 0
    with tempfile.TemporaryDirectory(prefix="flowstream-bench-") as folder:
        daemon = Daemon(OWN_BUILD if options.build is None else options.build, Path(folder), racks(n_racks, n_hosts))
        for wanted in options.held:
            start = daemon.start()
            try:
                daemon.register(names)
                daemon.hold(prepared=names, requests=[], keep=False)
                planning = []
                while held < wanted:
                    n = min(BATCH, wanted - held)
                    planning += daemon.hold(prepared=[], requests=[request(held + i) for i in range(n)], keep=True)["planning"]
                    held += n
                placing = daemon.hold(prepared=[], requests=[request(held + i) for i in range(options.probes)], keep=False)["placing"]
                daemon.stop()
                start = daemon.start()
            finally:
                daemon.stop()
            rows.append({"held": held, "median": percentile(placing, 50), "worst": percentile(placing, 99), "planning": percentile(planning[-200:] or [0], 50), "start": start})
    return rows


def in_child(build, options):
    argv = [sys.executable, __file__, "--child", "--size", options.size, "--held", ",".join(map(str, options.held)), "--probes", str(options.probes), "--build", str(build)]
    done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True, env={**os.environ, "FLOWSTREAM_BENCH_BUILD": str(OWN_BUILD)})
    return json.loads(done.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="20x10", help="RACKSxHOSTS of the platform (default 20x10)")
    parser.add_argument("--held", default="0,100,1000,3000", type=lambda text: [int(n) for n in text.split(",")], help="allocations that are there, ascending (default 0,100,1000,3000)")
    parser.add_argument("--probes", type=int, default=500, help="placements measured at each (default 500)")
    parser.add_argument("--against", type=Path, help="another build folder to compare with")
    parser.add_argument("--build", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(options)))
        return
    machine()
    for build in [OWN_BUILD] + ([options.against.resolve()] if options.against else []):
        print(f"build {commit_of(build)}:", flush=True)
        rows = [[row["held"], f"{row['median']:.0f} us", f"{row['worst']:.0f} us", f"{row['planning']:.0f} us", f"{row['start']:.2f} s"] for row in in_child(build, options)]
        table(["held", "place: median", "99 %", "plan and store", "start of the daemon"], rows)


main()

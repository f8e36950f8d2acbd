#!/usr/bin/python3
"""Durable changes/s of the resource daemon: clients that each have another host drained, a call that is one change in the store and nothing else, and wait for the answer.

usage: daemon.py [--seconds N]; the daemon is that of $FLOWSTREAM_BUILD.  The hosts are names that nobody answers for.
"""

import argparse
import base64
import signal
import subprocess
import sys
import urllib.parse
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "bench" / "faults"))

from many import end, extend, processor, start  # noqa: E402
from measuring import OWN_BUILD, machine, table  # noqa: E402
from flowtest import Platform  # noqa: E402

HOSTS = 64
FAR = """<switch id="tor9" role="tor" target="unix:/nowhere/tor9.mgmt"/><link a="tor0" b="tor9" a-port="mon0" b-port="up" bandwidth="1000" delay="1" mtu="1600"/>
""" + "".join(f"""<server id="f{n}" cpu="1" mem="100" bandwidth="100" delay="1"/>
<link a="tor9" b="f{n}" a-port="to-f{n}" b-port="f{n}-up" bandwidth="100" delay="1" mtu="1600"/>""" for n in range(1, HOSTS + 1)) + "</platform>"


def load(p, clients, seconds):
    url = urllib.parse.urlsplit(p.client.url("resource"))
    secret = base64.b64encode(f"{urllib.parse.unquote(url.username)}:{urllib.parse.unquote(url.password)}".encode()).decode()
    pid = p.process("resource")
    before = processor(pid)
    done = subprocess.run([str(OWN_BUILD / "bench/rpc/rpc-load"), f"tcp:{url.port}", "drain_host:f#", str(clients), str(seconds), secret],
                          capture_output=True, text=True, check=True)
    rate = float(done.stdout)
    return rate, (processor(pid) - before) / rate / seconds * 1e6


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3)
    options = parser.parse_args()
    machine()
    rows = []
    with Platform() as p:
        end(p.process("resource"), signal.SIGTERM)
        extend(p, FAR)
        start(p)
        for n in range(1, HOSTS + 1):
            p.client.call("resource", "register_host", {"name": f"f{n}", "address": "http://127.0.0.1:9/RPC2", "switch": f"unix:/nowhere/br-f{n}.mgmt", "trunk": "t", "incarnation": "1",
                                                        "bridge": f"br-f{n}"})
        for clients in (1, 2, 4, 8, 16, 32, 64):
            rate, used = load(p, clients, options.seconds)
            rows.append((str(clients), f"{rate:.0f}", f"{used:.0f}"))
        drained = [h["name"] for h in p.client.list_hosts() if h["draining"]]
    table(("clients", "durable changes/s", "us of processor each"), rows)
    return 0 if len(drained) == HOSTS else 1


sys.exit(main())

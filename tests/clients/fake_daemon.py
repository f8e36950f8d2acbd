#!/usr/bin/python3
"""A daemon that only pretends: reads the configuration that "flowstream up" writes, and answers a few methods as a real one does.

FAKE_FAULT="KIND:what" makes the daemon of that kind misbehave: "exit" ends at once, "silent" never answers.
"""

import base64
import os
import socketserver
import sys
import threading
import time
import xml.etree.ElementTree as ElementTree
import xmlrpc.client
from xmlrpc.server import SimpleXMLRPCRequestHandler, SimpleXMLRPCServer

if sys.argv[1:2] == ["--check-platform"]:
    sys.exit(0)
CONFIG = ElementTree.parse(next(word.split("=", 1)[1] for word in sys.argv if word.startswith("--config="))).getroot()
NAME = CONFIG.get("name")
TOKEN = open(CONFIG.find("credentials").get("file")).read().strip()
HOSTS = {}


class Handler(SimpleXMLRPCRequestHandler):
    rpc_paths = ("/RPC2",)
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        if self.headers.get("Authorization") != "Basic " + base64.b64encode(TOKEN.encode()).decode():
            self.send_error(401, "Unauthorized")
        else:
            super().do_POST()

    def log_message(self, *_):
        pass


class Server(socketserver.ThreadingMixIn, SimpleXMLRPCServer):
    daemon_threads = True


def answer(value=None, code=0, message=""):
    return {"code": code, "message": message, "value": value}


def install_allocation(text, options):
    if "wait for ever" in text:
        time.sleep(30)
    if "slow" in text:
        return answer(7, -1, "allocation 7 is still being installed")
    if "::" not in text:
        return answer(None, 1, "1:1: error: expected '::'\n    nonsense\n    ^")
    return answer(len(options["key"]) and 3)


def get_allocation(number):
    if number != 3:
        return answer(None, 1, f"there is no allocation {number}")
    return answer({"id": 3, "name": "n", "owner": "operator", "state": "installed", "message": "", "created": 1795183102.0, "ports": PLAN["ports"],
                   "modules": [{"name": "fw", "type": "Firewall", "host": "h1", "in": 5.0, "out": 4.0, "dropped": 1.0, "bytes": 300.0}],
                   "paths": PLAN["paths"], "rules": PLAN["rules"], "text": "NAME=n\nin :: FromNet(\"in_port=net0\")\n", "problems": []})


PLAN = {"id": 4, "placement": [{"node": "fw", "name": "a4.fw", "type": "Firewall", "host": "h1", "cpu": 0.1, "mem": 32.0}],
        "ports": {"out": "net1"},
        "paths": [{"from": "in", "to": "fw", "io": "net0", "path": ["net0", "tor0", "h1"], "spi": 5},
                  {"from": "fw", "to": "out", "io": "", "path": ["h1", "tor0", "net1"], "spi": 6}],
        "rules": [{"switch": "tor0", "target": "unix:/nowhere", "rules": ["table=10,actions=one", "table=20,actions=two"]}],
        "loads": {"hosts": [{"host": host, "cpu": 8.0, "cpu_before": 0.0, "cpu_after": taken * 0.1, "mem": 2048.0, "mem_before": 0.0, "mem_after": taken * 32.0,
                             "modules_before": 0, "modules_after": taken} for host, taken in (("h1", 1), ("h2", 0))],
                  "links": [{"from": "net0", "to": "tor0", "bandwidth": 10000.0, "before": 1.0, "after": 2.0},
                            {"from": "tor0", "to": "net0", "bandwidth": 10000.0, "before": 0.0, "after": 0.0}]}}

FLOWS = {"seconds": 2.0, "known": 2, "other_packets": 7.0, "other_bytes": 700.0, "forgotten": 3.0, "problems": [], "flows": [
    {"module": "fw", "vlan": -1, "ethertype": 0x800, "protocol": 17, "source": "10.9.0.1", "source_port": 40000, "destination": "10.9.0.2", "destination_port": 53,
     "packets": 10.0, "bytes": 640.0},
    {"module": "fw", "vlan": 5, "ethertype": 0x86dd, "protocol": 6, "source": "fd09::1", "source_port": 40000, "destination": "fd09::2", "destination_port": 80,
     "packets": 2.0, "bytes": 2500.0}]}


def register_host(host):
    HOSTS[host["name"]] = dict(host, bridge=f"br-{host['name']}")
    return answer()


def remove_host(name):
    return answer() if HOSTS.pop(name, None) else answer(None, 1, f"there is no host {name}")


def register_at_resource():
    host, url = CONFIG.find("host"), CONFIG.find("peer").get("url")
    resource = xmlrpc.client.ServerProxy(url.replace("://", f"://{TOKEN}@"), allow_none=True)
    while True:
        try:
            resource.register_host({key: host.get(key) for key in ("name", "cpu", "mem", "id")})
            return
        except OSError:
            time.sleep(0.05)


def main():
    if os.environ.get("FAKE_FAULT") == f"{NAME}:exit":
        sys.exit("line 1: cannot do what I am for")
    if os.environ.get("FAKE_FAULT") == f"{NAME}:silent":
        time.sleep(600)
    address = CONFIG.find("listen").get("tcp").split(":")
    server = Server((address[0], int(address[1])), Handler, allow_none=True, logRequests=False)
    server.register_introspection_functions()
    methods = {"ping": lambda: answer(), "install_allocation": install_allocation, "get_allocation": get_allocation,
               "delete_allocation": lambda number: answer(), "list_allocations": lambda options=None: answer([]),
               "plan_allocation": lambda text: answer(PLAN), "get_flows": lambda number, options: answer(FLOWS),
               "get_pm_info": lambda: answer([["Firewall: lets pass", {"counters": ""}]]),
               "get_statistics": lambda: answer({"switches_prepared": 1}), "register_host": register_host, "remove_host": remove_host, "list_hosts": lambda: answer(list(HOSTS.values())),
               "list_tasks": lambda: answer([{"name": "ping", "version": 1, "calls": 2}]),
               "upgrade": lambda entries: answer([entry["name"] + " " + entry["kind"] for entry in entries])}
    for name, function in methods.items():
        server.register_function(function, name)
    if NAME == "modulehost":
        threading.Thread(target=register_at_resource, daemon=True).start()
    server.serve_forever()


main()

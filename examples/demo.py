#!/usr/bin/python3
"""Watch real packets go through two requests, and see every one of them accounted for.

The demonstration makes an embedded platform, installs examples/web.flow and examples/mirror.flow, and sends web pages, UDP datagrams
and pings between the network ports net0 and net1.  A table shows what each module sees.  At the end the packets are counted at every
hop: on the wire of each network port by a sniffer that knows nothing of the platform, by the rules of the switches, and by the modules.
What comes in must go out or have been dropped by a module whose work that is.  Exit status: 0 if every packet is accounted for, else 1.
"""

import argparse
import hashlib
import http.server
import os
import select
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import NamedTuple, Optional

ROOT = Path(__file__).resolve().parents[1]
BUILD = Path(os.environ.get("FLOWSTREAM_BUILD", ROOT / "build")).resolve()
sys.path.insert(0, str(ROOT / "clients" / "python"))
os.environ.setdefault("FLOWSTREAM_PREFIX", str(BUILD))

import flowstream  # noqa: E402
from flowstream import embedded, netns, ports, trail, words  # noqa: E402

REQUESTS = ("web", "mirror")
# The kinds of packets (see kind_of) that each request is meant to take; the rest passes beside them, as the platform file says.
TAKEN = {"web": {"tcp", "blocked", "icmp", "other IP"}, "mirror": {"udp"}}
BESIDE = {"arp", "not IP"}
ADDRESSES = {"net0": "10.9.0.1", "net1": "10.9.0.2"}
WATCHED = ("net0", "net1", "mon0")
WEB_PORT, BLOCKED_PORT, MIRRORED_PORT, OTHER_PORT = 80, 8080, 7000, 7001
PAGE = bytes(range(256)) * 150
SECONDS = 8  # of traffic
SETTLE = 15  # seconds at most for the counters to come to rest; switches tell theirs about a second late


def main():
    arguments = parser().parse_args()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        return demonstrate(arguments)
    except KeyboardInterrupt:
        print("\ndemo: interrupted", file=sys.stderr)
    except flowstream.Error as error:
        print(f"demo: {error}", file=sys.stderr)
    return 1


def parser():
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--dir", default=BUILD / "demo", type=Path, help="the platform's folder (default: build/demo)")
    made.add_argument("--seconds", default=SECONDS, type=int, help=f"of traffic (default: {SECONDS})")
    # For the test of the accounting: after the installation take the rule of the last switch on one path away, behind the platform's back.
    made.add_argument("--break", dest="broken", nargs="?", const="copy,mon0", metavar="FROM,PORT", help=argparse.SUPPRESS)
    return made


def demonstrate(arguments):
    """The whole demonstration; returns the exit status.  Whatever happens, nothing is left."""
    title("A platform: a top-of-rack switch, three module hosts, network ports net0, net1, tun1 and mon0")
    begin = time.monotonic()
    embedded.up(arguments.dir)
    print(f"up in {time.monotonic() - begin:.1f} s, in {arguments.dir}")
    try:
        with flowstream.Client(arguments.dir) as client, Traffic(arguments.dir) as traffic:
            good = run(arguments, client, traffic)
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        leftovers = embedded.down(arguments.dir)
        print("everything is taken down" if not leftovers else f"left over: {'; '.join(leftovers)}")
    return 0 if good and not leftovers else 1


def run(arguments, client, traffic):
    beside = Beside(client)
    sniffers = {port: ports.Sniffer(arguments.dir, port, kind_of) for port in WATCHED}
    try:
        numbers = [install(client, name) for name in REQUESTS]
        if arguments.broken:
            cover_rule(client, numbers, *arguments.broken.split(","))
        title(f"Traffic between net0 and net1: web pages, UDP echo, ping, and someone who knocks at TCP port {BLOCKED_PORT}")
        traffic.start(arguments.seconds)
        watch(client, numbers, traffic)
        worked = traffic.report()
        title("Every packet, hop by hop")
        ledger = settle(client, numbers, sniffers, beside)
    finally:
        for sniffer in sniffers.values():
            sniffer.stop()
    print(ledger.table())
    return verdict(ledger, sniffers, traffic, worked)


def title(text):
    print(f"\n{text}\n{'-' * len(text)}", flush=True)


def install(client, name):
    path = ROOT / "examples" / f"{name}.flow"
    text = path.read_text()
    title(f"flowstream install examples/{name}.flow")
    print(text.strip() + "\n", flush=True)
    number = client.install_allocation(text)
    hosts = sorted({module["host"] for module in client.get_allocation(number)["modules"]})
    print(f"installed as {number}, on {' and '.join(hosts)}", flush=True)
    return number


def kind_of(frame):
    """What the sniffers call a frame: they look at the bytes alone."""
    if frame[12:14] == b"\x08\x06":
        return "arp"
    if frame[12:14] != b"\x08\x00":
        return "not IP"
    header = 14 + (frame[14] & 15) * 4
    if frame[23] == 6 and int.from_bytes(frame[header + 2:header + 4], "big") == BLOCKED_PORT:
        return "blocked"
    return {1: "icmp", 6: "tcp", 17: "udp"}.get(frame[23], "other IP")


def cover_rule(client, numbers, start, port):
    """Put a rule of our own above one of a request, as a careless operator could; one that is only removed is back at once."""
    for allocation in map(client.get_allocation, numbers):
        targets = {entry["switch"]: entry["target"] for entry in allocation["rules"]}
        for one in trail.follow(client, allocation):
            if one.start == start and port in (one.port_in, one.port_out):
                switch = one.counts[-1].switch
                subprocess.run(["ovs-ofctl", "-O", "OpenFlow15", "add-flow", targets[switch],
                                f"table=20,priority=30000,dl_type=0x894f,nsh_spi={one.number},actions=drop"], check=True)
                print(f"covered by hand: the rule of {switch} for path {one.number}", flush=True)
                return
    raise flowstream.Error(f"there is no path from {start} with port {port}")


class Traffic:
    """Servers and clients on both sides of the platform.  Use it in a with statement: its end ends all of them."""

    def __init__(self, directory):
        self._places = {port: ports.namespace(directory, port) for port in ADDRESSES}
        self._programs = []
        self._threads = []
        self._sockets = []
        self._over = threading.Event()
        # One entry for each attempt of a client: whether it got what it wanted.
        self._pages, self._answers, self._knocks = [], [], []

    def __enter__(self):
        for port, address in ADDRESSES.items():
            flowstream.processes.run(["ip", "-n", self._places[port], "address", "add", f"{address}/24", "dev", ports.INTERFACE])
        self._server = WebServer(self._places["net1"], (ADDRESSES["net1"], WEB_PORT))
        self._thread(self._server.serve_forever, 0.1)
        for port, number in (("net1", MIRRORED_PORT), ("net1", OTHER_PORT), ("net0", OTHER_PORT)):
            self._thread(self._echo, self._socket(port, number))
        return self

    def __exit__(self, *_):
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
        for program in self._programs:
            if program.poll() is None:
                program.kill()
            program.wait()
            program.stdout.close()
        for thread in self._threads:
            thread.join()
        for one in self._sockets:
            one.close()

    def start(self, seconds):
        """Send for so many seconds; running() says whether it still goes on."""
        pings = [["ping", "-q", "-i", "0.2", "-w", str(seconds), ADDRESSES[to]] for to in ("net1", "net0")]
        self._pings = [self._program(port, ping) for port, ping in zip(("net0", "net1"), pings)]
        end = time.monotonic() + seconds
        self._clients = [self._thread(self._fetch, end), self._thread(self._knock, end)]
        for port, to, number in (("net0", "net1", MIRRORED_PORT), ("net0", "net1", OTHER_PORT), ("net1", "net0", OTHER_PORT)):
            self._clients.append(self._thread(self._ask, self._socket(port, 0), (ADDRESSES[to], number), end))

    def running(self):
        return any(thread.is_alive() for thread in self._clients) or any(ping.poll() is None for ping in self._pings)

    def report(self):
        """Print what the clients got; returns whether they got all that they asked for."""
        pinged = [" ".join(line for line in ping.communicate()[0].splitlines() if "received" in line) for ping in self._pings]
        print(f"\nweb pages   {sum(self._pages)} of {len(self._pages)} came whole (curl at net0, a web server at net1)\n"
              f"UDP echo    {sum(self._answers)} of {len(self._answers)} came back (asked from both sides)\n"
              f"ping        net0 to net1: {pinged[0]}\n            net1 to net0: {pinged[1]}\n"
              f"TCP {BLOCKED_PORT}    {len(self._knocks)} attempts, {sum(self._knocks)} got through the firewall", flush=True)
        return bool(self._pages and self._answers and self._knocks) and all(self._pages + self._answers) and not any(self._knocks)

    def _fetch(self, end):
        wanted = hashlib.sha256(PAGE).digest()
        while time.monotonic() < end and not self._over.is_set():
            curl = self._program("net0", ["curl", "-s", "--max-time", "5", f"http://{ADDRESSES['net1']}:{WEB_PORT}/"], text=False)
            self._pages.append(hashlib.sha256(curl.communicate()[0]).digest() == wanted)
            self._over.wait(0.25)

    def _knock(self, end):
        while time.monotonic() < end and not self._over.is_set():
            curl = self._program("net0", ["curl", "-s", "--max-time", "0.7", f"http://{ADDRESSES['net1']}:{BLOCKED_PORT}/"])
            curl.communicate()
            self._knocks.append(curl.returncode == 0)
            self._over.wait(1)

    def _ask(self, one, address, end):
        while time.monotonic() < end and not self._over.is_set():
            question = os.urandom(200)
            one.sendto(question, address)
            self._answers.append(bool(select.select([one], [], [], 2)[0]) and one.recv(2048) == question)
            self._over.wait(0.03)

    def _echo(self, one):
        while not self._over.is_set():
            if select.select([one], [], [], 0.2)[0]:
                data, whence = one.recvfrom(2048)
                one.sendto(data, whence)

    def _socket(self, port, number):
        one = netns.open_socket(self._places[port], socket.AF_INET, socket.SOCK_DGRAM)
        self._sockets.append(one)
        one.bind((ADDRESSES[port], number))
        return one

    def _program(self, port, argv, text=True):
        self._programs.append(subprocess.Popen(netns.command(self._places[port], argv), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                               stderr=subprocess.STDOUT, text=text))
        return self._programs[-1]

    def _thread(self, function, *arguments):
        thread = threading.Thread(target=function, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread


class WebServer(http.server.ThreadingHTTPServer):
    """Python's web server, on a socket of another network namespace."""

    def __init__(self, place, address):
        super().__init__(address, Page, bind_and_activate=False)
        self.socket.close()
        self.socket = netns.open_socket(place, socket.AF_INET, socket.SOCK_STREAM)
        socketserver.TCPServer.server_bind(self)
        self.server_activate()


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, *_):
        pass


def watch(client, numbers, traffic):
    """Show the modules while traffic flows: a table that is drawn again on a terminal, one now and then elsewhere."""
    live = sys.stdout.isatty()
    before, drawn = {}, 0
    while traffic.running():
        rows = [dict(module, request=allocation["name"]) for allocation in map(client.get_allocation, numbers) for module in allocation["modules"]]
        now = time.monotonic()
        for row in rows:
            key = (row["request"], row["name"])
            packets, then = before.get(key, (row["in"], now - 1))
            row["rate"] = f"{(row['in'] - packets) / (now - then):.0f}/s"
            before[key] = (row["in"], now)
            row["bytes"] = words.count(row["bytes"], "B")
        text = words.table(rows, [(key, key.upper()) for key in ("request", "name", "type", "host", "in", "out", "dropped", "bytes", "rate")])
        print((f"\x1b[{drawn}A\x1b[J" if live and drawn else "") + text + ("" if live else "\n"), flush=True)
        drawn = text.count("\n") + 1
        time.sleep(0.5 if live else 2)


class Beside:
    """What passes beside all requests: the platform's own rules between net0 and net1.  Counts from its making on."""

    def __init__(self, client):
        self._client = client
        platform = ElementTree.parse(client.directory / "platform.xml").getroot()
        self._switch, self._target = next((switch.get("id"), switch.get("target")) for switch in platform.findall("switch"))
        self._begin = self._read()

    def counts(self):
        """(switch, packets from that port) for each port, from the beginning on."""
        now = self._read()
        return {port: (self._switch, now[port] - self._begin[port]) for port in ADDRESSES}

    def _read(self):
        rules = self._client.call("openflow", "get_rules", {"switch": self._switch, "target": self._target, "allocation": 0})
        return {port: int(sum(rule["packets"] for rule in rules
                              if f"in_port={port}" in rule["match"].replace('"', "").split(",") and rule["actions"].startswith("output")))
                for port in ADDRESSES}


class Row(NamedTuple):
    """One line of the ledger; a place with no "in" is where packets enter the platform, with no "out" where they leave it."""

    place: str
    by: str
    in_: Optional[int]
    copied: int
    out: Optional[int]
    dropped: int

    def __str__(self):
        inside = self.in_ is not None and self.out is not None
        figures = [self.in_, self.copied or None, self.out, self.dropped if inside else None]
        cells = "".join(f"{'' if figure is None else figure:>11}" for figure in figures)
        return f"{'  ' if inside else ''}{self.place}".ljust(44) + f"{self.by:<8}{cells}".rstrip()


class Ledger:
    """All counts, and what is missing between which two places."""

    def __init__(self):
        self.rows = []
        self.missing = []
        self.dropped = {}
        self.explained = {}

    def table(self):
        lines = ["PLACE".ljust(44) + "COUNTED BY  IN   + COPIED      = OUT  + DROPPED"]
        for row in self.rows:
            lines += ([""] if row.in_ is None else []) + [str(row)]
        return "\n".join(lines)

    def compare(self, here, packets, there, others, why=""):
        if packets != others:
            what = f"{packets - others} packets were lost" if packets > others else f"{others - packets} packets too many came"
            self.missing.append(f"{what} between {here} ({packets}) and {there} ({others}){why}")

    def add_beside(self, sniffers, beside):
        for (port, (switch, packets)), to in zip(beside.counts().items(), reversed(ADDRESSES)):
            sent, received = self._wire(sniffers, port, BESIDE, 0), self._wire(sniffers, to, BESIDE, 1)
            self._source(f"{port}, not for any request (ARP)", sent)
            self._hop(f"wire of {port}", sent, f"{switch}, base rules", packets)
            self._sink(to, received)
            self.compare(f"{switch}, base rules", packets, f"wire of {to}", received)

    def add(self, allocation, trails, sniffers):
        """Enter one request.  trails: its paths with the counts of the switches."""
        name, modules = allocation["name"], {module["name"]: module for module in allocation["modules"]}
        last = {}
        for one in trails:
            entered = self._enter(name, one, trails, modules, sniffers)
            key = one.port_out or one.end
            last.setdefault(key, []).append(entered)
            if len(last[key]) == sum((other.port_out or other.end) == key for other in trails):
                self._arrive(name, one, trails, modules, sniffers, last[key])

    def _enter(self, name, one, trails, modules, sniffers):
        """Go along one path; returns the last place on it and the packets that came there."""
        place, packets = self._start(name, one, trails, modules, sniffers)
        for switch, counted in one.counts:
            here = f"{switch}, path {one.number}"
            if packets is None:
                place, packets = here, counted or 0
            self._hop(place, packets, here, counted)
            place, packets = here, counted or 0
        return place, packets

    def _start(self, name, one, trails, modules, sniffers):
        """The beginning of a path and the packets that were put on it; None where only the other end of the path can tell."""
        if one.port_in:
            sent = self._wire(sniffers, one.port_in, TAKEN[name], 0)
            self._source(f"{one.port_in}, for {name}", sent)
            return f"wire of {one.port_in}", sent
        module, beside = modules[one.start], [other for other in trails if other.start == one.start]
        if module["type"] == "Mirror":
            return f"module {one.start}", int(module["out"]) // len(beside)
        if len(beside) == 1:
            return f"module {one.start}", int(module["out"])
        if one is beside[-1]:
            arrived = [self._first(other, trails, modules) for other in beside]
            self.compare(f"module {one.start}", int(module["out"]), "its outputs together", sum(arrived))
        return f"module {one.start}", self._first(one, trails, modules)

    @staticmethod
    def _first(one, trails, modules):
        """The first count on a path from a module with several outputs."""
        if one.counts:
            return one.counts[0].packets or 0
        if sum(other.end == one.end for other in trails) > 1:
            raise flowstream.Error(f"the packets from {one.start} to {one.end} cannot be told from those of other paths inside the host")
        return int(modules[one.end]["in"])

    def _arrive(self, name, one, trails, modules, sniffers, entered):
        """The end of all paths that lead to one module or port."""
        here = " and ".join(place for place, _ in entered)
        packets = sum(count for _, count in entered)
        if one.port_out:
            received = self._wire(sniffers, one.port_out, TAKEN[name], 1)
            self.compare(here, packets, f"wire of {one.port_out}", received)
            self._sink(one.port_out, received)
            return
        module = modules[one.end]
        came, went, dropped = (int(module[key]) for key in ("in", "out", "dropped"))
        outputs = sum(other.start == one.end for other in trails)
        copied = (came - dropped) * (outputs - 1) if module["type"] == "Mirror" else 0
        self.compare(here, packets, f"module {one.end} on {module['host']}", came)
        self.rows.append(Row(f"module {one.end} ({module['type']} on {module['host']})", "module", came, copied, went, dropped))
        if came + copied != went + dropped:
            self.missing.append(f"module {one.end} on {module['host']} took {came} packets, but {went} went out and {dropped} were dropped")
        self.dropped[one.end] = dropped

    def _hop(self, place, packets, here, counted):
        self.rows.append(Row(here, "rule", packets if counted is None else counted, 0, counted or 0, 0))
        self.compare(place, packets, here, counted or 0, ": the switch has no rule for this path" if counted is None else "")

    def _source(self, place, packets):
        self.rows.append(Row(place, "sniffer", None, 0, packets, 0))

    def _sink(self, place, packets):
        self.rows.append(Row(place, "sniffer", packets, 0, None, 0))

    def _wire(self, sniffers, port, kinds, way):
        """Packets of these kinds on the wire of a port; way: 0 into the platform, 1 out of it."""
        seen = dict(sniffers[port].kinds)
        self.explained.setdefault((port, way), set()).update(kinds)
        return sum(seen[kind][way] for kind in kinds if kind in seen)

    def explain_all(self, sniffers):
        """Packets on a wire that are part of no path."""
        for port, sniffer in sniffers.items():
            for kind, seen in dict(sniffer.kinds).items():
                for way, word in ((0, "into"), (1, "out of")):
                    if seen[way] and kind not in self.explained.get((port, way), ()):
                        self.missing.append(f"{seen[way]} packets ({kind}) went {word} the platform at {port}, on no path that is known")


def settle(client, numbers, sniffers, beside):
    """The ledger, as soon as it is balanced, or as it is when the counts have not changed for three seconds."""
    end = time.monotonic() + SETTLE
    before, since = None, time.monotonic()
    while True:
        ledger = Ledger()
        for allocation in map(client.get_allocation, numbers):
            ledger.add(allocation, trail.follow(client, allocation), sniffers)
        ledger.add_beside(sniffers, beside)
        ledger.explain_all(sniffers)
        now = time.monotonic()
        if ledger.rows != before:
            before, since = ledger.rows, now
        if (not ledger.missing and now - since > 1) or now - since > 3 or now > end:
            return ledger
        time.sleep(0.3)


def verdict(ledger, sniffers, traffic, worked):
    """Say whether all is well."""
    problems = list(ledger.missing)
    problems += [f"the sniffer at {port} missed {sniffer.drops} packets" for port, sniffer in sniffers.items() if sniffer.drops]
    blocked = sniffers["net0"].kinds.get("blocked", [0, 0])[0]
    if not blocked or ledger.dropped.get("fw") != blocked:
        problems.append(f"the firewall dropped {ledger.dropped.get('fw')} packets, but {blocked} were sent to port {BLOCKED_PORT}")
    if not worked:
        problems.append("not all clients got their answers: see above")
    total = sum(sniffer.sent for sniffer in sniffers.values())
    print()
    for problem in problems:
        print(f"NOT ACCOUNTED FOR: {problem}")
    if not problems:
        print(f"All {total} packets that were sent are accounted for at every hop; "
              f"the firewall dropped the {blocked} to TCP port {BLOCKED_PORT}, and no others.")
    return not problems


if __name__ == "__main__":
    sys.exit(main())

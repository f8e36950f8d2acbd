"""A platform whose every daemon and switch is a computer of its own (a room, see tests/lib/rooms.py), as in a machine hall.

    lan     a learning bridge: the management network 10.77.0.0/24, all that the computers have in common
    net0/1  the networks outside, on the top-of-rack switch
    tor0    the top-of-rack switch: ovsdb-server and ovs-vswitchd
    hN      a module host: the same two, and the module host daemon with its multiplexer and modules
    resource, openflow, pm, monitoring: one daemon each

Daemons speak TLS with each other, each with a certificate for its address from one authority, as addresses beyond loopback demand.
Configuration, platform file, credentials and switches are written here by hand, as an operator without "flowstream up" would.
"""

import http.client
import shutil
import socket
import ssl
import subprocess
import xml.etree.ElementTree as ElementTree
import xmlrpc.client
from pathlib import Path

import flowtest
from flowstream import netns
from rooms import Rooms

DAEMONS = ("resource", "openflow", "pm", "monitoring")
PEERS = {"pm": (), "openflow": (), "resource": ("openflow", "pm", "monitoring"), "monitoring": ("resource", "openflow", "pm")}
RPC_PORT, OPENFLOW_PORT = 7000, 6653
OUTSIDE = {"net0": "10.9.0.1", "net1": "10.9.0.2"}
USER, SECRET = "operator", "the-same-in-every-room"
_MTU, _TUNNEL_MTU = 1500, 1600
_SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
_TRAFFIC = Path(__file__).with_name("traffic.py")
_READY = 60  # seconds


class Refused(Exception):
    """A ReturnValue that is no success."""


class Platform:
    """names: the module hosts that are in the platform from the start."""

    def __init__(self, names):
        self.rooms = Rooms()
        self.hosts = []
        self.addresses = {}
        self.running = {}
        self._first_names = names

    def __enter__(self):
        try:
            self._lan = self.rooms.add("lan")
            self._lan.run("ip", "link", "add", "lan", "type", "bridge")
            self._lan.run("ip", "address", "add", "10.77.0.254/24", "dev", "lan")
            self._lan.run("ip", "link", "set", "lan", "up")
            _make_key(self._lan.dir, "ca", "-x509", "-days", "2", "-out", "ca.pem")
            self._make_switch("tor0", "tor0")
            for name, address in OUTSIDE.items():
                self._make_outside(name, address)
            for name in DAEMONS:
                self._connect(self.rooms.add(name))
            for name in self._first_names:
                self.add_host(name)
            for name in DAEMONS:
                self._write_daemon(name)
        except BaseException:
            self.rooms.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.rooms.__exit__()

    def room(self, name):
        return self.rooms.by_name[name]

    def daemons(self):
        return list(DAEMONS) + self.hosts

    # Daemons.

    def start(self, name):
        """Start the daemon of a room; it need not be ready yet."""
        room = self.room(name)
        kind = "modulehost" if name in self.hosts else name
        program = flowtest.BUILD / "bin" / f"flowstream-{kind}"
        self.running[name] = room.start("daemon", program, f"--config={room.dir}/config.xml", "--foreground")

    def await_ready(self, name):
        """Wait until the daemon answers.  Raises with the end of its log."""
        if not flowtest.until(_READY, lambda: self._answers(name), step=0.1):
            raise RuntimeError(f"the daemon in room {name} does not answer; its log ends:\n{self.running[name].tail()}")

    def await_hosts(self, names):
        """Wait until exactly these hosts are up at the resource daemon; true if so."""
        return flowtest.until(_READY, lambda: self.hosts_up() == sorted(names), step=0.2)

    def await_base_rules(self):
        """Wait until every switch has rules; true if so."""
        return flowtest.until(_READY, lambda: all(self.rules(name) for name in ["tor0"] + self.hosts), step=0.2)

    def hosts_up(self):
        return sorted(host["name"] for host in self.call("resource", "list_hosts") if host["state"] == "up")

    def call(self, name, method, *parameters, request=None, deadline=90):
        """Call a daemon over the management network; returns the value.  request: the id of the request."""
        headers = [("Flowstream-Request", request)] if request else []
        transport = _Transport(self._lan, headers, deadline * flowtest.PATIENCE, self._lan.dir / "ca.pem")
        url = f"https://{USER}:{SECRET}@{self.addresses[name]}:{RPC_PORT}/RPC2"
        with xmlrpc.client.ServerProxy(url, transport=transport, allow_none=True) as server:
            answer = getattr(server, method)(*parameters)
        if answer["code"]:
            raise Refused(f"{name}: {method}: {answer['message']}")
        return answer["value"]

    def install(self, text, **options):
        return self.call("resource", "install_allocation", text, {"wait": 50}, **options)

    def modules(self, allocation):
        """The modules of an allocation with their counters, by name."""
        return {m["name"]: m for m in self.call("resource", "get_allocation", allocation)["modules"]}

    def drop(self, name, kind, loadable, source):
        """Put a loadable into a daemon's own folder, where it serves the next call."""
        target = self.room(name).dir / "lib" / kind / name / f"{loadable}.so"
        new = target.with_suffix(".new")
        shutil.copy(source, new)
        new.replace(target)

    # Hosts.

    def add_host(self, name):
        """A new computer in the hall: its switch, its cable, its line in the platform file; the daemon is not started."""
        self.hosts.append(name)
        room = self._make_switch(name, f"br-{name}")
        self.rooms.link(self.room("tor0"), f"to-{name}", room, f"{name}-up", _TUNNEL_MTU)
        self.vsctl("tor0", "add-port", "tor0", f"to-{name}")
        self.vsctl(name, "add-port", f"br-{name}", f"{name}-up")
        self._write_daemon(name)
        self._write_platform()

    def remove_host(self, name):
        """Throw the computer away; its daemon is gone from the platform already."""
        self.hosts.remove(name)
        self.running.pop(name, None)
        self.vsctl("tor0", "del-port", "tor0", f"to-{name}")
        self.rooms.remove(name)
        self._write_platform()

    # Traffic.

    def traffic(self, name, *argv, **options):
        """Run tests/platform/traffic.py in a room to its end; returns what it printed."""
        return self.room(name).run("python3", _TRAFFIC, *argv, **options).strip()

    def start_traffic(self, name, log, *argv):
        return self.room(name).start(log, "python3", _TRAFFIC, *argv)

    def counted(self, name):
        """(sent, received) of a network outside: packets, counted by its kernel, which knows nothing of us."""
        text = self.room(name).run("cat", "/proc/net/dev")
        words = next(line.split(":")[1].split() for line in text.splitlines() if line.strip().startswith("eth0:"))
        return int(words[9]), int(words[1])

    # Switches.

    def vsctl(self, name, *argv):
        return self._ovs(name, "ovs-vsctl", "--timeout=30", f"--db=unix:{self.room(name).dir}/ovs/db.sock", *argv)

    def rules(self, name):
        """The rules of the switch in a room, without figures."""
        bridge = self._bridge(name)
        text = self._ovs(name, "ovs-ofctl", "-O", "OpenFlow15", "--no-stats", "--no-names", "dump-flows", bridge)
        return sorted(line.strip() for line in text.splitlines() if "actions=" in line)

    def ports(self, name):
        """Ports of the switch and interfaces of the room."""
        links = self.room(name).run("ip", "-oneline", "link", "show")
        return sorted(self.vsctl(name, "list-ports", self._bridge(name)).split()), sorted(line.split(":")[1].strip() for line in links.splitlines())

    # Below: how it is made.

    def _answers(self, name):
        if not self.running[name].alive():
            raise RuntimeError(f"the daemon in room {name} has ended; its log ends:\n{self.running[name].tail()}")
        try:
            return self.call(name, "ping", deadline=5) == "pong"
        except (OSError, http.client.HTTPException):
            return False

    def _connect(self, room):
        """Put a computer on the management network."""
        self.addresses[room.name] = f"10.77.0.{len(self.addresses) + 1}"
        self.rooms.link(room, "mgmt", self._lan, f"m-{room.name}")
        self._lan.run("ip", "link", "set", f"m-{room.name}", "master", "lan")
        room.run("ip", "address", "add", f"{self.addresses[room.name]}/24", "dev", "mgmt")

    def _make_outside(self, name, address):
        room = self.rooms.add(name)
        room.run("sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1", check=False)  # not there where the kernel has no IPv6
        self.rooms.link(self.room("tor0"), name, room, "eth0", _MTU)
        self.vsctl("tor0", "add-port", "tor0", name)
        room.run("ip", "address", "add", f"{address}/24", "dev", "eth0")
        # Neighbours are entered by hand: every packet on the wire is then one of the test's own, and the kernel's counters are exact.
        for other in OUTSIDE:
            if other != name and other in self.rooms.by_name:
                self._introduce(name, other)
                self._introduce(other, name)

    def _introduce(self, name, other):
        self.room(name).run("ip", "neighbour", "replace", OUTSIDE[other], "lladdr", self._mac(other), "nud", "permanent", "dev", "eth0")

    def _mac(self, name):
        words = self.room(name).run("ip", "-oneline", "link", "show", "eth0").split()
        return words[words.index("link/ether") + 1]

    def _make_switch(self, name, bridge):
        """A computer with an Open vSwitch of its own, which listens for OpenFlow on the management network."""
        room = self.rooms.add(name)
        self._connect(room)
        for family in ("all", "default"):
            room.run("sysctl", "-qw", f"net.ipv6.conf.{family}.disable_ipv6=1", check=False)
        folder = room.dir / "ovs"
        folder.mkdir(mode=0o700)
        self._ovs(name, "ovsdb-tool", "create", folder / "conf.db", _SCHEMA)
        common = ["--no-chdir", "-vsyslog:off", "-vconsole:info"]
        for program, argv in (("ovsdb-server", [folder / "conf.db", f"--remote=punix:{folder}/db.sock"]),
                              ("ovs-vswitchd", [f"unix:{folder}/db.sock", "--disable-system"])):
            room.start(program, program, *argv, *common, f"--pidfile={folder}/{program}.pid", f"--unixctl={folder}/{program}.ctl",
                       environment=self._ovs_environment(name))
            if not flowtest.until(_READY, (folder / f"{program}.ctl").exists):
                raise RuntimeError(f"{program} of {name} does not get ready: {(room.dir / program).with_suffix('.log').read_text()[-2000:]}")
            if program == "ovsdb-server":
                self.vsctl(name, "--no-wait", "init")
        self.vsctl(name, "--", "add-br", bridge, "--", "set", "Bridge", bridge, "datapath_type=netdev", "fail_mode=secure",
                   "protocols=OpenFlow13,OpenFlow14,OpenFlow15", "other_config:disable-in-band=true",
                   "--", "set-controller", bridge, f"ptcp:{OPENFLOW_PORT}:{self.addresses[name]}",
                   "--", "set", "controller", bridge, "connection-mode=out-of-band")
        return room

    def _ovs_environment(self, name):
        folder = self.room(name).dir / "ovs"
        return {f"OVS_{what}": folder for what in ("RUNDIR", "LOGDIR", "DBDIR", "SYSCONFDIR")}

    def _ovs(self, name, *argv):
        words = [f"{key}={value}" for key, value in self._ovs_environment(name).items()]
        return self.room(name).run("env", *words, *argv)

    def _bridge(self, name):
        return f"br-{name}" if name in self.hosts else name

    def _target(self, name):
        return f"tcp:{self.addresses[name]}:{OPENFLOW_PORT}"

    def _url(self, name):
        return f"https://{self.addresses[name]}:{RPC_PORT}/RPC2"

    def _write_daemon(self, name):
        """The daemon's credentials, loadables and configuration file, in its own room."""
        room, is_host = self.room(name), name in self.hosts
        kind = "modulehost" if is_host else name
        token = room.dir / "token"
        token.write_text(f"{USER}:{SECRET}\n")
        token.chmod(0o600)
        self._certify(room.dir, self.addresses[name])
        for folder in ("tasks", "commands"):
            for part in ("common", kind):
                source, target = flowtest.BUILD / "lib" / "flowstream" / folder / part, room.dir / "lib" / folder / part
                target.mkdir(parents=True)
                for loadable in source.glob("*.so"):
                    shutil.copy(loadable, target)
        root = ElementTree.Element("daemon", name=kind, dir=str(room.dir / "state"), lib=str(room.dir / "lib"))
        ElementTree.SubElement(root, "listen", tcp=f"{self.addresses[name]}:{RPC_PORT}")
        ElementTree.SubElement(root, "credentials", file=str(token))
        ElementTree.SubElement(root, "tls", certificate=str(room.dir / "cert.pem"), key=str(room.dir / "key.key"), ca=str(room.dir / "ca.pem"))
        ElementTree.SubElement(root, "log", level="info")
        for peer in PEERS.get(kind, ("resource",)):
            ElementTree.SubElement(root, "peer", name=peer, url=self._url(peer))
        if kind == "resource":
            ElementTree.SubElement(root, "platform", file=str(self._platform_file()))
        if is_host or kind == "pm":
            shutil.copytree(flowtest.BUILD / "lib" / "flowstream" / "types", room.dir / "lib" / "types", ignore=shutil.ignore_patterns("*.d"))
            ElementTree.SubElement(root, "types", dir=str(room.dir / "lib" / "types"))
        if is_host:
            ElementTree.SubElement(root, "host", {
                "name": name, "id": f"apart-{name}", "cpu": "8", "mem": "2048", "url": self._url(name), "dir": str(room.dir / "state"),
                "bridge": f"br-{name}", "ovsdb": f"unix:{room.dir}/ovs/db.sock", "switch": self._target(name),
                "trunk": f"{name}-trunk", "mux": f"{name}-mux", "mtu": str(_TUNNEL_MTU), "basesys": "linux.process"})
        (room.dir / "state").mkdir(mode=0o700)
        ElementTree.ElementTree(root).write(room.dir / "config.xml", encoding="utf-8", xml_declaration=True)

    def _certify(self, folder, address):
        """A key and a certificate for that address, signed by the platform's authority."""
        authority = self._lan.dir
        _make_key(folder, "key", "-out", "request")
        (folder / "extensions").write_text(f"subjectAltName=IP:{address}\n")
        _openssl(folder, "x509", "-req", "-in", "request", "-CA", authority / "ca.pem", "-CAkey", authority / "ca.key", "-CAcreateserial", "-CAserial",
                 authority / "serial", "-days", "2", "-extfile", "extensions", "-out", "cert.pem")
        shutil.copy(authority / "ca.pem", folder)

    def _platform_file(self):
        return self.room("resource").dir / "platform.xml"

    def _write_platform(self):
        root = ElementTree.Element("platform", name="apart")
        for name, other in (("net0", "net1"), ("net1", "net0")):
            ElementTree.SubElement(root, "io", id=name, forward=other)
        ElementTree.SubElement(root, "switch", id="tor0", role="tor", target=self._target("tor0"))
        figures = {"bandwidth": "10000", "delay": "1"}
        for name in self.hosts:
            ElementTree.SubElement(root, "server", id=name, cpu="8", mem="2048", **figures)
        for name in OUTSIDE:
            ElementTree.SubElement(root, "link", {"a": name, "b": "tor0", "b-port": name, "mtu": str(_MTU), **figures})
        for name in self.hosts:
            ElementTree.SubElement(root, "link", {"a": "tor0", "b": name, "a-port": f"to-{name}", "b-port": f"{name}-up",
                                                  "mtu": str(_TUNNEL_MTU), **figures})
        new = self._platform_file().with_suffix(".new")
        ElementTree.ElementTree(root).write(new, encoding="utf-8", xml_declaration=True)
        new.replace(self._platform_file())


def _openssl(folder, *words):
    subprocess.run(["openssl", *map(str, words)], cwd=folder, check=True, capture_output=True)


def _make_key(folder, name, *words):
    """NAME.key, and what the other words ask for."""
    _openssl(folder, "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", f"{name}.key", "-subj", f"/CN={name}", *words)
    (folder / f"{name}.key").chmod(0o600)


class _Transport(xmlrpc.client.Transport):
    """HTTP over TLS from inside a room: the socket is opened there and used out here."""

    def __init__(self, room, headers, deadline, authority):
        super().__init__(headers=headers)
        self._room, self._deadline, self._authority = room, deadline, authority

    def make_connection(self, host):
        address, self._extra_headers, _ = self.get_host_info(host)
        connection = _Connection(address, timeout=self._deadline)
        connection.room = self._room
        connection.tls = ssl.create_default_context(cafile=str(self._authority))
        self._connection = host, connection
        return connection


class _Connection(http.client.HTTPConnection):
    def connect(self):
        plain = netns.open_socket(self.room.space("net"), socket.AF_INET, socket.SOCK_STREAM)
        plain.settimeout(self.timeout)
        plain.connect((self.host, self.port))
        self.sock = self.tls.wrap_socket(plain, server_hostname=self.host)

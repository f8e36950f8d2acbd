"""The embedded fabric: a private Open vSwitch with the userspace datapath in a network namespace of its own.

The namespace fs-TAG-fabric holds ovsdb-server's and ovs-vswitchd's interfaces: one bridge a switch, one bridge "br-NAME" a module
host.  Links between bridges are patch ports.  A network port is a veth pair: one end, named as the port, in the bridge, the other,
"eth0", in the namespace fs-TAG-PORT, which stands for the network outside.

This file builds and removes hardware only.  Rules are the OpenFlow daemon's.  The way into a module host is made here too, where there are many hosts at once; a
host that finds none makes its own.
"""

import ctypes
import fcntl
import os
import socket
import struct
import time
from pathlib import Path

from . import netns, processes, supervision
from .errors import CommandFailed, Error

_SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")
_TUN = "/dev/net/tun"
_PROTOCOLS = "OpenFlow10,OpenFlow11,OpenFlow12,OpenFlow13,OpenFlow14,OpenFlow15"
_OFFLOADS = ["tx", "off", "sg", "off", "tso", "off", "gso", "off", "gro", "off", "rxvlan", "off", "txvlan", "off"]
_SIOCETHTOOL, _ETHTOOL_STXCSUM = 0x8946, 0x17
_TRUNK_ROOM = 64       # bytes a trunk takes more than the links: the module host does the same
_LONGEST_SOCKET = 107  # bytes of a Unix socket's address
_PATIENCE = 20         # seconds for one step of Open vSwitch


class Fabric:
    """The fabric of one platform.  record: its folder.Record, kept up to date; topology: what to build."""

    def __init__(self, record, topology):
        self.record = record
        self.topology = topology
        self.tag = record.data["tag"]
        self.folder = record.directory / "ovs"

    @property
    def namespace(self):
        return f"fs-{self.tag}-fabric"

    def namespace_of(self, port):
        """The namespace that stands for the network outside of a network port."""
        return f"fs-{self.tag}-{port}"

    def target(self, bridge):
        """The OpenFlow address of a bridge."""
        return f"unix:{self.folder}/{bridge}.mgmt"

    @property
    def database(self):
        return f"unix:{self.folder}/db.sock"

    def check(self):
        """Raise Error when the platform of the topology could not be built here."""
        sockets = [f"{self.folder}/{bridge}.snoop" for bridge in self.topology.bridges]
        sockets += [f"{self.record.directory}/hosts/{name}/rpc.sock" for name in self.topology.servers]
        longest = max(sockets, key=len, default="")
        if len(os.fsencode(longest)) > _LONGEST_SOCKET:
            raise Error(f"the name of the platform's folder is too long: {longest} has more than {_LONGEST_SOCKET} bytes")
        if not _SCHEMA.exists():
            raise Error(f"{_SCHEMA} is missing: apt-get install openvswitch-switch")
        try:
            os.close(os.open(_TUN, os.O_RDWR | os.O_CLOEXEC))
        except OSError as error:
            raise Error(f"cannot open {_TUN}: {error.strerror}; the switch needs it for its bridges") from None

    def build(self):
        """Make everything.  Raises CommandFailed or Error; what was made until then is in the record."""
        self.check()
        self._make_namespaces()
        for link in self.topology.links:
            if link.a.bridge is None:
                self.make_port(link)
        self.make_trunks(self.topology.servers.values())
        self.start()
        self._make_bridges()

    def start(self):
        """Start what does not run of Open vSwitch; its database outlives it."""
        running = {process.name for process in self.record.live()}
        if "ovsdb-server" not in running:
            self._start_database()
        if "ovs-vswitchd" not in running:
            self._start_switch()

    def add_host(self, link):
        """Add the bridge of a module host that the topology has just got, and its link."""
        server = self.topology.servers[link.b.node]
        self.vsctl(_add_bridge(server.bridge) + self._add_patch(link))

    def remove_host(self, server, link):
        """Remove a module host's bridge and the other end of its link; what is not there is no error."""
        far = link.b if link.a.bridge == server.bridge else link.a
        self.vsctl(["--", "--if-exists", "del-br", server.bridge, "--", "--if-exists", "del-port", far.bridge, far.port])

    def _make_namespaces(self):
        names = [self.namespace] + [self.namespace_of(port) for port in self.topology.ports]
        for name in names:
            if netns.exists(name):
                raise Error(f"the network namespace {name} is already there and not this platform's; "
                            f"'ip netns delete {name}' removes it if nothing needs it")
        self.record.data["namespaces"] = names
        self.record.save()
        netns.create(self.namespace)
        # Idle ports are silent: the switch's ends have no IPv6 at all, the outer ones no address or router search of their own.
        netns.set_sysctls(self.namespace, {"ipv6/conf/all/disable_ipv6": 1, "ipv6/conf/default/disable_ipv6": 1})
        self._create_outside(names[1:])

    def make_port_namespaces(self, ports):
        """The outside of network ports that the platform has just got."""
        names = [self.namespace_of(port) for port in ports]
        self.record.data["namespaces"] += names
        self.record.save()
        self._create_outside(names)

    def _create_outside(self, names):
        for name in names:
            netns.create(name)
            netns.set_sysctls(name, {"ipv6/conf/default/addr_gen_mode": 1, "ipv6/conf/default/accept_ra": 0,
                                     "ipv6/conf/default/autoconf": 0, "ipv6/conf/default/router_solicitations": 0})

    def set_port_mtu(self, link):
        """Give a network port's two ends the MTU of its link."""
        for name, interface in ((self.namespace, link.b.port), (self.namespace_of(link.a.node), "eth0")):
            processes.run(["ip", "-n", name, "link", "set", interface, "mtu", str(link.mtu)])

    def add_bridge(self, bridge):
        """What ovs-vsctl is told to make a bridge."""
        return _add_bridge(bridge)

    def add_link(self, link):
        """What ovs-vsctl is told to make a link whose bridges are there, and whose network port is."""
        return self._add_patch(link) if link.a.bridge is not None else ["--", "add-port", link.b.bridge, link.b.port]

    def make_port(self, link):
        """The veth pair of a network port, offloads off at both ends: the userspace datapath wants finished packets."""
        port, outer = link.b.port, self.namespace_of(link.a.node)
        processes.run(["ip", "-n", self.namespace, "link", "add", "name", port, "mtu", str(link.mtu), "type", "veth",
                       "peer", "name", "eth0", "mtu", str(link.mtu), "netns", outer])
        for name, interface in ((self.namespace, port), (outer, "eth0")):
            processes.run(netns.command(name, ["ethtool", "-K", interface] + _OFFLOADS))
            processes.run(["ip", "-n", name, "link", "set", interface, "up"])

    def make_trunks(self, servers):
        """The ways into module hosts, all at once.  A host would make its own, but each takes a turn of a switch that looks at all its ports then."""
        lines, interfaces = [], []
        for server in servers:
            ends = [server.trunk, server.mux]
            mtu = str(self.topology.trunk_mtu(server.name) + _TRUNK_ROOM)
            lines.append(f"link add name {ends[0]} mtu {mtu} type veth peer name {ends[1]} mtu {mtu}")
            lines += [f"link set dev {end} up" for end in ends]
            interfaces += ends
        if lines:
            processes.run(["ip", "-n", self.namespace, "-batch", "-"], input="\n".join(lines) + "\n")
            netns.call(self.namespace, _stop_checksums, interfaces)

    def _start_database(self):
        self.folder.mkdir(mode=0o700, exist_ok=True)
        database = self.folder / "conf.db"
        if not database.exists():
            processes.run(["ovsdb-tool", "create", str(database), str(_SCHEMA)], env=self._environment())
        self._start("ovsdb-server")
        self._wait_for("ovsdb-server", self.folder / "db.sock")
        self.vsctl(["--no-wait", "--", "init"])

    def _start_switch(self):
        self._start("ovs-vswitchd")
        self._wait_for("ovs-vswitchd", self.folder / "ovs-vswitchd.ctl")

    def services(self):
        """What a supervisor needs to know to start Open vSwitch again."""
        return [supervision.service(program, self._command(program), log=self.folder / f"{program}.log", pid_file=self._pid_file(program),
                                    cwd=self.folder, env=self._own_environment(), stale=self._stale(program))
                for program in ("ovsdb-server", "ovs-vswitchd")]

    def missing(self):
        """The names of bridges and ports of the topology that are not there; trunks are the module hosts' business."""
        there = self._there()
        return [name for name in self.topology.bridges + [end.port for end, _ in self._ends()] if name not in there]

    def mend(self):
        """Make again what is missing, which somebody took away.  Returns its names; nothing else is touched."""
        missing, arguments = self.missing(), []
        for link in self.topology.links:
            if link.a.bridge is None and link.b.port in missing and link.b.port not in netns.call(self.namespace, _interfaces):
                self.vsctl(["--", "--if-exists", "del-port", link.b.port])  # it would go on with the interface that is no more
                self.make_port(link)
        for bridge in self.topology.bridges:
            arguments += _add_bridge(bridge) if bridge in missing else []
        numbers = dict.fromkeys(self.topology.bridges, 0)
        for end, peer in self._ends():
            numbers[end.bridge] += 1
            if end.port in missing or end.bridge in missing:
                arguments += _add_port(end, numbers) + (["type=patch", f"options:peer={peer.port}"] if peer.bridge is not None else [])
        if arguments:
            self.vsctl([word for argument in arguments for word in ((["--may-exist"] if argument in ("add-br", "add-port") else []) + [argument])])
            self.check_interfaces()
        return missing

    def _ends(self):
        """(end, its peer) of each end of a link that is at a bridge, in the order in which they were given their numbers."""
        return [(end, peer) for link in self.topology.links for end, peer in ((link.a, link.b), (link.b, link.a)) if end.bridge is not None]

    def _there(self):
        """Bridges, and ports of theirs whose interface is there."""
        bridges = self.vsctl(["list-br"]).split()
        ports = self.vsctl([word for bridge in bridges for word in ("--", "list-ports", bridge)]).split() if bridges else []
        outer = {link.b.port for link in self.topology.links if link.a.bridge is None}
        return set(bridges) | (set(ports) - (outer - set(netns.call(self.namespace, _interfaces))))

    def _command(self, program):
        arguments = [str(self.folder / "conf.db"), "--remote=punix:" + self.database[len("unix:"):]] if program == "ovsdb-server" \
            else [self.database, "--disable-system"]
        # The pid file is also what "down" finds a process by that died unrecorded: nobody else has this argument.
        return netns.command(self.namespace, [program] + arguments + ["--no-chdir", f"--pidfile={self.folder / program}.pid",
                                                                      f"--unixctl={self.folder / program}.ctl", "-vsyslog:off", "-vconsole:info"])

    def _stale(self, program):
        return [self.folder / name for name in ([f"{program}.ctl", "db.sock"] if program == "ovsdb-server" else [f"{program}.ctl"])]

    def _pid_file(self, program):
        """With the start time, as all our own pid files."""
        return self.folder / f"{program}.process"

    def _start(self, program):
        for stale in self._stale(program):
            stale.unlink(missing_ok=True)
        self.record.add_process(processes.start(program, self._command(program), cwd=str(self.folder), pid_file=self._pid_file(program),
                                                log=self.folder / f"{program}.log", env=self._environment()))

    def _wait_for(self, program, path):
        """Wait until the program listens at its socket, which is there a moment earlier; fail as soon as it has ended."""
        end = time.monotonic() + _PATIENCE
        while not _listens(path):
            alive = any(process.name == program for process in self.record.live())
            if not alive or time.monotonic() > end:
                raise CommandFailed(f"{program} {'does not get ready' if alive else 'ended'}; the end of its log:\n"
                                    + processes.tail(self.folder / f"{program}.log"))
            time.sleep(0.02)

    def _make_bridges(self):
        """All bridges and ports in one transaction; ovs-vsctl waits until the switch has them."""
        arguments = []
        for bridge in self.topology.bridges:
            arguments += _add_bridge(bridge)
        numbers = dict.fromkeys(self.topology.bridges, 0)
        for link in self.topology.links:
            for end in (link.a, link.b):
                if end.bridge is not None:
                    numbers[end.bridge] += 1
            arguments += self._add_patch(link, numbers) if link.a.bridge is not None else _add_port(link.b, numbers)
        for server in self.topology.servers.values():
            arguments += ["--", "add-port", server.bridge, server.trunk]
        self.vsctl(arguments)
        self.check_interfaces()

    def _add_patch(self, link, numbers=None):
        arguments = []
        for end, peer in ((link.a, link.b), (link.b, link.a)):
            arguments += _add_port(end, numbers) + ["type=patch", f"options:peer={peer.port}"]
        return arguments

    def check_interfaces(self):
        """Open vSwitch takes what it cannot open and notes an error in its database or log: bring that up here."""
        errors = self.vsctl(["--bare", "--columns=name,error", "find", "Interface", "error!=[]"]).split("\n")
        words = [word for word in errors if word]
        closed = [bridge for bridge in self.topology.bridges if not Path(self.target(bridge)[len("unix:"):]).exists()]
        if words or closed:
            what = f"open the port {': '.join(words[:2])}" if words else f"make the bridge {closed[0]}"
            raise CommandFailed(f"Open vSwitch cannot {what}; the end of its log:\n"
                                + processes.tail(self.folder / "ovs-vswitchd.log"))

    def vsctl(self, arguments):
        return processes.run(["ovs-vsctl", f"--db={self.database}", f"--timeout={_PATIENCE}"] + arguments,
                             env=self._environment(), timeout=_PATIENCE + 5)

    def _own_environment(self):
        folder = str(self.folder)
        return dict(OVS_RUNDIR=folder, OVS_LOGDIR=folder, OVS_DBDIR=folder, OVS_SYSCONFDIR=folder, LC_ALL="C")

    def _environment(self):
        return dict(os.environ, **self._own_environment())


def _stop_checksums(interfaces):
    """Have the kernel finish packets before it hands them to the userspace datapath (what "ethtool -K ... tx off" does)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        for interface in interfaces:
            value = ctypes.create_string_buffer(struct.pack("II", _ETHTOOL_STXCSUM, 0), 8)
            fcntl.ioctl(any_socket, _SIOCETHTOOL, struct.pack("16sP", interface.encode(), ctypes.addressof(value)) + bytes(16))


def _interfaces():
    return [name for _, name in socket.if_nameindex()]


def _listens(path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def _add_bridge(bridge):
    return ["--", "add-br", bridge, "--", "set", "Bridge", bridge, "datapath_type=netdev", "fail_mode=secure",
            f"protocols={_PROTOCOLS}", "other_config:disable-in-band=true"]


def _add_port(end, numbers=None):
    wish = [f"ofport_request={numbers[end.bridge]}"] if numbers else []
    return ["--", "add-port", end.bridge, end.port, "--", "set", "Interface", end.port] + wish


def remains(record):
    """The processes of Open vSwitch that belong to the platform, recorded or not."""
    found = []
    for program in ("ovs-vswitchd", "ovsdb-server"):
        found += processes.find(program, f"--pidfile={record.directory / 'ovs' / program}.pid")
    return found

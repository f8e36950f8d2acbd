"""Another platform file for an embedded platform that is up: what it adds, removes and changes, and nothing else is touched.

The resource daemon decides first: it refuses what would cut installed allocations, and from its answer on it places nothing on what goes.  Then what goes is taken
away, then what comes is made.
"""

import contextlib
import shutil
import socket
import xml.etree.ElementTree as ElementTree

from . import client, embedded, folder, netns, processes
from .errors import Error
from .fabric import Fabric
from .topology import Topology


def apply(directory, platform_file, *, force=False, report=None):
    """Have the platform in the folder become what the file says.  Returns the answer of apply_platform: added, removed, changed, cut.

    force: delete the allocations that would be cut.  Raises BadFile, or Refused naming what would be cut: then nothing has changed.
    """
    report = report or (lambda line: None)
    record = folder.Record.load(folder.locate(directory))
    new = embedded.read_platform(platform_file)
    with folder.locked(record.directory):
        if not record.data["with-daemons"]:
            raise Error(f"the platform in {record.directory} has no daemons: 'flowstream down' and 'up' make it anew")
        old = Topology(record.directory / "platform.xml")
        fabric = Fabric(record, new)
        fabric.check()
        new.set_targets(fabric.target)
        with contextlib.closing(client.Client(record.directory, deadline=120)) as caller:
            answer = caller.call("resource", "apply_platform", ElementTree.tostring(new.root, encoding="unicode"), {"force": force})
            report(f"changing the fabric: {len(answer['added'])} parts added, {len(answer['removed'])} removed, {len(answer['changed'])} changed")
            try:
                _carry_out(record, old, new, report)
            except BaseException:
                report("putting the platform back")
                with contextlib.suppress(Error):
                    caller.call("resource", "apply_platform", ElementTree.tostring(old.root, encoding="unicode"), {"force": True})
                    _carry_out(record, new, old, report)
                raise
        record.data["platform"] = str(platform_file)
        record.save()
    return answer


def _carry_out(record, old, new, report):
    """Make of the platform of the one topology that of the other; what is there already, or gone, is no error."""
    fabric = Fabric(record, new)
    gone = [name for name in old.servers if name not in new.servers]
    _remove_hosts(record, gone)
    _change_fabric(fabric, old)
    for name in gone:
        shutil.rmtree(record.directory / "hosts" / name, ignore_errors=True)
    record.data["ports"] = {port: fabric.namespace_of(port) for port in new.ports}
    embedded.write_platform(record, new, fabric)
    came = [name for name in new.servers if f"modulehost:{name}" not in record.data["daemons"]]
    embedded.start_hosts(record, new, fabric, came, report)


def _remove_hosts(record, names):
    for name in names:
        if f"modulehost:{name}" in record.data["daemons"]:
            left = embedded.stop_host(record, name)
            if left:
                raise Error("left over: " + "; ".join(left))
    record.save()


def _change_fabric(fabric, old):
    """Make of the fabric of the topology 'old' that of fabric.topology: what goes first, then what comes."""
    new = fabric.topology
    before, after = {_key(link): link for link in old.links}, {_key(link): link for link in new.links}
    gone = [link for key, link in before.items() if key not in after]
    came = [link for key, link in after.items() if key not in before]
    _take_away(fabric, old, gone)
    _bring(fabric, old, came)
    mtus = {link.a.node: link.mtu for link in old.links if link.a.bridge is None}
    for link in new.links:
        if link.a.bridge is None and mtus.get(link.a.node, link.mtu) != link.mtu:
            fabric.set_port_mtu(link)
    fabric.check_interfaces()


def _key(link):
    return link.a.node, link.a.port, link.b.node, link.b.port


def _take_away(fabric, old, links):
    arguments = []
    for link in links:
        for end in (link.a, link.b):
            if end.bridge is not None:
                arguments += ["--", "--if-exists", "del-port", end.bridge, end.port]
    for bridge in old.bridges:
        if bridge not in fabric.topology.bridges:
            arguments += ["--", "--if-exists", "del-br", bridge]
    if arguments:
        fabric.vsctl(arguments)
    # A network port that only moves to another switch keeps its interface, and the world outside what it has there.
    staying = {(link.a.node, link.b.port) for link in fabric.topology.links if link.a.bridge is None}
    interfaces = [link.b.port for link in links if link.a.bridge is None and (link.a.node, link.b.port) not in staying]
    interfaces += [server.trunk for name, server in old.servers.items() if name not in fabric.topology.servers]
    for interface in interfaces:
        if netns.call(fabric.namespace, _has_interface, interface):
            processes.run(["ip", "-n", fabric.namespace, "link", "delete", interface])
    for port in old.ports:
        if port not in fabric.topology.ports:
            with contextlib.suppress(ValueError):
                fabric.record.data["namespaces"].remove(fabric.namespace_of(port))
            netns.remove(fabric.namespace_of(port))
            fabric.record.save()


def _bring(fabric, old, links):
    new = fabric.topology
    fabric.make_port_namespaces([port for port in new.ports if not netns.exists(fabric.namespace_of(port))])
    servers = [server for name, server in new.servers.items() if name not in old.servers]
    fabric.make_trunks([server for server in servers if not netns.call(fabric.namespace, _has_interface, server.trunk)])
    arguments = []
    for bridge in new.bridges:
        if bridge not in old.bridges:
            arguments += fabric.add_bridge(bridge)
    for link in links:
        if link.a.bridge is None and not netns.call(fabric.namespace, _has_interface, link.b.port):
            fabric.make_port(link)
        arguments += fabric.add_link(link)
    for server in servers:
        arguments += ["--", "add-port", server.bridge, server.trunk]
    if arguments:
        fabric.vsctl(_lenient(arguments))


def _lenient(arguments):
    """The same for what is there already."""
    return [word for argument in arguments for word in ((["--may-exist"] if argument in ("add-br", "add-port") else []) + [argument])]


def _has_interface(name):
    return name in (entry for _, entry in socket.if_nameindex())

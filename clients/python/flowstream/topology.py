"""The platform file: what it says about switches, module hosts, network ports and the links between them.

The format is the allocator's (platform, io, switch, server, link) with the attributes described in etc/platforms/embedded.xml.
Everything that could not be built later is found here, with the element that is wrong.
"""

import re
import xml.etree.ElementTree as ElementTree
import xml.parsers.expat
from dataclasses import dataclass
from typing import Optional

from .errors import BadFile

# Names become names of interfaces (15 characters at most): a port is named as it is, a host NAME gets "br-NAME" and "NAME-trunk".
_PORT_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,14}")
_HOST_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,8}")
_INNER_MTU = 1600  # bytes, of links that carry the service header, where the file says nothing
ROLES = ("tor", "intermediate", "core")


@dataclass
class Server:
    """One module host: cpu in cores, mem in MB, as text, as the file has them."""

    name: str
    cpu: str
    mem: str
    basesys: str = "linux.process"

    @property
    def bridge(self):
        return f"br-{self.name}"

    @property
    def trunk(self):
        """The interface by which modules are reached, in the bridge."""
        return f"{self.name}-trunk"

    @property
    def mux(self):
        """The other end of the trunk."""
        return f"{self.name}-mux"


@dataclass
class End:
    """One end of a link: the bridge (None at a network port) and the name of the port there."""

    node: str
    bridge: Optional[str]
    port: str


@dataclass
class Link:
    a: End
    b: End
    mtu: int
    line: int = 0


class Topology:
    """A platform file that has been read and checked.

    ports, switches: names in the order of the file; servers: name to Server; links: list of Link, where a network port is end a.
    """

    def __init__(self, path):
        """Read the file.  Raises BadFile."""
        self.path = str(path)
        self.tree = _read(self.path)
        self.root = self.tree.getroot()
        if self.root.tag != "platform":
            raise BadFile(f"{self._at(self.root)}: the outermost element is <{self.root.tag}>, not <platform>")
        self._check_names()
        self.ports = [e.get("id") for e in self.root.iter("io")]
        self.switches = [e.get("id") for e in self.root.iter("switch")]
        self.servers = {e.get("id"): self._server(e) for e in self.root.iter("server")}
        self.links = [self._link(e) for e in self.root.iter("link")]
        self._check_links()

    @property
    def bridges(self):
        """The names of all bridges: one a switch, one a module host."""
        return self.switches + [server.bridge for server in self.servers.values()]

    def bridge_of(self, node):
        """The bridge that stands for a switch or a module host."""
        return self.servers[node].bridge if node in self.servers else node

    def uplink(self, server):
        """The Link that connects the module host (to a network port of its own where it has no other), or None."""
        links = self.links_of(server)
        return min(links, key=lambda link: link.a.bridge is None, default=None)

    def links_of(self, node):
        """All links of a node."""
        return [link for link in self.links if node in (link.a.node, link.b.node)]

    def trunk_mtu(self, server):
        """Bytes of the largest frame between the module host's bridge and its modules: they carry the service header, whatever the links do."""
        return max([_INNER_MTU] + [link.mtu for link in self.links_of(server)])

    def add_server(self, name, cpu, mem, switch):
        """Add a module host behind the switch, to the tree as well.  Returns its Link.  Raises BadFile."""
        if not _HOST_NAME.fullmatch(name):
            raise BadFile(f"'{name}' cannot be the name of a module host: at most 9 letters, digits, '_', '.' and '-', "
                          "beginning with a letter")
        if name in self.servers or name in self.switches or name in self.ports:
            raise BadFile(f"the platform already has '{name}'")
        if switch not in self.switches:
            raise BadFile(f"the platform has no switch '{switch}'; it has: {', '.join(self.switches) or 'none'}")
        server = ElementTree.SubElement(self.root, "server", id=name, cpu=str(cpu), mem=str(mem), bandwidth="10000", delay="1")
        link = ElementTree.SubElement(self.root, "link", {
            "a": switch, "b": name, "a-port": f"to-{name}", "b-port": f"{name}-up",
            "bandwidth": "10000", "delay": "1", "mtu": "1600"})
        server.tail = link.tail = "\n  "
        self.servers[name] = self._server(server)
        self.links.append(self._link(link))
        return self.links[-1]

    def remove_server(self, name):
        """Take a module host and its links out, of the tree as well."""
        del self.servers[name]
        self.links = [link for link in self.links if name not in (link.a.node, link.b.node)]
        for element in list(self.root):
            if (element.tag == "server" and element.get("id") == name) or \
                    (element.tag == "link" and name in (element.get("a"), element.get("b"))):
                self.root.remove(element)

    def set_targets(self, target):
        """Give each switch its OpenFlow address: target is a function of the bridge's name."""
        for element in self.root.iter("switch"):
            element.set("target", target(element.get("id")))

    def _check_names(self):
        seen = set()
        for element in self.root:
            if element.tag in ("io", "switch", "server"):
                name = self._need(element, "id")
                pattern = _HOST_NAME if element.tag == "server" else _PORT_NAME
                if not pattern.fullmatch(name):
                    raise BadFile(f"{self._at(element)}: <{element.tag} id=\"{name}\">: a name is at most "
                                  f"{9 if element.tag == 'server' else 15} letters, digits, '_', '.' and '-', beginning with a letter")
                if name in seen:
                    raise BadFile(f"{self._at(element)}: the id \"{name}\" is used twice")
                seen.add(name)
            elif element.tag != "link" and isinstance(element.tag, str):
                raise BadFile(f"{self._at(element)}: <{element.tag}> is no element of a platform (io, switch, server, link)")

    def _server(self, element):
        for key in ("cpu", "mem"):
            self._number(element, key)
        return Server(element.get("id"), element.get("cpu"), element.get("mem"), element.get("basesys", "linux.process"))

    def _link(self, element):
        a, b = self._need(element, "a"), self._need(element, "b")
        ends = []
        for key, node, other in (("a-port", a, b), ("b-port", b, a)):
            if node in self.ports:
                ends.append(End(node, None, node))
            elif node in self.switches or node in self.servers:
                if not element.get(key):  # The daemons read it too, and must find the same name.
                    element.set(key, other if other in self.ports else f"to-{other}")
                ends.append(End(node, self.bridge_of(node), element.get(key)))
            else:
                raise BadFile(f"{self._at(element)}: {_shown(element)}: there is no io, switch or server \"{node}\"")
        if ends[1].bridge is None:
            ends.reverse()
        if ends[1].bridge is None:
            raise BadFile(f"{self._at(element)}: {_shown(element)}: a link cannot connect two network ports")
        default = 1500 if ends[0].bridge is None else 1600
        mtu = self._number(element, "mtu", default)
        if not 576 <= mtu <= 9216:
            raise BadFile(f"{self._at(element)}: {_shown(element)}: mtu {mtu} is not between 576 and 9216")
        return Link(ends[0], ends[1], int(mtu), getattr(element, "line", 0))

    def _check_links(self):
        used = set()
        for link in self.links:
            for end in (link.a, link.b):
                if not _PORT_NAME.fullmatch(end.port):
                    raise BadFile(f"{self.path}:{link.line}: the link {link.a.node} - {link.b.node}: the port name \"{end.port}\" is not "
                                  "at most 15 letters, digits, '_', '.' and '-'")
                # Open vSwitch knows a port by its name alone, whatever bridge it is in.
                if end.bridge is not None and (end.port in used or end.port in self.bridges):
                    raise BadFile(f"{self.path}:{link.line}: the link {link.a.node} - {link.b.node}: the port name \"{end.port}\" is already used")
                used.add(end.port if end.bridge else f"{end.port} outside")
        for name in self.ports:
            if f"{name} outside" not in used:
                raise BadFile(f"{self._at(self._element(name))}: the network port \"{name}\" has no link")
        for name in self.servers:
            if self.uplink(name) is None:
                raise BadFile(f"{self._at(self._element(name))}: the server \"{name}\" has no link")

    def _element(self, name):
        return next(element for element in self.root if element.get("id") == name)

    def _at(self, element):
        """FILE:LINE of an element."""
        return f"{self.path}:{getattr(element, 'line', 0)}"

    def _need(self, element, key):
        value = element.get(key)
        if not value:
            raise BadFile(f"{self._at(element)}: {_shown(element)}: the attribute {key} is missing")
        return value

    def _number(self, element, key, default=None):
        text = element.get(key)
        if text is None and default is not None:
            return default
        try:
            value = float(self._need(element, key))
            if value <= 0 or value != value or value == float("inf"):
                raise ValueError
        except ValueError:
            raise BadFile(f"{self._at(element)}: {_shown(element)}: {key}=\"{text}\" is no positive number") from None
        return value


class _Element(ElementTree.Element):
    """An element that knows the line on which it begins."""

    line = 0


def _read(path):
    """The file as a tree of _Element.  Raises BadFile."""
    builder = ElementTree.TreeBuilder(element_factory=_Element)
    parser = xml.parsers.expat.ParserCreate()

    def start(tag, attributes):
        builder.start(tag, attributes).line = parser.CurrentLineNumber
    parser.StartElementHandler = start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    try:
        with open(path, "rb") as file:
            parser.ParseFile(file)
    except OSError as error:
        raise BadFile(f"cannot read the platform file {path}: {error.strerror}") from None
    except xml.parsers.expat.ExpatError as error:
        raise BadFile(f"{path}:{error.lineno}: not well-formed XML: {xml.parsers.expat.ErrorString(error.code)}") from None
    return ElementTree.ElementTree(builder.close())


def _shown(element):
    """The element's start tag, for a message."""
    return "<" + " ".join([element.tag] + [f'{k}="{v}"' for k, v in element.attrib.items()]) + ">"

#!/usr/bin/python3
"""Makes platform files of many racks: RACKS top-of-rack switches with HOSTS module hosts each, joined by two intermediate switches.

usage: racks.py RACKS HOSTS > FILE

Rack R has the switch torR and the hosts rRh0, rRh1, ...; the network ports net0 and mon0 are in the first rack, net1 and tun1 in the last one, with two ways
between any two racks.
"""

import sys


def racks(n_racks, n_hosts):
    """The text of a platform file."""
    lines = [f'<platform name="{n_racks}-racks">', '  <io id="net0" forward="net1"/>', '  <io id="net1" forward="net0"/>', '  <io id="tun1"/>', '  <io id="mon0"/>',
             '  <switch id="mid0" role="intermediate"/>', '  <switch id="mid1" role="intermediate"/>']
    links = []
    for port, rack in (("net0", 0), ("mon0", 0), ("net1", n_racks - 1), ("tun1", n_racks - 1)):
        links.append(_link(port, f"tor{rack}", None, port, 10000, 1500))
    for rack in range(n_racks):
        lines.append(f'  <switch id="tor{rack}" role="tor"/>')
        for mid in range(2):
            links.append(_link(f"mid{mid}", f"tor{rack}", f"m{mid}-t{rack}", f"t{rack}-m{mid}", 40000, 1600))
        for host in range(n_hosts):
            name = f"r{rack}h{host}"
            lines.append(f'  <server id="{name}" cpu="8" mem="2048" bandwidth="10000" delay="1"/>')
            links.append(_link(f"tor{rack}", name, f"to-{name}", f"{name}-up", 10000, 1600))
    return "\n".join(lines + links + ["</platform>"]) + "\n"


def _link(a, b, a_port, b_port, bandwidth, mtu):
    first = f' a-port="{a_port}"' if a_port else ""
    return f'  <link a="{a}" b="{b}"{first} b-port="{b_port}" bandwidth="{bandwidth}" delay="1" mtu="{mtu}"/>'


if __name__ == "__main__":
    sys.stdout.write(racks(int(sys.argv[1]), int(sys.argv[2])))

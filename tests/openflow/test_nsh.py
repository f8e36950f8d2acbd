#!/usr/bin/env python3
"""NSH between switches, with real frames: what docs/nsh-on-ovs.md states, shown.

Three switches in a row: a1-a0[s1]b0-b1[s2]c0-c1[s3]d0-d1. Frames enter at a1, are seen on the wire at b1 and c1, and leave
at d1. Prints TAP; with --show also the frames and the rules of the datapath.
"""

import os
import socket
import struct
import sys
import time

import private_ovs as ovs

ENTRY = ("table=0,priority=100,in_port=a0%s,actions=encap(nsh(md_type=2)),set_field:0x123->nsh_spi,set_field:255->nsh_si,"
         "encap(ethernet),set_field:02:f5:00:00:00:01->eth_dst,set_field:02:f5:00:00:00:02->eth_src,output:b0")
TRANSIT = "table=0,priority=100,in_port=b1,dl_type=0x894f,nsh_spi=0x123,nsh_si=255,actions=output:c0"
EXIT = "table=0,priority=100,in_port=c1,dl_type=0x894f,nsh_spi=0x123,nsh_si=255,actions=decap(),decap(),output:d0"

ETHER = bytes.fromhex("02aabbccdd01" "02aabbccdd02")
SHOW = "--show" in sys.argv
results = []


def report(good, name):
    results.append(good)
    print("%s %d - %s" % ("ok" if good else "not ok", len(results), name), flush=True)


def listen(name):
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    s.bind((name, 0))
    s.setsockopt(263, 8, 1)     # SOL_PACKET, PACKET_AUXDATA: a VLAN tag taken off by the kernel is told there
    s.settimeout(1.0)
    return s


def receive(s):
    """The next frame that came in (not one that we sent), its VLAN tag back in place, or None."""
    end = time.monotonic() + 1.0
    while time.monotonic() < end:
        try:
            data, extra, _, address = s.recvmsg(65536, 256)
        except socket.timeout:
            return None
        if address[2] == socket.PACKET_OUTGOING:
            continue
        for level, kind, value in extra:
            status, _, _, _, _, tci, tpid = struct.unpack("IIIHHHH", value[:20])
            if status & 0x10:
                data = data[:12] + struct.pack("!HH", tpid if status & 0x40 else 0x8100, tci) + data[12:]
        return data
    return None


def ipv4(payload, source="10.0.0.1", destination="10.0.0.2"):
    udp = struct.pack("!HHHH", 1111, 2222, 8 + len(payload), 0) + payload
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0, socket.inet_aton(source), socket.inet_aton(destination))
    total = sum(struct.unpack("!10H", head))
    total = (total & 0xffff) + (total >> 16)
    total = ~((total & 0xffff) + (total >> 16)) & 0xffff
    return head[:10] + struct.pack("!H", total) + head[12:] + udp


def frames():
    ip4 = ipv4(b"flowstream" * 4)
    udp6 = struct.pack("!HHHH", 1111, 2222, 18, 0x1234) + b"flowstream"
    ip6 = struct.pack("!IHBB", 0x60000000, len(udp6), 17, 64) + bytes(15) + b"\1" + bytes(15) + b"\2" + udp6
    arp = struct.pack("!HHBBH6s4s6s4s", 1, 0x800, 6, 4, 1, ETHER[6:], bytes([10, 0, 0, 1]), bytes(6), bytes([10, 0, 0, 2])) + bytes(18)
    yield "IPv4", ETHER + b"\x08\x00" + ip4
    yield "VLAN 5, IPv4", ETHER + b"\x81\x00\x00\x05" + b"\x08\x00" + ip4
    yield "two VLAN tags, IPv4", ETHER + b"\x88\xa8\x00\x07" + b"\x81\x00\x00\x05" + b"\x08\x00" + ip4
    yield "ARP", ETHER + b"\x08\x06" + arp
    yield "IPv6", ETHER + b"\x86\xdd" + ip6
    yield "unknown type 0x88b5", ETHER + b"\x88\xb5" + bytes(range(50))
    yield "IPv4, 1400 bytes", ETHER + b"\x08\x00" + ipv4(bytes(1400))
    yield "IPv4, 1500 bytes", ETHER + b"\x08\x00" + ipv4(bytes(1472))


def dump(data):
    for i in range(0, min(len(data), 80), 16):
        print("#   %04x  %s" % (i, data[i:i + 16].hex(" ")))


def try_frames(switch, match):
    entrance, wire, wire2, exit_ = (listen(n) for n in ("a1", "b1", "c1", "d1"))
    for name, frame in frames():
        entrance.send(frame)
        seen, seen2, left = receive(wire), receive(wire2), receive(exit_)
        if SHOW:
            print("# %s, %d bytes in, %s on the wire, %s out" % (name, len(frame), seen and len(seen), left and len(left)))
            if seen:
                dump(seen)
            print(ovs.run("ovs-appctl", "-t", switch.folder + "/vswitchd.ctl", "dpctl/dump-flows", "-m"), end="") if "--flows" in sys.argv else None
        head = seen[:22].hex() if seen else ""
        good = head.startswith("02f500000001" "02f500000002" "894f") and seen[22:] == frame and seen2 == seen
        report(good, "%s%s: on the wire between the switches it is Ethernet, NSH, the whole frame" % (match, name))
        report(left == frame, "%s%s: leaves the last switch as it came" % (match, name))


def try_small_wire(switch):
    """A wire with the usual MTU has no room for 22 bytes more: Open vSwitch neither fragments nor tells anyone."""
    for end in ("b0", "b1"):
        ovs.run("ip", "link", "set", end, "mtu", "1500")
    entrance, exit_ = listen("a1"), listen("d1")
    for size, passes in ((1492, True), (1493, False)):
        frame = ETHER + b"\x08\x00" + ipv4(bytes(size - 42))
        entrance.send(frame)
        report((receive(exit_) == frame) is passes, "MTU 1500 on the wire: a frame of %d bytes %s" %
               (size, "passes" if passes else "is lost"))


def main():
    reason = ovs.missing()
    if reason:
        print("1..0 # SKIP %s" % reason)
        return 0
    ovs.enter_namespace()
    ovs.quiet_link("lo")
    for one in "abcd":
        ovs.veth(one + "0", one + "1")
        for end in "01":
            ovs.run("ip", "link", "set", one + end, "mtu", "1600")
    with ovs.Switch() as switch:
        switch.bridge("s1", "a0", "b0")
        switch.bridge("s2", "b1", "c0")
        switch.bridge("s3", "c1", "d0")
        switch.ofctl("add-flow", "s2", TRANSIT)
        switch.ofctl("add-flow", "s3", EXIT)
        switch.ofctl("add-flow", "s1", ENTRY % "")
        try_frames(switch, "")
        switch.ofctl("del-flows", "s1")
        for match in ("ip", "ipv6", "arp", "dl_vlan=5,ip", "dl_vlan=7", "dl_type=0x88b5"):
            switch.ofctl("add-flow", "s1", ENTRY % ("," + match))
        try_frames(switch, "with a match on its kind, ")
        try_small_wire(switch)
        if SHOW:
            for s in ("s1", "s2", "s3"):
                print(switch.ofctl("dump-flows", s))
            print(open(switch.folder + "/ovs-vswitchd.out").read())
    print("1..%d" % len(results))
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())

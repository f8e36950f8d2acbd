"""Numbered packets: made, sent into network ports and recognised when they come out, for tests that count every one.

    with watch(p, "net1") as out:
        send(p, "net0", [udp(n) for n in range(100)])
        out.wait(100, 10)

Frames are whole and need no addresses on the ports; the payload of each begins with MARK, so that nothing else is counted.
"""

import socket
import struct
import threading
import time

from flowtest import PATIENCE

from flowstream import netns, ports

MARK = b"flowstream-test:"
LATE = 0.05  # seconds that a Stream makes up for: what was held up for longer by the computer would be a burst that no port was promised to take
_MACS = bytes.fromhex("02aa00000002") + bytes.fromhex("02aa00000001")
_V4 = ("10.9.0.1", "10.9.0.2")
_V6 = ("fd09::1", "fd09::2")


def udp(number, port=5000, v6=False, addresses=None, size=64):
    """The frame of a UDP packet with that number in it."""
    payload = (MARK + struct.pack(">I", number)).ljust(size, b".")
    return _ip(17, struct.pack(">HHHH", 40000, port, 8 + len(payload), 0) + payload, 6, v6, addresses)


def tcp(number, port=80, v6=False, addresses=None):
    """The frame of a TCP segment, no part of any connection."""
    header = struct.pack(">HHIIBBHHH", 40000, port, number, 0, 5 << 4, 0x10, 1000, 0, 0)
    return _ip(6, header + MARK + struct.pack(">I", number), 16, v6, addresses)


def icmp(number, v6=False, addresses=None):
    """The frame of an echo request."""
    kind, protocol = (128, 58) if v6 else (8, 1)
    return _ip(protocol, struct.pack(">BBHHH", kind, 0, 0, 1, number & 0xffff) + MARK + struct.pack(">I", number), 2, v6, addresses)


def number_of(frame):
    """The number in a frame of ours, or None."""
    at = frame.find(MARK)
    return struct.unpack_from(">I", frame, at + len(MARK))[0] if at >= 0 else None


def is_ours(frame):
    return MARK in frame


def watch(platform, port):
    """A sniffer at a network port that counts our frames only."""
    return ports.Sniffer(platform.dir, port, is_ours)


def send(platform, port, frames, pps=4000):
    """Send frames into the platform at a port, evenly spread."""
    with netns.open_socket(platform.namespace(port), socket.AF_PACKET, socket.SOCK_RAW) as out:
        out.bind(("eth0", 0))
        start = time.monotonic()
        for i, frame in enumerate(frames):
            out.send(frame)
            ahead = start + (i + 1) / pps - time.monotonic()
            if ahead > 0.002:
                time.sleep(ahead)


class Stream:
    """Numbered UDP packets from one port to another for as long as a with statement lasts; afterwards 'sent' and 'missing' (numbers) tell."""

    def __init__(self, platform, source, target, pps=400, port=5000):
        self.platform, self.source, self.target, self.pps, self.port = platform, source, target, pps, port
        self.sent, self.seen, self.missing = 0, set(), []
        self._end = threading.Event()

    def __enter__(self):
        self._sniffer = ports.Sniffer(self.platform.dir, self.target, self._see)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        self._thread.join()
        end = time.monotonic() + 5 * PATIENCE
        while len(self.seen) < self.sent and time.monotonic() < end:
            time.sleep(0.05)
        self._sniffer.stop()
        self.missing = sorted(set(range(self.sent)) - self.seen)

    def _see(self, frame):
        number = number_of(frame)
        if number is not None:
            self.seen.add(number)
        return number is not None

    def _run(self):
        with netns.open_socket(self.platform.namespace(self.source), socket.AF_PACKET, socket.SOCK_RAW) as out:
            out.bind(("eth0", 0))
            due = time.monotonic()
            while not self._end.is_set():
                self._send(out)
                self.sent += 1
                due = max(due + 1 / self.pps, time.monotonic() - LATE)
                time.sleep(max(0, due - time.monotonic()))

    def _send(self, out):
        out.send(udp(self.sent, self.port))


def _checksum(data):
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def _ip(protocol, body, checksum_at, v6, addresses):
    source, target = addresses or (_V6 if v6 else _V4)
    family = socket.AF_INET6 if v6 else socket.AF_INET
    ends = socket.inet_pton(family, source) + socket.inet_pton(family, target)
    pseudo = ends + struct.pack(">II", len(body), protocol)
    if protocol == 1:
        pseudo = b""
    summed = _checksum((pseudo + body).ljust((len(pseudo + body) + 1) // 2 * 2, b"\0"))
    body = body[:checksum_at] + struct.pack(">H", summed or 0xffff) + body[checksum_at + 2:]
    if v6:
        return _MACS + b"\x86\xdd" + struct.pack(">IHBB", 6 << 28, len(body), protocol, 64) + ends + body
    header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0, 64, protocol, 0) + ends
    return _MACS + b"\x08\x00" + header[:10] + struct.pack(">H", _checksum(header)) + header[12:] + body

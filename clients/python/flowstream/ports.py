"""Packets at the network ports of an embedded platform, seen from outside: sending, capturing, counting.

The outside of a port is the interface eth0 in the namespace that the record names for it.  What is sent there enters the
platform, what arrives there has left it.  Nothing here knows how the platform works inside, so that it can serve as a witness.
"""

import errno
import fcntl
import mmap
import select
import socket
import struct
import threading
import time
from dataclasses import dataclass
from typing import NamedTuple

from . import folder, netns
from .errors import BadFile, Error
from .pcap import ETHERNET, Reader, Writer, link_name

INTERFACE = "eth0"
DEFAULT_PPS = 10000
_ETH_P_ALL = 3
_SOL_PACKET, _ADD_MEMBERSHIP, _RX_RING, _STATISTICS, _VERSION = 263, 1, 5, 6, 10
_PROMISCUOUS, _OUTGOING = 1, 4
_SIOCGIFMTU, _SIOCGIFINDEX = 0x8921, 0x8933
_ETHERNET_HEADER, _VLAN_TAG = 14, 4
_VLAN_TYPES = (b"\x81\x00", b"\x88\xa8")
_LONGEST_PADDED = 65536  # bytes; longer than any MTU, so that it is counted as too long
_MOST_BEHIND = 32  # packets sent in a row to make up for lost time; more could overflow a switch
_SEND_RETRIES = 1000  # of a millisecond each, while the kernel has no room

# struct tpacket2_hdr of linux/if_packet.h; the struct sockaddr_ll after it has the packet's type in its byte 10.
_FRAME = struct.Struct("=IIIHHIIHH")
_FRAME_TYPE_AT = 32 + 10
_FRAME_USER, _FRAME_VLAN, _FRAME_TPID = 1, 1 << 4, 1 << 6
_RING_BYTES, _BLOCK_BYTES = 16 << 20, 1 << 16


class Seen(NamedTuple):
    """One frame at a port: when (ns), its bytes, its length on the wire, and whether it was on its way into the platform."""

    time: int
    data: bytes
    length: int
    inward: bool


def namespace(directory, port):
    """The namespace outside of a network port of the platform in the folder.  Raises Error."""
    ports = folder.Record.load(folder.locate(directory)).data["ports"]
    if port not in ports:
        raise Error(f"the platform has no network port '{port}'; it has: {', '.join(ports) or 'none'}")
    return ports[port]


class Listener:
    """All frames that pass a port, in both directions, through a ring that the kernel fills.  Use it in a with statement."""

    def __init__(self, directory, port):
        """Open the port of the platform in the folder; from now on nothing is missed.  Raises Error."""
        self.port = port
        self._drops = 0
        self._socket = netns.open_socket(namespace(directory, port), socket.AF_PACKET, socket.SOCK_RAW)
        try:
            self._map = self._make_ring()
            self._socket.bind((INTERFACE, _ETH_P_ALL))
            index = _ioctl(self._socket, _SIOCGIFINDEX)
            self._socket.setsockopt(_SOL_PACKET, _ADD_MEMBERSHIP, struct.pack("iHH8s", index, _PROMISCUOUS, 0, b""))
        except OSError as error:
            self._socket.close()
            raise Error(f"cannot listen at port {port}: {error.strerror}") from None
        self._next = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._map.close()
        self._socket.close()

    def drops(self):
        """How many frames the kernel had no room for since the start: 0, or the counts are not to be trusted."""
        _, dropped = struct.unpack("II", self._socket.getsockopt(_SOL_PACKET, _STATISTICS, 8))  # Reading sets it to 0.
        self._drops += dropped
        return self._drops

    def next(self, seconds):
        """The next frame, or None when none came within so many seconds."""
        at = self._next * self._frame_bytes
        if not self._map_status(at) & _FRAME_USER:
            poll = select.poll()
            poll.register(self._socket, select.POLLIN)
            poll.poll(max(0, seconds * 1000))
            if not self._map_status(at) & _FRAME_USER:
                return None
        status, length, kept, mac, _, second, nanosecond, tci, tpid = _FRAME.unpack_from(self._map, at)
        data = self._map[at + mac:at + mac + kept]
        inward = self._map[at + _FRAME_TYPE_AT] == _OUTGOING
        struct.pack_into("=I", self._map, at, 0)
        self._next = (self._next + 1) % self._frames
        if status & _FRAME_VLAN:  # The kernel has taken the outer tag out of the frame: put it back.
            data = data[:12] + struct.pack(">HH", tpid if status & _FRAME_TPID else 0x8100, tci) + data[12:]
            length += _VLAN_TAG
        return Seen(second * 1_000_000_000 + nanosecond, data, length, inward)

    def _make_ring(self):
        mtu = _ioctl(self._socket, _SIOCGIFMTU)
        self._frame_bytes = 2048
        while self._frame_bytes < mtu + 256:
            self._frame_bytes *= 2
        self._frames = _RING_BYTES // self._frame_bytes
        self._socket.setsockopt(_SOL_PACKET, _VERSION, 1)
        self._socket.setsockopt(_SOL_PACKET, _RX_RING, struct.pack("IIII", _BLOCK_BYTES, _RING_BYTES // _BLOCK_BYTES,
                                                                   self._frame_bytes, self._frames))
        return mmap.mmap(self._socket.fileno(), _RING_BYTES, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)

    def _map_status(self, at):
        return struct.unpack_from("=I", self._map, at)[0]


class Sniffer:
    """Counts in the background what passes a port, from construction to stop(); a with statement calls stop().

    sent, sent_bytes: into the platform; received, received_bytes: out of it; drops: frames that were missed, known after stop().
    wanted: a function of a frame's bytes that says whether it counts; it runs in the background thread.  It may say more than "yes":
    kinds[answer] is a list of two numbers, frames of this kind sent and received.
    """

    def __init__(self, directory, port, wanted=None):
        self.sent = self.sent_bytes = self.received = self.received_bytes = self.drops = 0
        self.kinds = {}
        self._wanted = wanted
        self._listener = Listener(directory, port)
        self._stopping = threading.Event()
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=f"sniffer at {port}", daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def wait(self, received, seconds):
        """Wait until so many frames have come out of the platform, at most so many seconds.  Says whether they have."""
        with self._changed:
            return self._changed.wait_for(lambda: self.received >= received, seconds)

    def stop(self):
        """Count what has come so far and end."""
        if not self._stopping.is_set():
            self._stopping.set()
            self._thread.join()
            self.drops = self._listener.drops()
            self._listener.close()

    def _run(self):
        while True:
            frame = self._listener.next(0 if self._stopping.is_set() else 0.05)
            if frame is not None:
                self._count(frame)
            elif self._stopping.is_set():
                return

    def _count(self, frame):
        kind = self._wanted(frame.data) if self._wanted is not None else True
        if not kind:
            return
        with self._changed:
            self.kinds.setdefault(kind, [0, 0])[0 if frame.inward else 1] += 1
            if frame.inward:
                self.sent += 1
                self.sent_bytes += frame.length
            else:
                self.received += 1
                self.received_bytes += frame.length
            self._changed.notify_all()


@dataclass
class ReplayCounts:
    sent: int = 0
    bytes: int = 0
    too_long: int = 0    # longer than the port's MTU
    incomplete: int = 0  # the capture holds only the beginning
    failed: int = 0      # refused by the kernel
    seconds: float = 0.0


class Replay:
    """Sends the frames of a capture file into the platform at a port.

    pps: packets a second, 0 for as fast as possible, which may be faster than the platform takes them; loop: how often, 0 for ever.
    pad: frames of which the capture holds only the beginning are filled up with zeros to their length, else not sent.
    counts: a ReplayCounts, up to date at any time.  Raises BadFile when the file cannot be used; then nothing has been sent.
    """

    def __init__(self, directory, port, path, *, pps=DEFAULT_PPS, loop=1, pad=False):
        self.counts = ReplayCounts()
        self.port = port
        self._pps = pps
        self._loop = loop
        self._place = namespace(directory, port)
        self._frames = [_padded(packet) for packet in _frames_of(path)] if pad else _frames_of(path)

    def run(self):
        """Send all and return the counts.  May be interrupted by any exception; the counts hold."""
        start = time.monotonic()
        try:
            with netns.open_socket(self._place, socket.AF_PACKET, socket.SOCK_RAW) as out:
                out.bind((INTERFACE, 0))
                self._due = start
                self._send_all(out, _ioctl(out, _SIOCGIFMTU))
        except OSError as error:
            raise Error(f"cannot send at port {self.port}: {error.strerror}") from None
        finally:
            self.counts.seconds = time.monotonic() - start
        return self.counts

    def _send_all(self, out, mtu):
        rounds = 0
        while self._loop == 0 or rounds < self._loop:
            for packet in self._frames:
                if not packet.complete:
                    self.counts.incomplete += 1
                elif len(packet.data) > mtu + _ETHERNET_HEADER + (_VLAN_TAG if packet.data[12:14] in _VLAN_TYPES else 0):
                    self.counts.too_long += 1
                else:
                    self._keep_pace()
                    self._send(out, packet.data)
            rounds += 1
            if self.counts.sent + self.counts.failed == 0:
                break  # Nothing in the file can be sent: another round would not change that.

    def _keep_pace(self):
        if self._pps:
            now = time.monotonic()
            self._due = max(self._due, now - _MOST_BEHIND / self._pps)
            if self._due - now > 0.001:
                time.sleep(self._due - now)
            self._due += 1 / self._pps

    def _send(self, out, data):
        for _ in range(_SEND_RETRIES):
            try:
                out.send(data)
            except OSError as error:
                if error.errno in (errno.ENOBUFS, errno.EAGAIN):
                    time.sleep(0.001)
                    continue
                if error.errno in (errno.EINVAL, errno.EMSGSIZE):
                    break
                raise
            self.counts.sent += 1
            self.counts.bytes += len(data)
            return
        self.counts.failed += 1


@dataclass
class CaptureCounts:
    packets: int = 0
    bytes: int = 0
    drops: int = 0
    seconds: float = 0.0


class Capture:
    """Writes the frames that leave the platform at a port to a pcap file.  The port is listened to from construction on.

    count, seconds: when to end, None for no such end.  counts: a CaptureCounts, up to date at any time, drops after run().
    """

    def __init__(self, directory, port, path, *, count=None, seconds=None):
        self.counts = CaptureCounts()
        self._count = count
        self._seconds = seconds
        self._listener = Listener(directory, port)
        try:
            self._writer = Writer(path)
        except BadFile:
            self._listener.close()
            raise

    def run(self):
        """Capture to the end and return the counts.  May be interrupted by any exception; file and counts hold what came."""
        start = time.monotonic()
        try:
            while self._count is None or self.counts.packets < self._count:
                left = 3600 if self._seconds is None else start + self._seconds - time.monotonic()
                if left <= 0:
                    break
                self._take(self._listener.next(min(left, 3600)))
        finally:
            self.counts.seconds = time.monotonic() - start
            self.counts.drops = self._listener.drops()
            self._listener.close()
            self._writer.close()
        return self.counts

    def _take(self, frame):
        if frame is not None and not frame.inward:
            self._writer.write(frame.time, frame.data, frame.length)
            self.counts.packets += 1
            self.counts.bytes += frame.length


def _frames_of(path):
    """All packets of a capture file of Ethernet."""
    with Reader(path) as reader:
        packets = []
        for packet in reader:
            if packet.link != ETHERNET:
                raise BadFile(f"{path}: packet {reader.packets} is {link_name(packet.link)}; only Ethernet can be replayed")
            packets.append(packet)
    return packets


def _padded(packet):
    missing = min(packet.length, _LONGEST_PADDED) - len(packet.data)
    return packet if missing <= 0 else packet._replace(data=packet.data + bytes(missing), length=len(packet.data) + missing)


def _ioctl(out, request):
    """The number that the interface has for SIOCGIFMTU or SIOCGIFINDEX, in the namespace of the socket."""
    answer = fcntl.ioctl(out, request, struct.pack("16sI20x", INTERFACE.encode(), 0))
    return struct.unpack("16sI20x", answer)[1]

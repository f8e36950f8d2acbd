"""Capture files: reads pcap and pcapng, also compressed with gzip; writes pcap.

pcap: both byte orders, microseconds and nanoseconds.  pcapng: any number of sections and interfaces, each with its own byte order,
resolution and offset of time; blocks that hold no packets are skipped.  Times are whole nanoseconds since 1970.
"""

import gzip
import struct
import zlib
from typing import NamedTuple

from .errors import BadFile

ETHERNET = 1
_LINK_NAMES = {0: "BSD loopback", 1: "Ethernet", 9: "PPP", 12: "raw IP", 101: "raw IP", 105: "802.11", 108: "OpenBSD loopback",
               113: "Linux cooked", 127: "802.11 with radiotap", 228: "IPv4", 229: "IPv6", 276: "Linux cooked 2"}
_MICROSECONDS, _NANOSECONDS, _MODIFIED = 0xA1B2C3D4, 0xA1B23C4D, 0xA1B2CD34
_SECTION, _INTERFACE, _OLD_PACKET, _SIMPLE_PACKET, _PACKET = 0x0A0D0D0A, 1, 2, 3, 6
_BYTE_ORDER = 0x1A2B3C4D
_LONGEST = 64 << 20  # bytes; no packet and no block that we know is longer, so a larger number is damage


class Packet(NamedTuple):
    """One packet: when, what was captured of it, how long it was on the wire, and the kind of link."""

    time: int
    data: bytes
    length: int
    link: int

    @property
    def complete(self):
        return len(self.data) >= self.length


def link_name(number):
    """The name of a link type for messages."""
    return f"{_LINK_NAMES[number]} (link type {number})" if number in _LINK_NAMES else f"link type {number}"


class Reader:
    """The packets of a capture file, by iteration.  Use it in a with statement, or call close().

    Raises BadFile, from the constructor or while iterating, with the file's name and the place of what is wrong; the packets before
    that place have been delivered.
    """

    def __init__(self, path):
        self.path = str(path)
        self.offset = 0
        self.packets = 0
        try:
            self._file = self._plain = open(path, "rb")
            if self._file.peek(2)[:2] == b"\x1f\x8b":
                self._file = gzip.GzipFile(fileobj=self._file)
        except OSError as error:
            raise BadFile(f"cannot read {self.path}: {error.strerror}") from None
        try:
            self._iterator = self._open()
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._file.close()
        self._plain.close()

    def __iter__(self):
        return self

    def __next__(self):
        packet = next(self._iterator)
        self.packets += 1
        return packet

    def _open(self):
        magic = self._read(4, "the first four bytes")
        if struct.unpack("<I", magic)[0] == _SECTION:
            return self._pcapng()
        for order in "<>":
            number = struct.unpack(order + "I", magic)[0]
            if number in (_MICROSECONDS, _NANOSECONDS):
                return self._pcap(order, 1 if number == _NANOSECONDS else 1000)
            if number == _MODIFIED:
                raise BadFile(f"{self.path}: a pcap file of Kuznetzov's modified format, which is not supported")
        raise BadFile(f"{self.path}: neither a pcap nor a pcapng file (it begins with {magic.hex(' ')})")

    def _pcap(self, order, unit):
        major, minor, _, _, _, link = struct.unpack(order + "HHiIII", self._read(20, "the file header"))
        if major != 2:
            raise self._bad(f"version {major}.{minor} of pcap is not known")
        return self._pcap_records(struct.Struct(order + "IIII"), unit, link & 0xFFFF)

    def _pcap_records(self, record, unit, link):
        while True:
            header = self._read(record.size, "the header of a packet", may_end=True)
            if not header:
                return
            seconds, fraction, captured, length = record.unpack(header)
            if captured > _LONGEST:
                raise self._bad(f"a packet of {captured} bytes: the file is damaged")
            data = self._read(captured, "the data of a packet")
            yield Packet(seconds * 1_000_000_000 + fraction * unit, data, length, link)

    def _pcapng(self):
        order, interfaces = self._section(b"\x0a\x0d\x0d\x0a"), []
        while True:
            head = self._read(4, "a block", may_end=True)
            if not head:
                return
            if struct.unpack(order + "I", head)[0] == _SECTION:
                order, interfaces = self._section(head), []
                continue
            kind = struct.unpack(order + "I", head)[0]
            body = self._block(order)
            if kind == _INTERFACE:
                interfaces.append(self._interface(order, body))
            elif kind in (_PACKET, _OLD_PACKET, _SIMPLE_PACKET):
                yield self._packet(kind, order, body, interfaces)

    def _section(self, head):
        """Read a section header block, of which head was read; returns the byte order."""
        length, magic = self._read(4, "a section header"), self._read(4, "a section header")
        for order in "<>":
            if struct.unpack(order + "I", magic)[0] == _BYTE_ORDER:
                body = self._rest(order, struct.unpack(order + "I", length)[0], done=12)
                if len(body) < 12:
                    raise self._bad("a section header that is too short")
                major = struct.unpack_from(order + "H", body)[0]
                if major != 1:
                    raise self._bad(f"version {major} of pcapng is not known")
                return order
        raise self._bad(f"a section header with the byte-order mark {magic.hex(' ')}")

    def _block(self, order):
        return self._rest(order, struct.unpack(order + "I", self._read(4, "the length of a block"))[0], done=8)

    def _rest(self, order, length, done):
        """The body of a block whose first bytes were read; checks the length repeated at its end."""
        if length < done + 4 or length % 4 or length > _LONGEST:
            raise self._bad(f"a block of {length} bytes: the file is damaged")
        body = self._read(length - done - 4, "a block")
        again = struct.unpack(order + "I", self._read(4, "the end of a block"))[0]
        if again != length:
            raise self._bad(f"a block of {length} bytes that says {again} at its end: the file is damaged")
        return body

    def _interface(self, order, body):
        """(link type, ticks a second, offset in seconds, snap length) of an interface block."""
        if len(body) < 8:
            raise self._bad("an interface block that is too short")
        link, _, snap = struct.unpack_from(order + "HHI", body)
        ticks, offset, at = 1_000_000, 0, 8
        while at + 4 <= len(body):
            code, length = struct.unpack_from(order + "HH", body, at)
            value = body[at + 4:at + 4 + length]
            if code == 0 or len(value) < length:
                break
            if code == 9 and length == 1:
                ticks = 2 ** (value[0] & 0x7F) if value[0] & 0x80 else 10 ** value[0]
            elif code == 14 and length == 8:
                offset = struct.unpack(order + "q", value)[0]
            at += 4 + (length + 3) // 4 * 4
        return link, ticks, offset, snap

    def _packet(self, kind, order, body, interfaces):
        size = 4 if kind == _SIMPLE_PACKET else 20
        if len(body) < size:
            raise self._bad("a packet block that is too short")
        if kind == _SIMPLE_PACKET:
            number, high, low = 0, 0, 0
            length = struct.unpack_from(order + "I", body)[0]
            captured = min(length, len(body) - size)
        else:
            number, high, low, captured, length = struct.unpack_from(order + "IIIII" if kind == _PACKET else order + "HxxIIII", body)
        if number >= len(interfaces):
            raise self._bad(f"a packet of interface {number}, which the file does not describe")
        link, ticks, offset, snap = interfaces[number]
        if kind == _SIMPLE_PACKET and snap:
            captured = min(captured, snap)
        if captured > len(body) - size:
            raise self._bad(f"a packet of {captured} bytes in a block with {len(body) - size}")
        time = ((high << 32 | low) * 1_000_000_000) // ticks + offset * 1_000_000_000
        return Packet(time, body[size:size + captured], length, link)

    def _read(self, count, what, may_end=False):
        """Read exactly count bytes; with may_end the file may end here, which gives b""."""
        try:
            data = self._file.read(count)
        except (OSError, EOFError, zlib.error) as error:  # Also damaged compression.
            raise BadFile(f"cannot read {self.path}: {error}") from None
        if len(data) < count and not (may_end and not data):
            raise self._bad(f"the file ends in {what}, after {len(data)} of {count} bytes: it was cut off")
        self.offset += len(data)
        return data

    def _bad(self, what):
        return BadFile(f"{self.path}: after packet {self.packets}, at byte {self.offset}: {what}")


class Writer:
    """Writes a pcap file.  Use it in a with statement, or call close().

    nanoseconds: the resolution of the file; byteorder: "little" or "big"; snap: the longest packet that the header promises.
    """

    def __init__(self, path, *, link=ETHERNET, nanoseconds=True, byteorder="little", snap=262144):
        order = "<" if byteorder == "little" else ">"
        self.path = str(path)
        self.packets = 0
        self._record = struct.Struct(order + "IIII")
        self._unit = 1 if nanoseconds else 1000
        try:
            self._file = open(path, "wb")
            self._file.write(struct.pack(order + "IHHiIII", _NANOSECONDS if nanoseconds else _MICROSECONDS, 2, 4, 0, 0, snap, link))
            self._file.flush()
        except OSError as error:
            raise BadFile(f"cannot write {self.path}: {error.strerror}") from None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def write(self, time, data, length=None):
        """Append a packet captured at time (nanoseconds), of which data was kept and which was length bytes long."""
        seconds, rest = divmod(time, 1_000_000_000)
        length = len(data) if length is None else length
        try:
            self._file.write(self._record.pack(seconds & 0xFFFFFFFF, rest // self._unit, len(data), length))
            self._file.write(data)
        except OSError as error:
            raise BadFile(f"cannot write {self.path}: {error.strerror}") from None
        self.packets += 1

    def close(self):
        try:
            self._file.close()
        except OSError as error:
            raise BadFile(f"cannot write {self.path}: {error.strerror}") from None

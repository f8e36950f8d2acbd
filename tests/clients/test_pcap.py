#!/usr/bin/python3
"""Capture files: what is written is read again, in every form; damage is found and named; real captures count as others count."""

import csv
import gzip
import struct

import support
from flowstream import pcap
from flowstream.errors import BadFile

FRAMES = [(1_600_000_000_123_456_789, b"a" * 60, 60), (1_600_000_001_000_000_001, b"b" * 100, 1500), (2, b"", 0)]


class Pcap(support.Scratch):
    def read(self, data):
        path = self.scratch / "x.pcap"
        path.write_bytes(data)
        with pcap.Reader(path) as reader:
            return list(reader)

    def written(self, **options):
        path = self.scratch / "w.pcap"
        with pcap.Writer(path, **options) as writer:
            for frame in FRAMES:
                writer.write(*frame)
        return path.read_bytes()

    def test_round_trip(self):
        """pcap in both byte orders and resolutions is read as it was written"""
        for order in ("little", "big"):
            for nanoseconds in (True, False):
                unit = 1 if nanoseconds else 1000
                packets = self.read(self.written(byteorder=order, nanoseconds=nanoseconds))
                self.assertEqual([(p.time, p.data, p.length) for p in packets], [(t // unit * unit, d, n) for t, d, n in FRAMES])
                self.assertEqual([p.complete for p in packets], [True, False, True])

    def test_gzip(self):
        """a compressed file is read like a plain one"""
        self.assertEqual(len(self.read(gzip.compress(self.written()))), len(FRAMES))

    def test_cut(self):
        """a file cut off at any byte delivers what is whole and names the place of the cut"""
        data = self.written()
        ends = {24, 24 + 76, 24 + 76 + 116, len(data)}
        for end in range(len(data)):
            if end in ends:
                self.assertLessEqual(len(self.read(data[:end])), len(FRAMES))
            else:
                with self.assertRaisesRegex(BadFile, "x.pcap: after packet .* at byte .* cut off"):
                    self.read(data[:end])

    def test_strange(self):
        """what is no capture file, and sizes that cannot be, are refused with a reason"""
        for data, words in ((b"", "cut off"), (b"#!/bin/sh\n", "neither a pcap nor a pcapng"), (b"\x34\xcd\xb2\xa1" + bytes(40), "modified"),
                            (self.written()[:24] + struct.pack("<IIII", 1, 1, 0xFFFFFFFF, 60), "the file is damaged"),
                            (b"\x1f\x8b\x08\x00garbage that is no compression", "cannot read")):
            with self.assertRaisesRegex(BadFile, words):
                self.read(data)

    def test_pcapng(self):
        """pcapng: two sections of different byte order, resolutions, all packet blocks, unknown blocks skipped"""
        packets = self.read(section("<") + interface("<", 9) + packet("<", 5_000_000_001, b"x" * 61) + block("<", 0x77, b"what")
                            + simple("<", b"y" * 14) + section(">") + interface(">", 0x80 | 10) + packet(">", 3 * 1024, b"z" * 60))
        self.assertEqual([(p.time, p.data) for p in packets],
                         [(5_000_000_001, b"x" * 61), (0, b"y" * 14), (3_000_000_000, b"z" * 60)])

    def test_pcapng_damaged(self):
        """damaged pcapng blocks are refused with a reason"""
        for data, words in ((section("<") + packet("<", 1, b"x"), "interface 0, which the file does not describe"),
                            (section("<") + struct.pack("<II", 6, 7), "the file is damaged"),
                            (section("<") + interface("<", 9)[:-4] + b"\0\0\0\0", "says 0 at its end"),
                            (section("<") + interface("<", 6) + packet("<", 1, b"x", captured=4000), "a packet of 4000 bytes"),
                            (section("<")[:20], "cut off")):
            with self.assertRaisesRegex(BadFile, words):
                self.read(data)

    def test_every_cut_of_pcapng(self):
        """pcapng cut off at any byte, or with any byte changed, never does worse than BadFile"""
        data = section("<") + interface("<", 9) + packet("<", 5, b"x" * 61) + simple("<", b"y" * 14)
        for end in range(len(data)):
            for variant in (data[:end], data[:end] + bytes([data[end] ^ 0xFF]) + data[end + 1:]):
                try:
                    self.read(variant)
                except BadFile:
                    pass

    def test_real(self):
        """real captures have as many packets as their list says"""
        table = support.TRACES / "TRACES.csv"
        if not table.exists():
            self.skipTest("the collection of captures is not here")
        with open(table, newline="") as lines:
            rows = list(csv.DictReader(lines))
        checked = 0
        for row in rows:
            path = support.TRACES / row["file"].rpartition("/")[2]
            if path.exists():
                with pcap.Reader(path) as reader:
                    self.assertEqual(sum(1 for _ in reader), int(row["packets"]), path.name)
                checked += 1
        self.assertGreater(checked, 3)


def block(order, kind, body):
    body += bytes(-len(body) % 4)
    return struct.pack(order + "II", kind, len(body) + 12) + body + struct.pack(order + "I", len(body) + 12)


def section(order):
    return block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))


def interface(order, resolution):
    return block(order, 1, struct.pack(order + "HHI", 1, 0, 0) + struct.pack(order + "HHB3x", 9, 1, resolution) + bytes(4))


def packet(order, time, data, captured=None):
    return block(order, 6, struct.pack(order + "IIIII", 0, time >> 32, time & 0xFFFFFFFF, captured or len(data), len(data)) + data)


def simple(order, data):
    return block(order, 3, struct.pack(order + "I", len(data)) + data)


if __name__ == "__main__":
    support.main()

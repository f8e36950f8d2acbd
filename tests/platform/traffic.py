#!/usr/bin/python3
"""Traffic for tests, at both ends.

usage: traffic.py serve ADDRESS                    answer on TCP and UDP port 80 until ended
       traffic.py fetch ADDRESS BYTES              download, print "good BYTES" or what is wrong
       traffic.py stream ADDRESS RATE STOP_FILE    numbered datagrams until the file is there; prints "SENT RECEIVED LONGEST-SILENCE"

The server sends what fetch() can work out itself: bytes that follow from their position alone.
"""

import hashlib
import os
import select
import socket
import struct
import sys
import threading
import time

PORT = 80
_WINDOW = 32768  # bytes under way at once in a download
_BLOCK = b"".join(hashlib.sha256(struct.pack("!I", i)).digest() for i in range(2048))


def _content(length):
    for at in range(0, length, len(_BLOCK)):
        yield _BLOCK[:length - at]


def _answer(connection):
    with connection:
        length = int(connection.makefile().readline() or 0)
        for block in _content(length):
            connection.sendall(block)


def _echo(sock):
    while True:
        data, peer = sock.recvfrom(2048)
        sock.sendto(data, peer)


def serve(address):
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind((address, PORT))
    threading.Thread(target=_echo, args=(datagrams,), daemon=True).start()
    with socket.create_server((address, PORT)) as listening:
        while True:
            connection, _ = listening.accept()
            threading.Thread(target=_answer, args=(connection,), daemon=True).start()


def fetch(address, length):
    length = int(length)
    expected, got, count = hashlib.sha256(), hashlib.sha256(), 0
    for block in _content(length):
        expected.update(block)
    with socket.socket() as connection:
        connection.settimeout(120)
        # TCP with no such bound sends faster and faster until a queue of some switch on the way runs over: that would be no fault of ours, and
        # where each packet must be accounted for it must not happen.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_WINDOW_CLAMP, _WINDOW)
        connection.connect((address, PORT))
        connection.sendall(b"%d\n" % length)
        while block := connection.recv(65536):
            got.update(block)
            count += len(block)
    if got.digest() != expected.digest():
        sys.exit(f"{count} of {length} bytes came, and not the right ones")
    print(f"good {length}")


def stream(address, rate, stop):
    """One datagram every 1/RATE s; what has not come back two seconds after the last one is lost."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.connect((address, PORT))
    sent, came, longest, last = 0, set(), 0.0, time.monotonic()
    begin = time.monotonic()
    end = None
    while end is None or (time.monotonic() < end and len(came) < sent):
        now = time.monotonic()
        if end is None and now >= begin + sent / float(rate):
            sock.send(struct.pack("!Q", sent) + bytes(92))
            sent += 1
            if os.path.exists(stop):
                end = now + 5
        if select.select([sock], [], [], 0.002)[0]:
            came.add(struct.unpack("!Q", sock.recv(2048)[:8])[0])
            longest, last = max(longest, time.monotonic() - last), time.monotonic()
    print(sent, len(came), f"{longest:.3f}")


if __name__ == "__main__":
    {"serve": serve, "fetch": fetch, "stream": stream}[sys.argv[1]](*sys.argv[2:])

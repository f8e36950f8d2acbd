"""Paced UDP between the ports net0 and net1 of a platform, and what of it comes: for tests of rates and of what is dropped.

    prepare(p)                                             # addresses on both ports
    sent, came, seconds = flood(p, 6004, 15e6, 2)          # to this port, so many bit/s, for so many seconds
"""

import sys

from flowtest import PATIENCE, until

INSIDE, OUTSIDE = "10.9.0.1", "10.9.0.2"
FRAME = 1000  # bytes of a flood's frames, Ethernet header included
FLOOD = """
import socket, sys, time
port, frame, bits, seconds = (float(word) for word in sys.argv[1:])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect(("10.9.0.2", int(port)))
sent, begin = 0, time.monotonic()
while (now := time.monotonic() - begin) < seconds:
    for _ in range(min(8, int(now * bits / 8 / frame) - sent)):  # after a pause no more than queues on the way can take
        s.send(bytes(int(frame) - 42))
        sent += 1
    time.sleep(0.001)
print(sent)
"""
# Counts what comes until its input ends and nothing has come for half a second: packets, and the seconds from the first to the last.
SINK = """
import select, socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
s.bind(("10.9.0.2", int(sys.argv[1])))
print("ready", flush=True)
n, first, last, watched = 0, None, None, [s, sys.stdin]
while ready := select.select(watched, [], [], None if sys.stdin in watched else 0.5)[0]:
    if s in ready:
        s.recv(2048)
        last = time.monotonic()
        first, n = first or last, n + 1
    elif sys.stdin in ready:
        watched.remove(sys.stdin)
print(n, last - first if n else 0)
"""


def prepare(p):
    p.address("net0", f"{INSIDE}/24")
    p.address("net1", f"{OUTSIDE}/24")
    return until(10, lambda: p.run_in("net0", "ping", "-c", "1", "-W", "1", OUTSIDE).returncode == 0)


def sink(p, port):
    process = p.start_in("net1", sys.executable, "-c", SINK, str(port), stdin=-1, stdout=-1, text=True)
    process.stdout.readline()
    return process


def flood(p, port, bits, seconds):
    """Packets sent, packets come, seconds from the first that came to the last."""
    listening = sink(p, port)
    sent = int(p.run_in("net0", sys.executable, "-c", FLOOD, str(port), str(FRAME), str(bits), str(seconds), timeout=seconds + 30).stdout)
    came, took = listening.communicate(timeout=60 * PATIENCE)[0].split()
    return sent, int(came), float(took)

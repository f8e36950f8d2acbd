"""A relay between the OpenFlow daemon and one switch, that makes the switch late or lose its connection at a chosen message.

    with Relay(target, socket_path) as relay:
        relay.at(COMMIT, "close")          # the next commit closes the connection, and is never seen by the switch

The relay knows enough of OpenFlow to see bundles; all else it passes on.
"""

import contextlib
import os
import select
import socket
import struct
import threading

OPEN, COMMIT = 0, 4  # OFPBCT_OPEN_REQUEST, OFPBCT_COMMIT_REQUEST
_BUNDLE_CONTROL = 33


class Relay:
    """target: the switch's own socket, path: the relay's.  events: the controls of bundles that were asked for, in order."""

    def __init__(self, target, path):
        self.path, self.events = str(path), []
        self._target = target
        self._rules = {}
        self._over = threading.Event()
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listening.bind(self.path)
        self._listening.listen()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._over.set()
        for thread in self._threads:
            thread.join()
        self._listening.close()
        os.unlink(self.path)

    def at(self, control, what):
        """When the next such control comes: "close" the connection, or "hold" what comes from it on (until the daemon gives up and connects anew)."""
        self._rules[control] = what

    def _accept(self):
        while not self._over.is_set():
            if select.select([self._listening], [], [], 0.1)[0]:
                peer, _ = self._listening.accept()
                self._threads.append(threading.Thread(target=self._serve, args=(peer,), daemon=True))
                self._threads[-1].start()

    def _serve(self, peer):
        with peer, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as switch, contextlib.suppress(OSError):
            switch.connect(self._target)
            waiting, held = b"", False
            while not self._over.is_set():
                ready = select.select([peer, switch], [], [], 0.1)[0]
                if switch in ready:
                    data = switch.recv(65536)
                    if not data:
                        return
                    if not held:
                        peer.sendall(data)
                if peer in ready:
                    data = peer.recv(65536)
                    if not data:
                        return
                    waiting += data
                    while len(waiting) >= 8 and len(waiting) >= (length := struct.unpack_from(">H", waiting, 2)[0]):
                        message, waiting = waiting[:length], waiting[length:]
                        what = self._look(message)
                        if what == "close":
                            return
                        held = held or what == "hold"
                        if not held:
                            switch.sendall(message)

    def _look(self, message):
        if message[1] != _BUNDLE_CONTROL or len(message) < 16:
            return None
        control = struct.unpack_from(">H", message, 12)[0]
        self.events.append(control)
        return self._rules.pop(control, None)

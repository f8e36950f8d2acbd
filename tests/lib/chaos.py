"""Clients that install and delete while daemons are killed at random: the load and the faults; the judge is oracle.py.

    chaos = Chaos(platform, ledger, seed, victims=DAEMONS)
    chaos.run(clients=8, operations=1000, kill_every=1.0)

All chance comes from the seed, which whoever calls prints.  Nothing waits for quiet before it kills.
"""

import contextlib
import os
import random
import signal
import threading
import time

from flowtest import PATIENCE, flowstream, until

from flowstream import embedded, processes

CHAIN = 'NAME={name}\nin :: FromNet("in_port=net0,udp,tp_dst={port}")\nin -> {{rate=2Mbps}} a :: Counter("") -> b :: Counter("") -> ToNet("net1")\n'
MODULES = ("a", "b")


class Chaos:
    def __init__(self, platform, ledger, seed, victims):
        self.platform, self.ledger, self.victims = platform, ledger, victims
        self.chance = random.Random(seed)
        self.kills, self.latencies = [], []
        self._end, self._ports, self._lock = threading.Event(), iter(range(2000, 60000)), threading.Lock()

    def run(self, clients, kill_every, operations=None, seconds=None):
        """So many operations in all, or for so many seconds.  Ends when all clients have ended and all victims live."""
        share = operations // clients if operations else None
        until_ = time.monotonic() + (seconds * PATIENCE if seconds else 3600)
        workers = [threading.Thread(target=self._client, args=(number, self.chance.random(), share, until_)) for number in range(clients)]
        killer = threading.Thread(target=self._kill, args=(kill_every,))
        for thread in workers + [killer]:
            thread.start()
        for thread in workers:
            thread.join()
        self._end.set()
        killer.join()

    def _client(self, number, seed, operations, end):
        """Install and delete in turns, two or three at a time; what is not answered is left open for Ledger.resolve()."""
        chance, mine, done = random.Random(seed), [], 0
        with flowstream.Client(self.platform.dir, deadline=20) as client:
            while (operations is None or done < operations) and time.monotonic() < end:
                begin, good = time.monotonic(), False
                if len(mine) < 2 or (len(mine) < 4 and chance.random() < 0.5):
                    key = f"client{number}-{done}"
                    with self._lock:
                        port = next(self._ports)
                    good = self.ledger.install(client, key, CHAIN.format(name=key, port=port), MODULES)
                    mine += [key] if good else []
                else:
                    good = self.ledger.delete(client, mine.pop(chance.randrange(len(mine))))
                done += 1
                self.latencies.append(time.monotonic() - begin)
                time.sleep(chance.uniform(0, 0.02) if good else 0.2)  # nobody storms a daemon that is away

    def _kill(self, every):
        while not self._end.wait(self.chance.uniform(0.5, 1.5) * every):
            name = self.chance.choice(self.victims)
            with contextlib.suppress(KeyError, ProcessLookupError, TypeError):
                process = next(one for one in flowstream.folder.Record.load(self.platform.dir).live() if one.name == name)
                os.kill(process.pid, signal.SIGKILL)
                self.kills.append(name)
                if not self.platform.supervise:
                    processes.wait_gone([process], 10)
                    embedded.start(self.platform.dir, name)
        self.platform.record = flowstream.folder.Record.load(self.platform.dir)

    def settled(self, seconds=40):
        """All daemons answer, all hosts are up, all switches prepared."""
        def good():
            with contextlib.suppress(flowstream.Error):
                return (self.platform.client.hosts_up() == sorted(self.platform.record.data["hosts"])
                        and self.platform.client.call("resource", "get_statistics")["switches_prepared"]
                        and all(self.platform.client.call(name, "ping") == "pong" for name in self.victims if name in self.platform.record.data["daemons"]))
            return False
        return until(seconds, good, 0.2)

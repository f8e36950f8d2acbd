"""A platform that is crowded with allocations: what the measurements of bench/fabric share.

The platform is the embedded one with hosts that have room for thousands of modules; the allocator places, kept to hosts by the requests' own words.
"""

import concurrent.futures
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "platform"))

from measuring import TOP, Platform  # noqa: E402

from flowstream import embedded  # noqa: E402  (after measuring, which knows where the package is)

TICKS = os.sysconf("SC_CLK_TCK")


def roomy_platform_file():
    """A copy of the embedded platform whose hosts and links do not limit how many modules there are.  The caller keeps the result: it is deleted with it."""
    text = (TOP / "etc/platforms/embedded.xml").read_text(encoding="utf-8")
    text = text.replace('cpu="8" mem="2048" bandwidth="10000"', 'cpu="1000" mem="1000000" bandwidth="1000000"').replace('bandwidth="10000" delay', 'bandwidth="1000000" delay')
    file = tempfile.NamedTemporaryFile("w", prefix="flowstream-crowd-", suffix=".xml", encoding="utf-8")
    file.write(text)
    file.flush()
    return file


class RoomyPlatform(Platform):
    """An embedded platform with room for a crowd."""

    def __init__(self):
        self.file = roomy_platform_file()
        super().__init__(self.file.name)


def chain(number, modules, hosts=("h1", "h2"), name="crowd"):
    """A request for the UDP packets of one port: so many counters, in turn on the hosts."""
    lines = [f"NAME={name}{number}", f'in :: FromNet("in_port=net0,udp,tp_dst={number}")']
    lines += [f"c{i} :: Counter {{hosts={hosts[i % len(hosts)]}}}" for i in range(modules)]
    return "\n".join([*lines, f"in -> {' -> '.join(f'c{i}' for i in range(modules))} -> ToNet(\"net1\")", ""])


def grow(platform, wanted, modules=2, at_once=4):
    """Install chains of so many modules until there are 'wanted' allocations; the seconds that it took."""
    begin, there = time.monotonic(), len(platform.client.call("resource", "get_statistics")["allocations"])

    def one(number):
        answer = platform.server().install_allocation(chain(1000 + number, modules))
        if answer["code"]:
            raise RuntimeError(answer["message"])

    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        list(pool.map(one, range(there, wanted)))
    return time.monotonic() - begin


def processes(platform):
    """(name, pid) of all that runs for the platform itself: daemons, switches, multiplexers."""
    found = [(part["name"], part["pid"]) for part in embedded.parts(platform.record) if part["pid"]]
    return found + [(f"mux {file.parts[-3]}", int(file.read_text().split()[0])) for file in sorted((platform.dir / "hosts").glob("*/mux/pid"))]


def modules(platform):
    """The pids of all modules' processes."""
    return [int(file.read_text().split()[0]) for file in (platform.dir / "hosts").glob("*/modules/*/pid")]


def cpu_of(pid):
    """Processor seconds of a process so far."""
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS

"""What tests do that break a platform and want it whole again: kill a daemon or stop it, start it, wait until all can install, see that an allocation carries traffic."""

import contextlib
import os
import signal
from pathlib import Path

from flowtest import PATIENCE, flowstream, until
from traffic import send, udp, watch

CHAIN = 'NAME=c{port}\nin :: FromNet("in_port=net0,udp,tp_dst={port}")\nin -> a :: Counter("") -> b :: Counter("") -> ToNet("net1")\n'


def chain(port):
    return CHAIN.format(port=port)


def kill(p, name, number=signal.SIGKILL):
    pid = p.process(name)
    os.kill(pid, number)

    def state():
        with contextlib.suppress(OSError):
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return "gone"
    if not until(20, lambda: state() in (("T",) if number == signal.SIGSTOP else ("Z", "gone"))):
        raise RuntimeError(f"{name} (process {pid}) is still in state {state()} after signal {number}")
    return pid


def start(p, name):
    done = p.command("start", name, timeout=90)
    if done.returncode:
        raise RuntimeError(done.stderr)
    p.record = flowstream.folder.Record.load(p.dir)
    p.client.close()
    p.client = flowstream.Client(p.dir)


def settled(p):
    """The platform can install again: all hosts are up and all switches prepared."""
    def good():
        with contextlib.suppress(flowstream.Error):
            return p.client.hosts_up() == ["h1", "h2", "h3"] and p.client.call("resource", "get_statistics")["switches_prepared"]
    return until(40, good, 0.2)


def works(tests, p, port, what):
    """Install, pass packets, delete: nothing lost, nothing left."""
    id_ = p.client.install_allocation(chain(port))
    with watch(p, "net1") as out:
        send(p, "net0", [udp(n, port) for n in range(40)])
        out.wait(40, 10 * PATIENCE)
    counted = [m["in"] for m in p.modules(id_).values()]
    p.client.delete_allocation(id_)
    remains = p.remains(id_)
    tests.check((out.received, counted) == (40, [40, 40]) and not remains, f"{what}: an allocation is installed, carries traffic and is deleted",
                f"{out.received} {counted}\n" + "\n".join(remains))

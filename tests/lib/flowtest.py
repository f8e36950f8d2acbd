"""What the tests of the whole platform share: TAP output, a platform that is taken down whatever happens, traffic between its ports.

    from flowtest import Tests, Platform

    tests = Tests()
    with Platform() as p:
        tests.check(p.client.call("resource", "ping") == "pong", "the resource daemon answers")
    tests.end()

A test program takes the build folder from $FLOWSTREAM_BUILD (default: build/ of this checkout) and exits 1 when a check failed.
"""

import concurrent.futures
import contextlib
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import xmlrpc.client
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("FLOWSTREAM_BUILD", ROOT / "build")).resolve()
SHARED = ROOT.parent / "shared"
SANITIZED = bool(os.environ.get("FLOWSTREAM_SANITIZED"))
# Programs under a sanitizer start and run several times slower.
PATIENCE = 4 if SANITIZED else 1

sys.path.insert(0, str(ROOT / "clients" / "python"))
os.environ.setdefault("FLOWSTREAM_PREFIX", str(BUILD))

import flowstream  # noqa: E402
from flowstream import embedded  # noqa: E402


class Tests:
    """TAP on standard output."""

    def __init__(self):
        self.n = self.failed = 0

    def check(self, good, name, detail=""):
        self.n += 1
        self.failed += not good
        print(f"{'ok' if good else 'not ok'} {self.n} - {name}", flush=True)
        if not good and detail != "":
            for line in str(detail).splitlines():
                print(f"#   {line}", flush=True)
        return good

    def same(self, got, wanted, name):
        return self.check(got == wanted, name, f"got    {got!r}\nwanted {wanted!r}")

    def skip(self, name, why):
        self.n += 1
        print(f"ok {self.n} - {name} # SKIP {why}", flush=True)

    @contextlib.contextmanager
    def story(self, name):
        """A part that goes on with the next one when it raises."""
        try:
            yield
        except Exception as error:  # noqa: BLE001: whatever it is, it is the result of the test
            self.check(False, f"{name}: {type(error).__name__}", error)

    def refused(self, name, words, function, *args, **options):
        """function(*args) must raise with all of 'words' in its message."""
        try:
            got = function(*args, **options)
        except flowstream.Error as error:
            return self.check(all(word in str(error) for word in words), name, f"said {error}\nwanted {words}")
        return self.check(False, name, f"was not refused: {got!r}")

    def end(self):
        print(f"1..{self.n}", flush=True)
        sys.exit(1 if self.failed else 0)


def skip_all(why):
    print(f"ok 1 - all # SKIP {why}\n1..1")
    sys.exit(0)


def need_root_of_namespaces():
    """Skips the whole program where network namespaces cannot be made."""
    done = subprocess.run(["unshare", "--net", "true"], capture_output=True, text=True)
    if done.returncode or not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        skip_all("network namespaces and /dev/net/tun are needed (run as root, or in a user namespace)")


def until(seconds, function, step=0.05):
    """The first true value of function() within so many seconds, else its last one."""
    end = time.monotonic() + seconds * PATIENCE
    while True:
        value = function()
        if value or time.monotonic() > end:
            return value
        time.sleep(step)


# A test that takes too long is ended with SIGTERM: it takes down what it made all the same.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))


class Platform:
    """An embedded platform in a temporary folder; without a supervisor unless asked for, so that what a test kills stays dead."""

    def __init__(self, platform_file=None, supervise=False):
        self.platform_file, self.supervise = platform_file, supervise
        self.scratch = Path(tempfile.mkdtemp(prefix="flowstream-test-"))
        self.dir = self.scratch / "p"

    def __enter__(self):
        try:
            self.record = embedded.up(self.dir, self.platform_file, supervise=self.supervise)
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        self.client = flowstream.Client(self.dir)
        self.addresses = {}
        until(10, lambda: self.client.call("resource", "get_statistics")["switches_prepared"])
        return self

    def __exit__(self, *_):
        with contextlib.suppress(Exception):
            self.client.close()
        self.leftovers = embedded.down(self.dir)
        shutil.rmtree(self.scratch, ignore_errors=True)

    @contextlib.contextmanager
    def busy_disk(self):
        """Nothing of the resource daemon gets to its disk meanwhile, as somebody else has the lock of its database; what waits for two seconds is given up."""
        database = sqlite3.connect(self.folder_of("resource") / "store.db", isolation_level=None)
        database.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            database.rollback()
            database.close()

    def meet(self, n, ask):
        """What 'n' callers at the same time are answered, ask(0) to ask(n - 1), who all come while the first of them is on its way to the disk; and what was answered before it was there."""
        with concurrent.futures.ThreadPoolExecutor(n) as pool:
            with self.busy_disk():
                begin, asked = time.monotonic(), [pool.submit(ask, i) for i in range(n)]
                while time.monotonic() < begin + 1 and self.client.call("resource", "get_statistics")["process"]["calls_in_flight"] <= n:
                    time.sleep(0.02)
                time.sleep(0.4)
                early = [call.result() for call in asked if call.done()]
            return [call.result() for call in asked], early

    def namespace(self, port):
        """The network namespace of the outside of a network port."""
        tag = flowstream.folder.tag(flowstream.folder.locate(self.dir))
        return f"fs-{tag}-{port}"

    def run_in(self, port, *argv, timeout=30, **options):
        """A command on the outside of a port; returns the finished process."""
        options = {"capture_output": True, "text": True, **options}
        return subprocess.run(["ip", "netns", "exec", self.namespace(port), *argv], timeout=timeout * PATIENCE, **options)

    def start_in(self, port, *argv, **options):
        options = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **options}
        return subprocess.Popen(["ip", "netns", "exec", self.namespace(port), *argv], **options)

    def address(self, port, address):
        """Give the outside of a port an IP address ("10.9.0.1/24")."""
        self.run_in(port, "ip", "address", "replace", address, "dev", "eth0", *(["nodad"] if ":" in address else []), check=True)

    def command(self, *argv, timeout=60, **options):
        """bin/flowstream on this platform."""
        options = {"capture_output": True, "text": True, **options}
        return subprocess.run([str(BUILD / "bin" / "flowstream"), *argv, "--dir", str(self.dir)], timeout=timeout * PATIENCE, **options)

    def modules(self, allocation):
        """Counters of the modules of an allocation, by name."""
        return {m["name"]: m for m in self.client.get_allocation(allocation)["modules"]}

    def server(self, daemon="resource"):
        """Python's own client for a daemon: what any user has.  Not for several threads."""
        return xmlrpc.client.ServerProxy(self.client.url(daemon), allow_none=True)

    def folder_of(self, daemon):
        """The folder of a daemon, by its name in 'flowstream status'."""
        return Path(self.client.record.data["daemons"][daemon]["dir"])

    def bridges(self):
        """Name and target of every switch."""
        return {path.stem: f"unix:{path}" for path in sorted((self.dir / "ovs").glob("*.mgmt"))}

    def rules(self, allocation=None):
        """The rules of an allocation (or all that are ours) in all switches, asked of the switches themselves: "BRIDGE: RULE"."""
        cookie = "cookie=0xf105000000000000/0xffff000000000000" if allocation is None else f"cookie={0xf105 << 48 | allocation << 16:#x}/0xffffffffffff0000"
        found = []
        for name, target in self.bridges().items():
            def ask(argv=("ovs-ofctl", "-OOpenFlow14", "dump-flows", target, cookie)):
                return subprocess.run(argv, capture_output=True, text=True, timeout=30 * PATIENCE)
            said = until(10, lambda: (done := ask()).returncode == 0 and done) or ask()  # a switch that was just started again takes a moment
            if said.returncode:
                raise RuntimeError(said.stderr)
            found += [f"{name}: {line.strip()}" for line in said.stdout.splitlines() if "cookie=" in line]
        return found

    def meters(self, allocation=None):
        """Flowstream's meters, of all switches or only of an allocation: [(switch, allocation, id, kbit/s, burst)]."""
        band = r"\s+type=drop rate=(\d+) burst_size=(\d+)"
        ours = re.compile(rf"meter=(\d+) kbps burst stats bands={band}{band}")
        found = []
        for name, target in self.bridges().items():
            def ask(argv=("ovs-ofctl", "-OOpenFlow14", "dump-meters", target)):
                return subprocess.run(argv, capture_output=True, text=True, check=False)
            said = until(10, lambda: (done := ask()).returncode == 0 and done) or ask()  # a switch that was just started again takes a moment
            if said.returncode:
                raise RuntimeError(said.stderr)
            meters = (map(int, figures) for figures in ours.findall(said.stdout))
            found += [(name, owner - 2**31, number, rate, burst) for number, rate, burst, sign, owner in meters if sign == 0xf1050000]
        return [meter for meter in found if allocation in (None, meter[1])]

    def remains(self, allocation="*"):
        """What there is of an allocation (default: of any) on this computer: rules, meters, processes, folders with their rings, cgroups."""
        found = [f"meter {meter}" for meter in self.meters(None if allocation == "*" else allocation)]
        found += [rule for rule in self.rules(None if allocation == "*" else allocation) if not re.search(r"cookie=0xf10500000000[0-9a-f]{4},", rule)]
        found += [str(path) for path in self.dir.glob(f"hosts/*/modules/a{allocation}.*")]
        found += [str(path) for path in Path("/sys/fs/cgroup").glob(f"*/flowstream/{self.tag()}-*/a{allocation}.*")]
        mine = re.compile(re.escape(str(self.dir)) + r"/hosts/[^/]*/modules/a" + ("[0-9]+" if allocation == "*" else str(allocation)) + r"\.")
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
                found += [f"process {path.parent.name}: {line}"] if mine.search(line) else []
        return found

    def tag(self):
        return flowstream.folder.tag(flowstream.folder.locate(self.dir))

    def logs(self):
        """The logs of all daemons, multiplexers and modules, one text."""
        return "\n".join(path.read_text(errors="replace") for path in sorted(self.dir.glob("**/log")))

    def process(self, daemon):
        """The pid of a daemon, by its name in 'flowstream status' ("resource", "modulehost:h1", "ovs-vswitchd")."""
        for part in embedded.parts(self.record):
            if part["name"] == daemon:
                return part["pid"]
        raise KeyError(daemon)

"""What the tests of the client share: TAP output for unittest, a scratch folder, and a prefix with daemons that only pretend.

The pretended daemons (fake_daemon.py) speak XML-RPC as the real ones do, so that starting, stopping and calling are tested without
them.  FLOWSTREAM_PACKAGE names another place of the package than the source tree.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
PACKAGE = Path(os.environ.get("FLOWSTREAM_PACKAGE", HERE.parents[1] / "clients" / "python"))
sys.path.insert(0, str(PACKAGE))
sys.dont_write_bytecode = True

DAEMONS = ("resource", "openflow", "pm", "monitoring", "modulehost")
TRACES = HERE.parents[1] / "shared" / "data" / "pcap"
if not TRACES.is_dir():
    TRACES = HERE.parents[2] / "shared" / "data" / "pcap"


class Scratch(unittest.TestCase):
    """A test with a folder of its own in self.scratch."""

    def setUp(self):
        self.scratch = Path(tempfile.mkdtemp(prefix="fs-test-"))
        self.addCleanup(shutil.rmtree, self.scratch, ignore_errors=True)


def pretended_prefix(folder):
    """Make folder/bin/flowstream and pretended daemons, and the package beside them; returns the command's path."""
    binaries, package = folder / "bin", folder / "lib" / "flowstream" / "python"
    binaries.mkdir(parents=True)
    for name in DAEMONS:
        shutil.copy(HERE / "fake_daemon.py", binaries / f"flowstream-{name}")
        (binaries / f"flowstream-{name}").chmod(0o755)
    shutil.copy(HERE.parents[1] / "clients" / "flowstream", binaries / "flowstream")
    shutil.copytree(PACKAGE / "flowstream", package / "flowstream", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(HERE.parents[1] / "etc" / "platforms", package.parent / "platforms")
    for kind in ("tasks", "commands"):
        (package.parent / kind / "common").mkdir(parents=True)
    (package.parent / "tasks" / "common" / "example.so").write_bytes(b"not a real loadable")
    return binaries / "flowstream"


def run(*argv, **options):
    """Run a command; returns the finished process with its output as text.  Nothing waits for ever."""
    environment = dict(os.environ, PYTHONDONTWRITEBYTECODE="1", **options.pop("env", {}))
    return subprocess.run([str(word) for word in argv], capture_output=True, text=True, timeout=120, env=environment, **options)


def needs_namespaces():
    """Skip unless this is root, of a user namespace at least, with what the fabric is made of."""
    lacks = [program for program in ("ip", "ovs-vswitchd", "ovsdb-server", "ovs-vsctl", "ovs-ofctl", "ethtool", "nsenter")
             if shutil.which(program) is None]
    if os.geteuid() != 0:
        lacks.append("root")
    elif not os.access("/run", os.W_OK):
        lacks.append("a /run that can be written")
    try:
        os.close(os.open("/dev/net/tun", os.O_RDWR))
    except OSError:
        lacks.append("/dev/net/tun")
    return unittest.skipIf(lacks, f"needs {', '.join(lacks)}")


class _TapResult(unittest.TestResult):
    def __init__(self):
        super().__init__()
        self.number = 0

    def _line(self, test, verdict, comment=""):
        self.number += 1
        name = test.shortDescription() or test.id().split(".", 1)[-1]
        print(f"{verdict} {self.number} - {name}{comment}", flush=True)

    def _fault(self, test, error):
        self._line(test, "not ok")
        for line in self._exc_info_to_string(error, test).splitlines():
            print(f"# {line}")

    def addSuccess(self, test):
        super().addSuccess(test)
        self._line(test, "ok")

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self._line(test, "ok", f" # SKIP {reason}")

    def addFailure(self, test, error):
        super().addFailure(test, error)
        self._fault(test, error)

    def addError(self, test, error):
        super().addError(test, error)
        self._fault(test, error)

    def addSubTest(self, test, subtest, error):
        super().addSubTest(test, subtest, error)
        if error is not None:
            self._fault(subtest, error)


def main():
    """Run the tests of the calling file and print TAP; exit 1 if one fails."""
    result = _TapResult()
    unittest.defaultTestLoader.loadTestsFromName("__main__").run(result)
    print(f"1..{result.number}")
    sys.exit(not result.wasSuccessful())

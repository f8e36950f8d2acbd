"""A private Open vSwitch for tests: its own database, daemon and network namespace.

enter_namespace() moves the calling program into a network namespace that ends with it, so that nothing a test makes
outlives the test or is seen by the machine's own Open vSwitch. Switch() is one ovs-vswitchd with the userspace datapath.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

TOOLS = ("ovs-vswitchd", "ovsdb-server", "ovsdb-tool", "ovs-vsctl", "ovs-ofctl", "unshare", "ip")
SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"


def missing():
    """What keeps a private Open vSwitch from running here, or None."""
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    for tool in TOOLS:
        if shutil.which(tool) is None:
            return "%s is not installed" % tool
    if not os.path.exists(SCHEMA):
        return "%s is not installed" % SCHEMA
    command = ["unshare", "-n", "true"] if os.geteuid() == 0 else ["unshare", "-r", "-n", "true"]
    if subprocess.run(command, capture_output=True).returncode:
        return "no network namespace can be made here"
    try:
        os.close(os.open("/dev/net/tun", os.O_RDWR))
    except OSError as e:
        return "/dev/net/tun cannot be opened (%s)" % e.strerror
    return None


def enter_namespace():
    """Run this program again inside a network namespace of its own, once."""
    if os.environ.get("FLOWSTREAM_TEST_NAMESPACE"):
        return
    os.environ["FLOWSTREAM_TEST_NAMESPACE"] = "yes"
    options = ["-n"] if os.geteuid() == 0 else ["-r", "-n"]
    os.execvp("unshare", ["unshare", *options, sys.executable, *sys.argv])


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def until(seconds, what):
    """Whether what() became true in that time."""
    end = time.monotonic() + seconds
    while not (good := what()) and time.monotonic() < end:
        time.sleep(0.02)
    return good


def quiet_link(name):
    """Bring a link up without the chatter of IPv6 neighbour discovery."""
    try:
        with open("/proc/sys/net/ipv6/conf/%s/disable_ipv6" % name, "w") as f:
            f.write("1")
    except OSError:
        pass
    run("ip", "link", "set", name, "up")


def veth(one, other):
    run("ip", "link", "add", one, "type", "veth", "peer", "name", other)
    quiet_link(one)
    quiet_link(other)


class Switch:
    """One ovsdb-server and ovs-vswitchd in a temporary folder; use as a context manager."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="flowstream-ovs-")
        os.environ.update(OVS_RUNDIR=self.folder, OVS_LOGDIR=self.folder, OVS_DBDIR=self.folder, OVS_SYSCONFDIR=self.folder)
        self.database = "unix:%s/db.sock" % self.folder
        self.server = self.daemon = None

    def __enter__(self):
        path = self.folder + "/conf.db"
        run("ovsdb-tool", "create", path, SCHEMA)
        self.server = self._start("ovsdb-server", path, "--remote=p" + self.database, "--unixctl=%s/db.ctl" % self.folder)
        self._wait_for(self.folder + "/db.sock")
        self.vsctl("--no-wait", "init")
        self.start()
        return self

    def __exit__(self, *_):
        self.stop(signal.SIGTERM)
        self._end(self.server, signal.SIGTERM)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self, *command):
        log = open("%s/%s.out" % (self.folder, command[0]), "a")
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    @staticmethod
    def _end(process, number):
        if process and process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.send_signal(number)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    @staticmethod
    def _wait_for(path):
        end = time.monotonic() + 10
        while not os.path.exists(path):
            if time.monotonic() > end:
                raise RuntimeError("%s did not appear" % path)
            time.sleep(0.02)

    def start(self):
        self.daemon = self._start("ovs-vswitchd", self.database, "--disable-system", "--unixctl=%s/vswitchd.ctl" % self.folder)
        self._wait_for(self.folder + "/vswitchd.ctl")

    def stop(self, number=signal.SIGKILL):
        self._end(self.daemon, number)
        try:
            os.unlink(self.folder + "/vswitchd.ctl")
        except FileNotFoundError:
            pass

    def vsctl(self, *arguments):
        return run("ovs-vsctl", "--timeout=10", "--db=" + self.database, *arguments)

    def bridge(self, name, *ports):
        """A bridge with the ports given; a port "TYPE:NAME" has that type."""
        command = ["add-br", name, "--", "set", "bridge", name, "datapath_type=netdev", "fail_mode=secure"]
        for number, port in enumerate(ports, 1):
            kind, _, port = port.rpartition(":")
            command += ["--", "add-port", name, port, "--", "set", "interface", port, "ofport_request=%d" % number]
            if kind:
                command += ["type=" + kind]
        self.vsctl(*command)
        self._wait_for(self.management(name)[len("unix:"):])

    def management(self, name):
        return "unix:%s/%s.mgmt" % (self.folder, name)

    def ofctl(self, command, name, *arguments, version="OpenFlow15"):
        return run("ovs-ofctl", "-O", version, command, self.management(name), *arguments)

    def bridge_ready(self, name):
        """Wait for a bridge after a restart: a killed daemon leaves its socket behind, so only an answer counts."""
        end = time.monotonic() + 10
        while subprocess.run(["ovs-ofctl", "-O", "OpenFlow15", "show", self.management(name)], capture_output=True).returncode:
            if time.monotonic() > end:
                raise RuntimeError("bridge %s did not come back" % name)
            time.sleep(0.02)

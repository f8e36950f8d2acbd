#!/usr/bin/python3
"""The embedded platform: it comes up with all that its file says, carries packets, and leaves nothing when it goes, however it ended."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import support
from flowstream import embedded, folder, netns, pcap, ports, processes, topology
from flowstream.errors import BadFile, Error

CGROUPS = Path("/sys/fs/cgroup")


class PlatformFiles(support.Scratch):
    def test_errors(self):
        """a wrong platform file is refused with the element that is wrong"""
        server = '<server id="h1" cpu="1" mem="1"/><switch id="t" role="tor"/>'
        for text, words in (("<platform", "not well-formed"), ("<x/>", "not <platform>"), ("<platform><y/></platform>", "<y>"),
                            ('<platform><io id="net0"/></platform>', '"net0" has no link'),
                            ('<platform><io id="a b"/></platform>', "a name is at most"),
                            (f"<platform>{server}</platform>", '"h1" has no link'),
                            (f'<platform>{server}<link a="t" b="h2"/></platform>', 'no io, switch or server "h2"'),
                            (f'<platform>{server}<link a="t" b="h1" mtu="x"/></platform>', 'mtu="x" is no positive number'),
                            (f'<platform>{server}<link a="t" b="h1" a-port="h1-up" b-port="h1-up"/></platform>', "already used"),
                            ('<platform><server id="h1" cpu="-1" mem="1"/></platform>', 'cpu="-1"'),
                            ('<platform><io id="a"/><io id="a"/></platform>', "used twice")):
            path = self.scratch / "p.xml"
            path.write_text(text)
            with self.assertRaisesRegex(BadFile, words):
                topology.Topology(path)


class Processes(support.Scratch):
    def test_first_thread_ended(self):
        """a process whose first thread is a zombie still has its locks and sockets: it is alive until the last has ended"""
        program = "import ctypes, threading, time; threading.Thread(target=time.sleep, args=(100,)).start(); ctypes.CDLL(None).syscall(60, 0)"
        process = processes.start("half", [sys.executable, "-c", program], log=self.scratch / "log")
        self.addCleanup(processes.stop, [process], grace=0)
        state = Path(f"/proc/{process.pid}/stat")
        until = time.monotonic() + 20
        while state.read_text().rpartition(")")[2].split()[0] != "Z" and time.monotonic() < until:
            time.sleep(0.01)
        self.assertTrue(process.alive())
        self.assertEqual(processes.stop([process], grace=0), [])
        self.assertFalse(process.alive())

    def test_ending(self):
        """one that was killed is known to be ending until it is gone, and one that runs is not"""
        memory = processes.start("large", [sys.executable, "-c", "import time; x = bytearray(200 << 20); print('made', flush=True); time.sleep(100)"], log=self.scratch / "log")
        self.addCleanup(processes.stop, [memory], grace=0)
        until = time.monotonic() + 20
        while "made" not in (self.scratch / "log").read_text() and time.monotonic() < until:
            time.sleep(0.01)
        self.assertFalse(memory.ending())
        memory.signal(signal.SIGKILL)
        self.assertTrue(memory.ending())
        self.assertEqual(processes.wait_gone([memory], 20), [])
        self.assertFalse(memory.ending())


class Locks(support.Scratch):
    def test_locks(self):
        """who changes the platform waits for who only puts ports back, and for nobody else"""
        with folder.locked(self.scratch):
            for mending in (False, True):
                with self.assertRaisesRegex(Error, "another flowstream command"), folder.locked(self.scratch, mending=mending):
                    pass
        order, held = [], threading.Event()

        def put_back():
            with folder.locked(self.scratch, mending=True):
                held.set()
                time.sleep(0.3)
                order.append("put back")
        thread = threading.Thread(target=put_back)
        thread.start()
        held.wait()
        with folder.locked(self.scratch):
            order.append("changed")
        thread.join()
        self.assertEqual(order, ["put back", "changed"])


@support.needs_namespaces()
class Embedded(support.Scratch):
    def setUp(self):
        super().setUp()
        self.command = support.pretended_prefix(self.scratch / "prefix")
        self.dir = self.scratch / "platform"
        self.tag = folder.tag(folder.locate(self.dir))
        self.addCleanup(self.flowstream, "down")

    def flowstream(self, *argv, **options):
        return support.run(self.command, *argv, "--dir", self.dir, **options)

    def up(self, *argv):
        done = self.flowstream("up", "--unsupervised", *argv)  # pretended daemons take no sockets from a supervisor
        self.assertEqual(done.returncode, 0, done.stderr)

    def assert_nothing_left(self):
        self.assertFalse(self.dir.exists())
        self.assertEqual([name for name in os.listdir(netns.FOLDER) if name.startswith(f"fs-{self.tag}-")], [])
        self.assertEqual([path for path in CGROUPS.glob(f"*/flowstream/{self.tag}-*")], [])
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    arguments = (entry / "cmdline").read_bytes()
                except OSError:
                    continue
                self.assertNotIn(os.fsencode(f"{self.dir}/"), arguments)

    def test_life(self):
        """up, status, call, show, host add and remove, down: all work and leave nothing"""
        self.up()
        self.assertEqual(self.dir.stat().st_mode & 0o777, 0o700)
        self.assertEqual((self.dir / "token").stat().st_mode & 0o777, 0o600)
        self.assertTrue((self.dir / "lib/tasks/common/example.so").exists())
        status = self.flowstream("status", "--json")
        self.assertEqual(status.returncode, 0, status.stderr)
        self.assertEqual(json.loads(status.stdout)["hosts"], ["h1", "h2", "h3"])
        self.assertEqual(json.loads(self.flowstream("call", "h2", "ping").stdout), None)
        self.assertIn("- fw (Firewall)  h1 ", self.flowstream("show", "3").stdout)
        again = self.flowstream("up")
        self.assertEqual(again.returncode, 1)
        self.assertIn("already up", again.stderr)
        added = self.flowstream("host", "add", "h4", "--cpu", "2")
        self.assertEqual(added.returncode, 0, added.stderr)
        self.assertIn("h4", self.flowstream("hosts").stdout)
        removed = self.flowstream("host", "remove", "h4")
        self.assertEqual(removed.returncode, 0, removed.stderr)
        self.assertNotIn("h4", self.flowstream("hosts").stdout)
        self.assertFalse((self.dir / "hosts/h4").exists())
        done = self.flowstream("down")
        self.assertEqual((done.returncode, "left over" in done.stderr), (0, False), done.stderr)
        self.assert_nothing_left()
        self.assertEqual(self.flowstream("down").returncode, 0)

    def test_configuration(self):
        """the configuration files and the platform file are what the daemons' schemas allow, also after a host was added"""
        if shutil.which("xmllint") is None:
            self.skipTest("xmllint is not here")
        self.up()
        self.assertEqual(self.flowstream("host", "add", "h4").returncode, 0)
        files = sorted(self.dir.glob("*/config.xml")) + sorted(self.dir.glob("hosts/*/config.xml"))
        self.assertEqual(len(files), 8)
        for schema, those in (("daemon", files), ("platform", [self.dir / "platform.xml"])):
            done = support.run("xmllint", "--noout", "--relaxng", support.HERE.parents[1] / f"etc/schemas/{schema}.rng", *those)
            self.assertEqual(done.returncode, 0, done.stderr)

    def test_killed_switch(self):
        """a switch that was killed starts again with all its ports, under the numbers that they had"""
        self.up("--fabric-only")
        before = self.port_numbers()
        self.assertGreater(len(before), 8)
        killed = [process for process in folder.Record.load(self.dir).live() if process.name == "ovs-vswitchd"]
        self.assertEqual(processes.stop(killed, grace=0), [])
        self.assertEqual(self.flowstream("status").returncode, 1)
        started = self.flowstream("start", "--json")
        self.assertEqual((started.returncode, json.loads(started.stdout)["started"]), (0, ["ovs-vswitchd"]), started.stderr)
        support.run("ovs-vsctl", f"--db=unix:{self.dir}/ovs/db.sock", "--timeout=10", "set", "Open_vSwitch", ".", "external_ids:x=y")
        self.assertEqual(self.port_numbers(), before)

    def port_numbers(self):
        done = support.run("ovs-vsctl", f"--db=unix:{self.dir}/ovs/db.sock", "--bare", "--columns=name,ofport", "list", "Interface")
        words = done.stdout.split()
        return dict(zip(words[::2], words[1::2]))

    def test_stranger(self):
        """a process of somebody else in a port's namespace is named and left alone"""
        self.up("--fabric-only")
        stranger = subprocess.Popen(netns.command(f"fs-{self.tag}-net0", ["sleep", "100"]))
        self.addCleanup(stranger.wait)
        self.addCleanup(stranger.kill)
        while stranger.pid not in netns.inhabitants(f"fs-{self.tag}-net0"):
            time.sleep(0.01)
        done = self.flowstream("down")
        self.assertEqual((done.returncode, f"process {stranger.pid} (sleep)" in done.stderr), (0, True), done.stderr)
        self.assertIsNone(stranger.poll())
        self.assert_nothing_left()

    def test_two_switches(self):
        """switches with links between them carry packets from a port of one to a port of the other"""
        (self.scratch / "two.xml").write_text("""<platform name="two">
  <io id="left"/><io id="right"/><switch id="t0" role="tor"/><switch id="t1" role="tor"/><server id="s0" cpu="1" mem="64"/>
  <link a="t0" b="left"/><link a="right" b="t1"/><link a="t0" b="t1" a-port="t0-t1" b-port="t1-t0"/><link a="s0" b="t1"/></platform>""")
        self.up("--fabric-only", "--platform", str(self.scratch / "two.xml"))
        for bridge, way in (("t0", "in_port=left,actions=output:t0-t1"), ("t1", "in_port=t1-t0,actions=output:right")):
            support.run("ovs-ofctl", "-OOpenFlow14", "add-flow", f"unix:{self.dir}/ovs/{bridge}.mgmt", way)
        with pcap.Writer(self.scratch / "in.pcap") as writer:
            for _ in range(100):
                writer.write(0, bytes(12) + b"\x88\xb5" + bytes(100))
        with ports.Sniffer(self.dir, "right") as right:
            ports.Replay(self.dir, "left", self.scratch / "in.pcap").run()
            self.assertTrue(right.wait(100, 5))
        added = self.flowstream("host", "add", "s1", "--switch", "t1")
        self.assertEqual(added.returncode, 0, added.stderr)
        self.assertEqual(self.flowstream("host", "add", "s2", "--switch", "t9").returncode, 1)

    def test_killed_daemon(self):
        """a daemon that was killed is named with the way to start it, and starts again"""
        self.up()
        pid = processes.read_pid(self.dir / "openflow/pid")
        pid.signal(signal.SIGKILL)
        processes.wait_gone([pid], 5)
        call = self.flowstream("call", "openflow", "ping")
        self.assertEqual(call.returncode, 1)
        self.assertIn("flowstream start openflow", call.stderr)
        self.assertEqual(self.flowstream("status").returncode, 1)
        started = self.flowstream("start", "openflow")
        self.assertEqual(started.returncode, 0, started.stderr)
        self.assertEqual(self.flowstream("status").returncode, 0)
        os.environ["FLOWSTREAM_PREFIX"] = str(self.scratch / "prefix")
        self.addCleanup(os.environ.pop, "FLOWSTREAM_PREFIX")
        processes.read_pid(self.dir / "openflow/pid").signal(signal.SIGKILL)
        self.assertEqual(embedded.start(self.dir, "openflow"), ["openflow"])  # at once, while it is still ending

    def test_faulty_daemon(self):
        """a daemon that does not come up fails the start, with the end of its log, and nothing is left"""
        done = self.flowstream("up", "--unsupervised", env={"FAKE_FAULT": "monitoring:exit"})
        self.assertEqual(done.returncode, 1)
        self.assertIn("cannot do what I am for", done.stderr)
        self.assert_nothing_left()

    def test_interrupted(self):
        """SIGINT and SIGKILL while it comes up: the first leaves nothing, the second nothing that down does not remove"""
        environment = dict(os.environ, FAKE_FAULT="monitoring:silent", PYTHONDONTWRITEBYTECODE="1")
        for number, seconds in ((signal.SIGINT, 0.2), (signal.SIGINT, 1.5), (signal.SIGKILL, 0.1), (signal.SIGKILL, 0.4), (signal.SIGKILL, 1.5)):
            with self.subTest(signal=number, seconds=seconds):
                with subprocess.Popen([str(self.command), "up", "--unsupervised", "--dir", str(self.dir)], stdout=subprocess.DEVNULL,
                                      stderr=subprocess.DEVNULL, env=environment) as up:
                    time.sleep(seconds)
                    up.send_signal(number)
                if number == signal.SIGKILL:
                    done = self.flowstream("down")
                    self.assertEqual(done.returncode, 0, done.stderr)
                self.assert_nothing_left()

    def test_dead(self):
        """after all its processes were killed, up cleans and makes a new one"""
        self.up()
        self.assertEqual(processes.stop(folder.Record.load(self.dir).processes()), [])
        done = self.flowstream("up", "--unsupervised")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("cleaning up after a dead platform", done.stderr)

    def test_foreign_folder(self):
        """a folder with other things in it is neither used nor removed"""
        self.dir.mkdir()
        (self.dir / "thesis.tex").write_text("x")
        for command in ("up", "down"):
            self.assertEqual(self.flowstream(command).returncode, 1)
            self.assertTrue((self.dir / "thesis.tex").exists())

    def test_modules(self):
        """down ends modules by their pid files, but no process that only has the number"""
        self.up()
        for name, delta in (("mine", 0), ("stranger", 1)):
            place = self.dir / "hosts/h1/modules" / name
            place.mkdir(parents=True)
            child = subprocess.Popen(["sleep", "100"])
            self.addCleanup(child.kill)
            process = processes.identify(name, child.pid)
            processes.write_pid(place / "pid", process._replace(start=process.start + delta))
            setattr(self, name, child)
        self.assertEqual(self.flowstream("down").returncode, 0)
        self.assertIsNotNone(self.mine.wait(5))
        self.assertIsNone(self.stranger.poll())
        self.assert_nothing_left()

    def test_ports(self):
        """replay, capture and sniffer agree; a tag of a VLAN survives; idle ports are silent; long frames are counted"""
        self.up("--fabric-only")
        with ports.Sniffer(self.dir, "net0") as zero, ports.Sniffer(self.dir, "mon0") as mon:
            time.sleep(2)
        self.assertEqual((zero.sent + zero.received, mon.sent + mon.received), (0, 0))
        support.run("ovs-ofctl", "-OOpenFlow14", "add-flow", f"unix:{self.dir}/ovs/tor0.mgmt", "in_port=net0,actions=output:net1")
        frames = [bytes([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2]) + b"\x81\x00\x00\x07\x08\x00" * (n % 2) + b"\x88\xb5" + bytes([n % 256]) * 60
                  for n in range(2000)]
        with pcap.Writer(self.scratch / "in.pcap") as writer:
            for frame in frames:
                writer.write(0, frame)
            writer.write(0, bytes(1515))
            writer.write(0, bytes(60), 90)
        capture = ports.Capture(self.dir, "net1", self.scratch / "out.pcap", count=2000, seconds=20)
        with ports.Sniffer(self.dir, "net1") as out:
            counts = ports.Replay(self.dir, "net0", self.scratch / "in.pcap", pps=5000).run()
            self.assertEqual((counts.sent, counts.too_long, counts.incomplete, counts.failed), (2000, 1, 1, 0))
            self.assertTrue(0.35 < counts.seconds < 3, counts.seconds)
            self.assertEqual((capture.run().packets, capture.counts.drops), (2000, 0))
            self.assertTrue(out.wait(2000, 5))
        self.assertEqual((out.received, out.received_bytes, out.drops), (2000, sum(map(len, frames)), 0))
        with pcap.Reader(self.scratch / "out.pcap") as reader:
            captured = [packet.data for packet in reader]
        # The switch keeps the order within a flow, and here are two: with and without the tag.
        self.assertEqual(captured.count(captured[0]), 2000 // 256 + 1)
        for tagged in (False, True):
            self.assertEqual(*([data for data in some if (data[12] == 0x81) == tagged] for some in (captured, frames)))

    def test_interrupted_capture(self):
        """SIGINT ends a capture with exit status 0, counts and a whole file"""
        self.up("--fabric-only")
        with subprocess.Popen([str(self.command), "capture", "net1", str(self.scratch / "c.pcap"), "--dir", str(self.dir), "--json"],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as capture:
            self.assertIn("capturing", capture.stderr.readline())
            capture.send_signal(signal.SIGINT)
            out, _ = capture.communicate(timeout=10)
        self.assertEqual((capture.returncode, json.loads(out)["packets"]), (0, 0))
        with pcap.Reader(self.scratch / "c.pcap") as reader:
            self.assertEqual(list(reader), [])


if __name__ == "__main__":
    support.main()

#!/usr/bin/python3
"""The command line: wrong usage is told with status 2, failures with status 1 and a sentence, never with a traceback."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import support
from flowstream import cli, words

COMMANDS = ("up", "down", "start", "status", "install", "plan", "delete", "drift", "gc", "list", "show", "flows", "pm-info", "tasks", "hosts", "host", "call", "url",
            "backup", "restore", "upgrade", "versions", "rollback", "replay", "capture")
COMPLETION = Path(__file__).resolve().parents[2] / "clients/completion/flowstream.bash"


class CommandLine(support.Scratch):
    def flowstream(self, *argv, **options):
        environment = {"PYTHONPATH": str(support.PACKAGE), "FLOWSTREAM_DIR": str(self.scratch / "none")}
        done = support.run(sys.executable, "-c", "import sys; from flowstream.cli import main; sys.exit(main())", *argv,
                           env=environment, **options)
        self.assertNotIn("Traceback", done.stderr)
        return done

    def test_help(self):
        """every command has --help, and all of them are in the general help"""
        general = self.flowstream("--help").stdout
        for name in COMMANDS:
            self.assertIn(f"\n    {name} ", general)
            one = self.flowstream(name, "--help")
            self.assertEqual(one.returncode, 0)
            self.assertIn("usage: flowstream " + name, one.stdout)

    def test_wrong_usage(self):
        """wrong usage is refused with status 2 and the word that is wrong"""
        for argv, word in (((), "COMMAND"), (("frobnicate",), "frobnicate"), (("show", "x"), "'x' is not the id"), (("show", "-1"), "-1"),
                           (("delete",), "ID"), (("replay", "net0"), "FILE"), (("replay", "net0", "f", "--pps", "many"), "'many'"),
                           (("capture", "a", "b", "--seconds", "-3"), "-3"), (("host",), "COMMAND"), (("host", "add"), "NAME"),
                           (("install", "f", "--wait", "nan"), "'nan'"), (("call", "resource"), "METHOD"), (("up", "x"), "x"),
                           (("call", "resource", "ping", "{1"), "{1"), (("status", "--jso"), "--jso"), (("upgrade", "pm"), "FILE")):
            done = self.flowstream(*argv)
            self.assertEqual((done.returncode, word in done.stderr, done.stdout), (2, True, ""), f"{argv}: {done.stderr}")

    def test_no_platform(self):
        """without a platform every command says so with status 1 and how to make one; down is content"""
        request = self.scratch / "r"
        request.write_text("a :: B;")
        for argv in (("status",), ("list",), ("show", "1"), ("install", request), ("plan", request), ("delete", "1"), ("pm-info",), ("tasks",),
                     ("hosts",), ("host", "add", "h9"), ("call", "resource", "ping"), ("url", "resource"), ("start",),
                     ("replay", "net0", request), ("capture", "net0", self.scratch / "c")):
            done = self.flowstream(*argv)
            self.assertEqual((done.returncode, "flowstream up" in done.stderr), (1, True), f"{argv}: {done.stderr}")
        self.assertEqual(self.flowstream("down").returncode, 0)

    def test_dir(self):
        """--dir is heard before the command as behind it"""
        for argv in (("--dir", "/nowhere/a", "status"), ("status", "--dir", "/nowhere/a")):
            done = support.run(sys.executable, "-c", "import sys; from flowstream.cli import main; sys.exit(main())", *argv, env={"PYTHONPATH": str(support.PACKAGE)})
            self.assertIn("/nowhere/a", done.stderr)

    def test_files(self):
        """files that cannot be read are named with the reason"""
        binary = self.scratch / "b"
        binary.write_bytes(b"ok \xff")
        for argv, word in ((("install", self.scratch / "nothing"), "No such file"), (("plan", self.scratch), "Is a directory"),
                           (("install", binary), "byte 3 is no UTF-8"), (("up", "--platform", "/nonexistent/p.xml"), "No such file")):
            done = self.flowstream(*argv)
            self.assertEqual((done.returncode, word in done.stderr), (1, True), f"{argv}: {done.stderr}")

    def test_completion(self):
        """the completion of bash is sound and knows every command and option of the parser"""
        self.assertEqual(support.run("bash", "-n", COMPLETION).returncode, 0)
        text = COMPLETION.read_text()
        for parser in parsers(cli.parser()):
            for action in parser._actions:
                for option in action.option_strings:
                    if option.startswith("--"):
                        self.assertIn(option, text)
        listed = complete("flowstream", "")
        self.assertEqual(sorted(listed), sorted(COMMANDS))
        self.assertEqual(complete("flowstream", "host", "r"), ["remove"])
        self.assertEqual(complete("flowstream", "up", "--fab"), ["--fabric-only"])
        (self.scratch / "platform.json").write_text('{"ports": {"net0": "", "mon0": ""}, "daemons": {"modulehost:h1": {}, "pm": {}}}')
        self.assertEqual(complete("flowstream", "--dir", str(self.scratch), "capture", ""), ["net0", "mon0"])
        self.assertEqual(complete("flowstream", "--dir", str(self.scratch), "call", "mod"), ["modulehost:h1"])

    def test_tables(self):
        """tables are aligned, numbers to the right, control characters harmless"""
        self.assertEqual(words.table([{"a": "x", "n": 5.0}, {"a": "long", "n": 1000}], [("a", "A"), ("n", "N"), ("z", "Z")]),
                         "A        N\nx        5\nlong  1000")
        self.assertNotIn("\x1b", words.table([{"a": "\x1b[31m"}], [("a", "A")]) + words.text("\x1b[31m"))


    def test_numbers(self):
        """numbers get units, three digits, and nothing where they are small"""
        for number, said in ((0, "0 B"), (999, "999 B"), (1000, "1 kB"), (12345, "12.3 kB"), (999600, "1 MB"), (2.5e12, "2.5 TB")):
            self.assertEqual(words.count(number, "B"), said)
        self.assertEqual(words.count(0), "0")


class Calls(support.Scratch):
    """The client against a pretended resource daemon, without a fabric."""

    def setUp(self):
        super().setUp()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/RPC2"
        (self.scratch / "token").write_text("operator:se/cret\n")
        entry = {"kind": "resource", "host": None, "url": self.url, "port": self.port, "dir": str(self.scratch)}
        (self.scratch / "platform.json").write_text(json.dumps(
            {"format": 1, "state": "up", "tag": "0000", "with-daemons": True, "namespaces": [], "processes": [], "ports": {}, "hosts": [],
             "daemons": {"resource": entry, "modulehost:h1": dict(entry, url="http://127.0.0.1:1/RPC2"), "modulehost:h2": entry}}))
        (self.scratch / "config.xml").write_text(
            f'<daemon name="resource"><listen tcp="127.0.0.1:{self.port}"/><credentials file="{self.scratch}/token"/></daemon>')
        self.start_daemon()

    def start_daemon(self):
        self.daemon = subprocess.Popen([sys.executable, str(support.HERE / "fake_daemon.py"), f"--config={self.scratch}/config.xml"])
        self.addCleanup(self.daemon.wait)
        self.addCleanup(self.daemon.kill)
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)

    def flowstream(self, *argv, **options):
        return support.run(sys.executable, "-c", "import sys; from flowstream.cli import main; sys.exit(main())", *argv, "--dir", self.scratch,
                           env={"PYTHONPATH": str(support.PACKAGE)}, **options)

    def test_answers(self):
        """values, refusals and what is not ready yet are told apart, and the daemon's words are shown as they are"""
        installed = self.flowstream("install", "-", input="a :: B;")
        self.assertEqual((installed.returncode, installed.stdout), (0, "3\n"), installed.stderr)
        refused = self.flowstream("install", "-", input="nonsense")
        self.assertEqual((refused.returncode, refused.stderr), (1, "flowstream: 1:1: error: expected '::'\n    nonsense\n    ^\n"))
        slow = self.flowstream("install", "-", "--json", input="slow")
        self.assertEqual((slow.returncode, json.loads(slow.stdout)["id"]), (1, 7))
        self.assertIn("still being installed", slow.stderr)
        for argv in (("list",), ("show", "3"), ("flows", "3", "--seconds", "0"), ("plan", "-"), ("pm-info",), ("tasks", "resource"), ("hosts",), ("delete", "3"),
                     ("call", "resource", "system.listMethods")):
            for extra in ((), ("--json",)):
                done = self.flowstream(*argv, *extra, input="a :: B;")
                self.assertEqual(done.returncode, 0, f"{argv}: {done.stderr}")
                if extra and argv[0] != "call":
                    json.loads(done.stdout)

    def test_show(self):
        """show draws the way of the packets; text and rules, as they were written, only when asked for"""
        shown = self.flowstream("show", "3").stdout
        self.assertIn("request 3 'n' of operator: installed since 2026-1", shown)
        for line in ("net0 (in)", "`- fw (Firewall)  h1              5    4        1  300 B          0       0", "   `- net1"):
            self.assertIn(line, shown.splitlines())
        self.assertIn("not known: what the switches counted", shown)
        self.assertNotIn("FromNet", shown + self.flowstream("show", "3", "--rules").stdout)
        self.assertIn('\nNAME=n\nin :: FromNet("in_port=net0")\n', self.flowstream("show", "3", "--text").stdout)
        self.assertIn("\nrules of tor0:\n  table=10,actions=one\n  table=20,actions=two\n", self.flowstream("show", "3", "--rules").stdout)
        self.assertEqual(self.flowstream("show", "3", "--watch", "--json").returncode, 2)
        self.assertEqual(self.flowstream("show", "3", "--watch", "--dot").returncode, 2)
        self.assertEqual(self.flowstream("tasks", "--watch", "--json").returncode, 2)

    def test_dot(self):
        """show --dot is a graph whose names cannot break it"""
        shown = self.flowstream("show", "3", "--dot").stdout
        for line in ('digraph "n" {', '  "fw" [label="fw\\nFirewall on h1\\nin 5, out 4, dropped 1"];', '  "in@net0" -> "fw" [label="path 5"];', '  "fw" -> "out@net1" [label="path 6"];'):
            self.assertIn(line, shown.splitlines())
        self.assertIn('digraph "a\\"b\\\\" {', words.dot({"id": 1, "name": 'a"b\\'}))

    def test_flows(self):
        """flows are a table; what there was no place for is said"""
        shown = self.flowstream("flows", "3", "--seconds", "0").stdout.splitlines()
        for line in ("MODULE  VLAN  PROTOCOL  FROM             TO            PACKETS   BYTES", "fw         -  udp       10.9.0.1:40000   10.9.0.2:53        10   640 B",
                     "fw         5  tcp       [fd09::1]:40000  [fd09::2]:80        2  2.5 kB", "others: 7 packets, 700 B", "3 flows came for which there was no place"):
            self.assertIn(line, shown)

    def test_plan(self):
        """plan says where each module would run, through which switches, and the rules, one a line"""
        shown = self.flowstream("plan", "-", input="a :: B;").stdout
        self.assertIn("`- fw (Firewall)  h1              0.1           32 MB     5  net0 > tor0 > h1\n   `- net1                                                6  h1 > tor0 > net1\n", shown)
        self.assertIn("\nrules of tor0:\n  table=10,actions=one\n", shown)
        self.assertIn("HOST          CORES              MEMORY  MODULES\nh1    0 -> 0.1 of 8  0 -> 32 of 2048 MB   0 -> 1\n", shown)
        self.assertIn("net0 > tor0  1 -> 2 of 10000 Mbit/s\n\nas before: 1 hosts, 1 directions of links\n", shown)

    def test_upgrade(self):
        """upgrade sends the files with the kind that their folder says"""
        for kind in ("tasks", "commands"):
            (self.scratch / kind).mkdir()
            (self.scratch / kind / "ping.so").write_bytes(b"\x7fELF\0")
        done = self.flowstream("upgrade", "resource", self.scratch / "tasks/ping.so", self.scratch / "commands/ping.so", "--json")
        self.assertEqual(json.loads(done.stdout), ["ping task", "ping command"], done.stderr)

    def test_names(self):
        """daemons are named in several ways; a wrong name is told with those that exist"""
        self.assertEqual(self.flowstream("call", "h2", "ping").returncode, 0)
        for name, words_ in (("modulehost", "say which"), ("resourse", "do you mean resource"), ("h7", "there is no daemon")):
            done = self.flowstream("call", name, "ping")
            self.assertEqual((done.returncode, words_ in done.stderr), (1, True), done.stderr)

    def test_failures(self):
        """a daemon that is down, a method that is not there, a value that cannot be sent: a sentence for each"""
        for argv, words_ in ((("call", "h1", "ping"), "modulehost:h1 daemon does not answer"), (("call", "resource", "frob"), "frob"),
                             (("call", "resource", "get_allocation", "99999999999"), "cannot be sent"), (("show", "4"), "no allocation 4")):
            done = self.flowstream(*argv)
            self.assertEqual((done.returncode, words_ in done.stderr), (1, True), done.stderr)
        (self.scratch / "token").write_text("operator:wrong\n")
        self.assertIn("401", self.flowstream("list").stderr)

    def test_url(self):
        """url gives an address that any XML-RPC client can use"""
        import xmlrpc.client
        url = self.flowstream("url", "resource").stdout.strip()
        self.assertEqual(xmlrpc.client.ServerProxy(url, allow_none=True).ping()["code"], 0)

    def test_deadline(self):
        """a deadline holds against an answer that never comes and against one that trickles; then the client works on"""
        from flowstream import Client, DeadlinePassed
        with Client(self.scratch, deadline=0.3) as client:
            with self.assertRaises(DeadlinePassed):
                client.call("resource", "install_allocation", "wait for ever", {"key": "k"})
            client.ping("resource")
            with socket.socket() as listener:
                listener.bind(("127.0.0.1", 0))
                listener.listen()
                client.record.data["daemons"]["trickle"] = {"url": "http://127.0.0.1:%d/RPC2" % listener.getsockname()[1], "dir": "x"}
                threading.Thread(target=trickle, args=(listener,), daemon=True).start()
                with self.assertRaises(DeadlinePassed):
                    client.ping("trickle")

    def test_kept_alive(self):
        """calls share one connection, and a daemon that was started anew is found again"""
        from flowstream import Client
        with Client(self.scratch) as client:
            client.ping("resource")
            connection = client._servers["resource"][0]._connection[1].sock
            client.ping("resource")
            self.assertIs(connection, client._servers["resource"][0]._connection[1].sock)
            self.daemon.kill()
            self.daemon.wait()
            self.start_daemon()
            client.ping("resource")


def trickle(listener):
    """Answer a byte at a time, for ever."""
    connection, _ = listener.accept()
    with connection:
        try:
            connection.sendall(b"HTTP/1.1 200 OK\r\n")
            while True:
                connection.sendall(b"X")
                threading.Event().wait(0.05)
        except OSError:
            pass


def parsers(top):
    """A parser and all below it."""
    yield top
    for action in top._actions:
        if isinstance(action.choices, dict):
            for child in action.choices.values():
                yield from parsers(child)


def complete(*line):
    """What bash offers for the last of these words."""
    script = f'. "{COMPLETION}"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); compopt() {{ :; }}; _flowstream; printf "%s\\n" "${{COMPREPLY[@]}}"'
    environment = {key: value for key, value in os.environ.items() if not key.startswith("FLOWSTREAM")}
    done = subprocess.run(["bash", "-c", script, "bash", *line], capture_output=True, text=True, timeout=20, env=environment)
    return done.stdout.split()


if __name__ == "__main__":
    support.main()

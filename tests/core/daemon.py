"""What the black-box tests of the core share: TAP, a daemon to start and stop, loadable objects made on the spot.

Run from the build folder (or with FLOWSTREAM_BUILD naming it)."""
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import xmlrpc.client

SOURCE = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
BUILD = os.path.abspath(os.environ.get("FLOWSTREAM_BUILD", os.getcwd()))
CREDENTIALS = "tester:secret"
_count = [0, 0]


def ok(good, name, detail=""):
    """One line of TAP."""
    _count[0] += 1
    if good:
        print(f"ok {_count[0]} - {name}", flush=True)
    else:
        _count[1] += 1
        print(f"not ok {_count[0]} - {name}", flush=True)
        for line in str(detail)[:2000].splitlines():
            print(f"# {line}", flush=True)
    return good


def skip(name, why):
    _count[0] += 1
    print(f"ok {_count[0]} - {name} # SKIP {why}", flush=True)


def run_all(tests):
    """Runs the functions; one that raises is a failure. Ends the process."""
    for test in tests:
        try:
            test()
        except Exception as error:  # pylint: disable=broad-except
            import traceback
            ok(False, test.__name__, "".join(traceback.format_exception(error)))
    print(f"1..{_count[0]}")
    sys.exit(1 if _count[1] else 0)


def sanitizer_flags():
    """-fsanitize=... of the build: a loadable must be made as the program was."""
    with open(os.path.join(BUILD, "Makefile"), encoding="utf-8") as makefile:
        found = re.search(r"^SANITIZE = (.*)$", makefile.read(), re.M)
    return found.group(1).split() if found else []


class Daemon:
    """The test daemon in a folder of its own, with the common commands and no tasks."""

    def __init__(self, limits="", extra="", listen='<listen tcp="127.0.0.1:0"/>', credentials=True, level="info", program=None):
        self.dir = tempfile.mkdtemp(prefix="flowstream-core-")
        self.lib = os.path.join(self.dir, "lib")
        for kind in ("tasks", "commands"):
            for owner in ("common", "pm"):
                os.makedirs(os.path.join(self.lib, kind, owner))
        for name in os.listdir(os.path.join(BUILD, "lib/flowstream/commands/common")):
            if name.endswith(".so"):
                shutil.copy(os.path.join(BUILD, "lib/flowstream/commands/common", name), os.path.join(self.lib, "commands/common"))
        secret = os.path.join(self.dir, "secret")
        with open(secret, "w", encoding="utf-8") as out:
            out.write(CREDENTIALS + "\n")
        os.chmod(secret, 0o600)
        self.unix = os.path.join(self.dir, "socket")
        self.config = os.path.join(self.dir, "config.xml")
        with open(self.config, "w", encoding="utf-8") as out:
            out.write(f'<daemon name="pm" dir="{self.dir}/run" lib="{self.lib}">\n{listen}\n<listen unix="{self.unix}"/>\n'
                      + (f'<credentials file="{secret}"/>\n' if credentials else "")
                      + f'<log level="{level}"/>\n{limits}\n{extra}\n</daemon>\n')
        self.program = program or os.path.join(BUILD, "tests/core/testdaemon")
        self.process = None
        self.lines = []

    def start(self):
        """Starts it and waits until it serves."""
        self.process = subprocess.Popen([self.program, "--config", self.config, "--foreground"], stderr=subprocess.PIPE, text=True,
                                        errors="replace")
        self.lines = []
        threading.Thread(target=self._read, args=(self.process.stderr,), daemon=True).start()
        self.wait_line(r" serves$")
        found = re.search(r"listening on 127\.0\.0\.1:(\d+)", self.log())
        self.port = int(found.group(1)) if found else None
        self.url = f"http://{CREDENTIALS}@127.0.0.1:{self.port}/RPC2"
        return self

    def _read(self, stream):
        for line in stream:
            self.lines.append(line)

    def log(self):
        return "".join(self.lines)

    def wait_line(self, pattern, seconds=20):
        """Waits for a line of the log."""
        until = time.time() + seconds
        while time.time() < until:
            for line in list(self.lines):
                if re.search(pattern, line.rstrip("\n")):
                    return line
            if self.process.poll() is not None:
                time.sleep(0.2)
                raise RuntimeError("the daemon ended: " + self.log())
            time.sleep(0.01)
        raise RuntimeError(f"no line '{pattern}' in: " + self.log())

    def proxy(self):
        return xmlrpc.client.ServerProxy(self.url, allow_none=True)

    def stop(self, seconds=30):
        """SIGTERM; the exit status."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return "it did not end"

    def remove(self):
        shutil.rmtree(self.dir, ignore_errors=True)

    def path(self, kind, name, owner="pm"):
        return os.path.join(self.lib, kind + "s", owner, name + ".so")

    def build(self, kind, name, body, fields="", head="", declared=None):
        """Compiles a loadable whose run() has that body; the path of the object, outside of the daemon's folders."""
        source = os.path.join(self.dir, name + ".c")
        made = os.path.join(self.dir, f"made-{name}.so")
        with open(source, "w", encoding="utf-8") as out:
            out.write("#include <stdio.h>\n#include <stdlib.h>\n#include <unistd.h>\n#include <flowstream/method.h>\n" + head
                      + "\nstatic void\nrun(struct fs_call *call)\n{\n    (void) call;\n" + body + "\n}\n"
                      + f"FS_{kind.upper()} = {{ FS_IS_{kind.upper()}, .name = \"{declared or name}\", .help = \"A test.\", {fields} .run = run }};\n")
        subprocess.run(["gcc", "-std=gnu11", "-O1", "-g", "-shared", "-fPIC", "-fvisibility=hidden", "-Wl,-z,noexecstack",
                        "-I", os.path.join(SOURCE, "include"), *sanitizer_flags(), "-o", made, source], check=True)
        return made

    def drop(self, kind, name, body, fields="", head="", declared=None, owner="pm"):
        """Builds and puts it into the folder by a rename, as careful people do."""
        made = self.build(kind, name, body, fields, head, declared)
        beside = self.path(kind, name, owner) + ".new"
        shutil.copy(made, beside)
        os.rename(beside, self.path(kind, name, owner))
        return made


ANY = '.params = { { "param", "any?", "anything" } }, .returns = "any",'


def wait_for(condition, seconds=10):
    """The first true value of condition(), or its last."""
    until = time.time() + seconds
    while True:
        value = condition()
        if value or time.time() > until:
            return value
        time.sleep(0.02)

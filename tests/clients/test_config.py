#!/usr/bin/env python3
"""flowstream-config as somebody who writes loadables uses it: templates that compile, load and run; its refusals."""
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from flowtest import BUILD, Platform, Tests, need_root_of_namespaces  # noqa: E402

need_root_of_namespaces()
tests = Tests()
CONFIG = BUILD / "bin" / "flowstream-config"


def config(*words):
    return subprocess.run([CONFIG, *words], capture_output=True, text=True, check=False)


def make(folder, kind, name):
    source, made = Path(folder) / f"{name}.c", Path(folder) / f"{name}.so"
    source.write_text(config("--template", kind, name).stdout)
    done = subprocess.run(["cc", "-Wall", "-Wextra", "-Werror", *config("--cflags", "--libs").stdout.split(), "-o", made, source], capture_output=True, text=True, check=False)
    tests.check(done.returncode == 0, f"the template of a {kind} compiles without a warning", done.stderr)
    return made


with tempfile.TemporaryDirectory() as scratch, Platform() as p:
    for kind in ("task", "command"):
        done = p.command("upgrade", "resource", str(make(scratch, kind, f"try_{kind}")), "--kind", kind)
        tests.same(done.returncode, 0, f"the {kind} is taken")
    tests.same(p.client.call("resource", "run_task", "try_task", {"who": "Ada"}, {"wait": 20}), "hello Ada", "the task runs")
    tests.same(p.client.call("resource", "try_command", {"who": "Grace"}), "hello Grace", "the command runs")
    make(scratch, "module", "Passing")
for words, code, said in ((("--cflag",), 2, "--cflag"), (("--template", "tasc", "x"), 2, "tasc"), (("--template", "task", "a-b"), 2, "a-b"), ((), 2, "usage")):
    done = config(*words)
    tests.check(done.returncode == code and said in done.stderr, f"flowstream-config {' '.join(words)} is refused", done.stderr)
pc = subprocess.run(["pkg-config", "--cflags", "--libs", "flowstream"], env={"PATH": "/usr/bin:/bin", "PKG_CONFIG_PATH": str(BUILD / "lib/pkgconfig")}, capture_output=True, text=True, check=False)
tests.check(pc.returncode == 0 and "loadable.map" in pc.stdout, "pkg-config knows it", pc.stderr)
tests.end()

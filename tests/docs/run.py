#!/usr/bin/python3
"""The manual is true: links lead somewhere, snippets are what they say, api.md is what the descriptors say, manual pages name every option,
configuration.md every attribute, testing.md every area, and the examples of tasks.md and modules.md work on a real platform.

Blocks that are run are marked behind their ```:
    flow [refused]      a request that flowstream-lang check takes (or refuses)
    c file=NAME         written to NAME
    sh run              run in the order of the page; the block "text output" behind it is what it must print
    xml                 a daemon's configuration, which the schema allows
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from flowtest import BUILD, ROOT, Platform, Tests, until  # noqa: E402

BLOCK = re.compile(r"^```(\w[^\n]*)\n(.*?)^```$", re.M | re.S)
RNG = "{http://relaxng.org/ns/structure/1.0}"
tests = Tests()


def pages():
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


def shown(path):
    return path.relative_to(ROOT)


def anchors(path):
    """What may stand behind '#': headings in lower case, with '-' for blanks and without punctuation."""
    headings = re.findall(r"^#+ +(.*)$", path.read_text(), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def check_links():
    for page in pages():
        text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)
        bad = []
        for target in re.findall(r"\[[^]]+\]\(([^)\s]+)\)", text):
            name, _, anchor = target.partition("#")
            place = (page.parent / name).resolve() if name else page
            if "://" not in target and (not place.exists() or (anchor and anchor not in anchors(place))):
                bad.append(target)
        tests.check(not bad, f"{shown(page)}: all links lead somewhere", "\n".join(bad))


def check_requests():
    for page in pages():
        for number, (kind, text) in enumerate(BLOCK.findall(page.read_text()), 1):
            if kind.split()[0] == "flow":
                done = subprocess.run([BUILD / "bin" / "flowstream-lang", "check", "-"], input=text, capture_output=True, text=True)
                tests.same(done.returncode, int("refused" in kind), f"{shown(page)}: request in block {number} is {'refused' if 'refused' in kind else 'good'}")
                if done.returncode != int("refused" in kind):
                    print("# " + done.stderr.replace("\n", "\n# "))
    done = subprocess.run(["sh", "-c", "grep -v '^//' examples/web.flow"], cwd=ROOT, capture_output=True, text=True)
    tests.check(done.stdout in (ROOT / "README.md").read_text(), "README.md explains examples/web.flow as it is")


def check_api():
    done = subprocess.run([BUILD / "tools" / "describe", BUILD / "lib" / "flowstream"], capture_output=True, text=True)
    tests.check(done.returncode == 0 and done.stdout == (ROOT / "docs" / "api.md").read_text(), "docs/api.md is what the descriptors say",
                done.stderr or "run 'make -C build docs' and commit docs/api.md")
    done = subprocess.run([ROOT / "tools" / "abi.sh"], capture_output=True, text=True)
    tests.check(done.stdout == (ROOT / "include" / "flowstream" / "abi.h").read_text(), "include/flowstream/abi.h is the hash of the headers",
                "run 'make -C build docs' and commit include/flowstream/abi.h")


def options_of(program, *words):
    """The long options that --help names; argparse wraps lines, so all of the text counts."""
    done = subprocess.run([BUILD / "bin" / program, *words, "--help"], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{program} --help ended with {done.returncode}: {done.stderr}")
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", done.stdout))


def check_manual_pages():
    programs = sorted(path.name for path in (BUILD / "bin").iterdir() if path.name.startswith("flowstream") and os.access(path, os.X_OK))
    for program in programs:
        found = sorted((ROOT / "docs" / "man").glob(f"{program}.[18]"))
        if not tests.check(len(found) == 1, f"{program} has one manual page"):
            continue
        text = found[0].read_text().replace("\\-", "-")
        wanted = options_of(program)
        commands = re.findall(r"^    ([a-z][a-z-]+)  ", subprocess.run([BUILD / "bin" / program, "--help"], capture_output=True, text=True).stdout, re.M) \
            if program == "flowstream" else []
        for command in commands:
            wanted |= options_of(program, command)
        for command in ("add", "drain", "remove") if commands else ():
            wanted |= options_of(program, "host", command)
        named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text))
        tests.same(named, wanted, f"{found[0].name} names every option and no other")
        missing = [command for command in commands if not re.search(rf"^\.B {command}\b", text, re.M)]
        if commands:
            tests.check(len(commands) > 10 and not missing, f"{found[0].name} has every command", f"{commands}\nmissing {missing}")
    for page in sorted((ROOT / "docs" / "man").iterdir()):
        if shutil.which("groff"):
            done = subprocess.run(["groff", "-man", "-ww", "-Tutf8", page], capture_output=True, text=True)
            tests.check(done.returncode == 0 and not done.stderr, f"{page.name} is set without warnings", done.stderr)
        else:
            tests.skip(f"{page.name} is set without warnings", "groff is not there")


def check_configuration():
    text = (ROOT / "docs" / "configuration.md").read_text()
    for schema in ("daemon", "platform"):
        tree = ElementTree.parse(ROOT / "etc" / "schemas" / f"{schema}.rng")
        names = {node.get("name") for kind in ("element", "attribute") for node in tree.iter(RNG + kind)}
        missing = sorted(name for name in names if not re.search(rf"^\|.*`{re.escape(name)}`", text, re.M))
        tests.check(names and not missing, f"configuration.md has every element and attribute of {schema}.rng", missing)
    for number, (kind, block) in enumerate(BLOCK.findall(text), 1):
        if kind == "xml":
            if not shutil.which("xmllint"):
                tests.skip(f"configuration.md: block {number} keeps to the schema", "xmllint is not there")
                continue
            done = subprocess.run(["xmllint", "--noout", "--relaxng", ROOT / "etc" / "schemas" / "daemon.rng", "-"], input=block, capture_output=True, text=True)
            tests.check(done.returncode == 0, f"configuration.md: block {number} keeps to the schema", done.stderr)


def check_defaults():
    """The limits of configuration.md are those of the code."""
    source = (ROOT / "core" / "daemon.c").read_text() + (ROOT / "core" / "front.c").read_text().replace("limit(settings, ", '"limits", ')
    source = source.replace("CONNECTIONS)", str(re.search(r"CONNECTIONS = (\d+)", source).group(1)) + ")")
    stated = {}  # a row of the table may have several names, and as many defaults
    for names, defaults in re.findall(r"^\|[^|]*\| ((?:`[\w-]+`(?:, )?)+) \|[^|\n]*default ((?:\d+(?:, )?)+)", (ROOT / "docs" / "configuration.md").read_text(), re.M):
        stated.update(zip(re.findall(r"`([\w-]+)`", names), map(int, defaults.strip(", ").split(", "))))
    found = re.findall(r'"limits", "([\w-]+)", (\d+)(?: << (\d+))?\)', source)
    for name, value, shift in found:
        default = int(value) << int(shift or 0)
        default = 1024 if name == "peer-connections" else default  # FS_SERVER_PEER_CONNECTIONS
        tests.check(stated.get(name) == default, f"configuration.md: the default of {name} is {default}", stated.get(name))
    tests.check(found, "core/daemon.c has defaults of limits")


def check_areas():
    areas = {line.split("/")[0] for line in (ROOT / "tests" / "suite.txt").read_text().splitlines() if line.strip() and not line.startswith("#")}
    named = set(re.findall(r"^\| (\w+) \|", (ROOT / "docs" / "testing.md").read_text(), re.M)) - {"area"}
    tests.check(areas <= named, "testing.md has every area of suite.txt", sorted(areas - named))


def check_packages():
    script = (ROOT / "quickstart").read_text()
    packages = set(" ".join(re.findall(r'^packages_\w+="([^"]*)"', script, re.M)).split())
    text = (ROOT / "docs" / "dependencies.md").read_text()
    named = {word.strip() for row in re.findall(r"^\| ([^|]+) \|", text, re.M) for word in row.split(",")} - {"package", "---"}
    tests.same(named, packages, "dependencies.md has every package of quickstart and no other")


def check_units():
    if not shutil.which("systemd-analyze"):
        tests.skip("systemd units are well formed", "systemd-analyze is not there")
        return
    with tempfile.TemporaryDirectory(prefix="flowstream-units-") as scratch:
        for unit in sorted((ROOT / "etc" / "systemd").glob("*.service")):
            copy = Path(scratch, unit.name)
            copy.write_text(unit.read_text().replace("BINDIR/", f"{BUILD}/bin/"))
            done = subprocess.run(["systemd-analyze", "verify", "--man=no", copy], capture_output=True, text=True)
            complaints = [line for line in done.stderr.splitlines() if unit.name in line or done.returncode]
            tests.check(not complaints, f"{unit.name} is well formed", "\n".join(complaints))


def tree_for_examples(scratch):
    """A folder that looks like the source folder, where the examples may write."""
    for name in ("include", "core", "daemons", "tasks", "examples"):
        (scratch / name).symlink_to(ROOT / name)
    (scratch / "build").symlink_to(BUILD)
    return scratch


def run_page(page, platform, scratch):
    """Do what the page says, in order."""
    environment = {**os.environ, "FLOWSTREAM_DIR": str(platform.dir), "PATH": f"{BUILD}/bin:{os.environ['PATH']}"}
    blocks = BLOCK.findall(page.read_text())
    n_run = 0
    for i, (kind, text) in enumerate(blocks):
        if kind.startswith("c file="):
            (scratch / kind.removeprefix("c file=")).write_text(text)
        elif kind == "sh run":
            n_run += 1
            done = subprocess.run(["bash", "-e", "-c", text], cwd=scratch, env=environment, capture_output=True, text=True, timeout=240)
            wanted = blocks[i + 1][1] if i + 1 < len(blocks) and blocks[i + 1][0] == "text output" else None
            tests.check(done.returncode == 0 and (wanted is None or done.stdout == wanted), f"{shown(page)}: commands {n_run} do what the page says",
                        f"status {done.returncode}\nprinted {done.stdout}\nwanted {wanted}\n{done.stderr}")
    tests.check(n_run > 0, f"{shown(page)} has commands to run")


def sampler_samples(platform, scratch):
    """The module type of modules.md in a request: of 20 packets every fifth passes."""
    platform.address("net0", "10.9.0.1/24")
    platform.address("net1", "10.9.0.2/24")
    # Both ends know each other's address before packets are counted; the platform lets what nobody claims pass.
    if not tests.check(until(30, lambda: platform.run_in("net0", "ping", "-c1", "-W1", "10.9.0.2").returncode == 0), "net0 reaches net1 without a request"):
        return
    (scratch / "s.flow").write_text('FromNet("in_port=net0,icmp") -> s :: Sampler("5") -> ToNet("net1")\n')
    done = platform.command("install", str(scratch / "s.flow"))
    if not tests.same(done.returncode, 0, f"a request with the new type is installed {done.stderr}"):
        return
    platform.run_in("net0", "ping", "-c20", "-i0.05", "-W1", "10.9.0.2")
    allocation = int(done.stdout.split()[0])
    counted = until(20, lambda: (lambda m: m if m["in"] == 20 else None)(platform.modules(allocation)["s"]))
    got = platform.modules(allocation)["s"]
    tests.check(bool(counted) and (got["in"], got["out"], got["dropped"]) == (20, 4, 16), "the new type passes one packet in five", got)
    tests.refused("the new type refuses bad arguments", ["Sampler", "often"], platform.client.install_allocation,
                  'FromNet("in_port=tun1,icmp") -> s :: Sampler("often") -> ToNet("net1")\n')


def check_examples():
    if subprocess.run(["unshare", "--net", "true"], capture_output=True).returncode or not shutil.which("cc"):
        tests.skip("the examples of tasks.md and modules.md work", "a C compiler and network namespaces are needed (root, or a user namespace)")
        return
    with tempfile.TemporaryDirectory(prefix="flowstream-docs-") as name, Platform() as platform:
        scratch = tree_for_examples(Path(name))
        with tests.story("tasks.md"):
            run_page(ROOT / "docs" / "tasks.md", platform, scratch)
        with tests.story("modules.md"):
            run_page(ROOT / "docs" / "modules.md", platform, scratch)
            sampler_samples(platform, scratch)
    tests.same(platform.leftovers, [], "the platform leaves nothing behind")


def check_installation():
    """'make install' into a folder gives a tree from which a platform comes up and works."""
    if subprocess.run(["unshare", "--net", "true"], capture_output=True).returncode:
        tests.skip("what 'make install' gives works", "network namespaces are needed (root, or a user namespace)")
        return
    with tempfile.TemporaryDirectory(prefix="flowstream-install-") as name:
        done = subprocess.run(["make", "-s", "-C", BUILD, "install", f"DESTDIR={name}/root"], capture_output=True, text=True,
                              env={k: v for k, v in os.environ.items() if not k.startswith("MAKE")})
        if not tests.same(done.returncode, 0, f"'make install' works {done.stderr[-500:]}"):
            return
        program = next(Path(name, "root").rglob("bin/flowstream"), None)
        environment = {k: v for k, v in os.environ.items() if k not in ("FLOWSTREAM_PREFIX", "LD_LIBRARY_PATH", "PYTHONPATH")}
        environment["FLOWSTREAM_DIR"] = f"{name}/platform"

        def run(*words):
            return subprocess.run([program, *words], env=environment, capture_output=True, text=True, timeout=240)

        try:
            done = run("up", "--quiet")
            tests.same(done.returncode, 0, f"the installed programs make a platform {done.stderr}")
            done = run("install", str(ROOT / "examples" / "web.flow"))
            tests.same(done.returncode, 0, f"and install a request on it {done.stderr}")
            build_in_use = subprocess.run(["grep", "-l", f"{BUILD}/", f"{name}/platform/platform.json", *Path(name, "platform").rglob("config.xml")],
                                          capture_output=True, text=True).stdout
            tests.same(build_in_use, "", "nothing of the build folder is in use")
        finally:
            done = run("down", "--quiet")
            tests.same(done.returncode, 0, f"and take it down {done.stderr}")
        pages_there = {path.name for path in Path(name, "root").rglob("man/man[18]/*")}
        tests.same(pages_there, {path.name for path in (ROOT / "docs" / "man").iterdir()}, "manual pages are installed")


if __name__ == "__main__":
    for part in (check_links, check_requests, check_api, check_manual_pages, check_configuration, check_defaults, check_areas, check_packages, check_units,
                 check_examples, check_installation):
        with tests.story(part.__name__):
            part()
    tests.end()

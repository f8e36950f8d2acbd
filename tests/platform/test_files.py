#!/usr/bin/python3
"""Platform files: each mistake is refused with FILE:LINE before anything is made; the files that come with Flowstream have none."""

import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from flowtest import BUILD, ROOT, Tests  # noqa: E402
from flowstream import embedded  # noqa: E402

GOOD = """<platform name="p">
  <io id="net0"/>
  <io id="net1"/>
  <switch id="t0" role="tor"/>
  <switch id="t1" role="tor"/>
  <server id="h1" cpu="1" mem="100" bandwidth="10" delay="1"/>
  <link a="net0" b="t0" b-port="net0" bandwidth="10" delay="1" mtu="1500"/>
  <link a="net1" b="t1" b-port="net1" bandwidth="10" delay="1" mtu="1500"/>
  <link a="t0" b="t1" a-port="to-t1" b-port="to-t0" bandwidth="10" delay="1" mtu="1600"/>
  <link a="t1" b="h1" a-port="to-h1" b-port="h1-up" bandwidth="10" delay="1" mtu="1600"/>
</platform>
"""

# What is changed into what, the line that is named, and words of the message.
MISTAKES = (
    ("the same name twice", ('<io id="net1"/>', '<io id="net0"/>'), 3, ['"net0"', "line 2"]),
    ("one name for a port and a switch", ('<switch id="t1"', '<switch id="net0"'), 5, ['"net0"', "line 2"]),
    ("a link to nowhere", ('b="t1" b-port="net1"', 'b="t9" b-port="net1"'), 8, ['"t9"']),
    ("a link from a switch to itself", ('a="t0" b="t1"', 'a="t1" b="t1"'), 9, ["itself"]),
    ("two links beside each other", ('b-port="net1" bandwidth="10" delay="1" mtu="1500"/>', 'bandwidth="10" delay="1"/><link a="t1" b="t0" bandwidth="10" delay="1"/>'),
     9, ["already a link", "line 8"]),
    ("a network port with two links", ('a="t0" b="t1" a-port="to-t1" b-port="to-t0"', 'a="net0" b="t1"'), 2, ["net0", "2 links"]),
    ("a network port without a link", ('<io id="net1"/>', '<io id="net1"/><io id="net2"/>'), 3, ["net2", "no link"]),
    ("a link between two network ports", ('a="net0" b="t0" b-port="net0"', 'a="net0" b="net1"'), 3, ["net1", "2 links"]),
    ("a server without a link", ('<io id="net1"/>', '<io id="net1"/><server id="h2" cpu="1" mem="1" bandwidth="1" delay="1"/>'), 3, ["h2", "no link"]),
    ("a switch without a link", ('<io id="net1"/>', '<io id="net1"/><switch id="t2"/>'), 3, ["t2", "no link"]),
    ("two ports of one name", ('b-port="net1"', 'b-port="to-h1"'), 10, ["to-h1", "line 8"]),
    ("unclaimed traffic to an unknown port", ('<io id="net1"/>', '<io id="net1" forward="net7"/>'), 3, ["net7", "no other io"]),
    ("unclaimed traffic back to itself", ('<io id="net1"/>', '<io id="net1" forward="net1"/>'), 3, ["net1", "no other io"]),
    ("an MTU that no tagged packet fits in", ('b-port="to-t0" bandwidth="10" delay="1" mtu="1600"', 'b-port="to-t0" bandwidth="10" delay="1" mtu="1500"'),
     9, ["1500", "1600"]),
    ("an MTU too small for that of a network port", ('b-port="net1" bandwidth="10" delay="1" mtu="1500"', 'b-port="net1" bandwidth="10" delay="1" mtu="1590"'),
     9, ["1600", "line 8", "1616"]),
    ("an MTU of nearly nothing", ('b-port="net1" bandwidth="10" delay="1" mtu="1500"', 'b-port="net1" bandwidth="10" delay="1" mtu="60"'), 8, ["60", "576"]),
    ("an MTU beyond numbers", ('b-port="net1" bandwidth="10" delay="1" mtu="1500"', 'b-port="net1" bandwidth="10" delay="1" mtu="99999999"'), 8, ["mtu"]),
    ("a negative capacity", ('a="t0" b="t1" a-port="to-t1" b-port="to-t0" bandwidth="10"', 'a="t0" b="t1" a-port="to-t1" b-port="to-t0" bandwidth="-1"'),
     9, ["bandwidth", "-1"]),
    ("an absurd capacity", ('cpu="1"', 'cpu="1e30"'), 6, ["cpu", "1e30"]),
    ("a link that carries nothing", ('a-port="to-h1" b-port="h1-up" bandwidth="10"', 'a-port="to-h1" b-port="h1-up" bandwidth="0"'), 10, ["bandwidth 0"]),
    ("a server without memory", ('mem="100"', 'mem="0"'), 6, ["mem 0", "h1"]),
    ("parts that nothing joins", ('a="t0" b="t1" a-port="to-t1" b-port="to-t0"', 'a="t1" b="t2"'), None, ["t2"]),
    ("an island", ("</platform>", '<switch id="x0"/><switch id="x1"/><link a="x0" b="x1" bandwidth="1" delay="1" mtu="1600"/></platform>'), 11,
     ["x0", "not joined"]),
    ("an element that is none", ("</platform>", "<router/></platform>"), 11, ["router"]),
    ("no XML", ("</platform>", "<link"), 12, []),
)


def check_program(path):
    done = subprocess.run([str(BUILD / "bin" / "flowstream-resource"), "--check-platform", str(path)], capture_output=True, text=True)
    return done.returncode, done.stderr


def test_mistake(tests, path, name, change, line, words):
    assert GOOD.count(change[0]) == 1, change[0]
    path.write_text(GOOD.replace(*change))
    status, said = check_program(path)
    where = f"{path}:{line}:" if line else f"{path}:"
    tests.check(status == 1 and said.startswith(where) and all(word in said for word in words), f"{name}: the daemon's check names line {line}", f"{status} {said}")
    place = path.parent / "up"
    tests.refused(f"{name}: 'up' refuses it", [f"{path}:"], embedded.up, place, path)
    tests.check(not place.exists(), f"{name}: nothing was made")


def main():
    tests = Tests()
    with tempfile.TemporaryDirectory(prefix="flowstream-test-") as scratch:
        path = Path(scratch) / "p.xml"
        path.write_text(GOOD)
        tests.same(check_program(path), (0, ""), "a file without a mistake is taken")
        for mistake in MISTAKES:
            with tests.story(mistake[0]):
                test_mistake(tests, path, *mistake)
        tests.refused("a file that is not there", ["cannot read"], embedded.up, Path(scratch) / "up", Path(scratch) / "none.xml")
    for path in sorted((ROOT / "etc" / "platforms").glob("*.xml")):
        tests.same(check_program(path), (0, ""), f"{path.name} has no mistake")
        with tests.story(path.name):
            tests.check(embedded.read_platform(path).links, f"{path.name} can be made here")
    tests.end()


if __name__ == "__main__":
    main()

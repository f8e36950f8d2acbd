#!/usr/bin/env python3
"""The cases of the allocation language: each file NAME.flow beside this one is checked, and what flowstream-lang says is compared with
NAME.expected, the diagnostics as people read them.  A case without errors has an empty NAME.expected; its formatted text must then mean the
same and be canonical already when it is formatted again, and if there is a NAME.formatted, be equal to that.

usage: run.py FLOWSTREAM-LANG [--types DIR] [--update]

--update writes what the program says now into the .expected and .formatted files: look at the difference before you keep it."""

import argparse
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent


class Tap:
    """Numbers the results, in the Test Anything Protocol."""

    def __init__(self):
        self.count = self.failed = 0

    def result(self, good, name, detail=""):
        self.count += 1
        self.failed += not good
        print(f"{'ok' if good else 'not ok'} {self.count} - {name}")
        if not good:
            for line in str(detail).splitlines():
                print(f"# {line}")


class Program:
    def __init__(self, path, types):
        self.path = path
        self.types = ["--types", types] if types else []

    def run(self, *arguments, text=None):
        command = [self.path, *self.types, *arguments]
        return subprocess.run(command, input=text, capture_output=True, cwd=HERE, timeout=60, check=False)


def difference(expected, found):
    return f"expected:\n{expected}\nfound:\n{found}"


def check_good(tap, program, case, update):
    """What a request that has no errors must fulfil."""
    formatted = program.run("format", case.name).stdout
    again = program.run("format", "-", text=formatted).stdout
    tap.result(formatted == again and formatted, f"{case.stem}: the formatted text is canonical", difference(formatted, again))
    meaning = program.run("json", case.name).stdout
    meaning_again = program.run("json", "-", text=formatted).stdout
    tap.result(meaning == meaning_again and json.loads(meaning), f"{case.stem}: the formatted text means the same",
               difference(meaning, meaning_again))
    wanted = case.with_suffix(".formatted")
    if wanted.exists():
        if update:
            wanted.write_bytes(formatted)
        tap.result(formatted == wanted.read_bytes(), f"{case.stem}: the formatted text is as expected",
                   difference(wanted.read_text(), formatted.decode()))
    dot = program.run("dot", case.name).stdout
    tap.result(dot.startswith(b"digraph") and dot.endswith(b"}\n"), f"{case.stem}: the graph is written", dot)


def check_case(tap, program, case, update):
    done = program.run("check", case.name)
    wanted = case.with_suffix(".expected")
    if update:
        wanted.write_bytes(done.stderr)
    good = done.stderr == wanted.read_bytes() and done.stdout == b"" and done.returncode == (b" error: " in done.stderr)
    tap.result(good, f"{case.stem}: what is said of it", f"exit {done.returncode}\n" + difference(wanted.read_text(), done.stderr.decode()))
    entries = json.loads(program.run("check", "--json", case.name).stdout)
    told = [line for line in done.stderr.decode().splitlines() if ": error: " in line or ": warning: " in line]
    tap.result([f"{e['file']}:{e['line']}:{e['column']}: {e['severity']}: {e['message']}" for e in entries] ==
               [line.split("; did you mean ")[0] for line in told], f"{case.stem}: the same as JSON", entries)
    if done.returncode == 0:
        check_good(tap, program, case, update)


def check_text(tap, program, name, text, *messages):
    """A text that is too long or too odd for a file of its own."""
    done = program.run("check", "-", text=text)
    found = done.stderr.decode()
    good = done.returncode == (1 if messages else 0) and all(message in found for message in messages)
    tap.result(good, name, f"exit {done.returncode}\n{found[:2000]}")


def check_odd_texts(tap, program):
    good = b'f :: FromNet("ip")\nf -> ToNet("net1")\n'
    check_text(tap, program, "line ends of other systems", good.replace(b"\n", b"\r\n"))
    check_text(tap, program, "a byte order mark", b"\xef\xbb\xbf" + good)
    check_text(tap, program, "no line end at the end", good.rstrip())
    check_text(tap, program, "a NUL byte", good + b"\0", "<stdin>:3:1: error: the text has a NUL byte")
    check_text(tap, program, "not UTF-8", good + b"# \xff", "<stdin>:3:3: error: the text is not UTF-8: byte 0xff")
    check_text(tap, program, "an overlong form", good + b"\xc0\xaf", "error: the text is not UTF-8: byte 0xc0")
    check_text(tap, program, "nothing", b"", "<stdin>:1:1: error: the request declares no modules")
    check_text(tap, program, "spaces only", b" " * 262144, "error: the request declares no modules")
    check_text(tap, program, "1 MiB", good + b" " * ((1 << 20) - len(good)))
    check_text(tap, program, "1 MiB and a byte", good + b" " * ((1 << 20) + 1 - len(good)), "error: the text has 1048577 bytes, more than 1048576")
    check_text(tap, program, "a comment that is not closed", good + b"/* x", "<stdin>:3:1: error: comment is not closed")
    check_text(tap, program, "many errors", b"x -> y\n" * 1000 + b"z -> z\n" * 5 + b"$\n" * 200, "more messages are not shown")
    check_text(tap, program, "a long line", b"a" * 100000 + b" ->", "...")
    check_text(tap, program, "a control character", good + b"# \x1b[31m", "<stdin>:3:3: error: the text has a control character: byte 0x1b", " # ?[31m")
    check_text(tap, program, "a control character of two bytes", good + b"\xc2\x9b31m", " ?31m")
    chain = b"f::FromNet(\"ip\")->" + b"Counter()->" * 50000 + b"ToNet(\"net1\")"
    check_text(tap, program, "a chain of 50,000 modules", chain)
    circle = b"".join(b"c%d->" % i for i in range(40000)) + b"c0\n" + b"\n".join(b"c%d::Counter" % i for i in range(40000))
    check_text(tap, program, "a circle of 40,000 modules", circle, "c31 -> ... 39968 more ... -> c0")
    many = b"a::Mirror" + b"->b" * 300000
    check_text(tap, program, "one mistake 300,000 times", many, "'b' is not declared")
    check_text(tap, program, "too many modules", b"Sink()\n" * 100001, "<stdin>:100001:1: error: the request has more than 100000 modules")
    names = b";".join(b"m%d::Sink" % i for i in range(60000))
    check_text(tap, program, "60,000 modules unused", names, "more messages are not shown")


def check_examples(tap, path):
    """The requests to try, with the real types: good, and the same after formatting."""
    program = Program(path, None)
    for example in sorted((HERE.parents[1] / "examples").rglob("*.flow")):
        if example.parent.name == "lib":
            continue  # parts that others include
        done = program.run("check", str(example))
        tap.result(done.returncode == 0 and (not done.stderr or example.stem == "sink"), f"examples/{example.name} is good", done.stderr.decode())
        formatted = program.run("format", str(example)).stdout
        with tempfile.TemporaryDirectory() as folder:
            copy = pathlib.Path(folder) / "copy.flow"
            copy.write_bytes(formatted)
            shutil.copytree(HERE.parents[1] / "examples" / "lib", pathlib.Path(folder) / "lib")
            meanings = program.run("json", str(example)).stdout, program.run("json", str(copy)).stdout
        tap.result(meanings[0] == meanings[1] and meanings[0], f"examples/{example.name} means the same when it is formatted", meanings)
        if shutil.which("dot"):
            drawn = subprocess.run(["dot", "-Tsvg"], input=program.run("dot", str(example)).stdout, capture_output=True, check=False)
            tap.result(drawn.returncode == 0 and not drawn.stderr and b"<svg" in drawn.stdout, f"examples/{example.name} can be drawn", drawn.stderr)


def check_parameters(tap, program):
    text = b'FromNet("ip") -> Firewall("allow host $server") -> ToNet($out)\n'
    done = program.run("json", "-D", "server=10.0.0.1", "-D", "out=net1", "-", text=text)
    tap.result(b'"args": "allow host 10.0.0.1"' in done.stdout and b'"ports": ["net1"]' in done.stdout, "-D gives parameters their values", done)
    done = program.run("check", "-D", "server=10.0.0.1", "-D", "out=net1", "-D", "outt=x", "-", text=text)
    tap.result(done.returncode == 1 and b"'outt' is given a value" in done.stderr and b"did you mean 'out'" in done.stderr, "-D of no parameter is refused", done)
    done = program.run("check", "-D", "server", "-", text=text)
    tap.result(done.returncode == 2 and b"NAME=VALUE" in done.stderr, "-D without a value is refused", done)
    names = [entry["name"] for entry in json.loads(program.run("json", "several.flow").stdout)]
    tap.result(names == ["there", "back"], "json of several requests is an array", names)
    done = program.run("json", "--request", "back", "several.flow")
    tap.result(json.loads(done.stdout)["headers"] == {"CPU": "1"}, "--request takes one of them; its headers come before those of all", done)
    done = program.run("json", "--request", "nobody", "several.flow")
    tap.result(done.returncode == 1 and b"no request 'nobody'" in done.stderr, "--request of none is refused", done)


def check_growth(tap, program):
    """What could grow without measure does not."""
    doubling = b"part P0 { input -> output }\n" + b"".join(b"part P%d { input -> P%d() -> P%d() -> output }\n" % (i, i - 1, i - 1) for i in range(1, 16))
    check_text(tap, program, "parts that double 15 times", doubling + b'FromNet("ip") -> P15() -> ToNet("net1")\n')
    ways = b"".join(b"part P%d { input -> P%d() -> P%d() -> P%d() -> output }\n" % (i, i - 1, i - 1, i - 1) for i in range(1, 16))
    check_text(tap, program, "parts that treble 15 times", b"part P0 { input -> output }\n" + ways + b'FromNet("ip") -> P15() -> ToNet("net1")\n',
               "more than 100000 modules")
    deep = b"part P0 { input -> output }\n" + b"".join(b"part P%d { input -> P%d() -> output }\n" % (i, i - 1) for i in range(1, 40))
    check_text(tap, program, "parts 40 deep", deep + b'FromNet("ip") -> P39() -> ToNet("net1")\n', "more than 16 deep")
    texts = b"part P0($x) { input -> Counter($x) -> output }\n" + b"".join(
        b'part P%d($x) { input -> P%d("' % (i, i - 1) + b"$x" * 1000 + b'") -> output }\n' for i in range(1, 10))
    check_text(tap, program, "a value that grows by a thousand in each part", texts + b'FromNet("ip") -> P9("abc") -> ToNet("net1")\n', "too much text")
    names = b",".join(b"n%d" % i for i in range(50000)) + b" :: Counter(" + b",".join([b'"a"'] * 100000) + b"){cpu=1,mem=1GB}\n"
    check_text(tap, program, "50,000 names that share 100,000 strings", names, "more messages are not shown")
    check_text(tap, program, "80,000 requests", b"request a{}\n" * 80000, "'a' is declared twice")


def check_usage(tap, program, path):
    for arguments, status in ((["--help"], 0), (["--version"], 0), ([], 2), (["check"], 2), (["chek", "x"], 2), (["--nonsense", "check", "x"], 2),
                              (["--json", "dot", "x"], 2), (["check", "/nonexistent"], 1)):
        done = subprocess.run([path, *arguments], capture_output=True, check=False)
        tap.result(done.returncode == status, f"flowstream-lang {' '.join(arguments)}: exit {status}", done)
    done = subprocess.run([path, "--types", "/nonexistent", "check", "/dev/null"], capture_output=True, check=False)
    tap.result(done.returncode == 1 and b"/nonexistent" in done.stderr, "no types: the message names the folder", done)
    done = program.run("format", "-", text=b"a::Nowhere(\"x\")->b")
    tap.result(done.stdout == b'a :: Nowhere("x") -> b\n', "format needs no types", done)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--types")
    parser.add_argument("--update", action="store_true")
    options = parser.parse_args()
    path = str(pathlib.Path(options.program).resolve())
    program = Program(path, str(pathlib.Path(options.types).resolve()) if options.types else None)

    tap = Tap()
    for case in sorted(HERE.glob("*.flow")):
        check_case(tap, program, case, options.update)
    check_odd_texts(tap, program)
    check_parameters(tap, program)
    check_growth(tap, program)
    check_examples(tap, path)
    check_usage(tap, program, path)
    print(f"1..{tap.count}")
    return tap.failed > 0


if __name__ == "__main__":
    sys.exit(main())

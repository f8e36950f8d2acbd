#!/usr/bin/python3
"""What can be wrong with a text, family by family (L1 to L20), through the program and with the real types: an answer within limits of time and memory.

usage: tests/lang/bad.py BUILD/bin/flowstream-lang

Each run may take a minute of processor time and 1 GB of addresses, and ends with status 0 or 1; a refusal names the line and column, and what is wrong.
Families that are not about a text alone are where docs/testing.md says.
"""

import pathlib
import resource
import subprocess
import sys
import tempfile

SECONDS, BYTES = 60, 1 << 30
GOOD = 'f :: FromNet("in_port=net0,ip")\nf -> c :: Counter -> ToNet("net1")\n'
TOO_LONG = "more than 1048576"


def chain(middle):
    return f'FromNet("ip") -> {middle} -> ToNet("net1")\n'


def match(text):
    return f'FromNet("{text}") -> Counter() -> ToNet("net1")\n'


def declared(name):
    return GOOD.replace("c ::", f"{name} ::")


def with_property(text):
    return chain("Counter() {" + text + "}")


# family, what, text, what must be said (None: it is good)
CASES = [
    ("L1", "an empty text", "", "1:1: error: the request declares no modules"),
    ("L1", "only comments", "# a\n// b\n/* c */\n", "the request declares no modules"),
    ("L1", "256 KiB of spaces", " " * (1 << 18), "the request declares no modules"),
    ("L2", "no line end at the end", GOOD.rstrip(), None),
    ("L2", "CR LF", GOOD.replace("\n", "\r\n"), None),
    ("L2", "CR alone", GOOD.replace("\n", "\r"), "1:32: error: unexpected"),
    ("L2", "NEL", GOOD.replace("\n", "\u0085"), "1:32: error: unexpected '?' (U+0085)"),
    ("L2", "a byte order mark", "\ufeff" + GOOD, None),
    ("L2", "a byte order mark in the middle", GOOD + "\ufeff", "3:1: error: unexpected"),
    ("L2", "U+2028", GOOD.replace("\n", "\u2028", 1), "unexpected"),
    ("L3", "a string that is not closed", GOOD.replace('net1"', "net1"), "2:28: error: string is not closed"),
    ("L3", "a string that ends with the text in a backslash", GOOD + 'x :: Counter("\\', "string is not closed"),
    ("L3", "a comment that is not closed", GOOD + "/*", "3:1: error: comment is not closed"),
    ("L3", "properties that are not closed", GOOD.replace("Counter", "Counter {cpu=1"), "',' or '}' behind the value"),
    ("L3", "a block that is not closed", "request a {\n" + GOOD, "the block 'a' is not closed"),
    ("L4", "10,000 parentheses", chain("Counter" + "(" * 10000 + ")" * 10000), "expected a string"),
    ("L4", "10,000 brackets", chain("[" * 10000 + "0" + "]" * 10000 + "Counter()"), "expected a port number"),
    ("L4", "10,000 braces", chain("Counter() " + "{" * 10000 + "}" * 10000), "expected a property"),
    ("L4", "10,000 blocks in each other", "part a {\n" * 10000 + "}\n" * 10000, "the block 'a' is not closed"),
    ("L4", "10,000 parentheses in a filter", chain(f'Firewall("allow {"(" * 10000}tcp{")" * 10000}")'), "4096"),
    ("L4", "2,000 parentheses in a filter", chain(f'Firewall("allow {"(" * 2000}tcp{")" * 2000}")'), (None, "filter")),
    ("L5", "a name of 64 bytes", declared("a" * 64), None),
    ("L5", "a name of 65 bytes", declared("a" * 65), "this name is 65 bytes long, more than 64"),
    ("L5", "a name of 100,000 bytes", declared("a" * 100000), "more than 64"),
    ("L5", "a Cyrillic letter that looks like a Latin one", declared("\u0430bc"), "unexpected '\u0430'"),
    ("L5", "words that begin statements as names", GOOD.replace("c ::", "request ::").replace("f ", "part "), None),
    ("L5", "a name like a word", declared("delay"), None),
    *(("L5", f"the name {name}", declared(name), wanted) for name, wanted in
      ((".", "unexpected '.'"), ("..", "unexpected '..'"), ("con", None), ("a/b", "unexpected '/'"), ("$(id)", "unexpected '$'"), (";reboot", "expected a module"),
       ("%s", "unexpected '%'"), ("`id`", "unexpected '`'"), ("0a", "expected a module"))),
    *(("L6", f"cpu={value}", with_property(f"cpu={value}"), wanted) for value, wanted in
      (("-1", "expected a number of cores"), ("0", "is nothing"), ("9223372036854775807", "too large"), ("18446744073709551616", "too large"), ("1e308", "no unit 'e308'"),
       ("nan", "expected a number of cores"), ("1.5", None), ("0.1", None), ("0.0001", "finer than can be counted"), ("1.", "expected a number of cores"), ("65537", "cores"))),
    *(("L6", f"mem={value}", with_property(f"mem={value}"), wanted) for value, wanted in
      (("-1MB", "expected an amount of memory"), ("0MB", "is nothing"), ("16EiB", "unknown unit 'EiB'"), ("18446744073709551616B", "too large"), ("10Mbps", "unknown unit 'Mbps'"),
       ("64", "has no unit"), ("0.5GB", None), ("0.1GB", "finer than can be counted"), ("17179869184GB", "too large"))),
    ("L7", "two modules with most of all memory each", chain("Counter() {mem=900000GB} -> Counter() {mem=900000GB}"), None),
    ("L8", "a name that is declared twice", GOOD + "c :: Counter\n", "'c' is declared twice"),
    ("L8", "a module that leads to itself", 'FromNet("ip") -> m :: Mirror\nm -> m\n', "traffic would go round in a circle: m -> m"),
    ("L8", "a module that nobody declared", GOOD + "d -> e\n", "'d' is not declared"),
    ("L8", "the module of another request", "request a { " + chain("c :: Counter") + "}\nrequest b { " + chain("c") + "}\n", "'c' is not declared"),
    ("L9", "a part in itself", "part P { input -> P() -> output }\n" + chain("P()"), "part 'P' would contain itself"),
    ("L9", "parts in each other", "part P { input -> Q() -> output }\npart Q { input -> P() -> output }\n" + chain("P()"), "would contain itself"),
    ("L9", "a parameter that speaks of itself", "$a=x$a\n" + chain('Firewall("allow tcp port $a")'), "cannot speak of parameters"),
    ("L10", "a module with 65,536 ports", 'FromNet("ip") -> m :: Mirror\n' + "".join(f"m[{i}] -> ToNet(\"net1\")\n" for i in range(40000, 60000)), "beyond the limit of 64 ports"),
    ("L10", "a complete graph of 1,000 modules", "".join(f"m{i}[{k}] -> [{i}]m{k}\n" for i in range(0, 1000, 3) for k in range(i + 1, 1000, 9)), "is not declared"),
    ("L12", "a bound of no time", "delay f -> t < 0ms\n" + GOOD.replace("ToNet", "t :: ToNet"), "is nothing"),
    ("L12", "a bound of 10,000 years", "delay f -> t < 315360000000s\n" + GOOD.replace("ToNet", "t :: ToNet"), "too large"),
    *(("L15", f"the match {text}", match(text), wanted) for text, wanted in
      (("dl_vlan=0", None), ("dl_vlan=4095", None), ("dl_vlan=4096", "dl_vlan is a number from 0 to 4095"), ("dl_vlan=0xffff", None), ("ip,ip_dscp=64", "0 to 63"), ("ip,nw_tos=3", "a multiple of 4"), ("dl_vlan=-1", "bad match"), ("ip,nw_src=0.0.0.0/0", None), ("ip,nw_src=10.0.0.1/33", "bad match"),
       ("in_port=net0,in_port=net1", "second in_port"), ("in_port=,ip", "empty in_port"), ("tcp,tp_dst=65536", "bad match"), ("tp_dst=80", "bad match"), ("zzz", "bad match"),
       ("priority=5,ip", "bad match"), ("cookie=1,ip", "bad match"), ("table=3,ip", "bad match"))),
    ("L15", "two FromNets of the same packets", chain("Counter()") + chain("Counter()"), (None, "warning: every packet of")),
    *(("L15", f"PRIORITY={value}", f"PRIORITY={value}\n" + GOOD, wanted) for value, wanted in
      (("0", None), ("30000", None), ("30001", "0 to 30000"), ("65535", "0 to 30000"), ("65536", "0 to 30000"), ("-1", "0 to 30000"), ("+5", "0 to 30000"), ("", "0 to 30000"))),
    ("L15", "100,000 rules", chain("Firewall(" + ",".join(['"allow tcp"'] * 100000) + ")"), TOO_LONG),
    ("L15", "10,000 rules", chain("Firewall(" + ",".join(['"allow tcp port 1"'] * 10000) + ")"), (None, "rules", "32768", "never matches")),
    *(("L16", f"the match {text}", match(text), "bad match") for text in
      ("ip,actions=controller", "ip actions=normal", "ip,flood", "ip,resubmit(,0)", "ip,local", "ip,goto_table:10", "ip,output:1")),
    *(("L17", f"the match {text}", match(text), wanted) for text, wanted in
      (("ip,nw_dst=224.0.0.1", None), ("ip,nw_dst=300.1.1.1", "bad match"), ("ipv6,ipv6_dst=::ffff:1.2.3.4", None), ("ipv6,ipv6_dst=1.2.3.4", "bad match"), ("ip,ipv6_dst=::1", "bad match"),
       ("ip,nw_dst=10.0.0.9-10.0.0.1", "bad match"), ("ip,nw_dst=10.0.0.0/255.0.255.0", None))),
    ("L18", "a filter of 4,000 bytes that takes long to compile", chain('Firewall("allow ' + " or ".join(f"port {i}" for i in range(100, 380)) + '")'), None),
    ("limits", "a line of 900,000 bytes", "x" * 900000 + "\n", "' is not declared"),
    ("limits", "100,000 mistakes", "".join(f"x{i} -> y\n" for i in range(80000)), "more messages are not shown"),
]
# The same for bytes that are no text, and for texts that are made as they are read.
BYTES_CASES = [
    ("L2", "UTF-16", GOOD.encode("utf-16"), "not UTF-8"),
    ("L5", "a NUL byte in a name", GOOD.replace("c ::", "c\0 ::").encode(), "the text has a NUL byte"),
    ("limits", "an overlong form", b"\xc0\x80", "not UTF-8: byte 0xc0"),
    ("limits", "a surrogate", b"# \xed\xa0\x80", "not UTF-8: byte 0xed"),
    ("limits", "a sequence that the end cuts off", GOOD.encode() + b"# \xe2\x82", "not UTF-8: byte 0xe2"),
    ("limits", "a character beyond Unicode", b"# \xf5\x80\x80\x80", "not UTF-8: byte 0xf5"),
]


def limit():
    resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))


class Run:
    """The program over all cases, as TAP."""

    def __init__(self, program):
        self.program = str(pathlib.Path(program).resolve())
        self.count = self.failed = 0

    def result(self, good, name, comment=""):
        self.count += 1
        self.failed += not good
        print(f"{'ok' if good else 'not ok'} {self.count} - {name}", flush=True)
        if not good:
            print("".join(f"# {line}\n" for line in str(comment)[:2000].splitlines()), end="")

    def check(self, text, *files):
        return subprocess.run([self.program, "check", *(files or ["-"])], input=text, capture_output=True, preexec_fn=limit, check=False)

    def case(self, family, what, text, wanted):
        """Several things that may be said: any of them; None among them: it may also be good."""
        done = self.check(text if isinstance(text, bytes) else text.encode())
        said = done.stderr.decode()
        any_of = wanted if isinstance(wanted, tuple) else (wanted,)
        silent = done.returncode == 0 and ": error: " not in said
        refused = done.returncode == 1 and ": error: " in said and any(one and one in said for one in any_of)
        self.result(refused or (silent and (None in any_of or any(one and one in said for one in any_of))), f"{family}: {what}", f"exit {done.returncode}\n{said}")


def check_huge(run):
    """100 MB of nesting, in a file and through a pipe: refused by its size, and not kept."""
    with tempfile.NamedTemporaryFile() as file:
        for what in ("(", "{", "[", "part a {", '"', "/*"):
            file.seek(0)
            file.truncate()
            piece = what.encode() * (1000000 // len(what))
            for _ in range(100):
                file.write(piece)
            file.flush()
            done = run.check(b"", file.name)
            run.result(done.returncode == 1 and TOO_LONG.encode() in done.stderr, f"L4: 100 MB of {what}", done)
        with open(file.name, "rb") as stream:
            done = subprocess.run([run.program, "check", "-"], stdin=stream, capture_output=True, preexec_fn=limit, check=False)
        run.result(done.returncode == 1 and TOO_LONG.encode() in done.stderr, "L4: 100 MB from standard input", done)
    for path, what in (("/dev/zero", "a file without an end"), ("/", "a folder"), ("/dev/null", "an empty device")):
        done = run.check(b"", path)
        run.result(done.returncode == 1 and done.stderr, f"limits: {what}", done)


def check_includes(run):
    """Files that include each other are read once; what leads out of the folder is refused."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "a.flow").write_text('include "b.flow"\n' + chain("P()"))
        (folder / "b.flow").write_text('include "a2.flow"\ninclude "b.flow"\npart P { input -> Counter() -> output }\n')
        (folder / "a2.flow").write_text('include "b.flow"\n')
        done = run.check(b"", str(folder / "a.flow"))
        run.result(done.returncode == 0, "L9: files that include each other are read once", done)
        (folder / "link.flow").symlink_to("/etc/passwd")
        (folder / "pipe.flow").touch()
        for path in ("../x.flow", "/etc/passwd", "a/../../x", ".hidden", "link.flow", "a\\nb", "", "x" * 300, "nosuch.flow"):
            (folder / "bad.flow").write_text(f'include "{path}"\n' + GOOD)
            done = run.check(b"", str(folder / "bad.flow"))
            run.result(done.returncode == 1 and b"bad.flow:1:9: error: " in done.stderr and b"root:" not in done.stderr, f"L9: the include of {path[:20]!r} is refused", done)


def main():
    run = Run(sys.argv[1])
    for case in CASES + BYTES_CASES:
        run.case(*case)
    check_includes(run)
    check_huge(run)
    print(f"1..{run.count}")
    return run.failed > 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/python3
"""What a request says for placing is what the platform does: hosts, cores, memory, rates, bounds on delays, parameters, parts, included files and
several requests in one text."""

import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from flowtest import BUILD, ROOT, Platform, Tests, need_root_of_namespaces  # noqa: E402

tests = Tests()

PINNED = """CPU=0.5
RATE=5Mbps
in :: FromNet("in_port=net0,ip") -> a :: Counter {hosts=h2, cpu=0.25, mem=20MB} -> {rate=7Mbps} b :: Counter {avoid=h1|h2}
    -> c :: Counter {hosts=h1|h3, avoid=h3} -> out :: ToNet("net1")
delay in -> out < 1s
"""
CHAIN = 'in :: FromNet("in_port=net0,ip") -> a :: Counter {hosts=h1} -> b :: Counter {hosts=h2} -> out :: ToNet("net1")\n'
SEVERAL = """$port=net1
include "lib/parts.flow"
request there { FromNet("in_port=net0,ip") -> Counted("there") -> ToNet("$port") }
request back { FromNet("in_port=net1,ip") -> Counted("back") -> ToNet("net0") }
"""
PARTS = 'part Counted($what) { input -> count :: Counter -> output }\n'


def check_hosts(platform):
    plan = platform.client.plan_allocation(PINNED)
    hosts = {module["node"]: module["host"] for module in plan["placement"]}
    tests.same(hosts, {"a": "h2", "b": "h3", "c": "h1"}, "each module is on the host that it may run on")
    needs = {module["node"]: (module["cpu"], module["mem"]) for module in plan["placement"]}
    tests.same((needs["a"], needs["b"][0]), ((0.25, 20.0), 0.5), "cores and memory are those of the module, else of the request")
    rates = {(flow["from"], flow["to"]): flow["rate"] for flow in plan["paths"]}
    tests.same((rates["a", "b"], rates["in", "a"]), (7.0, 5.0), "rates are those of the connection, else of the request")


def check_refused(platform):
    for text, words in ((CHAIN + "delay in -> out < 2ms", "delay"),
                        (CHAIN.replace("hosts=h1", "hosts=h1, cpu=9"), "cpu"),
                        ("RATE=20Gbps\n" + CHAIN, "0 of 10000 Mbit/s used, 20000 asked"),
                        (CHAIN.replace("hosts=h2", "hosts=h9"), "the platform has no host 'h9'")):
        tests.refused(f"refused: {words}", [words], platform.client.plan_allocation, text)
    plan = platform.client.plan_allocation(CHAIN + "delay in -> out < 20ms")
    tests.same(len(plan["placement"]), 2, "a bound that can be met is met")


def check_texts(platform):
    files = {"lib/parts.flow": PARTS}
    tests.refused("one of several requests must be named", ["there, back"], platform.client.plan_allocation, SEVERAL, files=files)
    tests.refused("a request that is not there", ["no request 'other'"], platform.client.plan_allocation, SEVERAL, files=files, request="other")
    tests.refused("a file that did not come along", ["cannot be included"], platform.client.plan_allocation, SEVERAL, request="there")
    plan = platform.client.plan_allocation(SEVERAL, files=files, request="there", parameters={"port": "tun1"})
    tests.same(([module["node"] for module in plan["placement"]], list(plan["ports"].values())), (["Counted@1.count"], ["tun1"]),
               "a part of an included file, a parameter of the installer")
    tests.refused("a parameter that the text does not speak of", ["'prot' is given a value"], platform.client.plan_allocation, SEVERAL, files=files,
                  request="there", parameters={"prot": "tun1"})


def check_examples(platform):
    for example in sorted((ROOT / "examples").glob("*.flow")):
        for name in ("there", "back") if example.stem == "two-requests" else (None,):
            done = platform.command("plan", str(example), *(["--request", name] if name else []))
            tests.check(done.returncode == 0, f"examples/{example.name}{' ' + name if name else ''} has a place on the embedded platform", done.stderr)


def check_warnings(platform):
    done = platform.command("plan", str(ROOT / "examples" / "sink.flow"))
    tests.check(done.returncode == 0 and "sink.flow:5:42: warning: nothing is connected to the output of 'telnet'" in done.stderr,
                "flowstream plan shows the language's warnings", done.stderr)
    said = subprocess.run([str(BUILD / "bin" / "flowstream-lang"), "check", str(ROOT / "examples" / "sink.flow")], capture_output=True, text=True, check=False).stderr
    tests.same(done.stderr, said, "in the words of flowstream-lang check")
    done = platform.command("install", str(ROOT / "examples" / "sink.flow"))
    tests.same((done.returncode, done.stderr), (0, said), "flowstream install shows them, too")
    number = int(done.stdout)
    tests.same(platform.client.get_allocation(number)["warnings"], said, "get_allocation has them")
    platform.client.delete_allocation(number)
    answer = platform.server("resource").install_allocation((ROOT / "examples" / "sink.flow").read_text(), {"file": str(ROOT / "examples" / "sink.flow")})
    tests.same((answer["code"], answer["message"]), (0, said), "and so has the ReturnValue of install_allocation")
    platform.client.delete_allocation(answer["value"])


WRONG = '''FromNet("in_port=net0,ip") -> a :: Counter("10") -> Mirror("x y") -> b :: Rewrite("dst_port=70000", "ds=4")
    -> Rewrite("dst=10.0.0.256, dst_port=80") -> Rewrite("dst_port=x")
    -> Firewall("allow tcp prot 80, deny all") -> Firewall("allow icmp", "alow tcp") -> ToNet("net1")
'''


def check_arguments(platform):
    """What a type takes is judged by the same tables and in the same words by the platform and by the checker of files."""
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "wrong.flow"
        file.write_text(WRONG)
        said = subprocess.run([str(BUILD / "bin" / "flowstream-lang"), "check", str(file)], capture_output=True, text=True, check=False).stderr
        tests.same(said.count(": error: "), 8, "each bad argument is an error of its own")
        for line, word in ((1, "10"), (1, "x y"), (1, "dst_port"), (1, "ds=4"), (2, "10.0.0.256"), (2, "dst_port=x"), (3, "prot"), (3, "alow")):
            column = len((WRONG.splitlines()[line - 1] + "\n").partition(word)[0].encode()) + 1
            tests.check(f"wrong.flow:{line}:{column}: error: " in said, f"the mark is at {word}", said)
        for command in ("plan", "install"):
            done = platform.command(command, str(file))
            tests.check(done.returncode == 1 and said in done.stderr, f"flowstream {command} refuses bad arguments as flowstream-lang check does", f"{done.stderr}\n{said}")
    tests.same(platform.client.list_allocations(), [], "and nothing is entered")
    types = {row["name"]: row for row in platform.client.call("pm", "list_types")}
    tests.same([row["name"] for row in types["Rewrite"]["named_arguments"]], ["src", "dst", "src_port", "dst_port", "src_mac", "dst_mac"], "list_types has the table of a type")
    tests.same((types["Counter"]["named_arguments"], "named_arguments" in types["Firewall"]), ([], False), "an empty one of a type that takes none")


def check_options(platform):
    for method in ("plan_allocation", "install_allocation"):
        for options, words in (({"parametres": {}}, "no option 'parametres'"), ({"parameters": "x"}, "must be of type struct, not string"),
                               ({"request": 1}, "must be of type string, not int"), ({"parameters": {"port": 1}}, "parameter 'port' is no string")):
            tests.refused(f"{method}: {words}", [words], platform.client.call, "resource", method, SEVERAL, options)


def check_command(platform):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "lib").mkdir()
        (folder / "lib" / "parts.flow").write_text(PARTS)
        (folder / "several.flow").write_text(SEVERAL)
        done = platform.command("install", str(folder / "several.flow"), "--request", "there", "-D", "port=tun1")
        tests.check(done.returncode == 0, "flowstream install sends the included files", done.stderr)
        if done.returncode == 0:
            number = int(done.stdout)
            tests.same(platform.client.get_allocation(number)["name"], "there", "the name of its block is the name of the request")
            tests.same(list(platform.modules(number)), ["Counted@1.count"], "a module of a part runs")
            platform.client.delete_allocation(number)


need_root_of_namespaces()
with Platform() as platform:
    check_hosts(platform)
    check_refused(platform)
    check_texts(platform)
    check_warnings(platform)
    check_arguments(platform)
    check_options(platform)
    check_examples(platform)
    check_command(platform)
tests.end()
